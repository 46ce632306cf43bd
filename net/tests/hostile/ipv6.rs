//! The same over IPv6, and what IPv6 alone has: neighbour discovery, routers, extension headers.

use crate::siege::{Siege, assert_dropped};
use net::counters::{Counters, DropReason};
use net::limits::{ADDRESSES, HOST_CHANGES};
use net::testing::frames::{ACK, FIN, RST, SYN, Tcp, ipv6, seal_icmpv6, seal_tcp};
use net::testing::{CLIENT_ADDRESS_V6, Random, STACK_ADDRESS_V6};
use std::net::Ipv6Addr;

const OURS: Ipv6Addr = STACK_ADDRESS_V6;
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// The group of those whose addresses end like ours.
const GROUP: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 1);
/// The station of somebody else on the link.
const THIEF: [u8; 6] = [2, 0, 0, 0, 0, 66];
/// How long half-open connections are kept, and some more.
const HALF_OPEN_MS: u64 = 12_000;

/// Lets a new siege over IPv6 endure a flood, once the addresses are certain.
fn flood(name: &str, settles_ms: u64, frame: impl FnMut(&mut Siege) -> Vec<u8>) -> Counters {
    let mut siege = Siege::over_ipv6(name);
    siege.run(1500, |_| ());
    siege.endure_flood(settles_ms, frame)
}

/// An address that any host may have, and none on the link has.
fn anyone(random: &mut Random) -> Ipv6Addr {
    Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(random.next_u64()))
}

/// A host of the link.
fn neighbour(random: &mut Random) -> Ipv6Addr {
    Ipv6Addr::from_bits(0xfe80 << 112 | u128::from(1 + random.below(1 << 24)))
}

fn icmp(from: Ipv6Addr, to: Ipv6Addr, hop_limit: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut message = parts.concat();
    seal_icmpv6(&mut message, from, to);
    let mut frame = ipv6(58, from, to, &message);
    frame[21] = hop_limit;
    frame
}

#[test]
fn a_flood_of_syns_leaves_the_established_their_throughput_and_newcomers_their_entry() {
    let counters = flood("v6-syn", HALF_OPEN_MS, |siege| {
        let random = &mut siege.random;
        let (port, sequence) = (1 + random.below(65_535) as u16, random.next_u64() as u32);
        let syn = Tcp::new(port, SYN, sequence, 0);
        let client = anyone(random).into();
        Tcp { client, ..syn }.frame()
    });
    assert!(counters.syn_cookies_sent > 50_000, "{counters:?}");
}

#[test]
fn guessed_segments_of_honest_connections_break_none() {
    for flags in [ACK, RST, SYN, FIN | ACK] {
        let counters = flood("v6-guesses", 0, |siege| {
            let port = siege.honest_port();
            let random = &mut siege.random;
            let (sequence, guess) = (random.next_u64() as u32, random.next_u64() as u32);
            Tcp::new(port, flags, sequence, guess).over_ipv6().frame()
        });
        assert_eq!(counters.connections_reset, 0, "flags {flags:#x}");
        assert!(counters.out_of_place_segments > 90_000);
    }
}

#[test]
fn a_flood_of_land_packets_and_impossible_sources_is_dropped_unanswered() {
    let sources = [
        OURS,
        Ipv6Addr::UNSPECIFIED,
        Ipv6Addr::LOCALHOST,
        ALL_NODES,
        Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0x0a07, 2),
        Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0x0a07, 2),
    ];
    let counters = flood("v6-land", 0, |siege| siege.land(&sources));
    assert_dropped(&counters, DropReason::BadSource);
}

#[test]
fn a_flood_of_pings_is_answered_and_none_to_a_group() {
    let counters = flood("v6-ping", 0, |siege| {
        let random = &mut siege.random;
        let to = if random.chance(500) { OURS } else { ALL_NODES };
        icmp(anyone(random), to, 64, &[&[128, 0, 0, 0], &[7; 60]])
    });
    let groups = counters.drops(DropReason::Icmp);
    assert!((40_000..60_000).contains(&groups), "{groups}");
}

