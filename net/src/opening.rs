//! Segments that find no connection: a SYN that begins one, what comes for a connection in
//! TIME_WAIT, and what belongs to nobody (RFC 9293 §3.10.7.1, §3.10.7.2).
//!
//! Upstream: [`ingress`](crate::ingress). Downstream: a connection, or an answer at once.

use crate::connection::Role;
use crate::counters::DropReason;
use crate::demux::{Flags, Segment};
use crate::event::Pending;
use crate::ingress::Arrival;
use crate::isn;
use crate::limits;
use crate::nic::Nic;
use crate::stack::Stack;
use crate::tcp::{Departure, Lent, Opening, Options, Seq};
use crate::time_wait::Remains;

impl<N: Nic, P: Lent> Stack<N, P> {
    /// Begins a connection of this listener and flow, if there is room for it; else the SYN is
    /// dropped, and the peer will send it again. `last` is the last number of ours on a connection
    /// of the flow that has just ended.
    pub(crate) fn process_opening(
        &mut self,
        (listener, hash): (u8, u64),
        last: Option<Seq>,
        arrival: &Arrival<'_>,
        segment: &Segment,
    ) {
        let slots = self.connections.count();
        let refusal = if !self.listeners.has_room(listener) {
            DropReason::BacklogFull
        } else if self.half_open >= limits::half_open(slots) {
            DropReason::HalfOpenFull
        } else {
            DropReason::ConnectionsFull
        };
        let room = refusal == DropReason::ConnectionsFull;
        let Some(index) = room.then(|| self.connections.take()).flatten() else {
            return self.output.counters.count_drop(refusal);
        };
        let (sequence, timestamp_offset) = self.sequences.begin(&segment.key, arrival.now);
        let sequence = last.map_or(sequence, |last| isn::beyond(sequence, last));
        let opening = Opening {
            sequence,
            timestamp_offset,
            mss_bytes: self.output.link().mss_bytes,
            window_bytes: self.window_bytes,
            now: arrival.now,
        };
        let (options, _) = segment.parts(arrival.frame);
        let slot = self.connections.slot(index);
        slot.key = segment.key;
        slot.hash = hash;
        slot.peer = arrival.sender();
        slot.role = Role::HalfOpen(listener);
        slot.tcb
            .open_passive(&opening, segment.sequence, segment.window, options);
        slot.attached = self.flows.insert(hash, segment.key, index);
        self.listeners.begin(listener);
        self.half_open += 1;
        self.output.counters.connections_begun += 1;
        self.mark_dirty(index);
    }

    /// The handshake is complete.
    pub(crate) fn follow_established(&mut self, index: u32) {
        let slot = self.connections.slot(index);
        slot.is_established = true;
        self.output.counters.connections_established += 1;
        self.output.counters.established_now += 1;
        if let Role::HalfOpen(listener) = slot.role {
            slot.role = Role::Waiting(listener);
            self.half_open -= 1;
            self.listeners.enqueue(listener, index);
            self.add_event(index, Pending::INCOMING);
        } else {
            self.add_event(index, Pending::CONNECTED);
        }
    }

    /// Answers a segment that belongs to nobody with RST, unless it is one (RFC 9293 §3.10.7.1).
    pub(crate) fn reject(&mut self, arrival: &Arrival<'_>, segment: &Segment) {
        if segment.flags.has_rst() {
            return;
        }
        let reset = if segment.flags.has_ack() {
            Departure::bare(Flags::RST, segment.acknowledged.0, 0)
        } else {
            Departure::bare(Flags::RST_ACK, 0, segment.end().0)
        };
        self.output
            .transmit_segment(&segment.key, arrival.sender(), &reset, &[], |_| {});
    }

    /// Answers a segment for a connection in TIME_WAIT; false when it is a SYN that begins a new
    /// one in its place.
    pub(crate) fn process_time_wait(
        &mut self,
        remains: Remains,
        arrival: &Arrival<'_>,
        segment: &Segment,
    ) -> bool {
        let flags = segment.flags;
        if flags.has_rst() {
            self.output.counters.count_drop(DropReason::TimeWaitReset);
            return true;
        }
        if flags.is_opening() {
            let (options, _) = segment.parts(arrival.frame);
            let timestamp = Options::parse(options).timestamps.map(|(value, _)| value);
            if remains.gives_way_to(segment.sequence, timestamp) {
                self.time_wait.remove(remains.hash, &remains.key);
                self.output.counters.time_wait_reused += 1;
                return false;
            }
        }
        if flags.has_syn() || flags.has_fin() || segment.payload_bytes > 0 {
            self.output.counters.time_wait_acks += 1;
            if flags.has_fin() {
                self.enter_time_wait(remains, arrival.now);
            }
            let answer = remains.acknowledgement(arrival.now);
            self.output
                .transmit_segment(&remains.key, arrival.sender(), &answer, &[], |_| {});
        }
        true
    }
}
