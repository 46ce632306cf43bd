//! What goes wrong is said, and ends the guest: bad sites, too little memory, crashes on purpose.

use crate::folder::Folder;
use crate::guest::{self, Packed};
use qemu::backend::free_port;
use qemu::crash::Annotator;
use qemu::guest::{Exit, Guest, NotReady};
use qemu::machine::{Accel, Machine};
use std::fs;
use std::time::Duration;

const END: Duration = guest::READY;

/// Boots, expects the guest to give up, and returns its fatal line.
fn fatal(machine: &Machine) -> String {
    let mut guest = Guest::start(machine).unwrap();
    match guest.wait_ready(END) {
        Err(NotReady::Ended(Exit::Failed, Some(text))) => text,
        other => {
            guest::show(&guest);
            panic!("{other:?}");
        }
    }
}

fn small() -> Packed {
    guest::packed(Folder::small().path())
}

#[test]
fn a_damaged_site_is_refused_with_the_reason() {
    let _turn = guest::turn();
    let packed = small();
    let whole = fs::read(&packed.site.file).unwrap();
    let machine = guest::machine(&packed);

    let mut damaged = whole.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0x40;
    fs::write(&packed.site.file, &damaged).unwrap();
    assert!(fatal(&machine).contains("checksum differs"));

    fs::write(&packed.site.file, &whole[..whole.len() - 100]).unwrap();
    let text = fatal(&machine);
    assert!(text.contains("cut short"), "{text}");

    fs::write(&packed.site.file, b"this is a text, not a site").unwrap();
    let text = fatal(&machine);
    assert!(
        text.contains("not a site") || text.contains("cut short"),
        "{text}"
    );
}

#[test]
fn no_site_is_a_failure_that_says_so() {
    let _turn = guest::turn();
    let machine = Machine::new(&guest::image().elf);
    let text = fatal(&machine);
    assert!(text.contains("site"), "{text}");
}

#[test]
fn without_a_source_of_entropy_it_refuses_to_boot() {
    let _turn = guest::turn();
    let packed = small();
    // It has neither RDRAND nor RDSEED.
    let mut machine = guest::machine(&packed);
    machine.processor = Some("qemu64");
    let text = fatal(&machine);
    assert!(text.contains("entropy"), "{text}");

    machine.has_entropy_device = true;
    // Past that, it misses the network device, which it was not given.
    let text = fatal(&machine);
    assert!(text.contains("network"), "{text}");
}

#[test]
fn too_little_memory_ends_in_words() {
    let _turn = guest::turn();
    let packed = small();
    let machine = Machine {
        memory_mib: 2,
        ..guest::machine(&packed)
    };
    let mut guest = Guest::start(&machine).unwrap();
    let result = guest.wait_ready(END);
    let lines = guest.serial().lines().join("\n");
    assert!(
        matches!(result, Err(NotReady::Ended(..))),
        "{result:?}\n{lines}"
    );
    assert!(
        lines.contains("memory"),
        "{lines}\n{:?}",
        guest.complaints().lines()
    );
}

#[test]
fn a_wrong_kernel_option_is_named() {
    let _turn = guest::turn();
    let packed = small();
    for (append, name) in [
        ("ip=nowhere", "ip"),
        ("port=99999", "port"),
        ("log=loud", "log"),
        ("crash=gently", "crash"),
        ("trace=maybe", "trace"),
        ("access-log-to=syslog:nowhere", "access-log-to"),
        ("prot=8080", "prot=8080: no such option"),
    ] {
        let machine = Machine {
            append: append.to_owned(),
            ..guest::machine(&packed)
        };
        let text = fatal(&machine);
        assert!(text.contains(name), "{append}: {text}");
    }
}

/// Makes the guest crash, checks the report's form, and returns it with names.
fn report(kind: &str, accel: Accel) -> String {
    let packed = small();
    let machine = Machine {
        accel,
        net: guest::behind(guest::free_host()),
        append: format!("crash={kind}"),
        ..guest::machine(&packed)
    };
    let mut guest = Guest::start(&machine).unwrap();
    let exit = guest.wait_exit(END);
    let lines = guest.serial().lines();
    let context = || format!("{kind} under {accel:?}: {exit:?}\n{}", lines.join("\n"));
    assert_eq!(exit, Some(Exit::Failed), "{}", context());
    let start = lines
        .iter()
        .position(|line| line.starts_with("sluice: CRASH"));
    let start = start.unwrap_or_else(|| panic!("no report: {}", context()));
    let end = lines
        .iter()
        .position(|line| line.starts_with("sluice: END"));
    let end = end.unwrap_or_else(|| panic!("no end: {}", context()));
    let report = &lines[start..=end];
    assert!(
        report.iter().any(|line| line.starts_with("  #0 0x")),
        "{}",
        context()
    );
    let mut annotator = Annotator::new(&guest::image().debug_elf);
    let report: Vec<String> = report.iter().map(|line| annotator.line(line)).collect();
    report.join("\n")
}

/// Asserts that the report says these words and names the function that crashed.
fn assert_reported(kind: &str, words: &[&str]) {
    let _turn = guest::turn();
    for accel in guest::accelerators() {
        let report = report(kind, accel);
        for word in words {
            assert!(
                report.contains(word),
                "{word} is missing under {accel:?}:\n{report}"
            );
        }
    }
}

#[test]
fn a_panic_is_reported() {
    assert_reported("panic", &["asked for by crash=panic", "provoke"]);
}

#[test]
fn a_report_tells_what_the_core_did_last() {
    // It has asked for an address by DHCP, and got it.
    assert_reported("panic", &["  core 0 [", "] busy_turn frames="]);
}

#[test]
fn a_page_fault_is_reported_with_its_address_and_registers() {
    assert_reported(
        "page-fault",
        &["page fault (write to 0x8", "rip", "rsp", "provoke"],
    );
}

#[test]
fn the_heap_is_sealed_once_it_serves() {
    assert_reported(
        "allocate",
        &["allocation of 1 bytes after the heap was sealed"],
    );
}

#[test]
fn a_stack_overflow_is_reported() {
    assert_reported("stack-overflow", &["stack overflow", "descend"]);
}

#[test]
fn text_cannot_be_written() {
    assert_reported("write-text", &["page fault (write to", "provoke"]);
}

#[test]
fn data_cannot_be_executed() {
    assert_reported("execute-data", &["page fault (execution of"]);
}

#[test]
fn page_tables_cannot_be_written() {
    // Not even read, which is what some report.
    assert_reported(
        "supervisor-write",
        &["page fault (", "protected", "provoke"],
    );
}

#[test]
fn a_guest_that_says_nothing_is_given_up() {
    let _turn = guest::turn();
    let packed = small();
    let mut machine = guest::machine(&packed);
    // Stopped before its first instruction, for a debugger that does not come.
    machine.gdb_port = Some(free_port().unwrap());
    let mut guest = Guest::start(&machine).unwrap();
    let patience = Duration::from_secs(1);
    assert_eq!(guest.wait_ready(patience), Err(NotReady::Silent(patience)));
}
