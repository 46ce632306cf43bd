//! The handle table: what the channel knows of each connection.
//!
//! One slot per connection of the stack, at the same index. A slot is at most
//! [`IDLE_HANDLE_BYTES`](crate::limits::IDLE_HANDLE_BYTES) large, whatever is under way on it; only
//! the pieces of a write live elsewhere. Results wait in the slot until they are dispatched.
//!
//! Invariants: at most one read and one write per slot; an id whose generation is not the slot's
//! reaches nothing; `Disconnect` is the last thing told of a connection.

use crate::buffer::Buffer;
use crate::completion::{Completion, Cookie, IoError, SubmitError};
use crate::limits;
use crate::lwsocket::Handle;
use crate::writes::WriteId;
use alloc::boxed::Box;
use net::stack::{CloseReason, ConnectionId};

/// Whose a slot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Phase {
    /// Nobody's, or the accept queue's.
    #[default]
    Free,
    /// A lwsocket's.
    Accepted,
    /// A handle's.
    Registered,
}

/// How far a read or write has come. Flat and ordered, so that "ready" is one comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
#[repr(u8)]
pub(crate) enum Operation {
    /// There is none.
    #[default]
    Idle,
    /// It waits to be flushed, or for data, room or a buffer.
    UnderWay,
    /// It has succeeded; to be told. This and what follows is ready.
    Done,
    /// It has failed with [`IoError::Reset`]; to be told.
    Reset,
    /// It has failed with [`IoError::TimedOut`]; to be told.
    TimedOut,
    /// It has failed with [`IoError::BrokenPipe`]; to be told.
    BrokenPipe,
}

impl Operation {
    #[inline]
    fn is_ready(self) -> bool {
        self >= Operation::Done
    }

    fn failed(error: IoError) -> Self {
        match error {
            IoError::Reset => Operation::Reset,
            IoError::TimedOut => Operation::TimedOut,
            IoError::BrokenPipe => Operation::BrokenPipe,
        }
    }

    /// Takes the result of one that is ready; `bytes` is what it moved.
    #[inline]
    fn take(&mut self, bytes: usize) -> Result<usize, IoError> {
        match core::mem::take(self) {
            Operation::Idle | Operation::UnderWay | Operation::Done => Ok(bytes),
            Operation::Reset => Err(IoError::Reset),
            Operation::TimedOut => Err(IoError::TimedOut),
            Operation::BrokenPipe => Err(IoError::BrokenPipe),
        }
    }
}

/// Whether this side has finished sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Sending {
    /// It has not.
    #[default]
    Open,
    /// It will when the write under way is complete.
    Finishing,
    /// It has.
    Finished,
}

/// What the channel knows of one connection.
pub(crate) struct Slot {
    /// The connection; when the phase is `Free`, the last one.
    pub(crate) connection: ConnectionId,
    pub(crate) cookie: Cookie,
    /// The buffer of a read: of `read_into` while it is under way, of any read when it is done.
    pub(crate) buffer: Option<Buffer>,
    /// Bytes of the write so far, or of the write that is done.
    pub(crate) written: usize,
    /// Bytes of the read that is done.
    pub(crate) read_bytes: u32,
    /// The pieces of the write that is under way.
    pub(crate) pieces: WriteId,
    pub(crate) phase: Phase,
    pub(crate) read: Operation,
    pub(crate) write: Operation,
    pub(crate) sending: Sending,
    /// How the connection ended.
    pub(crate) closed: Option<CloseReason>,
    /// `Disconnect` was told.
    pub(crate) is_told: bool,
    /// The write was done before the read that is ready too.
    pub(crate) is_write_first: bool,
    /// There may be something to receive.
    pub(crate) is_readable: bool,
    /// The slot is in the ready ring; says nothing about who has it.
    pub(crate) is_queued: bool,
}

const _: () = assert!(size_of::<Slot>() <= limits::IDLE_HANDLE_BYTES);

/// The connection of a slot that has had none.
const NO_CONNECTION: ConnectionId = ConnectionId::new(u32::MAX, u32::MAX);

