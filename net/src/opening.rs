//! Segments that find no connection: a SYN that begins one, what comes for a connection in
//! TIME_WAIT, and what belongs to nobody (RFC 9293 §3.10.7.1, §3.10.7.2).
//!
//! Upstream: [`ingress`](crate::ingress). Downstream: a connection, or an answer at once.

use crate::connection::Role;
use crate::cookie;
use crate::counters::DropReason;
use crate::demux::{Flags, Segment};
use crate::event::Pending;
use crate::ingress::Arrival;
use crate::isn;
use crate::limits;
use crate::nic::Nic;
use crate::stack::Stack;
use crate::tcp::{Departure, Lent, Opening, OptionBytes, Options, Seq, timestamp, window_shift};
use crate::time_wait::Remains;
use crate::trace;

impl<N: Nic, P: Lent> Stack<N, P> {
    /// Begins a connection of this listener and flow. Without room for another half-open one the SYN
    /// is answered with a cookie, without room for a connection it is dropped, and the peer will
    /// send it again. `last` is the last number of ours on a connection of the flow that has just
    /// ended.
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
        let (options, _) = segment.parts(arrival.frame);
        let begun = match refusal {
            DropReason::ConnectionsFull => self.begin((listener, hash), arrival, segment),
            _ if self.listeners.has_room_behind_handshakes(listener) && last.is_none() => {
                return self.answer_by_cookie(&Options::parse(options), arrival, segment);
            }
            _ => None,
        };
        let Some((index, mut opening)) = begun else {
            return self.output.counters.count_drop(refusal);
        };
        if let Some(last) = last {
            opening.sequence = isn::beyond(opening.sequence, last);
        }
        let slot = self.connections.slot(index);
        slot.tcb
            .open_passive(&opening, segment.sequence, segment.window, options);
        self.mark_dirty(index);
    }

    /// Takes a slot for a connection of this listener and flow, if there is one.
    fn begin(
        &mut self,
        (listener, hash): (u8, u64),
        arrival: &Arrival<'_>,
        segment: &Segment,
    ) -> Option<(u32, Opening)> {
        let index = self.connections.take()?;
        let (sequence, timestamp_offset) = self.sequences.begin(&segment.key, arrival.now);
        let opening = Opening {
            sequence,
            timestamp_offset,
            mss_bytes: self.first_mss_bytes(&segment.key, arrival.now),
            window_bytes: self.window_bytes,
            keep_alive_s: self.keep_alive_s,
            now: arrival.now,
        };
        let slot = self.connections.slot(index);
        slot.key = segment.key;
        slot.hash = hash;
        slot.peer = arrival.sender();
        slot.role = Role::HalfOpen(listener);
        slot.attached = self.flows.insert(hash, index);
        self.listeners.begin(listener);
        self.half_open += 1;
        self.output.counters.connections_begun += 1;
        Some((index, opening))
    }

    /// Answers a SYN and keeps nothing of it.
    #[cold]
    fn answer_by_cookie(&mut self, offer: &Options, arrival: &Arrival<'_>, segment: &Segment) {
        let (key, now) = (&segment.key, arrival.now);
        let ours = self.cookies.make(key, segment.sequence, offer.mss, now);
        let (_, offset) = self.sequences.begin(key, now);
        let timestamps = offer.timestamps.map(|(theirs, _)| {
            let clock = timestamp(offset, now);
            (cookie::write_offer(clock, offer), theirs)
        });
        let told = timestamps.is_some();
        let answer = Options {
            mss: Some(self.output.link(key.addresses.is_ipv6()).mss_bytes),
            window_scale: (told && offer.window_scale.is_some())
                .then_some(window_shift(self.window_bytes)),
            sack_permitted: told && offer.sack_permitted,
            timestamps,
            ..Options::default()
        };
        let departure = Departure {
            window: self.window_bytes.min(0xffff) as u16,
            options: OptionBytes::of_syn(&answer),
            ..Departure::bare(Flags::SYN_ACK, ours.0, (segment.sequence + 1).0)
        };
        self.output.counters.syn_cookies_sent += 1;
        self.output
            .transmit_segment(key, arrival.sender(), &departure, &[], |_| {});
    }

    /// Begins a connection whose SYN was answered with a cookie, if this segment brings that back;
    /// `None` if it does not. Without room it is dropped: what the peer sends on the connection
    /// brings the cookie back again.
    #[cold]
    pub(crate) fn process_cookie(
        &mut self,
        (listener, hash): (u8, u64),
        arrival: &Arrival<'_>,
        segment: &Segment,
    ) -> Option<Option<u32>> {
        let flags = segment.flags;
        if !flags.has_ack() || flags.has_syn() || flags.has_rst() {
            return None;
        }
        let (theirs, ours) = (segment.sequence - 1, segment.acknowledged - 1);
        let (cookies, now) = (&self.cookies, arrival.now);
        let mss = cookies.check(&segment.key, theirs, ours, now)?;
        if !self.listeners.has_room_behind_handshakes(listener) {
            self.output.counters.count_drop(DropReason::BacklogFull);
            return Some(None);
        }
        let Some((index, opening)) = self.begin((listener, hash), arrival, segment) else {
            self.output.counters.count_drop(DropReason::ConnectionsFull);
            return Some(None);
        };
        let (options, _) = segment.parts(arrival.frame);
        let timestamps = Options::parse(options).timestamps;
        let (window_scale, sack_permitted) = match timestamps {
            Some((_, echo)) => cookie::read_offer(echo),
            None => (None, false),
        };
        let offered = Options {
            mss: Some(mss),
            window_scale,
            sack_permitted,
            timestamps,
            ..Options::default()
        };
        let opening = Opening {
            sequence: ours.0,
            ..opening
        };
        let slot = self.connections.slot(index);
        slot.tcb.open_answered(&opening, theirs, &offered);
        self.output.counters.syn_cookies_taken += 1;
        Some(Some(index))
    }

    /// The handshake is complete.
    pub(crate) fn follow_established(&mut self, index: u32) {
        let slot = self.connections.slot(index);
        slot.is_established = true;
        self.output.counters.connections_established += 1;
        self.output.counters.established_now += 1;
        let port = slot.key.remote_port;
        self.record(&trace::ESTABLISHED, [index.into(), port.into()]);
        let slot = self.connections.slot(index);
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
