//! Active open: connections that this side begins (RFC 9293 §3.10.1).
//!
//! A flow belongs to the core that opened it. Frames of it may arrive at any core's queue, and find
//! their way by the port: a port of the ephemeral range that nobody listens on belongs, with its
//! flow's hash, to one core of all, and `connect` takes only ports whose flow is this core's.
//!
//! Upstream: the layer above. Downstream: a connection in SYN-SENT, told by
//! [`Event::Connected`](crate::stack::Event::Connected) or its end. Its station is asked for by
//! ARP or neighbour discovery; until that is known its SYN is not sent, which its own retransmission makes good.

use crate::connection::{ConnectionId, NO_STATION, Role};
use crate::flow::{AddressPair, FlowKey};
use crate::limits::{EPHEMERAL_PORTS, PORT_TRIES};
use crate::nic::Nic;
use crate::port_table::FlowPlace;
use crate::stack::Stack;
use crate::tcp::{Lent, Opening, State};
use crate::{ipv4, ipv6};
use core::net::{IpAddr, SocketAddr};
use kernel::{CoreId, CoreMask, Instant};

/// Why no connection could be begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectError {
    /// This side has no address yet.
    NoAddress,
    /// The address or port is none that a host can have, or is our own.
    BadAddress,
    /// Every connection is in use.
    ConnectionsFull,
    /// No free port was found for this peer.
    PortsFull,
}

/// Returns the core that owns a flow of an ephemeral port, `None` for other ports.
pub(crate) fn owner(cores: CoreMask, port: u16, place: FlowPlace) -> Option<CoreId> {
    if !EPHEMERAL_PORTS.contains(&port) {
        return None;
    }
    let share = ((place.hash >> 32) * cores.len() as u64) >> 32;
    place.home.or_else(|| CoreId::new(share as usize))
}

