//! What a request is answered with, as references: not yet in bytes.
//!
//! Upstream: [`request`](crate::request), which finds it. Downstream:
//! [`response`](crate::response), which puts it into bytes, or whatever else carries HTTP.

use crate::range::{ByteRange, Ranges};
use crate::refusal::Refusal;
use site::Variant;

/// The answer to one request.
#[derive(Debug, Clone)]
pub struct Answer<'s, 'r> {
    /// Bytes of the request's head; the next byte is content or another request.
    pub consumed: usize,
    /// What is to be sent.
    pub response: Response<'s, 'r>,
    /// What becomes of the connection then.
    pub next: Next,
    /// Why the request was refused, if it was.
    pub refusal: Option<Refusal>,
}

/// A response: a status line, Date, the line of `connection`, and the content.
#[derive(Debug, Clone)]
pub struct Response<'s, 'r> {
    /// The status code.
    pub status: u16,
    /// The line that says whether the connection stays.
    pub connection: ConnectionLine,
    /// It answers HEAD: no body goes with it.
    pub is_head: bool,
    /// Everything else.
    pub content: Content<'s, 'r>,
}

/// What a response has behind status line, Date and Connection.
#[derive(Debug, Clone)]
pub enum Content<'s, 'r> {
    /// All of it is prepared: field lines, blank line and body are one piece.
    Prepared {
        /// The status line with its line end.
        status_line: &'s [u8],
        /// The rest.
        rest: &'s [u8],
    },
    /// The same, with bytes to be put in: the rest of a Location.
    Inserted {
        /// The status line with its line end.
        status_line: &'s [u8],
        /// What is before them.
        before: &'s [u8],
        /// The bytes.
        inserted: &'r [u8],
        /// What is behind them.
        behind: &'s [u8],
    },
    /// 206 with one range of a page (RFC 9110 §15.3.7.1).
    Part(Variant<'s>, ByteRange),
    /// 206 with several (RFC 9110 §15.3.7.2).
    Parts(Variant<'s>, &'r Ranges),
    /// 416 for a page (RFC 9110 §15.5.17).
    Unsatisfiable(Variant<'s>),
}

/// The Connection line of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionLine {
    /// None: the connection stays, as is usual in HTTP/1.1.
    Absent,
    /// `keep-alive`, for a client of HTTP/1.0 that asked for it.
    KeepAlive,
    /// `close`.
    Close,
}

/// What becomes of a connection behind an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Another request, after `skip` bytes of content that are thrown away.
    Request {
        /// At most [`MAX_SKIPPED_BYTES`](crate::limits::MAX_SKIPPED_BYTES).
        skip: u32,
    },
    /// The connection is closed; the request was read to its end.
    Close,
    /// The connection is closed, but the client may still be sending: what comes is to be read
    /// and thrown away for a while, since a reset would take the answer with it (RFC 9112 §9.6).
    Linger,
}
