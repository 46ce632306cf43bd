//! Listeners of a channel and the connections they have accepted.
//!
//! Credit that the application gave with `accept` is spent on connections of the stack's accept
//! queue. Accepted ones wait in a bounded ring for dispatch; when it is full, the rest waits in the
//! stack, where the backlog bounds it.

use crate::channel::{Channel, Completion, Cookie, ListenHandle};
use crate::lwsocket::Lwsocket;
use core::net::SocketAddr;
use kernel::CoreMask;
use net::stack::{ListenError, ListenerId};

/// How far a listener has come.
pub(crate) enum Listening {
    /// The command is in the submission ring.
    Asked,
    /// The stack listens.
    Open(ListenerId),
    /// The stack refused.
    Failed(ListenError),
}

/// A registered listener.
pub(crate) struct Listener {
    pub(crate) port: u16,
    pub(crate) cores: CoreMask,
    pub(crate) cookie: Cookie,
    /// Connections that the application has asked for and not got.
    pub(crate) credit: u32,
    pub(crate) state: Listening,
}

/// An accepted connection on its way to the application.
pub(crate) struct AcceptedSocket {
    pub(crate) listener: ListenHandle,
    pub(crate) socket: Lwsocket,
    pub(crate) peer: SocketAddr,
    pub(crate) pending: usize,
}

impl Channel {
    /// Takes the accept completion at the front of the ring.
    pub(crate) fn next_accept(&mut self) -> Option<Completion> {
        self.ready.pop();
        let accepted = self.accepts.pop()?;
        let listener = self.listeners.get(usize::from(accepted.listener.0))?;
        Some(Completion::Accept {
            cookie: listener.cookie,
            socket: accepted.socket,
            peer: accepted.peer,
            pending: accepted.pending,
        })
    }

    /// Takes the refusal at the front of the ring.
    pub(crate) fn next_of_listener(&mut self, handle: ListenHandle) -> Option<Completion> {
        self.ready.pop();
        let listener = self.listeners.get(usize::from(handle.0))?;
        match listener.state {
            Listening::Failed(error) => Some(Completion::ListenFailed {
                cookie: listener.cookie,
                error,
            }),
            Listening::Asked | Listening::Open(_) => None,
        }
    }
}
