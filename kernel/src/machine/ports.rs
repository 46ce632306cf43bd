//! I/O ports, as far as the TSS's permission map opens them; any other faults.

use core::arch::asm;

/// Reads a byte.
///
/// # Safety
/// Reading the port must not change memory.
pub(super) unsafe fn read_u8(port: u16) -> u8 {
    let value;
    // SAFETY: the caller's.
    unsafe { asm!("in al, dx", in("dx") port, out("al") value, options(nomem, nostack)) };
    value
}

/// Reads two bytes.
///
/// # Safety
/// Reading the port must not change memory.
pub(super) unsafe fn read_u16(port: u16) -> u16 {
    let value;
    // SAFETY: the caller's.
    unsafe { asm!("in ax, dx", in("dx") port, out("ax") value, options(nomem, nostack)) };
    value
}

/// Writes a byte.
///
/// # Safety
/// Writing the port must not change memory.
pub(super) unsafe fn write_u8(port: u16, value: u8) {
    // SAFETY: the caller's.
    unsafe { asm!("out dx, al", in("dx") port, in("al") value, options(nomem, nostack)) };
}

/// Writes two bytes.
///
/// # Safety
/// Writing the port must not change memory.
pub(super) unsafe fn write_u16(port: u16, value: u16) {
    // SAFETY: the caller's.
    unsafe { asm!("out dx, ax", in("dx") port, in("ax") value, options(nomem, nostack)) };
}

/// Writes four bytes.
///
/// # Safety
/// Writing the port must not change memory.
pub(super) unsafe fn write_u32(port: u16, value: u32) {
    // SAFETY: the caller's.
    unsafe { asm!("out dx, eax", in("dx") port, in("eax") value, options(nomem, nostack)) };
}

/// Writes a run of bytes to one port; one exit to the hypervisor for all of them, where it can.
///
/// # Safety
/// Writing the port must not change memory.
pub(super) unsafe fn write_bytes(port: u16, bytes: &[u8]) {
    // SAFETY: reads `bytes` and nothing else.
    unsafe {
        asm!(
            "rep outsb",
            in("dx") port,
            inout("rsi") bytes.as_ptr() => _,
            inout("rcx") bytes.len() => _,
            options(readonly, nostack, preserves_flags)
        );
    }
}
