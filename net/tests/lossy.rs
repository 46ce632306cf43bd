//! Bytes both ways over a link that loses, doubles, reorders and damages frames, from many seeds.
//!
//! With loss or reordering, one direction goes after the other, as requests and responses do, and the
//! client finishes when all its bytes are acknowledged. Two faults of smoltcp, which is both ends
//! here, would stall it otherwise: after a retransmission timeout its pure ACKs carry old sequence
//! numbers (RFC 9293 §3.10.7.4 has SND.NXT there), which the other end, doing the same at the same
//! moment, drops with the acknowledgement in them; and three duplicate ACKs while only the FIN is
//! outstanding stop the timer that would send the FIN again.

use net::testing::{Client, Conditions, Link, Random, World};
use std::time::Duration;

const CONDITIONS: [Conditions; 4] = [
    Conditions {
        delay: Duration::from_millis(5),
        ..Conditions::PERFECT
    },
    Conditions {
        loss: 30,
        delay: Duration::from_millis(2),
        ..Conditions::PERFECT
    },
    Conditions {
        duplication: 100,
        reordering: 200,
        delay: Duration::from_millis(3),
        ..Conditions::PERFECT
    },
    Conditions {
        loss: 50,
        duplication: 20,
        reordering: 50,
        corruption: 30,
        delay: Duration::from_millis(1),
    },
];

/// Sends and receives `bytes` bytes each way, then finishes; returns the virtual time it took.
fn transfer(conditions: Conditions, seed: u64, bytes: usize) -> Duration {
    let link = Link::with(conditions, seed, 1);
    link.capture(&format!("lossy-{seed}"));
    let mut world = World::new(&link);
    let listener = world.listen(80, 4);
    let mut client = Client::new(&link);
    let socket = client.connect(80);
    let connection = loop {
        world.run(&mut client, 5);
        if let Some(accepted) = world.stack.accept(listener) {
            break accepted.connection;
        }
        assert!(
            world.now.as_nanos() < 60_000_000_000,
            "seed {seed}: no handshake"
        );
    };
    let mut random = Random::new(seed);
    let down: Vec<u8> = (0..bytes).map(|_| random.below(256) as u8).collect();
    let up: Vec<u8> = (0..bytes).map(|_| random.below(256) as u8).collect();
    let (mut sent_down, mut sent_up) = (0, 0);
    let (mut got_down, mut got_up) = (Vec::new(), Vec::new());
    let (mut is_closed, mut stack_saw_end) = (false, false);
    let mut buf = [0; 3000];
    while !(stack_saw_end && got_down.len() == bytes) {
        if conditions.loss + conditions.reordering == 0 || stack_saw_end {
            sent_down += world
                .stack
                .send(connection, &down[sent_down..])
                .unwrap_or(0);
        }
        if !is_closed {
            sent_up += client.send(socket, &up[sent_up..]);
            is_closed = sent_up == bytes && client.socket(socket).send_queue() == 0;
            if is_closed {
                client.close(socket);
            }
        }
        while let Some(count) = world.stack.receive(connection, &mut buf).expect("no break") {
            got_up.extend_from_slice(&buf[..count]);
            stack_saw_end |= count == 0;
            if count == 0 {
                break;
            }
        }
        got_down.extend(client.receive(socket));
        world.run(&mut client, 2);
        assert!(
            world.now.as_nanos() < 600_000_000_000,
            "seed {seed}: stalled"
        );
    }
    assert!(got_down == down && got_up == up, "seed {seed}: other bytes");
    world.stack.release(connection).unwrap();
    world.run(&mut client, 60_000);
    let counters = world.stack.counters();
    assert_eq!(counters.slots_now, 0, "seed {seed}");
    assert_eq!(counters.time_wait_now, 0, "seed {seed}");
    world.now.saturating_since(kernel::Instant::ZERO)
}

#[test]
fn bytes_arrive_in_order_and_whole_whatever_the_link_does() {
    for (number, conditions) in CONDITIONS.into_iter().enumerate() {
        for seed in 0..25 {
            transfer(conditions, 100 * number as u64 + seed, 60_000);
        }
    }
}
