//! A link in memory between a stack's queue pairs and one client, or another stack, in virtual time:
//! loss, duplication, reordering, delay and corruption from a seed, and a bottleneck, or none of
//! them.
//!
//! Frames live in buffers that are used again, so that a warm link allocates nothing.

use super::conditions::{Conditions, Rate, Shaper};
use super::{CLIENT_MAC, STACK_MAC, offload, pcap::Capture, random::Random, steering};
use crate::limits::{HEAD_MAX_BYTES, TAIL_PIECES};
use crate::nic::{Nic, NicCounters, NicInfo, RxMeta, TxMeta};
use crate::rss::Rss;
use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::time::Duration;
use kernel::Instant;

/// A link. Clones are the same link.
#[derive(Clone)]
pub struct Link(Rc<RefCell<Wire>>);

struct Wire {
    conditions: Conditions,
    /// Frames that arrive on a queue chosen by chance instead of by their flow, per mille.
    wandering: u64,
    /// How flows choose their queue; by their ports without it.
    rss: Option<Rss>,
    random: Random,
    now: Instant,
    /// By queue of the stack.
    to_stack: Vec<Lane>,
    to_client: Lane,
    /// To the stack, and to the client.
    shapers: [Shaper; 2],
    spare: Vec<Vec<u8>>,
    capture: Option<Capture>,
}

#[derive(Default)]
struct Lane(VecDeque<(Instant, Vec<u8>)>);

/// Which end of the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Stack { queue: usize },
    Client,
}

impl Default for Link {
    fn default() -> Self {
        Link::new()
    }
}

impl Link {
    /// Makes a perfect link to one queue.
    pub fn new() -> Self {
        Link::with(Conditions::PERFECT, 0, 1)
    }

    /// Makes a link with these conditions to `queues` queues of the stack. Frames of a TCP flow go
    /// to the queue that its ports choose, all others to the first.
    pub fn with(conditions: Conditions, seed: u64, queues: usize) -> Self {
        Link(Rc::new(RefCell::new(Wire {
            conditions,
            wandering: 0,
            rss: None,
            random: Random::new(seed),
            now: Instant::ZERO,
            to_stack: (0..queues).map(|_| Lane::default()).collect(),
            to_client: Lane::default(),
            shapers: Default::default(),
            spare: Vec::new(),
            capture: None,
        })))
    }

    /// Keeps every frame, and writes them as `sluice-NAME.pcap` into the directory for temporary
    /// files if the thread panics.
    pub fn capture(&self, name: &str) {
        self.0.borrow_mut().capture = Some(Capture::new(name));
    }

    /// Lets so many frames, per mille, arrive on a queue chosen by chance instead of by their flow.
    pub fn let_wander(&self, wandering: u64) {
        self.0.borrow_mut().wandering = wandering;
    }

    /// Lets flows arrive where receive-side scaling brings them.
    pub fn scale(&self, rss: Rss) {
        self.0.borrow_mut().rss = Some(rss);
    }

    /// Changes the conditions.
    pub fn set_conditions(&self, conditions: Conditions) {
        self.0.borrow_mut().conditions = conditions;
    }

    /// Puts a bottleneck into the link, each way.
    pub fn set_rate(&self, rate: Rate) {
        for shaper in &mut self.0.borrow_mut().shapers {
            shaper.set(rate);
        }
    }

    /// Moves time on: frames whose delay is over can be received.
    pub fn set_now(&self, now: Instant) {
        self.0.borrow_mut().now = now;
    }

    /// Returns when the next frame arrives anywhere; it may be past.
    pub fn next_arrival(&self) -> Option<Instant> {
        let wire = self.0.borrow();
        let lanes = wire.to_stack.iter().chain([&wire.to_client]);
        lanes.filter_map(|lane| Some(lane.0.front()?.0)).min()
    }

    /// Returns a queue pair of the stack.
    pub fn nic(&self, queue: usize) -> MemoryNic {
        self.nic_at(End::Stack { queue }, STACK_MAC)
    }

    /// Returns a queue pair for a stack in the client's place.
    pub fn client_nic(&self) -> MemoryNic {
        self.nic_at(End::Client, CLIENT_MAC)
    }

    fn nic_at(&self, end: End, mac: [u8; 6]) -> MemoryNic {
        MemoryNic {
            link: self.clone(),
            end,
            info: NicInfo::plain(mac, 1500),
            transmit_frames: 256,
            queued: VecDeque::new(),
            counters: NicCounters::default(),
            rx_checksum_valid: false,
            is_armed: false,
        }
    }

