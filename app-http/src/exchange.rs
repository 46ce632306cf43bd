//! One connection's way from request to answer: read, answer, write, read again.
//!
//! Upstream: [`server`](crate::server), with a completion. Downstream: commands to the channel. What
//! is under way on a connection is its [`State`]; each function here ends with one command on it, or
//! with its end.

use crate::connections::{Connection, Slot, State};
use crate::engine::{Batch, Client, Rest};
use crate::limits::{MAX_LINGER_BYTES, MAX_QUIET_BYTES, MAX_WRITE_BYTES};
use crate::refusal::Refusal;
use crate::request::Next;
use crate::server::{Server, Stopping};
use crate::trace;
use kernel::Instant;
use megapipe::Channel;
use megapipe::channel::{Buffer, IoError, SubmitError};

impl Server {
    pub(crate) fn handle_read(
        &mut self,
        channel: &mut Channel,
        slot: Slot,
        buffer: Option<Buffer>,
        result: Result<usize, IoError>,
    ) {
        let Some(connection) = self.connections.connection(slot) else {
            return;
        };
        let (Ok(count @ 1..), Some(mut buffer)) = (result, buffer) else {
            return self.handle_end_of_input(channel, slot);
        };
        self.engine.counters.bytes_in += count as u64;
        match connection.state {
            State::Idle | State::Answered => {
                connection.since = self.now;
                self.handle_requests(channel, slot, buffer);
            }
            State::Partial => self.handle_requests(channel, slot, buffer),
            State::Skipping { left } => {
                let here = buffer.filled().len().min(left as usize);
                buffer.consume(here);
                connection.state = State::Skipping {
                    left: left - here as u32,
                };
                if left as usize > here {
                    drop(buffer);
                    return self.read(channel, slot);
                }
                self.begin_next(channel, slot, Some(buffer));
            }
            State::Lingering { left } => {
                drop(buffer);
                match left.checked_sub(count as u32) {
                    Some(left) => {
                        connection.state = State::Lingering { left };
                        self.read(channel, slot);
                    }
                    None => {
                        self.engine.counters.linger_exceeded += 1;
                        self.end(channel, slot);
                    }
                }
            }
            // The rest of a request that came too late, behind whose refusal it is thrown away.
            State::Writing(Next::Linger) => {}
            // No other write has a read beside it.
            State::Writing(_) => self.end(channel, slot),
        }
    }

    /// The peer has finished sending, or is gone. What is left of a request is not answered, but
    /// answers that wait are written.
    fn handle_end_of_input(&mut self, channel: &mut Channel, slot: Slot) {
        let deadline = self.write_deadline(MAX_QUIET_BYTES);
        let Some(connection) = self.connections.connection(slot) else {
            return;
        };
        let is_writing = channel.is_writing(connection.handle) == Ok(true);
        match connection.state {
            State::Answered if is_writing => {
                connection.state = State::Writing(Next::Close);
                connection.answered = 0;
                self.connections.set_deadline(slot, deadline);
            }
            // A refusal on its way.
            State::Writing(Next::Linger) if is_writing => {
                connection.state = State::Writing(Next::Close);
            }
            _ => self.end(channel, slot),
        }
    }

    /// Answers what is complete in `buffer`, or reads on.
    #[inline]
    fn handle_requests(&mut self, channel: &mut Channel, slot: Slot, mut buffer: Buffer) {
        let Some(connection) = self.connections.connection(slot) else {
            return;
        };
        if self.engine.room.spare.is_none() {
            self.engine.room.spare = channel.buffer();
        }
        let client = client(connection, self.stopping);
        let engine = &mut self.engine;
        // Filled in where it stays.
        let mut batch = Batch::NOTHING;
        let written = channel.writev_with(connection.handle, |pieces| {
            engine.answer_all(buffer.filled(), client, pieces, &mut batch);
            let bytes = pieces.bytes();
            // Nothing is to be done when it is written but to wait for what comes.
            let is_quiet = batch.consumed == buffer.filled().len()
                && batch.next == (Next::Request { skip: 0 })
                && batch.rest == Rest::None
                && bytes <= MAX_QUIET_BYTES;
            pieces.set_quiet(is_quiet);
            (bytes, is_quiet)
        });
        match written {
            Ok((bytes, true)) => {
                drop(buffer);
                self.note_answers(channel, slot, &batch, bytes);
                self.read(channel, slot);
            }
            Ok((bytes, false)) => {
                buffer.consume(batch.consumed);
                let is_more = !buffer.filled().is_empty();
                self.begin_write(slot, &batch, bytes, is_more.then_some(buffer));
            }
            // The last answer is still being written.
            Err(SubmitError::Busy) => self.hold(slot, buffer),
            Err(SubmitError::Empty) if buffer.spare() > 0 => self.read_on(channel, slot, buffer),
            Err(SubmitError::Empty) => self.read_on_in_larger(channel, slot, &buffer),
            Err(error) => self.check(channel, slot, Err(error)),
        }
    }

