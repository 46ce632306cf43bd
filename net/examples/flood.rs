//! What hostile frames cost, and what idle connections cost, to be counted in instructions:
//!
//! ```text
//! cargo build --profile image -p net --example flood
//! valgrind --tool=callgrind --toggle-collect='*count_these*' target/image/examples/flood KIND 100 10000
//! ```
//!
//! KIND is `idle` (turns with nothing to do), or what comes in, one frame a turn: `syn` (answered with
//! a cookie), `closed` (a SYN to a closed port), `ack` (of no connection), `guess` (an ACK of an open
//! connection with a wrong number), `echo`, `fragment` (a first one, each of another source), `router`
//! (an IPv6 router that comes and goes by turns), `land`, `runt`; or `upload`, a full segment of
//! an open connection, which is read, or `large`, 64,000 bytes of it in one frame of several buffers, as
//! a device brings them. Then how many connections are
//! open and idle beside it, and how many turns. The instructions counted, divided by the turns, are
//! the cost: frames in, timers, frames out, over a queue pair that does nothing.

use kernel::{CoreMask, Instant};
use net::fabric::fabric;
use net::stack::ConnectionId;
use net::testing::frames::{ACK, SYN, Tcp, ipv4, ipv6, seal_icmpv6, seal_ipv4};
use net::testing::{OneFrame, STACK_ADDRESS, World};
use net::{AddressConfig, Stack};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

type Flooded = Stack<OneFrame, &'static [u8]>;

/// Number of the first frame.
const FIRST: u32 = 1000;
/// Ports of an address that connections are opened from.
const PORTS: usize = 50_000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [kind, connections, turns] = arguments.as_slice() else {
        panic!("flood KIND CONNECTIONS TURNS");
    };
    let connections: usize = connections.parse().expect("a number");
    let turns: usize = turns.parse().expect("a number");
    let wire = OneFrame::default();
    let mut now = Instant::ZERO;
    let mut stack = flooded(&wire, kind, connections, now);
    let listener = stack.listen(80, CoreMask::first(1), 64).expect("free");
    let mut last = (Tcp::new(1, ACK, 0, 0), None);
    for number in 0..connections {
        let next = open(&mut stack, &wire, number, now);
        let accepted = stack.accept(listener).expect("established");
        last = (next, Some(accepted.connection));
        // Their deadlines are spread out, as those of real ones.
        now = now + Duration::from_micros(100);
    }
    // So many half-open ones that a SYN is answered with a cookie.
    for number in 0..if kind == "syn" { 200 } else { 0 } {
        wire.put_frame(&syn(number).frame());
        turn(&mut stack, now);
    }
    let frames: Vec<Vec<u8>> = (0..turns)
        .map(|number| frame(kind, number as u32 + FIRST, &last.0))
        .collect();
    for frame in &frames {
        match kind.as_str() {
            "idle" => {}
            "large" => wire.put_large_frame(frame, 1448),
            _ => wire.put_frame(frame),
        }
        count_these(&mut stack, last.1, now);
        now = now + Duration::from_micros(20);
    }
    let counters = stack.counters();
    for (name, value) in counters.iter().filter(|(_, value)| *value > 0) {
        eprintln!("{name}={value}");
    }
}

fn flooded(wire: &OneFrame, kind: &str, connections: usize, now: Instant) -> Flooded {
    let window_bytes = if kind == "large" { 131_072 } else { 4096 };
    let port = fabric(&[true], [7; 16]).remove(0);
    let config = net::stack::StackConfig {
        chunks: 1024,
        ..World::config(connections + 256, window_bytes)
    };
    let mut stack = Flooded::new(config, Some(wire.clone()), port, now);
    let address = AddressConfig {
        slaac: true,
        ..AddressConfig::fixed(STACK_ADDRESS, 16)
    };
    stack.configure_address(&address, now);
    turn(&mut stack, now);
    stack
}

/// Opens a connection and returns its next segment.
fn open(stack: &mut Flooded, wire: &OneFrame, number: usize, now: Instant) -> Tcp {
    let client = 0x0a07_0100 + (number / PORTS) as u32;
    let mut segment = Tcp {
        client: Ipv4Addr::from_bits(client).into(),
        ..Tcp::new((1024 + number % PORTS) as u16, SYN, 1000, 0)
    };
    wire.put_frame(&segment.frame());
    turn(stack, now);
    segment.flags = ACK;
    segment.sequence = 1001;
    segment.acknowledged = wire.next_sequence();
    wire.put_frame(&segment.frame());
    turn(stack, now);
    segment
}

fn syn(number: u32) -> Tcp {
    Tcp {
        client: Ipv4Addr::from_bits(0x0b00_0000 | number.wrapping_mul(0x9e37_79b9) >> 8).into(),
        ..Tcp::new(1024 + (number & 0x7fff) as u16, SYN, number, 0)
    }
}

fn frame(kind: &str, number: u32, open: &Tcp) -> Vec<u8> {
    let stranger = 0x0b00_0000 + (number & 0xffff);
    match kind {
        "idle" => Vec::new(),
        "syn" => syn(number).frame(),
        "closed" => Tcp {
            stack_port: 81,
            ..syn(number)
        }
        .frame(),
        "ack" => Tcp {
            flags: ACK,
            ..syn(number)
        }
        .frame(),
        "guess" => Tcp {
            sequence: open.sequence.wrapping_add(1 << 30 | number),
            ..open.clone()
        }
        .frame(),
        "echo" => {
            let mut echo = [0; 64];
            echo[0] = 8;
            echo[2..4].copy_from_slice(&[0xf7, 0xff]);
            ipv4(1, stranger.into(), STACK_ADDRESS, &echo)
        }
        "fragment" => {
            let mut frame = ipv4(6, stranger.into(), STACK_ADDRESS, &[0; 1400]);
            frame[20] = 0x20;
            seal_ipv4(&mut frame);
            frame
        }
        "router" => {
            let from = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 7);
            let all = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
            let lifetime = if number.is_multiple_of(2) { 0 } else { 9 };
            let mut message = [134, 0, 0, 0, 64, 0, 0, lifetime, 0, 0, 0, 0, 0, 0, 0, 0];
            seal_icmpv6(&mut message, from, all);
            let mut frame = ipv6(58, from, all, &message);
            frame[21] = 255;
            frame
        }
        "land" => ipv4(6, STACK_ADDRESS, STACK_ADDRESS, &[0; 20]),
        "upload" => Tcp {
            sequence: open.sequence.wrapping_add((number - FIRST) * 1448),
            ..open.clone()
        }
        .with_payload(&[7; 1448])
        .frame(),
        "large" => Tcp {
            sequence: open.sequence.wrapping_add((number - FIRST) * 64_000),
            ..open.clone()
        }
        .with_payload(&[7; 64_000])
        .frame(),
        "runt" => vec![0; 10],
        _ => panic!("{kind}: none of the kinds"),
    }
}

/// What is counted.
#[inline(never)]
fn count_these(stack: &mut Flooded, reads: Option<ConnectionId>, now: Instant) {
    turn(stack, now);
    while let Some(connection) = reads
        && let Ok(Some(chunk)) = stack.take(connection)
    {
        stack.give_back(chunk);
    }
}

#[inline(never)]
fn turn(stack: &mut Flooded, now: Instant) {
    stack.handle_frames(now);
    stack.handle_timers(now);
    while stack.poll_event().is_some() {}
    stack.poll_transmit(now);
}
