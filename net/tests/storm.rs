//! Random segments, well-formed and close to what the stack expects, while the layer above does
//! random things: nothing panics, nothing leaks, and the gauges come back to zero.

use net::stack::{ConnectionId, Event, Stack};
use net::testing::frames::{ACK, FIN, RST, SYN, Tcp};
use net::testing::{Link, MemoryNic, Random, World};
use std::time::Duration;

/// What the peer believes of one of its ports.
#[derive(Clone, Copy, Default)]
struct Peer {
    next: u32,
    theirs: u32,
}

const PORTS: usize = 12;

fn storm(seed: u64, steps: usize) {
    let link = Link::new();
    link.capture(&format!("storm-{seed}"));
    let mut random = Random::new(seed);
    let nic = link.nic(0).with_transmit_frames(64);
    let mut world = World::with(&link, World::config(8, 2048), nic);
    let listener = world.listen(80, 4);
    let port = link.client_port();
    let mut peers = [Peer::default(); PORTS];
    let mut owned: Vec<ConnectionId> = Vec::new();
    for _ in 0..steps {
        for _ in 0..random.below(3) {
            let number = random.below(PORTS as u64) as usize;
            port.send(&segment(&mut random, number, &mut peers[number]).frame());
        }
        world.now = world.now + Duration::from_micros(random.below(3000));
        if random.chance(2) {
            world.now = world.now + Duration::from_secs(random.below(40));
        }
        link.set_now(world.now);
        world.turn();
        while let Some(frame) = port.receive() {
            if let Some(reply) = Tcp::parse(&frame) {
                let peer = &mut peers[usize::from(reply.client_port) - 1];
                let controls = reply.flags & (SYN | FIN);
                let taken = reply.payload.len() as u32 + u32::from(controls != 0);
                peer.theirs = reply.sequence.wrapping_add(taken);
                if reply.flags & SYN != 0 || random.chance(300) {
                    peer.next = reply.acknowledged;
                }
            }
            port.recycle(frame);
        }
        for event in world.take_events() {
            if event == Event::Incoming(listener) && random.chance(900) {
                owned.extend(
                    world
                        .stack
                        .accept(listener)
                        .map(|accepted| accepted.connection),
                );
            }
        }
        let choice = random.below(8) as usize;
        if let Some(connection) = owned.get(choice).copied() {
            act(&mut world.stack, connection, &mut random);
            if random.chance(60) {
                world.stack.release(connection).expect("owned");
                owned.swap_remove(choice);
            }
        }
    }
    while let Some(accepted) = world.stack.accept(listener) {
        owned.push(accepted.connection);
    }
    for connection in owned {
        world.stack.release(connection).expect("owned");
    }
    for _ in 0..2000 {
        world.now = world.now + Duration::from_millis(100);
        world.turn();
        while port.receive().is_some() {}
    }
    let counters = world.stack.counters();
    let gauges = (
        counters.slots_now,
        counters.established_now,
        counters.half_open_now,
    );
    assert_eq!(gauges, (0, 0, 0), "seed {seed}");
    assert_eq!(counters.time_wait_now, 0, "seed {seed}");
    let ends = counters.connections_finished
        + counters.connections_reset
        + counters.connections_timed_out
        + counters.connections_aborted;
    assert_eq!(counters.connections_established, ends, "seed {seed}");
    let began = counters.connections_established + counters.half_open_lost;
    assert_eq!(counters.connections_begun, began, "seed {seed}");
}

fn segment(random: &mut Random, number: usize, peer: &mut Peer) -> Tcp {
    let flags = match random.below(20) {
        0..4 => SYN,
        4 => RST,
        5 => FIN | ACK,
        6 => SYN | ACK,
        7 => random.below(32) as u8,
        _ => ACK,
    };
    let slip = |random: &mut Random| match random.below(10) {
        0 => random.next_u64() as u32,
        1 => (random.below(8) as u32).wrapping_sub(4),
        2 => (random.below(6000) as u32).wrapping_sub(3000),
        _ => 0,
    };
    let sequence = peer.next.wrapping_add(slip(random));
    let acknowledged = peer.theirs.wrapping_add(slip(random));
    let mut segment = Tcp::new(number as u16 + 1, flags, sequence, acknowledged);
    if random.chance(400) && flags & (SYN | RST) == 0 {
        segment.payload = vec![7; random.below(1400) as usize];
        if random.chance(700) {
            peer.next = sequence.wrapping_add(segment.payload.len() as u32);
        }
    }
    segment
}

fn act(stack: &mut Stack<MemoryNic>, connection: ConnectionId, random: &mut Random) {
    let mut buf = [0; 700];
    match random.below(12) {
        0..5 => drop(stack.receive(connection, &mut buf)),
        5..9 => drop(stack.send(connection, &buf)),
        9 => drop(stack.shutdown(connection)),
        10 if random.chance(200) => drop(stack.abort(connection)),
        _ => {}
    }
}

#[test]
fn random_segments_and_commands_neither_panic_nor_leak() {
    for seed in 0..300 {
        storm(seed, 1500);
    }
}