    /// Notes that the answers of `batch` are handed over, and that the next request is waited for.
    #[inline]
    fn note_answers(&mut self, channel: &mut Channel, slot: Slot, batch: &Batch, bytes: usize) {
        let Some(connection) = self.connections.connection(slot) else {
            return;
        };
        let was_answered = connection.state == State::Answered;
        connection.state = State::Answered;
        channel.trace(trace::ANSWERED, connection.since, slot.to_word() as u32);
        connection.requests_left -= batch.requests.min(connection.requests_left);
        let latency = self.now.saturating_since(connection.since);
        let counters = &mut self.engine.counters;
        counters.bytes_out += bytes as u64;
        counters.count_latency(batch.requests, latency);
        if !was_answered {
            // From then on it is looked at when the last deadline has passed, not moved with each
            // request.
            let timeouts = &self.config.settings.timeouts;
            let deadline = self.now + timeouts.write.min(timeouts.idle);
            self.connections.set_deadline(slot, deadline);
        }
    }

    /// Keeps what has come until the last answer, which is counted, is written.
    #[cold]
    fn hold(&mut self, slot: Slot, buffer: Buffer) {
        let deadline = self.write_deadline(MAX_QUIET_BYTES);
        if let Some(connection) = self.connections.connection(slot) {
            connection.state = State::Writing(Next::Request { skip: 0 });
            connection.answered = 0;
            connection.held = Some(buffer);
        }
        self.connections.set_deadline(slot, deadline);
    }

    /// Notes that the answers of `batch` are being written; `held` has what came behind them.
    #[inline]
    fn begin_write(&mut self, slot: Slot, batch: &Batch, bytes: usize, held: Option<Buffer>) {
        let deadline = self.write_deadline(bytes);
        if let Some(connection) = self.connections.connection(slot) {
            connection.state = State::Writing(batch.next);
            connection.rest = batch.rest;
            connection.requests_left -= batch.requests.min(connection.requests_left);
            connection.answered = batch.requests;
            connection.held = held;
        }
        self.connections.set_deadline(slot, deadline);
    }

    pub(crate) fn handle_write(
        &mut self,
        channel: &mut Channel,
        slot: Slot,
        result: Result<usize, IoError>,
    ) {
        let Some(connection) = self.connections.connection(slot) else {
            return;
        };
        let (next, count) = match (connection.state, result) {
            (State::Writing(next), Ok(count)) => (next, count),
            // What still comes must not reset it away, when the server stops.
            (State::Answered, Ok(_)) if self.stopping != Stopping::No => {
                return self.linger(channel, slot);
            }
            // An answer that had to wait; the next request is waited for already.
            (State::Answered, Ok(_)) => {
                connection.since = self.now;
                let deadline = self.now + self.config.settings.timeouts.idle;
                return self.connections.set_deadline(slot, deadline);
            }
            _ => return self.end(channel, slot),
        };
        if connection.answered > 0 {
            self.engine.counters.bytes_out += count as u64;
        }
        if connection.rest != Rest::None {
            return self.write_rest(channel, slot);
        }
        if connection.answered > 0 {
            channel.trace(trace::ANSWERED, connection.since, slot.to_word() as u32);
        }
        let latency = self.now.saturating_since(connection.since);
        self.engine
            .counters
            .count_latency(connection.answered, latency);
        match next {
            Next::Request { skip: 0 } => {
                let held = connection.held.take();
                self.begin_next(channel, slot, held);
            }
            Next::Request { skip } => {
                connection.state = State::Skipping { left: skip };
                let settings = &self.config.settings;
                let time = settings.timeouts.header + settings.time_of(skip.into());
                self.connections.set_deadline(slot, self.now + time);
                self.read(channel, slot);
            }
            Next::Close => self.end(channel, slot),
            Next::Linger => self.linger(channel, slot),
        }
    }

    /// Goes on with an answer.
    #[cold]
    fn write_rest(&mut self, channel: &mut Channel, slot: Slot) {
        let deadline = self.write_deadline(MAX_WRITE_BYTES);
        let Some(connection) = self.connections.connection(slot) else {
            return;
        };
        let engine = &mut self.engine;
        // Kept if the write is refused: whoever ends the connection forgets it.
        let rest = connection.rest;
        let written =
            channel.writev_with(connection.handle, |pieces| engine.push_rest(rest, pieces));
        let result = written.map(|rest| connection.rest = rest);
        self.connections.set_deadline(slot, deadline);
        self.check(channel, slot, result);
    }