impl Slot {
    fn new(connection: ConnectionId) -> Self {
        Slot {
            connection,
            cookie: Cookie::default(),
            buffer: None,
            written: 0,
            read_bytes: 0,
            pieces: WriteId::default(),
            phase: Phase::Free,
            read: Operation::Idle,
            write: Operation::Idle,
            sending: Sending::Open,
            closed: None,
            is_told: false,
            is_write_first: false,
            is_readable: false,
            is_queued: false,
        }
    }

    /// Begins anew for another connection. What is in a ring stays there.
    pub(crate) fn begin(&mut self, connection: ConnectionId) {
        *self = Slot {
            is_queued: self.is_queued,
            ..Slot::new(connection)
        };
    }

    /// Returns whether a completion is ready.
    #[inline]
    pub(crate) fn is_ready(&self) -> bool {
        self.read.is_ready() || self.write.is_ready() || (self.closed.is_some() && !self.is_told)
    }

    /// Returns how many completions are ready.
    pub(crate) fn ready_count(&self) -> usize {
        let disconnect = self.closed.is_some() && !self.is_told;
        usize::from(self.read.is_ready())
            + usize::from(self.write.is_ready())
            + usize::from(disconnect)
    }

    /// Ends the read that is under way.
    pub(crate) fn finish_read(&mut self, result: Result<usize, IoError>) {
        self.is_write_first = self.write.is_ready();
        self.read = match result {
            Ok(bytes) => {
                self.read_bytes = bytes as u32;
                Operation::Done
            }
            Err(error) => Operation::failed(error),
        };
    }

    /// Ends the write that is under way.
    pub(crate) fn finish_write(&mut self, result: Result<(), IoError>) {
        self.is_write_first = !self.read.is_ready();
        self.write = match result {
            Ok(()) => Operation::Done,
            Err(error) => Operation::failed(error),
        };
    }

    /// Takes the next completion of a registered handle.
    #[inline]
    pub(crate) fn take_completion(&mut self) -> Option<Completion> {
        if self.phase != Phase::Registered {
            return None;
        }
        let cookie = self.cookie;
        if self.read.is_ready() && !self.is_write_first {
            let result = self.read.take(self.read_bytes as usize);
            let buffer = self.buffer.take();
            return Some(Completion::Read {
                cookie,
                buffer,
                result,
            });
        }
        if self.write.is_ready() {
            self.is_write_first = false;
            let result = self.write.take(self.written);
            return Some(Completion::Write { cookie, result });
        }
        let reason = self.closed.filter(|_| !self.is_told)?;
        self.is_told = true;
        Some(Completion::Disconnect { cookie, reason })
    }
}

/// The slots of all connections.
pub(crate) struct HandleTable {
    slots: Box<[Slot]>,
}

impl HandleTable {
    /// Takes room for `handles` connections.
    pub(crate) fn new(handles: usize) -> Self {
        HandleTable {
            slots: (0..handles).map(|_| Slot::new(NO_CONNECTION)).collect(),
        }
    }

    /// Returns the slot at an index, whoever has it.
    #[inline]
    pub(crate) fn at(&mut self, index: usize) -> Option<&mut Slot> {
        self.slots.get_mut(index)
    }

    /// Returns the slot of a connection that was accepted.
    #[inline]
    pub(crate) fn of(&mut self, connection: ConnectionId) -> Option<&mut Slot> {
        self.at(connection.index())
            .filter(|slot| slot.phase != Phase::Free && slot.connection == connection)
    }

    /// Returns the slot of a registered handle.
    ///
    /// # Errors
    /// [`SubmitError::UnknownHandle`] when it is stale.
    #[inline]
    pub(crate) fn registered(&mut self, handle: Handle) -> Result<&mut Slot, SubmitError> {
        self.of(handle.0)
            .filter(|slot| slot.phase == Phase::Registered)
            .ok_or(SubmitError::UnknownHandle)
    }

    /// Returns slots by what they are: lwsockets, registered handles.
    pub(crate) fn in_use(&self) -> (usize, usize) {
        let count = |phase| self.slots.iter().filter(|slot| slot.phase == phase).count();
        (count(Phase::Accepted), count(Phase::Registered))
    }
}
