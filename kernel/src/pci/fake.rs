//! A configuration space in memory, with base addresses that can be sized.

use std::collections::BTreeMap;
use virtio_drivers::transport::pci::bus::{ConfigurationAccess, DeviceFunction};

type Words = [u32; 64];

/// The functions of a bus; nobody else answers.
#[derive(Default, Clone)]
pub(super) struct FakeBus {
    functions: BTreeMap<DeviceFunction, Words>,
    /// Bits of a base address register that can be written.
    masks: BTreeMap<(DeviceFunction, u8), u32>,
}

impl FakeBus {
    /// Returns the registers of a function, made now if need be.
    pub(super) fn function(&mut self, bus: u8, device: u8, function: u8) -> &mut Words {
        let place = DeviceFunction {
            bus,
            device,
            function,
        };
        self.functions.entry(place).or_insert([0; 64])
    }

    /// Sets a base address register of function 0: what it reads after all ones, and its value.
    pub(super) fn bar(&mut self, bus: u8, device: u8, index: u8, size: u32, value: u32) {
        let kind = if size & 1 == 1 { 3 } else { 15 };
        let place = DeviceFunction {
            bus,
            device,
            function: 0,
        };
        // The upper half of a 64-bit register has no kind bits.
        let mask = if size == u32::MAX { size } else { size & !kind };
        self.masks.insert((place, 0x10 + 4 * index), mask);
        let fixed = size & !mask;
        self.function(bus, device, 0)[4 + usize::from(index)] = value & mask | fixed;
    }
}

impl ConfigurationAccess for FakeBus {
    fn read_word(&self, place: DeviceFunction, offset: u8) -> u32 {
        let words = self.functions.get(&place);
        words.map_or(u32::MAX, |words| words[usize::from(offset / 4)])
    }

    fn write_word(&mut self, place: DeviceFunction, offset: u8, data: u32) {
        let is_bar = (0x10..0x28).contains(&offset);
        let default = if is_bar { 0 } else { u32::MAX };
        let mask = self.masks.get(&(place, offset)).copied().unwrap_or(default);
        if let Some(words) = self.functions.get_mut(&place) {
            let word = &mut words[usize::from(offset / 4)];
            *word = *word & !mask | data & mask;
        }
    }

    unsafe fn unsafe_clone(&self) -> Self {
        self.clone()
    }
}
