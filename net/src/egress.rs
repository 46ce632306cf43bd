//! The way out: connections that changed are dispatched, timers run, connections end and their
//! slots are freed.
//!
//! Upstream: [`ingress`](crate::ingress) and the application's commands, which leave connections
//! on the dirty list. Downstream: [`tcp`](crate::tcp), which writes through
//! [`output`](crate::output).

use crate::connection::{NO_STATION, Role};
use crate::event::{CloseReason, Pending};
use crate::limits::{TIME_WAIT, USER_TIMEOUT};
use crate::nic::Nic;
use crate::stack::Stack;
use crate::tcp::{Lent, State, Tail};
use crate::time_wait::Remains;
use crate::trace;
use core::time::Duration;
use kernel::{CoreMask, Instant};

/// Whether a connection is done with for this turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dispatched {
    /// Everything that can be sent now has been sent.
    All,
    /// The transmit queue is full.
    Blocked,
}

/// How long to wait before a connection is tried again that wants to be dispatched and has nothing
/// to send: a guard against spinning.
pub(crate) const RETRY: Duration = Duration::from_millis(1);

impl<N: Nic, P: Lent> Stack<N, P> {
    /// Lets every timer run that is due.
    pub fn handle_timers(&mut self, now: Instant) {
        self.now = now;
        while let Some(timer) = self.timers.pop_due(now) {
            if timer == self.addressing_timer() {
                self.addressing_is_due = true;
            } else if timer == self.time_wait_timer() {
                if let Some(next) = self.time_wait.expire(now) {
                    self.timers.set(timer, next);
                }
            } else {
                self.handle_connection_timer(timer, now);
            }
        }
    }

    /// A connection's timer may be set for an earlier time than is wanted by now: it is cheaper to
    /// look again than to move it at each segment.
    fn handle_connection_timer(&mut self, index: u32, now: Instant) {
        let slot = self.connections.slot(index);
        if slot.role == Role::Free || slot.has_ended {
            return;
        }
        if slot.linger.is_some_and(|linger| linger <= now) && !self.lingers_on(index, now) {
            self.output.counters.linger_resets += 1;
            return self.reset(index);
        }
        let slot = self.connections.slot(index);
        if slot.tcb.deadline().is_some_and(|deadline| deadline <= now) && slot.tcb.handle_timer(now)
        {
            self.mark_dirty(index);
        } else {
            self.set_timer(index);
        }
    }

    /// Whether a connection whose linger time has passed goes on: one that is still being sent to
    /// does, as long as the peer takes something.
    fn lingers_on(&mut self, index: u32, now: Instant) -> bool {
        let slot = self.connections.slot(index);
        let mark = slot.tcb.progress_mark();
        let goes_on = slot.tcb.state() != State::FinWait2 && mark != slot.linger_mark;
        if goes_on {
            slot.linger = Some(now + USER_TIMEOUT);
            slot.linger_mark = mark;
        }
        goes_on
    }

    /// Sends what connections have to send, publishes it with at most one doorbell per queue, and
    /// returns the cores that now have frames waiting in their rings and are to be woken.
    pub fn poll_transmit(&mut self, now: Instant) -> CoreMask {
        self.now = now;
        if self.addressing_is_due {
            self.dispatch_addressing(now);
        }
        if self.stealing.is_on {
            self.share_backlogs();
        }
        let mut kept = 0;
        for place in 0..self.dirty.len() {
            let index = self.dirty[place];
            if kept == 0 && self.dispatch(index, now) == Dispatched::All {
                self.connections.slot(index).dirty = false;
            } else {
                self.dirty[kept] = index;
                kept += 1;
            }
        }
        self.dirty.truncate(kept);
        if let Some(nic) = &mut self.output.nic {
            nic.flush();
        }
        self.output.port.take_woken()
    }

    /// Lets a connection send all it may, and sees to what follows.
    fn dispatch(&mut self, index: u32, now: Instant) -> Dispatched {
        let mut slot = self.connections.slot(index);
        let link = self.output.link(slot.key.addresses.is_ipv6());
        if matches!(slot.role, Role::Free | Role::Expected) {
            return Dispatched::All;
        }
        loop {
            if !self.output.can_transmit() {
                return Dispatched::Blocked;
            }
            let Some(departure) = slot.tcb.poll_transmit(link, &self.chunks, now) else {
                break;
            };
            if slot.peer == NO_STATION {
                // Unsent for now: its timer, or an answer to who it is, brings it back.
                if !self.resolve(index, now) {
                    slot = self.connections.slot(index);
                    continue;
                }
                slot = self.connections.slot(index);
            } else if departure.is_repeated && slot.tcb.state() == State::SynSent {
                self.resolve_again(index, now);
                slot = self.connections.slot(index);
            }
            let (tcb, bytes) = (&slot.tcb, departure.payload_bytes);
            let tail = match self.output.gathers(bytes) {
                true => tcb.gather_payload(departure.offset, bytes),
                false => Tail::new(),
            };
            self.output
                .transmit_segment(&slot.key, slot.peer, &departure, &tail, |payload| {
                    tcb.copy_payload(departure.offset, payload);
                });
            self.output.counters.tx_segments += 1;
            self.output.counters.tx_segments_repeated += u64::from(departure.is_repeated);
            if departure.is_last {
                break;
            }
        }
        slot.tcb.has_transmitted(now);
        match slot.tcb.state() {
            State::TimeWait => self.dissolve(index, now),
            State::Closed => self.follow_end(index),
            State::FinWait2 => {
                // From the acknowledgement of our FIN on, and from all that is still received.
                let mark = slot.tcb.progress_mark();
                if slot.linger_mark != mark || slot.linger.is_none() {
                    slot.linger_mark = mark;
                    slot.linger = Some(now + Self::LINGER);
                }
                self.set_timer(index);
            }
            _ => self.set_timer(index),
        }
        Dispatched::All
    }

