//! The two ways to configuration space: the ports 0xCF8 and 0xCFC, and the memory window (ECAM).

use core::arch::asm;
use core::ptr::NonNull;
use virtio_drivers::transport::pci::bus::{ConfigurationAccess, DeviceFunction};

/// Port of the address register; the data register is 4 further.
const ADDRESS_PORT: u16 = 0xcf8;
const DATA_PORT: u16 = 0xcfc;
/// Bit of the address register that makes the data register lead to configuration space.
const ENABLE: u32 = 1 << 31;
/// Bytes of ECAM for one bus.
pub(crate) const ECAM_BUS_BYTES: u64 = 1 << 20;

/// A way to the configuration space of bus 0 and what is behind it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Access {
    /// By ports, for every bus.
    Ports,
    /// By memory, for as many buses as the window holds.
    Ecam {
        /// The window.
        base: NonNull<u8>,
        /// Number of buses in it.
        buses: u16,
    },
}

impl ConfigurationAccess for Access {
    fn read_word(&self, function: DeviceFunction, offset: u8) -> u32 {
        match *self {
            Access::Ports => {
                out32(ADDRESS_PORT, ENABLE | place(function, offset));
                in32(DATA_PORT)
            }
            Access::Ecam { base, buses } if u16::from(function.bus) < buses => {
                // SAFETY: whoever made the value vouched for the window; the place is inside, and
                // aligned to 4 bytes. Reading configuration space has no effect on memory.
                unsafe {
                    base.add(ecam_place(function, offset))
                        .cast::<u32>()
                        .read_volatile()
                }
            }
            Access::Ecam { .. } => u32::MAX,
        }
    }

    fn write_word(&mut self, function: DeviceFunction, offset: u8, data: u32) {
        match *self {
            Access::Ports => {
                out32(ADDRESS_PORT, ENABLE | place(function, offset));
                out32(DATA_PORT, data);
            }
            Access::Ecam { base, buses } if u16::from(function.bus) < buses => {
                // SAFETY: as in `read_word`; what is written there is the business of `bars` and
                // `msix`, which let no device reach memory that it was not given.
                unsafe {
                    base.add(ecam_place(function, offset))
                        .cast::<u32>()
                        .write_volatile(data)
                }
            }
            Access::Ecam { .. } => {}
        }
    }

    unsafe fn unsafe_clone(&self) -> Self {
        *self
    }
}

/// Returns the address of a register in the format of the address port.
fn place(function: DeviceFunction, offset: u8) -> u32 {
    let device = u32::from(function.device & 31) << 11 | u32::from(function.function & 7) << 8;
    u32::from(function.bus) << 16 | device | u32::from(offset & 0xfc)
}

/// Returns the offset of a register in the ECAM window.
fn ecam_place(function: DeviceFunction, offset: u8) -> usize {
    ((place(function, 0) as usize) << 4) | usize::from(offset & 0xfc)
}

fn out32(port: u16, value: u32) {
    // SAFETY: the two ports lead to configuration space alone, and no memory operand is involved.
    unsafe {
        asm!("out dx, eax", in("dx") port, in("eax") value, options(nomem, nostack, preserves_flags));
    }
}

fn in32(port: u16) -> u32 {
    let value;
    // SAFETY: as in `out32`.
    unsafe {
        asm!("in eax, dx", in("dx") port, out("eax") value, options(nomem, nostack, preserves_flags));
    }
    value
}
