//! Monotonic time in nanoseconds since boot. Pure arithmetic: reading the clock is
//! [`Processor::now`](crate::Processor::now)'s job, and above `kernel` `now` is always a parameter.

use core::ops::{Add, Sub};
use core::time::Duration;

/// A point in monotonic time, in nanoseconds since boot. Wraps after 584 years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(u64);

impl Instant {
    /// The moment of boot.
    pub const ZERO: Instant = Instant(0);

    /// Makes an instant from nanoseconds since boot.
    pub const fn from_nanos(ns: u64) -> Self {
        Instant(ns)
    }

    /// Returns nanoseconds since boot.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Returns whole microseconds since boot.
    pub const fn as_micros(self) -> u64 {
        self.0 / 1_000
    }

    /// Returns the moment so many microseconds later.
    #[inline]
    #[must_use]
    pub const fn after_micros(self, us: u64) -> Instant {
        Instant(self.0.saturating_add(us.saturating_mul(1_000)))
    }

    /// Returns the microseconds from `earlier` to `self`, zero when `earlier` is later.
    #[inline]
    pub const fn micros_since(self, earlier: Instant) -> u64 {
        self.0.saturating_sub(earlier.0) / 1_000
    }

    /// Returns the time from `earlier` to `self`, zero when `earlier` is later.
    pub const fn saturating_since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;
    #[inline]
    fn add(self, rhs: Duration) -> Instant {
        // In 64 bits: this is on the way of every segment.
        let seconds = rhs.as_secs().saturating_mul(1_000_000_000);
        let nanos = seconds.saturating_add(rhs.subsec_nanos().into());
        Instant(self.0.saturating_add(nanos))
    }
}

impl Sub<Instant> for Instant {
    type Output = Duration;
    fn sub(self, rhs: Instant) -> Duration {
        self.saturating_since(rhs)
    }
}
