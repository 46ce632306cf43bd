//! Round-trip times and the retransmission timeout (RFC 6298).

use crate::limits::{RTO_INITIAL, RTO_MAX, RTO_MIN};
use core::time::Duration;

/// The smoothed round-trip time of one connection, and what follows from it. Microseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rtt {
    /// Smoothed round-trip time; 0 before the first sample.
    smoothed_us: u32,
    /// Its mean deviation.
    variation_us: u32,
    /// The timeout without backoff.
    rto_us: u32,
    /// How often the timeout has been doubled.
    backoff: u8,
}

impl Rtt {
    /// No sample yet.
    pub(crate) const fn new() -> Self {
        Rtt {
            smoothed_us: 0,
            variation_us: 0,
            rto_us: micros(RTO_INITIAL),
            backoff: 0,
        }
    }

    /// Takes in a sample of a segment that was sent once (Karn's rule is the caller's), §2.2, §2.3.
    #[inline]
    pub(crate) fn sample(&mut self, round_trip_us: u64) {
        let sample = u32::try_from(round_trip_us).unwrap_or(u32::MAX).max(1);
        if self.smoothed_us == 0 {
            self.smoothed_us = sample;
            self.variation_us = sample / 2;
        } else {
            let deviation = self.smoothed_us.abs_diff(sample);
            self.variation_us = self.variation_us - self.variation_us / 4 + deviation / 4;
            self.smoothed_us = (self.smoothed_us - self.smoothed_us / 8 + sample / 8).max(1);
        }
        let rto = self
            .smoothed_us
            .saturating_add(self.variation_us.saturating_mul(4));
        self.rto_us = rto.clamp(micros(RTO_MIN), micros(RTO_MAX));
    }

    /// New data has been acknowledged: the next timeout is not backed off.
    #[inline]
    pub(crate) fn progress(&mut self) {
        self.backoff = 0;
    }

    /// The timeout has passed: the next is twice as long (§5.5).
    pub(crate) fn back_off(&mut self) {
        self.backoff = self.backoff.saturating_add(1);
    }

    /// How many timeouts have passed in a row.
    pub(crate) fn backoffs(&self) -> u8 {
        self.backoff
    }

    /// Returns the retransmission timeout.
    #[inline]
    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_micros(self.timeout_us())
    }

    /// Returns it in microseconds.
    #[inline]
    pub(crate) fn timeout_us(&self) -> u64 {
        let doubled = u64::from(self.rto_us) << self.backoff.min(20);
        doubled.min(u64::from(micros(RTO_MAX)))
    }

    /// Returns the smoothed round-trip time, zero when there is none yet.
    #[inline]
    pub(crate) fn smoothed(&self) -> Duration {
        Duration::from_micros(self.smoothed_us.into())
    }

    /// Returns it in microseconds.
    #[inline]
    pub(crate) fn smoothed_us(&self) -> u64 {
        self.smoothed_us.into()
    }
}

const fn micros(duration: Duration) -> u32 {
    let micros = duration.as_micros();
    if micros > u32::MAX as u128 {
        u32::MAX
    } else {
        micros as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timeout_follows_the_samples_and_stays_in_bounds() {
        let mut rtt = Rtt::new();
        assert_eq!(rtt.timeout(), RTO_INITIAL);
        rtt.sample(100_000);
        assert_eq!(
            rtt.timeout(),
            Duration::from_millis(300),
            "srtt + 4 * srtt / 2"
        );
        for _ in 0..100 {
            rtt.sample(100_000);
        }
        assert_eq!(rtt.timeout(), RTO_MIN, "steady: the deviation vanishes");
        assert!(rtt.smoothed().abs_diff(Duration::from_millis(100)) < Duration::from_millis(1));
        rtt.sample(100_000_000_000);
        assert_eq!(rtt.timeout(), RTO_MAX);
    }

    #[test]
    fn each_timeout_doubles_the_next_until_there_is_progress() {
        let mut rtt = Rtt::new();
        rtt.sample(100_000);
        for expected_ms in [300, 600, 1200, 2400] {
            assert_eq!(rtt.timeout(), Duration::from_millis(expected_ms));
            rtt.back_off();
        }
        for _ in 0..300 {
            rtt.back_off();
        }
        assert_eq!(rtt.timeout(), RTO_MAX);
        rtt.progress();
        assert_eq!(rtt.timeout(), Duration::from_millis(300));
    }
}
