//! The ports of the stand-in for the stack: its listeners, and what other cores' listeners have.

use kernel::CoreMask;
use net::stack::{ConnectionId, ListenError, ListenerId};
use std::collections::{BTreeMap, VecDeque};
use std::vec::Vec;

/// Cores that run.
pub(super) const RUNNING: usize = 4;

/// An open listener.
pub(super) struct Listening {
    pub(super) id: ListenerId,
    pub(super) port: u16,
    pub(super) mask: CoreMask,
    backlog: usize,
    /// Connections that wait to be accepted.
    pub(super) waiting: VecDeque<ConnectionId>,
    /// Connections that were accepted, with how many waited then.
    pub(super) accepted: Vec<(ConnectionId, usize)>,
}

/// All of them. Their ids are used once each, as long as a test has no more than 256.
#[derive(Default)]
pub(super) struct Ports {
    pub(super) open: Vec<Listening>,
    /// Cores that other cores' listeners have, by port.
    pub(super) taken: BTreeMap<u16, CoreMask>,
    opened: u8,
    /// Why to refuse listeners and new masks, whatever they are.
    pub(super) refuse: Option<ListenError>,
    /// The last outcome of a listen or a change of a mask, by port.
    pub(super) outcomes: BTreeMap<u16, Result<(), ListenError>>,
    /// Masks that listeners were changed to, and how many were ended.
    pub(super) masks: Vec<CoreMask>,
    pub(super) closed: usize,
    /// What listeners were told of stealing, and how often one has bid.
    pub(super) stealing: Vec<bool>,
    pub(super) bids: usize,
}

impl Ports {
    fn check(&self, port: u16, mask: CoreMask) -> Result<(), ListenError> {
        let taken = self.taken.get(&port).copied().unwrap_or(CoreMask::EMPTY);
        match self.refuse {
            Some(error) => Err(error),
            None if mask.and(CoreMask::first(RUNNING)) != mask => Err(ListenError::BadMask),
            None if !mask.and(taken).is_empty() => Err(ListenError::CoreTaken),
            None => Ok(()),
        }
    }

    pub(super) fn listen(
        &mut self,
        port: u16,
        mask: CoreMask,
        backlog: usize,
    ) -> Result<ListenerId, ListenError> {
        let is_open = self.open.iter().any(|listening| listening.port == port);
        let result = match self.check(port, mask) {
            Ok(()) if is_open => Err(ListenError::PortInUse),
            result => result,
        };
        self.outcomes.insert(port, result);
        result?;
        let id = ListenerId::new(self.opened);
        self.opened = self.opened.wrapping_add(1);
        self.open.push(Listening {
            id,
            port,
            mask,
            backlog,
            waiting: VecDeque::new(),
            accepted: Vec::new(),
        });
        Ok(id)
    }

    pub(super) fn find(&mut self, id: ListenerId) -> Option<&mut Listening> {
        self.open.iter_mut().find(|listening| listening.id == id)
    }

    pub(super) fn at_port(&self, port: u16) -> Option<&Listening> {
        self.open.iter().find(|listening| listening.port == port)
    }

    pub(super) fn change_mask(
        &mut self,
        id: ListenerId,
        mask: CoreMask,
    ) -> Result<(), ListenError> {
        self.masks.push(mask);
        let port = self.find(id).ok_or(ListenError::Unknown)?.port;
        let result = self.check(port, mask);
        self.outcomes.insert(port, result);
        if let Some(listening) = self.find(id).filter(|_| result.is_ok()) {
            listening.mask = mask;
        }
        result
    }

    /// Ends a listener and returns the connections that waited.
    pub(super) fn close(&mut self, id: ListenerId) -> Result<VecDeque<ConnectionId>, ListenError> {
        let index = self.open.iter().position(|listening| listening.id == id);
        let closed = self.open.remove(index.ok_or(ListenError::Unknown)?);
        self.closed += 1;
        Ok(closed.waiting)
    }

    /// Puts a connection into an accept queue with room, unless the listener answers no core.
    pub(super) fn enqueue(
        &mut self,
        number: usize,
        connection: ConnectionId,
    ) -> Option<ListenerId> {
        let listening = self.open.get_mut(number)?;
        if listening.waiting.len() == listening.backlog || listening.mask.is_empty() {
            return None;
        }
        listening.waiting.push_back(connection);
        Some(listening.id)
    }

    /// Takes the connection that has waited longest, with how many are left.
    pub(super) fn accept(&mut self, id: ListenerId) -> Option<(ConnectionId, usize)> {
        let listening = self.find(id)?;
        let connection = listening.waiting.pop_front()?;
        let accepted = (connection, listening.waiting.len());
        listening.accepted.push(accepted);
        Some(accepted)
    }

    /// Yields all connections that wait.
    pub(super) fn waiting(&self) -> impl Iterator<Item = ConnectionId> {
        let queues = self.open.iter().map(|listening| &listening.waiting);
        queues.flatten().copied()
    }
}
