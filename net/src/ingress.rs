//! The way in: frames of the queue pair and of other cores, through the demux, to connections,
//! listeners, TIME_WAIT and [`control`](crate::control); and what changes on a connection for the layer above.
//!
//! Upstream: the [`Nic`] and the fabric. Downstream: [`tcp`](crate::tcp), and events. A segment's
//! receiver is, in this order: a connection of this core; the core that one of this core's has moved to;
//! a TIME_WAIT entry; a core that may have
//! the connection, or that owns its flow; a listener (RFC 9293 §3.10.7).

use crate::connection::Role;
use crate::counters::DropReason;
use crate::demux::{self, Route, Segment};
use crate::event::Pending;
use crate::fabric::{HandOverError, ParcelKind};
use crate::flow::FlowKey;
use crate::large_receive::Large;
use crate::limits::{HANDOVER_BATCH_FRAMES, RX_BATCH_FRAMES};
use crate::nic::{Nic, TxMeta};
use crate::port_table::Asked;
use crate::stack::Stack;
use crate::tcp::{Arrived, Lent, News, Seq};
use crate::trace;
use kernel::{CoreId, Instant};

/// A received frame and what is known of it beside its bytes.
pub(crate) struct Arrival<'a> {
    pub(crate) frame: &'a [u8],
    /// What is not in `frame`, which then is a copy of the headers and what follows them.
    pub(crate) large: Option<&'a Large<'a>>,
    /// It came from another core, which has verified it and found that it may be for this one:
    /// with the cores that were asked for its flow so far.
    pub(crate) crossed: Option<Asked>,
    pub(crate) now: Instant,
}

impl Arrival<'_> {
    /// The station that sent it; the demux has seen that the header is there.
    pub(crate) fn sender(&self) -> [u8; 6] {
        self.frame[6..12].try_into().unwrap_or_default()
    }
}

impl<N: Nic, P: Lent> Stack<N, P> {
    /// Takes in one batch of frames from the queue pair and from the other cores' rings, and
    /// returns how many there were.
    pub fn handle_frames(&mut self, now: Instant) -> usize {
        self.now = now;
        if self.output.port.host().look() != self.host_seen {
            self.follow_host();
        }
        self.follow_ports(now);
        let mut frames = 0;
        while frames < RX_BATCH_FRAMES {
            let Some((frame, meta)) = self.output.nic.as_mut().and_then(Nic::receive) else {
                break;
            };
            if meta.is_one_segment() {
                let arrival = Arrival {
                    frame: frame.as_ref(),
                    large: None,
                    crossed: None,
                    now,
                };
                self.process(&arrival, meta.checksum_valid);
            } else {
                self.receive_large(&frame, meta, now);
            }
            if let Some(nic) = &mut self.output.nic {
                nic.recycle(frame);
            }
            frames += 1;
        }
        self.output.counters.rx_frames += frames as u64;
        if self.output.port.cores().len() > 1 {
            self.tell_ends();
            for from in self.output.port.cores().iter() {
                frames += self.handle_parcels(from, now);
            }
            if frames > 0 && self.stealing.has_bids {
                self.withdraw_bids();
            }
        }
        if let Some(kind) = self.output.counters.take_last_drop() {
            self.record(kind, [frames as u64, 0]);
        }
        frames
    }

    /// Takes in one batch of what another core has for this one.
    fn handle_parcels(&mut self, from: CoreId, now: Instant) -> usize {
        for taken in 0..HANDOVER_BATCH_FRAMES {
            let Some(parcel) = self.output.port.take(from) else {
                return taken;
            };
            match parcel.kind {
                ParcelKind::Received(asked) => {
                    self.output.counters.handovers_in += 1;
                    let arrival = Arrival {
                        frame: parcel.frame(),
                        large: None,
                        crossed: Some(asked),
                        now,
                    };
                    self.process(&arrival, true);
                }
                ParcelKind::Transmit(meta) => {
                    self.output.counters.forwards_in += 1;
                    self.forward(parcel.frame(), meta);
                }
                ParcelKind::Move => self.process_move(from, parcel.frame(), now),
            }
            self.output.port.give_back(from, parcel);
        }
        HANDOVER_BATCH_FRAMES
    }

    /// Sends a finished frame of a core without a queue pair. Such a core sends through one that
    /// has a pair, so that the frame cannot go round.
    fn forward(&mut self, frame: &[u8], meta: TxMeta) {
        if self.output.nic.is_some() {
            self.output.transmit(frame.len(), |bytes| {
                bytes.copy_from_slice(frame);
                ((), meta)
            });
        }
    }

    pub(crate) fn process(&mut self, arrival: &Arrival<'_>, checksum_valid: bool) {
        // Looked at where it is: a segment's headers are not copied once more.
        match &demux::route(arrival.frame, checksum_valid, &self.station) {
            Route::Segment(segment) => self.process_segment(arrival, segment),
            Route::Arp => self.process_arp(arrival),
            Route::Dhcp => self.process_for_dhcp(arrival),
            Route::Icmp(message) => self.process_icmp(arrival, message),
            Route::Icmpv6(message) => self.process_icmpv6(arrival, message),
            Route::Fragment(fragment) => self.process_fragment(arrival, fragment),
            Route::Drop(reason) => self.output.counters.count_drop(*reason),
        }
    }

    fn hand_over_segment(
        &mut self,
        to: CoreId,
        arrival: &Arrival<'_>,
        segment: &Segment,
        asked: Asked,
    ) {
        match arrival.large {
            None => self.hand_over(to, arrival.frame, asked),
            Some(large) => self.hand_over_pieces(to, arrival, segment, large, asked),
        }
    }

