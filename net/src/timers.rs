//! The timers of one core: a hierarchical timing wheel (Varghese and Lauck, 1987), four levels of
//! 64 slots of 2^20 ns (1.05 ms) and up, so 4.9 hours ahead; later deadlines wait at the far end
//! and go round again. Setting and cancelling are O(1), and so is the next deadline.
//!
//! A timer may be told up to one tick late and never early. Timers are numbers below the
//! capacity; the wheel knows nothing else of them.

use alloc::boxed::Box;
use alloc::vec;
use kernel::Instant;

/// A timing wheel over timers `0..capacity`.
pub struct Timers {
    nodes: Box<[Node]>,
    heads: [[u32; SLOTS]; LEVELS],
    occupied: [u64; LEVELS],
    /// First of the timers that are due.
    due: u32,
    /// Every tick up to and with this one has been processed.
    current: u64,
    /// No slot has to be looked at before this tick; perhaps later, when a timer was cancelled.
    quiet_until: u64,
}

#[derive(Clone, Copy)]
struct Node {
    deadline_ticks: u64,
    next: u32,
    previous: u32,
    list: List,
}

/// The list a timer hangs in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum List {
    None,
    Due,
    Slot { level: u8, slot: u8 },
}

const LEVELS: usize = 4;
const SLOTS: usize = 64;
const SLOT_BITS: u32 = 6;
const TICK_BITS: u32 = 20;
const NONE: u32 = u32::MAX;
/// Ticks ahead that the wheel can tell apart.
const HORIZON: u64 = (1 << (SLOT_BITS * LEVELS as u32)) - 1;

impl Timers {
    /// Makes a wheel for `capacity` timers, none of them set.
    pub fn new(capacity: usize, now: Instant) -> Self {
        let idle = Node {
            deadline_ticks: 0,
            next: NONE,
            previous: NONE,
            list: List::None,
        };
        Timers {
            nodes: vec![idle; capacity].into_boxed_slice(),
            heads: [[NONE; SLOTS]; LEVELS],
            occupied: [0; LEVELS],
            due: NONE,
            current: now.as_nanos() >> TICK_BITS,
            quiet_until: u64::MAX,
        }
    }

    /// Sets a timer, unless it is set for the same tick or an earlier one.
    #[inline]
    pub fn set_no_later(&mut self, timer: u32, deadline: Instant) {
        let node = &self.nodes[timer as usize];
        if node.list == List::None || node.deadline_ticks > ticks_after(deadline) {
            self.set(timer, deadline);
        }
    }

    /// Sets a timer, or moves one that is set.
    pub fn set(&mut self, timer: u32, deadline: Instant) {
        self.cancel(timer);
        let node = &mut self.nodes[timer as usize];
        node.deadline_ticks = ticks_after(deadline);
        self.place(timer);
    }

    /// Returns when a timer is set for, rounded up to a tick.
    pub fn deadline(&self, timer: u32) -> Option<Instant> {
        let node = &self.nodes[timer as usize];
        (node.list != List::None).then(|| instant_of(node.deadline_ticks))
    }

    /// Takes a timer out, if it is set.
    pub fn cancel(&mut self, timer: u32) {
        let node = self.nodes[timer as usize];
        if node.list == List::None {
            return;
        }
        if node.next != NONE {
            self.nodes[node.next as usize].previous = node.previous;
        }
        if node.previous != NONE {
            self.nodes[node.previous as usize].next = node.next;
        } else {
            *self.head(node.list) = node.next;
        }
        if let List::Slot { level, slot } = node.list
            && self.heads[level as usize][slot as usize] == NONE
        {
            self.occupied[level as usize] &= !(1 << slot);
        }
        self.nodes[timer as usize].list = List::None;
    }

    /// Takes the next timer that is due at `now`; it is no longer set.
    pub fn pop_due(&mut self, now: Instant) -> Option<u32> {
        let now_ticks = now.as_nanos() >> TICK_BITS;
        while self.due == NONE {
            if now_ticks < self.quiet_until {
                return None;
            }
            match self.next_slot_ticks() {
                Some(next) if next <= now_ticks => self.advance_to(next),
                next => {
                    self.quiet_until = next.unwrap_or(u64::MAX);
                    self.current = self.current.max(now_ticks);
                }
            }
        }
        let timer = self.due;
        self.cancel(timer);
        Some(timer)
    }

    /// Returns when [`pop_due`](Self::pop_due) is to be called next: never after a deadline (but
    /// for its tick), perhaps before one that is far.
    pub fn next_deadline(&self) -> Option<Instant> {
        if self.due != NONE {
            return Some(instant_of(self.current));
        }
        self.next_slot_ticks().map(instant_of)
    }

    /// The first tick after the current one at which a slot has to be looked at.
    fn next_slot_ticks(&self) -> Option<u64> {
        let mut first = None;
        for level in 0..LEVELS {
            if self.occupied[level] == 0 {
                continue;
            }
            let shift = SLOT_BITS * level as u32;
            let after = (self.current >> shift) + 1;
            let ahead = self.occupied[level].rotate_right((after % SLOTS as u64) as u32);
            let ticks = (after + u64::from(ahead.trailing_zeros())) << shift;
            first = Some(first.map_or(ticks, |first: u64| first.min(ticks)));
        }
        first
    }

