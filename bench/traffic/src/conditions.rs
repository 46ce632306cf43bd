//! What a network does to the frames of one host: which are lost, and when the others arrive.
//!
//! Pure: time comes in as a parameter, chance from a seed. Downstream: [`wire`](crate::wire).

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// Frames that are under way on one path in one direction, at most; netem's own bound is 1,000.
const MAX_FRAMES: usize = 10_000;

/// What a network is like, the same in both directions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Conditions {
    /// Frames lost of a thousand.
    pub loss_per_mille: u32,
    /// How long a frame is under way behind the bottleneck.
    pub delay: Duration,
    /// The bottleneck, if there is one.
    pub rate: Option<Rate>,
}

/// A bottleneck.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How fast frames pass.
    pub megabits: u32,
    /// Bytes that may wait before it; a frame that finds more is lost.
    pub queue_bytes: usize,
}

/// The way between the guest and one address of the host.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Path {
    /// The host's address.
    pub host: Ipv4Addr,
    /// What it is like.
    pub conditions: Conditions,
}

/// What becomes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It arrives then.
    Arrives(Instant),
    /// It is lost, by chance.
    Lost,
    /// There is no room for it.
    Overflows,
}

/// One direction of a path.
#[derive(Debug)]
pub(crate) struct Lane {
    conditions: Conditions,
    chance: u64,
    /// When the bottleneck has passed all it has.
    free_at: Option<Instant>,
    under_way: VecDeque<Instant>,
}

impl Lane {
    pub(crate) fn new(conditions: Conditions, seed: u64) -> Self {
        Lane {
            conditions,
            chance: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            free_at: None,
            under_way: VecDeque::new(),
        }
    }

    /// Decides over a frame of so many bytes that begins its way now.
    pub(crate) fn enter(&mut self, now: Instant, bytes: usize) -> Fate {
        while self
            .under_way
            .front()
            .is_some_and(|arrival| *arrival <= now)
        {
            self.under_way.pop_front();
        }
        if self.random() % 1000 < self.conditions.loss_per_mille.into() {
            return Fate::Lost;
        }
        if self.under_way.len() == MAX_FRAMES {
            return Fate::Overflows;
        }
        let mut leaves = now;
        if let Some(rate) = self.conditions.rate {
            let takes = |bytes: usize| {
                Duration::from_nanos(bytes as u64 * 8000 / u64::from(rate.megabits.max(1)))
            };
            let begins = self.free_at.map_or(now, |free_at| free_at.max(now));
            if begins - now > takes(rate.queue_bytes) {
                return Fate::Overflows;
            }
            leaves = begins + takes(bytes);
            self.free_at = Some(leaves);
        }
        let arrives = leaves + self.conditions.delay;
        self.under_way.push_back(arrives);
        Fate::Arrives(arrives)
    }

    /// xorshift64*.
    fn random(&mut self) -> u64 {
        self.chance ^= self.chance >> 12;
        self.chance ^= self.chance << 25;
        self.chance ^= self.chance >> 27;
        self.chance.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERFECT: Conditions = Conditions {
        loss_per_mille: 0,
        delay: Duration::ZERO,
        rate: None,
    };

    #[test]
    fn as_many_are_lost_as_was_said_and_the_same_with_the_same_seed() {
        let lossy = Conditions {
            loss_per_mille: 50,
            ..PERFECT
        };
        let now = Instant::now();
        let fates = |seed| -> Vec<Fate> {
            let mut lane = Lane::new(lossy, seed);
            (0..20_000).map(|_| lane.enter(now, 1514)).collect()
        };
        let lost = fates(1).iter().filter(|fate| **fate == Fate::Lost).count();
        assert!((900..=1100).contains(&lost), "{lost}");
        assert_eq!(fates(1), fates(1));
        assert_ne!(fates(1), fates(2));
        let mut lane = Lane::new(PERFECT, 1);
        assert!((0..5000).all(|_| lane.enter(now, 60) == Fate::Arrives(now)));
    }

    #[test]
    fn a_bottleneck_spaces_frames_and_has_a_queue_that_ends() {
        let rate = Rate {
            megabits: 8,
            queue_bytes: 10_000,
        };
        let slow = Conditions {
            delay: Duration::from_millis(20),
            rate: Some(rate),
            ..PERFECT
        };
        let mut lane = Lane::new(slow, 1);
        let begun = Instant::now();
        let after = |ms| Fate::Arrives(begun + Duration::from_millis(ms));
        // A byte takes a microsecond; the queue is full when 10,000 wait.
        let fates: Vec<Fate> = (0..13).map(|_| lane.enter(begun, 1000)).collect();
        assert_eq!(fates[0], after(21));
        assert_eq!(fates[10], after(31));
        assert_eq!(fates[11], Fate::Overflows);
        let later = begun + Duration::from_millis(5);
        assert_eq!(lane.enter(later, 1000), after(32));
        let idle = begun + Duration::from_secs(1);
        assert_eq!(lane.enter(idle, 1000), after(1021));
    }
}
