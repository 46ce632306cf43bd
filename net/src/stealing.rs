//! Moving load between the listeners of a port: an idle core takes whole connections that wait in
//! another core's accept queue. Established ones, which an application has, never move; and nothing
//! does unless both listeners are told to.
//!
//! An idle core reserves what a connection takes and [bids](crate::bids) for some. A core whose
//! application does not ask for what waits gives the oldest, one for each bid: it sends the connection
//! over the [fabric](crate::moves), keeps its flow as *moved*, and passes segments of it on. So every
//! other core finds the connection where it always would; the one that has it says when it is over,
//! with its TIME-WAIT, which stays with the flow's owner. What crosses between two cores comes in the
//! order in which it was sent, and a frame never overtakes the end of a connection: so no segment
//! finds nobody, or goes to and fro.
//!
//! This file is the idle core's side; the other's is [`backlog`](crate::backlog). Upstream: `megapipe`,
//! which says when a core is idle. Downstream: this core's accept queue.
//! Invariant: a bid that was not withdrawn in time has its places reserved until its connections come.

use crate::chunk::Chunk;
use crate::connection::Role;
use crate::demux::Flags;
use crate::event::Pending;
use crate::flow::FlowKey;
use crate::limits::{
    BID_CONNECTIONS, EXPECTED_CONNECTIONS, HANDOVER_FRAME_BYTES, LISTENERS, MOVED_CONNECTIONS,
};
use crate::listener::{ListenError, ListenerId};
use crate::moved_flows::MovedFlows;
use crate::moves::{Move, Waiting};
use crate::nic::Nic;
use crate::stack::Stack;
use crate::tcp::{Departure, Lent, Opening};
use crate::time_wait::Remains;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use kernel::{CoreId, CoreMask, Instant};

/// One core's part.
pub(crate) struct Stealing {
    /// Some listener steals.
    pub(crate) is_on: bool,
    /// A bid of ours may be out.
    pub(crate) has_bids: bool,
    expected: Vec<Expected>,
    /// Connections of other cores, until their ends are told.
    foreign: usize,
    /// Ends to be told, because there was no room.
    ends: VecDeque<(CoreId, Move)>,
    /// Flows of this core that another has, by its number.
    pub(crate) moved: MovedFlows,
    /// Bytes that fit into one chunk, and so may move with a connection.
    pub(crate) unread_max: usize,
}

/// What is reserved for a connection that was bid for.
struct Expected {
    listener: ListenerId,
    slot: u32,
    chunk: Box<Chunk>,
}

impl Stealing {
    /// Takes memory for what may move between `cores` cores.
    pub(crate) fn new(cores: usize, chunk_bytes: usize) -> Self {
        let count = |limit| if cores > 1 { limit } else { 0 };
        Stealing {
            is_on: false,
            has_bids: false,
            expected: Vec::with_capacity(count(EXPECTED_CONNECTIONS)),
            foreign: 0,
            ends: VecDeque::with_capacity(count(MOVED_CONNECTIONS)),
            moved: MovedFlows::new(count(MOVED_CONNECTIONS)),
            unread_max: chunk_bytes.min(HANDOVER_FRAME_BYTES),
        }
    }

    /// Returns the core that has a flow of this one.
    #[inline]
    pub(crate) fn whereabouts(&self, hash: u64, key: &FlowKey) -> Option<CoreId> {
        if self.moved.is_empty() {
            return None;
        }
        self.moved.find(hash, key)
    }

    /// Yields the flows of this core that others have.
    pub(crate) fn moved_keys(&self) -> impl Iterator<Item = &FlowKey> {
        self.moved.keys()
    }

    /// Returns whether another core is still to be told of an end.
    pub(crate) fn owes_ends(&self) -> bool {
        !self.ends.is_empty()
    }
}

/// What the layer above asks.
impl<N: Nic, P: Lent> Stack<N, P> {
    /// Lets connections that wait for this listener be taken by idle cores, and this core
    /// [bid](Self::bid) for theirs; or ends that.
    ///
    /// # Errors
    /// [`ListenError::Unknown`].
    pub fn set_stealing(&mut self, listener: ListenerId, is_on: bool) -> Result<(), ListenError> {
        let (index, entry) = self.listeners.get(listener).ok_or(ListenError::Unknown)?;
        entry.steals = is_on;
        if !is_on {
            self.stop_stealing(index);
        }
        self.stealing.is_on = self.listeners.some_steals();
        Ok(())
    }

