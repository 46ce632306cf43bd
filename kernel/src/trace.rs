//! What each core did last: a ring of typed events per core, which a crash report tells.
//!
//! To write an event takes a few stores and no decision, so that what is rare and what every turn
//! does can both be there. The newest overwrite the oldest. It is always on, and short; a time line to
//! look at while all is well is `megapipe::trace`.
//!
//! Upstream: whoever does something, above. Downstream: the crash report. Invariants: a ring has one
//! writer, its core; who reads another core's ring while that runs may see one event half written,
//! but never anything that was not stored whole.

use crate::cores::CoreId;
use crate::limits::{MAX_CORES, TRACE_EVENTS};
use crate::time::Instant;
use core::fmt;
use core::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};

/// A kind of event, and what its two values are; without a name, a value is not told.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    name: &'static str,
    values: [&'static str; 2],
}

impl Kind {
    /// Makes a kind; for statics.
    pub const fn new(name: &'static str, values: [&'static str; 2]) -> Self {
        Kind { name, values }
    }
}

/// An event that was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: Instant,
    /// What.
    pub kind: &'static Kind,
    /// With what; the kind says what they are.
    pub values: [u64; 2],
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let us = self.at.as_micros();
        let (seconds, rest) = (us / 1_000_000, us % 1_000_000);
        write!(f, "[{seconds:4}.{rest:06}] {}", self.kind.name)?;
        let named = self.kind.values.iter().zip(self.values);
        for (name, value) in named.filter(|(name, _)| !name.is_empty()) {
            write!(f, " {name}={value}")?;
        }
        Ok(())
    }
}

struct Ring {
    /// Events written so far.
    written: AtomicUsize,
    entries: [Entry; TRACE_EVENTS],
}

struct Entry {
    at_ns: AtomicU64,
    kind: AtomicPtr<Kind>,
    values: [AtomicU64; 2],
}

static RINGS: [Ring; MAX_CORES] = [const {
    Ring {
        written: AtomicUsize::new(0),
        entries: [const {
            Entry {
                at_ns: AtomicU64::new(0),
                kind: AtomicPtr::new(core::ptr::null_mut()),
                values: [const { AtomicU64::new(0) }; 2],
            }
        }; TRACE_EVENTS],
    }
}; MAX_CORES];

/// Records an event of `core`, which must be the caller's.
#[inline]
pub fn record(core: CoreId, at: Instant, kind: &'static Kind, values: [u64; 2]) {
    let ring = &RINGS[core.index()];
    let number = ring.written.load(Ordering::Relaxed);
    let entry = &ring.entries[number % TRACE_EVENTS];
    entry.at_ns.store(at.as_nanos(), Ordering::Relaxed);
    let kind = core::ptr::from_ref(kind).cast_mut();
    entry.kind.store(kind, Ordering::Release);
    entry.values[0].store(values[0], Ordering::Relaxed);
    entry.values[1].store(values[1], Ordering::Relaxed);
    ring.written
        .store(number.wrapping_add(1), Ordering::Release);
}

/// Yields what a core did last, the oldest first.
pub fn events(core: CoreId) -> impl Iterator<Item = Event> {
    let ring = &RINGS[core.index()];
    let written = ring.written.load(Ordering::Acquire);
    let numbers = written.saturating_sub(TRACE_EVENTS)..written;
    numbers.filter_map(|number| {
        let entry = &ring.entries[number % TRACE_EVENTS];
        // SAFETY: null, or what `record` has stored, which is a `&'static Kind`.
        let kind = unsafe { entry.kind.load(Ordering::Acquire).as_ref() }?;
        Some(Event {
            at: Instant::from_nanos(entry.at_ns.load(Ordering::Relaxed)),
            kind,
            values: [
                entry.values[0].load(Ordering::Relaxed),
                entry.values[1].load(Ordering::Relaxed),
            ],
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;
    use std::vec::Vec;

    static HEARD: Kind = Kind::new("heard", ["frames", ""]);
    static SLEPT: Kind = Kind::new("slept", ["", ""]);

    #[test]
    fn the_last_events_are_told_oldest_first_and_each_core_has_its_own() {
        // Cores that no other test of this crate is.
        let (one, other) = (CoreId::new(30).unwrap(), CoreId::new(31).unwrap());
        assert_eq!(events(one).count(), 0);
        let at = |number: u64| Instant::from_nanos(number * 1_000);
        for number in 0..TRACE_EVENTS as u64 + 10 {
            record(one, at(number), &HEARD, [number, 7]);
        }
        record(other, at(1), &SLEPT, [0, 0]);
        let told: Vec<Event> = events(one).collect();
        assert_eq!(told.len(), TRACE_EVENTS);
        for (event, number) in told.iter().zip(10..) {
            assert_eq!((event.kind, event.at), (&HEARD, at(number)));
            assert_eq!(event.values, [number, 7]);
        }
        assert_eq!(events(other).count(), 1);
    }

    #[test]
    fn an_event_is_a_line() {
        let event = Event {
            at: Instant::from_nanos(12_034_567_890),
            kind: &HEARD,
            values: [3, 9],
        };
        assert_eq!(format!("{event}"), "[  12.034567] heard frames=3");
    }
}
