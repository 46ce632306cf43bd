//! Which messages of neighbour discovery are taken, and what they say.

use super::*;
use crate::testing::frames::seal_icmpv6;
use std::vec::Vec;

const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x77);
const PEER: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 9);
const OURS: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
const STATION: [u8; 8] = [1, 1, 2, 0, 0, 0, 0, 9];

fn taken<'a>(
    bytes: &'a mut [u8],
    source: Ipv6Addr,
    destination: Ipv6Addr,
    hop_limit: u8,
) -> Option<Discovery<'a>> {
    seal_icmpv6(bytes, source, destination);
    let message = demux::Message {
        source,
        destination,
        hop_limit,
        range: 0..0,
    };
    parse(bytes, &message)
}

fn message(kind: u8, head: [u8; 4], target: Ipv6Addr, options: &[u8]) -> Vec<u8> {
    [&[kind, 0, 0, 0][..], &head, &target.octets(), options].concat()
}

#[test]
fn solicitations_are_taken_as_rfc_4861_has_them() {
    let group = ipv6::solicited_node(OURS);
    let asks = |options: &[u8], source, destination, hop_limit| {
        let mut bytes = message(135, [0; 4], OURS, options);
        let expected = Discovery::Solicitation { target: OURS };
        let taken = taken(&mut bytes, source, destination, hop_limit);
        assert!(taken.is_none() || taken == Some(expected));
        taken.is_some()
    };
    assert!(asks(&STATION, PEER, group, 255));
    assert!(asks(&[], PEER, OURS, 255));
    assert!(!asks(&STATION, PEER, group, 254), "through a router");
    let nobody = Ipv6Addr::UNSPECIFIED;
    assert!(asks(&[], nobody, group, 255));
    assert!(!asks(&STATION, nobody, group, 255), "nobody has no station");
    assert!(!asks(&[], nobody, OURS, 255), "nobody asks a group");
    assert!(
        !asks(&[1, 0, 0, 0, 0, 0, 0, 0], PEER, group, 255),
        "an empty option"
    );
    assert!(
        !asks(&[1, 2, 0, 0, 0, 0, 0, 0], PEER, group, 255),
        "one cut short"
    );
    let mut of_group = message(135, [0; 4], ALL_NODES, &[]);
    assert_eq!(taken(&mut of_group, PEER, group, 255), None);
}

#[test]
fn advertisements_name_a_station_or_none() {
    let says = |flags: u8, options: &[u8], destination| {
        let mut bytes = message(136, [flags, 0, 0, 0], PEER, options);
        match taken(&mut bytes, PEER, destination, 255) {
            Some(Discovery::Advertisement { target, station }) => {
                assert_eq!(target, PEER);
                Some(station)
            }
            _ => None,
        }
    };
    let mut own = STATION;
    own[0] = TARGET_STATION;
    assert_eq!(says(0x60, &own, OURS), Some(Some([2, 0, 0, 0, 0, 9])));
    assert_eq!(says(0x60, &[], OURS), Some(None));
    assert_eq!(says(0x20, &[], ALL_NODES), Some(None));
    assert_eq!(says(0x60, &[], ALL_NODES), None, "asked for by nobody");
    own[2] = 3;
    assert_eq!(says(0x60, &own, OURS), None, "a group is no station");
}

#[test]
fn routers_say_what_there_is() {
    let prefix = |bits: u8| {
        let mut option = [3, 4, bits, 0xc0, 0, 0, 0x0e, 0x10, 0, 0, 7, 8, 0, 0, 0, 0].to_vec();
        option.extend(PEER.octets());
        option
    };
    let mtu = [5, 1, 0, 0, 0, 0, 5, 0x78];
    let head = [&[134, 0, 0, 0, 64, 0b0000_1000, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0][..]];
    let unknown = [200, 1, 0, 0, 0, 0, 0, 0];
    let all = [head[0], &prefix(64), &unknown, &mtu, &prefix(48)].concat();
    let mut bytes = all.clone();
    let Some(Discovery::Router(said)) = taken(&mut bytes, ROUTER, ALL_NODES, 255) else {
        panic!("not taken");
    };
    assert_eq!(
        (said.router, said.lifetime_s, said.preference),
        (ROUTER, 1800, 1)
    );
    let options: Vec<_> = said.options().collect();
    assert!(matches!(
        options[..],
        [RouterOption::Prefix(a), RouterOption::Mtu(1400), RouterOption::Prefix(b)]
            if a.prefix_len == 64 && b.prefix_len == 48
    ));
    assert_eq!(
        taken(&mut bytes, PEER, ALL_NODES, 255),
        None,
        "not of the link"
    );
    assert_eq!(taken(&mut bytes, ROUTER, ALL_NODES, 64), None);
    for length in 0..all.len() {
        let mut cut = all[..length].to_vec();
        if length >= 4 {
            // Nothing, or as much as is whole.
            taken(&mut cut, ROUTER, ALL_NODES, 255);
        }
    }
    bytes[17] = 0;
    assert_eq!(
        taken(&mut bytes, ROUTER, ALL_NODES, 255),
        None,
        "an empty option"
    );
}
