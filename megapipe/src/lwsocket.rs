//! Lightweight sockets and handles: the two names of a connection inside one channel.
//!
//! A lwsocket is what `accept` yields; registering it makes it a handle. Both are an index and a
//! generation, straight to the connection's place in the handle table: no file object, no
//! lowest-free rule, no table shared between cores. Upstream: the channel. Downstream: the
//! application.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::fmt;
use net::stack::ConnectionId;

/// A lightweight socket: an accepted connection that is not registered yet.
///
/// Belongs to the channel that accepted it. Dropped without registration, it gives its connection
/// back at the next flush, as an unregistered handle would; it cannot leak.
pub struct Lwsocket {
    connection: ConnectionId,
    /// Where the id goes when it is dropped; `None` once registered.
    orphans: Option<Rc<Orphans>>,
}

impl Lwsocket {
    pub(crate) fn new(connection: ConnectionId, orphans: &Rc<Orphans>) -> Self {
        Lwsocket {
            connection,
            orphans: Some(Rc::clone(orphans)),
        }
    }

    /// Returns the place in the channel, below
    /// [`ChannelConfig::handles`](crate::channel::ChannelConfig::handles). Its handle has the
    /// same one, so that an application can index its own table of connections by it.
    pub fn index(&self) -> usize {
        self.connection.index()
    }

    pub(crate) fn connection(&self) -> ConnectionId {
        self.connection
    }

    /// Returns whether the channel that accepted it has this list.
    pub(crate) fn is_of(&self, orphans: &Rc<Orphans>) -> bool {
        self.orphans
            .as_ref()
            .is_some_and(|own| Rc::ptr_eq(own, orphans))
    }

    /// Ends the socket's own care for its connection.
    pub(crate) fn into_handle(mut self) -> Handle {
        self.orphans = None;
        Handle(self.connection)
    }
}

impl Drop for Lwsocket {
    fn drop(&mut self) {
        if let Some(orphans) = &self.orphans {
            orphans.ids.borrow_mut().push(self.connection);
        }
    }
}

impl fmt::Debug for Lwsocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lwsocket({})", self.connection.index())
    }
}

/// Connections whose lwsocket was dropped unregistered, until the next flush.
pub(crate) struct Orphans {
    ids: RefCell<Vec<ConnectionId>>,
}

impl Orphans {
    /// Takes room for `handles` ids: a connection has at most one lwsocket.
    pub(crate) fn new(handles: usize) -> Rc<Self> {
        Rc::new(Orphans {
            ids: RefCell::new(Vec::with_capacity(handles)),
        })
    }

    /// Takes one of them.
    pub(crate) fn pop(&self) -> Option<ConnectionId> {
        self.ids.borrow_mut().pop()
    }
}

/// A registered lwsocket: index and generation inside one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Handle(pub(crate) ConnectionId);

impl Handle {
    /// Returns the place in the channel, below
    /// [`ChannelConfig::handles`](crate::channel::ChannelConfig::handles). Used again after
    /// `unregister`, by another handle.
    pub fn index(self) -> usize {
        self.0.index()
    }
}

/// A registered listener: index and generation inside one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ListenHandle {
    pub(crate) index: u8,
    pub(crate) generation: u32,
}