    pub(crate) fn hand_over(&mut self, to: CoreId, frame: &[u8], asked: Asked) {
        if !self.has_told_ends(to) {
            return self.output.counters.count_drop(DropReason::HandoverFull);
        }
        let counters = &mut self.output.counters;
        match self.output.port.hand_over(to, frame, asked) {
            Ok(()) => {
                counters.handovers_out += 1;
                self.record(&trace::HANDED_OVER, [to.index() as u64, frame.len() as u64]);
            }
            Err(HandOverError::Full) => counters.count_drop(DropReason::HandoverFull),
            Err(HandOverError::TooLarge) => counters.count_drop(DropReason::HandoverTooLarge),
        }
    }

    /// Returns the connection of a flow.
    #[inline]
    pub(crate) fn find_flow(&self, hash: u64, key: &FlowKey) -> Option<u32> {
        self.flows
            .find(hash, |index| self.connections.key(index) == key)
    }

    fn process_segment(&mut self, arrival: &Arrival<'_>, segment: &Segment) {
        let hash = self.output.port.hasher().hash(&segment.key);
        let found = self.find_flow(hash, &segment.key);
        if let Some(index) = found.or_else(|| self.process_stranger(hash, arrival, segment)) {
            self.process_flow(index, arrival, segment);
        }
    }

    /// Handles a segment that this core has no connection for. Returns one that it has begun and that
    /// the segment is for.
    #[inline(never)]
    pub(crate) fn process_stranger(
        &mut self,
        hash: u64,
        arrival: &Arrival<'_>,
        segment: &Segment,
    ) -> Option<u32> {
        let mut asked = arrival.crossed.unwrap_or_default();
        if let Some(core) = self.stealing.whereabouts(hash, &segment.key) {
            self.hand_over_segment(core, arrival, segment, asked);
            return None;
        }
        let mut last = None;
        if let Some(remains) = self.time_wait.find(hash, &segment.key) {
            if self.process_time_wait(remains, arrival, segment) {
                return None;
            }
            last = Some(Seq(remains.next_to_send));
        }
        if let Some(core) = self.steer(&segment.key, hash, &mut asked) {
            self.hand_over_segment(core, arrival, segment, asked);
            return None;
        }
        if let Some(listener) = self.listeners.at_port(segment.key.local_port) {
            if segment.flags.is_opening() {
                self.process_opening((listener, hash), last, arrival, segment);
                return None;
            }
            if self.cookies.are_out(arrival.now)
                && let Some(begun) = self.process_cookie((listener, hash), arrival, segment)
            {
                return begun;
            }
        }
        self.output.counters.unknown_segments += 1;
        self.reject(arrival, segment);
        None
    }

    /// Gives a segment to its connection and follows what it changed.
    #[inline]
    fn process_flow(&mut self, index: u32, arrival: &Arrival<'_>, segment: &Segment) {
        let (options, payload) = segment.parts(arrival.frame);
        let arrived = Arrived {
            segment,
            options,
            payload,
            payload_bytes: payload.len() as u32,
            now: arrival.now,
        };
        let slot = self.connections.slot(index);
        let news = slot.tcb.process::<false>(&arrived, &[], &mut self.chunks);
        if slot.follow(news, arrival.sender()) {
            self.dirty.push(index);
        }
        if news != News::default() {
            self.follow(index, news, arrival, segment);
        }
    }

    /// Moves a connection on after a segment, by who answers for it.
    #[inline(always)]
    pub(crate) fn follow(
        &mut self,
        index: u32,
        news: News,
        arrival: &Arrival<'_>,
        segment: &Segment,
    ) {
        let slot = self.connections.slot(index);
        if let Role::Owned = slot.role {
            let mut told = Pending::default();
            if news.has(News::READABLE) {
                told.add(Pending::READABLE);
            }
            if news.has(News::ROOM) && slot.wants_room {
                slot.wants_room = false;
                told.add(Pending::WRITABLE);
            }
            if !told.is_empty() {
                self.add_event(index, told);
            }
        } else if slot.role == Role::Released && news.has(News::READABLE) {
            return self.reset_unread(index);
        }
        if news.has(News::RARE) {
            self.follow_rare(index, news, arrival, segment);
        }
    }

    #[cold]
    fn follow_rare(&mut self, index: u32, news: News, arrival: &Arrival<'_>, segment: &Segment) {
        if news.has(News::OUT_OF_PLACE) {
            self.output.counters.out_of_place_segments += 1;
        }
        if news.has(News::STRANGER) {
            self.reject(arrival, segment);
        }
        if news.has(News::ESTABLISHED) {
            self.follow_established(index);
        }
        if news.has(News::OVER) {
            self.follow_end(index);
        }
    }

    /// Resets a released connection on which bytes have come that nobody will read (RFC 9293
    /// §3.6.1, RFC 1122 §4.2.2.13); a FIN alone is followed like any other.
    #[cold]
    fn reset_unread(&mut self, index: u32) {
        let slot = self.connections.slot(index);
        if slot.tcb.unread_bytes() > 0 {
            self.output.counters.linger_resets += 1;
            self.reset(index);
        } else if slot.tcb.end().is_some() {
            self.follow_end(index);
        }
    }

    pub(crate) fn add_event(&mut self, index: u32, news: Pending) {
        let slot = self.connections.slot(index);
        slot.pending.add(news);
        if !slot.queued {
            slot.queued = true;
            self.told.push_back(index);
        }
    }

    /// Puts a connection on the list of those to dispatch.
    #[inline]
    pub(crate) fn mark_dirty(&mut self, index: u32) {
        let slot = self.connections.slot(index);
        if !slot.dirty {
            slot.dirty = true;
            self.dirty.push(index);
        }
    }
}
