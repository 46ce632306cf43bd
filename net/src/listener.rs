//! A listener: a port, a bounded queue of connections that wait to be accepted, and a count of
//! those that are still shaking hands.

use alloc::collections::VecDeque;
use core::fmt;

/// A listener of one stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ListenerId(pub(crate) u8);

impl ListenerId {
    /// Makes an id from its number, for stand-ins of a stack in tests; a stack refuses ids that it
    /// did not give out.
    pub const fn new(number: u8) -> Self {
        ListenerId(number)
    }
}

/// Why a `listen` was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenError {
    /// The mask names no core, or one that does not run.
    BadMask,
    /// Another listener of this port has one of these cores already.
    CoreTaken,
    /// No room for another listener, or port 0, which is none.
    Full,
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ListenError::BadMask => "the mask names no core, or one that does not run",
            ListenError::CoreTaken => "another listener of this port has one of these cores",
            ListenError::Full => "no room for another listener, or not a port",
        })
    }
}

impl core::error::Error for ListenError {}

/// One listener.
pub(crate) struct Listener {
    pub(crate) port: u16,
    backlog: usize,
    half_open: usize,
    waiting: VecDeque<u32>,
}

impl Listener {
    /// Makes a listener with room for `backlog` connections, at least one.
    pub(crate) fn new(port: u16, backlog: usize) -> Self {
        let backlog = backlog.max(1);
        Listener {
            port,
            backlog,
            half_open: 0,
            waiting: VecDeque::with_capacity(backlog),
        }
    }

    /// Whether one more connection may begin: it will have a place in the queue.
    pub(crate) fn has_room(&self) -> bool {
        self.half_open + self.waiting.len() < self.backlog
    }

    /// A connection begins its handshake.
    pub(crate) fn begin(&mut self) {
        self.half_open += 1;
    }

    /// A handshake came to nothing.
    pub(crate) fn lose(&mut self) {
        self.half_open = self.half_open.saturating_sub(1);
    }

    /// A handshake is complete: the connection waits to be accepted.
    pub(crate) fn enqueue(&mut self, connection: u32) {
        self.lose();
        self.waiting.push_back(connection);
    }

    /// Takes the connection that has waited longest.
    pub(crate) fn accept(&mut self) -> Option<u32> {
        self.waiting.pop_front()
    }

    /// Connections waiting to be accepted.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_open_and_waiting_share_the_backlog() {
        let mut listener = Listener::new(80, 2);
        assert!(listener.has_room());
        listener.begin();
        listener.begin();
        assert!(!listener.has_room());
        listener.enqueue(7);
        assert!(!listener.has_room());
        listener.lose();
        assert!(listener.has_room());
        assert_eq!((listener.accept(), listener.waiting()), (Some(7), 0));
        assert_eq!(listener.accept(), None);
    }
}
