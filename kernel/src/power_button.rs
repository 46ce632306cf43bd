//! The ACPI power button: where its event is told, and the button as the data plane sees it.
//!
//! Two kinds of machine. On one with *fixed hardware* (QEMU's q35) the button is a bit of the PM1
//! event registers, which are ports, and its interrupt is the SCI (ACPI 6.5 §4.8.3.1, §5.2.9). On a
//! *hardware-reduced* one (QEMU's microvm) it comes through the generic event device, whose register
//! and interrupt are told in AML only (§5.6.9). No AML is run: the device's declaration is found by
//! its hardware id, and its first memory region and interrupt descriptor are read as they are encoded
//! (§20.2.5.2, §6.4.3.6). What is not found, or at ports that cannot be opened, is no button.
//!
//! Upstream: [`acpi`](crate::acpi). Downstream: the machine, which makes a [`PowerButton`] of it for
//! the boot core.

use crate::acpi::{find_table, global_interrupt};
use crate::limits::OPEN_PORTS;
use crate::physical_memory::PhysicalMemory;
use alloc::boxed::Box;
use core::sync::atomic::{AtomicU32, Ordering};

/// Where the button's event is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PowerButtonEvent {
    /// Its global system interrupt.
    pub gsi: u32,
    /// What says that it was this event.
    pub registers: EventRegisters,
}

/// What says which event an interrupt was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventRegisters {
    /// The PM1 event block: ports of its status and enable registers, 16 bits each. ACPI mode may
    /// have to be entered first, by writing `enter` to the SMI command port.
    Fixed {
        /// Status; a bit is cleared by writing it.
        status_port: u16,
        /// Enable.
        enable_port: u16,
        /// PM1 control, whose lowest bit says that ACPI mode is on.
        control_port: u16,
        /// SMI command port and what to write there, if there is one.
        enter: Option<(u16, u8)>,
    },
    /// The generic event device's register of events, 32 bits; reading clears them.
    GenericEvent {
        /// Its physical address.
        address: u64,
    },
}

/// The power button's bit in the PM1 status and enable registers.
pub const PM1_POWER_BUTTON: u16 = 1 << 8;
/// The power button's bit in the register of QEMU's generic event device.
pub const GED_POWER_DOWN: u32 = 1 << 1;

/// Flags of the FADT (§5.2.9, table 5.10).
const HAS_NO_FIXED_BUTTON: u32 = 1 << 4;
const IS_HARDWARE_REDUCED: u32 = 1 << 20;

/// Finds the button under the root pointer at `rsdp`.
pub fn find(memory: &impl PhysicalMemory, rsdp: u64) -> Option<PowerButtonEvent> {
    let fadt = find_table(memory, rsdp, b"FACP")?;
    let flags = read_u32(fadt, 112)?;
    if flags & IS_HARDWARE_REDUCED != 0 {
        return find_generic_event(find_dsdt(memory, fadt)?);
    }
    if flags & HAS_NO_FIXED_BUTTON != 0 {
        return None;
    }
    let reachable = |port: &u16| usize::from(*port) + 1 < OPEN_PORTS;
    let port = |offset| {
        let port = u16::try_from(read_u32(fadt, offset)?).ok();
        port.filter(reachable)
    };
    let status_port = port(56).filter(|port| *port != 0)?;
    let half = fadt.get(88)? / 2;
    let (smi, value) = (port(48)?, *fadt.get(52)?);
    let irq = u16::from_le_bytes(fadt.get(46..48)?.try_into().ok()?);
    let madt = find_table(memory, rsdp, b"APIC").unwrap_or_default();
    Some(PowerButtonEvent {
        gsi: global_interrupt(madt, irq),
        registers: EventRegisters::Fixed {
            status_port,
            enable_port: Some(status_port + u16::from(half.max(2))).filter(reachable)?,
            control_port: port(64)?,
            enter: (smi != 0 && value != 0).then_some((smi, value)),
        },
    })
}

