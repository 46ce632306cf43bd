//! The boundary to the stack: what a channel asks of it.
//!
//! Implemented by [`Stack`], and in tests by a small model of one, so that the channel's rules are
//! tested without a network. What each call means is documented at [`Stack`].

use crate::writes::IoSlice;
use alloc::boxed::Box;
use core::net::SocketAddr;
use kernel::{CoreMask, Instant};
use net::chunk::Chunk;
use net::datagram::DatagramError;
use net::stack::{
    Accepted, ConnectError, ConnectionError, ConnectionId, Event, ListenError, ListenerId, Loan,
    ReceiveError,
};
use net::{Nic, Stack};

/// The connections of one core.
pub(crate) trait Connections {
    fn poll_event(&mut self) -> Option<Event>;
    fn listen(
        &mut self,
        port: u16,
        cores: CoreMask,
        backlog: usize,
    ) -> Result<ListenerId, ListenError>;
    fn change_mask(&mut self, listener: ListenerId, cores: CoreMask) -> Result<(), ListenError>;
    fn set_stealing(&mut self, listener: ListenerId, is_on: bool) -> Result<(), ListenError>;
    fn bid(&mut self, listener: ListenerId, most: u32) -> CoreMask;
    fn close_listener(&mut self, listener: ListenerId) -> Result<(), ListenError>;
    fn accept(&mut self, listener: ListenerId) -> Option<Accepted>;
    fn connect(&mut self, remote: SocketAddr, now: Instant) -> Result<ConnectionId, ConnectError>;
    fn take(&mut self, connection: ConnectionId) -> Result<Option<Box<Chunk>>, ReceiveError>;
    fn give_back(&mut self, chunk: Box<Chunk>);
    fn receive(
        &mut self,
        connection: ConnectionId,
        buf: &mut [u8],
    ) -> Result<Option<usize>, ConnectionError>;
    fn is_readable(&mut self, connection: ConnectionId) -> bool;
    fn unread_bytes(&mut self, connection: ConnectionId) -> usize;
    fn lend(
        &mut self,
        connection: ConnectionId,
        next: impl FnMut() -> Option<IoSlice>,
    ) -> Result<Loan, ConnectionError>;
    fn shutdown(&mut self, connection: ConnectionId) -> Result<(), ConnectionError>;
    fn abort(&mut self, connection: ConnectionId) -> Result<(), ConnectionError>;
    fn release(&mut self, connection: ConnectionId) -> Result<(), ConnectionError>;
    fn notify(&mut self, cores: CoreMask);
    fn send_datagram(
        &mut self,
        from_port: u16,
        to: SocketAddr,
        bytes: &[u8],
    ) -> Result<(), DatagramError>;
}

impl<N: Nic> Connections for Stack<N, IoSlice> {
    fn poll_event(&mut self) -> Option<Event> {
        Stack::poll_event(self)
    }

    fn listen(
        &mut self,
        port: u16,
        cores: CoreMask,
        backlog: usize,
    ) -> Result<ListenerId, ListenError> {
        Stack::listen(self, port, cores, backlog)
    }

    fn change_mask(&mut self, listener: ListenerId, cores: CoreMask) -> Result<(), ListenError> {
        Stack::change_mask(self, listener, cores)
    }

    fn set_stealing(&mut self, listener: ListenerId, is_on: bool) -> Result<(), ListenError> {
        Stack::set_stealing(self, listener, is_on)
    }

    fn bid(&mut self, listener: ListenerId, most: u32) -> CoreMask {
        Stack::bid(self, listener, most)
    }

    fn close_listener(&mut self, listener: ListenerId) -> Result<(), ListenError> {
        Stack::close_listener(self, listener)
    }

    fn accept(&mut self, listener: ListenerId) -> Option<Accepted> {
        Stack::accept(self, listener)
    }

    fn connect(&mut self, remote: SocketAddr, now: Instant) -> Result<ConnectionId, ConnectError> {
        Stack::connect(self, remote, now)
    }

    #[inline]
    fn take(&mut self, connection: ConnectionId) -> Result<Option<Box<Chunk>>, ReceiveError> {
        Stack::take(self, connection)
    }

    #[inline]
    fn give_back(&mut self, chunk: Box<Chunk>) {
        Stack::give_back(self, chunk);
    }

    fn receive(
        &mut self,
        connection: ConnectionId,
        buf: &mut [u8],
    ) -> Result<Option<usize>, ConnectionError> {
        Stack::receive(self, connection, buf)
    }

    #[inline]
    fn is_readable(&mut self, connection: ConnectionId) -> bool {
        Stack::is_readable(self, connection)
    }

    fn unread_bytes(&mut self, connection: ConnectionId) -> usize {
        Stack::unread_bytes(self, connection)
    }

    #[inline]
    fn lend(
        &mut self,
        connection: ConnectionId,
        next: impl FnMut() -> Option<IoSlice>,
    ) -> Result<Loan, ConnectionError> {
        Stack::lend(self, connection, next)
    }

    fn shutdown(&mut self, connection: ConnectionId) -> Result<(), ConnectionError> {
        Stack::shutdown(self, connection)
    }

    fn abort(&mut self, connection: ConnectionId) -> Result<(), ConnectionError> {
        Stack::abort(self, connection)
    }

    fn release(&mut self, connection: ConnectionId) -> Result<(), ConnectionError> {
        Stack::release(self, connection)
    }

    fn notify(&mut self, cores: CoreMask) {
        Stack::notify(self, cores);
    }

    fn send_datagram(
        &mut self,
        from_port: u16,
        to: SocketAddr,
        bytes: &[u8],
    ) -> Result<(), DatagramError> {
        Stack::send_datagram(self, from_port, to, bytes)
    }
}
