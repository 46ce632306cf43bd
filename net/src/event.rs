//! What the stack tells the layer above, and what waits to be told: bits per connection, and a
//! queue of connections that have any. A connection is in the queue at most once, so the queue is
//! bounded by the connections and nothing is ever lost.

use crate::connection::ConnectionId;
use crate::listener::ListenerId;

/// Something the stack tells the layer above, in the order it happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A connection waits in this listener's accept queue. Told once for each.
    Incoming(ListenerId),
    /// A connection that this side began is open.
    Connected(ConnectionId),
    /// There are bytes to receive, or the peer has finished sending. Told when more has come than
    /// was there at the last event or the last `receive`, not again for what was left.
    Readable(ConnectionId),
    /// There is room in the send buffer again (a quarter of it) after a `send` that could not take
    /// everything.
    Writable(ConnectionId),
    /// The connection is over: nothing more will come or be sent. Bytes that came before can still
    /// be received.
    Closed(ConnectionId, CloseReason),
}

/// Why a connection is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// Both sides finished in order.
    Finished,
    /// The peer sent RST.
    Reset,
    /// The peer stopped answering.
    TimedOut,
    /// This side aborted it, or its address was withdrawn.
    Aborted,
}

/// Events of one connection that wait to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Pending(u8);

impl Pending {
    pub(crate) const INCOMING: Pending = Pending(1);
    pub(crate) const CONNECTED: Pending = Pending(2);
    pub(crate) const READABLE: Pending = Pending(4);
    pub(crate) const WRITABLE: Pending = Pending(8);
    pub(crate) const CLOSED: Pending = Pending(16);

    pub(crate) fn add(&mut self, other: Pending) {
        self.0 |= other.0;
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Takes the first of what waits, in the order of the constants.
    pub(crate) fn take_first(&mut self) -> Option<Pending> {
        let first = self.0 & self.0.wrapping_neg();
        self.0 &= !first;
        (first != 0).then_some(Pending(first))
    }
}
