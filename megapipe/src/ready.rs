//! The entries of the completion ring: they name who has something to tell, and what that is waits
//! there. So the ring has a place for everyone, and nothing is ever lost for want of room.

use crate::handle_table::{Phase, Slot};
use crate::ring::Ring;
use core::num::NonZeroU32;

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

/// An entry of the completion ring in four bytes: a kind, which is not 0, below an index.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReadyWord(NonZeroU32);

/// Indices fit beside the kind.
const _: () = assert!(net::limits::CONNECTIONS_MAX <= 1 << 29);

impl From<Ready> for ReadyWord {
    #[inline]
    fn from(ready: Ready) -> Self {
        let (kind, index) = match ready {
            Ready::Handle(index) => (1, index),
            Ready::Accept => (2, 0),
            Ready::Listener(index) => (3, index.into()),
            Ready::Connect(index) => (4, index.into()),
            Ready::Timer(index) => (5, index),
        };
        ReadyWord(NonZeroU32::MIN.saturating_add(index << 3 | (kind - 1)))
    }
}

impl From<ReadyWord> for Ready {
    #[inline]
    fn from(word: ReadyWord) -> Self {
        let bits = word.0.get() - 1;
        let index = bits >> 3;
        match bits & 7 {
            0 => Ready::Handle(index),
            1 => Ready::Accept,
            2 => Ready::Listener(index as u8),
            3 => Ready::Connect(index as u16),
            _ => Ready::Timer(index),
        }
    }
}

/// Takes the handle at the front out of the completion ring, if it has nothing more to tell.
#[inline]
pub(crate) fn leave_if_done(slot: &mut Slot, ready: &mut Ring<ReadyWord>) {
    if !slot.is_ready() {
        slot.is_queued = false;
        ready.pop();
    }
}

/// Puts a registered handle into the completion ring, unless it is there or has nothing to tell.
#[inline]
pub(crate) fn announce(slot: &mut Slot, ready: &mut Ring<ReadyWord>) {
    if !slot.is_queued && slot.phase == Phase::Registered {
        let index = slot.connection.index() as u32;
        let is_queued = ready.push(Ready::Handle(index).into()).is_ok();
        slot.is_queued = is_queued;
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
        assert_eq!(size_of::<Option<ReadyWord>>(), 4);
    }
}
