//! Connections that wait and that nobody on this core has asked for: given to idle cores, one for each
//! [bid](crate::bids), if their listener [steals](crate::stealing).
//!
//! Upstream: the accept queues, after the application has taken what it wants. Downstream: the
//! [fabric](crate::moves). A connection is given as a whole, while it is one on which nothing was sent
//! and of whose bytes none is missing; its flow is remembered until its end is told. It moves once: the core
//! that took it had asked for it, and its flow is never looked for through two cores.

use crate::limits::{LISTENERS, MOVE_TRIES, MOVED_CONNECTIONS};
use crate::moves::{Move, Waiting};
use crate::nic::Nic;
use crate::stack::Stack;
use crate::tcp::Lent;
use kernel::{CoreId, CoreMask};

impl<N: Nic, P: Lent> Stack<N, P> {
    /// Gives idle cores of what waits and nobody here has asked for.
    #[cold]
    pub(crate) fn share_backlogs(&mut self) {
        for index in 0..LISTENERS as u8 {
            if self.listeners.at(index).steals {
                self.tell_backlog(index);
                while self.give_one(index) {}
                self.tell_backlog(index);
            }
        }
    }

    /// Says whether connections wait that can move, if that has changed. For others, idle cores would
    /// wake this one in vain.
    fn tell_backlog(&mut self, index: u8) {
        let has_backlog = self.movable(index).is_some();
        let fabric = &self.output.port;
        let entry = self.listeners.at(index);
        if has_backlog != entry.has_told_backlog
            && let Some(bids) = fabric.ports().bids(entry.port)
        {
            entry.has_told_backlog = has_backlog;
            bids.tell_backlog(fabric.core(), has_backlog);
        }
    }

    /// Whether [`share_backlogs`](Self::share_backlogs) would give something now.
    #[cold]
    pub(crate) fn can_share_backlogs(&mut self) -> bool {
        (0..LISTENERS as u8).any(|index| {
            let entry = self.listeners.at(index);
            let (port, has_backlog) = (entry.port, entry.steals && entry.waiting() > 0);
            has_backlog && self.movable(index).is_some() && {
                let able = self.reachable();
                let bids = self.output.port.ports().bids(port);
                bids.is_some_and(|bids| bids.has_any(able.iter()))
            }
        })
    }

    /// Gives a waiting connection to a core that bids for one, if there are both.
    fn give_one(&mut self, index: u8) -> bool {
        let Some(place) = self.movable(index) else {
            return false;
        };
        let able = self.reachable();
        let port = self.listeners.at(index).port;
        let bids = self.output.port.ports().bids(port);
        let Some(to) = bids.and_then(|bids| bids.take(able.iter())) else {
            return false;
        };
        let connection = self.listeners.remove(index, place);
        self.give(connection, to);
        true
    }

    /// Returns the place of a waiting connection that can move.
    fn movable(&mut self, index: u8) -> Option<usize> {
        if self.stealing.moved.len() >= MOVED_CONNECTIONS {
            return None;
        }
        let (connections, unread_max) = (&mut self.connections, self.stealing.unread_max);
        let can_move = |connection| {
            let slot = connections.slot(connection);
            slot.origin.is_none() && !slot.has_ended && slot.tcb.can_be_carried(unread_max)
        };
        self.listeners.find(index, MOVE_TRIES, can_move)
    }

    /// Returns the cores that something can move to now.
    fn reachable(&mut self) -> CoreMask {
        let (own, mut able) = (self.output.port.core(), CoreMask::EMPTY);
        for core in self.output.port.cores().iter().filter(|core| *core != own) {
            if self.output.port.can_move(core) {
                able.insert(core);
            }
        }
        able
    }

    fn give(&mut self, connection: u32, to: CoreId) {
        let slot = self.connections.slot(connection);
        let (tcb, chunks) = (&mut slot.tcb, &mut self.chunks);
        let (key, hash, peer) = (slot.key, slot.hash, slot.peer);
        let is_given = self.output.port.move_to(to, |frame| {
            let (carried, bytes) = tcb.carry_out(frame, chunks);
            let waiting = Waiting {
                key,
                hash,
                peer,
                carried,
            };
            (Move::Connection(waiting), bytes)
        });
        debug_assert!(is_given, "room was seen");
        self.detach(connection);
        self.connections.free(connection, &mut self.chunks);
        self.stealing.moved.insert(hash, key, to);
        self.output.counters.connections_given += 1;
        self.output.counters.established_now -= 1;
    }
}
