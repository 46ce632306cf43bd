//! Lightweight sockets and handles: the two names of a connection inside one channel, and the handles
//! of listeners, timers and connects.
//!
//! A lwsocket is what `accept` yields; registering it makes it a handle. Both are an index and a
//! generation, straight to the connection's place in the handle table: no file object, no
//! lowest-free rule, no table shared between cores. A stale handle and one of another channel are
//! refused. Upstream: the channel. Downstream: the application.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::fmt;
use core::sync::atomic::{AtomicU32, Ordering};
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
    pub(crate) fn into_handle(mut self, channel: ChannelTag) -> Handle {
        self.orphans = None;
        Handle {
            connection: self.connection,
            channel,
        }
    }
}

impl Drop for Lwsocket {
    fn drop(&mut self) {
        if let Some(orphans) = &self.orphans {
            let place = self.connection.index() as u32;
            orphans.places.borrow_mut().push(place);
            orphans.has_any.set(true);
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
    /// By their place: a place has at most one lwsocket, and is not used again before.
    places: RefCell<Vec<u32>>,
    /// Whether there is any: all that a flush looks at.
    has_any: Cell<bool>,
}

impl Orphans {
    /// Takes room for `handles` of them.
    pub(crate) fn new(handles: usize) -> Rc<Self> {
        Rc::new(Orphans {
            places: RefCell::new(Vec::with_capacity(handles)),
            has_any: Cell::new(false),
        })
    }

    /// Returns whether there is any.
    #[inline]
    pub(crate) fn has_any(&self) -> bool {
        self.has_any.get()
    }

    /// Takes one of them.
    pub(crate) fn pop(&self) -> Option<u32> {
        let place = self.places.borrow_mut().pop();
        self.has_any.set(place.is_some());
        place
    }
}

/// What tells the handles of one channel from those of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ChannelTag(u32);

impl ChannelTag {
    /// Returns one that no other channel has.
    pub(crate) fn next() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        ChannelTag(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// A registered lwsocket: index and generation inside one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Handle {
    pub(crate) connection: ConnectionId,
    pub(crate) channel: ChannelTag,
}

impl Handle {
    /// Returns the place in the channel, below
    /// [`ChannelConfig::handles`](crate::channel::ChannelConfig::handles). Used again after
    /// `unregister`, by another handle.
    #[inline]
    pub fn index(self) -> usize {
        self.connection.index()
    }
}

/// A registered listener: index and generation inside one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ListenHandle {
    pub(crate) index: u8,
    pub(crate) generation: u32,
    pub(crate) channel: ChannelTag,
}

/// A timer that was set: index and generation inside one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TimerHandle {
    pub(crate) index: u32,
    pub(crate) generation: u32,
    pub(crate) channel: ChannelTag,
}

/// A connect under way: index and generation inside one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnectHandle {
    pub(crate) index: u16,
    pub(crate) generation: u32,
    pub(crate) channel: ChannelTag,
}
