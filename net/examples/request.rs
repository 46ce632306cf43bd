//! What one 64-byte request and response on a persistent connection costs in the stack, to be
//! counted in instructions:
//!
//! ```text
//! cargo build --release -p net --example request
//! valgrind --tool=callgrind --toggle-collect='*serve_one*' target/release/examples/request 1 10000
//! ```
//!
//! The arguments are connections and requests; the instructions counted, divided by the requests,
//! are the cost: frames in, receive, send, frames out, with the test link's queue pair.

use net::nic::Nic;
use net::stack::{ConnectionId, Event};
use net::testing::frames::{ACK, SYN, Tcp};
use net::testing::{ClientPort, Link, World};
use std::collections::HashMap;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default| match arguments.next() {
        Some(text) => text.parse().expect("a number"),
        None => default,
    };
    let (connections, requests) = (number(1), number(10_000));
    let link = Link::new();
    let nic = link.nic(0).with_offloads(0).with_valid_checksums();
    let mut world = World::with(&link, World::config(connections + 1, 4096), nic);
    let listener = world.listen(80, connections);
    let port = link.client_port();
    let mut peers: Vec<(Tcp, u32)> = Vec::new();
    let mut ids = HashMap::new();
    for number in 0..connections {
        let mut segment = Tcp::new(1024 + number as u16, SYN, 1000, 0);
        segment.stack_port = 80;
        exchange(&mut world, &port, &segment);
        let reply = receive(&port).expect("SYN|ACK");
        let ack = Tcp::new(
            segment.client_port,
            ACK,
            1001,
            reply.sequence.wrapping_add(1),
        );
        exchange(&mut world, &port, &ack);
        let accepted = world.stack.accept(listener).expect("established");
        ids.insert(accepted.connection, number);
        peers.push((ack, 1001));
    }
    for number in 0..requests {
        let (segment, sequence) = &mut peers[number % connections];
        segment.sequence = *sequence;
        segment.payload = vec![b'q'; 64];
        *sequence = sequence.wrapping_add(64);
        port.send(&segment.frame());
        serve_one(&mut world);
        let reply = receive(&port).expect("a response");
        assert_eq!(reply.payload.len(), 64);
        segment.acknowledged = reply.sequence.wrapping_add(64);
    }
    println!("{requests} requests on {connections} connections");
}

fn exchange(world: &mut World, port: &ClientPort, segment: &Tcp) {
    port.send(&segment.frame());
    world.turn();
}

fn receive(port: &ClientPort) -> Option<Tcp> {
    std::iter::from_fn(|| port.receive()).find_map(|frame| Tcp::parse(&frame))
}

/// One turn of a core that answers each request with 64 bytes.
#[inline(never)]
fn serve_one(world: &mut World) {
    let stack = &mut world.stack;
    stack.handle_frames(world.now);
    stack.handle_timers(world.now);
    while let Some(event) = stack.poll_event() {
        if let Event::Readable(connection) = event {
            respond(stack, connection);
        }
    }
    stack.poll_transmit(world.now);
}

fn respond<N: Nic>(stack: &mut net::Stack<N>, connection: ConnectionId) {
    let mut buf = [0; 2048];
    if let Ok(Some(1..)) = stack.receive(connection, &mut buf) {
        stack.send(connection, &[b'r'; 64]).expect("open");
    }
}
