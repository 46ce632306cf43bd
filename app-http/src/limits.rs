//! Bounds of the HTTP server, with units.
//!
//! Two kinds: constants, which size tables and stack; and settings ([`HeadLimits`]), whose defaults
//! are here.

use core::time::Duration;

/// What a request's head may come to. It must fit into one buffer of the channel's pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes of the request line; longer ones are answered with 414.
    pub request_line_bytes: usize,
    /// Bytes of the whole head; longer ones are answered with 431.
    pub head_bytes: usize,
    /// Field lines; more are answered with 431.
    pub fields: usize,
}

impl Default for HeadLimits {
    fn default() -> Self {
        HeadLimits {
            request_line_bytes: 4 * 1024,
            head_bytes: 8 * 1024,
            fields: 64,
        }
    }
}

impl HeadLimits {
    /// Returns these limits for heads that must fit into `bytes`.
    #[inline]
    #[must_use]
    pub fn within(self, bytes: usize) -> Self {
        HeadLimits {
            head_bytes: self.head_bytes.min(bytes),
            ..self
        }
    }
}

/// Field sections that a core keeps, to know them again.
pub const KNOWN_SECTIONS: usize = 32;

/// Bytes of one; longer ones are parsed each time.
pub const KNOWN_SECTION_BYTES: usize = 1024;

/// Bytes of a target's path, decoded and normal; longer ones are answered with 414.
pub const MAX_TARGET_BYTES: usize = 4 * 1024;

/// Bytes of a Location's part that is made for a request; more are answered with 414.
pub const MAX_LOCATION_BYTES: usize = 4 * 1024;

/// Ranges of one answer; a request for more gets the whole page.
pub const MAX_RANGES: usize = 16;

/// Answers with several ranges under way on one core; further ones get the whole page.
pub const MAX_MULTIPARTS: usize = 64;

/// Bytes of a body in one write. A client that does not read is noticed once per write, and a
/// write may take [`Timeouts::write`](crate::settings::Timeouts) and the time that its bytes take at
/// the lowest rate.
pub const MAX_WRITE_BYTES: usize = 128 * 1024;

/// Bytes of an answer whose write is not told when it completes at once.
pub const MAX_QUIET_BYTES: usize = 16 * 1024;

/// Bytes of one line of the access log.
pub const LOG_LINE_BYTES: usize = 7 * 1024;

/// Bytes of a request's content that are read and thrown away so that the connection can be kept;
/// for more, it is closed after the answer.
pub const MAX_SKIPPED_BYTES: u64 = 64 * 1024;

/// Bytes that are read and thrown away before a connection is closed, so that the answer is not
/// lost to a reset (RFC 9112 §9.6).
pub const MAX_LINGER_BYTES: u32 = 256 * 1024;

/// Smallest buffer that real browsers' request heads fit into, in bytes.
pub const MIN_BUFFER_BYTES: usize = 2 * 1024;

/// How far apart the looks are at what has taken too long: a core on which nothing else happens wakes
/// for it this often at most, and a deadline is noticed this much later at most.
pub const LOOK_PERIOD: Duration = Duration::from_secs(1);

/// How often the boot core looks whether all servers have stopped, once they are to.
pub const STOP_PERIOD: Duration = Duration::from_millis(100);

/// How long their last bytes have to leave, when all have.
pub const LAST_BYTES: Duration = Duration::from_millis(500);

/// How long the admin port waits for the counters of a core. One that serves publishes within a turn.
pub const PUBLISH_PATIENCE: Duration = Duration::from_millis(200);

/// How often it looks whether they are there.
pub const PUBLISH_LOOK: Duration = Duration::from_millis(1);

/// Connections of the admin port at once.
pub const ADMIN_CONNECTIONS: usize = 8;

/// How long one may last.
pub const ADMIN_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of the ring that the access log's lines wait in.
pub const LOG_RING_BYTES: usize = 64 * 1024;

/// Lines of the access log that a run of the server gives to the sink: a slow sink must not hold up
/// requests.
pub const LOG_LINES_PER_RUN: usize = 2;

/// Connections that a server asks its listener for in advance.
pub const ACCEPT_CREDIT: u32 = 64;

const _: () = assert!(KNOWN_SECTION_BYTES.is_multiple_of(crate::scan::BLOCK_BYTES));
const _: () = assert!(MAX_MULTIPARTS <= u8::MAX as usize);
const _: () = assert!(MAX_SKIPPED_BYTES <= u32::MAX as u64);