    /// Moves time to `ticks`, the start of at least one occupied slot, and hands the timers of
    /// these slots down a level or into the due list.
    fn advance_to(&mut self, ticks: u64) {
        self.current = ticks;
        for level in (0..LEVELS).rev() {
            let shift = SLOT_BITS * level as u32;
            if ticks & ((1 << shift) - 1) != 0 {
                continue;
            }
            let slot = (ticks >> shift) as usize % SLOTS;
            let mut timer = core::mem::replace(&mut self.heads[level][slot], NONE);
            self.occupied[level] &= !(1 << slot);
            while timer != NONE {
                let next = self.nodes[timer as usize].next;
                self.place(timer);
                timer = next;
            }
        }
    }

    /// Hangs a timer that is in no list where its deadline says.
    fn place(&mut self, timer: u32) {
        let wanted = self.nodes[timer as usize].deadline_ticks;
        let list = if wanted <= self.current {
            List::Due
        } else {
            let ticks = wanted.min(self.current + HORIZON);
            let ahead = ticks - self.current;
            let level = (63 - ahead.leading_zeros()) / SLOT_BITS;
            let slot = (ticks >> (SLOT_BITS * level)) as usize % SLOTS;
            self.occupied[level as usize] |= 1 << slot;
            let start = ticks >> (SLOT_BITS * level) << (SLOT_BITS * level);
            self.quiet_until = self.quiet_until.min(start);
            List::Slot {
                level: level as u8,
                slot: slot as u8,
            }
        };
        let first = core::mem::replace(self.head(list), timer);
        if first != NONE {
            self.nodes[first as usize].previous = timer;
        }
        let node = &mut self.nodes[timer as usize];
        node.next = first;
        node.previous = NONE;
        node.list = list;
    }

    fn head(&mut self, list: List) -> &mut u32 {
        match list {
            List::Slot { level, slot } => &mut self.heads[level as usize][slot as usize],
            List::Due | List::None => &mut self.due,
        }
    }
}

#[inline]
fn ticks_after(deadline: Instant) -> u64 {
    deadline.as_nanos().div_ceil(1 << TICK_BITS)
}

fn instant_of(ticks: u64) -> Instant {
    Instant::from_nanos(ticks.saturating_mul(1 << TICK_BITS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;
    use core::time::Duration;
    use std::vec::Vec;

    /// Runs random steps beside a plain list of deadlines.
    fn against_model(seed: u64, spread_ms: u64) {
        let mut random = Random::new(seed);
        let mut now = Instant::from_nanos(random.below(1 << 40));
        let mut timers = Timers::new(32, now);
        let mut model: [Option<Instant>; 32] = [None; 32];
        for _ in 0..3000 {
            let timer = random.below(32) as u32;
            match random.below(4) {
                0 => {
                    let deadline = now + Duration::from_micros(random.below(spread_ms * 1000));
                    timers.set(timer, deadline);
                    model[timer as usize] = Some(deadline);
                }
                1 => {
                    let deadline = now + Duration::from_micros(random.below(spread_ms * 1000));
                    timers.set_no_later(timer, deadline);
                    let set = &mut model[timer as usize];
                    let is_later = set.is_some_and(|set| ticks_after(set) <= ticks_after(deadline));
                    if !is_later {
                        *set = Some(deadline);
                    }
                }
                2 => {
                    timers.cancel(timer);
                    model[timer as usize] = None;
                }
                _ => {
                    now = now + Duration::from_micros(random.below(spread_ms * 300));
                    while let Some(timer) = timers.pop_due(now) {
                        let deadline = model[timer as usize].take().expect("set");
                        assert!(deadline <= now, "early");
                    }
                    let tick = Duration::from_nanos(1 << TICK_BITS);
                    for deadline in model.iter().flatten() {
                        assert!(*deadline + tick > now, "seed {seed}: missed");
                    }
                }
            }
            let earliest = model.iter().flatten().min();
            let next = timers.next_deadline();
            assert_eq!(earliest.is_some(), next.is_some());
            if let (Some(earliest), Some(next)) = (earliest, next) {
                assert!(next <= instant_of(ticks_after(*earliest)), "told too late");
            }
        }
    }

    #[test]
    fn agrees_with_a_plain_list() {
        for seed in 0..40 {
            for spread_ms in [5, 200, 10_000, 600_000, 40_000_000] {
                against_model(seed, spread_ms);
            }
        }
    }

    #[test]
    fn next_deadline_is_reached_in_few_steps() {
        let mut timers = Timers::new(1, Instant::ZERO);
        let deadline = Instant::ZERO + Duration::from_secs(3600);
        timers.set(0, deadline);
        let mut steps = Vec::new();
        loop {
            let now = timers.next_deadline().expect("set");
            steps.push(now);
            if timers.pop_due(now).is_some() {
                break;
            }
        }
        assert!(steps.len() <= LEVELS, "{steps:?}");
        assert_eq!(steps.last(), Some(&instant_of(ticks_after(deadline))));
    }
}
