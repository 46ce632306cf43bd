//! Frames in several buffers: read as the one segment that they are, and nothing that hostile ones say
//! is believed.

use kernel::{CoreMask, Instant};
use net::counters::DropReason;
use net::fabric::fabric;
use net::stack::{ConnectionId, ListenerId};
use net::testing::frames::{ACK, FIN, RST, SYN, Tcp, ipv4, seal_ipv4};
use net::testing::{
    CLIENT_ADDRESS, Client, Conditions, Link, OneFrame, Random, STACK_ADDRESS, World,
};
use net::{AddressConfig, Stack};
use std::time::Duration;

/// Bytes of a buffer of these tests.
const BUFFER_BYTES: usize = 2048;

/// A stack with an open connection, over a device that uses several buffers for a frame.
struct Bench {
    link: Link,
    world: World,
    connection: ConnectionId,
    /// The client's next segment.
    next: Tcp,
}

impl Bench {
    fn new(window_bytes: usize, buffer_bytes: usize, syn: Tcp) -> Self {
        let link = Link::new();
        let nic = link.nic(0).with_buffers(buffer_bytes);
        let mut world = World::with(&link, World::config(4, window_bytes), nic);
        let listener = world.listen(80, 4);
        link.client_port().send(&syn.frame());
        world.turn();
        let answer = replies(&link).remove(0);
        let next = Tcp {
            flags: ACK,
            sequence: syn.sequence + 1,
            acknowledged: answer.sequence + 1,
            ..syn
        };
        link.client_port().send(&next.frame());
        world.turn();
        let connection = world.stack.accept(listener).expect("open").connection;
        Bench {
            link,
            world,
            connection,
            next,
        }
    }

    fn usual() -> Self {
        Bench::new(1 << 20, BUFFER_BYTES, Tcp::new(1000, SYN, 1, 0))
    }

    /// Sends a frame, and returns what the stack answers.
    fn send(&mut self, frame: &[u8]) -> Vec<Tcp> {
        self.link.client_port().send(frame);
        self.world.turn();
        replies(&self.link)
    }

    /// Reads all that is there.
    fn read(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        let mut part = [0; 5000];
        while let Ok(Some(count @ 1..)) = self.world.stack.receive(self.connection, &mut part) {
            all.extend(&part[..count]);
        }
        all
    }

    fn drops(&self, reason: DropReason) -> u64 {
        self.world.stack.counters().drops(reason)
    }
}

fn replies(link: &Link) -> Vec<Tcp> {
    let port = link.client_port();
    let frames = std::iter::from_fn(|| port.receive());
    frames.filter_map(|frame| Tcp::parse(&frame)).collect()
}

fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|at| (at * 5 / 3) as u8).collect()
}

#[test]
fn a_super_segment_is_read_whole_and_acknowledged_at_once() {
    let syn = Tcp::new(1000, SYN, 1, 0);
    for syn in [syn.clone(), syn.over_ipv6()] {
        // Also in buffers of an odd length, over which the checksum is summed all the same.
        for (buffer_bytes, count) in [(BUFFER_BYTES, 65_000), (1999, 65_000), (400, 9000)] {
            let mut bench = Bench::new(1 << 20, buffer_bytes, syn.clone());
            let sent = bytes(count);
            let answers = bench.send(&bench.next.clone().with_payload(&sent).frame());
            let end = bench.next.sequence + count as u32;
            let acknowledged: Vec<u32> = answers.iter().map(|reply| reply.acknowledged).collect();
            assert_eq!(acknowledged, [end], "one answer, to all of it");
            assert_eq!(bench.read(), sent);
            assert_eq!(bench.world.stack.counters().large_segments, 1);
        }
    }
}

#[test]
fn small_segments_put_together_are_acknowledged_at_once_though_they_are_less_than_two_of_ours() {
    for (segment_bytes, is_at_once) in [(0, false), (300, true), (400, false)] {
        let wire = OneFrame::default();
        let port = fabric(&[true], [7; 16]).remove(0);
        let config = World::config(4, 65_536);
        let mut stack =
            Stack::<OneFrame, Vec<u8>>::new(config, Some(wire.clone()), port, Instant::ZERO);
        let address = AddressConfig::fixed(STACK_ADDRESS, 16);
        stack.configure_address(&address, Instant::ZERO);
        stack.listen(80, CoreMask::first(1), 4).expect("free");
        let mut turn = || {
            stack.handle_frames(Instant::ZERO);
            stack.poll_transmit(Instant::ZERO);
        };
        let next = wire.shake_hands(1000, &mut turn);
        let frame = next.with_payload(&bytes(600)).frame();
        wire.put_large_frame(&frame, segment_bytes);
        turn();
        let acknowledged = wire.last_sent().acknowledged;
        assert_eq!(acknowledged == 1001 + 600, is_at_once, "of {segment_bytes}");
    }
}

