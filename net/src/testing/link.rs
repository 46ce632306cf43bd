//! A link in memory between a stack's queue pairs and one client, or another stack, in virtual time:
//! loss, duplication, reordering, delay and corruption from a seed, and a bottleneck, or none of
//! them.
//!
//! Frames live in buffers that are used again, so that a warm link allocates nothing.

use super::conditions::{Conditions, Rate, Shaper};
use super::memory_nic::MemoryNic;
use super::{CLIENT_MAC, STACK_MAC, pcap::Capture, random::Random, steering};
use crate::rss::Rss;
use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::time::Duration;
use kernel::Instant;

/// A link. Clones are the same link.
#[derive(Clone)]
pub struct Link(pub(super) Rc<RefCell<Wire>>);

pub(super) struct Wire {
    conditions: Conditions,
    /// Frames that arrive on a queue chosen by chance instead of by their flow, per mille.
    wandering: u64,
    /// Frames arrive at multiples of this time, as under a device that moderates its interrupts; zero
    /// for when they come.
    interval: Duration,
    /// How flows choose their queue; by their ports without it.
    rss: Option<Rss>,
    random: Random,
    now: Instant,
    /// By queue of the stack.
    to_stack: Vec<Lane>,
    to_client: Lane,
    /// To the stack, and to the client.
    shapers: [Shaper; 2],
    pub(super) spare: Vec<Vec<u8>>,
    capture: Option<Capture>,
}

#[derive(Default)]
struct Lane(VecDeque<(Instant, Vec<u8>)>);

/// Which end of the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
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
            interval: Duration::ZERO,
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

    /// Lets frames arrive together, every so often: what comes meanwhile waits.
    pub fn moderate(&self, interval: Duration) {
        self.0.borrow_mut().interval = interval;
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
        MemoryNic::new(self.clone(), end, mac)
    }

    /// Returns the client's end.
    pub fn client_port(&self) -> ClientPort {
        ClientPort(self.clone())
    }
}

impl Wire {
    pub(super) fn buffer(&mut self, frame: &[u8]) -> Vec<u8> {
        let mut buffer = self.spare.pop().unwrap_or_default();
        buffer.clear();
        buffer.extend_from_slice(frame);
        buffer
    }

    /// Puts a frame on the way, or does not.
    pub(super) fn carry(&mut self, frame: Vec<u8>, to_stack: bool) {
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
        let arrival = self.moderated(passed + delay);
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

    /// Returns the moment at which the device tells of what arrives at `arrival`.
    fn moderated(&self, arrival: Instant) -> Instant {
        let interval_ns = self.interval.as_nanos() as u64;
        match interval_ns {
            0 => arrival,
            _ => {
                let ns = arrival.as_nanos().next_multiple_of(interval_ns);
                Instant::ZERO + Duration::from_nanos(ns)
            }
        }
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

    pub(super) fn has_arrived(&mut self, end: End) -> bool {
        let now = self.now;
        let first = self.lane(end).0.front();
        first.is_some_and(|(arrival, _)| *arrival <= now)
    }

    /// Returns the next frame that has arrived, where it waits.
    pub(super) fn arrived(&mut self, end: End) -> Option<&Vec<u8>> {
        match self.has_arrived(end) {
            true => self.lane(end).0.front().map(|(_, frame)| frame),
            false => None,
        }
    }

    pub(super) fn arrive(&mut self, end: End) -> Option<Vec<u8>> {
        if !self.has_arrived(end) {
            return None;
        }
        self.lane(end).0.pop_front().map(|(_, frame)| frame)
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
