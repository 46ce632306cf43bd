//! The access log: a line per answer, into a bounded ring that drops lines and never requests.
//!
//! Upstream: [`engine`](crate::engine), one line per answer or per so many. Downstream: whoever
//! takes the lines out, off the way of a request, and gives them to a [`LogSink`]. A line is written
//! into the ring at once, so that nothing of a request has to be kept; when the ring has no room, or
//! the line is too long for it, it is counted and gone.

use crate::counters::ServerCounters;
use crate::engine::Client;
use crate::fields::Field;
use crate::head;
use crate::limits::{HeadLimits, LOG_LINE_BYTES, LOG_LINES_PER_RUN};
use crate::log_line::{Line, LogForm};
use crate::request::{Answer, Content};
use alloc::boxed::Box;
use megapipe::Channel;

/// Where log lines go.
pub trait LogSink {
    /// Takes a line without line end, or refuses it for now, when it could not without waiting. `now`
    /// is a Unix time in seconds; what leaves by the network goes through `channel`.
    fn take(&mut self, line: &[u8], now: u64, channel: &mut Channel) -> bool;

    /// Returns how many lines it is given in one run of the server: a slow one few, since requests
    /// wait meanwhile.
    fn most_lines(&self) -> usize {
        LOG_LINES_PER_RUN
    }
}

/// What is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogConfig {
    /// How a line looks.
    pub form: LogForm,
    /// One of how many answers has a line; 1: each.
    pub sample: u32,
    /// Bytes of the ring.
    pub ring_bytes: usize,
}

/// One core's log.
#[derive(Debug)]
pub struct AccessLog {
    config: Option<LogConfig>,
    ring: LineRing,
    /// Answers until the next line.
    until_next: u32,
}

impl AccessLog {
    /// Makes a log and takes the memory of its ring; without `config` it never has a line.
    pub fn new(config: Option<LogConfig>) -> Self {
        AccessLog {
            ring: LineRing::new(config.map_or(0, |config| config.ring_bytes)),
            config,
            until_next: 0,
        }
    }

    /// Returns whether there is a log.
    #[inline(always)]
    pub fn is_on(&self) -> bool {
        self.config.is_some()
    }

    /// Writes a line about an answer, if it is its turn, and counts it. `input` starts with the request; `now` is a
    /// Unix time in seconds.
    #[inline(never)]
    pub(crate) fn record(
        &mut self,
        input: &[u8],
        answer: &Answer<'_, '_>,
        client: &Client,
        now: u64,
        counters: &mut ServerCounters,
    ) {
        let Some(config) = &self.config else {
            return;
        };
        if self.until_next > 0 {
            self.until_next -= 1;
            return;
        }
        self.until_next = config.sample.saturating_sub(1);
        let mut line = Line {
            peer: client.peer,
            now,
            status: answer.response.status,
            body_bytes: body_bytes(&answer.response.content),
            request: first_line(input),
            host: b"",
            referer: b"",
            user_agent: b"",
        };
        // Once more, since only a few answers may have a line.
        let limits = HeadLimits {
            request_line_bytes: usize::from(u16::MAX),
            head_bytes: usize::from(u16::MAX),
            fields: usize::MAX,
        };
        if let Ok(head) = head::parse(input, &limits) {
            line.request = head.line;
            line.host = head.fields.first(Field::Host).unwrap_or_default();
            line.referer = head.fields.other(b"referer").unwrap_or_default();
            line.user_agent = head.fields.other(b"user-agent").unwrap_or_default();
        }
        let mut text = heapless::Vec::<u8, LOG_LINE_BYTES>::new();
        line.write(config.form, &mut text);
        if self.ring.push(&text) {
            counters.log_lines += 1;
        } else {
            counters.log_lines_dropped += 1;
        }
    }

    /// Gives lines to `sink`, oldest first, until there are none, it refuses one, or it has had as
    /// many as it takes in a run; returns whether there may be more for the next.
    #[inline]
    pub fn drain(&mut self, sink: &mut dyn LogSink, now: u64, channel: &mut Channel) -> bool {
        !self.ring.is_empty() && self.drain_lines(sink, now, channel)
    }

    /// Not inlined: the line's room, which is cleared, is only for when there is one.
    #[inline(never)]
    fn drain_lines(&mut self, sink: &mut dyn LogSink, now: u64, channel: &mut Channel) -> bool {
        let mut line = [0; LOG_LINE_BYTES];
        for _ in 0..sink.most_lines() {
            let Some(bytes) = self.ring.peek(&mut line) else {
                return false;
            };
            if !sink.take(&line[..bytes], now, channel) {
                return false;
            }
            self.ring.pop();
        }
        !self.ring.is_empty()
    }
}

