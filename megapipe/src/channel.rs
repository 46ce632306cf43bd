//! The channel: an application's one door to the network, per core.

use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;
use kernel::CoreMask;
use net::stack::ConnectionId;

/// The application's own word, given at registration, back on every completion of that handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cookie(pub u64);

/// A registered lwsocket: index and generation inside one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Handle(ConnectionId);

/// A registered listener inside one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ListenHandle(u8);

/// A lightweight socket: an accepted connection that is not registered yet.
#[derive(Debug, PartialEq, Eq)]
pub struct Lwsocket(ConnectionId);

/// Bytes of the channel's pool; returns there when dropped. Filled from the front by reads.
#[derive(Debug)]
pub struct Buffer {
    bytes: Vec<u8>,
}

impl Buffer {
    /// Returns the bytes filled so far.
    pub fn filled(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns how many more bytes fit.
    pub fn spare(&self) -> usize {
        self.bytes.capacity() - self.bytes.len()
    }

    /// Removes the first `count` filled bytes (at most all), moving the rest to the front.
    pub fn consume(&mut self, count: usize) {
        let _ = count;
        todo!()
    }

    /// Appends as much of `data` as fits and returns how much.
    pub fn append(&mut self, data: &[u8]) -> usize {
        let _ = data;
        todo!()
    }
}

/// One piece of a write. The channel holds it until the write completes.
#[derive(Debug)]
pub enum IoSlice {
    /// Memory that outlives everything, such as the packed site: sent by reference.
    Static(&'static [u8]),
    /// A buffer of the pool, returned there when the write is complete.
    Buffer(Buffer),
    /// A few bytes carried in the command itself.
    Inline(heapless::Vec<u8, { IoSlice::INLINE_BYTES }>),
}

impl IoSlice {
    /// Largest `Inline` piece, in bytes.
    pub const INLINE_BYTES: usize = 48;
}

/// The pieces of one `writev`, sent in order.
pub type IoVec = heapless::Vec<IoSlice, 4>;

/// What a channel is made with.
#[derive(Debug, Clone)]
pub struct ChannelConfig {
    /// Handles at once; as many as the stack has connections.
    pub handles: usize,
    /// Commands that are collected before they are flushed; the paper's 32.
    pub batch: usize,
    /// Buffers in the pool.
    pub buffers: usize,
    /// Bytes of each buffer.
    pub buffer_bytes: usize,
}

/// Something that a command led to.
#[derive(Debug)]
pub enum Completion {
    /// A connection was accepted; `pending` more wait in the accept queue.
    Accept {
        /// The listener's cookie.
        cookie: Cookie,
        /// The connection.
        socket: Lwsocket,
        /// The peer's address.
        peer: SocketAddr,
        /// Connections still waiting.
        pending: usize,
    },
    /// A read is done. `Ok(0)`: the peer has finished sending.
    Read {
        /// The handle's cookie.
        cookie: Cookie,
        /// The buffer read into: always there after `Ok(n)` with n > 0 and after `read_into`.
        buffer: Option<Buffer>,
        /// Bytes appended to the buffer.
        result: Result<usize, IoError>,
    },
    /// A write is done: all of it is in the send queue, or the connection broke first.
    Write {
        /// The handle's cookie.
        cookie: Cookie,
        /// Bytes moved to the send queue.
        result: Result<usize, IoError>,
    },
    /// The connection is over; at most once per handle, and nothing follows it. Comes by itself
    /// when the peer resets or vanishes, and after `disconnect` when both sides have finished.
    Disconnect {
        /// The handle's cookie.
        cookie: Cookie,
        /// Who ended it.
        reason: net::stack::CloseReason,
    },
}

/// Why a read or write failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IoError {
    /// The peer sent RST.
    Reset,
    /// The peer stopped answering.
    TimedOut,
    /// This side has finished or aborted the connection.
    BrokenPipe,
}

/// Why a command was refused. Nothing was queued, and nothing will complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubmitError {
    /// The submission ring is full: dispatch first.
    RingFull,
    /// The handle is stale.
    UnknownHandle,
    /// A command of this kind is under way on this handle.
    Busy,
    /// Nothing to do: no bytes to write, no room in the buffer, a count of 0.
    Empty,
    /// The core mask is empty, names a core that does not run, or overlaps another of this port.
    BadMask,
    /// This side has finished sending.
    BrokenPipe,
}