    /// Begins with the next request: with what came of it already, or by waiting for it.
    #[inline]
    fn begin_next(&mut self, channel: &mut Channel, slot: Slot, held: Option<Buffer>) {
        let (now, idle) = (self.now, self.config.settings.timeouts.idle);
        let Some(connection) = self.connections.connection(slot) else {
            return;
        };
        match held {
            Some(buffer) if !buffer.filled().is_empty() => {
                connection.since = now;
                connection.state = State::Idle;
                self.handle_requests(channel, slot, buffer);
            }
            _ if self.stopping != Stopping::No => self.end(channel, slot),
            _ => {
                connection.state = State::Idle;
                self.connections.set_deadline(slot, now + idle);
                self.read(channel, slot);
            }
        }
    }

    /// Finishes this side, and throws away what still comes.
    #[cold]
    fn linger(&mut self, channel: &mut Channel, slot: Slot) {
        let deadline = self.now + self.config.settings.timeouts.linger;
        let Some(connection) = self.connections.connection(slot) else {
            return;
        };
        connection.held = None;
        connection.state = State::Lingering {
            left: MAX_LINGER_BYTES,
        };
        let handle = connection.handle;
        self.connections.set_deadline(slot, deadline);
        let mut result = channel.disconnect(handle);
        if result.is_ok() {
            result = match channel.read(handle) {
                // The one for a request that came too late is still under way.
                Err(SubmitError::Busy) => Ok(()),
                read => read,
            };
        }
        self.check(channel, slot, result);
    }

    /// Waits for more.
    #[inline]
    pub(crate) fn read(&mut self, channel: &mut Channel, slot: Slot) {
        let Some(connection) = self.connections.connection(slot) else {
            return;
        };
        let result = channel.read(connection.handle);
        self.check(channel, slot, result);
    }

    /// Reads on behind the part of a request that is in `buffer`. The time for the head runs from
    /// its first byte on.
    #[cold]
    fn read_on(&mut self, channel: &mut Channel, slot: Slot, buffer: Buffer) {
        let deadline = self.now + self.config.settings.timeouts.header;
        let Some(connection) = self.connections.connection(slot) else {
            return;
        };
        self.engine.counters.partial_heads += 1;
        let handle = connection.handle;
        if matches!(connection.state, State::Idle | State::Answered) {
            connection.state = State::Partial;
            self.connections.set_deadline(slot, deadline);
        }
        let result = channel.read_into(handle, buffer);
        self.check(channel, slot, result.map_err(|refused| refused.error));
    }

    /// Reads on behind a part of a request that fills its buffer, in one of the channel's own, which
    /// every head that is taken fits into.
    #[cold]
    fn read_on_in_larger(&mut self, channel: &mut Channel, slot: Slot, buffer: &Buffer) {
        let larger = channel.buffer().and_then(|mut larger| {
            let count = larger.append(buffer.filled());
            (count == buffer.filled().len() && larger.spare() > 0).then_some(larger)
        });
        match larger {
            Some(larger) => self.read_on(channel, slot, larger),
            None => {
                self.engine.counters.large_heads_refused += 1;
                self.end(channel, slot);
            }
        }
    }

    /// Answers with a refusal, although no request is complete, and closes.
    #[cold]
    pub(crate) fn refuse(&mut self, channel: &mut Channel, slot: Slot, refusal: Refusal) {
        let deadline = self.write_deadline(0);
        let Some(connection) = self.connections.connection(slot) else {
            return;
        };
        connection.state = State::Writing(Next::Linger);
        connection.answered = 1;
        let client = client(connection, self.stopping);
        let engine = &mut self.engine;
        let written = channel.writev_with(connection.handle, |pieces| {
            engine.refuse(refusal, client, pieces);
        });
        self.connections.set_deadline(slot, deadline);
        self.check(channel, slot, written);
    }

    /// Returns when a write of so many bytes has taken too long.
    #[inline]
    fn write_deadline(&self, bytes: usize) -> Instant {
        let settings = &self.config.settings;
        self.now + settings.time_to_write(bytes)
    }

    /// Ends a connection when a command on it was refused.
    #[inline]
    fn check(&mut self, channel: &mut Channel, slot: Slot, result: Result<(), SubmitError>) {
        match result {
            Ok(()) => {}
            // The connection broke before the command.
            Err(SubmitError::BrokenPipe | SubmitError::Closed(_)) => self.end(channel, slot),
            Err(_) => {
                self.engine.counters.commands_refused += 1;
                self.end(channel, slot);
            }
        }
    }
}

/// Returns what the engine is to know of a connection.
#[inline]
fn client(connection: &Connection, stopping: Stopping) -> Client {
    Client {
        peer: connection.peer,
        requests_left: match stopping {
            Stopping::No => connection.requests_left,
            _ => 1,
        },
    }
}
