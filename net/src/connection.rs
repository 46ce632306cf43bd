//! The connections of one core: slots made at start-up and used again and again, and the ids by
//! which the layer above names them.

use crate::chunk::ChunkPool;
use crate::event::Pending;
use crate::flow::FlowKey;
use crate::tcp::{Lent, News, Seq, Tcb};
use alloc::vec::Vec;
use kernel::{CoreId, Instant};

/// A connection of one stack: an index into its table and the generation of that slot, so that a
/// stale id is refused and never reaches another connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnectionId {
    index: u32,
    generation: u32,
}

impl ConnectionId {
    /// Makes an id from its parts, for stand-ins of a stack in tests; a stack refuses ids that it
    /// did not give out.
    pub const fn new(index: u32, generation: u32) -> Self {
        ConnectionId { index, generation }
    }

    /// Returns the generation of the slot.
    #[inline]
    pub const fn generation(self) -> u32 {
        self.generation
    }

    /// Returns the slot, below [`StackConfig::connections`](crate::stack::StackConfig); dense, to
    /// index tables beside the stack's own.
    #[inline]
    pub fn index(self) -> usize {
        self.index as usize
    }
}

/// Who answers for a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Nobody: it is free.
    Free,
    /// A connection that comes from another core.
    Expected,
    /// The listener of this index; the handshake is not complete.
    HalfOpen(u8),
    /// The listener of this index; the connection waits to be accepted.
    Waiting(u8),
    /// The layer above, since `accept`.
    Owned,
    /// The stack, since `release`, until it is over.
    Released,
}

/// One slot.
pub(crate) struct Connection<P> {
    pub(crate) tcb: Tcb<P>,
    pub(crate) key: FlowKey,
    pub(crate) hash: u64,
    /// The station that the peer's last frame came from.
    pub(crate) peer: [u8; 6],
    pub(crate) role: Role,
    /// The core that it came from, which is told of its end; none for those that began here.
    pub(crate) origin: Option<CoreId>,
    /// The flow table leads here.
    pub(crate) attached: bool,
    /// In the stack's list of connections whose station is asked for; says nothing about who has
    /// the slot now.
    pub(crate) unresolved: bool,
    /// In the stack's list of connections to dispatch.
    pub(crate) dirty: bool,
    /// In the stack's queue of connections with events.
    pub(crate) queued: bool,
    pub(crate) pending: Pending,
    /// Its handshake is complete, and counted.
    pub(crate) is_established: bool,
    /// Its end has been counted.
    pub(crate) has_ended: bool,
    /// A `send` could not take everything.
    pub(crate) wants_room: bool,
    /// When it is reset if it is not over by then, and has not come further than `linger_mark`.
    pub(crate) linger: Option<Instant>,
    pub(crate) linger_mark: Seq,
    generation: u32,
}

impl<P: Lent> Connection<P> {
    fn new() -> Self {
        Connection {
            tcb: Tcb::new(),
            key: FlowKey::NONE,
            hash: 0,
            peer: NO_STATION,
            role: Role::Free,
            origin: None,
            attached: false,
            unresolved: false,
            dirty: false,
            queued: false,
            pending: Pending::default(),
            is_established: false,
            has_ended: false,
            wants_room: false,
            linger: None,
            linger_mark: Seq(0),
            generation: 0,
        }
    }

    /// Follows a segment that came from the station `sender`; returns whether the connection is to be
    /// put on the list of those to dispatch.
    #[inline(always)]
    pub(crate) fn follow(&mut self, news: News, sender: [u8; 6]) -> bool {
        // A segment that anybody may have made up says nothing about where the peer is.
        if !news.has(News::OUT_OF_PLACE) {
            self.peer = sender;
        }
        let is_new = self.tcb.wants_transmit() && !self.dirty;
        self.dirty |= is_new;
        is_new
    }
}

/// The slots.
pub(crate) struct Connections<P> {
    /// Made when they are first used: what is never used costs no memory that is touched.
    slots: Vec<Connection<P>>,
    count: usize,
    /// Slots that were used before.
    free: Vec<u32>,
}

/// The station of a connection that has none yet.
pub(crate) const NO_STATION: [u8; 6] = [0; 6];

impl<P: Lent> Connections<P> {
    /// Makes room for `count` slots.
    pub(crate) fn new(count: usize) -> Self {
        Connections {
            slots: Vec::with_capacity(count),
            count,
            free: Vec::with_capacity(count),
        }
    }

    /// Slots in use.
    pub(crate) fn in_use(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Slots that there can be.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Indices of all slots that were ever used.
    pub(crate) fn indices(&self) -> core::ops::Range<u32> {
        0..self.slots.len() as u32
    }

    /// Takes a free slot; the caller gives it a role and opens its connection.
    pub(crate) fn take(&mut self) -> Option<u32> {
        let index = match self.free.pop() {
            Some(index) => index,
            None if self.slots.len() < self.count => {
                self.slots.push(Connection::new());
                self.slots.len() as u32 - 1
            }
            None => return None,
        };
        let slot = self.slot(index);
        slot.pending = Pending::default();
        slot.is_established = false;
        slot.has_ended = false;
        slot.wants_room = false;
        slot.linger = None;
        Some(index)
    }

    /// Frees a slot that nobody answers for any more.
    pub(crate) fn free(&mut self, index: u32, pool: &mut ChunkPool) {
        let slot = self.slot(index);
        debug_assert!(slot.role != Role::Free && !slot.attached);
        slot.tcb.clear(pool);
        slot.role = Role::Free;
        slot.pending = Pending::default();
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(index);
    }

    /// Returns a slot by an index that this table gave out.
    #[inline]
    pub(crate) fn slot(&mut self, index: u32) -> &mut Connection<P> {
        &mut self.slots[index as usize]
    }

    /// Returns the flow of a slot by an index that this table gave out.
    #[inline]
    pub(crate) fn key(&self, index: u32) -> &FlowKey {
        &self.slots[index as usize].key
    }

    /// Returns the connection of an id and its index, `None` when the id is stale or was never
    /// given out.
    #[inline]
    pub(crate) fn owned(&mut self, id: ConnectionId) -> Option<(u32, &mut Connection<P>)> {
        let slot = self.slots.get_mut(id.index())?;
        (slot.generation == id.generation && slot.role == Role::Owned).then_some((id.index, slot))
    }

    /// Returns the id of a slot.
    #[inline]
    pub(crate) fn id(&self, index: u32) -> ConnectionId {
        ConnectionId {
            index,
            generation: self.slots[index as usize].generation,
        }
    }
}
