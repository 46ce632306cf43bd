//! Writes: the calls `writev`, `writev_with` and `receipt`, and how a write is handed to the stack.
//!
//! A write is complete when the connection's send queue has taken all its pieces, of whatever size,
//! and waits while that has no room: so a peer that does not read stops the application. What is
//! lent comes back when the peer has acknowledged it; a receipt tells when.

use crate::channel::{Channel, registered};
use crate::completion::{IoError, SubmitError};
use crate::connections::Connections;
use crate::exchange::Attempt;
use crate::handle_table::{Operation, Pending, Sending};
use crate::lwsocket::Handle;
use crate::ready::announce;
use crate::submissions::Command;
use crate::writes::{IoSlice, IoVec};
use net::stack::{ConnectionError, ConnectionId};

/// The application's side.
impl Channel {
    /// Writes the pieces in order (`mp_write`, `mp_writev`) and takes them out of `pieces`.
    /// Completes when all is in the send queue, not when it is acknowledged. Nothing is copied: the
    /// pieces are sent from where they are, and dropped when they are acknowledged.
    ///
    /// # Errors
    /// [`SubmitError`]; then the pieces stay where they are, unless they hold no bytes.
    pub fn writev(&mut self, handle: Handle, pieces: &mut IoVec) -> Result<(), SubmitError> {
        self.writev_with(handle, |place| core::mem::swap(place, pieces))
    }

    /// Writes one piece (`mp_write`), like [`writev`](Self::writev).
    ///
    /// # Errors
    /// [`SubmitError`]; then the piece is dropped.
    pub fn write(&mut self, handle: Handle, piece: impl Into<IoSlice>) -> Result<(), SubmitError> {
        self.writev_with(handle, |pieces| {
            // An empty list has room.
            let _ = pieces.push(piece);
        })
    }

    /// Writes like [`writev`](Self::writev) the pieces that `build` puts into an empty list: where
    /// the write keeps them, so that they are not moved again.
    ///
    /// # Errors
    /// [`SubmitError`]; `build` was not called unless it is [`SubmitError::Empty`], which says that
    /// it made no bytes.
    #[inline]
    pub fn writev_with<R>(
        &mut self,
        handle: Handle,
        build: impl FnOnce(&mut IoVec) -> R,
    ) -> Result<R, SubmitError> {
        let slot = registered(&mut self.table, &mut self.counters, handle)?;
        slot.check_sending()?;
        if slot.write != Operation::Idle {
            return Err(SubmitError::Busy);
        }
        self.commands.push(Command::Write(handle.connection))?;
        // There is a place per handle, and this handle has none: the table cannot be full.
        let (id, pieces) = self.writes.begin().ok_or(SubmitError::RingFull)?;
        let built = build(pieces);
        if pieces.bytes() == 0 {
            self.writes.end(id);
            self.commands.take_back();
            return Err(SubmitError::Empty);
        }
        slot.place = id;
        slot.write = Operation::UnderWay;
        Ok(built)
    }

    /// Returns whether a write is under way, or done and not told yet.
    ///
    /// # Errors
    /// [`SubmitError::UnknownHandle`].
    pub fn is_writing(&mut self, handle: Handle) -> Result<bool, SubmitError> {
        let slot = registered(&mut self.table, &mut self.counters, handle)?;
        Ok(slot.write != Operation::Idle)
    }

    /// Makes a receipt: a piece without bytes. When it comes back, because the peer has acknowledged
    /// everything before it, or because the connection broke, or because it was dropped unwritten,
    /// [`Completion::Acknowledged`](crate::Completion::Acknowledged) tells so, and what was lent
    /// before it may be used again.
    ///
    /// # Errors
    /// [`SubmitError::Closed`], [`SubmitError::TooManyReceipts`], [`SubmitError::UnknownHandle`].
    pub fn receipt(&mut self, handle: Handle) -> Result<IoSlice, SubmitError> {
        let slot = registered(&mut self.table, &mut self.counters, handle)?;
        if let Some(reason) = slot.closed {
            return Err(SubmitError::Closed(reason));
        }
        let receipt = self.receipts.give(handle.connection);
        receipt
            .map(IoSlice::from_lent)
            .ok_or(SubmitError::TooManyReceipts)
    }
}

/// The stack's side.
impl Channel {
    /// Tries to lend the rest of the write that is under way, if there is one, to the stack.
    #[inline(always)]
    pub(crate) fn continue_write(
        &mut self,
        connection: ConnectionId,
        stack: &mut impl Connections,
    ) -> Attempt {
        let Some(slot) = self.table.of(connection) else {
            return Attempt::Nothing;
        };
        if slot.write != Operation::UnderWay {
            return Attempt::Nothing;
        }
        let pieces = self.writes.pieces(slot.place);
        let result = match stack.lend(connection, || pieces.take_first()) {
            Ok(_) if !pieces.is_empty() => {
                pieces.set_quiet(false);
                return Attempt::Waits;
            }
            Ok(_) if pieces.is_quiet() => {
                slot.write = Operation::Idle;
                self.writes.end(slot.place);
                return Attempt::Complete;
            }
            Ok(_) => Ok(()),
            // The end of the connection is on its way as an event, and will end the write.
            Err(ConnectionError::Closed) => return Attempt::Waits,
            Err(ConnectionError::Unknown) => Err(IoError::BrokenPipe),
        };
        slot.finish_write(result);
        announce(slot, &mut self.ready);
        if slot.sending == Sending::Finishing {
            // A disconnect that has been flushed already waited for this write.
            self.finish_sending(connection, stack);
        }
        Attempt::Complete
    }

    /// Finishes sending if that was asked for and no write is under way.
    pub(crate) fn finish_sending(
        &mut self,
        connection: ConnectionId,
        stack: &mut impl Connections,
    ) {
        if let Some(slot) = self.table.of(connection)
            && slot.sending == Sending::Finishing
            && slot.write != Operation::UnderWay
        {
            slot.sending = Sending::Finished;
            // On an error the connection is over, and its end is on its way as an event.
            let _ = stack.shutdown(connection);
        }
    }

    /// Tells the receipts that have come back.
    #[inline]
    pub(crate) fn tell_receipts(&mut self) {
        if self.receipts.has_dropped() {
            self.tell_dropped_receipts();
        }
    }

    #[cold]
    fn tell_dropped_receipts(&mut self) {
        while let Some(connection) = self.receipts.take() {
            // Nothing is told after the end, of what the application kept until then.
            if let Some(slot) = self.table.of(connection)
                && !slot.is_told
            {
                slot.receipts += 1;
                slot.pending.add(Pending::RECEIPTS);
                self.counters.receipts_told += 1;
                announce(slot, &mut self.ready);
            }
        }
    }
}
