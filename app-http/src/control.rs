//! What the cores of an appliance tell each other: that it is to stop, and that somebody wants to see
//! their counters. A few atomic words.
//!
//! Any core may ask; whoever does so notifies the others ([`megapipe::Channel::notify`]), which see it
//! at once even when they sleep. Nobody polls. When all servers have stopped, the image may power off.
//! No lock, and nothing of it is on the way of a request but one relaxed load per run of a server and
//! one per turn of a core.

use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// Shared by all servers of an appliance.
#[derive(Debug)]
pub struct Control {
    is_stopping: AtomicBool,
    /// Servers that have not finished.
    running: AtomicUsize,
    /// How many times something was asked for.
    asked: AtomicU64,
}

impl Control {
    /// Begins with this many servers that run.
    pub const fn new(servers: usize) -> Self {
        Control {
            is_stopping: AtomicBool::new(false),
            running: AtomicUsize::new(servers),
            asked: AtomicU64::new(0),
        }
    }

    /// Asks all servers to stop: to accept no more, to finish what they answer, and to close. They are
    /// to be notified.
    pub fn stop(&self) {
        self.is_stopping.store(true, Ordering::Release);
        self.ask();
    }

    /// Asks every core to publish what it knows, and returns the number of this question. They are to
    /// be notified.
    pub fn ask(&self) -> u64 {
        self.asked.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Returns the number of the last question.
    #[inline]
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::Acquire)
    }

    /// Returns whether the end was asked for.
    #[inline]
    pub fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Relaxed)
    }

    /// Returns whether all servers have stopped.
    pub fn is_stopped(&self) -> bool {
        self.running.load(Ordering::Acquire) == 0
    }

    /// Says that one server has stopped; each says it once.
    pub(crate) fn report_stopped(&self) {
        self.running.fetch_sub(1, Ordering::AcqRel);
    }
}
