//! MSI-X: interrupts as stores to a core's local APIC (PCI 3.0 §6.8.2; Intel SDM vol. 3 §11.11).

use super::bars::BarRange;
use super::functions::Capability;
use crate::virtio::device::InterruptTarget;
use core::ptr::NonNull;
use virtio_drivers::transport::pci::bus::{ConfigurationAccess, DeviceFunction};

/// Id of the capability.
pub(crate) const MSIX_CAPABILITY: u8 = 0x11;
/// Message control: on.
const ENABLE: u16 = 1 << 15;
/// Message control: all entries masked.
const FUNCTION_MASK: u16 = 1 << 14;
/// Where local APICs take messages; the APIC id goes to bit 12.
const MESSAGE_ADDRESS: u32 = 0xfee0_0000;
/// Bytes of one entry.
const ENTRY_BYTES: usize = 16;

/// A function's table of interrupts.
pub(crate) struct MsixTable {
    start: NonNull<u32>,
    entries: usize,
}

// SAFETY: the table is device memory that stays where it is; stores to it may come from any core.
unsafe impl Send for MsixTable {}

impl MsixTable {
    /// Finds the table that `capability` names inside of `bars`, and turns MSI-X on, each entry
    /// masked until it is written. `None` when the table is not where it says.
    ///
    /// # Safety
    /// `bars` must be the function's own ranges, mapped one to one, and stay so.
    pub(crate) unsafe fn enable<C: ConfigurationAccess>(
        access: &mut C,
        place: DeviceFunction,
        capability: Capability,
        bars: &[BarRange; 6],
    ) -> Option<Self> {
        let entries = usize::from(capability.head & 0x7ff) + 1;
        let word = access.read_word(place, capability.offset.checked_add(4)?);
        let (bar, offset) = (word as usize & 7, u64::from(word & !7));
        let range = bars.get(bar)?;
        if offset + (entries * ENTRY_BYTES) as u64 > range.len_bytes {
            return None;
        }
        let address = usize::try_from(range.address + offset).ok()?;
        let start = NonNull::new(core::ptr::with_exposed_provenance_mut(address))?;
        let control = capability.head & !FUNCTION_MASK | ENABLE;
        access.write_word(place, capability.offset, u32::from(control) << 16);
        Some(MsixTable { start, entries })
    }

    /// Returns the number of entries.
    pub(crate) fn entries(&self) -> usize {
        self.entries
    }

    /// Leads entry `index` to a core; false when there is no such entry.
    pub(crate) fn route(&mut self, index: usize, target: InterruptTarget) -> bool {
        if index >= self.entries {
            return false;
        }
        let address = MESSAGE_ADDRESS | u32::from(target.apic_id) << 12;
        // Address, its upper half, data, and the mask bit last: 0 lets the entry through.
        for (word, value) in [address, 0, target.vector.into(), 0]
            .into_iter()
            .enumerate()
        {
            // SAFETY: `index` is inside of the table, which `enable` found to be inside of its
            // range; the stores can only make the device send a vector to a local APIC.
            unsafe {
                self.start
                    .add(index * ENTRY_BYTES / 4 + word)
                    .write_volatile(value)
            };
        }
        true
    }
}
