//! Bounds of the HTTP server, with units.
//!
//! The head of a request (request line and field lines) must fit into one buffer of the channel's
//! pool; its size is the channel's to choose, see [`MIN_BUFFER_BYTES`].

/// Field lines of one request; more are answered with 431.
pub const MAX_FIELDS: usize = 64;

/// Bytes of a target's path, decoded and normal; longer ones are answered with 414.
pub const MAX_TARGET_BYTES: usize = 4 * 1024;

/// Bytes of a request's content that are read and thrown away so that the connection can be kept;
/// for more, it is closed after the answer.
pub const MAX_SKIPPED_BYTES: u64 = 64 * 1024;

/// Bytes that are read and thrown away before a connection is closed, so that the answer is not
/// lost to a reset (RFC 9112 §9.6).
pub const MAX_LINGER_BYTES: u32 = 256 * 1024;

/// Smallest buffer that real browsers' request heads fit into, in bytes.
pub const MIN_BUFFER_BYTES: usize = 2 * 1024;

/// Connections that a server asks its listener for in advance.
pub const ACCEPT_CREDIT: u32 = 64;

const _: () = assert!(MAX_SKIPPED_BYTES <= u32::MAX as u64);
