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

use crate::channel::Channel;
use crate::completion::IoError;
use crate::connections::Connections;
use crate::counters::count_batch;
use crate::handle_table::{Operation, Pending, Phase};
use crate::idle::earliest;
use crate::ready::announce;
use crate::submissions::Command;
use kernel::Instant;
use net::stack::{CloseReason, ConnectionId, Event};

/// What one try at a read or write came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// There was nothing to try.
    Nothing,
    /// It is complete.
    Complete,
    /// It waits for an event.
    Waits,
}

impl Channel {
    /// Turns the stack's events into completions and returns how many events there were.
    pub(crate) fn collect(&mut self, now: Instant, stack: &mut impl Connections) -> usize {
        self.handle_time(now);
        self.return_chunks(stack);
        self.tell_receipts();
        let mut events = 0;
        while let Some(event) = stack.poll_event() {
            events += 1;
            match event {
                Event::Readable(connection) => self.on_readable(connection, stack),
                rare => self.on_rare_event(rare, stack),
            }
        }
        self.counters.events += events as u64;
        if !self.outbox.is_empty() {
            self.send_datagrams(stack);
        }
        events
    }

    /// Sees to an event that is not on the way of every request.
    #[inline(never)]
    fn on_rare_event(&mut self, event: Event, stack: &mut impl Connections) {
        match event {
            Event::Incoming(listener) => self.on_incoming(listener, stack),
            Event::Connected(connection) => self.on_connected(connection),
            Event::Writable(connection) => {
                self.continue_write(connection, stack);
            }
            Event::Closed(connection, reason) => self.on_closed(connection, reason, stack),
            Event::Readable(_) => {}
        }
    }

    /// Returns whether the application is to run: completions wait, it has more to submit, or its
    /// time has come.
    pub(crate) fn wants_application(&self, now: Instant) -> bool {
        !self.ready.is_empty()
            || self.commands.is_flush_asked()
            || self.deadline.is_some_and(|deadline| deadline <= now)
    }

    /// Returns when the application is to run even if nothing completes.
    pub fn deadline(&self) -> Option<Instant> {
        earliest([self.deadline, self.timers.next_deadline()])
    }

    /// Lets the application run at the next turn, whatever there is for it.
    pub(crate) fn run_again(&mut self) {
        self.deadline = Some(Instant::ZERO);
    }

    /// Prepares for a run of the application.
    pub(crate) fn begin_run(&mut self, now: Instant) {
        self.now = now;
        self.dispatched_before = self.counters.completions;
        self.deadline = None;
        self.commands.begin_batch();
    }

    /// Flushes the submission ring: runs every command against the stack.
    pub(crate) fn flush_to(&mut self, stack: &mut impl Connections) {
        let dispatched = self.counters.completions - self.dispatched_before;
        count_batch(&mut self.counters.dispatch_sizes, dispatched);
        if self.commands.len() > 0 {
            self.counters.flushes += 1;
            self.counters.flushes_at_threshold += u64::from(self.commands.is_batch_full());
            count_batch(&mut self.counters.flush_sizes, self.commands.len() as u64);
            self.run_commands(stack);
        }
        if self.orphans.has_any() {
            self.release_orphans(stack);
        }
        self.tell_receipts();
        self.return_chunks(stack);
        if self.is_accept_blocked {
            self.refill_accepts(stack);
        }
    }

    fn run_commands(&mut self, stack: &mut impl Connections) {
        // None is submitted meanwhile.
        for place in 0..self.commands.len() {
            match self.commands.at(place) {
                Command::Write(connection) => match self.continue_write(connection, stack) {
                    Attempt::Complete => self.counters.opportunistic += 1,
                    Attempt::Waits => self.counters.writes_waited += 1,
                    Attempt::Nothing => {}
                },
                Command::Read(connection) => match self.continue_read(connection, stack) {
                    Attempt::Complete => self.counters.opportunistic += 1,
                    Attempt::Waits => self.counters.reads_waited += 1,
                    Attempt::Nothing => {}
                },
                rare => self.run_rare_command(rare, stack),
            }
        }
        self.commands.clear();
    }

    /// Runs a command that is not on the way of every request.
    #[inline(never)]
    fn run_rare_command(&mut self, command: Command, stack: &mut impl Connections) {
        match command {
            Command::Listen(index) => self.open_listener(index, stack),
            Command::Accept(index) => self.take_connections(index, stack),
            Command::ChangeMask(index) => self.change_listener(index, stack),
            Command::SetStealing(index) => self.set_stealing_of(index, stack),
            Command::Unlisten(index) => self.close_listener(index, stack),
            Command::Connect(index) => self.begin_connect(index, stack),
            Command::Disconnect(connection) => self.finish_sending(connection, stack),
            // On an error it is over already, and its end is on its way as an event.
            Command::Abort(connection) => drop(stack.abort(connection)),
            Command::Release(connection) => self.release(connection, stack),
            Command::SendDatagrams => self.send_datagrams(stack),
            Command::Notify => stack.notify(core::mem::take(&mut self.notified)),
            Command::Read(_) | Command::Write(_) => {}
        }
    }

    /// Ends what is under way on a connection that is over, and lets its handle know.
    fn on_closed(
        &mut self,
        connection: ConnectionId,
        reason: CloseReason,
        stack: &mut impl Connections,
    ) {
        if self.on_connect_failed(connection, reason, stack) {
            return;
        }
        if reason == CloseReason::Finished {
            // What came just before the end is still there to be read.
            self.continue_read(connection, stack);
        }
        let Some(slot) = self.table.of(connection) else {
            self.counters.events_unknown += 1;
            return;
        };
        slot.closed = Some(reason);
        slot.is_draining = reason == CloseReason::Finished && stack.unread_bytes(connection) > 0;
        if slot.phase != Phase::Registered {
            // To be told when it is.
            return;
        }
        if !slot.is_draining {
            slot.pending.add(Pending::END);
        }
        if slot.read == Operation::UnderWay {
            slot.finish_read(match reason {
                CloseReason::Finished => Ok(0),
                broken => Err(IoError::from_close(broken)),
            });
        }
        if slot.write == Operation::UnderWay {
            slot.finish_write(Err(IoError::from_close(reason)));
            self.writes.pieces(slot.place).clear();
        }
        announce(slot, &mut self.ready);
        self.tell_receipts();
    }

    fn release(&mut self, connection: ConnectionId, stack: &mut impl Connections) {
        // The slot was cleared when the command was submitted; an error means that the stack has
        // forgotten the connection too.
        let _ = stack.release(connection);
    }

    /// Gives back the connections whose lwsocket was dropped unregistered.
    #[cold]
    fn release_orphans(&mut self, stack: &mut impl Connections) {
        while let Some(place) = self.orphans.pop() {
            if let Some(slot) = self.table.at(place as usize)
                && slot.phase == Phase::Accepted
            {
                let connection = slot.connection;
                slot.begin(connection);
                self.counters.lwsockets_dropped += 1;
                self.release(connection, stack);
            }
        }
    }

    /// Gives the stack back what the application is done with.
    #[inline]
    fn return_chunks(&mut self, stack: &mut impl Connections) {
        if let Some(chunks) = self.buffers.returned() {
            stack.give_back(chunks);
        }
    }
}
