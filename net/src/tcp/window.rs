//! The receive window: how far it is opened, and when the peer is told (RFC 9293 §3.8.6.2.2).
//!
//! Upstream: the layer above, which reads. Downstream: the window field of what is sent.

use super::control::{AckOwed, Tcb};
use super::send_queue::Lent;
use super::seq::Seq;
use crate::chunk::ChunkPool;

impl<P: Lent> Tcb<P> {
    /// Opens the receive window as far as there is room, in steps worth telling, and never takes
    /// back what was told (RFC 9293 §3.8.6.2.2). While memory is low every connection goes on with
    /// two segments at a time.
    #[inline]
    pub(super) fn move_edge(&mut self, pool: &ChunkPool) {
        let mut wanted = self.wanted_edge();
        if wanted.beyond(self.rcv_edge) < self.edge_step() {
            return;
        }
        if pool.is_low() {
            wanted = wanted.min(self.rcv_nxt + 2 * self.mss);
        }
        self.rcv_edge = self.rcv_edge.max(wanted);
    }

    #[inline]
    fn wanted_edge(&self) -> Seq {
        let room = self.rcv_limit.saturating_sub(self.receive.unread() as u32);
        self.rcv_nxt + (room >> self.rcv_shift << self.rcv_shift)
    }

    /// A step of the window worth telling: half of it, or two segments.
    #[inline]
    fn edge_step(&self) -> u32 {
        (self.rcv_limit / 2).min(self.mss).max(1)
    }

    /// The layer above has read: the peer is told when the window has opened by a good step.
    #[inline]
    pub(crate) fn has_read(&mut self) -> bool {
        let opened = self.wanted_edge().beyond(self.rcv_edge);
        let known = self.rcv_edge.beyond(self.rcv_nxt);
        // A peer with half of the window left is not held up.
        let is_tight = known < self.rcv_limit / 2 || known < 2 * self.mss;
        if is_tight && opened >= self.edge_step().max((2 * self.mss).min(self.rcv_limit / 2)) {
            self.ack = AckOwed::Now;
            return true;
        }
        false
    }
}