impl<N: Nic, P: Lent> Stack<N, P> {
    /// Begins a connection to `remote`. The id is the caller's at once; the connection is of use
    /// after [`Event::Connected`](crate::stack::Event::Connected), and one that comes to nothing is
    /// told by [`Event::Closed`](crate::stack::Event::Closed): refused by RST, or timed out.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub fn connect(
        &mut self,
        remote: impl Into<SocketAddr>,
        now: Instant,
    ) -> Result<ConnectionId, ConnectError> {
        self.now = now;
        let remote = remote.into();
        let address = remote.ip();
        let is_host = match address {
            IpAddr::V4(address) => ipv4::is_host(address),
            IpAddr::V6(address) => ipv6::is_host(address),
        };
        if !is_host || self.station.has(address) || remote.port() == 0 {
            return Err(ConnectError::BadAddress);
        }
        let local = self.host.source_for(address);
        let addresses = local.and_then(|local| AddressPair::new(address, local));
        let addresses = addresses.ok_or(ConnectError::NoAddress)?;
        let (key, hash) = self
            .free_flow(addresses, remote.port(), now)
            .ok_or(ConnectError::PortsFull)?;
        let index = self
            .connections
            .take()
            .ok_or(ConnectError::ConnectionsFull)?;
        let (sequence, timestamp_offset) = self.sequences.begin(&key, now);
        let opening = Opening {
            sequence,
            timestamp_offset,
            mss_bytes: self.first_mss_bytes(&key, now),
            window_bytes: self.window_bytes,
            keep_alive_s: self.keep_alive_s,
            now,
        };
        let slot = self.connections.slot(index);
        slot.key = key;
        slot.hash = hash;
        slot.peer = NO_STATION;
        slot.role = Role::Owned;
        slot.tcb.open_active(&opening);
        slot.attached = self.flows.insert(hash, index);
        if !slot.unresolved {
            slot.unresolved = true;
            self.unresolved.push(index);
        }
        self.output.counters.connects_begun += 1;
        self.mark_dirty(index);
        Ok(self.connections.id(index))
    }

    /// Finds a port of ours for a flow to `remote` that nothing else uses, and that is this core's
    /// (RFC 6056 §3.3.3: from a place that depends on the peer, onwards).
    fn free_flow(
        &mut self,
        addresses: AddressPair,
        remote_port: u16,
        now: Instant,
    ) -> Option<(FlowKey, u64)> {
        let (core, cores) = (self.output.port.core(), self.output.port.cores());
        let mut key = FlowKey {
            addresses,
            remote_port,
            local_port: 0,
        };
        let (first, last) = (*EPHEMERAL_PORTS.start(), *EPHEMERAL_PORTS.end());
        let count = u32::from(last - first) + 1;
        let (start, _) = self.sequences.begin(&key, now);
        for _ in 0..PORT_TRIES {
            let offset = start.wrapping_add(self.ports_tried) % count;
            self.ports_tried = self.ports_tried.wrapping_add(1);
            key.local_port = first + offset as u16;
            let hash = self.output.port.hasher().hash(&key);
            let place = self.output.port.place(&key, hash);
            let is_free = owner(cores, key.local_port, place) == Some(core)
                && self
                    .output
                    .port
                    .ports()
                    .owner(key.local_port, place)
                    .is_none()
                && self.find_flow(hash, &key).is_none()
                && self.time_wait.find(hash, &key).is_none();
            if is_free {
                return Some((key, hash));
            }
        }
        None
    }

    /// Gives a connection its station if that is known, else asks for it. Returns whether it has
    /// one.
    pub(crate) fn resolve(&mut self, index: u32, now: Instant) -> bool {
        let slot = self.connections.slot(index);
        if slot.peer != NO_STATION {
            return true;
        }
        let target = self.host.next_hop(slot.key.addresses.remote());
        if let Some(mac) = self.neighbours.find(target, now) {
            slot.peer = mac;
            return true;
        }
        self.ask_for(target);
        false
    }

    /// Asks anew for the station of a connection whose SYN is not answered: perhaps it is another by
    /// now, or what was learnt was damaged (RFC 1122 §2.3.2.1). The next SYN goes to whoever answers.
    #[cold]
    pub(crate) fn resolve_again(&mut self, index: u32, now: Instant) {
        let slot = self.connections.slot(index);
        let target = self.host.next_hop(slot.key.addresses.remote());
        if let Some(mac) = self.neighbours.find(target, now) {
            slot.peer = mac;
        }
        self.ask_for(target);
    }

    /// Takes in who is at an address, and lets the connections go on that waited for it. Returns
    /// whether this core has ever asked.
    pub(crate) fn learn(&mut self, address: IpAddr, mac: [u8; 6], now: Instant) -> bool {
        if !self.neighbours.learn(address, mac, now) {
            return false;
        }
        let mut kept = 0;
        for place in 0..self.unresolved.len() {
            let index = self.unresolved[place];
            let slot = self.connections.slot(index);
            let waits = slot.peer == NO_STATION && slot.tcb.state() == State::SynSent;
            if waits && self.host.next_hop(slot.key.addresses.remote()) == address {
                slot.tcb.send_syn_again();
                self.mark_dirty(index);
            } else if waits {
                self.unresolved[kept] = index;
                kept += 1;
                continue;
            }
            self.connections.slot(index).unresolved = false;
        }
        self.unresolved.truncate(kept);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Link, World};

    #[test]
    fn attempts_that_nobody_answers_take_no_memory_however_many_there_are() {
        let link = Link::new();
        let mut world = World::with(&link, World::config(4, 1024), link.nic(0));
        let nobody = SocketAddr::from(([10, 7, 0, 77], 80));
        for _ in 0..50 {
            let id = world.stack.connect(nobody, world.now).unwrap();
            world.turn();
            world.stack.release(id).unwrap();
            world.turn();
        }
        assert!(world.stack.unresolved.len() <= 4, "a place for each slot");
        // An answer clears out what does not wait any more.
        world.stack.learn(nobody.ip(), [2; 6], world.now);
        assert!(world.stack.unresolved.is_empty());
        let id = world.stack.connect(nobody, world.now).unwrap();
        assert_eq!(world.stack.unresolved.len(), 1, "listed again after that");
        world.stack.release(id).unwrap();
    }
}
