//! Listeners of a channel and the connections they have accepted: the calls `listen` and `accept`.
//!
//! Credit that the application gave with `accept` is spent on connections of the stack's accept
//! queue. Accepted ones wait in a bounded ring for dispatch; when it is full, the rest waits in the
//! stack, where the backlog bounds it.

use crate::channel::{Channel, Completion, Cookie, ListenHandle, Ready, SubmitError};
use crate::lwsocket::Lwsocket;
use crate::submissions::Command;
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
    /// Registers a listener on `port` for the cores of `cpu_mask` (`mp_register` of a listening
    /// socket): this core's own accept queue among those of the mask's cores, which answer the
    /// port together. Its completions carry `cookie`. Connections wait in the stack until
    /// [`accept`](Self::accept) asks for them.
    ///
    /// # Errors
    /// [`SubmitError::BadMask`], [`SubmitError::RingFull`], [`SubmitError::TooManyListeners`];
    /// what only the stack knows comes as [`Completion::ListenFailed`].
    pub fn listen(
        &mut self,
        port: u16,
        cookie: Cookie,
        cpu_mask: CoreMask,
    ) -> Result<ListenHandle, SubmitError> {
        let overlaps =
            |other: &Listener| other.port == port && !other.cores.and(cpu_mask).is_empty();
        if cpu_mask.is_empty() || self.listeners.iter().any(overlaps) {
            return Err(SubmitError::BadMask);
        }
        if self.listeners.is_full() {
            return Err(SubmitError::TooManyListeners);
        }
        let handle = ListenHandle(self.listeners.len() as u8);
        self.commands.push(Command::Listen(handle))?;
        let listener = Listener {
            port,
            cores: cpu_mask,
            cookie,
            credit: 0,
            state: Listening::Asked,
        };
        self.listeners
            .push(listener)
            .map_err(|_| SubmitError::TooManyListeners)?;
        Ok(handle)
    }

    /// Asks for `count` connections (`mp_accept`); adds to what was asked before. As many
    /// completions come, one per connection.
    ///
    /// # Errors
    /// [`SubmitError::Empty`] for 0, [`SubmitError::RingFull`], [`SubmitError::UnknownHandle`].
    pub fn accept(&mut self, listener: ListenHandle, count: u32) -> Result<(), SubmitError> {
        if count == 0 {
            return Err(SubmitError::Empty);
        }
        if usize::from(listener.0) >= self.listeners.len() {
            return Err(SubmitError::UnknownHandle);
        }
        self.commands.push(Command::Accept(listener))?;
        let listener = &mut self.listeners[usize::from(listener.0)];
        listener.credit = listener.credit.saturating_add(count);
        Ok(())
    }

    /// Takes the completion at the front of the ring, which is not of a handle.
    #[inline(never)]
    pub(crate) fn next_of_listeners(&mut self, ready: Ready) -> Option<Completion> {
        match ready {
            Ready::Handle(_) => None,
            Ready::Accept => self.next_accept(),
            Ready::Listener(handle) => self.next_of_listener(handle),
        }
    }

    /// Takes the accept completion at the front of the ring.
    fn next_accept(&mut self) -> Option<Completion> {
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
    fn next_of_listener(&mut self, handle: ListenHandle) -> Option<Completion> {
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