    /// Bids for connections that wait for other cores' listeners of the same port, if this one
    /// [steals](Self::set_stealing) and has none waiting: to be called when this core is idle. Frames
    /// that come end the bid, which is for `most` connections at most. Returns the cores that have such connections, and are to be woken.
    pub fn bid(&mut self, listener: ListenerId, most: u32) -> CoreMask {
        let Some((index, entry)) = self.listeners.get(listener) else {
            return CoreMask::EMPTY;
        };
        let (port, is_able) = (entry.port, entry.steals && !entry.mask.is_empty());
        if !is_able || entry.waiting() > 0 || self.output.port.cores().len() == 1 {
            return CoreMask::EMPTY;
        }
        self.withdraw_bid(index);
        let mut count = 0;
        while count < BID_CONNECTIONS && u32::from(count) < most && self.expect(listener, index) {
            count += 1;
        }
        let fabric = &self.output.port;
        let Some(bids) = fabric.ports().bids(port).filter(|_| count > 0) else {
            return CoreMask::EMPTY;
        };
        self.listeners.at(index).has_bid = true;
        self.stealing.has_bids = true;
        bids.place(fabric.core(), count)
    }
}

/// The core that bids.
impl<N: Nic, P: Lent> Stack<N, P> {
    /// Reserves what a connection takes.
    fn expect(&mut self, listener: ListenerId, index: u8) -> bool {
        let Stealing {
            expected, foreign, ..
        } = &self.stealing;
        let has_room = expected.len() < EXPECTED_CONNECTIONS
            && expected.len() + foreign < MOVED_CONNECTIONS
            && self.listeners.has_room(index)
            && !self.chunks.is_low();
        if !has_room {
            return false;
        }
        let Some(slot) = self.connections.take() else {
            return false;
        };
        let slot_role = &mut self.connections.slot(slot).role;
        *slot_role = Role::Expected;
        let Some(chunk) = self.chunks.take() else {
            self.connections.free(slot, &mut self.chunks);
            return false;
        };
        self.listeners.begin(index);
        self.stealing.expected.push(Expected {
            listener,
            slot,
            chunk,
        });
        true
    }

    /// Gives a reservation up.
    fn give_up(&mut self, expected: Expected) {
        if let Some((index, _)) = self.listeners.get(expected.listener) {
            self.listeners.lose(index);
        }
        self.chunks.give_back(expected.chunk);
        self.connections.free(expected.slot, &mut self.chunks);
    }

    /// Withdraws all bids: this core has something to do.
    #[cold]
    pub(crate) fn withdraw_bids(&mut self) {
        for index in 0..LISTENERS as u8 {
            self.withdraw_bid(index);
        }
        self.stealing.has_bids = false;
    }

    /// Withdraws what nobody has taken of a listener's bid.
    fn withdraw_bid(&mut self, index: u8) {
        let entry = self.listeners.at(index);
        if !core::mem::replace(&mut entry.has_bid, false) {
            return;
        }
        let fabric = &self.output.port;
        let bids = fabric.ports().bids(entry.port);
        let left = bids.map_or(0, |bids| bids.withdraw(fabric.core()));
        let listener = self.listeners.id(index);
        for _ in 0..left {
            let mut places = self.stealing.expected.iter();
            if let Some(place) = places.position(|expected| expected.listener == listener) {
                let expected = self.stealing.expected.swap_remove(place);
                self.give_up(expected);
            }
        }
    }

    /// Ends a listener's part; connections that are on their way still come.
    pub(crate) fn stop_stealing(&mut self, index: u8) {
        self.withdraw_bid(index);
        let fabric = &self.output.port;
        let entry = self.listeners.at(index);
        if core::mem::replace(&mut entry.has_told_backlog, false)
            && let Some(bids) = fabric.ports().bids(entry.port)
        {
            bids.tell_backlog(fabric.core(), false);
        }
    }

    /// Takes in what another core has moved to this one.
    pub(crate) fn process_move(&mut self, from: CoreId, unread: &[u8], now: Instant) {
        match self.output.port.take_move(from) {
            Some(Move::Connection(waiting)) => self.take_in(from, &waiting, unread, now),
            Some(Move::End { key, hash, remains }) => {
                self.stealing.moved.remove(hash, &key);
                if let Some(remains) = remains {
                    self.enter_time_wait(remains, now);
                }
            }
            None => debug_assert!(false, "a parcel without its move"),
        }
    }