#[test]
fn lengths_that_do_not_fit_drop_the_frame_or_cut_it() {
    let mut bench = Bench::usual();
    let whole = bench.next.clone().with_payload(&bytes(6000)).frame();
    // Shorter than it says, by a byte, and by a buffer.
    for missing in [1, 2048, whole.len() - 2049] {
        bench.send(&whole[..whole.len() - missing]);
    }
    assert_eq!(bench.drops(DropReason::LargeFrame), 3);
    // It says that it ends in the first buffer.
    for length in [0_u16, 19, 20, 40, 1000, 2034] {
        let mut frame = whole.clone();
        frame[16..18].copy_from_slice(&length.to_be_bytes());
        seal_ipv4(&mut frame);
        bench.send(&frame);
    }
    assert_eq!(bench.drops(DropReason::LargeFrame), 9);
    assert!(bench.read().is_empty());
    // What is behind it is nobody's.
    let mut longer = whole.clone();
    longer.extend([9; 3000]);
    assert_eq!(bench.send(&longer).len(), 1);
    assert_eq!(bench.read(), bytes(6000));
}

#[test]
fn headers_are_looked_at_as_ever() {
    let mut bench = Bench::usual();
    let whole = bench.next.clone().with_payload(&bytes(6000)).frame();
    let changed = |at: usize, value: u8| {
        let mut frame = whole.clone();
        frame[at] ^= value;
        frame
    };
    for (at, value, reason) in [
        (0, 4, DropReason::NotOurStation),
        (6, 1, DropReason::BadSource),
        (14, 0x10, DropReason::BadIpv4Header),
        (24, 1, DropReason::BadIpv4Checksum),
        (46, 0x70, DropReason::BadTcpHeader),
        (5000, 1, DropReason::BadTcpChecksum),
        (12, 1, DropReason::LargeFrame),
    ] {
        let before = bench.drops(reason);
        let answers = bench.send(&changed(at, value));
        assert!(answers.is_empty(), "byte {at}");
        assert_eq!(bench.drops(reason), before + 1, "byte {at}");
    }
    assert!(bench.read().is_empty());
}

#[test]
fn what_is_no_segment_or_begins_or_breaks_a_connection_does_not_come_in_parts() {
    let mut bench = Bench::usual();
    for protocol in [1, 17, 41] {
        bench.send(&ipv4(protocol, CLIENT_ADDRESS, STACK_ADDRESS, &bytes(5000)));
    }
    // A DHCP server's answer, and a fragment.
    let mut dhcp = bytes(3000);
    dhcp[..4].copy_from_slice(&[0, 67, 0, 68]);
    bench.send(&ipv4(17, CLIENT_ADDRESS, STACK_ADDRESS, &dhcp));
    let mut fragment = ipv4(6, CLIENT_ADDRESS, STACK_ADDRESS, &bytes(3000));
    fragment[20] = 0x20;
    seal_ipv4(&mut fragment);
    bench.send(&fragment);
    let counters = bench.world.stack.counters();
    let dropped = [
        DropReason::LargeFrame,
        DropReason::IpProtocol,
        DropReason::UdpPort,
    ]
    .map(|reason| counters.drops(reason));
    assert!(dropped.iter().sum::<u64>() >= 4, "{dropped:?}");
    assert_eq!(counters.large_segments, 0);
    let before = bench.drops(DropReason::LargeFrame);
    for flags in [SYN, SYN | ACK, RST, RST | ACK] {
        let segment = Tcp {
            flags,
            ..bench.next.clone()
        };
        assert!(
            bench
                .send(&segment.with_payload(&bytes(5000)).frame())
                .is_empty()
        );
    }
    assert_eq!(bench.drops(DropReason::LargeFrame), before + 4);
    // The connection has not suffered.
    bench.send(&bench.next.clone().with_payload(&bytes(5000)).frame());
    assert_eq!(bench.read(), bytes(5000));
}

