//! What a network does to frames: what it loses, doubles, reorders and damages, how long it takes, and
//! a bottleneck with a queue before it that holds so much and drops the rest, so that congestion
//! control has something to find out.

use core::time::Duration;
use kernel::Instant;

/// What the link does to frames, both ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conditions {
    /// Frames lost, per mille.
    pub loss: u64,
    /// Frames that arrive twice, per mille.
    pub duplication: u64,
    /// Frames that take up to three delays longer, and so come after later ones, per mille.
    pub reordering: u64,
    /// Frames with one bit after the Ethernet header turned, per mille: what only the checksums of
    /// IP and TCP can catch. (An address turned would be caught by Ethernet's own check.)
    pub corruption: u64,
    /// How long a frame takes.
    pub delay: Duration,
}

impl Conditions {
    /// Every frame arrives at once and whole.
    pub const PERFECT: Conditions = Conditions {
        loss: 0,
        duplication: 0,
        reordering: 0,
        corruption: 0,
        delay: Duration::ZERO,
    };
}

/// Which way bytes go, seen from the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To the server.
    Up,
    /// From the server.
    Down,
    /// Both ways at once.
    Both,
}

impl Direction {
    /// Returns its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Direction::Up => "up",
            Direction::Down => "down",
            Direction::Both => "both",
        }
    }

    /// Returns how many bytes go up and down if `count` go each of its ways.
    pub fn bytes(self, count: usize) -> (usize, usize) {
        match self {
            Direction::Up => (count, 0),
            Direction::Down => (0, count),
            Direction::Both => (count, count),
        }
    }
}

/// What a bottleneck lets through, each way for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Bytes of frames in a second.
    pub bytes_per_second: u64,
    /// Bytes that wait at most; a frame that finds no room is dropped.
    pub queue_bytes: u64,
}

/// Bytes that pass at once after a pause (the bucket of tokens): two frames.
const BURST_BYTES: u64 = 3000;

/// One direction of a bottleneck.
#[derive(Debug, Default)]
pub(super) struct Shaper {
    rate: Option<Rate>,
    /// When everything that has come so far will have passed.
    free_at: Option<Instant>,
}

impl Shaper {
    pub(super) fn set(&mut self, rate: Rate) {
        self.rate = Some(rate);
    }

    /// Returns when a frame that comes at `now` has passed, `None` when it is dropped.
    pub(super) fn pass(&mut self, bytes: usize, now: Instant) -> Option<Instant> {
        let Some(rate) = self.rate else {
            return Some(now);
        };
        let takes =
            |bytes: u64| Duration::from_nanos(bytes * 1_000_000_000 / rate.bytes_per_second);
        let begins = self.free_at.unwrap_or(now).max(now);
        if begins.saturating_since(now) > takes(rate.queue_bytes) {
            return None;
        }
        let free_at = begins + takes(bytes as u64);
        self.free_at = Some(free_at);
        let ahead = free_at.saturating_since(now);
        Some(now + ahead.saturating_sub(takes(BURST_BYTES)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn what_is_more_than_the_rate_waits_and_what_is_more_than_the_queue_is_dropped() {
        let mut shaper = Shaper::default();
        shaper.set(Rate {
            bytes_per_second: 1_000_000,
            queue_bytes: 10_000,
        });
        let passed: Vec<_> = (0..20).map(|_| shaper.pass(1000, Instant::ZERO)).collect();
        let at = |ms: u64| Some(Instant::from_nanos(ms * 1_000_000));
        assert_eq!(passed[..4], [at(0), at(0), at(0), at(1)]);
        assert_eq!(passed[10], at(8), "the last that finds room");
        assert!(passed[11..].iter().all(Option::is_none));
        let later = Instant::from_nanos(11_000_000);
        assert_eq!(shaper.pass(1000, later), Some(later));
    }
}
