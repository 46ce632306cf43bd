//! The stack over IPv6: neighbours, pings, connections either way, losses, offloads, and what nobody
//! waits for.

use kernel::Instant;
use net::stack::Event;
use net::testing::frames::{ACK, RST, SYN, Tcp, ipv6, packet, seal_icmpv6, seal_tcp};
use net::testing::{
    CLIENT_ADDRESS_V6, CLIENT_MAC, Client, ClientPort, Conditions, Link, MemoryNic, Pair,
    STACK_ADDRESS_V6, STACK_MAC, World,
};
use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

const PEER: Ipv6Addr = CLIENT_ADDRESS_V6;
const OURS: Ipv6Addr = STACK_ADDRESS_V6;
/// The group of those whose addresses end like the stack's.
const GROUP: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 1);

/// A stack and what its peer sends and gets.
struct Wire {
    world: World,
    port: ClientPort,
}

impl Wire {
    fn new() -> Self {
        let link = Link::new();
        let mut world = World::new(&link);
        world.settle_addresses();
        let port = link.client_port();
        Wire { world, port }
    }

    fn exchange(&mut self, frame: &[u8]) -> Vec<Vec<u8>> {
        self.port.send(frame);
        self.world.turn();
        std::iter::from_fn(|| self.port.receive()).collect()
    }

    fn counter(&self, name: &str) -> u64 {
        let counters = self.world.stack.counters();
        let found = counters.iter().find(|(known, _)| *known == name);
        found.expect("a counter").1
    }
}

/// An ICMPv6 message as a frame.
fn icmp(from: Ipv6Addr, to: Ipv6Addr, hop_limit: u8, mut message: Vec<u8>) -> Vec<u8> {
    seal_icmpv6(&mut message, from, to);
    let mut frame = ipv6(58, from, to, &message);
    frame[21] = hop_limit;
    frame
}

fn solicitation(from: Ipv6Addr, to: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    icmp(
        from,
        to,
        255,
        [&[135, 0, 0, 0, 0, 0, 0, 0][..], &target.octets()].concat(),
    )
}

#[test]
fn whoever_asks_for_our_address_is_told_our_station() {
    let mut wire = Wire::new();
    for to in [GROUP, OURS] {
        let replies = wire.exchange(&solicitation(PEER, to, OURS));
        let [reply] = &replies[..] else {
            panic!("{replies:02x?}");
        };
        assert_eq!(
            (&reply[..6], &reply[6..12]),
            (&CLIENT_MAC[..], &STACK_MAC[..])
        );
        assert_eq!(reply[22..54], [OURS.octets(), PEER.octets()].concat());
        assert_eq!((reply[21], reply[54]), (255, 136), "an advertisement");
        assert_eq!(reply[58], 0x60, "asked for, and certain");
        assert_eq!(reply[62..78], OURS.octets());
        assert_eq!(reply[78..86], [&[2, 1], &STACK_MAC[..]].concat());
        let mut sealed = reply[54..].to_vec();
        seal_icmpv6(&mut sealed, OURS, PEER);
        assert_eq!(sealed, reply[54..], "the checksum");
    }
    let other = Ipv6Addr::new(0xfd07, 0, 0, 0, 0, 0, 1, 1);
    assert!(wire.exchange(&solicitation(PEER, GROUP, other)).is_empty());
    let mut from_afar = solicitation(PEER, GROUP, OURS);
    from_afar[21] = 254;
    assert!(wire.exchange(&from_afar).is_empty());
    assert_eq!(wire.counter("ndp_replies"), 2);
}

