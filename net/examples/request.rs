//! What one 64-byte request and response on a persistent connection costs in the stack, to be
//! counted in instructions:
//!
//! ```text
//! cargo build --profile image -p net --example request
//! valgrind --tool=callgrind --toggle-collect='*serve_one*' target/image/examples/request 1 10000
//! ```
//!
//! The arguments are connections and requests. The instructions counted, divided by the requests,
//! are the cost: frames in, receive, send, frames out, over a queue pair that does nothing.

use kernel::{CoreMask, Instant};
use net::fabric::fabric;
use net::stack::{ConnectionId, Event};
use net::testing::frames::Tcp;
use net::testing::{OneFrame, STACK_ADDRESS, World};
use net::{AddressConfig, Stack};

/// What each request is answered with: sent from where it is.
static RESPONSE: [u8; 64] = [b'r'; 64];

type Served = Stack<OneFrame, &'static [u8]>;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default| match arguments.next() {
        Some(text) => text.parse().expect("a number"),
        None => default,
    };
    let (connections, requests): (usize, usize) = (number(1), number(10_000));
    let wire = OneFrame::default();
    let port = fabric(&[true], [7; 16]).remove(0);
    let config = World::config(connections + 1, 4096);
    let mut stack = Served::new(config, Some(wire.clone()), port, Instant::ZERO);
    let address = AddressConfig::fixed(STACK_ADDRESS, 16);
    stack.configure_address(&address, Instant::ZERO);
    let listener = stack
        .listen(80, CoreMask::first(1), connections)
        .expect("free");
    let mut peers: Vec<Tcp> = (0..connections)
        .map(|number| {
            let segment = wire.shake_hands(number as u16 + 1024, || {
                stack.handle_frames(Instant::ZERO);
                stack.poll_transmit(Instant::ZERO);
            });
            stack.accept(listener).expect("established");
            segment.with_payload(&[b'q'; 64])
        })
        .collect();
    for number in 0..requests {
        let segment = &mut peers[number % connections];
        wire.put(segment);
        serve_one(&mut stack, Instant::from_nanos(number as u64 * 20_000));
        segment.acknowledged = wire.next_sequence();
        segment.sequence = segment.sequence.wrapping_add(64);
    }
    println!("{requests} requests on {connections} connections");
}

/// One turn of a core that answers each request with 64 bytes.
#[inline(never)]
fn serve_one(stack: &mut Served, now: Instant) {
    stack.handle_frames(now);
    stack.handle_timers(now);
    while let Some(event) = stack.poll_event() {
        if let Event::Readable(connection) = event {
            respond(stack, connection);
        }
    }
    stack.poll_transmit(now);
}

fn respond(stack: &mut Served, connection: ConnectionId) {
    if let Ok(Some(chunk)) = stack.take(connection) {
        stack.give_back(chunk);
        let mut piece = Some(&RESPONSE[..]);
        stack.lend(connection, || piece.take()).expect("open");
    }
}
