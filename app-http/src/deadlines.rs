//! What becomes of connections that take too long, and of all of them when the server stops.
//!
//! Upstream: [`server`](crate::server), which calls here at the start of each run. A deadline is that
//! of what a connection is doing: waiting for a request, sending one, taking an answer, being closed.

use crate::connections::{Slot, State};
use crate::limits::MAX_QUIET_BYTES;
use crate::refusal::Refusal;
use crate::server::{Listening, Server, Stopping};
use megapipe::Channel;

impl Server {
    /// Ends what has taken too long, as much of it as there is sure to be room for commands for;
    /// for the rest, the server asks to run again at once.
    #[inline]
    pub(crate) fn expire(&mut self, channel: &mut Channel) {
        // One command each at most, and one more to accept.
        for _ in 1..Channel::COMMANDS_PER_COMPLETION {
            let Some(slot) = self.connections.pop_expired(self.now) else {
                return;
            };
            self.expire_one(channel, slot);
        }
        channel.flush();
    }

    #[cold]
    fn expire_one(&mut self, channel: &mut Channel, slot: Slot) {
        let Some(connection) = self.connections.connection(slot) else {
            return;
        };
        let counters = &mut self.engine.counters;
        match (self.stopping, connection.state) {
            (Stopping::CutOff, _) => counters.cut_off_at_stop += 1,
            (Stopping::No, State::Idle) => counters.idle_timeouts += 1,
            (_, State::Idle) => {}
            (_, State::Answered) => return self.expire_answered(channel, slot),
            (_, State::Partial) => {
                counters.request_timeouts += 1;
                return self.refuse(channel, slot, Refusal::Timeout);
            }
            (_, State::Skipping { .. }) => counters.request_timeouts += 1,
            (_, State::Writing(_)) => counters.write_timeouts += 1,
            (_, State::Lingering { .. }) => counters.linger_exceeded += 1,
        }
        self.end(channel, slot);
    }

    /// Ends a connection whose last answer is not taken in time, or on which nothing has come since.
    fn expire_answered(&mut self, channel: &mut Channel, slot: Slot) {
        let Some(connection) = self.connections.connection(slot) else {
            return;
        };
        let is_writing = channel.is_writing(connection.handle) == Ok(true);
        let settings = &self.config.settings;
        let deadline = connection.since
            + match is_writing {
                true => settings.time_to_write(MAX_QUIET_BYTES),
                false => settings.timeouts.idle,
            };
        if self.now < deadline && self.stopping == Stopping::No {
            return self.connections.set_deadline(slot, deadline);
        }
        let counters = &mut self.engine.counters;
        match (is_writing, self.stopping) {
            (true, _) => counters.write_timeouts += 1,
            (false, Stopping::No) => counters.idle_timeouts += 1,
            (false, _) => {}
        }
        self.end(channel, slot);
    }

    /// Stops: accepts no more, closes what is idle, lets the rest finish, and cuts off what has not
    /// by the time given. Called in each run from the wish on.
    #[cold]
    pub(crate) fn stop(&mut self, channel: &mut Channel) {
        let now = self.now;
        match self.stopping {
            Stopping::No => {
                self.stopping = Stopping::Until(now + self.config.settings.timeouts.drain);
                let listening = core::mem::replace(&mut self.listening, Listening::Over);
                if let Listening::Yes { listener, .. } = listening
                    && channel.unregister_listener(listener).is_err()
                {
                    self.engine.counters.commands_refused += 1;
                }
                self.expire_all(|state| matches!(state, State::Idle | State::Answered));
            }
            Stopping::Until(cut_off) if cut_off <= now => {
                self.stopping = Stopping::CutOff;
                self.expire_all(|_| true);
            }
            Stopping::Until(_) | Stopping::CutOff | Stopping::Done => {}
        }
        if self.connections.count() == 0 && self.stopping != Stopping::Done {
            self.stopping = Stopping::Done;
            self.config.control.report_stopped();
        }
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