#[test]
fn pings_of_every_size_come_back() {
    let mut wire = Wire::new();
    for bytes in (0..1400).step_by(7).chain([1452]) {
        let data: Vec<u8> = (0..bytes).map(|at| at as u8).collect();
        let message = [&[128, 0, 0, 0, 1, 2, 3, 4][..], &data].concat();
        let replies = wire.exchange(&icmp(PEER, OURS, 64, message));
        let [reply] = &replies[..] else {
            panic!("{bytes} bytes: {replies:02x?}");
        };
        assert_eq!((reply[54], &reply[58..62]), (129, &[1, 2, 3, 4][..]));
        assert_eq!(reply[62..], data);
        let mut sealed = reply[54..].to_vec();
        seal_icmpv6(&mut sealed, OURS, PEER);
        assert_eq!(sealed, reply[54..], "the checksum");
    }
    let to_all = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let ping = icmp(PEER, to_all, 64, vec![128, 0, 0, 0, 0, 1, 0, 1]);
    assert!(wire.exchange(&ping).is_empty(), "groups are not answered");
}

#[test]
fn a_segment_for_nobody_is_answered_with_a_reset() {
    let mut wire = Wire::new();
    let stray = Tcp::new(4000, ACK, 77, 88).over_ipv6();
    let replies = wire.exchange(&stray.frame());
    let reset = Tcp::parse(&replies[0]).expect("a segment");
    assert_eq!((reset.flags, reset.sequence), (RST, 88));
    let mut syn = Tcp::new(4000, SYN, 77, 0).over_ipv6();
    syn.stack_port = 81;
    let replies = wire.exchange(&syn.frame());
    let reset = Tcp::parse(&replies[0]).expect("a segment");
    assert_eq!((reset.flags, reset.acknowledged), (RST | ACK, 78));
    assert_eq!(wire.counter("unknown_segments"), 2);
}

#[test]
fn a_peer_is_known_by_its_address_and_segments_are_of_1440_bytes() {
    let mut wire = Wire::new();
    let listener = wire.world.listen(80, 4);
    let syn = Tcp::new(4000, SYN, 9, 0).over_ipv6();
    let replies = wire.exchange(&syn.frame());
    let answer = Tcp::parse(&replies[0]).expect("a segment");
    assert_eq!(answer.flags, SYN | ACK);
    assert_eq!(replies[0][74..78], [2, 4, 5, 160], "the segment size");
    let ack = Tcp::new(4000, ACK, 10, answer.sequence.wrapping_add(1)).over_ipv6();
    wire.exchange(&ack.frame());
    let accepted = wire.world.stack.accept(listener).expect("established");
    assert_eq!(accepted.peer, SocketAddr::from((PEER, 4000)));
}

#[test]
fn bytes_go_both_ways_between_smoltcp_and_us() {
    let link = Link::new();
    let mut world = World::new(&link);
    let listener = world.listen(80, 4);
    let mut client = Client::over_ipv6(&link);
    let socket = client.connect(80);
    world.run(&mut client, 2000);
    let connection = world.stack.accept(listener).expect("one").connection;
    client.send(socket, &[7; 5000]);
    world.stack.send(connection, &[8; 5000]).unwrap();
    world.run(&mut client, 1000);
    let mut got = [0; 6000];
    let mut bytes = 0;
    while let Ok(Some(more @ 1..)) = world.stack.receive(connection, &mut got[bytes..]) {
        bytes += more;
    }
    assert_eq!(&got[..bytes], &[7; 5000]);
    assert_eq!(client.receive(socket), [8; 5000]);
    client.close(socket);
    world.stack.release(connection).unwrap();
    world.run(&mut client, 60_000);
    assert_eq!(world.stack.counters().slots_now, 0);
}

/// Has two stacks exchange bytes over such a link.
fn transfer(conditions: Conditions, seed: u64, offloads: Option<u32>) -> Pair {
    const BYTES: usize = 60_000;
    let link = Link::with(conditions, seed, 1);
    link.capture(&format!("ipv6-{seed}"));
    let config = World::config(8, 16_384);
    let mut pair = match offloads {
        None => Pair::new(link, &config),
        Some(bytes) => {
            Pair::with_server_nic(link, &config, |nic: MemoryNic| nic.with_offloads(bytes))
        }
    };
    let client = pair.connect_over_ipv6();
    let (mut server, mut sent, mut got) = (None, 0, Vec::new());
    let data: Vec<u8> = (0..BYTES).map(|at| (at * 31) as u8).collect();
    while got.len() < BYTES {
        pair.run(5);
        server = server.or_else(|| pair.accept());
        if let Some(server) = server {
            let piece = &data[sent..(sent + 9000).min(BYTES)];
            if !piece.is_empty() {
                sent += pair.server.stack.send(server, piece).expect("open");
            }
        }
        let mut buf = [0; 4000];
        while let Ok(Some(bytes @ 1..)) = pair.client.stack.receive(client, &mut buf) {
            got.extend_from_slice(&buf[..bytes]);
        }
        let late = Instant::ZERO + Duration::from_secs(600);
        assert!(pair.now < late, "seed {seed}: {} bytes came", got.len());
    }
    assert_eq!(got, data, "seed {seed}");
    assert!(
        pair.client
            .take_events()
            .contains(&Event::Connected(client))
    );
    pair
}

