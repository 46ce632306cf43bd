//! The way in: frames of the queue pair and of other cores, through the demux, to connections,
//! listeners, TIME_WAIT, ARP, ICMP and DHCP; and what changes on a connection for the layer above.
//!
//! Upstream: the [`Nic`] and the fabric. Downstream: [`tcp`](crate::tcp), and events. A segment's
//! receiver is, in this order: a connection of this core; the core that owns its flow; a
//! TIME_WAIT entry; a listener (RFC 9293 §3.10.7).

use crate::arp;
use crate::connection::Role;
use crate::counters::DropReason;
use crate::demux::{self, Route, Segment};
use crate::event::{CloseReason, Pending};
use crate::fabric::{HandOverError, ParcelKind};
use crate::limits::{self, HANDOVER_BATCH_FRAMES, RX_BATCH_FRAMES};
use crate::nic::{Nic, TxMeta};
use crate::stack::Stack;
use crate::tcp::Phase;
use crate::time_wait::{ACK_BYTES, Remains};
use kernel::{CoreId, Instant};

/// A received frame and what is known of it beside its bytes.
struct Arrival<'a> {
    frame: &'a [u8],
    /// It came from another core, which has verified it and found that it is for this one.
    has_crossed: bool,
    now: Instant,
}

impl Arrival<'_> {
    /// The station that sent it; the demux has seen that the header is there.
    fn sender(&self) -> [u8; 6] {
        self.frame[6..12].try_into().unwrap_or_default()
    }
}

