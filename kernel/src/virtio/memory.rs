//! Memory that a device reads and writes: zeroed, page-aligned, and never freed.
//!
//! The image maps memory one to one, so an address is the same for driver and device; on the host
//! the other half is the fake device, which shares the address space.

use alloc::alloc::{Layout, alloc_zeroed};
use core::ptr::NonNull;

/// Page size that both buses count in, in bytes.
const PAGE_BYTES: usize = 4096;

/// A block of memory that may be shown to a device. It has no owner to drop it: a device may write
/// to it for as long as it lives, so it is never given back.
#[derive(Debug, Clone, Copy)]
pub(super) struct SharedMemory {
    start: NonNull<u8>,
    len_bytes: usize,
}

// SAFETY: the block is plain memory, valid for ever, and reached through raw pointers only; who
// holds those decides about access, not this value.
unsafe impl Send for SharedMemory {}

impl SharedMemory {
    /// Takes at least `len_bytes` (not 0) of zeroed memory from the heap, for good; `None` when
    /// there is not enough.
    pub(super) fn new(len_bytes: usize) -> Option<Self> {
        let layout = Layout::from_size_align(len_bytes.max(1), PAGE_BYTES).ok()?;
        // SAFETY: the size is not 0.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        Some(SharedMemory {
            start,
            len_bytes: layout.size(),
        })
    }

    /// Returns the first byte.
    pub(super) fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// Returns the length in bytes.
    pub(super) fn len_bytes(&self) -> usize {
        self.len_bytes
    }

    /// Returns the byte at `offset`, which must be inside.
    pub(super) fn at(&self, offset: usize) -> NonNull<u8> {
        assert!(offset < self.len_bytes, "offset outside of shared memory");
        // SAFETY: just checked that it is inside of the block.
        unsafe { self.start.add(offset) }
    }
}

/// Returns the address by which a device reaches `memory`.
pub(super) fn device_address(memory: NonNull<u8>) -> u64 {
    memory.as_ptr().expose_provenance() as u64
}
