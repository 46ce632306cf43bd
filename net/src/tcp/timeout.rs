//! Time: when a connection is to be looked at again, and what follows when nothing came in time.
//!
//! Upstream: the stack's timer wheel. Downstream: [`recovery`](super::recovery), or the end of the
//! connection.

use super::control::{AckOwed, Retransmission, State, Tcb};
use super::send_queue::Lent;
use crate::event::CloseReason;
use crate::limits::{HALF_OPEN_TIMEOUT, KEEP_ALIVE_PROBES, KEEP_ALIVE_RETRY, USER_TIMEOUT};
use core::time::Duration;
use kernel::Instant;

impl<P: Lent> Tcb<P> {
    /// Returns when [`handle_timer`](Self::handle_timer) is to be called.
    #[inline]
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let retransmission = match self.retransmission {
            Retransmission::Off => None,
            Retransmission::Timeout(at)
            | Retransmission::TailProbe(at)
            | Retransmission::Persist(at)
            | Retransmission::KeepAlive(at) => Some(at),
        };
        match (retransmission, self.ack) {
            (Some(at), AckOwed::By(ack)) => Some(at.min(ack)),
            (None, AckOwed::By(ack)) => Some(ack),
            (at, _) => at,
        }
    }

    /// Takes in that time has passed; returns whether something is to be sent, or the connection
    /// is over.
    pub(crate) fn handle_timer(&mut self, now: Instant) -> bool {
        let mut is_due = false;
        if let AckOwed::By(at) = self.ack
            && at <= now
        {
            self.ack = AckOwed::Now;
            is_due = true;
        }
        match self.retransmission {
            Retransmission::Timeout(at) if at <= now => self.handle_timeout(now),
            Retransmission::TailProbe(at) if at <= now => {
                self.probe_is_due = true;
                self.tail_is_probed = true;
                self.retransmission = Retransmission::Off;
            }
            Retransmission::Persist(at) if at <= now => {
                self.probe_is_due = true;
                self.rtt.back_off();
                self.retransmission = Retransmission::Off;
                self.give_up_if_silent(now);
            }
            Retransmission::KeepAlive(at) if at <= now => self.look_at_silence(now),
            _ => return is_due,
        }
        true
    }

    /// The retransmission timeout has passed (RFC 6298 §5.4–§5.7).
    fn handle_timeout(&mut self, now: Instant) {
        self.retransmission = Retransmission::Off;
        if self.give_up_if_silent(now) {
            return;
        }
        if self.is_opening() {
            self.owes_syn = true;
        } else {
            self.begin_timeout_recovery();
            // If the window is shut, one byte goes out all the same.
            self.probe_is_due = true;
        }
        self.rtt.back_off();
        self.timed = None;
    }

    /// Nothing is on its way: asks a peer that has been silent whether it is still there, and gives
    /// it up when it has not answered often enough (RFC 9293 §3.8.4).
    fn look_at_silence(&mut self, now: Instant) {
        self.silences = self.silences.saturating_add(1);
        let wait = match self.silences {
            // It may have said something just after the last look.
            1 => Duration::from_secs(self.keep_alive_s.into()),
            2.. if self.silences > KEEP_ALIVE_PROBES + 1 => {
                return self.finish(State::Closed, CloseReason::TimedOut);
            }
            _ => {
                if self.ack == AckOwed::None {
                    self.ack = AckOwed::Asked;
                }
                KEEP_ALIVE_RETRY.min(Duration::from_secs(self.keep_alive_s.into()))
            }
        };
        self.retransmission = Retransmission::KeepAlive(now + wait);
    }

    /// Whether the handshake is under way.
    fn is_opening(&self) -> bool {
        matches!(self.state, State::SynSent | State::SynReceived)
    }

    /// Returns when the peer is given up if it does not answer.
    pub(super) fn patience_ends(&self) -> Instant {
        self.progress_at
            + if self.is_opening() {
                HALF_OPEN_TIMEOUT
            } else {
                USER_TIMEOUT
            }
    }

    fn give_up_if_silent(&mut self, now: Instant) -> bool {
        let is_silent = now >= self.patience_ends();
        if is_silent {
            self.finish(State::Closed, CloseReason::TimedOut);
        }
        is_silent
    }

    /// Sets the retransmission timer anew; it does not wait beyond the end of patience.
    pub(super) fn arm_timeout(&mut self, now: Instant) {
        let at = (now + self.rtt.timeout()).min(self.patience_ends());
        self.retransmission = Retransmission::Timeout(at);
    }
}
