//! The smallest and the largest machines that README promises: cores and memory.

use crate::files;
use crate::folder::{Folder, Random};
use crate::guest;
use crate::runner::{Runner, get};
use qemu::limits::{MAX_CORES, SPARE_MEMORY_MIB, appliance_memory_mib};
use qemu::machine::Machine;
use qemu::options::MachineKind;
use std::fs;

#[test]
fn as_many_cores_as_there_may_be_serve_with_the_memory_of_the_default() {
    let _turn = guest::turn();
    let folder = Folder::small();
    let cores = MAX_CORES.to_string();
    let words = ["--port", "0", "--accel", "tcg", "--cores", &cores];
    let mut runner = Runner::sluice(&words, folder.path());
    let (address, rest) = runner.serves();
    assert!(rest.contains(" ms, 32 cores, tcg, "), "{rest}");
    // Each is a connection of its own, and they are spread over the cores.
    for _ in 0..64 {
        assert_eq!(get(address, "/style.css").status, 200);
    }
    runner.is_interrupted();
}

#[test]
fn eight_cores_serve_on_every_machine() {
    let _turn = guest::turn();
    let folder = Folder::small();
    let packed = guest::packed(folder.path());
    for kind in [MachineKind::Microvm, MachineKind::Q35] {
        let mut appliance = guest::boot(Machine {
            kind,
            cores: 8,
            ..guest::machine(&packed)
        });
        assert_eq!(appliance.ready.cores, 8);
        files::assert_all_served(&appliance, &folder);
        appliance.assert_alive();
    }
}

#[test]
fn no_more_processors_are_used_than_the_kernel_command_line_says() {
    let _turn = guest::turn();
    let folder = Folder::small();
    let packed = guest::packed(folder.path());
    for (word, cores) in [("cores=2", 2), ("cores=9", 3)] {
        let mut machine = guest::machine(&packed);
        machine.cores = 3;
        machine.append.push_str(&format!(" stats=1 {word}"));
        let mut appliance = guest::boot(machine);
        assert_eq!(appliance.ready.cores, cores, "{word}");
        assert_eq!(appliance.counters().len() as u32, cores, "{word}");
        files::assert_all_served(&appliance, &folder);
    }
}

#[test]
fn a_sites_size_and_what_the_appliance_takes_are_enough_memory() {
    let _turn = guest::turn();
    let mut folder = Folder::small();
    folder.add("/large.bin", Random::new(9).bytes(40 << 20));
    let packed = guest::packed(folder.path());
    for (kind, cores) in [
        (MachineKind::Microvm, 1),
        (MachineKind::Q35, 1),
        (MachineKind::Microvm, 8),
        (MachineKind::Microvm, MAX_CORES),
    ] {
        let mut appliance = guest::boot(Machine {
            kind,
            cores,
            memory_mib: packed.site.size_mib() + appliance_memory_mib(cores),
            ..guest::machine(&packed)
        });
        assert_eq!(appliance.ready.cores, cores);
        files::assert_all_served(&appliance, &folder);
        appliance.assert_alive();
    }
}

#[test]
fn what_readme_says_of_memory_is_what_is_asked_for() {
    let readme = fs::read_to_string(qemu::workspace::root().join("README.md")).unwrap();
    let expected = format!(
        "the site's size and {} MiB, with 8 cores {} and with 32 cores {} MiB (default: the site's \
         size and {SPARE_MEMORY_MIB} MiB)",
        appliance_memory_mib(1),
        appliance_memory_mib(8),
        appliance_memory_mib(32)
    );
    assert!(readme.contains(&expected), "{expected}");
}
