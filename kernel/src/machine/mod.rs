//! The bare machine: boot, memory, traps, cores, time. On in the image only (feature `machine`).
//!
//! The supervisor at CPL 0 is assembly and a few hundred lines; all Rust runs at CPL 3 in the same
//! address space. While a [`Machine`] exists the machine is *open*: one core, every device in
//! reach. [`Machine::run`] *seals* it: page tables for good, all cores running, no way back.
//!
//! Upstream: the loader (PVH or Hermit). Downstream: the image's `main`, through
//! [`entry!`](crate::entry), and `net` through [`ThisCore`].
//! Invariants: no compiled Rust at CPL 0; nothing is writable and executable; after the seal the
//! data plane cannot reach page tables, descriptor tables or supervisor stacks.
//!
//! Reading order: [`boot`], [`supervisor`], [`protection`], [`processors`], [`interrupts`],
//! [`clock`], [`heap`], [`crash`], [`console`], [`exit`].
//!
//! [`boot`]: self
//! [`supervisor`]: self
//! [`protection`]: self
//! [`processors`]: ThisCore
//! [`clock`]: self
//! [`heap`]: self

mod boot;
mod clock;
mod clock_chip;
pub mod console;
pub mod crash;
mod devices;
mod entropy;
mod exit;
mod heap;
mod hermit;
pub mod interrupts;
pub mod limits;
mod local_apic;
mod memory;
mod ports;
mod power_button;
mod processors;
mod protection;
mod supervisor;
mod symbols;

pub use clock_chip::ClockChip;
pub use entropy::NoEntropy;
pub use exit::{ExitStatus, exit, fatal};
pub use processors::{Seat, ThisCore};

use crate::acpi::{self, IoApic, MAX_IO_APICS};
use crate::limits::MAX_DEVICE_WINDOWS;
use crate::page_tables::{PageTables, Rights};
use crate::wall_clock::WallClock;
use alloc::vec::Vec;
use core::ops::Range;
use limits::MAX_OPEN_PORTS;
use protection::{Arena, Layout, Stage};

/// The open machine: what boot found, until [`run`](Machine::run).
#[derive(Debug)]
pub struct Machine {
    command_line: &'static str,
    site: Option<&'static [u8]>,
    rsdp: Option<u64>,
    io_apics: heapless::Vec<IoApic, MAX_IO_APICS>,
    apic_ids: Vec<u32>,
    total_bytes: u64,
    layout: Layout,
    tables: PageTables<Arena>,
    /// Ports that stay open to the boot core, beside those of every core.
    open_ports: heapless::Vec<u16, MAX_OPEN_PORTS>,
}

/// How much memory there is, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryBytes {
    /// Usable memory above the first MiB.
    pub total: u64,
    /// What the heap can still give, before its overhead.
    pub free: u64,
}

/// A device's registers cannot be mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MapError {
    /// The window is empty, ends beyond 2^47, or lies over memory or the local APIC.
    BadWindow,
    /// More than [`MAX_DEVICE_WINDOWS`], or no frame left for tables.
    TooMany,
}

