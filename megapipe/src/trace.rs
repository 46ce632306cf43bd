//! What a core did last, and when: a ring of events, for whoever wants to see its time line.
//!
//! Off unless somebody has begun a trace; then every event is two words into a ring of
//! [`TRACE_EVENTS`], the oldest of which give way. Upstream: the core's loop (turns, sleeps, drops)
//! and the application ([`Channel::trace`](crate::Channel::trace)). Downstream: an
//! [`Observer`](crate::Observer), through [`Core::trace`](crate::Core::trace). Invariant: while it is
//! off it costs one comparison per turn, and one per event of the application.

use crate::limits::TRACE_EVENTS;
use alloc::boxed::Box;
use core::time::Duration;
use kernel::Instant;

/// Something that happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// When it began, in nanoseconds.
    pub at_ns: u64,
    /// What it was.
    pub kind: EventKind,
    /// How long it took, in nanoseconds, at most 2^32 - 1.
    pub duration_ns: u32,
    /// Whom it was about, or how many: below 2^24.
    pub subject: u32,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// A turn that had something to do.
    Turn,
    /// The core slept.
    Sleep,
    /// Frames were dropped in a turn, so many (`subject`), for the reason of this number.
    Drop(u8),
    /// The application's own, below 64.
    Application(u8),
}

const DROP: u8 = 0x40;
const APPLICATION: u8 = 0x80;
const SUBJECT_MAX: u32 = (1 << 24) - 1;

impl Event {
    /// Returns the event in two words.
    pub fn to_words(self) -> [u64; 2] {
        let kind = match self.kind {
            EventKind::Turn => 1,
            EventKind::Sleep => 2,
            EventKind::Drop(reason) => DROP | reason & 0x3f,
            EventKind::Application(kind) => APPLICATION | kind & 0x3f,
        };
        let subject = u64::from(self.subject.min(SUBJECT_MAX));
        let word = u64::from(kind) << 56 | subject << 32 | u64::from(self.duration_ns);
        [self.at_ns, word]
    }

    /// Returns the event of two words, `None` when they hold none.
    pub fn from_words([at_ns, word]: [u64; 2]) -> Option<Self> {
        let kind = match (word >> 56) as u8 {
            1 => EventKind::Turn,
            2 => EventKind::Sleep,
            kind if kind & 0xc0 == DROP => EventKind::Drop(kind & 0x3f),
            kind if kind & 0xc0 == APPLICATION => EventKind::Application(kind & 0x3f),
            _ => return None,
        };
        Some(Event {
            at_ns,
            kind,
            duration_ns: word as u32,
            subject: (word >> 32) as u32 & SUBJECT_MAX,
        })
    }
}

/// The ring of one core.
#[derive(Debug)]
pub struct Trace {
    is_on: bool,
    /// Events since the trace was begun.
    written: u64,
    words: Box<[[u64; 2]]>,
}

impl Trace {
    /// Takes the ring's memory; nothing is traced yet.
    pub(crate) fn new() -> Self {
        Trace {
            is_on: false,
            written: 0,
            words: alloc::vec![[0; 2]; TRACE_EVENTS].into_boxed_slice(),
        }
    }

    /// Returns whether events are noted.
    #[inline(always)]
    pub fn is_on(&self) -> bool {
        self.is_on
    }

    /// Begins anew, or ends; what there is stays until the next beginning.
    pub(crate) fn switch(&mut self, is_on: bool) {
        self.is_on = is_on;
        if is_on {
            self.written = 0;
        }
    }

    /// Notes an event that began at `at` and took so long.
    pub(crate) fn push(&mut self, at: Instant, kind: EventKind, duration: Duration, subject: u32) {
        let event = Event {
            at_ns: at.as_nanos(),
            kind,
            duration_ns: u32::try_from(duration.as_nanos()).unwrap_or(u32::MAX),
            subject,
        };
        let place = (self.written % TRACE_EVENTS as u64) as usize;
        self.words[place] = event.to_words();
        self.written += 1;
    }

    /// Yields the events that are left, oldest first, each in two words.
    pub fn words(&self) -> impl Iterator<Item = [u64; 2]> {
        let first = self.written.saturating_sub(TRACE_EVENTS as u64);
        (first..self.written).map(|number| self.words[(number % TRACE_EVENTS as u64) as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn an_event_is_the_same_behind_its_words() {
        for kind in [
            EventKind::Turn,
            EventKind::Sleep,
            EventKind::Drop(0),
            EventKind::Drop(63),
            EventKind::Application(0),
            EventKind::Application(63),
        ] {
            let event = Event {
                at_ns: u64::MAX - 1,
                kind,
                duration_ns: u32::MAX,
                subject: SUBJECT_MAX,
            };
            assert_eq!(Event::from_words(event.to_words()), Some(event));
        }
        assert_eq!(Event::from_words([0; 2]), None);
    }

    #[test]
    fn the_last_events_are_kept_and_a_new_trace_begins_empty() {
        let mut trace = Trace::new();
        assert!(!trace.is_on());
        trace.switch(true);
        let count = TRACE_EVENTS as u64 + 10;
        for number in 0..count {
            let at = Instant::from_nanos(number);
            trace.push(at, EventKind::Turn, Duration::from_secs(100), 1 << 30);
        }
        let events: Vec<_> = trace.words().filter_map(Event::from_words).collect();
        assert_eq!(events.len(), TRACE_EVENTS);
        assert_eq!((events[0].at_ns, events[0].duration_ns), (10, u32::MAX));
        assert_eq!(
            events[0].subject, SUBJECT_MAX,
            "not more than it has room for"
        );
        assert_eq!(events.last().map(|event| event.at_ns), Some(count - 1));
        trace.switch(false);
        assert_eq!(trace.words().count(), TRACE_EVENTS, "to be looked at");
        trace.switch(true);
        assert_eq!(trace.words().count(), 0);
    }
}
