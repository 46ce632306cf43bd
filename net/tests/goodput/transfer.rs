//! One transfer: connect, send, check every byte, finish from both sides, and see that nothing is
//! left.

use crate::Case;
use net::stack::{CloseReason, ConnectionId};
use net::testing::{Link, Pair, World};
use std::time::Duration;

/// What came of a transfer.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Payload of both ways over the time from the SYN to the last byte.
    pub(crate) goodput_kbit_s: u64,
    /// Segments sent, by both.
    pub(crate) segments: u64,
    /// Of them sent again.
    pub(crate) repeated: u64,
    /// The longest time in which no byte arrived, in either direction.
    pub(crate) longest_ms: u64,
    pub(crate) total_ms: u64,
}

/// A transfer that takes longer has stalled.
const PATIENCE: Duration = Duration::from_secs(900);
/// Bytes of one piece that is lent.
const PIECE_BYTES: usize = 256 * 1024;

/// One side of a transfer.
struct Side {
    connection: ConnectionId,
    /// Tells the directions' bytes apart.
    salt: usize,
    to_send: usize,
    sent: usize,
    to_receive: usize,
    received: usize,
    has_finished: bool,
    is_finished: bool,
}

fn byte(at: usize, salt: usize) -> u8 {
    ((at as u32 ^ salt as u32).wrapping_mul(2_654_435_761) >> 24) as u8
}

impl Side {
    fn new(connection: ConnectionId, salt: usize, to_send: usize, to_receive: usize) -> Self {
        Side {
            connection,
            salt,
            to_send,
            sent: 0,
            to_receive,
            received: 0,
            has_finished: false,
            is_finished: false,
        }
    }

    /// Reads what is there and sends what there is room for; returns whether bytes have come.
    fn act(&mut self, world: &mut World, label: &str) -> bool {
        while self.sent < self.to_send {
            let end = (self.sent + PIECE_BYTES).min(self.to_send);
            let piece: Vec<u8> = (self.sent..end).map(|at| byte(at, self.salt)).collect();
            match world.stack.send(self.connection, &piece) {
                Ok(0) => break,
                Ok(_) => self.sent = end,
                Err(error) => panic!("{label}: send: {error:?}"),
            }
        }
        if self.sent == self.to_send && !self.has_finished {
            self.has_finished = true;
            world.stack.shutdown(self.connection).expect("open");
        }
        let before = self.received;
        let mut buf = [0; 5000];
        while !self.is_finished {
            match world.stack.receive(self.connection, &mut buf) {
                Ok(None) => break,
                Ok(Some(0)) => self.is_finished = true,
                Ok(Some(count)) => {
                    for is in &buf[..count] {
                        let expected = byte(self.received, 1 - self.salt);
                        assert_eq!(*is, expected, "{label}: byte {}", self.received);
                        self.received += 1;
                    }
                }
                Err(error) => panic!("{label}: receive: {error:?}"),
            }
        }
        self.received > before
    }

    fn is_done(&self) -> bool {
        self.is_finished && self.has_finished
    }
}

/// Opens a connection, whatever is lost of its handshake.
fn open(pair: &mut Pair, label: &str) -> (ConnectionId, ConnectionId) {
    let end = pair.now + PATIENCE;
    loop {
        // A side that gives up begins again, as any client would.
        let client = pair.connect();
        while pair.ends() == [None, None] {
            pair.step(end);
            if let Some(server) = pair.accept() {
                return (client, server);
            }
        }
        assert!(pair.now < end, "{label}: no handshake");
        pair.client.stack.release(client).expect("ours");
    }
}

/// Runs a transfer of a case and checks it.
pub(crate) fn transfer(case: &Case, seed: u64) -> Outcome {
    let label = &format!("{case:?}, seed {seed}");
    let link = Link::with(case.conditions, seed, 1);
    if std::env::var_os("SLUICE_PCAP").is_some() || case.bytes <= 1_000_000 {
        link.capture(&format!("goodput-{seed}"));
    }
    if let Some(rate) = case.rate {
        link.set_rate(rate);
    }
    let config = World::config(4, case.window_bytes);
    let chunks = config.chunks as u64;
    if case.is_large {
        link.moderate(Duration::from_millis(2));
    }
    let mut pair = Pair::with_server_nic(link, &config, |nic| match case.is_large {
        true => nic.with_large_receive(),
        false => nic,
    });
    let (client, server) = open(&mut pair, label);
    let begun = pair.now;
    let (up, down) = case.direction.bytes(case.bytes);
    let mut sides = (
        Side::new(client, 0, up, down),
        Side::new(server, 1, down, up),
    );
    let end = pair.now + PATIENCE;
    let (mut progress_at, mut longest) = (pair.now, Duration::ZERO);
    while !(sides.0.is_done() && sides.1.is_done()) {
        let moved = sides.0.act(&mut pair.client, label) | sides.1.act(&mut pair.server, label);
        if moved {
            longest = longest.max(pair.now.saturating_since(progress_at));
            progress_at = pair.now;
        }
        pair.step(end);
        assert!(pair.now < end, "{label}: stalled");
    }
    assert_eq!(
        (sides.0.received, sides.1.received),
        (sides.0.to_receive, sides.1.to_receive),
        "{label}"
    );
    let took = progress_at.saturating_since(begun);
    let counters = [pair.client.stack.counters(), pair.server.stack.counters()];
    let large_segments = counters[1].large_segments;
    assert_eq!(large_segments > 0, case.is_large, "{label}");
    finish(&mut pair, label, chunks);
    let total_ms = (took.as_millis() as u64).max(1);
    Outcome {
        goodput_kbit_s: (up + down) as u64 * 8 / total_ms,
        segments: counters.iter().map(|each| each.tx_segments).sum(),
        repeated: counters.iter().map(|each| each.tx_segments_repeated).sum(),
        longest_ms: longest.as_millis() as u64,
        total_ms,
    }
}

/// Both sides have finished: the connections end in order and leave nothing.
fn finish(pair: &mut Pair, label: &str, chunks: u64) {
    let begun = pair.now;
    let mut ends = [None, None];
    while ends.contains(&None) {
        pair.run(100);
        for (end, new) in ends.iter_mut().zip(pair.ends()) {
            *end = end.or(new);
        }
        assert!(
            pair.now.saturating_since(begun) < Duration::from_secs(120),
            "{label}: no end: {ends:?}"
        );
    }
    // Who ends in LAST-ACK may lose the last acknowledgement, and then asks an entry in TIME-WAIT
    // that is there for 20 s at least.
    for end in ends {
        assert_eq!(end, Some(CloseReason::Finished), "{label}");
    }
    pair.run(60_000);
    for world in [&pair.client, &pair.server] {
        let counters = world.stack.counters();
        assert_eq!(counters.established_now, 0, "{label}");
        assert_eq!(counters.time_wait_now, 0, "{label}");
        assert_eq!(counters.free_chunks_now, chunks, "{label}");
    }
}
