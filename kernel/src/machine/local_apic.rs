//! The local APIC while the machine is open: its timer, and commands to the other cores. Once it is
//! sealed the supervisor alone reaches it.
//!
//! Upstream: boot. Downstream: the registers, in their place and in xAPIC mode since `supervisor/boot.s`.
//! Intel SDM vol. 3 §11.4.1 (registers), §11.5.1 (local vector table), §11.5.4 (timer).

/// The registers.
pub(super) const LAPIC: u64 = 0xfee0_0000;
/// Vector of the local timer.
pub(super) const TIMER_VECTOR: u8 = 0x20;
/// Vector of spurious interrupts.
pub(super) const SPURIOUS_VECTOR: u8 = 0xff;

/// Enables the boot core's local APIC, its timer as one shot at the full clock, and the pin by which
/// a hypervisor injects an NMI on request: it makes the core report where it is.
///
/// # Safety
/// The registers at [`LAPIC`] are mapped for the data plane: before the seal.
pub(super) unsafe fn enable() {
    // SAFETY: the caller says that the registers are mapped.
    unsafe {
        write(0xf0, 0x100 | u32::from(SPURIOUS_VECTOR));
        write(0x3e0, 0xb);
        write(0x320, u32::from(TIMER_VECTOR));
        write(0x360, 0x400);
    }
}

/// Reads a register of this core's local APIC.
///
/// # Safety
/// As for [`enable`].
pub(super) unsafe fn read(register: u64) -> u32 {
    // SAFETY: the caller says that the registers are mapped.
    unsafe { ((LAPIC + register) as *const u32).read_volatile() }
}

/// Writes a register of this core's local APIC.
///
/// # Safety
/// As for [`enable`]; a command to other cores must be one they are ready for.
pub(super) unsafe fn write(register: u64, value: u32) {
    // SAFETY: the caller says that the registers are mapped.
    unsafe { ((LAPIC + register) as *mut u32).write_volatile(value) }
}
