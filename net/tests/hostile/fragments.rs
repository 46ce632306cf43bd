//! Fragments as an attack: of datagrams that are never whole, over each other, and beyond all ends.

use crate::siege::{FRAMES_PER_MS, SIEGE_MS, Siege, flood};
use net::counters::{Counters, DropReason};
use net::limits::REASSEMBLIES;
use net::testing::{
    CLIENT_ADDRESS, CLIENT_ADDRESS_V6, Datagram, Random, STACK_ADDRESS, STACK_ADDRESS_V6,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A datagram of any source, or of one, in either family, with any identification.
fn datagram(random: &mut Random, from_one: bool) -> Datagram {
    let host = if from_one { 9 } else { random.below(1 << 24) };
    let (from, to): (IpAddr, IpAddr) = match random.below(2) {
        0 => {
            let from = Ipv4Addr::from_bits(0x0b00_0000 | host as u32);
            (from.into(), STACK_ADDRESS.into())
        }
        _ => {
            let from = Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(host) << 64 | 1);
            (from.into(), STACK_ADDRESS_V6.into())
        }
    };
    let identification = random.next_u64() as u32;
    Datagram::ping(from, to, &[0; 2000]).identified(identification)
}

/// Frames that were dropped because of what fragments they were.
fn dropped(counters: &Counters) -> u64 {
    let reasons = [
        DropReason::BadFragment,
        DropReason::FragmentOverlap,
        DropReason::FragmentRepeated,
        DropReason::FragmentTooMany,
        DropReason::FragmentEvicted,
        DropReason::FragmentLate,
    ];
    reasons
        .into_iter()
        .map(|reason| counters.drops(reason))
        .sum()
}

/// Every frame of the flood was dropped, or is in the table.
fn assert_none_kept(counters: &Counters) {
    let (dropped, sent) = (dropped(counters), SIEGE_MS * FRAMES_PER_MS);
    assert!(dropped <= sent && sent - dropped < 10_000, "{counters:?}");
    assert!(counters.reassemblies_now <= REASSEMBLIES as u64);
}

#[test]
fn a_flood_of_first_fragments_pushes_out_its_own_and_answers_few() {
    for from_one in [true, false] {
        let counters = flood("fragments-first", 0, |siege| {
            let datagram = datagram(&mut siege.random, from_one);
            datagram.fragments(1400).swap_remove(0)
        });
        assert_none_kept(&counters);
        assert!(counters.drops(DropReason::FragmentEvicted) > 90_000);
        assert_eq!(counters.time_exceeded_sent, 0);
    }
}

#[test]
fn a_flood_of_last_fragments_is_forgotten() {
    let counters = flood("fragments-last", 0, |siege| {
        let datagram = datagram(&mut siege.random, false);
        // As far out as can be, so that each claims most.
        datagram.fragment(65_496, false, &[7; 16])
    });
    assert_none_kept(&counters);
}

#[test]
fn a_flood_of_parts_of_few_datagrams_in_all_places_delivers_nothing_twice_cut() {
    let counters = flood("fragments-teardrop", 0, |siege| {
        let random = &mut siege.random;
        let mut datagram = datagram(random, true);
        datagram.identification %= 5;
        let (at, bytes) = (
            8 * (1 + random.below(250)) as usize,
            8 * (1 + random.below(50)) as usize,
        );
        let has_more = !random.chance(100);
        let bytes = vec![random.next_u64() as u8; bytes];
        datagram.fragment(at, has_more, &bytes)
    });
    assert!(
        counters.drops(DropReason::FragmentOverlap) > 90_000,
        "{counters:?}"
    );
    assert_eq!(counters.icmp_frames, 0, "nothing is whole");
}

#[test]
fn a_flood_of_pings_of_death_and_tiny_first_fragments_is_refused() {
    let counters = flood("fragments-death", 0, |siege| {
        let random = &mut siege.random;
        let mut datagram = datagram(random, false);
        if random.chance(500) {
            return datagram.fragment(65_520, random.chance(500), &[0; 1400]);
        }
        datagram.protocol = 6;
        datagram.fragment(0, true, &[0; 8])
    });
    crate::siege::assert_dropped(&counters, DropReason::BadFragment);
    assert_eq!(counters.fragments_taken, 0);
}

#[test]
fn a_large_ping_comes_back_beside_one_that_floods() {
    let mut siege = Siege::new("fragments-beside");
    let pings = [
        Datagram::ping(CLIENT_ADDRESS, STACK_ADDRESS, &[5; 8000]),
        Datagram::ping(CLIENT_ADDRESS_V6, STACK_ADDRESS_V6, &[6; 8000]),
    ];
    let mut number = 0;
    siege.endure(0, |siege| {
        for place in 0..FRAMES_PER_MS {
            let hostile = datagram(&mut siege.random, true);
            siege.send(&hostile.fragments(1400)[0]);
            if place % 100 == 0 {
                number += 1;
                let ping = pings[number % 2].clone().identified(number as u32);
                ping.fragments(1400)
                    .iter()
                    .for_each(|frame| siege.send(frame));
            }
        }
    });
    let counters = siege.counters();
    assert_eq!(counters.datagrams_reassembled, number as u64);
    assert_eq!(counters.icmp_frames, number as u64);
}

#[test]
fn datagrams_that_are_never_whole_are_given_up_and_few_are_told() {
    let mut siege = Siege::new("fragments-late");
    siege.endure_flood(0, |siege| {
        let datagram = datagram(&mut siege.random, false);
        datagram.fragments(1400).swap_remove(0)
    });
    siege.run(31_000, |_| ());
    let counters = siege.counters();
    assert_eq!(counters.reassemblies_now, 0);
    let told = counters.time_exceeded_sent;
    assert!((1..=20).contains(&told), "{told}");
}
