//! Datagrams in fragments, both families: whatever order they come in the datagram comes out, and
//! what is larger than a packet goes out in fragments.

use kernel::Instant;
use net::fabric::fabric;
use net::limits::{REASSEMBLIES, REASSEMBLIES_PER_SOURCE, REASSEMBLY_TIME};
use net::testing::frames::{SYN, Tcp, ipv6, seal_icmp, seal_icmpv6};
use net::testing::{
    CLIENT_ADDRESS, CLIENT_ADDRESS_V6, ClientPort, Conditions, Datagram, Link, Random,
    STACK_ADDRESS, STACK_ADDRESS_V6, World,
};
use net::{AddressConfig, Stack};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// A stack and what its peer sends and gets.
struct Wire {
    world: World,
    port: ClientPort,
}

impl Wire {
    fn new() -> Self {
        let link = Link::new();
        link.capture("fragments");
        let mut world = World::new(&link);
        world.settle_addresses();
        let port = link.client_port();
        Wire { world, port }
    }

    /// Sends frames in one batch, and returns what comes back.
    fn exchange(&mut self, frames: &[Vec<u8>]) -> Vec<Vec<u8>> {
        frames.iter().for_each(|frame| self.port.send(frame));
        while self.world.turn() {}
        std::iter::from_fn(|| self.port.receive()).collect()
    }

    fn wait(&mut self, time: Duration) -> Vec<Vec<u8>> {
        // Timers are no finer than this.
        self.world.now = self.world.now + time + Duration::from_millis(2);
        self.exchange(&[])
    }

    fn counter(&self, name: &str) -> u64 {
        let counters = self.world.stack.counters();
        let found = counters.iter().find(|(known, _)| *known == name);
        found.unwrap_or_else(|| panic!("no counter {name}")).1
    }
}

fn data(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at * 7 + at / 251) as u8).collect()
}

fn ping_v4(bytes: usize) -> Datagram {
    Datagram::ping(CLIENT_ADDRESS, STACK_ADDRESS, &data(bytes))
}

fn ping_v6(bytes: usize) -> Datagram {
    Datagram::ping(CLIENT_ADDRESS_V6, STACK_ADDRESS_V6, &data(bytes))
}

/// Asserts that these frames answer a ping with its own bytes.
fn assert_answers(frames: &[Vec<u8>], ping: &Datagram) {
    let reply = Datagram::join(frames).expect("one whole datagram");
    assert_eq!((reply.from, reply.to), (ping.to, ping.from));
    let mut expected = ping.payload.clone();
    match (ping.from, ping.to) {
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            expected[0] = 129;
            seal_icmpv6(&mut expected, to, from);
        }
        _ => {
            expected[0] = 0;
            seal_icmp(&mut expected);
        }
    }
    assert!(reply.payload == expected, "{} bytes", expected.len());
}

#[test]
fn pings_of_every_size_come_back_in_both_families() {
    let mut wire = Wire::new();
    // Steps without a common divisor: every place of a cut comes up.
    let sizes = (0..3000).chain((3000..65_507).step_by(509)).chain([65_507]);
    for bytes in sizes {
        for (ping, cut) in [(ping_v4(bytes), 1480), (ping_v6(bytes), 1448)] {
            let frames = match ping.payload.len() <= cut {
                true => {
                    let [from, to] = [ping.from, ping.to];
                    let packet = net::testing::frames::packet;
                    vec![packet(ping.protocol, from, to, &ping.payload)]
                }
                false => ping.fragments(cut),
            };
            let replies = wire.exchange(&frames);
            assert!(replies.iter().all(|frame| frame.len() <= 1514));
            assert_answers(&replies, &ping);
        }
    }
    assert_eq!(wire.counter("reassemblies_now"), 0);
    assert_eq!(wire.counter("drop_transmit_full"), 0);
}

#[test]
fn the_largest_ping_of_ipv6_comes_back() {
    let mut wire = Wire::new();
    let ping = ping_v6(65_535 - 8);
    let replies = wire.exchange(&ping.fragments(1232));
    assert_answers(&replies, &ping);
    // As small as every way takes.
    assert!(replies.iter().all(|frame| frame.len() <= 14 + 1280));
}

