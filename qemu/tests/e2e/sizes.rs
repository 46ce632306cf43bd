//! The smallest and the largest machines that README promises: cores and memory.

use crate::files;
use crate::folder::{Folder, Random};
use crate::guest;
use crate::runner::{Runner, get};
use qemu::limits::{APPLIANCE_MEMORY_MIB, MAX_CORES};
use qemu::machine::Machine;
use qemu::options::MachineKind;

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
    for kind in [MachineKind::Microvm, MachineKind::Q35] {
        let mut appliance = guest::boot(Machine {
            kind,
            memory_mib: packed.site.size_mib() + APPLIANCE_MEMORY_MIB,
            ..guest::machine(&packed)
        });
        files::assert_all_served(&appliance, &folder);
        appliance.assert_alive();
    }
}
