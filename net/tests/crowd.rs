//! Many connections at once, and more than there is room for.

use net::counters::DropReason;
use net::testing::frames::{ACK, RST, SYN, Tcp};
use net::testing::{Client, Link, World};
use std::time::Duration;

#[test]
fn a_thousand_connections_are_open_at_once() {
    const COUNT: usize = 1000;
    let link = Link::new();
    let nic = link.nic(0).with_transmit_frames(4096);
    let mut world = World::with(&link, World::config(2 * COUNT, 2048), nic);
    let listener = world.listen(80, COUNT);
    let mut client = Client::new(&link);
    client.buffer_bytes = 1024;
    let sockets: Vec<_> = (0..COUNT).map(|_| client.connect(80)).collect();
    world.run(&mut client, 10);
    let mut connections = Vec::new();
    while let Some(accepted) = world.stack.accept(listener) {
        assert_eq!(accepted.pending, COUNT - connections.len() - 1);
        connections.push(accepted.connection);
    }
    assert_eq!(connections.len(), COUNT);
    assert_eq!(world.stack.counters().established_now, COUNT as u64);
    for (number, connection) in connections.iter().enumerate() {
        let sent = world
            .stack
            .send(*connection, &(number as u32).to_be_bytes());
        assert_eq!(sent, Ok(4));
    }
    world.run(&mut client, 10);
    let mut seen: Vec<_> = sockets
        .iter()
        .map(|socket| client.receive(*socket))
        .collect();
    seen.sort();
    let expected: Vec<_> = (0..COUNT as u32)
        .map(|number| number.to_be_bytes().to_vec())
        .collect();
    assert_eq!(seen, expected);
    for connection in connections {
        world.stack.abort(connection).unwrap();
        world.stack.release(connection).unwrap();
    }
    world.run(&mut client, 10);
    let counters = world.stack.counters();
    assert_eq!(
        (counters.slots_now, counters.connections_aborted),
        (0, COUNT as u64)
    );
}

#[test]
fn a_full_backlog_drops_syns_and_takes_them_later() {
    let link = Link::new();
    let mut world = World::new(&link);
    let listener = world.listen(80, 4);
    let mut client = Client::new(&link);
    let sockets: Vec<_> = (0..6).map(|_| client.connect(80)).collect();
    world.run(&mut client, 100);
    for socket in &sockets {
        // Whose SYN was answered with a cookie is known when it speaks.
        client.send(*socket, b"x");
    }
    world.run(&mut client, 100);
    let counters = world.stack.counters();
    assert_eq!(counters.connections_established, 4);
    assert!(counters.drops(DropReason::BacklogFull) >= 2);
    while world.stack.accept(listener).is_some() {}
    world.run(&mut client, 5000);
    assert_eq!(world.stack.counters().connections_established, 6);
    for socket in sockets {
        assert!(client.socket(socket).may_send());
    }
}

#[test]
fn a_flood_of_syns_takes_half_of_the_slots_and_gives_them_back() {
    let link = Link::new();
    let mut world = World::new(&link);
    let listener = world.listen(80, 64);
    let port = link.client_port();
    for number in 0..500 {
        port.send(&Tcp::new(1000 + number, SYN, 1, 0).frame());
        world.turn();
    }
    let counters = world.stack.counters();
    assert_eq!(counters.half_open_now, 32);
    assert_eq!(counters.syn_cookies_sent, 468);
    while port.receive().is_some() {}
    // The silent ones are given up in time; RST ends one at once.
    port.send(&Tcp::new(1000, RST, 2, 0).frame());
    world.turn();
    assert_eq!(world.stack.counters().half_open_now, 31);
    let mut client = Client::new(&link);
    let socket = client.connect(80);
    world.run(&mut client, 12_000);
    assert!(client.socket(socket).may_send());
    assert!(world.stack.accept(listener).is_some());
    let counters = world.stack.counters();
    assert_eq!((counters.half_open_now, counters.half_open_lost), (0, 32));
}

#[test]
fn when_all_slots_are_taken_a_syn_is_dropped() {
    let link = Link::new();
    let mut world = World::with(&link, World::config(2, 1024), link.nic(0));
    let listener = world.listen(80, 2);
    let mut client = Client::new(&link);
    for _ in 0..2 {
        client.connect(80);
        world.run(&mut client, 10);
        world.stack.accept(listener).unwrap();
    }
    client.connect(80);
    world.run(&mut client, 10);
    assert_eq!(world.stack.counters().drops(DropReason::ConnectionsFull), 1);
}

#[test]
fn a_connection_that_breaks_before_it_is_accepted_is_accepted_broken() {
    let link = Link::new();
    let mut world = World::new(&link);
    let listener = world.listen(80, 4);
    let port = link.client_port();
    port.send(&Tcp::new(7, SYN, 1, 0).frame());
    world.turn();
    let reply = std::iter::from_fn(|| port.receive()).find_map(|frame| Tcp::parse(&frame));
    let theirs = reply.expect("SYN|ACK").sequence.wrapping_add(1);
    port.send(&Tcp::new(7, ACK, 2, theirs).with_payload(b"hi").frame());
    port.send(&Tcp::new(7, RST, 4, theirs).frame());
    world.turn();
    world.take_events();
    let accepted = world.stack.accept(listener).unwrap();
    world.turn();
    let mut buf = [0; 8];
    assert_eq!(
        world.stack.receive(accepted.connection, &mut buf),
        Ok(Some(2))
    );
    let events = world.take_events();
    assert!(
        matches!(events.last(), Some(net::stack::Event::Closed(..))),
        "{events:?}"
    );
    world.stack.release(accepted.connection).unwrap();
    assert_eq!(world.stack.counters().slots_now, 0);
}

