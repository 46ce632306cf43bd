//! The way out: connections that changed are dispatched, timers run, connections end and their
//! slots are freed.
//!
//! Upstream: [`ingress`](crate::ingress) and the application's commands, which leave connections
//! on the dirty list. Downstream: [`tcp`](crate::tcp), which writes through
//! [`output`](crate::output).

use crate::address::Address;
use crate::arp;
use crate::connection::Role;
use crate::event::{CloseReason, Pending};
use crate::limits::TIME_WAIT;
use crate::nic::{Nic, TxMeta};
use crate::stack::Stack;
use crate::tcp::{DhcpChange, Phase};
use crate::time_wait::Remains;
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
const RETRY: Duration = Duration::from_millis(1);

impl<N: Nic> Stack<N> {
    /// Lets every timer run that is due.
    pub fn handle_timers(&mut self, now: Instant) {
        self.now = now;
        while let Some(timer) = self.timers.pop_due(now) {
            if timer == self.dhcp_timer() {
                self.dhcp_is_due = true;
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
        if slot.role == Role::Free {
            return;
        }
        if slot.end.is_none() && slot.linger.is_some_and(|linger| linger <= now) {
            self.output.counters.linger_resets += 1;
            self.reset(index);
        } else if slot.deadline.is_some_and(|deadline| deadline <= now) {
            slot.is_due = true;
            self.mark_dirty(index);
        } else {
            self.set_timer(index);
        }
    }

    /// Sends what connections have to send, publishes it with at most one doorbell per queue, and
    /// returns the cores that now have frames waiting in their rings and are to be woken.
    pub fn poll_transmit(&mut self, now: Instant) -> CoreMask {
        self.now = now;
        if self.dhcp_is_due {
            self.dispatch_dhcp(now);
        }
        if self.announces {
            self.dispatch_announcement();
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
        let slot = self.connections.slot(index);
        if slot.role == Role::Free || (!slot.attached && !slot.socket.owes_reset()) {
            self.free_if_done(index);
            return Dispatched::All;
        }
        if !matches!(slot.role, Role::HalfOpen(_)) {
            slot.socket.adjust_timeout();
        }
        let mut has_sent = false;
        loop {
            let (socket, output) = (&mut slot.socket, &mut self.output);
            if !self.engine.dispatch(socket, output, slot.peer, now) {
                if !output.can_transmit() {
                    return Dispatched::Blocked;
                }
                break;
            }
            has_sent = true;
            if matches!(slot.role, Role::HalfOpen(_)) {
                slot.sequence_end = output.sequence_after;
            }
            if output.sequence_after == slot.sequence_end {
                break;
            }
        }
        slot.owes_ack &= !has_sent;
        let deadline_before = slot.deadline;
        let was_due = core::mem::take(&mut slot.is_due);
        slot.deadline = if was_due {
            let deadline = self.engine.deadline(&slot.socket, now);
            deadline.map(|deadline| deadline.max(now + RETRY))
        } else {
            earlier(
                slot.deadline,
                slot.check_after(has_sent).map(|after| now + after),
            )
        };
        match slot.socket.phase() {
            // The timer is set for this, or for before.
            Phase::Open if slot.deadline == deadline_before && slot.linger.is_none() => {}
            Phase::Open | Phase::HalfOpen | Phase::Finishing | Phase::Listening => {
                self.set_timer(index);
            }
            Phase::PeerOpen => {
                slot.linger.get_or_insert(now + Self::LINGER);
                self.set_timer(index);
            }
            Phase::TimeWait => {
                // What it still waits for is its own end, unless it owes the ACK of the FIN.
                if !slot.owes_ack || was_due {
                    self.dissolve(index, now);
                } else {
                    self.set_timer(index);
                }
            }
            Phase::Closed => self.dispatched_closed(index),
        }
        Dispatched::All
    }

    /// Sees to a connection that was found closed after its dispatch: it had timed out, or the
    /// address is gone, or its RST is out.
    fn dispatched_closed(&mut self, index: u32) {
        let has_address = self.address.is_some();
        let slot = self.connections.slot(index);
        if let Role::HalfOpen(_) = slot.role {
            return self.lose_half_open(index);
        }
        if slot.end.is_none() {
            let reason = if has_address {
                CloseReason::TimedOut
            } else {
                CloseReason::Aborted
            };
            self.end(index, reason);
        }
        // One that was reset in TIME_WAIT is still in the table.
        self.detach(index);
        self.free_if_done(index);
    }

    /// Sets a connection's timer for the earlier of its deadlines, unless it is set for before.
    fn set_timer(&mut self, index: u32) {
        let slot = self.connections.slot(index);
        if let Some(wanted) = earlier(slot.deadline, slot.linger) {
            self.timers.set_no_later(index, wanted);
        }
    }

    /// Ends a connection past its handshake: counts it, and tells the layer above if it is its
    /// own. One that is closed leaves the flow table; TIME_WAIT does when its ACK is out.
    pub(crate) fn end(&mut self, index: u32, reason: CloseReason) {
        let slot = self.connections.slot(index);
        if matches!(slot.role, Role::HalfOpen(_) | Role::Free) {
            return;
        }
        slot.end = Some(reason);
        slot.linger = None;
        let counters = &mut self.output.counters;
        counters.established_now -= 1;
        match reason {
            CloseReason::Finished => counters.connections_finished += 1,
            CloseReason::Reset => counters.connections_reset += 1,
            CloseReason::TimedOut => counters.connections_timed_out += 1,
            CloseReason::Aborted => counters.connections_aborted += 1,
        }
        let is_owned = slot.role == Role::Owned;
        if slot.socket.phase() == Phase::Closed {
            self.detach(index);
        }
        if is_owned {
            self.add_event(index, Pending::CLOSED);
        }
    }

    /// Closes a connection at once; its RST goes out when it is dispatched.
    pub(crate) fn reset(&mut self, index: u32) {
        self.connections.slot(index).socket.abort();
        self.end(index, CloseReason::Aborted);
        self.mark_dirty(index);
    }

    /// Takes a connection whose handshake came to nothing out of everything.
    pub(crate) fn lose_half_open(&mut self, index: u32) {
        let slot = self.connections.slot(index);
        if let Role::HalfOpen(listener) = slot.role {
            self.listeners[usize::from(listener)].lose();
            self.half_open -= 1;
            self.output.counters.half_open_lost += 1;
        }
        slot.socket.abort();
        self.detach(index);
        self.connections.free(index);
    }

    /// Turns a connection in TIME_WAIT into a small entry; the slot waits only for its release.
    fn dissolve(&mut self, index: u32, now: Instant) {
        let slot = self.connections.slot(index);
        let remains = Remains {
            key: slot.key,
            hash: slot.hash,
            next_to_send: slot.final_sequences.0,
            next_to_receive: slot.final_sequences.1,
        };
        self.enter_time_wait(remains, now);
        self.detach(index);
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

    fn detach(&mut self, index: u32) {
        let slot = self.connections.slot(index);
        if slot.attached {
            slot.attached = false;
            self.flows.remove(slot.hash, &slot.key);
        }
        self.timers.cancel(index);
    }

    /// Frees a released connection that is over and owes nothing.
    pub(crate) fn free_if_done(&mut self, index: u32) {
        let slot = self.connections.slot(index);
        let is_done = slot.role == Role::Released && slot.end.is_some() && !slot.attached;
        if is_done && !slot.socket.owes_reset() {
            self.connections.free(index);
        }
    }

    fn dispatch_dhcp(&mut self, now: Instant) {
        self.dhcp_is_due = false;
        let timer = self.dhcp_timer();
        let Some(client) = &mut self.dhcp else {
            return;
        };
        client.dispatch(&mut self.output, now);
        match client.deadline(now) {
            Some(next) => self.timers.set(timer, next.max(now + RETRY)),
            None => self.timers.cancel(timer),
        }
        let Some(change) = client.poll_change() else {
            return;
        };
        let address = match change {
            DhcpChange::Configured(address) => {
                self.output.counters.dhcp_configured += 1;
                log::info!(
                    "dhcp: {}/{}, gateway {:?}",
                    address.address,
                    address.prefix,
                    address.gateway
                );
                Some(address)
            }
            // smoltcp says so at the start, too.
            DhcpChange::Lost if self.address.is_none() => return,
            DhcpChange::Lost => {
                self.output.counters.dhcp_lost += 1;
                log::warn!("dhcp: no lease");
                None
            }
        };
        self.output.port.publish_address(address);
        self.announces = address.is_some();
        self.follow_address(now);
    }

    fn dispatch_announcement(&mut self) {
        let Some(address) = self.station.address else {
            self.announces = false;
            return;
        };
        if self.output.can_transmit() {
            self.announces = false;
            let announcement = arp::announcement(self.station.mac, address);
            self.output.transmit(arp::FRAME_BYTES, |frame| {
                announcement.emit(frame);
                ((), TxMeta::default())
            });
        }
    }

    /// Takes over the address that the fabric has. Connections of another one are closed when
    /// they are dispatched, so all are.
    pub(crate) fn follow_address(&mut self, now: Instant) {
        let seen = self.output.port.address().look();
        let address = self.output.port.address().read(seen);
        self.address_seen = seen;
        let mtu = self.output.info.mtu;
        self.output.refresh_info();
        if self.output.info.mtu != mtu {
            self.engine.renew(&mut self.output, now);
        }
        self.station.mac = self.output.info.mac;
        let moves = |of: Option<Address>| of.map(|address| address.address);
        let has_moved = moves(self.address) != moves(address);
        self.address = address;
        self.station.address = address.map(|address| address.address);
        self.engine.set_address(address);
        if has_moved {
            for index in self.connections.indices() {
                if self.connections.slot(index).attached {
                    self.mark_dirty(index);
                }
            }
        }
    }

    fn dhcp_timer(&self) -> u32 {
        self.connections.indices().end
    }

    fn time_wait_timer(&self) -> u32 {
        self.connections.indices().end + 1
    }
}

/// Returns the earlier of two deadlines, either of which may be never.
fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