/// Returns the first line of bytes that are no request, as far as it has come.
fn first_line(input: &[u8]) -> &[u8] {
    let start = input.iter().position(|byte| !matches!(byte, b'\r' | b'\n'));
    let line = &input[start.unwrap_or(input.len())..];
    let end = line.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
    &line[..end.unwrap_or(line.len())]
}

/// Returns the bytes of a response's body.
fn body_bytes(content: &Content<'_, '_>) -> u64 {
    let behind_head = |rest: &[u8]| {
        let end = rest.windows(4).position(|window| window == b"\r\n\r\n");
        rest.len() - end.map_or(rest.len(), |end| end + 4)
    };
    match content {
        Content::Prepared { rest, .. } => behind_head(rest) as u64,
        Content::Inserted { behind, .. } => behind_head(behind) as u64,
        Content::Part(_, range) => range.bytes(),
        Content::Parts(_, ranges) => ranges.iter().map(|range| range.bytes()).sum(),
        Content::Unsatisfiable(_) => 0,
    }
}

/// Lines of different lengths in a ring of bytes, each behind its length in two bytes.
#[derive(Debug)]
struct LineRing {
    bytes: Box<[u8]>,
    start: usize,
    length: usize,
}

const LENGTH_BYTES: usize = 2;

impl LineRing {
    fn new(bytes: usize) -> Self {
        LineRing {
            bytes: alloc::vec![0; bytes].into_boxed_slice(),
            start: 0,
            length: 0,
        }
    }

    /// Appends a line; `false` when there is no room for it.
    fn push(&mut self, line: &[u8]) -> bool {
        let Ok(length) = u16::try_from(line.len()) else {
            return false;
        };
        if self.length + LENGTH_BYTES + line.len() > self.bytes.len() {
            return false;
        }
        for byte in length.to_le_bytes().iter().chain(line) {
            let place = (self.start + self.length) % self.bytes.len();
            self.bytes[place] = *byte;
            self.length += 1;
        }
        true
    }

    /// Copies the oldest line and returns its length.
    fn peek(&self, line: &mut [u8; LOG_LINE_BYTES]) -> Option<usize> {
        let length = self.first_length()?;
        for (offset, byte) in line.iter_mut().take(length).enumerate() {
            *byte = self.at(LENGTH_BYTES + offset);
        }
        Some(length)
    }

    /// Removes the oldest line.
    fn pop(&mut self) {
        if let Some(length) = self.first_length() {
            self.start = (self.start + LENGTH_BYTES + length) % self.bytes.len();
            self.length -= LENGTH_BYTES + length;
        }
    }

    fn is_empty(&self) -> bool {
        self.length == 0
    }

    fn first_length(&self) -> Option<usize> {
        let length = u16::from_le_bytes([self.at(0), self.at(1)]);
        (self.length > 0).then_some(length.into())
    }

    fn at(&self, offset: usize) -> u8 {
        let places = self.bytes.len().max(1);
        let byte = self.bytes.get((self.start + offset) % places);
        byte.copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;
    use std::vec::Vec;

    #[test]
    fn a_ring_gives_back_lines_in_order_and_refuses_what_has_no_room() {
        let mut ring = LineRing::new(100);
        let mut model: VecDeque<Vec<u8>> = VecDeque::new();
        let mut state = 7u32;
        for round in 0..10_000u32 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if state >> 31 == 0 {
                let line: Vec<u8> = (0..state >> 8 & 0x1f)
                    .map(|at| (round + at) as u8)
                    .collect();
                let used: usize = model.iter().map(|line| line.len() + LENGTH_BYTES).sum();
                let has_room = used + line.len() + LENGTH_BYTES <= 100;
                assert_eq!(ring.push(&line), has_room);
                if has_room {
                    model.push_back(line);
                }
            } else {
                let mut line = [0; LOG_LINE_BYTES];
                let found = ring.peek(&mut line).map(|length| line[..length].to_vec());
                assert_eq!(found, model.pop_front());
                ring.pop();
            }
        }
    }

    #[test]
    fn a_ring_without_memory_takes_nothing() {
        let mut ring = LineRing::new(0);
        assert!(!ring.push(b""));
        assert_eq!(ring.peek(&mut [0; LOG_LINE_BYTES]), None);
    }
}
