//! The end: the status that the host sees, and the two ways there.

use super::console::Serial;
use super::{ports, supervisor};
use core::fmt::{Arguments, Write};

/// How the machine ended, as the value written to QEMU's `isa-debug-exit` at port 0xf4; QEMU's own
/// exit status is then twice the value plus one. Without that device the machine resets instead,
/// which ends QEMU with `-no-reboot`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum ExitStatus {
    /// Stopped as asked: QEMU exits with 33.
    Success = 0x10,
    /// Failed: QEMU exits with 35.
    Failure = 0x11,
}

/// Ends the machine.
pub fn exit(status: ExitStatus) -> ! {
    // SAFETY: the port of isa-debug-exit, or of nothing.
    unsafe { ports::write_u32(supervisor::EXIT_PORT, status as u32) };
    supervisor::exit(status as u32)
}

/// Ends the machine with a last line that says why: `sluice: fatal: …`.
pub fn fatal(reason: Arguments<'_>) -> ! {
    let mut serial = Serial::for_last_words();
    // Serial never fails.
    let _ = writeln!(serial, "sluice: fatal: {reason}");
    serial.flush();
    exit(ExitStatus::Failure)
}