impl Machine {
    /// Returns the kernel command line.
    pub fn command_line(&self) -> &'static str {
        self.command_line
    }

    /// Returns the site: the loader's first module.
    pub fn site(&self) -> Option<&'static [u8]> {
        self.site
    }

    /// Returns the wall clock.
    pub fn wall_clock(&self) -> WallClock {
        clock::wall_clock()
    }

    /// Returns how much memory there is.
    pub fn memory(&self) -> MemoryBytes {
        MemoryBytes {
            total: self.total_bytes,
            free: heap::free_bytes(),
        }
    }

    /// Returns the number of cores that will run.
    pub fn cores(&self) -> usize {
        self.apic_ids.len()
    }

    /// Fills `out` with random numbers from the processor.
    ///
    /// # Errors
    /// [`NoEntropy`]; `out` is then unspecified.
    pub fn entropy(&mut self, out: &mut [u8]) -> Result<(), NoEntropy> {
        entropy::fill(out)
    }

    /// Returns the ACPI table with `signature`, its header included.
    pub fn acpi_table(&self, signature: &[u8; 4]) -> Option<&[u8]> {
        acpi::find_table(&memory::OPEN_MEMORY, self.rsdp?, signature)
    }

    /// Maps a device's registers, uncached, until the seal: of use above 4 GiB only, for below it
    /// everything can be reached. Rounded outwards to whole pages.
    ///
    /// # Errors
    /// See [`MapError`].
    pub fn reach_device(&mut self, address: u64, bytes: u64) -> Result<(), MapError> {
        self.open_device(address, bytes).map(drop)
    }

    /// Maps a device's registers, uncached, for good: before the seal and after it. Rounded outwards to
    /// whole pages.
    ///
    /// # Errors
    /// See [`MapError`].
    pub fn map_device(&mut self, address: u64, bytes: u64) -> Result<(), MapError> {
        if self.layout.devices.len() == MAX_DEVICE_WINDOWS {
            return Err(MapError::TooMany);
        }
        let pages = self.open_device(address, bytes)?;
        self.layout.devices.push(pages);
        Ok(())
    }

    /// Maps a device's registers in the open tables, and returns their pages.
    fn open_device(&mut self, address: u64, bytes: u64) -> Result<Range<u64>, MapError> {
        let end = address
            .checked_add(bytes)
            .filter(|end| bytes > 0 && *end <= 1 << 47);
        let window = address..end.ok_or(MapError::BadWindow)?;
        let lapic = local_apic::LAPIC..local_apic::LAPIC + crate::limits::PAGE_BYTES;
        let page_mask = crate::limits::PAGE_BYTES - 1;
        let pages = window.start & !page_mask..(window.end + page_mask) & !page_mask;
        let overlaps = |other: &Range<u64>| pages.start < other.end && other.start < pages.end;
        if pages.start == 0 || overlaps(&lapic) || self.layout.ram.iter().any(overlaps) {
            return Err(MapError::BadWindow);
        }
        if pages.end > 1 << 32 {
            let mapped = self.tables.set(pages.clone(), Rights::Device);
            mapped.map_err(|_| MapError::TooMany)?;
        }
        Ok(pages)
    }

    /// Seals the machine and lets every core run its seat, the boot core the first. A seat that
    /// returns ends the machine as failed, as does a number of seats other than that of the cores.
    pub fn run(self, seats: Vec<Seat>) -> ! {
        let sealed = match self.layout.tables(Stage::Sealed) {
            Ok(tables) => tables,
            Err(_) => fatal(format_args!("out of memory for page tables")),
        };
        for (core, area) in self.layout.areas.iter().enumerate() {
            let more: &[u16] = if core == 0 { &self.open_ports } else { &[] };
            // SAFETY: prepared at boot; not sealed yet.
            unsafe { supervisor::restrict_ports(*area, SEALED_PORTS.iter().chain(more)) };
        }
        // SAFETY: the tables map all RAM, the image, the stacks, and the devices asked for; the
        // open tables are dropped without being freed.
        unsafe { protection::install(&sealed, Stage::Sealed) };
        // Logged here, for until the image's main function has begun its level is not known.
        log::debug!("sealed, TSC at {} kHz", clock::tsc_khz());
        processors::run(seats)
    }
}

/// Ports that stay open after the seal: the console, and isa-debug-exit's four bytes.
const SEALED_PORTS: [u16; 12] = [
    0x3f8, 0x3f9, 0x3fa, 0x3fb, 0x3fc, 0x3fd, 0x3fe, 0x3ff, 0xf4, 0xf5, 0xf6, 0xf7,
];

/// Makes `fn main(machine: kernel::machine::Machine) -> !` the image's main function.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        #[unsafe(no_mangle)]
        fn sluice_main(machine: $crate::machine::Machine) -> ! {
            let main: fn($crate::machine::Machine) -> ! = $main;
            main(machine)
        }
    };
}
