//! What the cores of an appliance tell each other about stopping: a few atomic words.
//!
//! Any core may ask for the end; each sees it when it next looks, which is at least once a second,
//! stops accepting, and finishes. When all have, the image may power off. No lock, and nothing of it
//! is on the way of a request but one relaxed load per run of a server.

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Shared by all servers of an appliance.
#[derive(Debug)]
pub struct Control {
    is_stopping: AtomicBool,
    /// Servers that have not finished.
    running: AtomicUsize,
}

impl Control {
    /// Begins with this many servers that run.
    pub const fn new(servers: usize) -> Self {
        Control {
            is_stopping: AtomicBool::new(false),
            running: AtomicUsize::new(servers),
        }
    }

    /// Asks all servers to stop: to accept no more, to finish what they answer, and to close.
    pub fn stop(&self) {
        self.is_stopping.store(true, Ordering::Release);
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
