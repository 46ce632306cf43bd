//! Bounds of the machine layer, with units and the arithmetic between them.

/// Cores the image can use; more are left parked. Bounded by the bits of [`crate::CoreMask`].
pub const MAX_CORES: usize = 32;

/// Events of each core that a crash report can tell; more overwrite the oldest. 4 KiB a core.
pub const TRACE_EVENTS: usize = 128;

/// I/O ports that can be opened to the data plane: those below this.
pub const OPEN_PORTS: usize = 0xd00;

/// Bytes of a small page.
pub const PAGE_BYTES: u64 = 4096;

/// Bytes of the kernel command line that are read.
pub const MAX_COMMAND_LINE_BYTES: usize = 4096;

/// Entries of the loader's memory map; QEMU gives fewer than ten.
pub const MAX_MEMORY_MAP_ENTRIES: usize = 128;

/// Separate ranges of usable memory, also while parts are taken out of them.
pub const MAX_RAM_RANGES: usize = 64;

/// Windows of device registers that can be mapped: two for each of 32 devices.
pub const MAX_DEVICE_WINDOWS: usize = 64;

const _: () = assert!(MAX_CORES <= u64::BITS as usize);
