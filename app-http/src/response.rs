//! From a response to the pieces of a write.
//!
//! A response is two to five pieces: status line, the packed head, the Date line with the blank line, and the
//! body, head and body by reference. Upstream: [`request`](crate::request). Downstream:
//! `Channel::writev`.

use crate::request::{ConnectionLine, Response};
use kernel::Instant;
use megapipe::channel::{IoSlice, IoVec};
use site::date::{DATE_BYTES, http_date};

const NAME: &[u8; 6] = b"Date: ";
const LINE_BYTES: usize = NAME.len() + DATE_BYTES + 2;
const _: () = assert!(LINE_BYTES + 2 <= IoSlice::INLINE_BYTES);

/// The Date line of every response, written once a second (RFC 9110 §6.6.1).
#[derive(Debug, Clone)]
pub struct DateLine {
    /// Unix time at boot, in seconds.
    unix_seconds_at_boot: u64,
    /// The second after boot that `line` shows.
    second: u64,
    /// `Date: …`, its line end, and a blank line.
    line: [u8; LINE_BYTES + 2],
}

impl DateLine {
    /// Makes the line for the moment of boot, a Unix time in seconds.
    pub fn new(unix_seconds_at_boot: u64) -> Self {
        let mut date = DateLine {
            unix_seconds_at_boot,
            second: 0,
            line: [0; LINE_BYTES + 2],
        };
        date.write();
        date
    }

    /// Brings the line up to date.
    #[inline]
    pub fn handle_time(&mut self, now: Instant) {
        let second = now.as_nanos() / 1_000_000_000;
        if second != self.second {
            self.second = second;
            self.write();
        }
    }

    fn write(&mut self) {
        let date = http_date(self.unix_seconds_at_boot.saturating_add(self.second));
        let (name, rest) = self.line.split_at_mut(NAME.len());
        name.copy_from_slice(NAME);
        let (value, ends) = rest.split_at_mut(DATE_BYTES);
        value.copy_from_slice(&date);
        ends.copy_from_slice(b"\r\n\r\n");
    }

    /// Returns the line with its line end, and the blank line if it is to end the head.
    #[inline]
    fn inline(&self, ends_head: bool) -> IoSlice {
        // Two copies of a known length each. They fit, by the assertion above.
        let line = if ends_head {
            heapless::Vec::from_slice(&self.line)
        } else {
            heapless::Vec::from_slice(&self.line[..LINE_BYTES])
        };
        IoSlice::Inline(line.unwrap_or_default())
    }
}

/// Returns how many pieces a response takes.
#[inline]
pub fn piece_count(response: &Response<'_>) -> usize {
    2 + usize::from(!response.status_line.is_empty())
        + usize::from(response.connection != ConnectionLine::Absent)
        + usize::from(!response.body.is_empty())
}

/// Adds a response to the pieces of a write; `false`, and nothing is added, when it does not fit.
#[inline]
pub fn push(response: &Response<'static>, date: &DateLine, pieces: &mut IoVec) -> bool {
    if pieces.len() + piece_count(response) > pieces.capacity() {
        return false;
    }
    let connection: &[u8] = match response.connection {
        ConnectionLine::Absent => b"",
        ConnectionLine::KeepAlive => b"Connection: keep-alive\r\n\r\n",
        ConnectionLine::Close => b"Connection: close\r\n\r\n",
    };
    // The room was checked above: no push fails.
    if !response.status_line.is_empty() {
        let _ = pieces.push(IoSlice::Static(response.status_line));
    }
    let _ = pieces.push(IoSlice::Static(response.head));
    let _ = pieces.push(date.inline(connection.is_empty()));
    if !connection.is_empty() {
        let _ = pieces.push(IoSlice::Static(connection));
    }
    if !response.body.is_empty() {
        let _ = pieces.push(IoSlice::Static(response.body));
    }
    true
}
