//! What crosses cores beside frames: connections that move, and word of their ends.
//!
//! Each goes as a parcel among the frames, so that it comes in its place between them: what is known
//! of a connection before the segments that follow it, and its end before segments that find nobody.
//! The parcel's box has the bytes that nobody has read; the rest, as plain values, takes a place of a
//! ring beside the parcels', which has fewer: whoever gives looks for room first.
//!
//! Upstream: [`stealing`](crate::stealing) on one core. Downstream: the same on another.

use crate::fabric::{FabricPort, Lane, Parcel, ParcelKind};
use crate::flow::FlowKey;
use crate::tcp::Carried;
use crate::time_wait::Remains;
use kernel::CoreId;

/// What moves.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Move {
    /// A connection that waits to be accepted.
    Connection(Waiting),
    /// A connection that was moved is over; what is left of it if it is in TIME-WAIT.
    End {
        key: FlowKey,
        hash: u64,
        remains: Option<Remains>,
    },
}

/// A connection that waits to be accepted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waiting {
    pub(crate) key: FlowKey,
    pub(crate) hash: u64,
    /// The station that the peer's last frame came from.
    pub(crate) peer: [u8; 6],
    pub(crate) carried: Carried,
}

impl FabricPort {
    /// Returns whether something can move to a core now.
    pub(crate) fn can_move(&mut self, to: CoreId) -> bool {
        let lane = self.lanes.get_mut(to.index()).and_then(Option::as_mut);
        lane.is_some_and(|lane| lane.has_spare() && lane.moves_out.has_room())
    }

    /// Moves something to a core: `fill` gets the bytes of a frame for what is unread, and returns
    /// how many it used. Returns `false` without a call when there is no room, which
    /// [`can_move`](Self::can_move) tells.
    pub(crate) fn move_to(
        &mut self,
        to: CoreId,
        fill: impl FnOnce(&mut [u8]) -> (Move, usize),
    ) -> bool {
        if !self.can_move(to) {
            return false;
        }
        let lane = self.lanes.get_mut(to.index()).and_then(Option::as_mut);
        let Some((lane, mut frame)) =
            lane.and_then(|lane| lane.take_spare().map(|box_| (lane, box_)))
        else {
            return false;
        };
        let (moved, bytes) = fill(&mut frame);
        // There is room, as just seen; and it is there when the parcel is.
        let pushed = lane.moves_out.push(moved);
        debug_assert!(pushed.is_ok());
        let kind = ParcelKind::Move;
        lane.put(Parcel { kind, bytes, frame });
        self.woken.insert(to);
        true
    }

    /// Takes what the parcel that was just taken has told of.
    pub(crate) fn take_move(&mut self, from: CoreId) -> Option<Move> {
        let lane: &mut Lane = self.lanes.get_mut(from.index())?.as_mut()?;
        lane.moves_in.pop()
    }
}
