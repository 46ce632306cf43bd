//! Bounds of the machine layer, with units and the arithmetic between them.

/// Cores the image can use; more are left parked. Bounded by the bits of [`crate::CoreMask`].
pub const MAX_CORES: usize = 32;

const _: () = assert!(MAX_CORES <= u64::BITS as usize);
