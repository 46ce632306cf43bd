//! What the channel itself costs, to be counted in instructions: a message of 64 bytes each way over a
//! stack that does nothing.
//!
//! ```text
//! cargo build --profile image -p megapipe --features testing --example exchange
//! valgrind --tool=callgrind --toggle-collect='*exchange_all*' \
//!     target/image/examples/exchange 32 1000 10000 read
//! ```
//!
//! The arguments are the batch (commands before a flush, and messages that come together), handles,
//! messages, and `read`, `multishot` or `quiet`. The instructions counted less those of the functions of
//! `IdleStack`, divided by the messages, are the cost of a read and a write: two operations.
#![forbid(unsafe_code)]

#[path = "../benches/ping_pong.rs"]
mod ping_pong;

use megapipe::testing::IdleStackCore;
use ping_pong::{Calls, PingPong, STRIDE};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default| match arguments.next() {
        Some(text) => text.parse().expect("a number"),
        None => default,
    };
    let (batch, handles, messages): (usize, usize, usize) =
        (number(32), number(1000), number(10_000));
    let how = arguments.next().unwrap_or_else(|| "read".into());
    let calls = Calls::ALL.into_iter().find(|calls| calls.name() == how);
    let calls = calls.expect("read, multishot or quiet");
    let mut core = IdleStackCore::new(handles, batch, PingPong::new(handles, calls));
    let before = core.sent();
    let mut next = 0;
    while core.sent() - before < messages as u64 {
        for _ in 0..batch {
            core.arrive(next);
            next = (next + STRIDE) % handles;
        }
        exchange_all(&mut core);
    }
    println!(
        "{} messages, {} flushes",
        core.sent() - before,
        core.channel().counters().flushes
    );
}

/// Serves the messages that have come.
#[inline(never)]
fn exchange_all(core: &mut IdleStackCore<PingPong>) {
    core.turn();
}
