//! Connections that the stack opens: to another stack, to a client that refuses, to nobody; ARP,
//! ports, and cores.

use net::fabric::{fabric, fabric_with_rss};
use net::rss::Rss;
use net::stack::{CloseReason, ConnectError, ConnectionId, Event, Stack};
use net::testing::frames::{ACK, RST, SYN, Tcp, arp_reply};
use net::testing::{CLIENT_ADDRESS, CLIENT_MAC, Link, MemoryNic, World};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

const REMOTE: SocketAddrV4 = SocketAddrV4::new(CLIENT_ADDRESS, 8080);

/// Answers what the stack asks by ARP, and returns the TCP segments it sent to the client.
fn segments(link: &Link) -> Vec<Tcp> {
    let port = link.client_port();
    let frames: Vec<_> = std::iter::from_fn(|| port.receive()).collect();
    let mut segments = Vec::new();
    for frame in frames {
        if let Some(reply) = arp_reply(&frame) {
            port.send(&reply);
        }
        segments.extend(Tcp::parse(&frame));
        port.recycle(frame);
    }
    segments
}

fn begin(world: &mut World, link: &Link) -> (ConnectionId, Tcp) {
    let id = world.stack.connect(REMOTE, world.now).expect("begun");
    world.turn();
    assert_eq!(segments(link), [], "only ARP at first");
    world.turn();
    let syn = segments(link).remove(0);
    assert_eq!(syn.flags, SYN);
    assert_eq!((syn.client, syn.client_port), (CLIENT_ADDRESS.into(), 8080));
    (id, syn)
}

/// A segment of the client's that answers `to`.
fn answer(to: &Tcp, flags: u8, sequence: u32) -> Tcp {
    Tcp {
        stack_port: to.stack_port,
        ..Tcp::new(8080, flags, sequence, to.sequence.wrapping_add(1))
    }
}

#[test]
fn a_connection_opens_and_carries_bytes_both_ways() {
    let link = Link::new();
    let mut world = World::new(&link);
    world.turn();
    segments(&link);
    let (id, syn) = begin(&mut world, &link);
    let port = link.client_port();
    port.send(&answer(&syn, SYN | ACK, 500).frame());
    world.turn();
    assert_eq!(world.take_events(), [Event::Connected(id)]);
    let ack = segments(&link).remove(0);
    assert_eq!((ack.flags, ack.acknowledged), (ACK, 501));
    world.stack.send(id, b"question").unwrap();
    world.turn();
    assert_eq!(segments(&link)[0].payload, b"question");
    let reply = Tcp {
        acknowledged: syn.sequence.wrapping_add(9),
        ..answer(&syn, ACK, 501).with_payload(b"answer")
    };
    port.send(&reply.frame());
    world.turn();
    assert_eq!(world.take_events(), [Event::Readable(id)]);
    let mut buf = [0; 16];
    assert_eq!(world.stack.receive(id, &mut buf), Ok(Some(6)));
    let counters = world.stack.counters();
    assert_eq!((counters.connects_begun, counters.connects_failed), (1, 0));
    assert_eq!(counters.established_now, 1);
}

#[test]
fn a_refusal_is_told_as_a_reset_and_silence_as_a_timeout() {
    let link = Link::new();
    let mut world = World::new(&link);
    world.turn();
    segments(&link);
    let (id, syn) = begin(&mut world, &link);
    let port = link.client_port();
    // A RST that acknowledges something else is not believed (RFC 9293 §3.10.7.3).
    let forged = Tcp {
        acknowledged: syn.sequence,
        ..answer(&syn, RST | ACK, 0)
    };
    port.send(&forged.frame());
    world.turn();
    assert_eq!(world.take_events(), []);
    port.send(&answer(&syn, RST | ACK, 0).frame());
    world.turn();
    assert_eq!(world.take_events(), [Event::Closed(id, CloseReason::Reset)]);
    world.stack.release(id).unwrap();

    let id = world.stack.connect(REMOTE, world.now).unwrap();
    let mut syns = 0;
    for _ in 0..300 {
        world.now = world.now + Duration::from_millis(100);
        link.set_now(world.now);
        world.turn();
        syns += segments(&link).len();
    }
    let timed_out = Event::Closed(id, CloseReason::TimedOut);
    assert_eq!(world.take_events(), [timed_out]);
    assert_eq!(syns, 4, "at 0, 1, 3 and 7 s; given up at 10 s");
    world.stack.release(id).unwrap();
    let counters = world.stack.counters();
    assert_eq!((counters.connects_failed, counters.slots_now), (2, 0));
    assert_eq!(counters.established_now, 0);
}

#[test]
fn a_wrong_answer_to_arp_is_mended_when_no_syn_is_answered() {
    let link = Link::new();
    let mut world = World::new(&link);
    world.turn();
    segments(&link);
    world.stack.connect(REMOTE, world.now).unwrap();
    world.turn();
    let port = link.client_port();
    let request = port.receive().expect("a request");
    let mut damaged = arp_reply(&request).expect("an answer");
    damaged[24] ^= 0x80;
    port.send(&damaged);
    world.turn();
    let stations = |link: &Link| -> Vec<[u8; 6]> {
        let port = link.client_port();
        let frames: Vec<_> = std::iter::from_fn(|| port.receive()).collect();
        for reply in frames.iter().filter_map(|frame| arp_reply(frame)) {
            port.send(&reply);
        }
        let segments = frames.iter().filter(|frame| frame[12..14] == [8, 0]);
        segments
            .map(|frame| frame[..6].try_into().unwrap())
            .collect()
    };
    let mut asked = stations(&link);
    assert_ne!(asked[0], CLIENT_MAC);
    for _ in 0..40 {
        world.now = world.now + Duration::from_millis(100);
        link.set_now(world.now);
        world.turn();
        asked.extend(stations(&link));
    }
    assert_eq!(asked.len(), 3, "at 0, 1 and 3 s");
    assert_eq!(asked[2], CLIENT_MAC);
}

