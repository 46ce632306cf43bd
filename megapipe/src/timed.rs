//! Timers as completions: the calls `timer` and `cancel_timer`.
//!
//! Upstream: the clock of the core, once per turn. Downstream: the completion ring. A timer is
//! never told early, and about a millisecond late at most while the core is not busy. Invariant: a
//! timer is in the completion ring at most once, whoever has its place by then.

use crate::channel::Channel;
use crate::completion::{Completion, Cookie, SubmitError};
use crate::lwsocket::TimerHandle;
use crate::ready::Ready;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;
use kernel::Instant;
use net::timers::Timers;

/// The timers of one channel.
pub(crate) struct TimerTable {
    wheel: Timers,
    places: Box<[Place]>,
    free: Vec<u32>,
    /// Nothing is due before: what every turn compares with.
    quiet_until: Instant,
}

#[derive(Debug, Clone, Copy, Default)]
struct Place {
    cookie: Cookie,
    generation: u32,
    state: State,
    /// In the completion ring.
    is_queued: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Free,
    Set,
    /// To be told.
    Due,
}

const NEVER: Instant = Instant::from_nanos(u64::MAX);

impl TimerTable {
    /// Takes room for `timers` of them.
    pub(crate) fn new(timers: usize) -> Self {
        let mut free = Vec::with_capacity(timers);
        free.extend((0..timers as u32).rev());
        TimerTable {
            wheel: Timers::new(timers, Instant::ZERO),
            places: (0..timers).map(|_| Place::default()).collect(),
            free,
            quiet_until: NEVER,
        }
    }

    /// Returns when one is due, not later than it is.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        (self.quiet_until != NEVER).then_some(self.quiet_until)
    }

    /// Returns how many are set or to be told.
    pub(crate) fn in_use(&self) -> usize {
        self.places.len() - self.free.len()
    }

    fn look_again(&mut self) {
        self.quiet_until = self.wheel.next_deadline().unwrap_or(NEVER);
    }

    fn release(&mut self, index: u32) {
        let place = &mut self.places[index as usize];
        place.state = State::Free;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(index);
    }
}

impl Channel {
    /// Sets a timer: [`Completion::Timer`] with `cookie` comes once, `after` from the beginning of
    /// this run of the application on. Before the first run the clock stands at zero.
    ///
    /// # Errors
    /// [`SubmitError::TooManyTimers`].
    pub fn timer(&mut self, after: Duration, cookie: Cookie) -> Result<TimerHandle, SubmitError> {
        let timers = &mut self.timers;
        let index = timers.free.pop().ok_or(SubmitError::TooManyTimers)?;
        timers.wheel.set(index, self.now + after);
        let place = &mut timers.places[index as usize];
        (place.cookie, place.state) = (cookie, State::Set);
        let generation = place.generation;
        timers.look_again();
        Ok(TimerHandle {
            index,
            generation,
            channel: self.table.tag(),
        })
    }

    /// Cancels a timer: nothing is told of it any more, even if its time has come.
    ///
    /// # Errors
    /// [`SubmitError::UnknownHandle`], also when it was told.
    pub fn cancel_timer(&mut self, timer: TimerHandle) -> Result<(), SubmitError> {
        let place = self.timers.places.get(timer.index as usize);
        let is_known = place.is_some_and(|place| {
            place.state != State::Free && place.generation == timer.generation
        });
        if !is_known || timer.channel != self.table.tag() {
            self.counters.commands_refused_stale += 1;
            return Err(SubmitError::UnknownHandle);
        }
        let was_due = place.is_some_and(|place| place.state == State::Due);
        self.counters.completions_cancelled += u64::from(was_due);
        self.timers.wheel.cancel(timer.index);
        self.timers.release(timer.index);
        self.timers.look_again();
        Ok(())
    }

    /// Puts the timers that are due into the completion ring.
    #[inline]
    pub(crate) fn handle_time(&mut self, now: Instant) {
        if now >= self.timers.quiet_until {
            self.expire_timers(now);
        }
    }

    #[cold]
    fn expire_timers(&mut self, now: Instant) {
        while let Some(index) = self.timers.wheel.pop_due(now) {
            let place = &mut self.timers.places[index as usize];
            place.state = State::Due;
            if !place.is_queued {
                place.is_queued = true;
                self.ready.push(Ready::Timer(index));
            }
        }
        self.timers.look_again();
    }

    /// Takes the timer at the front of the ring.
    pub(crate) fn next_of_timer(&mut self, index: u32) -> Option<Completion> {
        self.ready.pop();
        let place = self.timers.places.get_mut(index as usize)?;
        place.is_queued = false;
        if place.state != State::Due {
            // It was cancelled, and perhaps its place is another's by now.
            return None;
        }
        let cookie = place.cookie;
        self.timers.release(index);
        self.counters.timers_told += 1;
        Some(Completion::Timer { cookie })
    }
}