impl<N: Nic> Stack<N> {
    /// Takes in one batch of frames from the queue pair and from the other cores' rings, and
    /// returns how many there were.
    pub fn handle_frames(&mut self, now: Instant) -> usize {
        self.now = now;
        if self.output.port.address().look() != self.address_seen {
            self.follow_address(now);
        }
        let mut frames = 0;
        while frames < RX_BATCH_FRAMES {
            let Some((frame, meta)) = self.output.nic.as_mut().and_then(Nic::receive) else {
                break;
            };
            let arrival = Arrival {
                frame: frame.as_ref(),
                has_crossed: false,
                now,
            };
            self.process(&arrival, meta.checksum_valid);
            if let Some(nic) = &mut self.output.nic {
                nic.recycle(frame);
            }
            frames += 1;
        }
        self.output.counters.rx_frames += frames as u64;
        if self.output.port.cores().len() > 1 {
            for from in self.output.port.cores().iter() {
                frames += self.handle_parcels(from, now);
            }
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
                ParcelKind::Received => {
                    self.output.counters.handovers_in += 1;
                    let arrival = Arrival {
                        frame: parcel.frame(),
                        has_crossed: true,
                        now,
                    };
                    self.process(&arrival, true);
                }
                ParcelKind::Transmit(meta) => {
                    self.output.counters.forwards_in += 1;
                    self.forward(parcel.frame(), meta);
                }
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

    fn process(&mut self, arrival: &Arrival<'_>, checksum_valid: bool) {
        match demux::route(arrival.frame, checksum_valid, &self.station) {
            Route::Segment(segment) => self.process_segment(arrival, &segment),
            Route::Arp => self.process_arp(arrival),
            Route::Dhcp => self.process_for_dhcp(arrival),
            Route::Icmp(packet) => {
                self.output.counters.icmp_frames += 1;
                let (packet, peer) = (&arrival.frame[packet], arrival.sender());
                self.engine
                    .process_stranger(packet, &mut self.output, peer, arrival.now);
            }
            Route::Drop(reason) => self.output.counters.count_drop(reason),
        }
    }

    fn process_arp(&mut self, arrival: &Arrival<'_>) {
        match arp::process(arrival.frame, &self.station) {
            arp::Action::Answer(answer) => {
                self.output.counters.arp_replies += 1;
                self.output.transmit(arp::FRAME_BYTES, |frame| {
                    answer.emit(frame);
                    ((), TxMeta::default())
                });
            }
            arp::Action::GiveToDhcp => self.process_for_dhcp(arrival),
            arp::Action::Drop => self.output.counters.count_drop(DropReason::Arp),
        }
    }

    /// Gives a frame to the DHCP client, wherever it runs.
    fn process_for_dhcp(&mut self, arrival: &Arrival<'_>) {
        if let Some(client) = &mut self.dhcp {
            self.output.counters.dhcp_frames += 1;
            client.process(arrival.frame, &mut self.output, arrival.now);
            self.dhcp_is_due = true;
            return;
        }
        match self.output.port.dhcp_core() {
            Some(core) if !arrival.has_crossed => self.hand_over(core, arrival.frame),
            _ => self.output.counters.count_drop(DropReason::UdpPort),
        }
    }

    fn hand_over(&mut self, to: CoreId, frame: &[u8]) {
        let counters = &mut self.output.counters;
        match self.output.port.hand_over(to, frame) {
            Ok(()) => counters.handovers_out += 1,
            Err(HandOverError::Full) => counters.count_drop(DropReason::HandoverFull),
            Err(HandOverError::TooLarge) => counters.count_drop(DropReason::HandoverTooLarge),
        }
    }

    fn process_segment(&mut self, arrival: &Arrival<'_>, segment: &Segment) {
        let hash = self.output.port.hasher().hash(&segment.key);
        if let Some(index) = self.flows.find(hash, &segment.key) {
            return self.process_flow(index, arrival, segment);
        }
        let port = &self.output.port;
        if !arrival.has_crossed
            && port.cores().len() > 1
            && let Some(owner) = port.ports().owner(segment.key.local_port, hash)
            && owner != port.core()
        {
            return self.hand_over(owner, arrival.frame);
        }
        if let Some(remains) = self.time_wait.find(hash, &segment.key)
            && self.process_time_wait(remains, arrival, segment)
        {
            return;
        }
        if segment.flags.is_opening() {
            let port = segment.key.local_port;
            let listener = self.listeners.iter().position(|queue| queue.port == port);
            if let Some(listener) = listener {
                return self.process_opening(listener, hash, arrival, segment);
            }
        }
        self.output.counters.unknown_segments += 1;
        let (packet, peer) = (&arrival.frame[segment.packet.clone()], arrival.sender());
        self.engine
            .process_stranger(packet, &mut self.output, peer, arrival.now);
    }

    /// Answers a segment for a connection in TIME_WAIT; false when it is a SYN that begins a new
    /// one in its place.
    fn process_time_wait(
        &mut self,
        remains: Remains,
        arrival: &Arrival<'_>,
        segment: &Segment,
    ) -> bool {
        let flags = segment.flags;
        if flags.has_rst() {
            self.output.counters.count_drop(DropReason::TimeWaitReset);
        } else if flags.is_opening() && remains.gives_way_to(segment.sequence) {
            self.time_wait.remove(remains.hash, &remains.key);
            self.output.counters.time_wait_reused += 1;
            return false;
        } else if flags.has_syn() || flags.has_fin() || segment.payload_bytes > 0 {
            self.output.counters.time_wait_acks += 1;
            if flags.has_fin() {
                self.enter_time_wait(remains, arrival.now);
            }
            let peer = arrival.sender();
            self.output
                .transmit_ipv4(peer, ACK_BYTES, |packet| remains.emit_ack(packet));
        }
        true
    }

    /// Begins a connection, if there is room for it; else the SYN is dropped, and the peer will
    /// send it again.
    fn process_opening(
        &mut self,
        listener: usize,
        hash: u64,
        arrival: &Arrival<'_>,
        segment: &Segment,
    ) {
        let slots = self.connections.indices().len();
        let refusal = if !self.listeners[listener].has_room() {
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
        let slot = self.connections.slot(index);
        slot.key = segment.key;
        slot.hash = hash;
        slot.role = Role::HalfOpen(listener as u8);
        slot.socket
            .listen(segment.key.local, segment.key.local_port);
        slot.attached = self.flows.insert(hash, segment.key, index);
        self.listeners[listener].begin();
        self.half_open += 1;
        self.output.counters.connections_begun += 1;
        self.process_flow(index, arrival, segment);
    }

    /// Offers a segment to its connection and looks what it changed.
    #[inline]
    fn process_flow(&mut self, index: u32, arrival: &Arrival<'_>, segment: &Segment) {
        let slot = self.connections.slot(index);
        slot.peer = arrival.sender();
        slot.owes_ack |= segment.payload_bytes > 0 || segment.flags.has_fin();
        let packet = &arrival.frame[segment.packet.clone()];
        let (socket, output) = (&mut slot.socket, &mut self.output);
        self.engine
            .process(socket, packet, output, slot.peer, arrival.now);
        let phase = slot.socket.phase();
        match phase {
            Phase::TimeWait if slot.end.is_none() => {
                let fin = u32::from(segment.flags.has_fin());
                let after = segment
                    .sequence
                    .wrapping_add(segment.payload_bytes as u32 + fin);
                slot.final_sequences = (segment.acknowledged, after);
                self.end(index, CloseReason::Finished);
            }
            Phase::Closed if slot.end.is_none() => {
                let reason = if segment.flags.has_rst() {
                    CloseReason::Reset
                } else {
                    CloseReason::Finished
                };
                self.end(index, reason);
            }
            _ => {}
        }
        self.follow(index, phase);
        self.mark_dirty(index);
    }

    /// Moves a connection on after a segment, by who answers for it.
    #[inline]
    fn follow(&mut self, index: u32, phase: Phase) {
        let slot = self.connections.slot(index);
        match (slot.role, phase) {
            (Role::Owned, _) => self.tell(index),
            (Role::HalfOpen(_), Phase::HalfOpen) => {}
            // RST, or (Closed, though smoltcp goes back to listening) anything else that ended it.
            (Role::HalfOpen(_), Phase::Listening | Phase::Closed) => self.lose_half_open(index),
            (Role::HalfOpen(listener), _) => {
                slot.role = Role::Waiting(listener);
                self.half_open -= 1;
                self.listeners[usize::from(listener)].enqueue(index);
                self.output.counters.connections_established += 1;
                self.output.counters.established_now += 1;
                self.add_event(index, Pending::INCOMING);
            }
            (Role::Released, _) if slot.end.is_none() && slot.socket.unread_bytes() > 0 => {
                // Nobody will read it (RFC 9293 §3.6.1, RFC 1122 §4.2.2.13).
                self.output.counters.linger_resets += 1;
                self.reset(index);
            }
            (Role::Waiting(_) | Role::Released | Role::Free, _) => {}
        }
    }

    /// Looks what the layer above is to be told of a connection that it owns.
    pub(crate) fn tell(&mut self, index: u32) {
        let slot = self.connections.slot(index);
        let unread = slot.socket.unread_bytes();
        let mut news = Pending::default();
        let has_finished = !slot.finish_told && slot.socket.peer_has_finished();
        if unread > slot.unread_seen || has_finished {
            news.add(Pending::READABLE);
            slot.finish_told |= has_finished;
        }
        slot.unread_seen = unread;
        if slot.wants_room && slot.end.is_none() && slot.socket.has_room() {
            slot.wants_room = false;
            news.add(Pending::WRITABLE);
        }
        if !news.is_empty() || !slot.pending.is_empty() {
            self.add_event(index, news);
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
