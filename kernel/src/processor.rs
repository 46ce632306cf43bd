//! One processor as the data plane sees it: what time it is, how to sleep, how to wake another.
//!
//! The bare-metal implementation crosses into the supervisor for `sleep_until` and `wake`; tests
//! implement it over virtual time. Nothing on the way of a request needs a crossing.
//!
//! Sleeping without a lost wake-up takes three steps, in this order: [`Processor::clear_wake`],
//! then look at every ring once more (arming their interrupts), then [`Processor::sleep_until`].
//! Whatever arrives after the first step makes the third return at once.

use crate::{CoreId, Instant};

/// The processor that runs the caller. Not shared between cores.
pub trait Processor {
    /// Returns which core this is.
    fn core(&self) -> CoreId;

    /// Reads the monotonic clock.
    fn now(&self) -> Instant;

    /// Reads the wall clock: seconds since 1970-01-01T00:00:00Z.
    fn unix_seconds(&self) -> u64;

    /// Forgets earlier wake-ups; every interrupt or [`wake`](Self::wake) from here on is
    /// remembered until the next call.
    fn clear_wake(&self);

    /// Sleeps until `deadline` (for ever when `None`), an interrupt, or a wake-up since the last
    /// [`clear_wake`](Self::clear_wake), whichever is first. May return early.
    fn sleep_until(&self, deadline: Option<Instant>);

    /// Wakes `core` from its sleep, or keeps it from its next one.
    fn wake(&self, core: CoreId);
}