#[test]
fn identifications_of_our_fragments_are_not_guessed_from_others() {
    let mut wire = Wire::new();
    for ping in [ping_v4(3000), ping_v6(3000)] {
        let mut seen = Vec::new();
        for number in 0..64 {
            let frames = ping.clone().identified(number).fragments(1000);
            let replies = wire.exchange(&frames);
            seen.push(Datagram::join(&replies).expect("an answer").identification);
        }
        let steps = seen.windows(2).map(|pair| pair[1].wrapping_sub(pair[0]));
        let mut steps: Vec<u32> = steps.collect();
        steps.sort();
        steps.dedup();
        assert!(steps.len() > 60, "{seen:?}");
    }
}

#[test]
fn any_order_and_repetition_of_fragments_gives_the_datagram() {
    let mut random = Random::new(21);
    let mut below = |span: usize| random.below(span as u64) as usize;
    let mut wire = Wire::new();
    for number in 0..400 {
        let bytes = 100 + below(if number % 20 == 0 { 65_000 } else { 6000 });
        let ping = match number % 2 {
            0 => ping_v4(bytes),
            _ => ping_v6(bytes),
        };
        let ping = ping.identified(number);
        // At most as many fragments as are taken.
        let cut = 8 * (4 + below(170)).max(bytes / 8 / 100);
        let mut frames = ping.fragments(cut);
        let last = frames.len() - 1;
        for _ in 0..below(4) {
            let again = frames[below(last + 1)].clone();
            frames.push(again);
        }
        for place in (1..frames.len()).rev() {
            frames.swap(place, below(place + 1));
        }
        // What comes after it was whole begins another, which is never.
        let mut left: Vec<_> = ping.fragments(cut);
        let whole = frames.iter().position(|frame| {
            left.retain(|other| other != frame);
            left.is_empty()
        });
        frames.truncate(whole.expect("all of them") + 1);
        assert_answers(&wire.exchange(&frames), &ping);
    }
    assert_eq!(wire.counter("reassemblies_now"), 0);
}

#[test]
fn a_segment_in_fragments_is_a_segment() {
    let mut wire = Wire::new();
    wire.world.listen(80, 4);
    for syn in [
        Tcp::new(4000, SYN, 7, 0),
        Tcp::new(4000, SYN, 7, 0).over_ipv6(),
    ] {
        let start = if syn.client.is_ipv4() { 34 } else { 54 };
        let datagram = Datagram {
            from: syn.client,
            to: net::testing::frames::stack_address(syn.client),
            protocol: 6,
            identification: 5,
            payload: syn.with_payload(&[1; 100]).frame()[start..].to_vec(),
        };
        let replies = wire.exchange(&datagram.fragments(48));
        let reply = Tcp::parse(&replies[0]).expect("a segment");
        assert_eq!(reply.flags, SYN | 0x10);
    }
}

#[test]
fn an_atomic_fragment_is_a_packet_and_disturbs_no_others() {
    let mut wire = Wire::new();
    let ping = ping_v6(2000);
    let frames = ping.fragments(1000);
    assert!(wire.exchange(&frames[..1]).is_empty());
    // With the same identification (RFC 6946 §4).
    let atomic = ping_v6(64);
    let frame = atomic.fragment(0, false, &atomic.payload);
    assert_answers(&wire.exchange(&[frame]), &atomic);
    assert_answers(&wire.exchange(&frames[1..]), &ping);
}

#[test]
fn neighbour_discovery_in_fragments_is_not_heard() {
    let mut wire = Wire::new();
    let mut question = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &STACK_ADDRESS_V6.octets()].concat();
    seal_icmpv6(&mut question, CLIENT_ADDRESS_V6, STACK_ADDRESS_V6);
    let mut whole = ipv6(58, CLIENT_ADDRESS_V6, STACK_ADDRESS_V6, &question);
    whole[21] = 255;
    assert_eq!(wire.exchange(&[whole]).len(), 1);
    let datagram = Datagram {
        payload: question,
        ..ping_v6(0)
    };
    for frames in [
        datagram.fragments(16),
        vec![datagram.fragment(0, false, &datagram.payload)],
    ] {
        let frames: Vec<_> = frames
            .into_iter()
            .map(|mut frame| {
                frame[21] = 255;
                frame
            })
            .collect();
        assert!(wire.exchange(&frames).is_empty());
    }
    assert_eq!(wire.counter("datagrams_reassembled"), 2);
    assert_eq!(wire.counter("drop_icmp"), 2);
}