#[test]
fn whoever_does_not_answer_arp_is_asked_again_and_given_up() {
    let link = Link::new();
    let mut world = World::new(&link);
    let nobody = SocketAddrV4::new(Ipv4Addr::new(10, 7, 0, 77), 80);
    let id = world.stack.connect(nobody, world.now).unwrap();
    for _ in 0..150 {
        world.now = world.now + Duration::from_millis(100);
        world.turn();
        assert_eq!(segments(&link), []);
    }
    let timed_out = Event::Closed(id, CloseReason::TimedOut);
    assert_eq!(world.take_events(), [timed_out]);
    assert_eq!(world.stack.counters().arp_requests, 4);
    // One that is released before anything came of it leaves nothing.
    world.stack.release(id).unwrap();
    let id = world.stack.connect(nobody, world.now).unwrap();
    world.stack.release(id).unwrap();
    world.turn();
    assert_eq!(world.stack.counters().slots_now, 0);
}

#[test]
fn what_cannot_be_connected_to_is_refused() {
    let link = Link::new();
    let mut world = World::with(&link, World::config(1, 1024), link.nic(0));
    let connect = |world: &mut World, address: [u8; 4], port| {
        let remote = SocketAddrV4::new(Ipv4Addr::from(address), port);
        world.stack.connect(remote, world.now)
    };
    for address in [
        [0; 4],
        [127, 0, 0, 1],
        [224, 0, 0, 1],
        [255; 4],
        [10, 7, 0, 1],
    ] {
        let refused = connect(&mut world, address, 80);
        assert_eq!(refused, Err(ConnectError::BadAddress), "{address:?}");
    }
    assert_eq!(
        connect(&mut world, [10, 7, 0, 2], 0),
        Err(ConnectError::BadAddress)
    );
    assert!(connect(&mut world, [10, 7, 0, 2], 80).is_ok());
    let full = connect(&mut world, [10, 7, 0, 2], 80);
    assert_eq!(full, Err(ConnectError::ConnectionsFull));
    let port = fabric(&[true], [1; 16]).remove(0);
    let mut nowhere: Stack<MemoryNic> =
        Stack::new(World::config(1, 1024), Some(link.nic(0)), port, world.now);
    assert_eq!(
        nowhere.connect(REMOTE, world.now),
        Err(ConnectError::NoAddress)
    );
}

#[test]
fn flows_that_a_core_opens_come_back_to_it_whatever_queue_they_arrive_on() {
    let handed = open_from_two_cores(None);
    assert!(handed > 0, "some came to the other queue");
}

#[test]
fn flows_that_a_core_opens_arrive_on_its_own_queue_where_the_device_scales() {
    assert_eq!(open_from_two_cores(Some(Rss::new([0x3c; 40], 2))), 0);
}

/// Opens connections from two cores, and returns how many segments went from one to the other.
fn open_from_two_cores(rss: Option<Rss>) -> u64 {
    let link = Link::with(net::testing::Conditions::PERFECT, 1, 2);
    if let Some(rss) = &rss {
        link.scale(rss.clone());
    }
    let mut ports = fabric_with_rss(&[true, true], [3; 16], rss).into_iter();
    let mut worlds: Vec<World> = (0..2)
        .map(|queue| {
            let config = World::config(64, 4096);
            World::at(&link, config, link.nic(queue), ports.next().unwrap())
        })
        .collect();
    let turns = |worlds: &mut [World]| {
        for _ in 0..4 {
            for world in worlds.iter_mut() {
                world.turn();
            }
        }
    };
    turns(&mut worlds);
    segments(&link);
    let mut opened = Vec::new();
    for number in 0..40 {
        let world: &mut World = &mut worlds[number % 2];
        opened.push((number % 2, world.stack.connect(REMOTE, world.now).unwrap()));
    }
    turns(&mut worlds);
    let mut syns = segments(&link);
    turns(&mut worlds);
    syns.extend(segments(&link));
    assert_eq!(syns.len(), 40, "no port twice");
    let client = link.client_port();
    for syn in &syns {
        client.send(&answer(syn, SYN | ACK, 900).frame());
    }
    turns(&mut worlds);
    for (core, world) in worlds.iter_mut().enumerate() {
        let connected = world.take_events();
        let own = opened.iter().filter(|(of, _)| *of == core);
        assert_eq!(connected.len(), own.count(), "core {core}");
        assert_eq!(world.stack.counters().established_now, 20);
    }
    let counters = || worlds.iter().map(|world| world.stack.counters());
    let handed: u64 = counters().map(|core| core.handovers_out).sum();
    // An answer of ARP is for every core.
    handed - counters().map(|core| core.arp_requests).sum::<u64>()
}
