//! The channel's side to the stack: events become completions, commands become calls.
//!
//! Upstream: the stack, through [`Connections`]. Downstream: the rings of [`Channel`]. An event
//! never waits for a place: it changes one slot, and results wait there. An operation is tried when
//! its command is flushed and, if it could not complete then, at the event that can change this:
//! most complete the first time, with no waiting state made (the paper's opportunistic
//! completion).
//!
//! Invariant: commands are flushed whenever the application has run, so that the submission ring is
//! empty while events are collected.

use crate::buffer::Buffer;
use crate::channel::{Channel, announce};
use crate::completion::IoError;
use crate::connections::Connections;
use crate::counters::count_batch;
use crate::handle_table::{Operation, Phase, Sending, Slot};
use crate::submissions::Command;
use kernel::Instant;
use net::stack::{CloseReason, ConnectionError, ConnectionId, Event, ReceiveError};

/// What one try at a read or write came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attempt {
    /// There was nothing to try.
    Nothing,
    /// It is complete.
    Complete,
    /// It waits for an event.
    Waits,
}

impl Channel {
    /// Turns the stack's events into completions and returns how many events there were.
    pub(crate) fn collect(&mut self, stack: &mut impl Connections) -> usize {
        self.return_chunks(stack);
        let mut events = 0;
        while let Some(event) = stack.poll_event() {
            events += 1;
            match event {
                Event::Incoming(listener) => self.on_incoming(listener, stack),
                // This channel opens none.
                Event::Connected(_) => self.counters.events_unknown += 1,
                Event::Readable(connection) => self.on_readable(connection, stack),
                Event::Writable(connection) => {
                    self.continue_write(connection, stack);
                }
                Event::Closed(connection, reason) => self.on_closed(connection, reason, stack),
            }
        }
        self.counters.events += events as u64;
        events
    }

    /// Returns whether the application is to run: completions wait, it has more to submit, or its
    /// time has come.
    pub(crate) fn wants_application(&self, now: Instant) -> bool {
        !self.ready.is_empty()
            || self.commands.is_flush_wanted
            || self.deadline.is_some_and(|deadline| deadline <= now)
    }

    /// Returns when the application is to run even if nothing completes.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Prepares for a run of the application.
    pub(crate) fn begin_run(&mut self, now: Instant) {
        self.now = now;
        self.dispatched_before = self.counters.completions;
        self.deadline = None;
        self.commands.is_flush_wanted = false;
    }

    /// Flushes the submission ring: runs every command against the stack.
    pub(crate) fn flush_to(&mut self, stack: &mut impl Connections) {
        if !self.commands.is_empty() {
            self.counters.flushes += 1;
            self.counters.flushes_at_threshold += u64::from(self.commands.is_batch_full());
            count_batch(&mut self.counters.flush_sizes, self.commands.len() as u64);
        }
        let dispatched = self.counters.completions - self.dispatched_before;
        count_batch(&mut self.counters.dispatch_sizes, dispatched);
        while let Some(command) = self.commands.pop() {
            match command {
                Command::Listen(index) => self.open_listener(index, stack),
                Command::Accept(index) => self.take_connections(index, stack),
                Command::ChangeMask(index) => self.change_listener(index, stack),
                Command::Unlisten(index) => self.close_listener(index, stack),
                Command::Read(handle) => {
                    let attempt = self.continue_read(handle.0, stack);
                    self.counters.opportunistic += u64::from(attempt == Attempt::Complete);
                    self.counters.reads_waited += u64::from(attempt == Attempt::Waits);
                }
                Command::Write(handle) => {
                    let attempt = self.continue_write(handle.0, stack);
                    self.counters.opportunistic += u64::from(attempt == Attempt::Complete);
                    self.counters.writes_waited += u64::from(attempt == Attempt::Waits);
                }
                Command::Disconnect(handle) => self.finish_sending(handle.0, stack),
                Command::Release(connection) => self.release(connection, stack),
            }
        }
        self.release_orphans(stack);
        self.return_chunks(stack);
        self.refill_accepts(stack);
    }

    fn on_readable(&mut self, connection: ConnectionId, stack: &mut impl Connections) {
        match self.table.of(connection) {
            Some(slot) => {
                slot.is_readable = true;
                self.continue_read(connection, stack);
            }
            // Not accepted yet: accepting marks it readable.
            None => self.counters.events_unknown += 1,
        }
    }

