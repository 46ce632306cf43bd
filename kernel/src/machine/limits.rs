//! Bounds of the bare-metal half, with units.

/// Bytes of a core's supervisor area: its page of data, a guard page, and two stacks of a page.
pub const AREA_BYTES: usize = 16 << 10;

/// Bytes of a core's data-plane stack.
pub const STACK_BYTES: u64 = 256 << 10;

/// Bytes of the stack on which a core reports a fault.
pub const REPORT_STACK_BYTES: u64 = 16 << 10;

/// I/O ports that can be opened to the data plane: those below this.
pub const OPEN_PORTS: usize = 0xd00;

/// Ports that stay open to the boot core alone: the power button's.
pub const MAX_OPEN_PORTS: usize = 2;

/// Lines of a backtrace.
pub const MAX_BACKTRACE_FRAMES: usize = 32;

/// How long the other cores are waited for, in microseconds: they may share one host core.
pub const CORE_START_US: u64 = 500_000;

/// How long they are waited for where nobody says how many there are, in microseconds.
pub const UNKNOWN_CORES_US: u64 = 20_000;

/// Reads of the serial port's line status before bytes are written regardless.
pub const SERIAL_POLLS: u32 = 1_000;

/// Tries of RDSEED or RDRAND for each word (Intel SDM vol. 1 §7.3.17 recommends 10).
pub const ENTROPY_TRIES: u32 = 64;

const _: () = assert!(AREA_BYTES == 4 * 4096 && OPEN_PORTS.is_multiple_of(8));
