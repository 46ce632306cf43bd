//! Guests for tests: built once, booted with a packed folder, shown when a test fails.

use crate::client::Client;
use crate::namespace::Namespace;
use qemu::accel;
use qemu::backend::free_port;
use qemu::build::{self, Image, Recipe};
use qemu::crash::Annotator;
use qemu::guest::{Guest, NotReady};
use qemu::machine::{Accel, Machine, Net};
use qemu::pack::{PackedSite, pack};
use qemu::pack_flags::for_trying_out;
use qemu::serial::{Counters, Ready};
use qemu::suite::{DEBUG_IMAGE_VARIABLE, IMAGE_VARIABLE};
use std::collections::BTreeMap;
use std::env;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long a guest may take to be ready here, where other work may be going on.
pub(crate) const READY: Duration = Duration::from_secs(60);

/// Waits until no other test has the machine.
pub(crate) fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    // A test that failed did no harm to the next.
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the image under test: the one named by the environment, or one built now.
pub(crate) fn image() -> &'static Image {
    static IMAGE: OnceLock<Image> = OnceLock::new();
    IMAGE.get_or_init(|| {
        match (
            env::var_os(IMAGE_VARIABLE),
            env::var_os(DEBUG_IMAGE_VARIABLE),
        ) {
            (Some(elf), Some(debug_elf)) => Image {
                elf: elf.into(),
                debug_elf: debug_elf.into(),
            },
            _ => build::image(&Recipe::sluice(), false).expect("the image does not build"),
        }
    })
}

/// Returns the accelerators to be tested here.
pub(crate) fn accelerators() -> Vec<Accel> {
    match accel::is_kvm_working(image()) {
        true => vec![Accel::Tcg, Accel::Kvm],
        false => {
            eprintln!("KVM does not work here: TCG only");
            vec![Accel::Tcg]
        }
    }
}

/// A folder that was packed; the image lies in a folder of its own that goes when this goes.
pub(crate) struct Packed {
    pub(crate) site: PackedSite,
    _folder: tempfile::TempDir,
}

/// Packs a folder.
pub(crate) fn packed(folder: &Path) -> Packed {
    let place = tempfile::tempdir().unwrap();
    let site = pack(folder, &place.path().join("site.img"), &for_trying_out()).unwrap();
    Packed {
        site,
        _folder: place,
    }
}

/// Returns a machine with the image and a packed site, under TCG, without a network.
pub(crate) fn machine(packed: &Packed) -> Machine {
    Machine {
        site: Some(packed.site.file.clone()),
        memory_mib: packed.site.size_mib() + 64,
        append: "log=info".to_owned(),
        ..Machine::new(&image().elf)
    }
}

/// A guest that answers.
pub(crate) struct Appliance {
    guest: Guest,
    pub(crate) ready: Ready,
    pub(crate) ready_after: Duration,
    /// Where clients of this test find it.
    pub(crate) address: SocketAddr,
}

/// Returns a free port of this machine's loopback address.
pub(crate) fn free_host() -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::LOCALHOST, free_port().unwrap())
}

/// Returns user networking with the guest behind `host`.
pub(crate) fn behind(host: SocketAddrV4) -> Net {
    Net::User {
        host,
        guest_address: None,
        guest_port: 80,
    }
}

/// Boots the machine behind a forwarded port.
pub(crate) fn boot(mut machine: Machine) -> Appliance {
    // Whoever else is on this machine may take the port before QEMU does.
    for _ in 0..3 {
        let host = free_host();
        machine.net = behind(host);
        match try_start(&machine, Some(host.into())) {
            Ok(appliance) => return appliance,
            Err((guest, reason)) if !is_port_taken(&guest) => fail(&machine, &guest, &reason),
            Err(_) => {}
        }
    }
    panic!("every port was taken meanwhile");
}

fn is_port_taken(guest: &Guest) -> bool {
    let complaints = guest.complaints().lines();
    let mut complaints = complaints.iter();
    complaints.any(|line| line.contains("Could not set up host forwarding"))
}

/// Returns the namespace's tap as the machine's network.
pub(crate) fn tap(namespace: &Namespace) -> Net {
    Net::Tap {
        interface: namespace.tap().to_owned(),
        queues: namespace.queues(),
    }
}