    /// Sets a connection's timer for the earlier of its deadlines, unless it is set for before.
    #[inline]
    fn set_timer(&mut self, index: u32) {
        let slot = self.connections.slot(index);
        if let Some(wanted) = earlier(slot.tcb.deadline(), slot.linger) {
            self.timers.set_no_later(index, wanted);
        }
    }

    /// Sees to a connection that is over: counts it once, tells the layer above if it is its own,
    /// and takes one that is closed out of the flow table; TIME_WAIT leaves it when its
    /// acknowledgement is out.
    pub(crate) fn follow_end(&mut self, index: u32) {
        let slot = self.connections.slot(index);
        let Some(reason) = slot.tcb.end() else {
            return;
        };
        if let Role::HalfOpen(_) = slot.role {
            return self.lose_half_open(index);
        }
        let (is_owned, is_established) = (slot.role == Role::Owned, slot.is_established);
        let is_first = !core::mem::replace(&mut slot.has_ended, true);
        if slot.tcb.state() == State::Closed {
            self.detach(index);
        }
        if is_first {
            self.count_end(reason, is_established);
            self.record(trace::ended(reason), [index.into(), 0]);
            if is_owned {
                self.add_event(index, Pending::CLOSED);
            }
        }
        self.free_if_done(index);
    }

    fn count_end(&mut self, reason: CloseReason, is_established: bool) {
        let counters = &mut self.output.counters;
        if !is_established {
            counters.connects_failed += 1;
            return;
        }
        counters.established_now -= 1;
        match reason {
            CloseReason::Finished => counters.connections_finished += 1,
            CloseReason::Reset => counters.connections_reset += 1,
            CloseReason::TimedOut => counters.connections_timed_out += 1,
            CloseReason::Aborted => counters.connections_aborted += 1,
        }
    }

    /// Closes a connection at once; its RST goes out when it is dispatched.
    pub(crate) fn reset(&mut self, index: u32) {
        self.connections.slot(index).tcb.abort();
        self.mark_dirty(index);
        self.follow_end(index);
    }

    /// Takes a connection whose handshake came to nothing out of everything.
    pub(crate) fn lose_half_open(&mut self, index: u32) {
        let slot = self.connections.slot(index);
        if let Role::HalfOpen(listener) = slot.role {
            self.listeners.lose(listener);
            self.half_open -= 1;
            self.output.counters.half_open_lost += 1;
        }
        self.detach(index);
        self.connections.free(index, &mut self.chunks);
    }

    /// Turns a connection in TIME_WAIT into a small entry; the slot waits only for its release.
    fn dissolve(&mut self, index: u32, now: Instant) {
        let slot = self.connections.slot(index);
        if slot.attached {
            let (next_to_send, next_to_receive) = slot.tcb.final_sequences();
            let remains = Remains {
                key: slot.key,
                hash: slot.hash,
                next_to_send,
                next_to_receive,
                timestamps: slot.tcb.final_timestamps(),
            };
            match slot.origin {
                Some(_) => self.end_foreign(index, Some(remains)),
                None => self.enter_time_wait(remains, now),
            }
            self.detach(index);
        }
        self.free_if_done(index);
    }

    pub(crate) fn enter_time_wait(&mut self, remains: Remains, now: Instant) {
        if self.time_wait.insert(remains, now) {
            self.output.counters.time_wait_evicted += 1;
        }
        // Entries expire in the order in which they came: this one is the first to, or is not.
        self.timers
            .set_no_later(self.time_wait_timer(), now + TIME_WAIT);
    }

    pub(crate) fn detach(&mut self, index: u32) {
        let slot = self.connections.slot(index);
        if slot.attached {
            slot.attached = false;
            self.flows.remove(slot.hash, index);
            self.end_foreign(index, None);
        }
        self.timers.cancel(index);
    }

    /// Frees a released connection that is over and owes nothing.
    pub(crate) fn free_if_done(&mut self, index: u32) {
        let slot = self.connections.slot(index);
        let is_done = slot.role == Role::Released && slot.has_ended && !slot.attached;
        if is_done && !slot.tcb.owes_reset() {
            self.connections.free(index, &mut self.chunks);
        }
    }

    pub(crate) fn addressing_timer(&self) -> u32 {
        self.connections.count() as u32
    }

    fn time_wait_timer(&self) -> u32 {
        self.connections.count() as u32 + 1
    }
}

/// Returns the earlier of two deadlines, either of which may be never.
fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
