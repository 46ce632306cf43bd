//! The connections of one server, in a table made once.

use crate::request::Next;
use alloc::vec::Vec;
use megapipe::Handle;
use megapipe::channel::Buffer;

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
    /// A read is under way; the first `skip` bytes are the content of an answered request.
    Reading {
        /// In bytes.
        skip: u32,
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
}

// A hundred thousand connections take 3.2 MB.
const _: () = assert!(size_of::<Option<Connection>>() <= 32);

/// The table.
#[derive(Debug)]
pub struct Connections {
    slots: Vec<Option<Connection>>,
    free: Vec<u32>,
}

impl Connections {
    /// Makes a table for `capacity` connections, and takes all its memory.
    pub fn new(capacity: u32) -> Self {
        Connections {
            slots: (0..capacity).map(|_| None).collect(),
            free: (0..capacity).rev().collect(),
        }
    }

    /// Returns how many more connections fit.
    pub fn free_count(&self) -> usize {
        self.free.len()
    }

    /// Adds a connection, made for its slot by `make`; `None` when the table is full.
    pub fn insert(&mut self, make: impl FnOnce(Slot) -> Connection) -> Option<Slot> {
        let place = self.free.pop()?;
        let slot = self.slots.get_mut(place as usize)?;
        *slot = Some(make(Slot(place)));
        Some(Slot(place))
    }

    /// Returns a connection.
    pub fn connection(&mut self, slot: Slot) -> Option<&mut Connection> {
        self.slots.get_mut(slot.0 as usize)?.as_mut()
    }

    /// Takes a connection out.
    pub fn remove(&mut self, slot: Slot) -> Option<Connection> {
        let connection = self.slots.get_mut(slot.0 as usize)?.take()?;
        // It has room for every slot.
        self.free.push(slot.0);
        Some(connection)
    }
}
