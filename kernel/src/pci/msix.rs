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
/// Its last word, and the bit of it that holds the entry back.
const VECTOR_CONTROL: usize = 3;
const MASKED: u32 = 1;

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
        let table = MsixTable { start, entries };
        for index in 0..entries {
            table.write(index, VECTOR_CONTROL, MASKED);
        }
        let control = capability.head & !FUNCTION_MASK | ENABLE;
        access.write_word(place, capability.offset, u32::from(control) << 16);
        Some(table)
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
            self.write(index, word, value);
        }
        true
    }

    /// Writes a word of entry `index`, which must be one.
    fn write(&self, index: usize, word: usize, value: u32) {
        // SAFETY: `index` is inside of the table, which `enable` found to be inside of its range; the
        // stores can only make the device send a vector to a local APIC.
        unsafe {
            self.start
                .add(index * ENTRY_BYTES / 4 + word)
                .write_volatile(value)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::FakeBus;
    use super::*;
    use std::boxed::Box;

    const PLACE: DeviceFunction = DeviceFunction {
        bus: 0,
        device: 1,
        function: 0,
    };

    /// Three entries at offset 0x40 of register 1, which is a page of memory; what configuration
    /// space says then about the capability.
    fn enable(bar: u32) -> (Option<MsixTable>, u32, *const u32) {
        let page = Box::leak(Box::new([0x5a5a_5a5a_u32; 1024])).as_mut_ptr();
        let mut bars = [BarRange::default(); 6];
        bars[1] = BarRange {
            address: page.expose_provenance() as u64,
            len_bytes: 4096,
        };
        let mut bus = FakeBus::default();
        let words = bus.function(0, 1, 0);
        words[0x84 / 4] = 0x40 | bar;
        let capability = Capability {
            id: MSIX_CAPABILITY,
            offset: 0x80,
            head: 0x4002,
        };
        // SAFETY: the range is memory of this test's own, which it gave away for ever.
        let table = unsafe { MsixTable::enable(&mut bus, PLACE, capability, &bars) };
        (table, bus.read_word(PLACE, 0x80), page)
    }

    #[test]
    fn an_entry_leads_to_its_core_and_the_others_are_masked() {
        let (table, control, page) = enable(1);
        let mut table = table.unwrap();
        assert_eq!((table.entries(), control), (3, 0x8002_0000));
        let target = InterruptTarget {
            apic_id: 5,
            vector: 0x30,
        };
        assert!(table.route(1, target) && !table.route(3, target));
        // SAFETY: 64 words into the leaked page.
        let words = unsafe { core::slice::from_raw_parts(page.add(16), 16) };
        let (old, masked) = (0x5a5a_5a5a, 1);
        assert_eq!(words[..4], [old, old, old, masked]);
        assert_eq!(words[4..8], [0xfee0_5000, 0, 0x30, 0]);
        assert_eq!(words[8..12], [old, old, old, masked]);
        assert_eq!(words[12..], [old; 4], "behind the table");
    }

    #[test]
    fn a_table_outside_of_the_functions_memory_is_refused() {
        for bar in [0, 2, 6, 7] {
            let (table, control, _) = enable(bar);
            assert!(table.is_none());
            assert_eq!(control, 0, "turned on all the same");
        }
    }
}