    /// Returns the client's end.
    pub fn client_port(&self) -> ClientPort {
        ClientPort(self.clone())
    }
}

impl Wire {
    fn buffer(&mut self, frame: &[u8]) -> Vec<u8> {
        let mut buffer = self.spare.pop().unwrap_or_default();
        buffer.clear();
        buffer.extend_from_slice(frame);
        buffer
    }

    /// Puts a frame on the way, or does not.
    fn carry(&mut self, frame: Vec<u8>, to_stack: bool) {
        let now = self.now;
        if let Some(capture) = &mut self.capture {
            capture.add(now, &frame);
        }
        let conditions = self.conditions;
        if self.random.chance(conditions.loss) {
            self.spare.push(frame);
            return;
        }
        if self.random.chance(conditions.duplication) {
            let copy = self.buffer(&frame);
            self.deliver(copy, to_stack);
        }
        self.deliver(frame, to_stack);
    }

    fn deliver(&mut self, mut frame: Vec<u8>, to_stack: bool) {
        let conditions = self.conditions;
        let mut delay = conditions.delay;
        if self.random.chance(conditions.reordering) {
            let span = 3 * conditions.delay.as_micros() as u64 + 1;
            delay += Duration::from_micros(self.random.below(span));
        }
        // ARP has no checksum: Ethernet's would catch that.
        let is_arp = frame.get(12..14) == Some(&[8, 6]);
        if self.random.chance(conditions.corruption) && !is_arp {
            let bits = 8 * (frame.len() as u64).saturating_sub(14).max(1);
            let bit = self.random.below(bits) as usize;
            if let Some(byte) = frame.get_mut(14 + bit / 8) {
                *byte ^= 1 << (bit % 8);
            }
        }
        let Some(passed) = self.shapers[usize::from(!to_stack)].pass(frame.len(), self.now) else {
            return self.spare.push(frame);
        };
        let arrival = passed + delay;
        let lane = if to_stack {
            let queue = self.queue(&frame);
            &mut self.to_stack[queue]
        } else {
            &mut self.to_client
        };
        let before = lane.0.iter().rposition(|(other, _)| *other <= arrival);
        let place = before.map_or(0, |before| before + 1);
        lane.0.insert(place, (arrival, frame));
    }

    /// Chooses the queue that a frame arrives on.
    fn queue(&mut self, frame: &[u8]) -> usize {
        let queues = self.to_stack.len();
        match self.wandering > 0 && self.random.chance(self.wandering) {
            true => self.random.below(queues as u64) as usize,
            false => steering::queue(frame, queues, self.rss.as_ref()),
        }
    }

    fn lane(&mut self, end: End) -> &mut Lane {
        match end {
            End::Stack { queue } => &mut self.to_stack[queue],
            End::Client => &mut self.to_client,
        }
    }

    fn has_arrived(&mut self, end: End) -> bool {
        let now = self.now;
        let first = self.lane(end).0.front();
        first.is_some_and(|(arrival, _)| *arrival <= now)
    }

    fn arrive(&mut self, end: End) -> Option<Vec<u8>> {
        if !self.has_arrived(end) {
            return None;
        }
        self.lane(end).0.pop_front().map(|(_, frame)| frame)
    }
}

/// A queue pair of the stack on a [`Link`].
pub struct MemoryNic {
    link: Link,
    end: End,
    info: NicInfo,
    transmit_frames: usize,
    /// Transmitted and not yet flushed.
    queued: VecDeque<(Vec<u8>, TxMeta)>,
    counters: NicCounters,
    rx_checksum_valid: bool,
    is_armed: bool,
}

impl MemoryNic {
    /// Has the device complete checksums, and cut segments up to `tso_max_bytes` (0 for none).
    pub fn with_offloads(mut self, tso_max_bytes: u32) -> Self {
        self.info.tx_checksum = true;
        self.info.tail_pieces = TAIL_PIECES;
        self.info.tso4_max_bytes = tso_max_bytes;
        self.info.tso6_max_bytes = tso_max_bytes;
        self
    }

    /// Has the device say of every frame that its checksum is good.
    pub fn with_valid_checksums(mut self) -> Self {
        self.rx_checksum_valid = true;
        self
    }

