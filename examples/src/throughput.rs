//! A peer to measure bulk transfers with, as ttcp and iperf3 are: it takes what comes, counts it and
//! throws it away, and sends as much as it is asked for.
//!
//! A client says in its first line how many bytes it wants, `BYTES` or `BYTES cksum`, and sends what it
//! likes behind it; it gets those bytes ([`Pattern`]), and when it has finished, a line that says what
//! came of its own: `RECEIVED`, or `SUM RECEIVED` as POSIX cksum prints it. Both ways go at once.
//!
//! Upstream: completions. Downstream: commands. One piece is being written on a connection at a time;
//! the send queue has some more, all of the same static memory. A line that cannot be is answered with
//! [`USAGE`], and a connection on which nothing moves for `PATIENCE` is broken off.

use crate::cksum::Sum;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;
use megapipe::{
    Application, Channel, Completion, Cookie, Handle, Instant, IoSlice, TimerHandle, Versions,
};

/// The listener's cookie.
pub const LISTENER: Cookie = Cookie(u64::MAX);

/// The answer to a first line that cannot be.
pub const USAGE: &str = "error: wanted a line: BYTES or BYTES cksum\n";

/// A connection on which nothing moved for this long is broken off, twice as long at most.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes of the first line: a number of 20 digits and a word.
const LINE_BYTES: usize = 32;

/// Bytes of the last one: two numbers.
const ANSWER_BYTES: usize = 40;

/// What is sent, again and again from its beginning. Its length has no factor that lengths of packets,
/// chunks or rings have, so bytes that are lost or come twice do not go unseen.
#[derive(Debug, Clone, Copy)]
pub struct Pattern(&'static [u8]);

impl Pattern {
    /// Bytes until it begins anew: two primes.
    pub const BYTES: usize = 251 * 1021;

    /// Takes memory for it, for ever.
    pub fn new() -> Self {
        let byte = |place: u32| (place.wrapping_mul(2_654_435_761) >> 24) as u8;
        let bytes: Vec<u8> = (0..Self::BYTES as u32).map(byte).collect();
        Pattern(Box::leak(bytes.into_boxed_slice()))
    }

    /// Returns the next piece of so many bytes that are still to be sent.
    fn piece(self, left: u64) -> IoSlice {
        let length = left.min(Self::BYTES as u64) as usize;
        IoSlice::from_static(&self.0[..length])
    }
}

impl Default for Pattern {
    fn default() -> Self {
        Pattern::new()
    }
}

/// What a client's first line asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Order {
    bytes: u64,
    wants_sum: bool,
}

impl Order {
    /// Reads a line without its end.
    fn parse(line: &[u8]) -> Option<Self> {
        let line = core::str::from_utf8(line).ok()?;
        let mut words = line.split_ascii_whitespace();
        let bytes = words.next()?.parse().ok()?;
        let wants_sum = match words.next() {
            None => false,
            Some("cksum") => true,
            Some(_) => return None,
        };
        words.next().is_none().then_some(Order { bytes, wants_sum })
    }
}

/// How far a client is.
#[derive(Debug)]
enum Stage {
    /// Its first line is not whole.
    Asking(heapless::Vec<u8, LINE_BYTES>),
    /// Bytes go to and fro.
    Moving,
    /// Its first line cannot be, which it has not been told.
    Refused,
    /// All is said.
    Over,
}

/// One connection.
#[derive(Debug)]
struct Client {
    handle: Handle,
    timer: Option<TimerHandle>,
    stage: Stage,
    /// Bytes that no write has taken.
    to_send: u64,
    is_writing: bool,
    received: u64,
    sum: Option<Sum>,
    has_finished: bool,
    has_moved: bool,
}

/// What a core counts.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    transfers: u64,
    bytes_received: u64,
    bytes_sent: u64,
    refused_lines: u64,
    broken_off: u64,
}

/// One core's part.
#[derive(Debug)]
pub struct Throughput {
    pattern: Pattern,
    clients: Vec<Option<Client>>,
    /// A connection has one at most.
    answers: Versions,
    counts: Counts,
}