#[test]
fn gaps_that_are_never_filled_take_no_memory_that_others_need() {
    let link = Link::new();
    link.capture("gaps");
    let config = World::config(8, 4096);
    let mut world = World::with(&link, config, link.nic(0));
    let listener = world.listen(80, 8);
    let port = link.client_port();
    let exchange = |world: &mut World, segment: Tcp| {
        port.send(&segment.frame());
        world.turn();
        let replies = std::iter::from_fn(|| port.receive());
        replies.filter_map(|frame| Tcp::parse(&frame)).last()
    };
    let mut theirs = [0; 8];
    for number in 1..8 {
        let reply = exchange(&mut world, Tcp::new(number, SYN, 0, 0)).expect("SYN");
        theirs[usize::from(number)] = reply.sequence.wrapping_add(1);
        exchange(
            &mut world,
            Tcp::new(number, ACK, 1, theirs[usize::from(number)]),
        );
    }
    // All but one keep what they can of bytes that nobody can read.
    for number in 2..8 {
        for at in (100..4000).step_by(10) {
            let segment = Tcp::new(number, ACK, at, theirs[usize::from(number)]);
            exchange(&mut world, segment.with_payload(&[7; 5]));
        }
    }
    let before = world.stack.counters();
    assert_eq!(before.free_chunks_now, 9, "less than a quarter");
    let connection = world.stack.accept(listener).expect("the first").connection;
    let (mut sent, mut buf) = (0, [0; 4096]);
    while sent < 40_000 {
        let segment = Tcp::new(1, ACK, 1 + sent, theirs[1]).with_payload(&[1; 1000]);
        let reply = exchange(&mut world, segment);
        world.now = world.now + Duration::from_millis(20);
        world.stack.receive(connection, &mut buf).expect("open");
        world.turn();
        let acknowledged = reply.map_or(0, |reply| reply.acknowledged);
        let frames = std::iter::from_fn(|| port.receive());
        let later = frames.filter_map(|frame| Tcp::parse(&frame)).last();
        let acknowledged = later.map_or(acknowledged, |reply| reply.acknowledged);
        assert_eq!(acknowledged, sent + 1001, "all is taken");
        sent += 1000;
    }
}

#[test]
fn a_flood_of_syns_shuts_nobody_out() {
    let link = Link::new();
    link.capture("flood");
    let mut world = World::new(&link);
    let listener = world.listen(80, 32);
    let port = link.client_port();
    let mut flood = 0;
    let mut pour = |world: &mut World, syns| {
        for _ in 0..syns {
            flood += 1;
            let syn = Tcp {
                client: std::net::IpAddr::from([10, 7, 9, 9]),
                ..Tcp::new(1000 + flood % 40_000, SYN, 1, 0)
            };
            port.send(&syn.frame());
        }
        world.turn();
    };
    pour(&mut world, 500);
    assert_eq!(world.stack.counters().half_open_now, 32);
    let mut client = Client::new(&link);
    for _ in 0..20 {
        let socket = client.connect(80);
        pour(&mut world, 100);
        world.run(&mut client, 5);
        pour(&mut world, 100);
        world.run(&mut client, 5);
        let accepted = world.stack.accept(listener).expect("open in spite of it");
        client.send(socket, b"request");
        pour(&mut world, 100);
        world.run(&mut client, 5);
        let mut buf = [0; 16];
        let connection = accepted.connection;
        assert_eq!(world.stack.receive(connection, &mut buf), Ok(Some(7)));
        world.stack.send(connection, &[3; 10_000]).unwrap();
        world.stack.release(connection).unwrap();
        world.run(&mut client, 200);
        assert_eq!(client.receive(socket).len(), 10_000);
        client.close(socket);
        world.run(&mut client, 5);
    }
    let counters = world.stack.counters();
    assert_eq!(counters.syn_cookies_taken, 20);
    assert!(counters.half_open_now <= 32);
}

#[test]
fn acknowledgements_that_were_never_asked_for_open_nothing() {
    let link = Link::new();
    let mut world = World::new(&link);
    world.listen(80, 32);
    let port = link.client_port();
    for number in 0..100 {
        port.send(&Tcp::new(1000 + number, SYN, 1, 0).frame());
    }
    world.turn();
    let mut random = net::testing::Random::new(5);
    for number in 0..20_000 {
        let guess = random.next_u64() as u32;
        port.send(&Tcp::new(2000 + number % 1000, ACK, 2, guess).frame());
        if number % 200 == 0 {
            world.turn();
        }
    }
    let counters = world.stack.counters();
    assert_eq!(
        (counters.syn_cookies_taken, counters.established_now),
        (0, 0)
    );
}
