//! Interrupts as the data plane knows them: one vector that wakes a core, and the ways to aim a
//! device at it.
//!
//! Every device interrupt, whatever its source, only sets its core's wake flag; drivers look at
//! their rings. So one vector serves all, and shared or stray interrupts cost a look.
//! Upstream: the I/O APICs (82093AA §3.2), MSI (Intel SDM vol. 3 §11.11). Downstream: discovery.

use super::Machine;
use crate::CoreId;
use crate::acpi::IoApic;

/// Vector for every device interrupt, by MSI-X or I/O APIC.
pub const DEVICE_VECTOR: u8 = 0x30;
/// Vector of the power button, which sets a word of its own too.
pub(super) const POWER_VECTOR: u8 = 0x31;

/// I/O APICs of QEMU's machines, for when there is no ACPI to say where they are.
const USUAL_IO_APIC: u64 = 0xfec0_0000;
/// The second I/O APIC of QEMU's microvm, which serves its virtio-mmio devices.
const SECOND_IO_APIC: u64 = 0xfec1_0000;
/// Pins of each of them.
const USUAL_PINS: u32 = 24;

/// A device's interrupt cannot be aimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteError {
    /// No I/O APIC has this interrupt.
    NoPin,
    /// There is no such core, or its APIC id is above 254.
    NoCore,
}

/// Where an MSI or MSI-X vector is to be written so that it wakes a core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageTarget {
    /// Message address.
    pub address: u64,
    /// Message data.
    pub data: u32,
}

impl Machine {
    /// Returns the local APIC id of `core`.
    pub fn apic_id(&self, core: CoreId) -> Option<u32> {
        self.apic_ids.get(core.index()).copied()
    }

    /// Returns what to program into an MSI-X entry so that it wakes `core`.
    pub fn message_target(&self, core: CoreId) -> Option<MessageTarget> {
        let apic_id = self.apic_id(core).filter(|id| *id < 0xff)?;
        let address = super::local_apic::LAPIC | u64::from(apic_id) << 12;
        Some(MessageTarget {
            address,
            data: u32::from(DEVICE_VECTOR),
        })
    }

    /// Aims global system interrupt `gsi` at `core`: edge-triggered, active high, so that a device
    /// that is acknowledged late raises no storm.
    ///
    /// # Errors
    /// See [`RouteError`].
    pub fn route_interrupt(&mut self, gsi: u32, core: CoreId) -> Result<(), RouteError> {
        self.route(gsi, core, DEVICE_VECTOR)
    }

    /// The same, to a vector that is chosen.
    pub(super) fn route(&mut self, gsi: u32, core: CoreId, vector: u8) -> Result<(), RouteError> {
        let apic_id = self
            .apic_id(core)
            .filter(|id| *id < 0xff)
            .ok_or(RouteError::NoCore)?;
        let io_apic = self
            .io_apics
            .iter()
            .filter(|io_apic| io_apic.first_gsi <= gsi)
            .max_by_key(|io_apic| io_apic.first_gsi)
            .ok_or(RouteError::NoPin)?;
        let pin = gsi - io_apic.first_gsi;
        let last_pin = read(io_apic.address, 1) >> 16 & 0xff;
        if pin > last_pin {
            return Err(RouteError::NoPin);
        }
        write(io_apic.address, 0x11 + 2 * pin, apic_id << 24);
        write(io_apic.address, 0x10 + 2 * pin, u32::from(vector));
        Ok(())
    }

    /// Returns the interrupt of QEMU microvm's virtio-mmio transport `index` (at 0xfeb00000 + 512 *
    /// index): they are on the second I/O APIC where there is one, else from 16 with ACPI, else
    /// from 5.
    pub fn virtio_mmio_gsi(&self, index: u32) -> u32 {
        let has_second = self
            .io_apics
            .iter()
            .any(|io_apic| io_apic.address == SECOND_IO_APIC);
        match (has_second, self.rsdp) {
            (true, _) => USUAL_PINS + index,
            (false, Some(_)) => 16 + index,
            (false, None) => 5 + index,
        }
    }
}

/// Guesses at the I/O APICs where ACPI does not list them: a version register that reads as one.
pub(super) fn usual_io_apics() -> impl Iterator<Item = IoApic> {
    let places = [(USUAL_IO_APIC, 0), (SECOND_IO_APIC, USUAL_PINS)];
    let is_there = |address| matches!(read(address, 1) & 0xff, 0x11..=0x2f);
    let found = places
        .into_iter()
        .filter(move |(address, _)| is_there(*address));
    found.map(|(address, first_gsi)| IoApic { address, first_gsi })
}

/// Reads an I/O APIC's register.
fn read(io_apic: u64, register: u32) -> u32 {
    // SAFETY: below 4 GiB, mapped uncached while the machine is open, as `&mut Machine` or boot
    // shows; the registers change no memory.
    unsafe {
        (io_apic as *mut u32).write_volatile(register);
        ((io_apic + 0x10) as *const u32).read_volatile()
    }
}

/// Writes an I/O APIC's register.
fn write(io_apic: u64, register: u32, value: u32) {
    // SAFETY: as in `read`; an entry leads to a vector that only sets a flag.
    unsafe {
        (io_apic as *mut u32).write_volatile(register);
        ((io_apic + 0x10) as *mut u32).write_volatile(value);
    }
}
