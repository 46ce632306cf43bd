//! What cores share is made of these: atomics, and a cell behind them. Under `cfg(loom)` they are
//! loom's, which runs a test through every order that the memory model allows; otherwise `core`'s.
//!
//! Upstream: nothing. Downstream: [`spsc`](crate::spsc), [`wake`](crate::wake), and the shared words
//! of `net`'s fabric.

/// Atomic words.
pub mod atomic {
    #[cfg(not(loom))]
    pub use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
    #[cfg(loom)]
    pub use loom::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
}

#[cfg(not(loom))]
pub use alloc::sync::Arc;
#[cfg(loom)]
pub use loom::sync::Arc;

/// Says that the caller waits for another core.
pub fn spin() {
    #[cfg(not(loom))]
    core::hint::spin_loop();
    #[cfg(loom)]
    loom::thread::yield_now();
}

#[cfg(loom)]
pub(crate) use loom::cell::UnsafeCell;

/// `core`'s cell with the interface of loom's, which sees every access.
#[cfg(not(loom))]
pub(crate) struct UnsafeCell<T>(core::cell::UnsafeCell<T>);

#[cfg(not(loom))]
impl<T> UnsafeCell<T> {
    pub(crate) const fn new(value: T) -> Self {
        UnsafeCell(core::cell::UnsafeCell::new(value))
    }

    /// Lends the place to `access`, which may write.
    #[inline(always)]
    pub(crate) fn with_mut<R>(&self, access: impl FnOnce(*mut T) -> R) -> R {
        access(self.0.get())
    }
}

/// A value on cache lines of its own: two, since processors fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct OwnLines<T>(pub T);