#[test]
fn a_flood_of_questions_for_us_is_answered_and_teaches_nothing() {
    let counters = flood("v6-solicit", 0, |siege| {
        let random = &mut siege.random;
        let from = neighbour(random);
        let to = if random.chance(500) { OURS } else { GROUP };
        let station = [2, 0, 0, random.next_u64() as u8, 7, 7];
        let parts = [
            &[135, 0, 0, 0, 0, 0, 0, 0][..],
            &OURS.octets(),
            &[1, 1],
            &station,
        ];
        icmp(from, to, 255, &parts)
    });
    assert!(counters.ndp_replies > 90_000, "{counters:?}");
}

#[test]
fn claims_by_neighbour_discovery_move_no_connection_and_take_no_address() {
    for claimed in [CLIENT_ADDRESS_V6, OURS] {
        let counters = flood("v6-claims", 0, |siege| {
            let to = if siege.random.chance(500) {
                OURS
            } else {
                ALL_NODES
            };
            let head = [136, 0, 0, 0, 0x20, 0, 0, 0];
            let parts = [&head[..], &claimed.octets(), &[2, 1], &THIEF];
            let mut frame = icmp(claimed, to, 255, &parts);
            frame[6..12].copy_from_slice(&THIEF);
            frame
        });
        assert!(counters.tx_segments_repeated < 10);
    }
    let mut siege = Siege::over_ipv6("v6-probes");
    siege.run(1500, |_| ());
    // Somebody asks for our address, as if to use it.
    let counters = siege.endure_flood(0, |_| {
        let parts = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &OURS.octets()];
        icmp(Ipv6Addr::UNSPECIFIED, GROUP, 255, &parts)
    });
    assert!(counters.ndp_replies > 90_000);
}

#[test]
fn a_flood_of_routers_ends_no_connection_and_changes_little() {
    let counters = flood("v6-routers", 0, |siege| {
        let random = &mut siege.random;
        let [high, low] = (random.next_u64() as u16).to_be_bytes();
        // Half of them say good-bye at once; networks of ours, of anybody, and nonsense.
        let lifetime = if random.chance(500) {
            [0, 0]
        } else {
            [high, low]
        };
        let network = match random.below(3) {
            0 => OURS.to_bits() >> 64 << 64,
            1 => u128::from(random.next_u64()) << 64,
            _ => 0xfe80 << 112,
        };
        let seconds = (random.next_u64() as u32 >> random.below(32)).to_be_bytes();
        let mtu = (random.next_u64() as u32 >> random.below(32)).to_be_bytes();
        let parts = [
            &[
                134,
                0,
                0,
                0,
                64,
                (random.below(4) as u8) << 3,
                lifetime[0],
                lifetime[1],
            ][..],
            &[0; 8],
            &[3, 4, random.below(130) as u8, random.next_u64() as u8],
            &seconds,
            &seconds,
            &[0; 4],
            &network.to_be_bytes(),
            &[5, 1, 0, 0],
            &mtu,
        ];
        let router = Ipv6Addr::from_bits(0xfe80 << 112 | u128::from(random.below(9) + 1));
        icmp(router, ALL_NODES, 255, &parts)
    });
    assert!(counters.router_advertisements > 90_000);
    // What is told to all cores and the log: some at once, and then five in a second.
    assert!(
        counters.host_changes < u64::from(2 * HOST_CHANGES) + 20,
        "{counters:?}"
    );
    assert_eq!(counters.connections_looked_at, 0);
    assert!(counters.addresses_refused > 0);
    let mut siege = Siege::over_ipv6("v6-routers-addresses");
    siege.run(10, |_| ());
    assert!(siege.world.stack.host().addresses.len() <= ADDRESSES);
}

#[test]
fn a_flood_of_questions_about_groups_is_answered_rarely() {
    let counters = flood("v6-groups", 0, |siege| {
        let random = &mut siege.random;
        let is_old = random.chance(100);
        let mut message = [&[130, 0, 0, 0, 0, 1, 0, 0][..], &[0; 16]].concat();
        if !is_old {
            message.extend([2, 125, 0, 0]);
        }
        let router = neighbour(random);
        seal_icmpv6(&mut message, router, ALL_NODES);
        let alert = [58, 0, 5, 2, 0, 0, 1, 0];
        let mut frame = ipv6(0, router, ALL_NODES, &[&alert[..], &message].concat());
        frame[21] = 1;
        frame
    });
    assert!(counters.mld_queries > 90_000);
    // One in each turn at most, with a message for each of two groups.
    assert!(counters.mld_reports < 1100, "{}", counters.mld_reports);
}

