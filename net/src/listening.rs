//! What the layer above asks of listeners: begin, accept, change the mask, end; and the core's part
//! in a change of the port table.
//!
//! Upstream: `megapipe`. Downstream: [`listener`](crate::listener) and, for what other cores must
//! know, the fabric's port table.

use crate::connect;
use crate::connection::Role;
use crate::event::Pending;
use crate::flow::FlowKey;
use crate::limits::STRAYS_CHECK;
use crate::listener::{ListenError, ListenerId};
use crate::nic::Nic;
use crate::port_table::{Asked, ClaimError};
use crate::stack::{Accepted, Stack};
use crate::tcp::Lent;
use core::net::SocketAddr;
use kernel::{CoreId, CoreMask, Instant};

/// What this core has seen of the port table.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct PortsSeen {
    version: u32,
    /// When to look again whether stray flows are left.
    check_at: Option<Instant>,
}

impl From<ClaimError> for ListenError {
    fn from(error: ClaimError) -> Self {
        match error {
            ClaimError::Taken => ListenError::CoreTaken,
            ClaimError::Full => ListenError::Full,
        }
    }
}

impl<N: Nic, P: Lent> Stack<N, P> {
    /// Listens on `port` for the flows of the cores in `cores`, with room for `backlog`
    /// connections that are not yet accepted. Listeners of one port share it: each answers the
    /// flows of the cores in its own mask, on its own core. One that joins takes its share of new
    /// flows; connections stay where they are.
    ///
    /// # Errors
    /// See [`ListenError`].
    pub fn listen(
        &mut self,
        port: u16,
        cores: CoreMask,
        backlog: usize,
    ) -> Result<ListenerId, ListenError> {
        if cores.is_empty() || !self.is_running(cores) {
            return Err(ListenError::BadMask);
        }
        if port == 0 || !self.listeners.has_place() {
            return Err(ListenError::Full);
        }
        if self.listeners.at_port(port).is_some() {
            return Err(ListenError::PortInUse);
        }
        let fabric = &self.output.port;
        fabric.ports().claim(port, cores, fabric.core())?;
        // There is a place, as just seen.
        let id = self.listeners.open(port, cores, backlog);
        id.ok_or(ListenError::Full)
    }

    /// Changes the cores whose flows a listener answers. From here on new flows go by the new mask;
    /// connections that have begun stay where they are. With an empty mask none begins any more, and
    /// those that have are still accepted: so a core gives its share up without losing any.
    ///
    /// # Errors
    /// See [`ListenError`]; the mask is then as it was.
    pub fn change_mask(
        &mut self,
        listener: ListenerId,
        cores: CoreMask,
    ) -> Result<(), ListenError> {
        if !self.is_running(cores) {
            return Err(ListenError::BadMask);
        }
        let (index, _) = self.listeners.get(listener).ok_or(ListenError::Unknown)?;
        if cores.is_empty() {
            self.stop_stealing(index);
        }
        let entry = self.listeners.at(index);
        let fabric = &self.output.port;
        let table = fabric.ports();
        table.change_mask(entry.port, entry.mask, cores, fabric.core())?;
        entry.mask = cores;
        Ok(())
    }

    /// Ends a listener: its cores answer no more on this port, connections that wait to be accepted
    /// are reset, and those that are shaking hands are forgotten. Accepted ones go on. The port is
    /// free again when none of its connections is left on any core.
    ///
    /// # Errors
    /// [`ListenError::Unknown`].
    pub fn close_listener(&mut self, listener: ListenerId) -> Result<(), ListenError> {
        let (index, _) = self.listeners.get(listener).ok_or(ListenError::Unknown)?;
        self.stop_stealing(index);
        let entry = self.listeners.at(index);
        let fabric = &self.output.port;
        fabric
            .ports()
            .release(entry.port, entry.mask, fabric.core());
        for connection in self.connections.indices() {
            let slot = self.connections.slot(connection);
            match slot.role {
                Role::HalfOpen(of) if of == index => self.lose_half_open(connection),
                Role::Waiting(of) if of == index => {
                    slot.role = Role::Released;
                    slot.pending = Pending::default();
                    if !slot.has_ended {
                        self.output.counters.listener_resets += 1;
                        self.reset(connection);
                    } else {
                        self.free_if_done(connection);
                    }
                }
                _ => {}
            }
        }
        self.listeners.close(index);
        self.stealing.is_on = self.listeners.some_steals();
        Ok(())
    }

    /// Takes the oldest connection from the accept queue. What it has received already is told by
    /// an event like any other.
    pub fn accept(&mut self, listener: ListenerId) -> Option<Accepted> {
        let (index, pending) = self.listeners.accept(listener)?;
        let slot = self.connections.slot(index);
        slot.role = Role::Owned;
        let peer = SocketAddr::new(slot.key.addresses.remote(), slot.key.remote_port);
        let mut news = Pending::default();
        if slot.tcb.is_readable() {
            news.add(Pending::READABLE);
        }
        if slot.has_ended {
            news.add(Pending::CLOSED);
        }
        if !news.is_empty() {
            self.add_event(index, news);
        }
        Some(Accepted {
            connection: self.connections.id(index),
            peer,
            pending,
        })
    }

    fn is_running(&self, cores: CoreMask) -> bool {
        cores.and(self.output.port.cores()) == cores
    }

    /// Returns the core to which a segment goes that this one has no connection for, `None` when
    /// this one is to say what it is.
    #[inline]
    pub(crate) fn steer(&self, key: &FlowKey, hash: u64, asked: &mut Asked) -> Option<CoreId> {
        let port = &self.output.port;
        if port.cores().len() == 1 {
            return None;
        }
        let place = port.place(key, hash);
        let opener = || connect::owner(port.cores(), key.local_port, place);
        port.ports()
            .steer(key.local_port, place, port.core(), asked, opener)
    }

    /// Follows a change of the port table: looks whether this core has flows that are another's by
    /// it now, and if not, says so. Until then every segment without a connection asks here first.
    #[inline]
    pub(crate) fn follow_ports(&mut self, now: Instant) {
        let version = self.output.port.ports().version();
        let is_time = self.ports_seen.check_at.is_some_and(|at| at <= now);
        if version != self.ports_seen.version || is_time {
            self.settle_ports(version, now);
        }
    }

    #[cold]
    fn settle_ports(&mut self, version: u32, now: Instant) {
        let fabric = &self.output.port;
        let (ports, core, hasher) = (fabric.ports(), fabric.core(), fabric.hasher());
        let is_settled = ports.settle(core, |port| {
            let is_stray = |key: &FlowKey| {
                key.local_port == port
                    && ports.owner(port, fabric.place(key, hasher.hash(key))) != Some(core)
            };
            let keys = self.flows.values().map(|index| self.connections.key(index));
            let keys = keys.chain(self.time_wait.keys());
            keys.chain(self.stealing.moved_keys()).any(is_stray)
        });
        self.ports_seen = PortsSeen {
            version,
            check_at: (!is_settled).then(|| now + STRAYS_CHECK),
        };
    }
}
