//! The image boots and serves on every machine, with every transport, accelerator and number of
//! cores.

use crate::files;
use crate::folder::Folder;
use crate::guest::{self, Appliance};
use qemu::guest::Exit;
use qemu::machine::{Machine, Transport};
use qemu::options::MachineKind;
use std::time::Duration;

/// Boots with each accelerator on one core and two, and asks for what a client asks for.
fn boots_and_serves(kind: MachineKind, transport: Transport) {
    let _turn = guest::turn();
    let folder = Folder::small();
    let packed = guest::packed(folder.path());
    for accel in guest::accelerators() {
        for cores in [1, 2] {
            let machine = Machine {
                kind,
                transport,
                accel,
                cores,
                ..guest::machine(&packed)
            };
            let mut appliance = guest::boot(machine);
            eprintln!(
                "{accel:?}, {cores} cores: ready in {:?}",
                appliance.ready_after
            );
            assert_eq!(appliance.ready.cores, cores, "{accel:?}");
            files::assert_all_served(&appliance, &folder);
            assert_answers(&appliance);
            assert_eq!(appliance.try_exit(), None, "{accel:?}, {cores} cores");
        }
    }
}

/// Asks in every way that has an answer of its own.
fn assert_answers(appliance: &Appliance) {
    let mut client = appliance.client();
    let page = client.get("/").unwrap();
    assert_eq!(page.status, 200);
    assert!(
        page.header("content-type")
            .unwrap()
            .starts_with("text/html")
    );
    assert!(page.header("date").unwrap().ends_with(" GMT"));
    let tag = page.header("etag").unwrap().to_owned();

    let request = format!("GET / HTTP/1.1\r\nHost: x\r\nIf-None-Match: {tag}\r\n\r\n");
    client.send(request.as_bytes()).unwrap();
    let unchanged = client.answer().unwrap();
    assert_eq!((unchanged.status, unchanged.body.len()), (304, 0));

    client.send(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let head = client.head().unwrap();
    assert_eq!(head.status, 200);
    assert_eq!(head.header("content-length"), page.header("content-length"));

    assert_eq!(client.get("/nothing-here").unwrap().status, 404);
    client
        .send(b"DELETE / HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    let refused = client.answer().unwrap();
    assert_eq!(refused.status, 405);
    assert_eq!(refused.header("allow"), Some("GET, HEAD, OPTIONS"));
}

#[test]
fn microvm_over_mmio() {
    boots_and_serves(MachineKind::Microvm, Transport::Mmio);
}

#[test]
fn microvm_over_pci() {
    boots_and_serves(MachineKind::Microvm, Transport::Pci);
}

#[test]
fn q35_over_pci() {
    boots_and_serves(MachineKind::Q35, Transport::Pci);
}

#[test]
fn sixteen_mib_are_enough_for_the_default_site() {
    let _turn = guest::turn();
    let packed = guest::packed(&qemu::workspace::default_site());
    let machine = Machine {
        memory_mib: 16,
        ..guest::machine(&packed)
    };
    guest::boot(machine).assert_alive();
}

#[test]
fn memory_beyond_four_gib_is_served_from_too() {
    let _turn = guest::turn();
    let folder = Folder::small();
    let packed = guest::packed(folder.path());
    let machine = Machine {
        memory_mib: 5 * 1024,
        ..guest::machine(&packed)
    };
    let mut appliance = guest::boot(machine);
    files::assert_all_served(&appliance, &folder);
    appliance.assert_alive();
}

#[test]
fn the_image_is_under_one_mib() {
    let bytes = guest::image().elf.metadata().unwrap().len();
    assert!(bytes < 1 << 20, "{bytes} bytes");
}

#[test]
fn an_idle_guest_sleeps() {
    let _turn = guest::turn();
    let folder = Folder::small();
    let packed = guest::packed(folder.path());
    let mut appliance = guest::boot(guest::machine(&packed));
    appliance.assert_alive();
    let before = processor_time(appliance.pid());
    let pause = Duration::from_secs(3);
    std::thread::sleep(pause);
    let used = processor_time(appliance.pid()) - before;
    assert!(
        used < pause / 4,
        "used {used:?} of {pause:?} with nothing to do"
    );
    appliance.assert_alive();
    assert_eq!(appliance.wait_exit(Duration::ZERO), None::<Exit>);
}

/// Reads the processor time of a process: fields 14 and 15 of `/proc/PID/stat`, in ticks of 10 ms.
fn processor_time(pid: u32) -> Duration {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = text.rsplit_once(") ").unwrap();
    let ticks: u64 = fields
        .split(' ')
        .skip(11)
        .take(2)
        .map(|field| field.parse::<u64>().unwrap())
        .sum();
    Duration::from_millis(ticks * 10)
}