#[test]
fn fragments_that_overlap_spoil_their_datagram_and_no_other() {
    for ping in [ping_v4(3000), ping_v6(3000)] {
        let part = |from: usize, to: usize| {
            let has_more = to < ping.payload.len();
            ping.fragment(from, has_more, &ping.payload[from..to])
        };
        let end = ping.payload.len();
        let overlaps = [
            ("the end of another", part(1000, 2000)),
            ("within another", part(504, 1000)),
            ("around another", part(0, 2000)),
            ("the start of another", part(1008, 2408)),
            ("beyond the end", ping.fragment(3008, true, &[0; 8])),
            ("another end", ping.fragment(3008, false, &[0; 80])),
            ("an earlier end", ping.fragment(2400, false, &[0; 8])),
        ];
        for (what, overlap) in overlaps {
            let mut wire = Wire::new();
            let overlapping = "drop_fragment_overlap";
            wire.exchange(&[part(0, 1008), part(2400, end), overlap]);
            assert_eq!(wire.counter(overlapping), 3, "{what}: all that has come");
            // What comes of it later is dropped, too.
            let replies = wire.exchange(&[part(0, 1008), part(1008, 2400), part(2400, end)]);
            assert!(replies.is_empty(), "{what}");
            assert_eq!(wire.counter(overlapping), 6);
            let other = ping.clone().identified(4);
            assert_answers(&wire.exchange(&other.fragments(1000)), &other);
            wire.wait(REASSEMBLY_TIME);
            assert_eq!(wire.counter("reassemblies_now"), 0);
        }
    }
}

#[test]
fn fragments_that_cannot_be_are_refused_by_reason() {
    let mut wire = Wire::new();
    let whole_header = |protocol: u8, bytes: &[u8], from: Datagram| {
        let datagram = Datagram { protocol, ..from };
        datagram.fragment(0, true, bytes)
    };
    let tcp_with_options = [&[0; 12][..], &[0x80], &[0; 11]].concat();
    let bad = [
        ("nothing", ping_v4(0).fragment(8, true, &[])),
        ("a crooked length", ping_v4(0).fragment(0, true, &[0; 12])),
        ("a crooked length", ping_v6(0).fragment(8, true, &[0; 12])),
        // The ping of death: its end is beyond the largest datagram.
        ("too far", ping_v4(0).fragment(65_512, false, &[0; 8])),
        ("too far", ping_v6(0).fragment(65_528, false, &[0; 8])),
        ("a tiny first", whole_header(6, &[0; 16], ping_v4(0))),
        ("a tiny first", whole_header(6, &[0; 16], ping_v6(0))),
        (
            "options cut",
            whole_header(6, &tcp_with_options, ping_v4(0)),
        ),
        (
            "an extension cut",
            whole_header(60, &[58, 1, 1, 4, 0, 0, 0, 0], ping_v6(0)),
        ),
        ("a fragment in it", whole_header(44, &[58; 16], ping_v6(0))),
        (
            "a routing header in it",
            whole_header(43, &[58; 16], ping_v6(0)),
        ),
    ];
    for (number, (what, frame)) in bad.iter().enumerate() {
        assert!(wire.exchange(std::slice::from_ref(frame)).is_empty());
        let counted = wire.counter("drop_bad_fragment");
        assert_eq!(counted, number as u64 + 1, "{what}");
    }
    wire.exchange(&[
        whole_header(47, &[0; 64], ping_v4(0)),
        whole_header(47, &[0; 64], ping_v6(0)),
    ]);
    assert_eq!(wire.counter("drop_ip_protocol"), 2);
    let mut elsewhere = ping_v4(0);
    elsewhere.to = Ipv4Addr::new(10, 7, 0, 9).into();
    let mut from_nobody = ping_v6(0);
    from_nobody.from = Ipv6Addr::LOCALHOST.into();
    wire.exchange(&[
        elsewhere.fragment(0, true, &[0; 64]),
        from_nobody.fragment(0, true, &[0; 64]),
    ]);
    assert_eq!(wire.counter("drop_not_our_address"), 1);
    assert_eq!(wire.counter("drop_bad_source"), 1);
    assert_eq!(wire.counter("reassemblies_now"), 0);
}

