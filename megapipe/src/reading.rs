//! Reads: the calls `read`, `read_into`, `read_multishot` and `cancel_read`, and how a read is
//! satisfied on the stack's side.
//!
//! A read brings a chunk of the stack's, or fills a buffer that the application lends it. A
//! multishot read goes on after each completion, one at a time: the next chunk is taken only when
//! the last was handed out, and the stack has chunks for it only as long as the application gives
//! them back. Then the peer's window shuts, so that a reader that keeps its buffers stops its peer,
//! and not the channel.

use crate::buffer::{Buffer, Owner};
use crate::channel::{Channel, registered};
use crate::completion::{IoError, Refused, SubmitError};
use crate::connections::Connections;
use crate::exchange::Attempt;
use crate::handle_table::{Operation, Pending, Slot};
use crate::lwsocket::Handle;
use crate::ready::{ReadyRing, announce};
use crate::submissions::{Command, Submissions};
use alloc::boxed::Box;
use net::chunk::Chunk;
use net::stack::{ConnectionError, ConnectionId, ReceiveError};

/// The application's side.
impl Channel {
    /// Reads what comes next (`mp_read`): the completion brings a buffer of the stack's, in which
    /// the bytes lie already.
    ///
    /// # Errors
    /// [`SubmitError`].
    #[inline]
    pub fn read(&mut self, handle: Handle) -> Result<(), SubmitError> {
        self.begin_read(handle)?;
        Ok(())
    }

    /// Reads whatever comes: a [`Completion::Read`](crate::Completion::Read) for each buffer of it, until one says `Ok(0)`
    /// or an error, or the `Disconnect` comes, or [`cancel_read`](Self::cancel_read).
    ///
    /// # Errors
    /// [`SubmitError`].
    pub fn read_multishot(&mut self, handle: Handle) -> Result<(), SubmitError> {
        self.begin_read(handle)?.is_multishot = true;
        Ok(())
    }

    /// Reads into the spare room of `buffer`, behind what it holds already (`mp_read`).
    ///
    /// # Errors
    /// [`SubmitError`], with the buffer.
    pub fn read_into(&mut self, handle: Handle, buffer: Buffer) -> Result<(), Refused<Buffer>> {
        if buffer.spare() == 0 {
            return Err(refused(SubmitError::Empty, buffer));
        }
        let (chunk, owner) = match self.buffers.unlend(buffer) {
            Ok(parts) => parts,
            Err(buffer) => return Err(refused(SubmitError::ForeignBuffer, buffer)),
        };
        match self.begin_read(handle) {
            Ok(slot) => {
                (slot.chunk, slot.chunk_owner) = (Some(chunk), owner);
                Ok(())
            }
            Err(error) => Err(refused(error, self.buffers.lend(chunk, owner))),
        }
    }

    /// Cancels the read under way, and returns the buffer that it was to fill. A completion that is
    /// ready already still comes, so that no byte is lost; after it a multishot read is over.
    ///
    /// # Errors
    /// [`SubmitError::Empty`] when no read is under way, [`SubmitError::UnknownHandle`].
    pub fn cancel_read(&mut self, handle: Handle) -> Result<Option<Buffer>, SubmitError> {
        let slot = registered(&mut self.table, &mut self.counters, handle)?;
        let was_multishot = slot.is_multishot;
        slot.is_multishot = false;
        if slot.read == Operation::UnderWay {
            slot.read = Operation::Idle;
            let chunk = slot.chunk.take();
            return Ok(chunk.map(|chunk| self.buffers.lend(chunk, slot.chunk_owner)));
        }
        match was_multishot {
            true => Ok(None),
            false => Err(SubmitError::Empty),
        }
    }

    /// Checks a read and submits it.
    #[inline]
    fn begin_read(&mut self, handle: Handle) -> Result<&mut Slot, SubmitError> {
        let slot = registered(&mut self.table, &mut self.counters, handle)?;
        if let Some(reason) = slot.closed
            && !slot.is_draining
        {
            return Err(SubmitError::Closed(reason));
        }
        if slot.read != Operation::Idle {
            return Err(SubmitError::Busy);
        }
        if slot.is_readable {
            self.commands.push(Command::Read(handle.connection))?;
        } else {
            // There is nothing to try before the event that says otherwise.
            self.counters.reads_waited += 1;
        }
        slot.read = Operation::UnderWay;
        Ok(slot)
    }
}

