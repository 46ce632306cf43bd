//! Bounds of the channel, with units and the arithmetic between them.
//!
//! What is sized by [`ChannelConfig`](crate::channel::ChannelConfig) rather than here: handles and
//! their ready ring (`handles` places: a handle is in it at most once), timers (`timers`), writes under way
//! (`handles`: one per handle), the submission ring (`batch` +
//! [`Channel::COMMANDS_PER_COMPLETION`](crate::Channel::COMMANDS_PER_COMPLETION)), buffers
//! (`buffers`).

/// Commands that collect before a flush unless the configuration says otherwise: the paper's 32.
pub const DEFAULT_BATCH_COMMANDS: usize = 32;

/// Listeners of one channel.
pub const LISTENERS: usize = 8;

/// Connections that one listener keeps waiting in the stack for an `accept`, at most; never more
/// than the channel has handles.
pub const BACKLOG_CONNECTIONS: usize = 1024;

/// Accept completions that wait for dispatch; what is beyond stays in the stack's accept queue.
pub const ACCEPTS_WAITING: usize = 128;

/// Pieces of one `writev`.
pub const WRITE_PIECES: usize = 8;

/// Connects of a channel that were asked for and not told.
pub const CONNECTS: usize = 256;

/// Receipts of a channel that were given out and not told.
pub const RECEIPTS: usize = 256;

/// Commands that are sure to fit while one completion is being handled.
pub const COMMANDS_PER_COMPLETION: usize = 4;

/// Datagrams of a channel that wait to be sent.
pub const DATAGRAMS: usize = 16;

/// Bytes of one: what fits into a packet of 1500 bytes behind the headers of IPv4 and UDP.
pub const DATAGRAM_BYTES: usize = 1472;

/// Events of a trace that are kept for each core, of 16 bytes each.
pub const TRACE_EVENTS: usize = 2048;

/// Times per turn that application and submissions alternate before frames are sent. A client that
/// always has one more request waiting cannot keep the core from its transmit queue.
pub const ROUNDS_PER_TURN: usize = 16;

/// Bytes of one handle while nothing is under way on it: its slot, and its place in each of the
/// lists that have one for every handle.
pub const IDLE_HANDLE_BYTES: usize = 64;

/// How long a core may be told to look on before a sleep: beyond that a sleep costs nothing to speak of.
pub const POLL_MOST: core::time::Duration = core::time::Duration::from_millis(10);

/// Bytes of these lists for each handle: the completion ring, whose places are a power of two, and the
/// lwsockets that were dropped.
pub(crate) const HANDLE_LISTS_BYTES: usize = 2 * 4 + 4;

const _: () = assert!(LISTENERS <= u8::MAX as usize);
const _: () = assert!(ACCEPTS_WAITING >= DEFAULT_BATCH_COMMANDS);
const _: () = assert!(CONNECTS <= u16::MAX as usize && RECEIPTS <= u16::MAX as usize);
const _: () = assert!(ROUNDS_PER_TURN > 0);
