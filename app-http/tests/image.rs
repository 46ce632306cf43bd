//! The bootable image as loaders see it: Hermit's own parser, the PVH note, and the rights of its
//! segments. Reads the file named by `SLUICE_ELF`, which `./run.sh test` sets; without it, only
//! says so.

use hermit_entry::elf::KernelObject;
use std::io::{self, Write};
use std::ops::Range;

const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;
const XEN_ELFNOTE_PHYS32_ENTRY: u32 = 18;

struct Segment {
    kind: u32,
    flags: u32,
    file: Range<usize>,
    address: u64,
    memory_bytes: u64,
}

fn image() -> Option<Vec<u8>> {
    let Some(path) = std::env::var_os("SLUICE_ELF") else {
        // Past the test runner, which shows no words of tests that pass; without an output there is
        // nobody to be told.
        let _ = writeln!(io::stdout(), "skipped: SLUICE_ELF names no image");
        return None;
    };
    Some(std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

fn number<const BYTES: usize>(elf: &[u8], at: usize) -> u64 {
    elf[at..at + BYTES]
        .iter()
        .rev()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Reads the program headers (ELF-64 object file format, figure 6).
fn segments(elf: &[u8]) -> Vec<Segment> {
    let (start, size, count) = (
        number::<8>(elf, 0x20),
        number::<2>(elf, 0x36),
        number::<2>(elf, 0x38),
    );
    let header = |index| {
        let at = (start + index * size) as usize;
        let file = number::<8>(elf, at + 8) as usize;
        Segment {
            kind: number::<4>(elf, at) as u32,
            flags: number::<4>(elf, at + 4) as u32,
            file: file..file + number::<8>(elf, at + 32) as usize,
            address: number::<8>(elf, at + 16),
            memory_bytes: number::<8>(elf, at + 40),
        }
    };
    (0..count).map(header).collect()
}

/// Returns the descriptor of the note `name` of type `kind`.
fn note<'a>(elf: &'a [u8], name: &[u8], kind: u32) -> Option<&'a [u8]> {
    let notes = segments(elf)
        .into_iter()
        .find(|segment| segment.kind == PT_NOTE)?;
    let mut rest = &elf[notes.file];
    while rest.len() >= 12 {
        let [name_bytes, bytes] = [0, 4].map(|at| number::<4>(rest, at) as usize);
        let descriptor = 12 + name_bytes.next_multiple_of(4);
        if &rest[12..12 + name_bytes] == name && number::<4>(rest, 8) as u32 == kind {
            return Some(&rest[descriptor..descriptor + bytes]);
        }
        rest = &rest[(descriptor + bytes.next_multiple_of(4)).min(rest.len())..];
    }
    None
}

#[test]
fn hermits_loader_takes_it() {
    let Some(elf) = image() else { return };
    // Its parser reads words in place: begin at a multiple of 8.
    let mut padded = vec![0; elf.len() + 8];
    let start = padded.as_ptr().align_offset(8);
    padded[start..start + elf.len()].copy_from_slice(&elf);
    // Parsing checks class, machine, type, and the entry version of the HERMIT note.
    let object =
        KernelObject::parse(&padded[start..start + elf.len()]).expect("a Hermit kernel object");
    assert!(object.hermit_version().is_some(), "no ABI tag");
    assert!(object.mem_size() > 0);
}

#[test]
fn the_pvh_entry_is_code_below_4_gib() {
    let Some(elf) = image() else { return };
    let entry = note(&elf, b"Xen\0", XEN_ELFNOTE_PHYS32_ENTRY).expect("a PVH note");
    let entry = number::<4>(entry, 0);
    let is_code = |segment: &Segment| {
        let addresses = segment.address..segment.address + segment.memory_bytes;
        segment.kind == PT_LOAD && segment.flags & 1 == 1 && addresses.contains(&entry)
    };
    assert!(
        segments(&elf).iter().any(is_code),
        "{entry:#x} is not in code"
    );
}

#[test]
fn no_segment_is_writable_and_executable_or_shares_a_page() {
    let Some(elf) = image() else { return };
    let mut loaded: Vec<_> = segments(&elf);
    loaded.retain(|segment| segment.kind == PT_LOAD);
    assert!(loaded.len() >= 3, "code, constants, data");
    loaded.sort_by_key(|segment| segment.address);
    for segment in &loaded {
        assert_ne!(segment.flags & 3, 3, "at {:#x}", segment.address);
    }
    for pair in loaded.windows(2) {
        let last_page = (pair[0].address + pair[0].memory_bytes - 1) / 4096;
        assert!(
            last_page < pair[1].address / 4096,
            "at {:#x}",
            pair[1].address
        );
    }
}

#[test]
fn no_pointer_to_code_lies_where_it_can_be_written() {
    let Some(elf) = image() else { return };
    let segments = segments(&elf);
    let loaded = |flag: u32| {
        let has_flag =
            move |segment: &&Segment| segment.kind == PT_LOAD && segment.flags & flag != 0;
        segments.iter().filter(has_flag)
    };
    let is_code = |word: u64| {
        loaded(1).any(|code| (code.address..code.address + code.memory_bytes).contains(&word))
    };
    let words = |segment: &Segment| {
        let (words, _) = elf[segment.file.clone()].as_chunks::<8>();
        words.iter().map(|word| u64::from_le_bytes(*word))
    };
    let constants = segments
        .iter()
        .filter(|segment| segment.kind == PT_LOAD && segment.flags == 4);
    assert!(
        constants.flat_map(words).any(is_code),
        "vtables are somewhere"
    );
    for segment in loaded(2) {
        let found: Vec<_> = words(segment).filter(|word| is_code(*word)).collect();
        assert!(found.is_empty(), "at {:#x}: {found:x?}", segment.address);
    }
}
