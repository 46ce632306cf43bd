//! A virtio function on a bus in memory: what is found, what is refused, and where doorbells ring.

use super::*;
use crate::pci::fake::{SharedBus, VirtioFunction};
use std::vec::Vec;

fn function(device: u16) -> Function {
    Function {
        place: VirtioFunction::PLACE,
        vendor: VIRTIO_VENDOR_ID,
        device,
    }
}

fn open_with(
    fake: &VirtioFunction,
    reach: impl FnMut(BarRange) -> bool,
) -> Result<PciRegisters, PciRefusal> {
    // SAFETY: its registers are memory of this test's, given away for ever; no window is given.
    unsafe { open::<SharedBus>(fake.bus, function(0x1041), None, reach) }
}

fn refusal(fake: &VirtioFunction) -> PciRefusal {
    open_with(fake, |_| true).err().expect("no device")
}

/// Reads a register of the fake.
fn word<T: Copy>(address: u64) -> T {
    // SAFETY: inside of the fake's memory, aligned, and an integer.
    unsafe { core::ptr::with_exposed_provenance::<T>(address as usize).read_volatile() }
}

#[test]
#[cfg_attr(miri, ignore = "its memory lies below 4 GiB")]
fn registers_above_4_gib_are_asked_for_before_they_are_used() {
    let fake = VirtioFunction::new();
    let mut reached = Vec::new();
    let registers = open_with(&fake, |range| {
        reached.push((range.address, range.len_bytes));
        true
    });
    assert_eq!(reached, [(fake.msix, 0x1000), (fake.registers, 0x4000)]);
    let doorbells = registers.unwrap().doorbells();
    assert_eq!(
        (doorbells.address, doorbells.len_bytes),
        (fake.registers + 0x3000, 0x1000)
    );

    let refused = open_with(&VirtioFunction::new(), |range| range.len_bytes == 0x1000);
    let far = PciRefusal::Bars(BarError::OutOfReach);
    assert_eq!(refused.err(), Some(far));
}

#[test]
fn a_queue_is_selected_bound_and_rung_in_its_own_place() {
    let fake = VirtioFunction::new();
    let mut registers = open_with(&fake, |_| true).unwrap();
    assert_eq!(registers.interrupt_lines(), 3);
    assert!(registers.bind(5, 2));
    let selected = fake.registers + common::QUEUE_SELECT as u64;
    let vector = fake.registers + common::QUEUE_MSIX_VECTOR as u64;
    assert_eq!((word::<u16>(selected), word::<u16>(vector)), (5, 2));

    // The queue's doorbell is 7 steps of 4 bytes in.
    let notify_off = fake.registers + common::QUEUE_NOTIFY_OFF as u64;
    // SAFETY: a register of the fake.
    unsafe {
        core::ptr::with_exposed_provenance_mut::<u16>(notify_off as usize).write_volatile(7);
    }
    registers.doorbell(3).unwrap().ring();
    assert_eq!(word::<u16>(selected), 3);
    assert_eq!(word::<u16>(fake.registers + 0x3000 + 28), 3);

    let target = InterruptTarget {
        apic_id: 2,
        vector: 0x30,
    };
    assert!(registers.route(1, target) && !registers.route(3, target));
    assert_eq!(word::<u32>(fake.msix + 16), 0xfee0_2000);
}

#[test]
fn structures_outside_of_the_functions_memory_are_refused() {
    let at = [
        VirtioFunction::COMMON,
        VirtioFunction::NOTIFY,
        VirtioFunction::ISR,
        VirtioFunction::DEVICE,
    ];
    for capability in at {
        // One byte too far, a sum that is small again in 32 bits, a base address that is not there.
        for (bar, offset, len_bytes) in [
            (4, 0x3001, 0x1000),
            (4, 0xffff_f000, 0x2000),
            (4, 0x1000, 0xffff_f000),
            (2, 0, 0x1000),
            (9, 0, 0x1000),
        ] {
            let fake = VirtioFunction::new();
            fake.set(capability + 4, bar);
            fake.set(capability + 8, offset);
            fake.set(capability + 12, len_bytes);
            let refusal = refusal(&fake);
            assert_eq!(refusal, PciRefusal::Capabilities, "{capability:#x}");
        }
    }
    let fake = VirtioFunction::new();
    fake.set(VirtioFunction::COMMON + 12, 55);
    assert_eq!(refusal(&fake), PciRefusal::Capabilities, "too short");
}

#[test]
fn what_is_missing_is_named() {
    let fake = VirtioFunction::new();
    fake.set(0x34, VirtioFunction::NOTIFY as u32);
    assert_eq!(refusal(&fake), PciRefusal::Capabilities);
    let fake = VirtioFunction::new();
    fake.set(VirtioFunction::MSIX, 0x0000_0005);
    assert_eq!(refusal(&fake), PciRefusal::NoMsix);
    // The table's fourth entry ends beyond its memory.
    let fake = VirtioFunction::new();
    fake.set(VirtioFunction::MSIX + 4, 0xfe8);
    assert_eq!(refusal(&fake), PciRefusal::NoMsix);
    let fake = VirtioFunction::new();
    fake.set(0x34, 0);
    assert_eq!(refusal(&fake), PciRefusal::Capabilities);
}

#[test]
fn a_doorbell_is_inside_of_its_range() {
    assert_eq!(doorbell_offset(0, 0, 2), Some(0));
    assert_eq!(doorbell_offset(3, 4, 14), Some(12));
    assert_eq!(doorbell_offset(3, 4, 13), None);
    assert_eq!(doorbell_offset(0, 4, 1), None);
    assert_eq!(doorbell_offset(u16::MAX, u32::MAX, 0x4000), None);
}