impl Throughput {
    /// Bytes that a connection takes here.
    pub const CONNECTION_BYTES: usize =
        size_of::<Option<Client>>() + ANSWER_BYTES + 2 * size_of::<usize>() + size_of::<IoSlice>();

    /// Makes room for the connections of a channel.
    pub fn new(pattern: Pattern, connections: usize) -> Self {
        Throughput {
            pattern,
            clients: (0..connections).map(|_| None).collect(),
            answers: Versions::new(connections, ANSWER_BYTES),
            counts: Counts::default(),
        }
    }

    fn handle(&mut self, channel: &mut Channel, completion: Completion) {
        let cookie = completion.cookie();
        let index = cookie.0 as usize;
        if let Completion::ListenFailed { error, .. } = completion {
            log::error!("nobody can connect: {error}");
            return;
        }
        if let Completion::Accept { socket, .. } = completion {
            let (index, cookie) = (socket.index(), Cookie(socket.index() as u64));
            let handle = channel.register(socket, cookie);
            // A command that is refused: the connection is over, and its end follows.
            let _ = channel.read_multishot(handle);
            self.clients[index] = Some(Client::new(handle, channel.timer(PATIENCE, cookie).ok()));
            return;
        }
        let Some(client) = self.clients.get_mut(index).and_then(Option::as_mut) else {
            return;
        };
        match completion {
            Completion::Read {
                buffer: Some(buffer),
                ..
            } => {
                client.take(buffer.filled(), &mut self.counts);
            }
            Completion::Read { result: Ok(0), .. } => client.finish(&mut self.counts),
            Completion::Write {
                result: Ok(bytes), ..
            } => {
                client.is_writing = false;
                client.has_moved = true;
                self.counts.bytes_sent += bytes as u64;
            }
            Completion::Timer { .. } => {
                client.timer = None;
                if core::mem::take(&mut client.has_moved) {
                    client.timer = channel.timer(PATIENCE, cookie).ok();
                } else {
                    self.counts.broken_off += 1;
                    let _ = channel.abort(client.handle);
                }
            }
            Completion::Disconnect { .. } => {
                if let Some(timer) = client.timer {
                    let _ = channel.cancel_timer(timer);
                }
                let _ = channel.unregister(client.handle);
                self.clients[index] = None;
                return;
            }
            _ => return,
        }
        client.send(channel, self.pattern, &mut self.answers, &mut self.counts);
    }
}

impl Client {
    fn new(handle: Handle, timer: Option<TimerHandle>) -> Self {
        Client {
            handle,
            timer,
            stage: Stage::Asking(heapless::Vec::new()),
            to_send: 0,
            is_writing: false,
            received: 0,
            sum: None,
            has_finished: false,
            has_moved: true,
        }
    }

    /// Takes bytes in: of the first line, then of what is counted.
    fn take(&mut self, mut bytes: &[u8], counts: &mut Counts) {
        self.has_moved = true;
        if let Stage::Asking(line) = &mut self.stage {
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let part = &bytes[..end.unwrap_or(bytes.len())];
            let is_too_long = line.extend_from_slice(part).is_err();
            bytes = end.map_or(&[], |end| &bytes[end + 1..]);
            if is_too_long || end.is_some() {
                self.begin(is_too_long, counts);
            }
        }
        if let Stage::Moving = self.stage {
            self.received += bytes.len() as u64;
            counts.bytes_received += bytes.len() as u64;
            if let Some(sum) = &mut self.sum {
                sum.add(bytes);
            }
        }
    }

    /// The first line is there, or is none.
    fn begin(&mut self, is_too_long: bool, counts: &mut Counts) {
        let Stage::Asking(line) = &self.stage else {
            return;
        };
        match Order::parse(line).filter(|_| !is_too_long) {
            Some(order) => {
                self.to_send = order.bytes;
                self.sum = order.wants_sum.then(Sum::new);
                self.stage = Stage::Moving;
            }
            None => {
                counts.refused_lines += 1;
                self.stage = Stage::Refused;
            }
        }
    }