fn read_u32(table: &[u8], offset: usize) -> Option<u32> {
    let bytes = table.get(offset..offset + 4)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

/// Returns the DSDT that a FADT names, by the long address if it has one.
fn find_dsdt<'a>(memory: &'a impl PhysicalMemory, fadt: &[u8]) -> Option<&'a [u8]> {
    let long = fadt.get(140..148).and_then(|bytes| bytes.try_into().ok());
    let address = match long.map(u64::from_le_bytes) {
        Some(address) if address != 0 => address,
        _ => read_u32(fadt, 40)?.into(),
    };
    if memory.bytes(address, 4)? != b"DSDT" {
        return None;
    }
    let bytes = memory.u32_at(address.checked_add(4)?)? as usize;
    memory.bytes(address, bytes.min(MAX_DSDT_BYTES))
}

/// Bytes of a DSDT that are looked through.
const MAX_DSDT_BYTES: usize = 256 << 10;

/// Finds the generic event device's declaration in AML.
fn find_generic_event(aml: &[u8]) -> Option<PowerButtonEvent> {
    let behind = |bytes: &'static [u8], from: &'_ [u8]| {
        let at = from.windows(bytes.len()).position(|part| part == bytes);
        at.map(|at| at + bytes.len())
    };
    // `_HID`'s value; then, in either order, the resources and the region.
    let device = &aml[behind(b"ACPI0013\0", aml)?..];
    // An extended interrupt descriptor of one interrupt: tag, length, flags, count, number.
    let interrupt = device.windows(9).find_map(|part| match part {
        [0x89, 6, 0, _, 1, number @ ..] => number.try_into().ok().map(u32::from_le_bytes),
        _ => None,
    })?;
    // OperationRegion(name, SystemMemory, DWord, …).
    let address = device.windows(12).find_map(|part| match part {
        [0x5b, 0x80, _, _, _, _, 0, 0x0c, address @ ..] => {
            address.try_into().ok().map(u32::from_le_bytes)
        }
        _ => None,
    })?;
    Some(PowerButtonEvent {
        gsi: interrupt,
        registers: EventRegisters::GenericEvent {
            address: address.into(),
        },
    })
}

/// The button, on the core that its interrupt wakes.
pub struct PowerButton {
    signal: &'static AtomicU32,
    take_event: Box<dyn FnMut() -> bool + Send>,
}

impl PowerButton {
    /// Makes a button of the word that its interrupt sets, and of what reads and clears its event.
    pub fn new(
        signal: &'static AtomicU32,
        take_event: impl FnMut() -> bool + Send + 'static,
    ) -> Self {
        PowerButton {
            signal,
            take_event: Box::new(take_event),
        }
    }

    /// Returns whether there was an interrupt since the last [`take_press`](Self::take_press). Cheap:
    /// asked in every turn.
    #[inline]
    pub fn is_signalled(&self) -> bool {
        self.signal.load(Ordering::Relaxed) != 0
    }

    /// Returns whether the button was pressed since the last call. Reads a device register.
    pub fn take_press(&mut self) -> bool {
        self.signal.swap(0, Ordering::AcqRel);
        (self.take_event)()
    }
}

impl core::fmt::Debug for PowerButton {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("PowerButton").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::physical_memory::tests::Blocks;
    use std::vec;
    use std::vec::Vec;

    fn machine(fadt: Vec<u8>, dsdt: &[u8]) -> Blocks {
        let mut memory = Blocks::default();
        let mut rsdp = b"RSD PTR \0BOCHS \0".to_vec();
        rsdp.extend(0x2000_u32.to_le_bytes());
        memory.put(0xf_0000, rsdp);
        let mut rsdt = b"RSDT".to_vec();
        rsdt.extend(40_u32.to_le_bytes());
        rsdt.resize(36, 0);
        rsdt.extend(0x3000_u32.to_le_bytes());
        memory.put(0x2000, rsdt);
        memory.put(0x3000, fadt);
        let mut table = b"DSDT".to_vec();
        table.extend((8 + dsdt.len() as u32).to_le_bytes());
        table.extend(dsdt);
        memory.put(0x4000, table);
        memory
    }

