//! What a channel hands out: completions and their results; and why it refuses a command.
//!
//! Upstream: the channel, which makes completions of the stack's events. Downstream: the
//! application.

use crate::buffer::Buffer;
use crate::lwsocket::Lwsocket;
use core::fmt;
use core::net::SocketAddr;
use net::stack::{CloseReason, ConnectError, ListenError};

/// The application's own word, given at registration, back on every completion of that handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Cookie(pub u64);

/// Something that a command led to.
///
/// Reads and writes of one handle are told in the order in which they were done, receipts behind
/// those that are to be told at the same time, and its `Disconnect` is always the last. Nothing is
/// told of a handle after it was unregistered.
#[derive(Debug)]
pub enum Completion {
    /// A connection was accepted; `pending` more wait in the accept queue.
    Accept {
        /// The listener's cookie.
        cookie: Cookie,
        /// The connection. Dropping it instead of registering it finishes the connection.
        socket: Lwsocket,
        /// The peer's address.
        peer: SocketAddr,
        /// Connections still waiting when this one was accepted.
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
    /// when the peer resets or vanishes; what was received and not read by then is gone. After
    /// `disconnect` it comes when both sides have finished and what was received has been read. The
    /// handle stays until it is unregistered.
    Disconnect {
        /// The handle's cookie.
        cookie: Cookie,
        /// Who ended it.
        reason: CloseReason,
    },
    /// So many more of the receipts written to the connection have come back, in the order in which
    /// they were written: the peer has acknowledged all before them, or the connection broke, which
    /// its `Disconnect` says. Either way what was lent may be used again.
    Acknowledged {
        /// The handle's cookie.
        cookie: Cookie,
        /// How many, at least 1.
        receipts: usize,
    },
    /// A connect is done: the connection is open, or came to nothing.
    Connect {
        /// The cookie given to `connect`.
        cookie: Cookie,
        /// The connection, to be registered like an accepted one.
        result: Result<Lwsocket, ConnectFailure>,
    },
    /// A timer's time has come; it is no longer set.
    Timer {
        /// The timer's cookie.
        cookie: Cookie,
    },
    /// A listener's mask is another from here on, or the change was refused and it is as before.
    MaskChanged {
        /// The listener's cookie.
        cookie: Cookie,
        /// Why it was refused.
        result: Result<(), ListenError>,
    },
    /// The stack refused a listener (another core has taken part of its mask, say): no connection
    /// will be accepted on it.
    ListenFailed {
        /// The listener's cookie.
        cookie: Cookie,
        /// Why.
        error: ListenError,
    },
}

impl Completion {
    /// Returns the cookie of the handle or listener.
    pub fn cookie(&self) -> Cookie {
        match self {
            Completion::Accept { cookie, .. }
            | Completion::Read { cookie, .. }
            | Completion::Write { cookie, .. }
            | Completion::Acknowledged { cookie, .. }
            | Completion::Disconnect { cookie, .. }
            | Completion::Connect { cookie, .. }
            | Completion::Timer { cookie }
            | Completion::MaskChanged { cookie, .. }
            | Completion::ListenFailed { cookie, .. } => *cookie,
        }
    }
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

impl IoError {
    /// Returns what an operation under way is told when the connection ends for `reason`.
    pub(crate) fn from_close(reason: CloseReason) -> Self {
        match reason {
            CloseReason::Reset => IoError::Reset,
            CloseReason::TimedOut => IoError::TimedOut,
            CloseReason::Finished | CloseReason::Aborted => IoError::BrokenPipe,
        }
    }
}

impl fmt::Display for IoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            IoError::Reset => "connection reset by the peer",
            IoError::TimedOut => "the peer stopped answering",
            IoError::BrokenPipe => "this side has finished the connection",
        })
    }
}

impl core::error::Error for IoError {}

/// Why a connect came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectFailure {
    /// The peer answered with RST: nobody listens there.
    Refused,
    /// The peer did not answer.
    TimedOut,
    /// This side gave it up: its address is gone.
    Aborted,
    /// There was no room for another connection.
    OutOfMemory,
    /// No local port is free for this peer.
    NoPort,
    /// This side has no address yet.
    NoAddress,
    /// The address is none that can be connected to from here.
    BadAddress,
}

