//! Accepted connections: the calls `accept`, `accept_multishot` and `cancel_accept`, and how credit is
//! spent on the stack's side.
//!
//! Credit that the application gave is spent on connections of the stack's accept queue. Accepted
//! ones wait in a bounded ring for dispatch; when it is full, the rest waits in the stack, where the
//! backlog bounds it.

use crate::channel::{Channel, Completion, ListenHandle, SubmitError};
use crate::connections::Connections;
use crate::handle_table::Phase;
use crate::limits;
use crate::listener::{Listener, Listening};
use crate::lwsocket::Lwsocket;
use crate::ready::Ready;
use crate::submissions::Command;
use core::net::SocketAddr;

/// Credit that is not spent.
const ENDLESS: u32 = u32::MAX;

/// An accepted connection on its way to the application.
pub(crate) struct AcceptedSocket {
    listener: ListenHandle,
    socket: Lwsocket,
    peer: SocketAddr,
    pending: usize,
}

/// The application's side.
impl Channel {
    /// Asks for `count` connections (`mp_accept`); adds to what was asked before. As many
    /// completions come, one per connection.
    ///
    /// # Errors
    /// [`SubmitError::Empty`] for 0, [`SubmitError::RingFull`], [`SubmitError::UnknownHandle`].
    pub fn accept(&mut self, listener: ListenHandle, count: u32) -> Result<(), SubmitError> {
        if count == 0 {
            return Err(SubmitError::Empty);
        }
        self.live(listener)?;
        self.commands.push(Command::Accept(listener.index))?;
        let entry = self.live(listener)?;
        entry.credit = entry.credit.saturating_add(count);
        Ok(())
    }

    /// Asks for every connection that comes (a multishot accept), until
    /// [`cancel_accept`](Self::cancel_accept).
    ///
    /// # Errors
    /// [`SubmitError::RingFull`], [`SubmitError::UnknownHandle`].
    pub fn accept_multishot(&mut self, listener: ListenHandle) -> Result<(), SubmitError> {
        self.accept(listener, ENDLESS)
    }

    /// Asks for no more connections. Those that wait to be handed out are; others wait in the
    /// accept queue.
    ///
    /// # Errors
    /// [`SubmitError::Empty`] when none is asked for, [`SubmitError::UnknownHandle`].
    pub fn cancel_accept(&mut self, listener: ListenHandle) -> Result<(), SubmitError> {
        match core::mem::take(&mut self.live(listener)?.credit) {
            0 => Err(SubmitError::Empty),
            _ => Ok(()),
        }
    }

    /// Takes the accept completion at the front of the ring; one of a listener that is gone goes
    /// with it, and its connection is given back at the next flush.
    pub(crate) fn next_accept(&mut self) -> Option<Completion> {
        self.ready.pop();
        let accepted = self.accepts.pop_front()?;
        let place = self.listeners.get(usize::from(accepted.listener.index));
        let is_its = |place: &&Listener| place.generation == accepted.listener.generation;
        let Some(listener) = place.filter(is_its) else {
            self.counters.completions_cancelled += 1;
            return None;
        };
        Some(Completion::Accept {
            cookie: listener.cookie,
            socket: accepted.socket,
            peer: accepted.peer,
            pending: accepted.pending,
        })
    }
}

/// The stack's side.
impl Channel {
    /// Spends a listener's credit while connections wait and the accept ring has room.
    pub(crate) fn take_connections(&mut self, index: u8, stack: &mut impl Connections) {
        let Some(listener) = self.listeners.get_mut(usize::from(index)) else {
            return;
        };
        let Listening::Open(id) = listener.state else {
            return;
        };
        while listener.credit > 0 {
            if self.accepts.len() == limits::ACCEPTS_WAITING {
                self.is_accept_blocked = true;
                return;
            }
            let Some(accepted) = stack.accept(id) else {
                return;
            };
            let Some(slot) = self.table.at(accepted.connection.index()) else {
                // More connections than handles: a wrong configuration, not a leak.
                let _ = stack.release(accepted.connection);
                continue;
            };
            // What happened to it while it waited is told by events from here on.
            slot.begin(accepted.connection);
            slot.phase = Phase::Accepted;
            slot.is_readable = true;
            listener.credit -= u32::from(listener.credit != ENDLESS);
            self.counters.accepted += 1;
            let socket = AcceptedSocket {
                listener: ListenHandle {
                    index,
                    generation: listener.generation,
                    channel: self.table.tag(),
                },
                socket: Lwsocket::new(accepted.connection, &self.orphans),
                peer: accepted.peer,
                pending: accepted.pending,
            };
            // Room was seen above, and the completion ring has as much for them.
            self.accepts.push_back(socket);
            self.ready.push(Ready::Accept);
        }
    }

    /// Takes the connections that had to wait in the stack because the accept ring was full.
    pub(crate) fn refill_accepts(&mut self, stack: &mut impl Connections) {
        if core::mem::take(&mut self.is_accept_blocked) {
            for index in 0..self.listeners.len() as u8 {
                self.take_connections(index, stack);
            }
        }
    }
}
