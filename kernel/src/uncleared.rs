//! Memory that nobody has cleared, for buffers that are written before they are read.
//!
//! Clearing the buffers of thousands of connections at boot would cost more than all the rest of
//! it, and would make the host find memory for them that may never be used.
//!
//! Upstream: the heap. Downstream: whoever keeps large buffers for as long as the program runs.

use alloc::alloc::{Layout, alloc, handle_alloc_error};
#[cfg(not(miri))]
use core::arch::asm;

/// A cache line, so that no two buffers share one.
const ALIGNMENT: usize = 64;

/// Takes `len` bytes for ever. What they hold is unspecified.
///
/// # Panics
/// When the heap does not have as much, as any allocation does.
pub fn uncleared(len: usize) -> &'static mut [u8] {
    if len == 0 {
        return &mut [];
    }
    let Ok(layout) = Layout::from_size_align(len, ALIGNMENT) else {
        panic!("{len} bytes are more than an address space has");
    };
    // SAFETY: the size is not zero.
    #[cfg_attr(miri, expect(unused_mut))]
    let mut bytes = unsafe { alloc(layout) };
    if bytes.is_null() {
        handle_alloc_error(layout);
    }
    // SAFETY: no instruction at all. To the compiler it may have written to the memory, which is
    // what makes reading it defined: memory of a machine always holds something. (Miri knows no
    // assembly, and keeps watch over reads before writes.)
    #[cfg(not(miri))]
    unsafe {
        asm!("/* {0} */", inout(reg) bytes, options(nostack, preserves_flags))
    };
    // SAFETY: (1) `len` bytes, allocated just now and never freed, so valid for ever and nobody
    // else's; (2) they hold some value, see above, and any value is a `u8`.
    unsafe { core::slice::from_raw_parts_mut(bytes, len) }
}

#[cfg(test)]
mod tests {
    use super::uncleared;

    #[test]
    fn buffers_are_writable_aligned_and_apart() {
        assert!(uncleared(0).is_empty());
        let (one, other) = (uncleared(1000), uncleared(1000));
        one.fill(1);
        other.fill(2);
        assert!(one.iter().all(|byte| *byte == 1));
        assert_eq!(one.as_ptr() as usize % 64, 0);
    }
}