#[test]
fn a_datagram_in_more_fragments_than_any_needs_is_dropped() {
    let mut wire = Wire::new();
    for ping in [ping_v4(4000), ping_v6(4000)] {
        assert!(wire.exchange(&ping.fragments(24)).is_empty());
        assert_answers(
            &wire.exchange(&ping.clone().identified(2).fragments(32)),
            &ping,
        );
    }
    // 167 fragments each.
    assert_eq!(wire.counter("drop_fragment_too_many"), 2 * 167);
}

#[test]
fn what_is_not_whole_in_time_is_given_up_and_its_sender_told() {
    let mut wire = Wire::new();
    for (ping, kind, headers, quoted) in [(ping_v4(3000), 11, 34, 28), (ping_v6(3000), 3, 54, 1232)]
    {
        let frames = ping.fragments(1400);
        wire.exchange(&frames[..2]);
        assert_eq!(wire.counter("reassemblies_now"), 1);
        assert!(
            wire.wait(REASSEMBLY_TIME - Duration::from_millis(5))
                .is_empty()
        );
        let told = wire.wait(Duration::from_millis(4));
        let [error] = &told[..] else {
            panic!("{} frames", told.len());
        };
        assert_eq!(error[headers..headers + 2], [kind, 1]);
        assert!(
            error[headers + 8..] == frames[0][14..14 + quoted],
            "the first fragment"
        );
        let mut sealed = error[headers..].to_vec();
        match ping.to.is_ipv4() {
            true => seal_icmp(&mut sealed),
            false => seal_icmpv6(&mut sealed, STACK_ADDRESS_V6, CLIENT_ADDRESS_V6),
        }
        assert_eq!(sealed, error[headers..], "the checksum");
        // Too late: it begins anew, and without its first fragment nobody is told.
        assert!(wire.exchange(&frames[2..]).is_empty());
        assert!(wire.wait(REASSEMBLY_TIME).is_empty());
        assert_eq!(wire.counter("reassemblies_now"), 0);
    }
    assert_eq!(wire.counter("drop_fragment_late"), 6);
    // What is an error itself is told nothing about (RFC 1122 §3.2.2).
    for (mut ping, kind) in [(ping_v4(3000), 3), (ping_v6(3000), 1)] {
        ping.payload[0] = kind;
        wire.exchange(&ping.fragments(1400)[..1]);
    }
    assert!(wire.wait(REASSEMBLY_TIME).is_empty());
}

#[test]
fn errors_are_few_however_many_datagrams_are_never_whole() {
    let mut wire = Wire::new();
    let ping = ping_v4(3000);
    for number in 0..REASSEMBLIES as u32 {
        let from = Ipv4Addr::from_bits(0x0a07_0100 + number);
        let ping = Datagram {
            from: from.into(),
            ..ping.clone()
        };
        wire.exchange(&ping.fragments(1400)[..1]);
    }
    assert_eq!(wire.counter("reassemblies_now"), REASSEMBLIES as u64);
    assert_eq!(wire.wait(REASSEMBLY_TIME).len(), 10);
    assert_eq!(wire.counter("reassemblies_now"), 0);
}