/// Boots the machine on the namespace's tap.
pub(crate) fn boot_on_tap(mut machine: Machine, namespace: &Namespace) -> Appliance {
    machine.net = tap(namespace);
    machine.append.push_str(&format!(
        " ip={}/24,{}/64 gateway={},{}",
        Namespace::GUEST,
        Namespace::GUEST_V6,
        Namespace::HOST,
        Namespace::HOST_V6,
    ));
    start(&machine, None)
}

/// Boots the machine on the namespace's tap, with no word about its addresses.
pub(crate) fn boot_unaddressed_on_tap(mut machine: Machine, namespace: &Namespace) -> Appliance {
    machine.net = tap(namespace);
    start(&machine, None)
}

/// Boots the machine as it is; clients find it at `host`, or at the address that it says.
pub(crate) fn start(machine: &Machine, host: Option<SocketAddr>) -> Appliance {
    match try_start(machine, host) {
        Ok(appliance) => appliance,
        Err((guest, reason)) => fail(machine, &guest, &reason),
    }
}

/// Boots the machine; a guest that is not ready comes back with the reason.
fn try_start(
    machine: &Machine,
    host: Option<SocketAddr>,
) -> Result<Appliance, (Box<Guest>, NotReady)> {
    let mut guest = Guest::start(machine).expect("QEMU does not start");
    match guest.wait_ready(READY) {
        Ok((ready, ready_after)) => Ok(Appliance {
            guest,
            ready,
            ready_after,
            address: host.unwrap_or(ready.address),
        }),
        Err(reason) => Err((Box::new(guest), reason)),
    }
}

fn fail(machine: &Machine, guest: &Guest, reason: &NotReady) -> ! {
    show(guest);
    panic!("{reason}\nwith: {}", machine.shell_line());
}

impl Appliance {
    /// Opens a connection.
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address).expect("no connection")
    }

    /// Waits for counters that every core took after this call, by core.
    pub(crate) fn counters(&mut self) -> BTreeMap<usize, Counters> {
        let (_, mut next) = self.guest.serial().lines_from(u64::MAX);
        let deadline = Instant::now() + READY;
        let mut seen: BTreeMap<usize, Vec<Counters>> = BTreeMap::new();
        // The first of each core may have been taken before the call.
        let wanted = self.ready.cores as usize;
        while seen.values().filter(|lines| lines.len() >= 2).count() < wanted {
            assert!(Instant::now() < deadline, "no counters from every core");
            self.guest.serial().wait_line(next, deadline);
            let (lines, end) = self.guest.serial().lines_from(next);
            next = end;
            for counters in lines.iter().filter_map(|line| Counters::parse(line)) {
                seen.entry(counters.core).or_default().push(counters);
            }
        }
        seen.into_iter()
            .filter_map(|(core, mut lines)| Some((core, lines.pop()?)))
            .collect()
    }

    /// Waits until the guest has logged this, and returns whether it has.
    pub(crate) fn has_logged(&self, text: &str, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        let is_it = |line: &str| line.contains(text).then_some(());
        self.guest.serial().wait_for(deadline, is_it).is_some()
    }

    /// Sums one counter over all cores.
    pub(crate) fn total(counters: &BTreeMap<usize, Counters>, name: &str) -> u64 {
        counters
            .values()
            .map(|core| {
                core.value(name)
                    .unwrap_or_else(|| panic!("no counter {name}"))
            })
            .sum()
    }

    /// Asserts that the guest still runs and answers.
    pub(crate) fn assert_alive(&mut self) {
        if let Some(exit) = self.guest.try_exit() {
            panic!("{exit}");
        }
        let answer = self.client().get("/").expect("no answer");
        assert_eq!(answer.status, 200);
    }
}

impl Deref for Appliance {
    type Target = Guest;
    fn deref(&self) -> &Guest {
        &self.guest
    }
}

impl DerefMut for Appliance {
    fn deref_mut(&mut self) -> &mut Guest {
        &mut self.guest
    }
}

impl Drop for Appliance {
    fn drop(&mut self) {
        if thread::panicking() {
            show(&self.guest);
        }
    }
}

/// Shows what the guest said, for a test that fails.
pub(crate) fn show(guest: &Guest) {
    let mut annotator = Annotator::new(&image().debug_elf);
    eprintln!("--- the guest's last words");
    for line in guest.last_words() {
        eprintln!("{}", annotator.line(&line));
    }
    eprintln!("---");
}
