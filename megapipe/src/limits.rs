//! Bounds of the channel, with units and the arithmetic between them.
//!
//! What is sized by [`ChannelConfig`](crate::channel::ChannelConfig) rather than here: handles and
//! their ready ring (`handles` places: a handle is in it at most once), writes under way
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

/// Bytes of an inline piece.
pub const INLINE_BYTES: usize = 64;

/// Commands that are sure to fit while one completion is being handled.
pub const COMMANDS_PER_COMPLETION: usize = 4;

/// Times per turn that application and submissions alternate before frames are sent. A client that
/// always has one more request waiting cannot keep the core from its transmit queue.
pub const ROUNDS_PER_TURN: usize = 16;

/// Bytes of one handle while nothing is under way on it.
pub const IDLE_HANDLE_BYTES: usize = 64;

const _: () = assert!(LISTENERS <= u8::MAX as usize);
const _: () = assert!(ACCEPTS_WAITING >= DEFAULT_BATCH_COMMANDS);
const _: () = assert!(INLINE_BYTES <= u8::MAX as usize);
const _: () = assert!(ROUNDS_PER_TURN > 0);