    /// Puts a connection of another core into the accept queue.
    fn take_in(&mut self, from: CoreId, waiting: &Waiting, unread: &[u8], now: Instant) {
        let port = waiting.key.local_port;
        let listener = self.listeners.at_port(port).map(|at| self.listeners.id(at));
        let expected = &mut self.stealing.expected;
        let is_its = |expected: &Expected| Some(expected.listener) == listener;
        let place = expected.iter().position(is_its);
        // Of a listener that is gone, if not of this one: each bid has one.
        let expected = (!expected.is_empty()).then(|| expected.swap_remove(place.unwrap_or(0)));
        self.stealing.foreign += 1;
        let Some(expected) = expected else {
            debug_assert!(false, "nobody has bid");
            return self.turn_away(from, waiting);
        };
        let index = listener.and_then(|listener| self.listeners.get(listener));
        let index = index.filter(|_| place.is_some()).map(|(index, _)| index);
        let is_ours = self.station.has(waiting.key.addresses.local());
        let Some(index) = index.filter(|_| is_ours) else {
            self.give_up(expected);
            return self.turn_away(from, waiting);
        };
        let opening = Opening {
            sequence: 0,
            timestamp_offset: 0,
            mss_bytes: self.first_mss_bytes(&waiting.key, now),
            window_bytes: self.window_bytes,
            keep_alive_s: self.keep_alive_s,
            now,
        };
        // There when the bytes are put into one.
        self.chunks.give_back(expected.chunk);
        let slot = self.connections.slot(expected.slot);
        let carried = &waiting.carried;
        if !slot
            .tcb
            .carry_in(carried, &opening, unread, &mut self.chunks)
        {
            self.listeners.lose(index);
            self.connections.free(expected.slot, &mut self.chunks);
            return self.turn_away(from, waiting);
        }
        slot.key = waiting.key;
        slot.hash = waiting.hash;
        slot.peer = waiting.peer;
        slot.role = Role::Waiting(index);
        slot.origin = Some(from);
        slot.is_established = true;
        slot.has_ended = false;
        slot.attached = self.flows.insert(waiting.hash, expected.slot);
        self.output.counters.connections_taken += 1;
        self.output.counters.established_now += 1;
        self.listeners.enqueue(index, expected.slot);
        self.add_event(expected.slot, Pending::INCOMING);
        self.mark_dirty(expected.slot);
    }

    /// Resets a connection for which there is no listener any more.
    fn turn_away(&mut self, from: CoreId, waiting: &Waiting) {
        self.output.counters.listener_resets += 1;
        let reset = Departure::bare(Flags::RST, waiting.carried.next_to_send(), 0);
        self.output
            .transmit_segment(&waiting.key, waiting.peer, &reset, &[], |_| {});
        self.tell_end(from, waiting.key, waiting.hash, None);
    }

    /// Tells the core that a connection came from, if it is another, that it is over.
    pub(crate) fn end_foreign(&mut self, index: u32, remains: Option<Remains>) {
        let slot = self.connections.slot(index);
        if let Some(origin) = slot.origin.take() {
            let (key, hash) = (slot.key, slot.hash);
            self.tell_end(origin, key, hash, remains);
        }
    }

    fn tell_end(&mut self, to: CoreId, key: FlowKey, hash: u64, remains: Option<Remains>) {
        let end = Move::End { key, hash, remains };
        self.stealing.ends.push_back((to, end));
        self.tell_ends();
    }

    /// Tells other cores of the ends that they do not know of, as far as there is room.
    pub(crate) fn tell_ends(&mut self) {
        let Stealing { ends, foreign, .. } = &mut self.stealing;
        for _ in 0..ends.len() {
            let Some((to, end)) = ends.pop_front() else {
                return;
            };
            if self.output.port.move_to(to, |_| (end, 0)) {
                *foreign -= 1;
            } else {
                ends.push_back((to, end));
            }
        }
    }

    /// Whether a frame may go to this core: not before the ends that it is to know of.
    pub(crate) fn has_told_ends(&mut self, to: CoreId) -> bool {
        if self.stealing.ends.is_empty() {
            return true;
        }
        self.tell_ends();
        self.stealing.ends.iter().all(|(core, _)| *core != to)
    }
}
