//! Finding the functions of a bus, and walking a function's capabilities, both bounded whatever the
//! registers say.

use alloc::vec::Vec;
use virtio_drivers::transport::pci::bus::{ConfigurationAccess, DeviceFunction};

/// Capabilities looked at before a list is taken for endless: all that fit.
const MAX_CAPABILITIES: usize = 48;
/// Buses behind bridges that are visited.
const MAX_BUSES: usize = 16;

/// A function that answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Function {
    /// Where it is.
    pub(crate) place: DeviceFunction,
    /// Vendor.
    pub(crate) vendor: u16,
    /// Device, by its vendor's numbers.
    pub(crate) device: u16,
}

/// A capability: its id, its offset, and the 16 bits behind its head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Capability {
    /// What it is.
    pub(crate) id: u8,
    /// Where it starts in configuration space.
    pub(crate) offset: u8,
    /// Its third and fourth byte.
    pub(crate) head: u16,
}

/// Returns the functions of bus 0 and of the buses behind its bridges that firmware has numbered.
pub(crate) fn functions(access: &impl ConfigurationAccess) -> Vec<Function> {
    let mut found = Vec::new();
    let mut buses = alloc::vec![0];
    let mut visited = 0;
    while visited < buses.len() && visited < MAX_BUSES {
        let bus = buses[visited];
        visited += 1;
        for device in 0..32 {
            let first = DeviceFunction {
                bus,
                device,
                function: 0,
            };
            let Some(header) = probe(access, first, &mut found) else {
                continue;
            };
            cross_bridge(access, first, header, &mut buses);
            let several = header & 0x80 != 0;
            for function in 1..if several { 8 } else { 1 } {
                let place = DeviceFunction { function, ..first };
                if let Some(header) = probe(access, place, &mut found) {
                    cross_bridge(access, place, header, &mut buses);
                }
            }
        }
    }
    found
}

/// Notes the bus behind `place`, if it is a bridge: one that firmware set up knows it.
fn cross_bridge(
    access: &impl ConfigurationAccess,
    place: DeviceFunction,
    header: u8,
    buses: &mut Vec<u8>,
) {
    if header & 0x7f == 1 {
        let secondary = (access.read_word(place, 0x18) >> 8) as u8;
        if secondary != 0 && !buses.contains(&secondary) {
            buses.push(secondary);
        }
    }
}

/// Notes `place` if a function answers there, and returns its header type.
fn probe(
    access: &impl ConfigurationAccess,
    place: DeviceFunction,
    found: &mut Vec<Function>,
) -> Option<u8> {
    let id = access.read_word(place, 0);
    // Nobody there reads as ones, and on a machine without the bridge as zeros.
    if id == u32::MAX || id == 0 {
        return None;
    }
    found.push(Function {
        place,
        vendor: id as u16,
        device: (id >> 16) as u16,
    });
    Some((access.read_word(place, 0x0c) >> 16) as u8)
}

/// Returns the capabilities of a function.
pub(crate) fn capabilities(
    access: &impl ConfigurationAccess,
    place: DeviceFunction,
) -> Vec<Capability> {
    let has_list = access.read_word(place, 4) >> 16 & 0x10 != 0;
    let mut found = Vec::new();
    let mut offset = if has_list {
        access.read_word(place, 0x34) as u8 & 0xfc
    } else {
        0
    };
    while offset >= 0x40 && found.len() < MAX_CAPABILITIES {
        let word = access.read_word(place, offset);
        found.push(Capability {
            id: word as u8,
            offset,
            head: (word >> 16) as u16,
        });
        offset = (word >> 8) as u8 & 0xfc;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::fake::FakeBus;
    use super::*;
    use std::vec;

    #[test]
    fn every_function_is_found_and_bridges_are_crossed() {
        let mut bus = FakeBus::default();
        for (device, function, id, header) in [
            (0, 0, 0x29c0_8086, 0),
            (3, 0, 0x1041_1af4, 0x80),
            (3, 5, 0x1044_1af4, 0),
            (4, 0, 0x000c_1b36, 1),
            (5, 0, 0x000c_1b36, 0x81),
            (5, 3, 0x000c_1b36, 0x81),
            (5, 4, 0x000c_1b36, 0x81),
        ] {
            let words = bus.function(0, device, function);
            words[0] = id;
            words[3] = header << 16;
        }
        // Not looked for: the device does not say that it has several functions.
        bus.function(0, 0, 2)[0] = 0x1041_1af4;
        bus.function(0, 4, 0)[6] = 0x0001_0100;
        bus.function(1, 0, 0)[0] = 0x1000_1af4;
        // A root port of several: the first has no number yet, the others lead to buses 7 and, once
        // more, 1.
        bus.function(0, 5, 3)[6] = 0x0007_0700;
        bus.function(0, 5, 4)[6] = 0x0001_0100;
        bus.function(7, 0, 0)[0] = 0x1041_1af4;
        // Nobody leads here.
        bus.function(8, 0, 0)[0] = 0x1041_1af4;
        let found: Vec<_> = functions(&bus)
            .iter()
            .map(|function| (function.place.bus, function.place.device, function.device))
            .collect();
        assert_eq!(
            found,
            [
                (0, 0, 0x29c0),
                (0, 3, 0x1041),
                (0, 3, 0x1044),
                (0, 4, 0x000c),
                (0, 5, 0x000c),
                (0, 5, 0x000c),
                (0, 5, 0x000c),
                (1, 0, 0x1000),
                (7, 0, 0x1041),
            ]
        );
    }

    #[test]
    fn buses_without_end_are_left_alone() {
        let mut bus = FakeBus::default();
        for number in 0..=255_u8 {
            let words = bus.function(number, 0, 0);
            words[0] = 0x000c_1b36;
            words[3] = 1 << 16;
            words[6] = u32::from(number.wrapping_add(1)) << 8;
        }
        assert_eq!(functions(&bus).len(), MAX_BUSES);
    }

    #[test]
    fn a_capability_list_in_a_circle_ends() {
        let mut bus = FakeBus::default();
        let words = bus.function(0, 1, 0);
        words[1] = 0x0010_0000;
        words[0x34 / 4] = 0x40;
        words[0x40 / 4] = 0x8001_5011;
        words[0x50 / 4] = 0x0000_4009;
        let place = DeviceFunction {
            bus: 0,
            device: 1,
            function: 0,
        };
        let found = capabilities(&bus, place);
        assert_eq!(found.len(), MAX_CAPABILITIES);
        assert_eq!(
            found[0],
            Capability {
                id: 0x11,
                offset: 0x40,
                head: 0x8001
            }
        );
        bus.function(0, 1, 0)[1] = 0;
        assert_eq!(capabilities(&bus, place), vec![]);
    }
}
