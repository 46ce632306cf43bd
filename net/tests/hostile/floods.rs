//! Floods: many frames, each of which costs something.

use crate::siege::{assert_dropped, flood, packet};
use net::counters::DropReason;
use net::testing::frames::{ACK, FIN, RST, SYN, Tcp, seal_tcp};
use net::testing::{CLIENT_ADDRESS, Random, STACK_ADDRESS, STACK_MAC};
use std::net::Ipv4Addr;

/// An address that any host may have, and none on the link has.
fn anyone(random: &mut Random) -> u32 {
    0x0b00_0000 | random.below(1 << 24) as u32
}

/// How long half-open connections are kept, and some more.
const HALF_OPEN_MS: u64 = 12_000;

#[test]
fn a_flood_of_syns_leaves_the_established_their_throughput_and_newcomers_their_entry() {
    let counters = flood("flood-syn", HALF_OPEN_MS, |siege| {
        let random = &mut siege.random;
        let syn = Tcp {
            client: Ipv4Addr::from_bits(anyone(random)).into(),
            ..Tcp::new(
                1 + random.below(65_535) as u16,
                SYN,
                random.next_u64() as u32,
                0,
            )
        };
        syn.frame()
    });
    assert!(counters.syn_cookies_sent > 50_000, "{counters:?}");
}

#[test]
fn a_flood_of_syns_to_closed_ports_is_answered_and_forgotten() {
    let counters = flood("flood-closed", 0, |siege| {
        let random = &mut siege.random;
        let syn = Tcp {
            client: Ipv4Addr::from_bits(anyone(random)).into(),
            stack_port: 81 + random.below(1000) as u16,
            ..Tcp::new(1 + random.below(65_535) as u16, SYN, 0, 0)
        };
        syn.frame()
    });
    assert!(counters.unknown_segments > 90_000);
}

#[test]
fn a_flood_of_acknowledgements_from_nowhere_opens_nothing() {
    let counters = flood("flood-ack", 0, |siege| {
        let random = &mut siege.random;
        let (sequence, guess) = (random.next_u64() as u32, random.next_u64() as u32);
        let ack = Tcp {
            client: Ipv4Addr::from_bits(anyone(random)).into(),
            ..Tcp::new(1 + random.below(65_535) as u16, ACK, sequence, guess)
        };
        ack.frame()
    });
    assert_eq!(counters.slots_now, 4);
}

#[test]
fn guessed_segments_of_honest_connections_break_none() {
    for flags in [ACK, RST, RST | ACK, SYN, SYN | ACK, FIN | ACK] {
        let counters = flood("flood-guesses", 0, |siege| {
            let port = siege.honest_port();
            let random = &mut siege.random;
            let (sequence, guess) = (random.next_u64() as u32, random.next_u64() as u32);
            let segment = Tcp::new(port, flags, sequence, guess);
            let data = if flags == ACK { &b"forged"[..] } else { &[] };
            segment.with_payload(data).frame()
        });
        assert_eq!(counters.connections_reset, 0, "flags {flags:#x}");
        assert!(counters.out_of_place_segments > 90_000);
        // Challenges are rare: the honest would have to answer them.
        assert!(counters.tx_segments < 30_000, "{}", counters.tx_segments);
    }
}

#[test]
fn a_flood_of_echo_requests_is_answered_beside_the_honest() {
    let counters = flood("flood-icmp", 0, |siege| {
        let mut echo = [0; 64];
        echo[0] = 8;
        let sum = !smoltcp::wire::checksum::data(&echo);
        echo[2..4].copy_from_slice(&sum.to_be_bytes());
        packet(1, anyone(&mut siege.random), &echo)
    });
    assert!(counters.icmp_frames > 90_000);
}

#[test]
fn a_flood_of_land_packets_and_impossible_sources_is_dropped_unanswered() {
    let sources = [
        STACK_ADDRESS,
        [0, 0, 0, 0].into(),
        [127, 0, 0, 1].into(),
        [224, 0, 0, 1].into(),
        [255, 255, 255, 255].into(),
        [240, 1, 2, 3].into(),
    ];
    let counters = flood("flood-land", 0, |siege| siege.land(&sources));
    assert_dropped(&counters, DropReason::BadSource);
}

#[test]
fn a_flood_of_questions_by_arp_is_answered_and_teaches_nothing() {
    let counters = flood("flood-arp", 0, |siege| {
        let random = &mut siege.random;
        let mac = (0x0200_0000_0000 | random.below(1 << 24)).to_be_bytes();
        arp(1, &mac[2..], anyone(random).to_be_bytes())
    });
    assert!(counters.arp_replies > 90_000, "{counters:?}");
}

/// An ARP packet about the stack's address.
pub(crate) fn arp(operation: u8, mac: &[u8], address: [u8; 4]) -> Vec<u8> {
    let mut frame = Vec::from(STACK_MAC);
    frame.extend_from_slice(mac);
    frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, operation]);
    frame.extend_from_slice(mac);
    frame.extend(address);
    frame.extend(STACK_MAC);
    frame.extend(STACK_ADDRESS.octets());
    frame
}

#[test]
fn a_flood_of_segments_with_every_option_at_every_length_breaks_nothing() {
    let mut number = 0_u32;
    let counters = flood("flood-options", HALF_OPEN_MS, |siege| {
        number += 1;
        let port = siege.honest_port();
        let random = &mut siege.random;
        // Kind and length by turns, then noise; to newcomers and to the honest.
        let (kind, length) = ((number / 41) as u8, (number % 41) as u8);
        let words = 1 + random.below(10) as usize;
        let mut options = vec![0; 4 * words];
        options
            .iter_mut()
            .for_each(|byte| *byte = random.next_u64() as u8);
        options[..2].copy_from_slice(&[kind, length]);
        let (port, flags) = match number % 2 {
            0 => (port, ACK),
            _ => (1 + random.below(40_000) as u16, SYN),
        };
        with_options(
            &Tcp::new(port, flags, random.next_u64() as u32, 0),
            &options,
        )
    });
    assert_eq!(counters.connections_reset, 0);
}

/// Returns the frame of a segment with these options, a multiple of four bytes.
fn with_options(segment: &Tcp, options: &[u8]) -> Vec<u8> {
    let mut tcp = segment.frame()[34..].to_vec();
    tcp.splice(20..20, options.iter().copied());
    tcp[12] = ((5 + options.len() / 4) as u8) << 4;
    seal_tcp(&mut tcp, segment.client, STACK_ADDRESS);
    packet(6, CLIENT_ADDRESS.to_bits(), &tcp)
}
