//! Base addresses: where a function's registers are, and a place for those that firmware left
//! without one.

use virtio_drivers::transport::pci::bus::{
    BarInfo, Command, ConfigurationAccess, DeviceFunction, MemoryBarType, PciError, PciRoot,
};

/// Addresses from here up cannot be mapped one to one.
const ADDRESSES_END: u64 = 1 << 47;

/// Addresses that may be given to functions which have none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AddressWindow {
    /// The first address not given away yet.
    pub(crate) next: u64,
    /// The end of the window.
    pub(crate) end: u64,
}

/// Why a function's registers cannot be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BarError {
    /// A base address register makes no sense.
    Invalid,
    /// No address was left to give.
    NoRoom,
    /// They lie where they cannot be mapped.
    OutOfReach,
}

impl From<PciError> for BarError {
    fn from(_: PciError) -> Self {
        BarError::Invalid
    }
}

/// A stretch of device memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct BarRange {
    /// First address.
    pub(crate) address: u64,
    /// Length in bytes; 0 for a register that is not in use, or is for ports.
    pub(crate) len_bytes: u64,
}

impl AddressWindow {
    /// Takes `len_bytes`, a power of two, aligned to itself.
    fn take(&mut self, len_bytes: u64) -> Option<u64> {
        let start = self.next.checked_next_multiple_of(len_bytes)?;
        let next = start.checked_add(len_bytes)?;
        if next > self.end {
            return None;
        }
        self.next = next;
        Some(start)
    }
}

/// Gives every memory register of a function an address, from `window` where firmware did not; turns on
/// memory access, bus mastering, and off the interrupt pin. Returns the six ranges, each below 2^47.
pub(crate) fn place_and_enable<C: ConfigurationAccess>(
    root: &mut PciRoot<C>,
    place: DeviceFunction,
    window: Option<&mut AddressWindow>,
) -> Result<[BarRange; 6], BarError> {
    let bars = root.bars(place)?;
    let mut ranges = [BarRange::default(); 6];
    let mut window = window;
    for (index, bar) in bars.into_iter().enumerate() {
        let Some(BarInfo::Memory {
            address_type,
            address,
            size,
            ..
        }) = bar
        else {
            continue;
        };
        if size == 0 || !size.is_power_of_two() {
            return Err(BarError::Invalid);
        }
        let end = address.checked_add(size);
        if end.is_none_or(|end| end > ADDRESSES_END) {
            return Err(BarError::OutOfReach);
        }
        let address = if address != 0 {
            address
        } else {
            let window = window.as_deref_mut().ok_or(BarError::NoRoom)?;
            // Registers of two functions must not share a page of the page tables.
            let given = window.take(size.max(4096)).ok_or(BarError::NoRoom)?;
            if address_type == MemoryBarType::Width64 {
                root.set_bar_64(place, index as u8, given);
            } else {
                root.set_bar_32(place, index as u8, given as u32);
            }
            given
        };
        ranges[index] = BarRange {
            address,
            len_bytes: size,
        };
    }
    let (_, command) = root.get_status_command(place);
    let wanted = Command::MEMORY_SPACE | Command::BUS_MASTER | Command::INTERRUPT_DISABLE;
    root.set_command(place, command | wanted);
    Ok(ranges)
}

#[cfg(test)]
mod tests {
    use super::super::fake::FakeBus;
    use super::*;

    const PLACE: DeviceFunction = DeviceFunction {
        bus: 0,
        device: 2,
        function: 0,
    };

    /// Ports at 0, 4 KiB of 32-bit memory at 1, 16 KiB of 64-bit memory at 4.
    fn root(bar1: u32, bar4: u64) -> PciRoot<FakeBus> {
        let mut bus = FakeBus::default();
        bus.bar(0, 2, 0, 0xffff_ffe1, 0xc001);
        bus.bar(0, 2, 1, 0xffff_f000, bar1);
        bus.bar(0, 2, 4, 0xffff_c00c, bar4 as u32 | 0xc);
        bus.bar(0, 2, 5, 0xffff_ffff, (bar4 >> 32) as u32);
        PciRoot::new(bus)
    }

    #[test]
    fn firmware_addresses_stay_and_memory_is_enabled() {
        let mut root = root(0xfebd_1000, 0xfe00_0000);
        let ranges = place_and_enable(&mut root, PLACE, None).unwrap();
        assert_eq!(ranges[0].len_bytes, 0);
        assert_eq!(
            ranges[1],
            BarRange {
                address: 0xfebd_1000,
                len_bytes: 0x1000
            }
        );
        assert_eq!(
            ranges[4],
            BarRange {
                address: 0xfe00_0000,
                len_bytes: 0x4000
            }
        );
        let (_, command) = root.get_status_command(PLACE);
        assert_eq!(command.bits(), 0x406);
    }

    #[test]
    fn missing_addresses_come_from_the_window() {
        let mut root = root(0, 0);
        let mut window = AddressWindow {
            next: 0xc000_0000,
            end: 0xc001_0000,
        };
        let ranges = place_and_enable(&mut root, PLACE, Some(&mut window)).unwrap();
        assert_eq!(ranges[1].address, 0xc000_0000);
        assert_eq!(ranges[4].address, 0xc000_4000);
        assert_eq!(window.next, 0xc000_8000);
        let again = place_and_enable(&mut root, PLACE, None).unwrap();
        assert_eq!(again, ranges);
    }

    #[test]
    fn addresses_above_4_gib_stay() {
        let far = 0x38_0000_0000_u64;
        let ranges = place_and_enable(&mut root(0xfebd_1000, far), PLACE, None).unwrap();
        assert_eq!((ranges[4].address, ranges[4].len_bytes), (far, 0x4000));
    }

    #[test]
    fn no_room_and_out_of_reach_are_told_apart() {
        let refused = place_and_enable(&mut root(0, 0xfe00_0000), PLACE, None);
        assert_eq!(refused, Err(BarError::NoRoom));
        for beyond in [1 << 47, 0xffff_ffff_ffff_0000] {
            let refused = place_and_enable(&mut root(0xfebd_1000, beyond), PLACE, None);
            assert_eq!(refused, Err(BarError::OutOfReach));
        }
        let mut small = AddressWindow {
            next: 0xc000_0000,
            end: 0xc000_3000,
        };
        let refused = place_and_enable(&mut root(0, 0), PLACE, Some(&mut small));
        assert_eq!(refused, Err(BarError::NoRoom));
    }
}
