//! How one core wakes another: the two flags of a sleeper, and why no wake-up is lost.
//!
//! A core that is about to sleep clears `wake`, looks once more at all it could have to do, sets
//! `is_asleep`, and sleeps only if `wake` is still clear. Whoever has something for it puts it where
//! the core looks, sets `wake`, and sends an interrupt only if `is_asleep` is set. Each side writes
//! its own flag and then reads the other's with a full fence in between, so that at least one of them
//! sees the other (Dekker's pattern); an interrupt that comes before the sleep sets `wake` again,
//! which the supervisor checks with interrupts off.
//!
//! Downstream: the machine's `ThisCore`, which implements [`Processor`](crate::Processor) with it.

use crate::sync::atomic::{AtomicU32, Ordering, fence};

/// The flags of one core, on a cache line of their own.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct WakeFlags {
    /// Set by every interrupt and every [`wake`](Self::wake); cleared by the core.
    wake: AtomicU32,
    /// Whether the core sleeps or is about to: only then is an interrupt needed to wake it.
    is_asleep: AtomicU32,
}

impl WakeFlags {
    /// Makes the flags of a core that is awake.
    #[cfg(not(loom))]
    pub const fn new() -> Self {
        WakeFlags {
            wake: AtomicU32::new(0),
            is_asleep: AtomicU32::new(0),
        }
    }

    /// The core forgets earlier wake-ups. What it looks at next is read after this.
    pub fn clear(&self) {
        // Acquire: what the last waker put down before its wake-up is seen from here on.
        self.wake.swap(0, Ordering::AcqRel);
    }

    /// The core is about to sleep. Returns whether it may: nobody has woken it since
    /// [`clear`](Self::clear), and whoever does from now on sends an interrupt.
    pub fn begin_sleep(&self) -> bool {
        self.is_asleep.store(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        self.wake.load(Ordering::Relaxed) == 0
    }

    /// The core is awake.
    pub fn end_sleep(&self) {
        self.is_asleep.store(0, Ordering::Relaxed);
    }

    /// Another core wakes this one, or keeps it from its next sleep. Returns whether it has to be
    /// sent an interrupt.
    pub fn wake(&self) -> bool {
        // Release: what was put down before is there for the core that clears the flag.
        if self.wake.swap(1, Ordering::AcqRel) != 0 {
            // Whoever set it has seen to the interrupt, or it was one.
            return false;
        }
        fence(Ordering::SeqCst);
        self.is_asleep.load(Ordering::Relaxed) == 1
    }

    /// Returns the flag that interrupts set and the supervisor looks at.
    #[cfg(not(loom))]
    pub fn wake_word(&self) -> &AtomicU32 {
        &self.wake
    }

    /// Sets the flag as an interrupt does. (It has a plain store, which on x86 orders as this does.)
    #[cfg(loom)]
    pub fn handle_interrupt(&self) {
        self.wake.swap(1, Ordering::AcqRel);
    }
}
