//! Bounds of the sockets, with units. What is sized when a system is made: connections, and with
//! them files, descriptors and the queues of both.

/// Events that one `wait` returns at most.
pub const EVENTS_PER_WAIT: usize = 32;

/// Bytes that one `send` takes at most: one page of kernel memory.
pub const SEND_PAGE_BYTES: usize = 2048;

/// Connections that one event of the listener may be answered with.
pub const ACCEPTS_PER_EVENT: usize = 8;
