//! Physical memory of the running machine: reads by address, and blocks for good.

use crate::physical_memory::PhysicalMemory;
use alloc::alloc::{Layout, alloc, alloc_zeroed};

/// The first 4 GiB, one to one, from some address up.
pub(super) struct LowMemory {
    first: u64,
}

/// All that the boot tables map; loaders use page zero, too.
pub(super) const LOADER_MEMORY: LowMemory = LowMemory { first: 1 };
/// What the open tables map: page zero is gone.
pub(super) const OPEN_MEMORY: LowMemory = LowMemory { first: 0x1000 };

impl PhysicalMemory for LowMemory {
    fn bytes(&self, address: u64, len: usize) -> Option<&[u8]> {
        let end = address.checked_add(len as u64)?;
        if address < self.first || end > 1 << 32 {
            return None;
        }
        // SAFETY: mapped one to one while the machine is open; loaders' and firmware's structures
        // are not written meanwhile.
        Some(unsafe { core::slice::from_raw_parts(address as *const u8, len) })
    }
}

/// Takes a block with whatever is in it from the heap for good, for a stack.
pub(super) fn uncleared(bytes: u64, align_bytes: u64) -> Option<u64> {
    let layout = Layout::from_size_align(bytes as usize, align_bytes as usize).ok()?;
    if bytes == 0 {
        return None;
    }
    // SAFETY: the size is not 0.
    let block = unsafe { alloc(layout) };
    (!block.is_null()).then(|| block.expose_provenance() as u64)
}

/// Takes a zeroed block from the heap for good; its address is the same for everyone.
pub(super) fn page_aligned(bytes: u64, align_bytes: u64) -> Option<u64> {
    let layout = Layout::from_size_align(bytes as usize, align_bytes as usize).ok()?;
    if bytes == 0 {
        return None;
    }
    // SAFETY: the size is not 0.
    let block = unsafe { alloc_zeroed(layout) };
    (!block.is_null()).then(|| block.expose_provenance() as u64)
}