    /// Gives the transmit queue room for this many frames between two flushes.
    pub fn with_transmit_frames(mut self, frames: usize) -> Self {
        self.transmit_frames = frames;
        self
    }

    /// Gives the device another packet size, in bytes.
    pub fn with_mtu(mut self, mtu: u16) -> Self {
        self.info.mtu = mtu;
        self
    }

    /// Whether the stack has asked for an interrupt.
    pub fn is_armed(&self) -> bool {
        self.is_armed
    }
}

impl Nic for MemoryNic {
    type Frame = Vec<u8>;

    fn info(&self) -> NicInfo {
        self.info
    }

    fn receive(&mut self) -> Option<(Vec<u8>, RxMeta)> {
        let frame = self.link.0.borrow_mut().arrive(self.end)?;
        self.counters.rx_frames += 1;
        self.counters.rx_bytes += frame.len() as u64;
        let meta = RxMeta {
            checksum_valid: self.rx_checksum_valid,
        };
        Some((frame, meta))
    }

    fn recycle(&mut self, frame: Vec<u8>) {
        self.link.0.borrow_mut().spare.push(frame);
    }

    fn can_transmit(&mut self) -> bool {
        self.queued.len() < self.transmit_frames
    }

    fn transmit<R, F>(&mut self, len: usize, tail: &[&'static [u8]], fill: F) -> Result<R, F>
    where
        F: FnOnce(&mut [u8]) -> (R, TxMeta),
    {
        let largest = (usize::from(self.info.mtu) + 14).max(self.info.tso4_max_bytes as usize);
        let tail_bytes: usize = tail.iter().map(|piece| piece.len()).sum();
        if !self.can_transmit()
            || len + tail_bytes > largest
            || tail.len() > self.info.tail_pieces
            || (tail_bytes > 0 && len > HEAD_MAX_BYTES)
        {
            return Err(fill);
        }
        let mut frame = self.link.0.borrow_mut().spare.pop().unwrap_or_default();
        // Stale bytes, as in a ring: what the stack does not write is seen.
        frame.resize(len, 0xa5);
        let (result, meta) = fill(&mut frame);
        tail.iter().for_each(|piece| frame.extend_from_slice(piece));
        self.queued.push_back((frame, meta));
        Ok(result)
    }

    fn flush(&mut self) {
        if self.queued.is_empty() {
            return;
        }
        self.counters.doorbells += 1;
        let to_stack = self.end == End::Client;
        let wire = &mut *self.link.0.borrow_mut();
        while let Some((frame, meta)) = self.queued.pop_front() {
            self.counters.tx_frames += 1;
            self.counters.tx_bytes += frame.len() as u64;
            offload::finish(frame, meta, usize::from(self.info.mtu), |frame| {
                wire.carry(frame, to_stack);
            });
        }
    }

    fn arm(&mut self) -> bool {
        self.is_armed = true;
        self.link.0.borrow_mut().has_arrived(self.end)
    }

    fn disarm(&mut self) {
        self.is_armed = false;
    }

    fn counters(&self) -> NicCounters {
        self.counters
    }
}

/// The client's end of a [`Link`].
pub struct ClientPort(Link);

impl ClientPort {
    pub(super) fn link(&self) -> Link {
        self.0.clone()
    }

    /// Sends a frame to the stack.
    pub fn send(&self, frame: &[u8]) {
        let wire = &mut *self.0.0.borrow_mut();
        let buffer = wire.buffer(frame);
        wire.carry(buffer, true);
    }

    /// Takes the next frame that has arrived.
    pub fn receive(&self) -> Option<Vec<u8>> {
        self.0.0.borrow_mut().arrive(End::Client)
    }

    /// Gives a frame's memory back to the link.
    pub fn recycle(&self, frame: Vec<u8>) {
        self.0.0.borrow_mut().spare.push(frame);
    }

    /// Takes a buffer of `bytes` bytes, to be sent with [`send_buffer`](Self::send_buffer).
    pub fn take_buffer(&self, bytes: usize) -> Vec<u8> {
        let mut buffer = self.0.0.borrow_mut().spare.pop().unwrap_or_default();
        buffer.resize(bytes, 0);
        buffer
    }

    /// Sends a buffer as a frame.
    pub fn send_buffer(&self, buffer: Vec<u8>) {
        self.0.0.borrow_mut().carry(buffer, true);
    }
}