    /// Tries the read that is under way, if there is one.
    fn continue_read(&mut self, connection: ConnectionId, stack: &mut impl Connections) -> Attempt {
        let Some(slot) = self.table.of(connection) else {
            return Attempt::Nothing;
        };
        if slot.read != Operation::UnderWay {
            return Attempt::Nothing;
        }
        if !slot.is_readable {
            return Attempt::Waits;
        }
        let attempt = match slot.buffer.take() {
            Some(buffer) => read_into(slot, buffer, stack),
            None => match stack.take(connection) {
                Ok(Some(chunk)) => {
                    slot.finish_read(Ok(chunk.len()));
                    slot.buffer = Some(self.home.provide(chunk));
                    Attempt::Complete
                }
                Ok(None) => Attempt::Waits,
                Err(error) => end_read(slot, error),
            },
        };
        if attempt == Attempt::Complete {
            // The next read need not try in vain.
            slot.is_readable = stack.is_readable(connection);
            announce(slot, &mut self.ready);
        } else {
            slot.is_readable = false;
        }
        attempt
    }

    /// Tries to lend the rest of the write that is under way, if there is one, to the stack.
    fn continue_write(
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
        let write = self.writes.write(slot.pieces);
        let result = match stack.lend(connection, || write.next()) {
            Ok(loan) => {
                slot.written += loan.bytes;
                if !write.is_done() {
                    return Attempt::Waits;
                }
                Ok(())
            }
            // The end of the connection is on its way as an event, and will end the write.
            Err(ConnectionError::Closed) => return Attempt::Waits,
            Err(ConnectionError::Unknown) => Err(IoError::BrokenPipe),
        };
        slot.finish_write(result);
        self.writes.remove(slot.pieces);
        announce(slot, &mut self.ready);
        if slot.sending == Sending::Finishing {
            // A disconnect that has been flushed already waited for this write.
            self.finish_sending(connection, stack);
        }
        Attempt::Complete
    }

    /// Finishes sending if that was asked for and no write is under way.
    fn finish_sending(&mut self, connection: ConnectionId, stack: &mut impl Connections) {
        if let Some(slot) = self.table.of(connection)
            && slot.sending == Sending::Finishing
            && slot.write != Operation::UnderWay
        {
            slot.sending = Sending::Finished;
            // On an error the connection is over, and its end is on its way as an event.
            let _ = stack.shutdown(connection);
        }
    }

    /// Ends what is under way on a connection that is over, and lets its handle know.
    fn on_closed(
        &mut self,
        connection: ConnectionId,
        reason: CloseReason,
        stack: &mut impl Connections,
    ) {
        if reason == CloseReason::Finished {
            // What came just before the end is still there to be read.
            self.continue_read(connection, stack);
        }
        let Some(slot) = self.table.of(connection) else {
            self.note_early_end(connection, reason);
            return;
        };
        slot.closed = Some(reason);
        if slot.read == Operation::UnderWay {
            slot.finish_read(match reason {
                CloseReason::Finished => Ok(0),
                broken => Err(IoError::from_close(broken)),
            });
        }
        if slot.write == Operation::UnderWay {
            slot.finish_write(Err(IoError::from_close(reason)));
            self.writes.remove(slot.pieces);
        }
        announce(slot, &mut self.ready);
    }

    /// Remembers the end of a connection that is still in the stack's accept queue.
    fn note_early_end(&mut self, connection: ConnectionId, reason: CloseReason) {
        match self.table.at(connection.index()) {
            Some(slot) if slot.phase == Phase::Free => {
                slot.begin(connection);
                slot.closed = Some(reason);
            }
            _ => self.counters.events_unknown += 1,
        }
    }

    fn release(&mut self, connection: ConnectionId, stack: &mut impl Connections) {
        // The slot was cleared when the command was submitted; an error means that the stack has
        // forgotten the connection too.
        let _ = stack.release(connection);
    }

    /// Gives back the connections whose lwsocket was dropped unregistered.
    fn release_orphans(&mut self, stack: &mut impl Connections) {
        while let Some(connection) = self.orphans.pop() {
            if let Some(slot) = self.table.of(connection)
                && slot.phase == Phase::Accepted
            {
                slot.begin(connection);
                self.counters.lwsockets_dropped += 1;
                self.release(connection, stack);
            }
        }
    }

    /// Gives the stack back what the application is done with.
    #[inline]
    fn return_chunks(&mut self, stack: &mut impl Connections) {
        while let Some(chunk) = self.home.returned() {
            stack.give_back(chunk);
        }
    }
}

/// Tries to read into a buffer of the application's.
fn read_into(slot: &mut Slot, mut buffer: Buffer, stack: &mut impl Connections) -> Attempt {
    let received = stack.receive(slot.connection, buffer.room());
    let attempt = match received {
        Ok(Some(bytes)) => {
            buffer.advance(bytes);
            slot.finish_read(Ok(bytes));
            Attempt::Complete
        }
        Ok(None) => Attempt::Waits,
        Err(ConnectionError::Closed) => end_read(slot, ReceiveError::Closed),
        Err(ConnectionError::Unknown) => end_read(slot, ReceiveError::Unknown),
    };
    slot.buffer = Some(buffer);
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