    /// The client has finished sending.
    fn finish(&mut self, counts: &mut Counts) {
        self.has_finished = true;
        if matches!(&self.stage, Stage::Asking(line) if !line.is_empty()) {
            self.begin(false, counts);
        }
    }

    /// Writes what is next, if nothing is being written: a piece, or the answer and the end.
    fn send(
        &mut self,
        channel: &mut Channel,
        pattern: Pattern,
        answers: &mut Versions,
        counts: &mut Counts,
    ) {
        match self.stage {
            _ if self.is_writing => {}
            Stage::Moving if self.to_send > 0 => {
                let piece = pattern.piece(self.to_send);
                self.to_send -= piece.bytes().len() as u64;
                // Refused when the connection is over: its end is on its way.
                self.is_writing = channel.write(self.handle, piece).is_ok();
            }
            Stage::Moving if self.has_finished => {
                counts.transfers += 1;
                let received = self.received;
                let answer = match self.sum.take() {
                    None => answers.format(format_args!("{received}\n")),
                    Some(sum) => answers.format(format_args!("{} {received}\n", sum.end())),
                };
                self.end(channel, answer);
            }
            Stage::Refused => self.end(channel, Some(IoSlice::from_static(USAGE.as_bytes()))),
            // It has said nothing, and is told nothing.
            Stage::Asking(_) if self.has_finished => self.end(channel, None),
            _ => {}
        }
    }

    /// Says the last words and finishes.
    fn end(&mut self, channel: &mut Channel, words: Option<IoSlice>) {
        self.stage = Stage::Over;
        if let Some(words) = words {
            let _ = channel.write(self.handle, words);
        }
        let _ = channel.disconnect(self.handle);
    }
}

impl Application for Throughput {
    fn run(&mut self, channel: &mut Channel, _now: Instant) {
        while let Some(completion) = channel.dispatch(None) {
            self.handle(channel, completion);
        }
    }

    fn tell_counters(&self, tell: &mut dyn FnMut(&'static str, u64)) {
        tell("transfers", self.counts.transfers);
        tell("bytes_received", self.counts.bytes_received);
        tell("bytes_sent", self.counts.bytes_sent);
        tell("refused_lines", self.counts.refused_lines);
        tell("broken_off", self.counts.broken_off);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_a_number_and_perhaps_a_word() {
        let order = |bytes, wants_sum| Some(Order { bytes, wants_sum });
        assert_eq!(Order::parse(b"0"), order(0, false));
        assert_eq!(Order::parse(b"1000 cksum\r"), order(1000, true));
        assert_eq!(
            Order::parse(b"18446744073709551615"),
            order(u64::MAX, false)
        );
        let wrong = [
            "",
            "x",
            "-1",
            "18446744073709551616",
            "1 sum",
            "1 cksum 2",
            "GET / HTTP/1.1",
        ];
        for line in wrong {
            assert_eq!(Order::parse(line.as_bytes()), None, "{line}");
        }
        assert_eq!(Order::parse(b"1\xff"), None);
    }

    #[test]
    fn the_pattern_has_no_two_places_alike_that_a_lost_packet_would_exchange() {
        let Pattern(bytes) = Pattern::new();
        assert_eq!(bytes.len(), Pattern::BYTES);
        let place = |at: usize| {
            let end = (at + 64) % Pattern::BYTES;
            if at < end {
                &bytes[at..end]
            } else {
                &bytes[at..]
            }
        };
        for length in [64, 536, 1220, 1428, 1448, 1460, 2048, 65_536] {
            for at in (0..Pattern::BYTES - length - 64).step_by(997) {
                assert_ne!(place(at), place(at + length), "{at} {length}");
            }
        }
    }

    #[test]
    fn pieces_are_whole_patterns_and_what_is_left() {
        let pattern = Pattern::new();
        assert_eq!(pattern.piece(u64::MAX).bytes().len(), Pattern::BYTES);
        assert_eq!(pattern.piece(1).bytes(), &pattern.0[..1]);
    }
}
