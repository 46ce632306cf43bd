//! The connections of one core: slots made at start-up and used again and again, and the ids by
//! which the layer above names them.

use crate::event::{CloseReason, Pending};
use crate::flow::FlowKey;
use crate::limits::{ACK_DELAY, CHECK_AFTER_SEND};
use crate::tcp::{Phase, Socket};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::Ipv4Addr;
use core::time::Duration;
use kernel::{Instant, uncleared};

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

    /// Returns the slot, below [`StackConfig::connections`](crate::stack::StackConfig); dense, to
    /// index tables beside the stack's own.
    pub fn index(self) -> usize {
        self.index as usize
    }
}

/// Who answers for a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Nobody: it is free.
    Free,
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
pub(crate) struct Connection {
    pub(crate) socket: Socket,
    pub(crate) key: FlowKey,
    pub(crate) hash: u64,
    /// The station that the peer's last frame came from.
    pub(crate) peer: [u8; 6],
    pub(crate) role: Role,
    /// The flow table leads here.
    pub(crate) attached: bool,
    /// In the stack's list of connections to dispatch.
    pub(crate) dirty: bool,
    /// In the stack's queue of connections with events.
    pub(crate) queued: bool,
    pub(crate) pending: Pending,
    /// Why it is over, once it is.
    pub(crate) end: Option<CloseReason>,
    /// A `send` could not take everything.
    pub(crate) wants_room: bool,
    /// The peer's FIN has been told.
    pub(crate) finish_told: bool,
    /// Unread bytes at the last event or `receive`.
    pub(crate) unread_seen: usize,
    /// The sequence number after everything that was given to the socket to send, FIN included.
    pub(crate) sequence_end: u32,
    /// Something came that an acknowledgement may still be owed for.
    pub(crate) owes_ack: bool,
    /// When to ask smoltcp for its deadline, or that deadline.
    pub(crate) deadline: Option<Instant>,
    /// The deadline has passed.
    pub(crate) is_due: bool,
    /// When it is reset if it is not over by then.
    pub(crate) linger: Option<Instant>,
    /// Our next sequence number and the peer's, from the segment that led into TIME_WAIT.
    pub(crate) final_sequences: (u32, u32),
    generation: u32,
}

impl Connection {
    /// Finishes sending, unless it has been finished.
    pub(crate) fn close(&mut self) {
        if self.socket.phase() == Phase::Open {
            self.sequence_end = self.sequence_end.wrapping_add(1);
        }
        self.socket.close();
    }

    /// How long smoltcp's own deadline need not be asked for after a dispatch. It is only asked
    /// for when it can have passed: to ask costs as much as half a segment.
    pub(crate) fn check_after(&self, has_sent: bool) -> Option<Duration> {
        if has_sent {
            Some(CHECK_AFTER_SEND)
        } else if self.owes_ack {
            Some(ACK_DELAY)
        } else {
            let is_idle = self.socket.phase() == Phase::Open && self.deadline.is_none();
            let waits = !is_idle || self.socket.unacknowledged_bytes() > 0;
            waits.then_some(CHECK_AFTER_SEND)
        }
    }
}

/// The slots.
pub(crate) struct Connections {
    slots: Box<[Connection]>,
    free: Vec<u32>,
}

const NO_FLOW: FlowKey = FlowKey {
    remote: Ipv4Addr::UNSPECIFIED,
    local: Ipv4Addr::UNSPECIFIED,
    remote_port: 0,
    local_port: 0,
};

impl Connections {
    /// Makes `count` slots with buffers of these sizes, whose memory is theirs for ever and is
    /// not touched before it is used.
    pub(crate) fn new(count: usize, rx_buffer_bytes: usize, tx_buffer_bytes: usize) -> Self {
        let buffers = |bytes: usize| uncleared(count * bytes.max(1)).chunks_exact_mut(bytes.max(1));
        let slot = |(rx_buffer, tx_buffer)| Connection {
            socket: Socket::new(rx_buffer, tx_buffer),
            key: NO_FLOW,
            hash: 0,
            peer: [0; 6],
            role: Role::Free,
            attached: false,
            dirty: false,
            queued: false,
            pending: Pending::default(),
            end: None,
            wants_room: false,
            finish_told: false,
            unread_seen: 0,
            sequence_end: 0,
            owes_ack: false,
            deadline: None,
            is_due: false,
            linger: None,
            final_sequences: (0, 0),
            generation: 0,
        };
        Connections {
            slots: buffers(rx_buffer_bytes)
                .zip(buffers(tx_buffer_bytes))
                .map(slot)
                .collect(),
            // The lowest index is taken first.
            free: (0..count as u32).rev().collect(),
        }
    }

    /// Slots in use.
    pub(crate) fn in_use(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Indices of all slots.
    pub(crate) fn indices(&self) -> core::ops::Range<u32> {
        0..self.slots.len() as u32
    }

    /// Takes a free slot; the caller gives it a role.
    pub(crate) fn take(&mut self) -> Option<u32> {
        let index = self.free.pop()?;
        let slot = self.slot(index);
        slot.pending = Pending::default();
        slot.end = None;
        slot.wants_room = false;
        slot.finish_told = false;
        slot.unread_seen = 0;
        slot.owes_ack = false;
        slot.deadline = None;
        slot.is_due = false;
        slot.linger = None;
        Some(index)
    }

    /// Frees a slot that nobody answers for any more.
    pub(crate) fn free(&mut self, index: u32) {
        let slot = self.slot(index);
        debug_assert!(slot.role != Role::Free && !slot.attached);
        slot.role = Role::Free;
        slot.pending = Pending::default();
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(index);
    }

    /// Returns a slot by an index that this table gave out.
    #[inline]
    pub(crate) fn slot(&mut self, index: u32) -> &mut Connection {
        &mut self.slots[index as usize]
    }

    /// Returns the connection of an id and its index, `None` when the id is stale or was never
    /// given out.
    #[inline]
    pub(crate) fn owned(&mut self, id: ConnectionId) -> Option<(u32, &mut Connection)> {
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