    fn fadt(flags: u32) -> Vec<u8> {
        let mut fadt = vec![0; 244];
        fadt[..4].copy_from_slice(b"FACP");
        let mut put = |offset: usize, bytes: &[u8]| {
            fadt[offset..offset + bytes.len()].copy_from_slice(bytes);
        };
        put(4, &244_u32.to_le_bytes());
        put(40, &0x4000_u32.to_le_bytes());
        put(46, &9_u16.to_le_bytes());
        put(48, &0xb2_u32.to_le_bytes());
        put(52, &[2]);
        put(56, &0x600_u32.to_le_bytes());
        put(64, &0x604_u32.to_le_bytes());
        put(88, &[4]);
        put(112, &flags.to_le_bytes());
        fadt
    }

    #[test]
    fn fixed_hardware_has_its_button_in_the_pm1_block() {
        let memory = machine(fadt(0), &[]);
        let button = find(&memory, 0xf_0000).expect("a button");
        assert_eq!(button.gsi, 9);
        assert_eq!(
            button.registers,
            EventRegisters::Fixed {
                status_port: 0x600,
                enable_port: 0x602,
                control_port: 0x604,
                enter: Some((0xb2, 2)),
            }
        );
        let memory = machine(fadt(HAS_NO_FIXED_BUTTON), &[]);
        assert_eq!(find(&memory, 0xf_0000), None);
    }

    fn generic_event_device() -> Vec<u8> {
        let mut aml = b"\x08_HID\x0dACPI0013\0\x08_CRS\x11\x0e\x0a\x0b".to_vec();
        aml.extend([0x89, 6, 0, 3, 1, 9, 0, 0, 0, 0x79, 0]);
        aml.extend(b"\x5b\x80EREG\0\x0c\0\0\xa0\xfe\x0a\x04");
        aml
    }

    #[test]
    fn hardware_reduced_machines_have_it_in_the_generic_event_device() {
        let aml = generic_event_device();
        let memory = machine(fadt(IS_HARDWARE_REDUCED), &aml);
        let wanted = PowerButtonEvent {
            gsi: 9,
            registers: EventRegisters::GenericEvent {
                address: 0xfea0_0000,
            },
        };
        assert_eq!(find(&memory, 0xf_0000), Some(wanted));
    }

    #[test]
    fn tables_that_are_cut_short_have_no_button_and_do_no_harm() {
        let aml = generic_event_device();
        for bytes in 0..aml.len() - 2 {
            let memory = machine(fadt(IS_HARDWARE_REDUCED), &aml[..bytes]);
            assert_eq!(find(&memory, 0xf_0000), None, "{bytes}");
        }
        // A table of ACPI 1.0 ends behind its flags, and has all that a fixed button needs.
        for bytes in 36..=244 {
            for flags in [0, IS_HARDWARE_REDUCED] {
                let mut cut = fadt(flags);
                cut.truncate(bytes);
                cut[4..8].copy_from_slice(&(bytes as u32).to_le_bytes());
                let found = find(&machine(cut, &aml), 0xf_0000);
                assert_eq!(found.is_some(), bytes >= 116, "{bytes}, {flags:#x}");
            }
        }
        // It says that it is longer than the memory that it lies in.
        let mut cut = fadt(0);
        cut.truncate(243);
        assert_eq!(find(&machine(cut, &aml), 0xf_0000), None);
    }

    #[test]
    fn a_button_at_ports_that_cannot_be_opened_is_none() {
        let with = |offset: usize, port: u32| {
            let mut fadt = fadt(0);
            fadt[offset..offset + 4].copy_from_slice(&port.to_le_bytes());
            find(&machine(fadt, &[]), 0xf_0000)
        };
        let last = OPEN_PORTS as u32 - 2;
        // SMI command, PM1 event, PM1 control: each a register of two ports at most.
        for (offset, highest) in [(48, last), (56, last - 2), (64, last)] {
            assert!(with(offset, highest).is_some(), "{offset}");
            for port in [highest + 1, OPEN_PORTS as u32, 0xffff, 0x1_0000, u32::MAX] {
                assert_eq!(with(offset, port), None, "{offset}: {port:#x}");
            }
        }
    }

    #[test]
    fn an_interrupt_is_asked_about_once() {
        static SIGNAL: AtomicU32 = AtomicU32::new(0);
        let mut button = PowerButton::new(&SIGNAL, || true);
        assert!(!button.is_signalled());
        SIGNAL.store(1, Ordering::Relaxed);
        assert!(button.is_signalled() && button.take_press());
        assert!(!button.is_signalled());
    }
}
