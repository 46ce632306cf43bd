//! Lies: frames that claim what is not so, to have the honest cut off, led astray or slowed down.

use crate::floods::arp;
use crate::siege::{Siege, flood, packet};
use net::testing::frames::{Tcp, seal_ipv4};
use net::testing::{CLIENT_ADDRESS, CLIENT_MAC, STACK_ADDRESS};
use std::time::Duration;

/// The station of somebody else on the link.
const THIEF: [u8; 6] = [2, 0, 0, 0, 0, 66];

#[test]
fn a_segment_with_a_guessed_number_does_not_move_a_connection_to_its_senders_station() {
    let mut siege = Siege::new("lie-station");
    let (next, connection) = siege.invade(1).remove(0);
    let mut from_thief = |sequence: u32| {
        let forged = Tcp {
            sequence,
            ..next.clone()
        };
        let mut frame = forged.with_payload(b"x").frame();
        frame[6..12].copy_from_slice(&THIEF);
        siege.send(&frame);
        siege.run(2, |_| ());
        siege.world.stack.send(connection, b"answer").unwrap();
        let port = siege.link.client_port();
        siege.world.turn();
        siege.world.now = siege.world.now + Duration::from_millis(1);
        siege.link.set_now(siege.world.now);
        let frames = std::iter::from_fn(|| port.receive());
        let mut answers = frames.filter(|frame| frame.ends_with(b"answer"));
        let answer = answers.next().expect("an answer");
        <[u8; 6]>::try_from(&answer[..6]).unwrap()
    };
    for guess in [0x8000_0000, 0x4000_0000, 100_000] {
        assert_eq!(from_thief(guess), CLIENT_MAC);
    }
    // Who knows the number is believed: stations do change.
    assert_eq!(from_thief(next.sequence), THIEF);
}

#[test]
fn claims_by_arp_move_no_connection() {
    for operation in [1, 2] {
        let counters = flood("lie-arp", 0, |_| {
            arp(operation, &THIEF, CLIENT_ADDRESS.octets())
        });
        assert!(counters.tx_segments_repeated < 10);
    }
}

/// An ICMP error about a segment of an honest connection that was never sent.
fn error(siege: &mut Siege, kind: u8, code: u8, mtu: u16) -> Vec<u8> {
    let port = siege.honest_port();
    let guess = siege.random.next_u64() as u32;
    let mut icmp = vec![kind, code, 0, 0, 0, 0];
    icmp.extend(mtu.to_be_bytes());
    let mut quoted = packet(6, STACK_ADDRESS.to_bits(), &[0; 1400]);
    quoted[30..34].copy_from_slice(&CLIENT_ADDRESS.octets());
    seal_ipv4(&mut quoted);
    icmp.extend(&quoted[14..34]);
    icmp.extend(80_u16.to_be_bytes());
    icmp.extend(port.to_be_bytes());
    icmp.extend(guess.to_be_bytes());
    let sum = !smoltcp::wire::checksum::data(&icmp);
    icmp[2..4].copy_from_slice(&sum.to_be_bytes());
    packet(1, 0x0a07_0000 | siege.random.below(1 << 16) as u32, &icmp)
}

#[test]
fn lies_about_the_path_slow_nobody_down() {
    let peace = Siege::new("lie-nothing").endure(0, |_| ()).1.tx_segments;
    let counters = flood("lie-mtu", 0, |siege| {
        let mtu = [0, 68, 256, 576, 1280][siege.random.below(5) as usize];
        error(siege, 3, 4, mtu)
    });
    // As many segments for as many answers: none is smaller.
    let sent = counters.tx_segments;
    assert!(
        sent < peace + peace / 10,
        "{sent} segments, {peace} in peace"
    );
}

#[test]
fn errors_about_segments_that_were_never_sent_cut_nobody_off() {
    let counters = flood("lie-unreachable", 0, |siege| {
        let kinds = [
            (3, 0),
            (3, 1),
            (3, 2),
            (3, 3),
            (3, 13),
            (4, 0),
            (5, 1),
            (11, 0),
        ];
        let (kind, code) = kinds[siege.random.below(kinds.len() as u64) as usize];
        error(siege, kind, code, 0)
    });
    assert_eq!(
        counters.connections_reset + counters.connections_timed_out,
        0
    );
}
