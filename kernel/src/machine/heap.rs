//! The heap: all free memory under Talc and a spin lock, until it is sealed.
//!
//! Upstream: boot gives it memory. Downstream: `alloc` in every crate of the image. After
//! [`seal`] an allocation is a crash with a report; giving memory back stays allowed.

use core::alloc::{GlobalAlloc, Layout};
use core::ops::Range;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use talc::TalcLock;
use talc::source::Manual;

struct Heap {
    talc: TalcLock<spin::Mutex<()>, Manual>,
    is_sealed: AtomicBool,
    claimed_bytes: AtomicU64,
    used_bytes: AtomicU64,
}

#[global_allocator]
static HEAP: Heap = Heap {
    talc: TalcLock::new(Manual),
    is_sealed: AtomicBool::new(false),
    claimed_bytes: AtomicU64::new(0),
    used_bytes: AtomicU64::new(0),
};

// SAFETY: Talc is a correct allocator, and this only counts and refuses; a refusal does not return.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if self.is_sealed.load(Ordering::Relaxed) {
            panic!(
                "allocation of {} bytes after the heap was sealed",
                layout.size()
            );
        }
        self.used_bytes
            .fetch_add(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: the caller's.
        unsafe { self.talc.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        self.used_bytes
            .fetch_sub(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: the caller's.
        unsafe { self.talc.dealloc(memory, layout) }
    }
}

/// Gives the heap a range of memory.
///
/// # Safety
/// The range is mapped, unused, and stays the heap's for ever.
pub(super) unsafe fn claim(range: Range<u64>) {
    let bytes = range.end - range.start;
    // SAFETY: the caller's.
    let claimed = unsafe {
        HEAP.talc
            .lock()
            .claim(range.start as *mut u8, bytes as usize)
    };
    if claimed.is_some() {
        HEAP.claimed_bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Returns the bytes not in use, before overhead and fragmentation.
pub(super) fn free_bytes() -> u64 {
    let used = HEAP.used_bytes.load(Ordering::Relaxed);
    HEAP.claimed_bytes
        .load(Ordering::Relaxed)
        .saturating_sub(used)
}

/// Makes any further allocation a crash.
pub(super) fn seal() {
    HEAP.is_sealed.store(true, Ordering::Relaxed);
}
