//! The handle table: what the channel knows of each connection.
//!
//! One slot per connection of the stack, at the same index. A slot with its places in the channel's
//! lists takes at most [`IDLE_HANDLE_BYTES`](crate::limits::IDLE_HANDLE_BYTES), whatever is under
//! way on it; only the pieces of a write live elsewhere. Results wait in the slot until they are
//! dispatched.
//!
//! Invariants: at most one read and one write per slot; an id whose generation is not the slot's
//! reaches nothing; `Disconnect` is the last thing told of a connection.

use crate::buffer::Owner;
use crate::completion::{Completion, Cookie, IoError, SubmitError};
use crate::limits;
use crate::lwsocket::{ChannelTag, Handle};
use crate::writes::WriteId;
use alloc::boxed::Box;
use net::chunk::Chunk;
use net::stack::{CloseReason, ConnectionId};

/// Whose a slot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Phase {
    /// Nobody's, as far as the channel knows.
    #[default]
    Free,
    /// A connect's, which its cookie names.
    Connecting,
    /// A lwsocket's.
    Accepted,
    /// A handle's.
    Registered,
}

/// How far a read or write has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub(crate) enum Operation {
    /// There is none.
    #[default]
    Idle,
    /// It waits to be flushed, or for data, room or a buffer.
    UnderWay,
    /// It has succeeded; to be told.
    Done,
    /// It has failed with [`IoError::Reset`]; to be told.
    Reset,
    /// It has failed with [`IoError::TimedOut`]; to be told.
    TimedOut,
    /// It has failed with [`IoError::BrokenPipe`]; to be told.
    BrokenPipe,
}