#[test]
fn two_stacks_lose_no_byte_on_a_link_that_loses_reorders_and_damages() {
    let conditions = Conditions {
        loss: 50,
        duplication: 20,
        reordering: 50,
        corruption: 30,
        delay: Duration::from_millis(1),
    };
    for seed in 0..20 {
        let pair = transfer(conditions, seed, None);
        assert!(pair.server.stack.counters().tx_segments > 40);
    }
}

#[test]
fn a_device_with_offloads_completes_checksums_and_cuts() {
    // The far end verifies what the device has made of it.
    let pair = transfer(Conditions::PERFECT, 1, Some(0));
    assert_eq!(pair.client.stack.counters().rx_refused_bytes, 0);
    let conditions = Conditions {
        loss: 20,
        ..Conditions::PERFECT
    };
    transfer(conditions, 2, Some(65_549));
}

#[test]
fn what_may_not_be_is_dropped_and_counted() {
    let mut wire = Wire::new();
    let mut tcp = [
        0x0f, 0xa0, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, SYN, 1, 1, 0, 0, 0, 0,
    ];
    for from in ["::", "::1", "ff02::1", "::ffff:10.7.0.9", "fd07::1"] {
        let from: Ipv6Addr = from.parse().unwrap();
        seal_tcp(&mut tcp, from, OURS);
        assert!(wire.exchange(&packet(6, from, OURS, &tcp)).is_empty());
    }
    assert_eq!(wire.counter("drop_bad_source"), 5);
    let routed = [&[6, 0, 0, 0, 0, 0, 0, 0][..], &tcp].concat();
    assert!(wire.exchange(&packet(43, PEER, OURS, &routed)).is_empty());
    assert_eq!(wire.counter("drop_bad_ipv6_extension"), 1);
    // Behind padding it is a segment like any other.
    seal_tcp(&mut tcp, PEER, OURS);
    let padded = [&[6, 0, 1, 4, 0, 0, 0, 0][..], &tcp].concat();
    assert_eq!(wire.exchange(&packet(60, PEER, OURS, &padded)).len(), 1);
}

#[test]
fn vlan_tags_and_unknown_ethertypes_are_dropped_and_counted() {
    let mut wire = Wire::new();
    let frame = solicitation(PEER, OURS, OURS);
    let tagged = |tags: &[u8]| [&frame[..12], tags, &frame[12..]].concat();
    // IEEE 802.1Q, 802.1ad, and both.
    for tags in [
        &[0x81, 0, 0, 7][..],
        &[0x88, 0xa8, 0, 7],
        &[0x88, 0xa8, 0, 7, 0x81, 0, 0, 9],
    ] {
        assert!(wire.exchange(&tagged(tags)).is_empty());
    }
    assert_eq!(wire.counter("drop_vlan"), 3);
    // LLDP, spanning tree (a length of IEEE 802.3), PPPoE, MPLS, and nonsense.
    for ethertype in [0x88cc_u16, 38, 0x8864, 0x8847, 0xffff] {
        let mut other = frame.clone();
        other[12..14].copy_from_slice(&ethertype.to_be_bytes());
        assert!(wire.exchange(&other).is_empty());
    }
    assert_eq!(wire.counter("drop_ethertype"), 5);
    assert_eq!(wire.exchange(&frame).len(), 1);
}
