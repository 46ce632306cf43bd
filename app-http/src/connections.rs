//! The connections of one server, in a table made once, and their deadlines.

use crate::engine::Rest;
use crate::request::Next;
use alloc::vec::Vec;
use core::net::IpAddr;
use kernel::Instant;
use megapipe::Handle;
use megapipe::channel::Buffer;
use net::timers::Timers;

/// A place in the table; it is the cookie of the connection's handle. The channel hands out
/// nothing of a handle that was unregistered, so a place needs no generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot(u32);

impl Slot {
    /// Returns the slot as a cookie's word.
    pub fn to_word(self) -> u64 {
        self.0.into()
    }

    /// Returns the slot of a cookie's word; a word that is none leads to no connection.
    pub fn from_word(word: u64) -> Self {
        Slot(u32::try_from(word).unwrap_or(u32::MAX))
    }
}

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// A read is under way, and nothing of a request is there.
    Idle,
    /// A read is under way, and the write of the last answer may be: it is told only if it waits.
    Answered,
    /// A read is under way; part of a request's head is there.
    Partial,
    /// A read is under way; the first `left` bytes are the content of an answered request.
    Skipping {
        /// In bytes.
        left: u32,
    },
    /// A write is under way.
    Writing(Next),
    /// This side has finished; what comes is thrown away.
    Lingering {
        /// Bytes that may still come.
        left: u32,
    },
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    /// Its handle in the channel.
    pub handle: Handle,
    /// What it is doing.
    pub state: State,
    /// Requests that came behind the one being answered. An idle connection holds none.
    pub held: Option<Buffer>,
    /// What is left of the answer being written.
    pub rest: Rest,
    /// When what it is doing has taken too long.
    pub deadline: Instant,
    /// When the request being answered was begun.
    pub since: Instant,
    /// Requests that may still come.
    pub requests_left: u32,
    /// Requests whose answers are being written.
    pub answered: u32,
    /// The other side.
    pub peer: IpAddr,
}

// A hundred thousand connections take 10 MB.
const _: () = assert!(size_of::<Option<Connection>>() <= 104);

/// Later than any deadline.
pub const NEVER: Instant = Instant::from_nanos(u64::MAX);

/// The table.
///
/// A deadline moves with every request, but its timer does not: a timer that is told looks at the
/// deadline, and is set again when that is still ahead. So a kept connection costs the wheel
/// something once in a while and not per request.
pub struct Connections {
    slots: Vec<Option<Connection>>,
    free: Vec<u32>,
    timers: Timers,
    /// No deadline is before this.
    quiet_until: Instant,
}

impl Connections {
    /// Makes a table for `capacity` connections, and takes all its memory.
    pub fn new(capacity: u32) -> Self {
        Connections {
            slots: (0..capacity).map(|_| None).collect(),
            free: (0..capacity).rev().collect(),
            timers: Timers::new(capacity as usize, Instant::ZERO),
            quiet_until: NEVER,
        }
    }

    /// Returns how many more connections fit.
    pub fn free_count(&self) -> usize {
        self.free.len()
    }

    /// Returns how many connections there are.
    pub fn count(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Adds a connection, made for its slot by `make`; `None` when the table is full.
    pub fn insert(&mut self, make: impl FnOnce(Slot) -> Connection) -> Option<Slot> {
        let place = self.free.pop()?;
        let slot = self.slots.get_mut(place as usize)?;
        let connection = slot.insert(make(Slot(place)));
        self.timers.set(place, connection.deadline);
        self.quiet_until = self.quiet_until.min(connection.deadline);
        Some(Slot(place))
    }

    /// Returns a connection.
    #[inline]
    pub fn connection(&mut self, slot: Slot) -> Option<&mut Connection> {
        self.slots.get_mut(slot.0 as usize)?.as_mut()
    }

    /// Moves a connection's deadline.
    #[inline]
    pub fn set_deadline(&mut self, slot: Slot, deadline: Instant) {
        let Some(connection) = self.connection(slot) else {
            return;
        };
        let is_earlier = deadline < connection.deadline;
        connection.deadline = deadline;
        // The timer is set for the last deadline or an earlier one.
        if is_earlier {
            self.timers.set_no_later(slot.0, deadline);
            self.quiet_until = self.quiet_until.min(deadline);
        }
    }

    /// Takes a connection out.
    pub fn remove(&mut self, slot: Slot) -> Option<Connection> {
        let connection = self.slots.get_mut(slot.0 as usize)?.take()?;
        self.timers.cancel(slot.0);
        // It has room for every slot.
        self.free.push(slot.0);
        Some(connection)
    }

    /// Returns the next connection whose deadline has passed.
    #[inline]
    pub fn pop_expired(&mut self, now: Instant) -> Option<Slot> {
        while let Some(timer) = self.timers.pop_due(now) {
            let slot = Slot(timer);
            let Some(connection) = self.connection(slot) else {
                continue;
            };
            let deadline = connection.deadline;
            if deadline <= now {
                // Whatever comes next is earlier, and sets the timer.
                connection.deadline = NEVER;
                return Some(slot);
            }
            self.timers.set(timer, deadline);
        }
        self.quiet_until = self.timers.next_deadline().unwrap_or(NEVER);
        None
    }

    /// Returns when [`pop_expired`](Self::pop_expired) is to be called next; [`NEVER`] without
    /// connections, or when the last ones are long gone.
    #[inline]
    pub fn quiet_until(&self) -> Instant {
        self.quiet_until
    }

    /// Yields every slot in use, for when all connections are to be looked at.
    pub fn slots(&self) -> impl Iterator<Item = Slot> + use<> {
        (0..self.slots.len() as u32).map(Slot)
    }
}
