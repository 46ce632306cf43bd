//! Bounds of the bare-metal half, with units.

/// Bytes of a core's supervisor area: two stacks, each with a guard page below it, and its data.
pub const AREA_BYTES: usize = 16 << 10;

/// Bytes of a core's data-plane stack.
pub const STACK_BYTES: u64 = 256 << 10;

/// Bytes of the stack on which a core reports a fault.
pub const REPORT_STACK_BYTES: u64 = 16 << 10;

/// Ports that stay open to the boot core alone: two of the power button, two of the clock chip.
pub const MAX_OPEN_PORTS: usize = 4;

/// Lines of a backtrace.
pub const MAX_BACKTRACE_FRAMES: usize = 32;

/// How long the other cores are waited for, in microseconds: they may share one busy host core. Nobody
/// waits longer than until the last has come.
pub const CORE_START_US: u64 = 3_000_000;

/// How long they are waited for where nobody says how many there are, in microseconds.
pub const UNKNOWN_CORES_US: u64 = 20_000;

/// Reads of the serial port's line status for one line before the rest of it is dropped.
pub const SERIAL_POLLS: u32 = 1_000;

/// The same for a crash report or a fatal error, all of it: what it may delay the restart by.
pub const LAST_WORDS_POLLS: u32 = 20_000;

/// Tries of RDSEED or RDRAND for each word (Intel SDM vol. 1 §7.3.17 recommends 10).
pub const ENTROPY_TRIES: u32 = 64;

const _: () = assert!(AREA_BYTES == 4 * 4096 && crate::limits::OPEN_PORTS.is_multiple_of(8));