/// Begins a multishot read anew behind its completion, unless that was its last one.
pub(crate) fn go_on_reading(
    slot: &mut Slot,
    result: Result<usize, IoError>,
    commands: &mut Submissions,
) {
    let has_bytes = matches!(result, Ok(1..));
    if !has_bytes || (slot.closed.is_some() && !slot.is_draining) {
        slot.is_multishot = false;
        return;
    }
    slot.read = Operation::UnderWay;
    if slot.is_readable {
        // Completions are handed out only while the batch is not full: there is room.
        let pushed = commands.push(Command::Read(slot.connection));
        debug_assert!(pushed.is_ok());
    }
}

/// The stack's side.
impl Channel {
    pub(crate) fn on_readable(&mut self, connection: ConnectionId, stack: &mut impl Connections) {
        match self.table.of(connection) {
            Some(slot) => {
                slot.is_readable = true;
                try_read(slot, &mut self.ready, stack);
            }
            None => self.counters.events_unknown += 1,
        }
    }

    /// Tries the read that is under way, if there is one.
    #[inline(always)]
    pub(crate) fn continue_read(
        &mut self,
        connection: ConnectionId,
        stack: &mut impl Connections,
    ) -> Attempt {
        let Some(slot) = self.table.of(connection) else {
            return Attempt::Nothing;
        };
        try_read(slot, &mut self.ready, stack)
    }
}

/// Tries the read that is under way on a connection, if there is one.
#[inline(always)]
fn try_read(slot: &mut Slot, ready: &mut ReadyRing, stack: &mut impl Connections) -> Attempt {
    if slot.read != Operation::UnderWay {
        return Attempt::Nothing;
    }
    if !slot.is_readable {
        return Attempt::Waits;
    }
    let connection = slot.connection;
    let attempt = match slot.chunk.take() {
        Some(chunk) => read_into(slot, chunk, stack),
        None => match stack.take(connection) {
            Ok(Some(chunk)) => {
                slot.finish_read(Ok(chunk.len()));
                slot.chunk = Some(chunk);
                slot.chunk_owner = Owner::Stack;
                Attempt::Complete
            }
            Ok(None) => Attempt::Waits,
            Err(error) => end_read(slot, error),
        },
    };
    if attempt == Attempt::Complete {
        // The next read need not try in vain.
        slot.is_readable = stack.is_readable(connection);
        if slot.is_draining && stack.unread_bytes(connection) == 0 {
            slot.is_draining = false;
            slot.pending.add(Pending::END);
        }
        announce(slot, ready);
    } else {
        slot.is_readable = false;
    }
    attempt
}

/// Tries to read into a buffer that the application has lent.
fn read_into(slot: &mut Slot, mut chunk: Box<Chunk>, stack: &mut impl Connections) -> Attempt {
    let attempt = match stack.receive(slot.connection, chunk.room()) {
        Ok(Some(bytes)) => {
            chunk.advance(bytes);
            slot.finish_read(Ok(bytes));
            Attempt::Complete
        }
        Ok(None) => Attempt::Waits,
        Err(ConnectionError::Closed) => end_read(slot, ReceiveError::Closed),
        Err(ConnectionError::Unknown) => end_read(slot, ReceiveError::Unknown),
    };
    slot.chunk = Some(chunk);
    attempt
}

/// Sees to a read that will never have bytes.
fn end_read(slot: &mut Slot, error: ReceiveError) -> Attempt {
    match error {
        ReceiveError::Finished => slot.finish_read(Ok(0)),
        // The end of the connection is on its way as an event, and will end the read.
        ReceiveError::Closed => return Attempt::Waits,
        ReceiveError::Unknown => slot.finish_read(Err(IoError::BrokenPipe)),
    }
    Attempt::Complete
}

fn refused(error: SubmitError, buffer: Buffer) -> Refused<Buffer> {
    Refused {
        error,
        payload: buffer,
    }
}