#[test]
fn chains_of_extension_headers_are_refused_or_stepped_over() {
    let counters = flood("v6-extensions", HALF_OPEN_MS, |siege| {
        let random = &mut siege.random;
        let from = anyone(random);
        let mut payload = Tcp::new(9, SYN, 7, 0).frame()[34..].to_vec();
        seal_tcp(&mut payload, from, OURS);
        let mut next = 6;
        for _ in 0..random.below(12) {
            // Options of any kind and length in headers of any kind.
            let words = random.below(5) as usize;
            let mut header = vec![next, words as u8];
            header.extend((2..8 * words + 8).map(|_| random.next_u64() as u8));
            match random.below(3) {
                0 => header[2..].fill(0),
                1 => (header[2], header[3]) = (1, (8 * words + 4) as u8),
                _ => {}
            }
            next = [0, 60, 60, 60, 43, 135, 51, 139][random.below(8) as usize];
            payload = [header, payload].concat();
        }
        ipv6(next, from, OURS, &payload)
    });
    let refused = counters.drops(DropReason::BadIpv6Extension);
    assert!(refused > 30_000, "{refused}");
    assert!(counters.connections_begun > 4, "some are segments");
}

#[test]
fn a_flood_with_routing_headers_of_type_0_goes_nowhere() {
    let counters = flood("v6-routing", 0, |siege| {
        // To us, and from us to another (RFC 5095).
        let random = &mut siege.random;
        let mut payload = vec![58, 2, 0, 1, 0, 0, 0, 0];
        payload.extend(anyone(random).octets());
        payload.extend([128, 0, 0, 0, 0, 1, 0, 1]);
        ipv6(43, anyone(random), OURS, &payload)
    });
    assert_dropped(&counters, DropReason::BadIpv6Extension);
}

/// An ICMPv6 error about a segment of an honest connection that was never sent.
fn error(siege: &mut Siege, kind: u8, code: u8, word: u32) -> Vec<u8> {
    let port = siege.honest_port();
    let guess = siege.random.next_u64() as u32;
    let mut quoted = vec![0x60, 0, 0, 0, 5, 0, 6, 64];
    quoted.extend(OURS.octets());
    quoted.extend(CLIENT_ADDRESS_V6.octets());
    quoted.extend(80_u16.to_be_bytes());
    quoted.extend(port.to_be_bytes());
    quoted.extend(guess.to_be_bytes());
    let from = anyone(&mut siege.random);
    icmp(
        from,
        OURS,
        64,
        &[&[kind, code, 0, 0], &word.to_be_bytes(), &quoted],
    )
}

#[test]
fn lies_about_the_path_slow_nobody_down() {
    let mut siege = Siege::over_ipv6("v6-lie-nothing");
    siege.run(1500, |_| ());
    let peace = siege.endure(0, |_| ()).1.tx_segments;
    let counters = flood("v6-lie-mtu", 0, |siege| {
        let mtu = [0, 68, 1279, 1280, u32::MAX][siege.random.below(5) as usize];
        error(siege, 2, 0, mtu)
    });
    let sent = counters.tx_segments;
    assert!(
        sent < peace + peace / 10,
        "{sent} segments, {peace} in peace"
    );
    assert_eq!(counters.path_mtu_changes, 0);
}

#[test]
fn errors_about_segments_that_were_never_sent_cut_nobody_off() {
    let counters = flood("v6-lie-unreachable", 0, |siege| {
        let kinds = [
            (1, 0),
            (1, 1),
            (1, 3),
            (1, 4),
            (3, 0),
            (3, 1),
            (4, 0),
            (4, 1),
            (137, 0),
        ];
        let (kind, code) = kinds[siege.random.below(kinds.len() as u64) as usize];
        error(siege, kind, code, 0)
    });
    let lost = counters.connections_reset + counters.connections_timed_out;
    assert_eq!(lost, 0);
}
