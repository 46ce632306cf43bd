//! An open connection on its way from one core to another: what its control block holds, as plain
//! numbers, while this side has sent nothing on it yet.
//!
//! Upstream: a connection that waits to be accepted. Downstream: the same one on another core, whose
//! clock is the same. Not carried is what begins anew without harm: the congestion window, and the
//! timers, which nothing runs on while nothing is in flight.

use super::control::{AckOwed, State, Tcb, Timestamps};
use super::cubic::Cubic;
use super::handshake::Opening;
use super::rtt::Rtt;
use super::send_queue::Lent;
use super::seq::Seq;
use crate::chunk::ChunkPool;

/// A connection as numbers; what it has received and nobody has read goes beside it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Carried {
    una: Seq,
    window: u32,
    window_max: u32,
    window_seq: Seq,
    window_shift: u8,
    mss: u32,
    rcv_nxt: Seq,
    rcv_edge: Seq,
    rcv_shift: u8,
    ack_sent: Seq,
    owes_ack: bool,
    /// The peer's last timestamp, and the offset of ours.
    timestamps: Option<(u32, u32)>,
    has_sack: bool,
    rtt: Rtt,
}

impl Carried {
    /// Returns the number of the next byte of ours, as a RST would have it.
    pub(crate) fn next_to_send(&self) -> u32 {
        self.una.0
    }
}

impl<P: Lent> Tcb<P> {
    /// Whether the connection is one that can be carried, with what is unread: it is open on both
    /// sides, nothing was sent on it, and nothing is missing of what was received.
    pub(crate) fn can_be_carried(&self, unread_max: usize) -> bool {
        self.state == State::Established
            && self.send.len() == 0
            && (self.una, self.una) == (self.nxt, self.max)
            && self.finish_at.is_none()
            && !self.receive.has_gap()
            && self.receive.unread() <= unread_max
    }

    /// Returns the connection as numbers, moves what is unread into `unread`, which has room, and
    /// closes it here without a word.
    pub(crate) fn carry_out(
        &mut self,
        unread: &mut [u8],
        pool: &mut ChunkPool,
    ) -> (Carried, usize) {
        let bytes = self.receive.copy(unread, pool);
        let carried = Carried {
            una: self.una,
            window: self.window,
            window_max: self.window_max,
            window_seq: self.window_seq,
            window_shift: self.window_shift,
            mss: self.mss,
            rcv_nxt: self.rcv_nxt,
            rcv_edge: self.rcv_edge,
            rcv_shift: self.rcv_shift,
            ack_sent: self.ack_sent,
            owes_ack: self.ack != AckOwed::None,
            timestamps: self.final_timestamps(),
            has_sack: self.has_sack,
            rtt: self.rtt,
        };
        self.clear(pool);
        (carried, bytes)
    }

    /// Opens a closed connection as the one that was carried here, with what was unread. `opening`
    /// has this core's bounds. Returns `false`, and it is of no use, when memory for that is out.
    pub(crate) fn carry_in(
        &mut self,
        carried: &Carried,
        opening: &Opening,
        unread: &[u8],
        pool: &mut ChunkPool,
    ) -> bool {
        let opening = Opening {
            sequence: carried.una.0,
            timestamp_offset: carried.timestamps.map_or(0, |(_, offset)| offset),
            ..*opening
        };
        self.reset_to(State::Established, &opening);
        self.owes_syn = false;
        self.window = carried.window;
        self.window_max = carried.window_max;
        self.window_seq = carried.window_seq;
        self.window_shift = carried.window_shift;
        self.mss = carried.mss;
        self.rcv_nxt = carried.rcv_nxt;
        self.rcv_edge = carried.rcv_edge;
        self.rcv_shift = carried.rcv_shift;
        self.ack_sent = carried.ack_sent;
        if carried.owes_ack {
            self.ack = AckOwed::Now;
        }
        self.timestamps = carried.timestamps.map(|(recent, offset)| Timestamps {
            recent,
            recent_at: opening.now,
            offset,
        });
        self.has_sack = carried.has_sack;
        self.cubic = Cubic::new(carried.mss, false);
        self.rtt = carried.rtt;
        self.receive.append(unread, pool) == unread.len()
    }
}