/// A command that was refused, with what it was to send.
#[derive(Debug)]
pub struct Refused<T> {
    /// Why.
    pub error: SubmitError,
    /// What the caller gets back.
    pub payload: T,
}

/// A channel: the submission ring, the completion ring, and the handles between them.
pub struct Channel {
    _config: ChannelConfig,
}

impl Channel {
    /// Commands that are sure to fit while one completion is being handled.
    pub const COMMANDS_PER_COMPLETION: usize = 4;

    /// Creates a channel (`mp_create`) and takes all the memory it will ever use.
    pub fn create(config: ChannelConfig) -> Self {
        Channel { _config: config }
    }

    /// Registers a listener on `port` for the cores of `cpu_mask` (`mp_register` of a listening
    /// socket). Its completions carry `cookie`.
    ///
    /// # Errors
    /// [`SubmitError::BadMask`], [`SubmitError::RingFull`].
    pub fn listen(
        &mut self,
        port: u16,
        cookie: Cookie,
        cpu_mask: CoreMask,
    ) -> Result<ListenHandle, SubmitError> {
        let _ = (port, cookie, cpu_mask);
        todo!()
    }

    /// Registers a lwsocket (`mp_register`).
    pub fn register(&mut self, socket: Lwsocket, cookie: Cookie) -> Handle {
        let _ = (socket, cookie);
        todo!()
    }

    /// Forgets the handle, cancels what is under way on it, and frees the lwsocket; the connection
    /// is finished in the background (`mp_unregister`).
    ///
    /// # Errors
    /// [`SubmitError::UnknownHandle`], [`SubmitError::RingFull`].
    pub fn unregister(&mut self, handle: Handle) -> Result<(), SubmitError> {
        let _ = handle;
        todo!()
    }

    /// Asks for `count` connections (`mp_accept`); adds to what was asked before.
    ///
    /// # Errors
    /// [`SubmitError::Empty`] for 0, [`SubmitError::RingFull`].
    pub fn accept(&mut self, listener: ListenHandle, count: u32) -> Result<(), SubmitError> {
        let _ = (listener, count);
        todo!()
    }

    /// Reads into a buffer of the pool, taken only when there is something to read (`mp_read`).
    ///
    /// # Errors
    /// [`SubmitError`].
    pub fn read(&mut self, handle: Handle) -> Result<(), SubmitError> {
        let _ = handle;
        todo!()
    }

    /// Reads into the spare room of `buffer`, behind what it holds already (`mp_read`).
    ///
    /// # Errors
    /// [`SubmitError`], with the buffer.
    pub fn read_into(&mut self, handle: Handle, buffer: Buffer) -> Result<(), Refused<Buffer>> {
        let _ = handle;
        Err(Refused {
            error: SubmitError::RingFull,
            payload: buffer,
        })
    }

    /// Writes the pieces in order (`mp_write`, `mp_writev`).
    ///
    /// # Errors
    /// [`SubmitError`], with the pieces.
    pub fn writev(&mut self, handle: Handle, pieces: IoVec) -> Result<(), Refused<IoVec>> {
        let _ = handle;
        Err(Refused {
            error: SubmitError::RingFull,
            payload: pieces,
        })
    }

    /// Finishes sending after what is under way (`mp_disconnect`); reads go on until the peer
    /// finishes too. Neither frees nor unregisters the handle.
    ///
    /// # Errors
    /// [`SubmitError`].
    pub fn disconnect(&mut self, handle: Handle) -> Result<(), SubmitError> {
        let _ = handle;
        todo!()
    }

    /// Takes an empty buffer from the pool, `None` when all are out.
    pub fn buffer(&mut self) -> Option<Buffer> {
        todo!()
    }

    /// Hands out the next completion (`mp_dispatch`). `None`: there is none now, or the submission
    /// ring has less than [`Self::COMMANDS_PER_COMPLETION`] free places; the application returns
    /// to the core, which flushes, waits at most `timeout` (for ever when `None`), and runs it
    /// again.
    pub fn dispatch(&mut self, timeout: Option<Duration>) -> Option<Completion> {
        let _ = timeout;
        todo!()
    }
}