#[test]
fn a_super_segment_of_no_connection_is_reset_as_one() {
    let mut bench = Bench::usual();
    let stranger = Tcp::new(2000, ACK, 500, 77).with_payload(&bytes(9000));
    let answers = bench.send(&stranger.frame());
    let reset: Vec<_> = answers
        .iter()
        .map(|reply| (reply.flags, reply.sequence))
        .collect();
    assert_eq!(reset, [(RST, 77)]);
    let without_ack = Tcp {
        flags: FIN,
        ..stranger
    };
    let answers = bench.send(&without_ack.frame());
    let reset: Vec<_> = answers
        .iter()
        .map(|reply| (reply.flags, reply.acknowledged))
        .collect();
    assert_eq!(
        reset,
        [(RST | ACK, 500 + 9000 + 1)],
        "behind all of it, and its FIN"
    );
}

#[test]
fn a_finish_counts_behind_the_last_byte() {
    let mut bench = Bench::usual();
    let last = Tcp {
        flags: ACK | FIN,
        ..bench.next.clone()
    };
    let answers = bench.send(&last.with_payload(&bytes(7000)).frame());
    let acknowledged = answers.last().expect("at once").acknowledged;
    assert_eq!(acknowledged, bench.next.sequence + 7000 + 1);
    assert_eq!(bench.read(), bytes(7000));
    let mut buf = [0; 8];
    let end = bench.world.stack.receive(bench.connection, &mut buf);
    assert_eq!(end, Ok(Some(0)), "the end");
}

#[test]
fn what_is_known_and_what_is_beyond_the_window_or_a_gap_is_told_apart_within_one() {
    let mut bench = Bench::new(16_384, BUFFER_BYTES, Tcp::new(1000, SYN, 1, 0));
    let sent = bytes(40_000);
    let start = bench.next.sequence;
    let part = |from: usize, to: usize| {
        let sequence = start + from as u32;
        let segment = Tcp {
            sequence,
            ..bench.next.clone()
        };
        segment.with_payload(&sent[from..to]).frame()
    };
    let frames = [part(5000, 12_000), part(0, 5000), part(3000, 40_000)];
    // A gap, which is then filled.
    assert_eq!(bench.send(&frames[0])[0].acknowledged, start);
    assert_eq!(bench.send(&frames[1])[0].acknowledged, start + 12_000);
    // Of this 9,000 are known, and only as much as the window is open is taken.
    let answer = bench.send(&frames[2]).remove(0);
    assert_eq!(answer.acknowledged, start + 16_384);
    assert_eq!(bench.read(), sent[..16_384]);
}

#[test]
fn without_memory_as_much_is_taken_as_there_is_and_the_rest_asked_for_again() {
    let link = Link::new();
    let nic = link.nic(0).with_buffers(BUFFER_BYTES);
    let config = net::stack::StackConfig {
        chunks: 8,
        ..World::config(4, 65_536)
    };
    let mut world = World::with(&link, config, nic);
    let listener = world.listen(80, 4);
    let send = |world: &mut World, frame: &[u8]| {
        link.client_port().send(frame);
        world.turn();
        replies(&link)
    };
    let syn = Tcp::new(1000, SYN, 1, 0);
    let answer = send(&mut world, &syn.frame()).remove(0);
    let next = Tcp::new(1000, ACK, 2, answer.sequence + 1);
    send(&mut world, &next.frame());
    let connection = world.stack.accept(listener).expect("open").connection;
    let (sent, mut read, mut rounds) = (bytes(60_000), Vec::<u8>::new(), 0);
    while read.len() < sent.len() {
        let segment = Tcp {
            sequence: next.sequence + read.len() as u32,
            ..next.clone()
        };
        let rest = &sent[read.len()..];
        let answers = send(&mut world, &segment.with_payload(rest).frame());
        let taken = answers.last().expect("an answer").acknowledged - next.sequence;
        let mut part = vec![0; 60_000];
        while let Ok(Some(count @ 1..)) = world.stack.receive(connection, &mut part) {
            read.extend(&part[..count]);
        }
        assert_eq!(read.len(), taken as usize, "what was told is what there is");
        rounds += 1;
        assert!(rounds < 20);
    }
    assert_eq!(read, sent);
    assert!(rounds > 3 && world.stack.counters().rx_refused_bytes > 0);
    assert_eq!(world.stack.counters().free_chunks_now, 8);
}

