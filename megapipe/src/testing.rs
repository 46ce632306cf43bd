//! A stack that does nothing, to count what the channel itself costs: every connection takes what is
//! sent at once, and receives 64 bytes whenever the caller says so.
//!
//! Its functions are never inlined, so that a profile tells them from the channel's.

use crate::channel::{Channel, ChannelConfig};
use crate::connections::Connections;
use crate::core::Application;
use crate::writes::IoSlice;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, SocketAddr};
use kernel::{CoreMask, Instant};
use net::chunk::Chunk;
use net::datagram::DatagramError;
use net::stack::{
    Accepted, ConnectError, ConnectionError, ConnectionId, Event, ListenError, ListenerId, Loan,
    ReceiveError,
};

/// Bytes of a message, each way.
pub const MESSAGE_BYTES: usize = 64;

/// A core with a channel over the stack that does nothing.
pub struct IdleStackCore<A: Application> {
    stack: IdleStack,
    channel: Channel,
    application: A,
}

impl<A: Application> IdleStackCore<A> {
    /// Makes a core with so many connections, all of them in the accept queue, and lets the
    /// application take them.
    pub fn new(handles: usize, batch: usize, application: A) -> Self {
        let chunks = handles.min(1024);
        let mut core = IdleStackCore {
            stack: IdleStack::new(handles, chunks),
            channel: Channel::create(ChannelConfig {
                handles,
                batch,
                chunks,
                buffers: 0,
                buffer_bytes: 0,
                timers: 0,
            }),
            application,
        };
        while core.channel.counters().registered < handles as u64 {
            core.turn();
        }
        core.turn();
        core
    }

    /// Lets a message arrive on a connection.
    pub fn arrive(&mut self, connection: usize) {
        self.stack.unread[connection] += 1;
        let id = ConnectionId::new(connection as u32, 0);
        self.stack.events.push_back(Event::Readable(id));
    }

    /// Runs the channel and the application until there is nothing to do: what a core's turn does
    /// between frames in and frames out.
    #[inline(never)]
    pub fn turn(&mut self) {
        self.channel.collect(Instant::ZERO, &mut self.stack);
        while self.channel.wants_application(Instant::ZERO) {
            self.channel.begin_run(Instant::ZERO);
            self.application.run(&mut self.channel, Instant::ZERO);
            self.channel.flush_to(&mut self.stack);
        }
    }

    /// Returns how many messages have been sent.
    pub fn sent(&self) -> u64 {
        self.stack.sent
    }

    /// Calls what one exchange of a message calls of the stack, and nothing else: to be subtracted.
    pub fn stack_calls(&mut self, connection: usize) {
        let id = ConnectionId::new(connection as u32, 0);
        while self.stack.poll_event().is_some() {}
        if let Ok(Some(chunk)) = self.stack.take(id) {
            self.stack.is_readable(id);
            self.stack.give_back(chunk);
        }
        let mut piece = Some(IoSlice::from_static(&[0; MESSAGE_BYTES]));
        let _ = self.stack.lend(id, || piece.take());
    }

    /// Returns the channel.
    pub fn channel(&self) -> &Channel {
        &self.channel
    }
}

#[expect(clippy::vec_box, reason = "a chunk moves as one pointer")]
struct IdleStack {
    events: VecDeque<Event>,
    /// Messages that wait, by connection.
    unread: Vec<u8>,
    chunks: Vec<Box<Chunk>>,
    accepted: u32,
    sent: u64,
}

impl IdleStack {
    fn new(connections: usize, chunks: usize) -> Self {
        let listener = Event::Incoming(ListenerId::new(0));
        IdleStack {
            events: VecDeque::from_iter([listener]),
            unread: vec![0; connections],
            chunks: Chunk::several(chunks, MESSAGE_BYTES).collect(),
            accepted: 0,
            sent: 0,
        }
    }
}

impl Connections for IdleStack {
    #[inline(never)]
    fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn listen(&mut self, _: u16, _: CoreMask, _: usize) -> Result<ListenerId, ListenError> {
        Ok(ListenerId::new(0))
    }

    fn change_mask(&mut self, _: ListenerId, _: CoreMask) -> Result<(), ListenError> {
        Err(ListenError::Unknown)
    }

    fn set_stealing(&mut self, _: ListenerId, _: bool) -> Result<(), ListenError> {
        Err(ListenError::Unknown)
    }

    fn bid(&mut self, _: ListenerId, _: u32) -> CoreMask {
        CoreMask::EMPTY
    }

    fn close_listener(&mut self, _: ListenerId) -> Result<(), ListenError> {
        Err(ListenError::Unknown)
    }

    fn accept(&mut self, _: ListenerId) -> Option<Accepted> {
        let index = self.accepted;
        if index as usize == self.unread.len() {
            return None;
        }
        self.accepted += 1;
        Some(Accepted {
            connection: ConnectionId::new(index, 0),
            peer: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
            pending: self.unread.len() - self.accepted as usize,
        })
    }

    fn connect(&mut self, _: SocketAddr, _: Instant) -> Result<ConnectionId, ConnectError> {
        Err(ConnectError::ConnectionsFull)
    }

    #[inline(never)]
    fn take(&mut self, connection: ConnectionId) -> Result<Option<Box<Chunk>>, ReceiveError> {
        let unread = &mut self.unread[connection.index()];
        if *unread == 0 {
            return Ok(None);
        }
        *unread -= 1;
        let mut chunk = self.chunks.pop().ok_or(ReceiveError::Closed)?;
        chunk.advance(MESSAGE_BYTES);
        Ok(Some(chunk))
    }

    #[inline(never)]
    fn give_back(&mut self, mut chunk: Box<Chunk>) {
        loop {
            let rest = chunk.take_rest();
            chunk.clear();
            self.chunks.push(chunk);
            match rest {
                Some(rest) => chunk = rest,
                None => return,
            }
        }
    }

    fn receive(&mut self, _: ConnectionId, _: &mut [u8]) -> Result<Option<usize>, ConnectionError> {
        Ok(None)
    }

    #[inline(never)]
    fn is_readable(&mut self, connection: ConnectionId) -> bool {
        self.unread[connection.index()] > 0
    }

    fn unread_bytes(&mut self, connection: ConnectionId) -> usize {
        usize::from(self.unread[connection.index()]) * MESSAGE_BYTES
    }

    #[inline(never)]
    fn lend(
        &mut self,
        _: ConnectionId,
        mut next: impl FnMut() -> Option<IoSlice>,
    ) -> Result<Loan, ConnectionError> {
        let mut bytes = 0;
        while let Some(piece) = next() {
            bytes += piece.bytes().len();
        }
        self.sent += 1;
        Ok(Loan {
            bytes,
            has_room: true,
        })
    }

    fn shutdown(&mut self, _: ConnectionId) -> Result<(), ConnectionError> {
        Ok(())
    }

    fn abort(&mut self, _: ConnectionId) -> Result<(), ConnectionError> {
        Ok(())
    }

    fn release(&mut self, _: ConnectionId) -> Result<(), ConnectionError> {
        Ok(())
    }

    fn notify(&mut self, _: CoreMask) {}

    fn send_datagram(&mut self, _: u16, _: SocketAddr, _: &[u8]) -> Result<(), DatagramError> {
        Ok(())
    }
}
