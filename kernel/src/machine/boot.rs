//! Boot: from the loader's registers to the image's main function, as a numbered story.
//!
//! Upstream: `supervisor/boot.s`, which has switched to CPL 3 on the boot tables. Downstream:
//! [`Machine`], given to `main`.

use super::exit::fatal;
use super::memory::LOADER_MEMORY;
use super::protection::{self, Layout, Stage};
use super::supervisor::{self, Protocol};
use super::{Machine, clock, console, heap, interrupts, local_apic, ports, processors};
use crate::acpi::{self, IoApic, MAX_IO_APICS};
use crate::frames::Frames;
use crate::limits::{MAX_COMMAND_LINE_BYTES, MAX_CORES};
use crate::physical_memory::PhysicalMemory;
use crate::start_info::StartInfo;
use core::ops::Range;

hermit_entry::define_entry_version!();
hermit_entry::define_abi_tag!();

unsafe extern "Rust" {
    /// The image's main function, by `entry!`.
    safe fn sluice_main(machine: Machine) -> !;
}

/// What any loader says, in one form.
pub(super) struct Loaded {
    pub(super) frames: Frames,
    pub(super) command_line: &'static str,
    pub(super) site: Option<&'static [u8]>,
    pub(super) rsdp: Option<u64>,
}

/// The first Rust, at CPL 3 on the boot core; `loader` is the loader's structure.
#[unsafe(no_mangle)]
extern "C" fn sluice_boot(loader: u64, protocol: u32) -> ! {
    // 1. A clock at zero, and a console to complain on.
    clock::start();
    console::start();

    // 2. Traps: from here on a fault would be seen, though without a stack to report it on.
    // SAFETY: nothing is sealed yet.
    unsafe { supervisor::fill_interrupt_table() };

    // 3. What the loader says: memory, command line, site.
    let loaded = match Protocol::from_number(protocol) {
        Protocol::Pvh => read_start_info(loader),
        Protocol::Hermit => super::hermit::read_boot_info(loader),
    };

    // 4. A heap in what is free below 4 GiB, all that the boot tables map.
    let (low, high) = (0..1 << 32, 1 << 32..u64::MAX);
    claim(&loaded.frames, &low);

    // 5. The local interrupt controller, and a clock that tells the time.
    // SAFETY: the boot tables map the registers.
    unsafe {
        local_apic::enable();
        clock::calibrate();
    }

    // 6. Stacks for every core; from here on faults are reported.
    let (expected, io_apics) = platform(loaded.rsdp);
    let count = expected
        .unwrap_or(MAX_CORES / 4)
        .min(cores_option(loaded.command_line));
    let mut layout = Layout {
        ram: loaded.frames.ram().to_vec(),
        site: loaded.site.map(address_range),
        ..Layout::default()
    };
    if processors::prepare(count, &mut layout).is_err() {
        fatal(format_args!(
            "out of memory for the stacks of {count} cores"
        ));
    }

    // 7. The open page tables: W^X, guard pages, and memory above 4 GiB, which the heap gets.
    let Ok(tables) = layout.tables(Stage::Open) else {
        fatal(format_args!("out of memory for page tables"));
    };
    // SAFETY: they map the first 4 GiB and all memory, as the boot tables did.
    unsafe { protection::install(&tables, Stage::Open) };
    claim(&loaded.frames, &high);

    // 8. The other cores, asleep until the machine is sealed.
    // SAFETY: local APIC on, tables open, areas prepared just now.
    let apic_ids = unsafe { processors::start(&layout.areas, expected) };
    if expected.is_some_and(|cores| apic_ids.len() < cores.min(count)) {
        log::warn!("{} of {count} cores started", apic_ids.len());
    }

    // 9. The image's own story.
    let total_bytes = loaded.frames.total_bytes();
    log::debug!("{} cores, {} MiB", apic_ids.len(), total_bytes >> 20);
    sluice_main(Machine {
        command_line: loaded.command_line,
        site: loaded.site,
        rsdp: loaded.rsdp,
        io_apics,
        apic_ids,
        total_bytes,
        layout,
        tables,
        open_ports: heapless::Vec::new(),
    })
}

/// Gives the heap all free memory inside of `bounds`.
fn claim(frames: &Frames, bounds: &Range<u64>) {
    for range in frames.free() {
        let part = range.start.max(bounds.start)..range.end.min(bounds.end);
        if !part.is_empty() {
            // SAFETY: free by the memory map, mapped by the tables of the moment, and given once.
            unsafe { heap::claim(part) };
        }
    }
}

