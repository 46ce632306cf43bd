//! Machines that QEMU's usual ones do not show: registers above 4 GiB, devices behind bridges, a core
//! that comes late, a machine that was stopped for a while; and what the image's own code cannot do
//! once it serves.

use crate::folder::Folder;
use crate::guest::{self, Packed};
use qemu::backend::free_port;
use qemu::guest::{Exit, Guest};
use qemu::machine::Machine;
use qemu::options::MachineKind;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const END: Duration = Duration::from_secs(30);

fn small() -> Packed {
    guest::packed(Folder::small().path())
}

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

/// Returns the first number in hex behind `before` that the guest has said.
fn said_address(guest: &Guest, before: &str) -> Option<u64> {
    guest.serial().lines().iter().find_map(|line| {
        let (_, rest) = line.split_once(before)?;
        let digits = rest.strip_prefix("0x")?;
        let end = digits.find(|digit: char| !digit.is_ascii_hexdigit());
        u64::from_str_radix(&digits[..end.unwrap_or(digits.len())], 16).ok()
    })
}

#[test]
fn registers_above_four_gib_are_reached() {
    let _turn = guest::turn();
    let packed = small();
    // A device so large that firmware moves everything that can be to addresses above 4 GiB.
    let machine = Machine {
        kind: MachineKind::Q35,
        memory_mib: 5 * 1024,
        cores: 2,
        append: "log=debug".to_owned(),
        more: words("-device pci-testdev,membar=4G"),
        ..guest::machine(&packed)
    };
    let mut appliance = guest::boot(machine);
    let doorbells = said_address(&appliance, "doorbells at ");
    assert!(doorbells > Some(1 << 32), "{doorbells:x?}");
    appliance.assert_alive();
}

#[test]
fn a_network_device_behind_a_root_port_of_several_is_found() {
    let _turn = guest::turn();
    let packed = small();
    let host = guest::free_host();
    let (address, port) = (host.ip(), host.port());
    let machine = Machine {
        kind: MachineKind::Q35,
        more: words(&format!(
            "-device pcie-root-port,addr=2.0,multifunction=on,chassis=1 \
             -device pcie-root-port,addr=2.1,id=rp1,chassis=2 \
             -netdev user,id=net0,hostfwd=tcp:{address}:{port}-:80 \
             -device virtio-net-pci,netdev=net0,bus=rp1"
        )),
        ..guest::machine(&packed)
    };
    guest::start(&machine, Some(host.into())).assert_alive();
}

/// A connection to QEMU's gdb server, which stops and lets go single cores.
struct Debugger(TcpStream);

impl Debugger {
    fn connect(port: u16) -> Self {
        let deadline = Instant::now() + END;
        loop {
            match TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(END)).unwrap();
                    return Debugger(stream);
                }
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends a packet of the remote serial protocol.
    fn send(&mut self, text: &str) {
        let sum = text.bytes().fold(0_u8, u8::wrapping_add);
        write!(self.0, "${text}#{sum:02x}").unwrap();
    }

    /// Takes the next packet.
    fn receive(&mut self) -> String {
        let (mut text, mut byte) = (Vec::new(), [0]);
        loop {
            self.0.read_exact(&mut byte).unwrap();
            match byte[0] {
                // What went before were acknowledgements.
                b'$' => text.clear(),
                b'#' => break,
                byte => text.push(byte),
            }
        }
        self.0.read_exact(&mut [0; 2]).unwrap();
        self.0.write_all(b"+").unwrap();
        String::from_utf8(text).unwrap()
    }

    /// Stops every core.
    fn stop(&mut self) {
        self.0.write_all(&[3]).unwrap();
        assert!(self.receive().starts_with('T'));
    }

    /// Returns where core `number` (from 1) stands.
    fn instruction_pointer(&mut self, number: u32) -> u64 {
        self.send(&format!("Hg{number}"));
        assert_eq!(self.receive(), "OK");
        self.send("g");
        let registers = self.receive();
        // Behind sixteen general registers of 8 bytes, little-endian.
        let bytes = (0..8).map(|at| &registers[256 + 2 * at..][..2]);
        bytes.rev().fold(0, |address, byte| {
            address << 8 | u64::from_str_radix(byte, 16).unwrap()
        })
    }
}

