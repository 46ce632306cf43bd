//! The entries of the completion ring: they name who has something to tell, and what that is waits
//! there. So the ring has a place for everyone, and nothing is ever lost for want of room.

use crate::handle_table::{Phase, Slot};
use alloc::boxed::Box;

/// An entry of the completion ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ready {
    /// The handle at this index has results. Each index is in the ring at most once.
    Handle(u32),
    /// The oldest accepted connection; as many entries as there are of those.
    Accept,
    /// There is something to tell of the listener at this index. Each is in the ring at most once.
    Listener(u8),
    /// A connect is done. Each is in the ring at most once.
    Connect(u16),
    /// A timer is due. Each is in the ring at most once.
    Timer(u32),
}

/// An entry of the completion ring in four bytes: a kind above an index. That of a handle is 0, so
/// that its word is its index.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ReadyWord(u32);

/// Bits of an index.
const INDEX_BITS: u32 = 29;

impl ReadyWord {
    /// Returns the index of a handle; `None` when it is of something else.
    #[inline]
    pub(crate) fn handle(self) -> Option<usize> {
        (self.0 < 1 << INDEX_BITS).then_some(self.0 as usize)
    }
}

/// Indices fit beside the kind.
const _: () = assert!(net::limits::CONNECTIONS_MAX < 1 << INDEX_BITS);

impl From<Ready> for ReadyWord {
    #[inline]
    fn from(ready: Ready) -> Self {
        let (kind, index) = match ready {
            Ready::Handle(index) => (0, index),
            Ready::Accept => (1, 0),
            Ready::Listener(index) => (2, index.into()),
            Ready::Connect(index) => (3, index.into()),
            Ready::Timer(index) => (4, index),
        };
        ReadyWord(kind << INDEX_BITS | index)
    }
}

impl From<ReadyWord> for Ready {
    #[inline]
    fn from(word: ReadyWord) -> Self {
        let index = word.0 & ((1 << INDEX_BITS) - 1);
        match word.0 >> INDEX_BITS {
            0 => Ready::Handle(index),
            1 => Ready::Accept,
            2 => Ready::Listener(index as u8),
            3 => Ready::Connect(index as u16),
            _ => Ready::Timer(index),
        }
    }
}

/// The completion ring.
pub(crate) struct ReadyRing {
    /// A power of two of places, at least `room`.
    places: Box<[ReadyWord]>,
    /// One less than that.
    mask: u32,
    room: u32,
    /// Entries put in and taken out since the start, wrapping.
    put: u32,
    taken: u32,
}

impl ReadyRing {
    /// Makes a ring with room for so many entries.
    pub(crate) fn new(room: usize) -> Self {
        let places = room.max(1).next_power_of_two();
        ReadyRing {
            places: (0..places).map(|_| ReadyWord::default()).collect(),
            mask: places as u32 - 1,
            room: room as u32,
            put: 0,
            taken: 0,
        }
    }

    /// Appends an entry. There is room, because the ring has some for everyone who can have something
    /// to tell, and each is in it once.
    #[inline]
    pub(crate) fn push(&mut self, ready: Ready) {
        debug_assert!(self.put.wrapping_sub(self.taken) < self.room);
        self.places[(self.put & self.mask) as usize] = ready.into();
        self.put = self.put.wrapping_add(1);
    }

    /// Looks at the oldest entry.
    #[inline]
    pub(crate) fn front(&self) -> Option<ReadyWord> {
        if self.is_empty() {
            return None;
        }
        Some(self.places[(self.taken & self.mask) as usize])
    }

    /// Removes the oldest entry, which there must be.
    #[inline]
    pub(crate) fn pop(&mut self) {
        debug_assert!(!self.is_empty());
        self.taken = self.taken.wrapping_add(1);
    }

    /// Begins at the first place again, now that there is no entry: few places are touched.
    #[inline]
    pub(crate) fn rewind(&mut self) {
        debug_assert!(self.is_empty());
        (self.put, self.taken) = (0, 0);
    }

    /// Returns whether there is no entry.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.put == self.taken
    }
}

/// Takes the handle at the front out of the completion ring, if it has nothing more to tell.
#[inline]
pub(crate) fn leave_if_done(slot: &mut Slot, ready: &mut ReadyRing) {
    if !slot.is_ready() {
        slot.is_queued = false;
        ready.pop();
    }
}

/// Puts a registered handle, which has something to tell, into the completion ring, unless it is there.
#[inline]
pub(crate) fn announce(slot: &mut Slot, ready: &mut ReadyRing) {
    debug_assert!(slot.phase == Phase::Registered);
    if !slot.is_queued {
        slot.is_queued = true;
        ready.push(Ready::Handle(slot.connection.index() as u32));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_comes_out_as_it_went_in() {
        let largest = net::limits::CONNECTIONS_MAX as u32;
        for index in [0, 1, 7, 8, 255, 65_535, largest - 1, largest] {
            for ready in [
                Ready::Handle(index),
                Ready::Accept,
                Ready::Listener(index as u8),
                Ready::Connect(index as u16),
                Ready::Timer(index),
            ] {
                assert_eq!(Ready::from(ReadyWord::from(ready)), ready);
            }
        }
        assert_eq!(size_of::<ReadyWord>(), 4);
    }

    #[test]
    fn entries_come_out_in_order_also_where_the_counts_wrap() {
        let mut ring = ReadyRing::new(3);
        (ring.put, ring.taken) = (u32::MAX - 5, u32::MAX - 5);
        for round in 0..10 {
            for index in 0..3 {
                ring.push(Ready::Handle(round + index));
            }
            for index in 0..3 {
                let front = ring.front().and_then(ReadyWord::handle);
                assert_eq!(front, Some(round as usize + index as usize));
                ring.pop();
            }
            assert!(ring.front().is_none() && ring.is_empty());
        }
    }
}
