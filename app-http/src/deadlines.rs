//! What becomes of connections that take too long, and of all of them when the server stops.
//!
//! Upstream: [`server`](crate::server), which calls here in each run that finds a deadline passed. A
//! deadline is that of what a connection is doing: waiting for a request, sending one, taking an
//! answer, being closed. That there is a run when nothing else happens is seen to by one timer of the
//! channel, set for the next deadline: a core without connections has none.

use crate::connections::{NEVER, Slot, State};
use crate::limits::{LOOK_PERIOD, MAX_QUIET_BYTES};
use crate::refusal::Refusal;
use crate::server::{CUT_OFF, LOOK, Listening, Server, Stopping};
use kernel::Instant;
use megapipe::Channel;
use megapipe::channel::{SubmitError, TimerHandle};

/// The timer that has the server run when a deadline has passed.
#[derive(Debug)]
pub(crate) struct Look {
    timer: Option<TimerHandle>,
    at: Instant,
    /// It is set for deadlines from this one on; [`NEVER`] when it is not set.
    pub(crate) covers: Instant,
}

impl Look {
    /// The timer before it is set.
    pub(crate) const NOT_SET: Look = Look {
        timer: None,
        at: NEVER,
        covers: NEVER,
    };
}

impl Server {
    /// Ends what has taken too long, as much of it as there is sure to be room for commands for;
    /// for the rest, the server asks to run again at once.
    #[cold]
    pub(crate) fn expire(&mut self, channel: &mut Channel) {
        // One command each at most, and one more to accept.
        let mut commands = 1;
        while commands < Channel::COMMANDS_PER_COMPLETION {
            let Some(slot) = self.connections.pop_expired(self.now) else {
                return;
            };
            commands += usize::from(self.expire_one(channel, slot));
        }
        channel.flush();
    }

    /// Sets the timer for the next deadline, and not for a moment that is nearer than
    /// [`LOOK_PERIOD`]: many deadlines are one look.
    #[cold]
    pub(crate) fn look_later(&mut self, channel: &mut Channel) {
        let due = self.connections.quiet_until();
        let at = due.max(self.now + LOOK_PERIOD);
        self.look.covers = due;
        if self.look.timer.is_some() && self.look.at <= at {
            return;
        }
        if let Some(timer) = self.look.timer.take() {
            // Its time may have come: then there is a run more.
            let _ = channel.cancel_timer(timer);
        }
        self.look.timer = channel.timer(at.saturating_since(self.now), LOOK).ok();
        self.look.at = at;
        if self.look.timer.is_none() {
            self.engine.counters.commands_refused += 1;
            // Tried again in the next run.
            self.look = Look::NOT_SET;
        }
    }

    /// Returns whether there was an end to be made.
    #[cold]
    fn expire_one(&mut self, channel: &mut Channel, slot: Slot) -> bool {
        let Some(connection) = self.connections.connection(slot) else {
            return false;
        };
        let counters = &mut self.engine.counters;
        match (self.stopping, connection.state) {
            (Stopping::CutOff, _) => counters.cut_off_at_stop += 1,
            (Stopping::No, State::Idle) => counters.idle_timeouts += 1,
            (_, State::Idle) => {}
            (_, State::Answered) => return self.expire_answered(channel, slot),
            (_, State::Partial) => {
                counters.request_timeouts += 1;
                self.refuse(channel, slot, Refusal::Timeout);
                return true;
            }
            (_, State::Skipping { .. }) => counters.request_timeouts += 1,
            (_, State::Writing(_)) => counters.write_timeouts += 1,
            (_, State::Lingering { .. }) => counters.linger_exceeded += 1,
        }
        self.end(channel, slot);
        true
    }

    /// Ends a connection whose last answer is not taken in time, or on which nothing has come since;
    /// returns false when neither is so, and its deadline is only moved.
    fn expire_answered(&mut self, channel: &mut Channel, slot: Slot) -> bool {
        let Some(connection) = self.connections.connection(slot) else {
            return false;
        };
        let is_writing = channel.is_writing(connection.handle) == Ok(true);
        let settings = &self.config.settings;
        let deadline = connection.since
            + match is_writing {
                true => settings.time_to_write(MAX_QUIET_BYTES),
                false => settings.timeouts.idle,
            };
        if self.now < deadline && (is_writing || self.stopping == Stopping::No) {
            self.connections.set_deadline(slot, deadline);
            return false;
        }
        let counters = &mut self.engine.counters;
        match (is_writing, self.stopping) {
            (true, _) => counters.write_timeouts += 1,
            (false, Stopping::No) => counters.idle_timeouts += 1,
            (false, _) => {}
        }
        self.end(channel, slot);
        true
    }

    /// Stops: accepts no more, closes what is idle, lets the rest finish, and cuts off what has not
    /// by the time given. Called at the end of each run from the wish on.
    #[cold]
    pub(crate) fn stop(&mut self, channel: &mut Channel) {
        let now = self.now;
        self.stop_listening(channel);
        match self.stopping {
            Stopping::No => {
                let time = self.config.settings.timeouts.drain;
                self.stopping = Stopping::Until(now + time);
                if channel.timer(time, CUT_OFF).is_err() {
                    // Whatever happens next is later than this.
                    self.engine.counters.commands_refused += 1;
                    self.stopping = Stopping::Until(now);
                }
                self.expire_all(|state| matches!(state, State::Idle | State::Answered));
                channel.flush();
            }
            Stopping::Until(cut_off) if cut_off <= now => {
                self.stopping = Stopping::CutOff;
                self.expire_all(|_| true);
                channel.flush();
            }
            Stopping::Until(_) | Stopping::CutOff | Stopping::Done => {}
        }
        let is_closing = matches!(self.listening, Listening::Closing(_));
        if self.connections.count() == 0 && !is_closing && self.stopping != Stopping::Done {
            self.stopping = Stopping::Done;
            self.config.control.report_stopped();
        }
    }

    /// Gives the listener back. When the submission ring is full, that is tried again in the next run,
    /// which there is as soon as there is room.
    fn stop_listening(&mut self, channel: &mut Channel) {
        let (Listening::Yes { listener, .. } | Listening::Closing(listener)) = self.listening
        else {
            return;
        };
        self.listening = match channel.unregister_listener(listener) {
            Err(SubmitError::RingFull) => {
                self.engine.counters.commands_refused += 1;
                Listening::Closing(listener)
            }
            // What is no listener any more needs no end.
            Ok(()) | Err(_) => Listening::Over,
        };
        channel.flush();
    }

    /// Makes now the deadline of all connections in such a state: the one time that all are looked
    /// at.
    fn expire_all(&mut self, is_to_end: impl Fn(State) -> bool) {
        for slot in self.connections.slots() {
            let connection = self.connections.connection(slot);
            if connection.is_some_and(|connection| is_to_end(connection.state)) {
                self.connections.set_deadline(slot, self.now);
            }
        }
    }
}