impl Operation {
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
            Operation::Done => Ok(bytes),
            failed => Err(failed.error()),
        }
    }

    /// Out of line: as a table of results it would cost every one that is done.
    #[cold]
    #[inline(never)]
    fn error(self) -> IoError {
        match self {
            Operation::Reset => IoError::Reset,
            Operation::TimedOut => IoError::TimedOut,
            // One that is ready is none of the first three.
            Operation::BrokenPipe | Operation::Idle | Operation::UnderWay | Operation::Done => {
                IoError::BrokenPipe
            }
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

/// What is to be told of a handle: a bit each. Of one that is not registered, nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Pending(u8);

impl Pending {
    pub(crate) const READ: Pending = Pending(1);
    pub(crate) const WRITE: Pending = Pending(2);
    pub(crate) const RECEIPTS: Pending = Pending(4);
    /// The end of the connection, and what came before has been read.
    pub(crate) const END: Pending = Pending(8);
    /// Beside both: the write was done before the read.
    const WRITE_FIRST: Pending = Pending(16);

    #[inline]
    pub(crate) fn add(&mut self, other: Pending) {
        self.0 |= other.0;
    }

    /// Adds a read behind a write that is there.
    #[inline]
    fn add_read(&mut self) {
        const SHIFT: u32 =
            Pending::WRITE_FIRST.0.trailing_zeros() - Pending::WRITE.0.trailing_zeros();
        self.0 |= Self::READ.0 | (self.0 & Self::WRITE.0) << SHIFT;
    }

    #[inline]
    fn remove(&mut self, other: Pending) {
        self.0 &= !other.0;
    }

    #[inline]
    fn has(self, other: Pending) -> bool {
        self.0 & other.0 != 0
    }
}

/// What the channel knows of one connection.
pub(crate) struct Slot {
    /// The connection; when the phase is `Free`, the last one.
    pub(crate) connection: ConnectionId,
    pub(crate) cookie: Cookie,
    /// The buffer of a read: of `read_into` while it is under way, of any read when it is done.
    pub(crate) chunk: Option<Box<Chunk>>,
    /// Bytes of the read that is done.
    pub(crate) read_bytes: u32,
    /// The place of the write, from its submission until it is told.
    pub(crate) place: WriteId,
    /// Receipts that have come back and are to be told.
    pub(crate) receipts: u16,
    pub(crate) phase: Phase,
    /// Whose `chunk` is.
    pub(crate) chunk_owner: Owner,
    pub(crate) read: Operation,
    pub(crate) write: Operation,
    pub(crate) sending: Sending,
    /// How the connection ended.
    pub(crate) closed: Option<CloseReason>,
    pub(crate) pending: Pending,
    /// `Disconnect` was told.
    pub(crate) is_told: bool,
    /// There may be something to receive.
    pub(crate) is_readable: bool,
    /// The slot is in the ready ring; says nothing about who has it.
    pub(crate) is_queued: bool,
    /// The read goes on after each completion.
    pub(crate) is_multishot: bool,
    /// The connection is over, but what has come is to be read before that is told.
    pub(crate) is_draining: bool,
}

const _: () = assert!(size_of::<Slot>() + limits::HANDLE_LISTS_BYTES <= limits::IDLE_HANDLE_BYTES);

/// The connection of a slot that has had none.
pub(crate) const NO_CONNECTION: ConnectionId = ConnectionId::new(u32::MAX, u32::MAX);

impl Slot {
    fn new(connection: ConnectionId) -> Self {
        Slot {
            connection,
            cookie: Cookie::default(),
            chunk: None,
            read_bytes: 0,
            place: WriteId::default(),
            receipts: 0,
            phase: Phase::Free,
            chunk_owner: Owner::Stack,
            read: Operation::Idle,
            write: Operation::Idle,
            sending: Sending::Open,
            closed: None,
            pending: Pending::default(),
            is_told: false,
            is_readable: false,
            is_queued: false,
            is_multishot: false,
            is_draining: false,
        }
    }

    /// Begins anew for another connection. What is in a ring stays there.
    pub(crate) fn begin(&mut self, connection: ConnectionId) {
        *self = Slot {
            is_queued: self.is_queued,
            ..Slot::new(connection)
        };
    }

    /// Whether this, the slot at the index of `connection`, is of it and not of another generation.
    #[inline]
    fn is_of(&self, connection: ConnectionId) -> bool {
        self.connection.generation() == connection.generation()
    }

    /// Refuses what is to be sent when this side has finished, or the connection is over.
    #[inline]
    pub(crate) fn check_sending(&self) -> Result<(), SubmitError> {
        match self.closed {
            Some(reason) => Err(SubmitError::Closed(reason)),
            None if self.sending != Sending::Open => Err(SubmitError::BrokenPipe),
            None => Ok(()),
        }
    }

    /// Returns whether a completion is ready.
    #[inline]
    pub(crate) fn is_ready(&self) -> bool {
        self.pending != Pending::default()
    }

    /// Returns how many completions are ready.
    pub(crate) fn ready_count(&self) -> usize {
        (self.pending.0 & (Pending::WRITE_FIRST.0 - 1)).count_ones() as usize
    }

    /// Ends the read that is under way.
    #[inline]
    pub(crate) fn finish_read(&mut self, result: Result<usize, IoError>) {
        self.pending.add_read();
        self.read = match result {
            Ok(bytes) => {
                self.read_bytes = bytes as u32;
                Operation::Done
            }
            Err(error) => Operation::failed(error),
        };
    }

    /// Ends the write that is under way.
    #[inline]
    pub(crate) fn finish_write(&mut self, result: Result<(), IoError>) {
        self.pending.add(Pending::WRITE);
        self.write = match result {
            Ok(()) => Operation::Done,
            Err(error) => Operation::failed(error),
        };
    }

    /// Whether a read is what is to be told next.
    #[inline]
    pub(crate) fn has_read_to_tell(&self) -> bool {
        self.pending.0 & (Pending::READ.0 | Pending::WRITE_FIRST.0) == Pending::READ.0
    }

    /// Takes the result of the read that is ready; its buffer is to be taken too.
    #[inline]
    pub(crate) fn take_read(&mut self) -> Result<usize, IoError> {
        self.pending.remove(Pending::READ);
        self.read.take(self.read_bytes as usize)
    }

    /// Whether a write is to be told, if no read is.
    #[inline]
    pub(crate) fn has_write_to_tell(&self) -> bool {
        self.pending.has(Pending::WRITE)
    }

    /// Takes the write that is ready, of so many bytes.
    #[inline]
    pub(crate) fn take_write(&mut self, bytes: usize) -> Result<usize, IoError> {
        self.pending
            .remove(Pending(Pending::WRITE.0 | Pending::WRITE_FIRST.0));
        self.write.take(bytes)
    }

    /// Takes what is to be told when neither read nor write is.
    pub(crate) fn take_rare(&mut self) -> Option<Completion> {
        let cookie = self.cookie;
        if self.pending.has(Pending::RECEIPTS) {
            self.pending.remove(Pending::RECEIPTS);
            let receipts = usize::from(core::mem::take(&mut self.receipts));
            return Some(Completion::Acknowledged { cookie, receipts });
        }
        self.pending.remove(Pending::END);
        let reason = self.closed?;
        self.is_told = true;
        Some(Completion::Disconnect { cookie, reason })
    }
}

/// The slots of all connections.
pub(crate) struct HandleTable {
    slots: Box<[Slot]>,
    tag: ChannelTag,
}

impl HandleTable {
    /// Takes room for `handles` connections.
    pub(crate) fn new(handles: usize) -> Self {
        HandleTable {
            slots: (0..handles).map(|_| Slot::new(NO_CONNECTION)).collect(),
            tag: ChannelTag::next(),
        }
    }

    /// Returns what the handles of this channel are known by.
    #[inline]
    pub(crate) fn tag(&self) -> ChannelTag {
        self.tag
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
            .filter(|slot| slot.phase != Phase::Free && slot.is_of(connection))
    }

    /// Returns the slot of a registered handle.
    ///
    /// # Errors
    /// [`SubmitError::UnknownHandle`] when it is stale, or of another channel.
    #[inline]
    pub(crate) fn registered(&mut self, handle: Handle) -> Result<&mut Slot, SubmitError> {
        match self.slots.get_mut(handle.connection.index()) {
            // A registered slot is one that was accepted.
            Some(slot)
                if slot.phase == Phase::Registered
                    && slot.is_of(handle.connection)
                    && handle.channel == self.tag =>
            {
                Ok(slot)
            }
            _ => Err(SubmitError::UnknownHandle),
        }
    }

    /// Returns slots by what they are: lwsockets, registered handles.
    pub(crate) fn in_use(&self) -> (usize, usize) {
        let count = |phase| self.slots.iter().filter(|slot| slot.phase == phase).count();
        (count(Phase::Accepted), count(Phase::Registered))
    }
}
