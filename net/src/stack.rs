//! The stack of one core: its queue pair, flow table, listeners, connections and timers.
//!
//! The four kinds of method: `handle_*` takes in what happened (frames, time), commands are the
//! application's wishes, `poll_*` yields what is to be told or sent, getters look.

use crate::fabric::FabricPort;
use crate::nic::Nic;
use core::net::SocketAddr;
use core::time::Duration;
use kernel::{CoreMask, Instant};

/// A connection of one stack: an index into its table and the generation of that slot, so that a
/// stale id is refused and never reaches another connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnectionId {
    index: u32,
    generation: u32,
}

impl ConnectionId {
    /// Makes an id from its parts, for stand-ins of a stack in tests; a stack refuses ids that it
    /// did not give out.
    pub const fn new(index: u32, generation: u32) -> Self {
        ConnectionId { index, generation }
    }

    /// Returns the slot, below [`StackConfig::connections`]; dense, to index tables beside the
    /// stack's own.
    pub fn index(self) -> usize {
        self.index as usize
    }
}

/// A listener of one stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ListenerId(u8);

impl ListenerId {
    /// Makes an id from its number, for stand-ins of a stack in tests; a stack refuses ids that it
    /// did not give out.
    pub const fn new(number: u8) -> Self {
        ListenerId(number)
    }
}

/// What a stack is made with.
#[derive(Debug, Clone)]
pub struct StackConfig {
    /// Connections at once on this core; their memory is taken when the stack is made.
    pub connections: usize,
    /// Bytes of receive buffer (and so the largest window) of each connection.
    pub rx_buffer_bytes: usize,
    /// Bytes of send buffer of each connection.
    pub tx_buffer_bytes: usize,
    /// Seed of this core's own random numbers; from the machine's entropy.
    pub seed: [u8; 32],
}

/// Something the stack tells the layer above, in the order it happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A connection waits in this listener's accept queue.
    Incoming(ListenerId),
    /// There are bytes to receive, or the peer has finished sending.
    Readable(ConnectionId),
    /// There is room in the send buffer again after a `send` that could not take everything.
    Writable(ConnectionId),
    /// The connection is over: nothing more will be received or sent.
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
    /// This side aborted it.
    Aborted,
}

/// A connection taken from an accept queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// The connection, now the caller's: it holds its slot until [`Stack::release`].
    pub connection: ConnectionId,
    /// The peer's address.
    pub peer: SocketAddr,
    /// Connections still waiting in the same queue.
    pub pending: usize,
}

/// Why a `listen` was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenError {
    /// The mask names no core, or one that does not run.
    BadMask,
    /// Another listener of this port has one of these cores already.
    CoreTaken,
    /// No room for another listener.
    Full,
}

/// Why a command on a connection was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionError {
    /// The id is stale or was never given out.
    Unknown,
    /// The connection can no longer do this (it is over, or this side has finished sending).
    Closed,
}

/// The stack of one core over its queue pair, if it has one.
pub struct Stack<N: Nic> {
    _nic: Option<N>,
    _port: FabricPort,
}

impl<N: Nic> Stack<N> {
    /// Makes the stack and takes all the memory it will ever use.
    pub fn new(config: StackConfig, nic: Option<N>, port: FabricPort, now: Instant) -> Self {
        let _ = (config, now);
        Stack {
            _nic: nic,
            _port: port,
        }
    }

    /// Takes in one batch of frames from the queue pair and from the other cores' rings, and
    /// returns how many there were.
    pub fn handle_frames(&mut self, now: Instant) -> usize {
        let _ = now;
        todo!()
    }

    /// Lets every timer run that is due.
    pub fn handle_timers(&mut self, now: Instant) {
        let _ = now;
        todo!()
    }

    /// Returns the next event, if there is one.
    pub fn poll_event(&mut self) -> Option<Event> {
        todo!()
    }

    /// Sends what connections have to send, publishes it with at most one doorbell per queue, and
    /// returns the cores that now have frames waiting in their rings and are to be woken.
    pub fn poll_transmit(&mut self, now: Instant) -> CoreMask {
        let _ = now;
        todo!()
    }

    /// Returns when [`handle_timers`](Self::handle_timers) is to be called next, `None` for never.
    pub fn next_deadline(&self) -> Option<Instant> {
        todo!()
    }

    /// Asks the device for an interrupt at the next frame; true when there is something to do
    /// already (frames, or another core's ring), and so no sleep.
    pub fn arm(&mut self) -> bool {
        todo!()
    }

    /// Ends what [`arm`](Self::arm) began; called after every sleep.
    pub fn disarm(&mut self) {
        todo!()
    }

    /// Listens on `port` for the flows of the cores in `cores`, with room for `backlog`
    /// connections that are not yet accepted.
    ///
    /// # Errors
    /// See [`ListenError`].
    pub fn listen(
        &mut self,
        port: u16,
        cores: CoreMask,
        backlog: usize,
    ) -> Result<ListenerId, ListenError> {
        let _ = (port, cores, backlog);
        todo!()
    }

    /// Takes the oldest connection from the accept queue.
    pub fn accept(&mut self, listener: ListenerId) -> Option<Accepted> {
        let _ = listener;
        todo!()
    }

    /// Copies received bytes into `buf` and returns how many; `Ok(0)` for a `buf` that is not
    /// empty means that the peer has finished sending, and `Ok(None)` that nothing is there yet.
    ///
    /// # Errors
    /// [`ConnectionError`].
    pub fn receive(
        &mut self,
        connection: ConnectionId,
        buf: &mut [u8],
    ) -> Result<Option<usize>, ConnectionError> {
        let _ = (connection, buf);
        todo!()
    }

    /// Copies as much of `data` as fits into the send buffer and returns how much, 0 when it is
    /// full. After less than all, [`Event::Writable`] follows when there is room.
    ///
    /// # Errors
    /// [`ConnectionError`].
    pub fn send(
        &mut self,
        connection: ConnectionId,
        data: &[u8],
    ) -> Result<usize, ConnectionError> {
        let _ = (connection, data);
        todo!()
    }

    /// Finishes sending: FIN after what is in the send buffer. Receiving goes on.
    ///
    /// # Errors
    /// [`ConnectionError`].
    pub fn shutdown(&mut self, connection: ConnectionId) -> Result<(), ConnectionError> {
        let _ = connection;
        todo!()
    }

    /// Ends the connection at once with RST.
    ///
    /// # Errors
    /// [`ConnectionError`].
    pub fn abort(&mut self, connection: ConnectionId) -> Result<(), ConnectionError> {
        let _ = connection;
        todo!()
    }

    /// Gives the connection back: the id is stale from now on, no event of it follows, and the
    /// slot is used again. One that is still open is finished in the background: FIN after its
    /// send buffer when nothing unread waits, else RST (RFC 2525 §2.17), within
    /// [`Self::LINGER`].
    ///
    /// # Errors
    /// [`ConnectionError::Unknown`].
    pub fn release(&mut self, connection: ConnectionId) -> Result<(), ConnectionError> {
        let _ = connection;
        todo!()
    }

    /// How long a released connection may take to finish before it is reset.
    pub const LINGER: Duration = Duration::from_secs(30);
}