#[test]
fn another_core_gets_it_cut_to_what_crosses() {
    let link = Link::with(Conditions::PERFECT, 5, 2);
    let ports = fabric(&[true, true], [0x3c; 16]);
    let mut worlds: Vec<World> = ports
        .into_iter()
        .enumerate()
        .map(|(queue, port)| {
            let nic = link.nic(queue).with_buffers(BUFFER_BYTES);
            World::at(&link, World::config(16, 1 << 17), nic, port)
        })
        .collect();
    let listeners: Vec<ListenerId> = worlds.iter_mut().map(|world| world.listen(80, 8)).collect();
    let settle = |worlds: &mut Vec<World>| {
        for _ in 0..3 {
            for world in worlds.iter_mut() {
                world.turn();
            }
        }
        replies(&link)
    };
    // Frames come to either core, whosever they are.
    link.let_wander(1000);
    for client_port in 1000..1006 {
        let send = |worlds: &mut Vec<World>, segment: &Tcp| {
            link.client_port().send(&segment.frame());
            settle(worlds)
        };
        let answer = send(&mut worlds, &Tcp::new(client_port, SYN, 1, 0)).remove(0);
        let mut next = Tcp::new(client_port, ACK, 2, answer.sequence + 1);
        send(&mut worlds, &next);
        let (core, connection) = worlds
            .iter_mut()
            .zip(&listeners)
            .enumerate()
            .find_map(|(core, (world, listener))| {
                Some((core, world.stack.accept(*listener)?.connection))
            })
            .expect("on one of them");
        for round in 0..4 {
            next.flags = if round == 3 { ACK | FIN } else { ACK };
            let sent = bytes(30_000 + round * 7);
            let answers = send(&mut worlds, &next.clone().with_payload(&sent));
            next.sequence += sent.len() as u32;
            let acknowledged = answers.last().expect("at once").acknowledged;
            assert_eq!(acknowledged, next.sequence + u32::from(round == 3));
            let (mut read, mut part) = (Vec::<u8>::new(), [0; 5000]);
            let stack = &mut worlds[core].stack;
            while let Ok(Some(count @ 1..)) = stack.receive(connection, &mut part) {
                read.extend(&part[..count]);
            }
            assert_eq!(read, sent);
        }
    }
    let counters = worlds.iter().map(|world| world.stack.counters());
    let crossed: u64 = counters.map(|counters| counters.handovers_in).sum();
    assert!(crossed > 20 * 5, "{crossed}");
}

/// Any real traffic, put together and in buffers of any size, comes out as it went in.
#[test]
fn uploads_over_bad_networks_are_the_same_in_buffers_of_any_size() {
    for seed in 0..24 {
        let mut random = Random::new(seed);
        let conditions = Conditions {
            loss: 10 * random.below(3),
            reordering: 20 * random.below(3),
            duplication: 20 * random.below(3),
            corruption: 10 * random.below(2),
            delay: Duration::from_millis(1 + random.below(20)),
        };
        let link = Link::with(conditions, seed, 1);
        link.moderate(Duration::from_micros(500));
        let mut nic = link.nic(0).with_large_receive();
        if seed % 2 == 0 {
            nic = nic.with_buffers(100 + random.below(3000) as usize);
        }
        let mut world = World::with(&link, World::config(4, 1 << 17), nic);
        let listener = world.listen(80, 4);
        let mut client = Client::new(&link);
        client.buffer_bytes = 1 << 17;
        let socket = client.connect(80);
        let (sent, mut written, mut read) = (bytes(400_000), 0, Vec::<u8>::new());
        let mut connection = None;
        for _ in 0..4000 {
            world.run(&mut client, 5);
            connection = connection.or_else(|| Some(world.stack.accept(listener)?.connection));
            written += client.send(socket, &sent[written..]);
            let mut part = [0; 9000];
            while let Some(connection) = connection
                && let Ok(Some(count @ 1..)) = world.stack.receive(connection, &mut part)
            {
                read.extend(&part[..count]);
            }
            if read.len() == sent.len() {
                break;
            }
        }
        assert!(
            read == sent,
            "seed {seed}: {} bytes, {conditions:?}",
            read.len()
        );
        assert!(world.stack.counters().large_segments > 10, "seed {seed}");
    }
}