impl ConnectFailure {
    pub(crate) fn from_close(reason: CloseReason) -> Self {
        match reason {
            CloseReason::Reset => ConnectFailure::Refused,
            CloseReason::TimedOut => ConnectFailure::TimedOut,
            CloseReason::Finished | CloseReason::Aborted => ConnectFailure::Aborted,
        }
    }
}

impl From<ConnectError> for ConnectFailure {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::NoAddress => ConnectFailure::NoAddress,
            ConnectError::BadAddress => ConnectFailure::BadAddress,
            ConnectError::ConnectionsFull => ConnectFailure::OutOfMemory,
            ConnectError::PortsFull => ConnectFailure::NoPort,
        }
    }
}

impl fmt::Display for ConnectFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ConnectFailure::Refused => "connection refused by the peer",
            ConnectFailure::TimedOut => "the peer did not answer",
            ConnectFailure::Aborted => "this side has lost its address",
            ConnectFailure::OutOfMemory => "no room for another connection",
            ConnectFailure::NoPort => "no local port is free for this peer",
            ConnectFailure::NoAddress => "this side has no address yet",
            ConnectFailure::BadAddress => "not an address that can be connected to",
        })
    }
}

impl core::error::Error for ConnectFailure {}

/// Why a command was refused. Nothing was queued, and nothing will complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubmitError {
    /// The submission ring is full: return to the core, which flushes and comes back at once.
    RingFull,
    /// The handle is stale, or of another channel.
    UnknownHandle,
    /// A command of this kind is under way on this handle.
    Busy,
    /// Nothing to do: no bytes to write, no room in the buffer, a count of 0, nothing to cancel.
    Empty,
    /// The buffer is another channel's.
    ForeignBuffer,
    /// The core mask is empty. (That it names a core that does not run, or one that another channel
    /// has taken, is known to the stack only: see [`Completion::ListenFailed`].)
    BadMask,
    /// This channel has a listener on the port already.
    PortInUse,
    /// The channel has no room for another listener.
    TooManyListeners,
    /// As many connects are under way as there can be.
    TooManyConnects,
    /// Every timer is set.
    TooManyTimers,
    /// As many receipts are out as there can be.
    TooManyReceipts,
    /// More bytes than a datagram has.
    TooLarge,
    /// This side has finished sending; reads go on.
    BrokenPipe,
    /// The connection is over, by whom this says; its `Disconnect` is on its way or was told.
    Closed(CloseReason),
}

impl fmt::Display for SubmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SubmitError::RingFull => "the submission ring is full",
            SubmitError::UnknownHandle => "the handle is stale or of another channel",
            SubmitError::Busy => "a command of this kind is under way on this handle",
            SubmitError::Empty => "nothing to do",
            SubmitError::ForeignBuffer => "the buffer is another channel's",
            SubmitError::BadMask => "the core mask is empty",
            SubmitError::PortInUse => "this channel has a listener on the port already",
            SubmitError::TooManyListeners => "no room for another listener",
            SubmitError::TooManyConnects => "too many connects are under way",
            SubmitError::TooManyTimers => "every timer is set",
            SubmitError::TooLarge => "too large for a datagram",
            SubmitError::TooManyReceipts => "too many receipts are out",
            SubmitError::BrokenPipe => "this side has finished sending",
            SubmitError::Closed(CloseReason::Finished) => "both sides have finished",
            SubmitError::Closed(CloseReason::Reset) => "the peer has reset the connection",
            SubmitError::Closed(CloseReason::TimedOut) => "the peer stopped answering",
            SubmitError::Closed(CloseReason::Aborted) => "this side has ended the connection",
        })
    }
}

impl core::error::Error for SubmitError {}

/// A command that was refused, with what it was to send.
#[derive(Debug)]
pub struct Refused<T> {
    /// Why.
    pub error: SubmitError,
    /// What the caller gets back.
    pub payload: T,
}
