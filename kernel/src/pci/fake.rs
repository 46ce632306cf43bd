//! A configuration space in memory, with base addresses that can be sized, and a virtio function in it.

use std::alloc::{Layout, alloc_zeroed};
use std::boxed::Box;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use virtio_drivers::transport::pci::bus::{ConfigurationAccess, DeviceFunction};

type Words = [u32; 64];

/// The functions of a bus; nobody else answers.
#[derive(Default, Clone)]
pub(crate) struct FakeBus {
    functions: BTreeMap<DeviceFunction, Words>,
    /// Bits of a base address register that can be written.
    masks: BTreeMap<(DeviceFunction, u8), u32>,
}

impl FakeBus {
    /// Returns the registers of a function, made now if need be.
    pub(crate) fn function(&mut self, bus: u8, device: u8, function: u8) -> &mut Words {
        let place = DeviceFunction {
            bus,
            device,
            function,
        };
        self.functions.entry(place).or_insert([0; 64])
    }

    /// Sets a base address register of function 0: what it reads after all ones, and its value.
    pub(crate) fn bar(&mut self, bus: u8, device: u8, index: u8, size: u32, value: u32) {
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
        let default = match offset {
            // The status above the command is not written by what goes there.
            0x04 => 0xffff,
            0x10..0x28 => 0,
            _ => u32::MAX,
        };
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

/// A bus that drivers keep copies of.
#[derive(Clone, Copy)]
pub(crate) struct SharedBus(&'static Mutex<FakeBus>);

impl SharedBus {
    fn bus(&self) -> MutexGuard<'static, FakeBus> {
        self.0
            .lock()
            .expect("no test panics while it holds the bus")
    }
}

impl ConfigurationAccess for SharedBus {
    fn read_word(&self, place: DeviceFunction, offset: u8) -> u32 {
        self.bus().read_word(place, offset)
    }

    fn write_word(&mut self, place: DeviceFunction, offset: u8, data: u32) {
        self.bus().write_word(place, offset, data);
    }

    unsafe fn unsafe_clone(&self) -> Self {
        *self
    }
}

/// A modern virtio-net function alone on its bus, whose registers are memory: three MSI-X entries at
/// base address 0, everything else at base address 4, as QEMU has it. Both lie above 4 GiB.
pub(crate) struct VirtioFunction {
    pub(crate) bus: SharedBus,
    /// Address of the MSI-X table.
    pub(crate) msix: u64,
    /// Address of the structures: common at 0, ISR at 0x1000, device at 0x2000, doorbells at 0x3000.
    pub(crate) registers: u64,
}

impl VirtioFunction {
    pub(crate) const PLACE: DeviceFunction = DeviceFunction {
        bus: 0,
        device: 2,
        function: 0,
    };
    /// Offsets in configuration space of the capabilities.
    pub(crate) const COMMON: usize = 0x40;
    pub(crate) const NOTIFY: usize = 0x50;
    pub(crate) const ISR: usize = 0x64;
    pub(crate) const DEVICE: usize = 0x74;
    pub(crate) const MSIX: usize = 0x84;

    pub(crate) fn new() -> Self {
        // For ever, as a machine's.
        let memory = |bytes| {
            let layout = Layout::from_size_align(bytes, bytes).expect("a power of two");
            // SAFETY: the size is not 0.
            let start = unsafe { alloc_zeroed(layout) };
            assert!(!start.is_null());
            start.expose_provenance() as u64
        };
        let (msix, registers) = (memory(0x1000), memory(0x4000));
        let mut bus = FakeBus::default();
        for (index, size, address) in [(0, 0xffff_f00c, msix), (4, 0xffff_c00c, registers)] {
            bus.bar(0, 2, index, size, address as u32 | 0xc);
            bus.bar(0, 2, index + 1, u32::MAX, (address >> 32) as u32);
        }
        let words = bus.function(0, 2, 0);
        words[0] = 0x1041_1af4;
        words[1] = 0x0010_0000;
        words[0x34 / 4] = Self::COMMON as u32;
        let structures = [
            (Self::COMMON, 1, Self::NOTIFY, 0, 0x1000),
            (Self::NOTIFY, 2, Self::ISR, 0x3000, 0x1000),
            (Self::ISR, 3, Self::DEVICE, 0x1000, 0x1000),
            (Self::DEVICE, 4, Self::MSIX, 0x2000, 0x1000),
        ];
        for (at, kind, next, offset, len_bytes) in structures {
            let head = kind << 24 | 0x14 << 16 | (next as u32) << 8 | 0x09;
            words[at / 4..][..4].copy_from_slice(&[head, 4, offset, len_bytes]);
        }
        words[Self::NOTIFY / 4 + 4] = 4;
        words[Self::MSIX / 4] = 0x0002_0011;
        VirtioFunction {
            bus: SharedBus(Box::leak(Box::new(Mutex::new(bus)))),
            msix,
            registers,
        }
    }

    /// Sets a word of its configuration space.
    pub(crate) fn set(&self, offset: usize, word: u32) {
        self.bus.bus().function(0, 2, 0)[offset / 4] = word;
    }
}