#[test]
fn a_core_that_comes_late_sleeps_and_harms_nobody() {
    let _turn = guest::turn();
    let packed = small();
    let host = guest::free_host();
    let gdb_port = free_port().unwrap();
    let machine = Machine {
        cores: 2,
        gdb_port: Some(gdb_port),
        net: guest::behind(host),
        ..guest::machine(&packed)
    };
    let mut guest = Guest::start(&machine).unwrap();
    let mut debugger = Debugger::connect(gdb_port);
    // Its host has no time for the second core.
    debugger.send("vCont;c:1");
    let (ready, _) = guest.wait_ready(guest::READY).unwrap();
    assert_eq!(ready.cores, 1);

    debugger.stop();
    let waits_at = debugger.instruction_pointer(2);
    let is_in_image = |address: u64| (0x10_0000..0x100_0000).contains(&address);
    assert!(!is_in_image(waits_at), "{waits_at:#x}");
    debugger.send("vCont;c");
    // Long enough for a core that has nothing to run to say so.
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(guest.try_exit(), None, "{:?}", guest.serial().lines());
    debugger.stop();
    let sleeps_at = debugger.instruction_pointer(2);
    assert!(is_in_image(sleeps_at), "{sleeps_at:#x}");
    debugger.send("vCont;c");
    let mut client = crate::client::Client::connect(host.into()).unwrap();
    assert_eq!(client.get("/").unwrap().status, 200);
}

#[test]
fn a_machine_that_was_stopped_shows_the_right_time_again() {
    let _turn = guest::turn();
    let packed = small();
    let mut appliance = guest::boot(guest::machine(&packed));
    let is_right = |appliance: &guest::Appliance| {
        let date = appliance.client().get("/").unwrap();
        let date = date.header("date").unwrap().to_owned();
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs();
        // The second may have changed since it was written, and the chip shows whole ones.
        (now - 3..=now + 1).any(|second| site::date::http_date(second)[..] == *date.as_bytes())
    };
    assert!(is_right(&appliance));
    appliance.command("stop").unwrap();
    std::thread::sleep(Duration::from_secs(8));
    appliance.command("cont").unwrap();
    assert!(!is_right(&appliance), "its clock stood still");
    assert!(appliance.has_logged("wall clock set by ", Duration::from_secs(60)));
    let deadline = Instant::now() + END;
    while !is_right(&appliance) {
        assert!(Instant::now() < deadline, "the Date line is not corrected");
        std::thread::sleep(Duration::from_millis(200));
    }
    appliance.assert_alive();
}

#[test]
fn an_injected_nmi_makes_a_sleeping_guest_report_where_it_is() {
    let _turn = guest::turn();
    let packed = small();
    let mut appliance = guest::boot(guest::machine(&packed));
    std::thread::sleep(Duration::from_millis(500));
    appliance.command("inject-nmi").unwrap();
    assert_eq!(appliance.wait_exit(END), Some(Exit::Failed));
    let lines = appliance.serial().lines().join("\n");
    for word in ["fault: non-maskable interrupt", " rip 0", "sluice: END"] {
        assert!(lines.contains(word), "{word} is missing:\n{lines}");
    }
}

/// Lets the guest do what is forbidden once it serves, and returns what it says then.
fn last_words(packed: &Packed, kind: &str) -> String {
    let machine = Machine {
        net: guest::behind(guest::free_host()),
        append: format!("crash={kind}"),
        ..guest::machine(packed)
    };
    let mut guest = Guest::start(&machine).unwrap();
    let exit = guest.wait_exit(END);
    let lines = guest.serial().lines().join("\n");
    assert_eq!(exit, Some(Exit::Failed), "{kind}:\n{lines}");
    lines
}

#[test]
fn what_the_supervisor_works_on_is_out_of_reach_once_it_serves() {
    let _turn = guest::turn();
    let packed = small();
    for (kind, words) in [
        ("write-idt", ", protected)"),
        ("write-gdt", ", protected)"),
        ("write-tss", ", protected)"),
        ("write-constant", "page fault (write to "),
        ("closed-port", "fault: general protection fault"),
        ("install-tables", "page tables of one's own: Err(Sealed)"),
    ] {
        let lines = last_words(&packed, kind);
        assert!(lines.contains(words), "{kind}:\n{lines}");
    }
}