#[test]
fn one_source_pushes_out_its_own_and_many_the_oldest() {
    let mut wire = Wire::new();
    let honest = ping_v6(3000);
    let halves = honest.fragments(1600);
    wire.exchange(&halves[..1]);
    // Any address of one network of 64 bits.
    let from = |network: u128, host: u32| Ipv6Addr::from_bits(network << 64 | u128::from(host));
    for number in 0..1000 {
        let flood = Datagram {
            from: from(0x2001_0db8_0000_0000, number).into(),
            ..honest.clone()
        };
        wire.exchange(&flood.fragments(1600)[..1]);
    }
    let held = REASSEMBLIES_PER_SOURCE as u64;
    assert_eq!(wire.counter("reassemblies_now"), held + 1);
    assert_eq!(wire.counter("drop_fragment_evicted"), 1000 - held);
    assert_answers(&wire.exchange(&halves[1..]), &honest);
    // As many networks as there are places: now the oldest gives way.
    wire.exchange(&halves[..1]);
    for number in 0..REASSEMBLIES as u128 {
        let flood = Datagram {
            from: from(0x2001_0db8_0000_0001 + number, 1).into(),
            ..honest.clone()
        };
        wire.exchange(&flood.fragments(1600)[..1]);
    }
    assert!(wire.exchange(&halves[1..]).is_empty());
    assert!(wire.counter("reassemblies_now") > REASSEMBLIES as u64 - 3);
}

#[test]
fn memory_is_for_two_of_the_largest_at_least_and_a_third_pushes_the_oldest_out() {
    let mut wire = Wire::new();
    let pings: Vec<_> = (0..3)
        .map(|number| ping_v4(65_507).identified(number))
        .collect();
    let all_but_last = |ping: &Datagram| {
        let mut frames = ping.fragments(1480);
        let last = frames.pop().expect("many");
        (frames, last)
    };
    let (first, first_last) = all_but_last(&pings[0]);
    let (second, second_last) = all_but_last(&pings[1]);
    wire.exchange(&first);
    wire.exchange(&second);
    assert_answers(&wire.exchange(std::slice::from_ref(&first_last)), &pings[0]);
    assert_answers(
        &wire.exchange(std::slice::from_ref(&second_last)),
        &pings[1],
    );
    let (third, third_last) = all_but_last(&pings[2]);
    wire.exchange(&first);
    wire.exchange(&second);
    wire.exchange(&third);
    assert_eq!(wire.counter("drop_fragment_evicted"), first.len() as u64);
    assert_answers(&wire.exchange(&[second_last]), &pings[1]);
    assert_answers(&wire.exchange(&[third_last]), &pings[2]);
    assert!(wire.exchange(&[first_last]).is_empty());
}

#[test]
fn fragments_that_arrive_on_several_queues_are_brought_to_one_core() {
    let link = Link::with(Conditions::PERFECT, 0, 2);
    let nics = [link.nic(0), link.nic(1)];
    let mut stacks: Vec<Stack<_>> = fabric(&[true, true], [1; 16])
        .into_iter()
        .zip(nics)
        .map(|(port, nic)| Stack::new(World::config(8, 1024), Some(nic), port, Instant::ZERO))
        .collect();
    let config = AddressConfig::fixed(STACK_ADDRESS, 16).and(STACK_ADDRESS_V6, 64);
    stacks[1].configure_address(&config, Instant::ZERO);
    // Each frame on another queue than the one before.
    link.let_wander(1000);
    let port = link.client_port();
    let mut now = Instant::ZERO;
    let mut turn = |stacks: &mut Vec<Stack<_>>| {
        for _ in 0..4 {
            for stack in stacks.iter_mut() {
                stack.handle_frames(now);
                stack.handle_timers(now);
                stack.poll_transmit(now);
            }
        }
        now = now + Duration::from_millis(1);
    };
    turn(&mut stacks);
    while port.receive().is_some() {}
    for number in 0..50 {
        let ping = match number % 2 {
            0 => ping_v4(20_000),
            _ => ping_v6(20_000),
        };
        let ping = ping.identified(number);
        ping.fragments(1400)
            .iter()
            .for_each(|frame| port.send(frame));
        turn(&mut stacks);
        let replies: Vec<_> = std::iter::from_fn(|| port.receive()).collect();
        assert_answers(&replies, &ping);
    }
    let of = |name: &str, core: usize| -> u64 {
        let counters = stacks[core].counters();
        let found = counters.iter().find(|(known, _)| *known == name);
        found.expect("a counter").1
    };
    assert!(of("handovers_out", 0) > 200, "{}", of("handovers_out", 0));
    assert_eq!(of("datagrams_reassembled", 1), 50);
}