fn address_range(bytes: &[u8]) -> Range<u64> {
    let start = bytes.as_ptr() as u64;
    start..start + bytes.len() as u64
}

/// Reads what a PVH loader left; see [`StartInfo`].
fn read_start_info(address: u64) -> Loaded {
    let info = match StartInfo::read(&LOADER_MEMORY, address) {
        Ok(info) => info,
        Err(error) => fatal(format_args!("{error}")),
    };
    let mut frames = match Frames::new(info.ram()) {
        Ok(frames) => frames,
        Err(error) => fatal(format_args!("{error}")),
    };
    frames.reserve(protection::image());
    let site = info
        .module
        .clone()
        .filter(|module| !module.is_empty())
        .map(|module| {
            let image = protection::image();
            if module.start < image.end && image.start < module.end {
                fatal(format_args!("the loader put the site over the image"));
            }
            if !frames.holds(&module) {
                fatal(format_args!("the loader put the site where no memory is"));
            }
            frames.reserve(module.clone());
            let bytes = LOADER_MEMORY.bytes(module.start, (module.end - module.start) as usize);
            bytes.unwrap_or_else(|| fatal(format_args!("the site lies above 4 GiB")))
        });
    // The line is in low memory, which nobody touches before it is copied here.
    let command_line = keep_command_line(info.command_line);
    Loaded {
        frames,
        command_line,
        site: site.map(forever),
        rsdp: info.rsdp,
    }
}

/// Lends the module for ever: its memory was reserved, and nothing writes to it.
fn forever(bytes: &[u8]) -> &'static [u8] {
    // SAFETY: the loader's module stays where it is, reserved and mapped read-only.
    unsafe { core::slice::from_raw_parts(bytes.as_ptr(), bytes.len()) }
}

/// Copies the command line out of the loader's memory; bytes that are not text become `?`.
pub(super) fn keep_command_line(line: &[u8]) -> &'static str {
    static KEPT: spin::Once<([u8; MAX_COMMAND_LINE_BYTES], usize)> = spin::Once::new();
    let (bytes, len) = KEPT.call_once(|| {
        let mut bytes = [0; MAX_COMMAND_LINE_BYTES];
        let len = line.len().min(MAX_COMMAND_LINE_BYTES);
        for (to, from) in bytes.iter_mut().zip(line) {
            *to = if from.is_ascii() { *from } else { b'?' };
        }
        (bytes, len)
    });
    core::str::from_utf8(&bytes[..*len]).unwrap_or_default()
}

/// Returns how many cores there are, if that is known, and the I/O APICs.
fn platform(rsdp: Option<u64>) -> (Option<usize>, heapless::Vec<IoApic, MAX_IO_APICS>) {
    let madt = rsdp.and_then(|rsdp| acpi::find_table(&LOADER_MEMORY, rsdp, b"APIC"));
    if let Some(madt) = madt.map(acpi::read_madt).filter(|madt| madt.cores > 0) {
        return (Some(madt.cores), madt.io_apics);
    }
    (
        cores_by_firmware_config(),
        interrupts::usual_io_apics().collect(),
    )
}

/// Asks QEMU's firmware configuration device for the number of cores (QEMU docs/specs/fw_cfg).
fn cores_by_firmware_config() -> Option<usize> {
    const SELECTOR: u16 = 0x510;
    const DATA: u16 = 0x511;
    const SIGNATURE: u16 = 0;
    const NUMBER_OF_CORES: u16 = 5;
    // SAFETY: the device's ports, or no device's.
    let (signature, cores) = unsafe {
        ports::write_u16(SELECTOR, SIGNATURE);
        let signature: [u8; 4] = core::array::from_fn(|_| ports::read_u8(DATA));
        ports::write_u16(SELECTOR, NUMBER_OF_CORES);
        (
            signature,
            u16::from_le_bytes(core::array::from_fn(|_| ports::read_u8(DATA))),
        )
    };
    (signature == *b"QEMU" && cores > 0).then_some(usize::from(cores).min(MAX_CORES))
}

/// Reads the option `cores=N`, which caps the number of cores; at least 1.
fn cores_option(command_line: &str) -> usize {
    let options = command_line.split_ascii_whitespace();
    let cores = options
        .filter_map(|option| option.strip_prefix("cores=")?.parse().ok())
        .next_back();
    cores.unwrap_or(MAX_CORES).clamp(1, MAX_CORES)
}
