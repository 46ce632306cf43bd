//! Every route, and every reason for a drop.

use super::*;
use crate::flow::FlowKey;
use crate::tcp::Seq;
use crate::testing::frames::{ACK, SYN, Tcp, ipv4, seal_ipv4, seal_tcp};
use crate::testing::frames::{ipv6, seal_icmpv6};
use crate::testing::{CLIENT_ADDRESS, CLIENT_ADDRESS_V6, CLIENT_MAC, Random};
use crate::testing::{STACK_ADDRESS, STACK_ADDRESS_V6, STACK_MAC};
use std::vec;
use std::vec::Vec as List;

fn station() -> Station {
    Station {
        mac: STACK_MAC,
        v4: Vec::from_iter([STACK_ADDRESS]),
        v6: Vec::from_iter([STACK_ADDRESS_V6]),
    }
}

fn route_of(frame: &[u8]) -> Route {
    route(frame, false, &station())
}

fn segment() -> List<u8> {
    Tcp::new(4000, ACK, 11, 22).with_payload(b"payload").frame()
}

/// Changes the IPv4 header of a good segment and makes its checksum good again.
fn with_header(change: impl Fn(&mut List<u8>)) -> List<u8> {
    let mut frame = segment();
    change(&mut frame);
    seal_ipv4(&mut frame);
    frame
}

#[test]
fn a_segment_is_read_whole() {
    let expected = Segment {
        key: FlowKey::v4((CLIENT_ADDRESS, 4000), (STACK_ADDRESS, 80)),
        sequence: Seq(11),
        acknowledged: Seq(22),
        flags: Flags(ACK),
        window: 0xffff,
        options_at: 54,
        options_bytes: 0,
        payload_bytes: 7,
    };
    assert_eq!(route_of(&segment()), Route::Segment(expected.clone()));
    let mut padded = segment();
    padded.extend_from_slice(&[0xee; 9]);
    assert_eq!(
        route_of(&padded),
        Route::Segment(expected),
        "padding is cut off"
    );
    let Route::Segment(opening) = route_of(&Tcp::new(1, SYN, 0, 0).frame()) else {
        panic!("no segment");
    };
    assert!(opening.flags.is_opening());
}

#[test]
fn ip_options_are_stepped_over() {
    let mut frame = segment();
    frame.splice(34..34, [1, 1, 1, 0]);
    frame[14] = 0x46;
    frame[17] += 4;
    seal_ipv4(&mut frame);
    let Route::Segment(segment) = route_of(&frame) else {
        panic!("no segment");
    };
    assert_eq!((segment.sequence, segment.options_at), (Seq(11), 58));
    assert_eq!(segment.parts(&frame), (&[][..], &frame[58..]));
}

#[test]
fn every_reason_for_a_drop() {
    let mut other_station = segment();
    other_station[5] ^= 1;
    let mut broadcast = segment();
    broadcast[..6].fill(0xff);
    let mut from_group = segment();
    from_group[6..12].fill(0xff);
    let mut from_nobody = segment();
    from_nobody[6..12].fill(0);
    let mut vlan = segment();
    vlan[12..14].copy_from_slice(&[0x81, 0]);
    let mut unknown = segment();
    unknown[12..14].copy_from_slice(&[0x88, 0xcc]);
    let mut double = segment();
    double[12..14].copy_from_slice(&[0x88, 0xa8]);
    let mut not_ipv6 = segment();
    not_ipv6[12..14].copy_from_slice(&[0x86, 0xdd]);
    let mut bad_sum = segment();
    bad_sum[24] ^= 1;
    let mut bad_tcp_sum = segment();
    bad_tcp_sum[60] ^= 1;
    let from = |a, b, c, d| {
        let mut tcp = vec![
            0x0f, 0xa0, 0, 80, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, ACK, 1, 1, 0, 0, 0, 0,
        ];
        let source = Ipv4Addr::new(a, b, c, d);
        seal_tcp(&mut tcp, source, STACK_ADDRESS);
        ipv4(6, source, STACK_ADDRESS, &tcp)
    };
    let with_tcp = |change: fn(&mut List<u8>)| {
        let mut frame = segment();
        change(&mut frame);
        let mut tcp = frame.split_off(34);
        seal_tcp(&mut tcp, CLIENT_ADDRESS, STACK_ADDRESS);
        frame.extend(tcp);
        frame
    };
    let cases: List<(DropReason, List<u8>)> = vec![
        (DropReason::Runt, segment()[..13].to_vec()),
        (DropReason::Runt, vec![]),
        (DropReason::NotOurStation, other_station),
        (DropReason::Broadcast, broadcast),
        (DropReason::BadSource, from_group),
        (DropReason::BadSource, from_nobody),
        (DropReason::Vlan, vlan),
        (DropReason::Vlan, double),
        (DropReason::Ethertype, unknown),
        (DropReason::BadIpv6Header, not_ipv6),
        (DropReason::BadIpv4Header, segment()[..33].to_vec()),
        (DropReason::BadIpv4Header, segment()[..50].to_vec()),
        (
            DropReason::BadIpv4Header,
            with_header(|frame| frame[14] = 0x65),
        ),
        (
            DropReason::BadIpv4Header,
            with_header(|frame| frame[14] = 0x44),
        ),
        (
            DropReason::BadIpv4Header,
            with_header(|frame| frame[17] = 19),
        ),
        (DropReason::BadIpv4Checksum, bad_sum),
        // Twenty-seven bytes, and more to come.
        (
            DropReason::BadFragment,
            with_header(|frame| frame[20] = 0x20),
        ),
        (
            DropReason::BadFragment,
            with_header(|frame| frame[20..22].copy_from_slice(&[0x1f, 0xff])),
        ),
        (DropReason::BadSource, from(0, 0, 0, 0)),
        (DropReason::BadSource, from(127, 0, 0, 1)),
        (DropReason::BadSource, from(224, 0, 0, 1)),
        (DropReason::BadSource, from(255, 255, 255, 255)),
        (DropReason::BadSource, from(10, 7, 0, 1)),
        (
            DropReason::NotOurAddress,
            with_header(|frame| frame[33] = 9),
        ),
        (DropReason::IpProtocol, with_header(|frame| frame[23] = 47)),
        (DropReason::UdpPort, with_header(|frame| frame[23] = 17)),
        (
            DropReason::BadTcpHeader,
            with_header(|frame| frame[17] = 39),
        ),
        (DropReason::BadTcpHeader, with_tcp(|frame| frame[46] = 0x40)),
        (DropReason::BadTcpHeader, with_tcp(|frame| frame[46] = 0xf0)),
        (
            DropReason::BadTcpHeader,
            with_tcp(|frame| frame[34..36].fill(0)),
        ),
        (
            DropReason::BadTcpHeader,
            with_tcp(|frame| frame[36..38].fill(0)),
        ),
        (DropReason::BadTcpChecksum, bad_tcp_sum),
    ];
    for (reason, frame) in cases {
        assert_eq!(route_of(&frame), Route::Drop(reason), "{frame:02x?}");
    }
}

#[test]
fn a_checksum_that_is_known_to_be_good_is_not_looked_at() {
    let mut frame = segment();
    frame[60] ^= 1;
    assert!(matches!(route(&frame, true, &station()), Route::Segment(_)));
}

#[test]
fn arp_icmp_and_dhcp_have_their_routes() {
    let mut arp = vec![0xff; 42];
    arp[6..12].copy_from_slice(&CLIENT_MAC);
    arp[12..14].copy_from_slice(&[8, 6]);
    assert_eq!(route_of(&arp), Route::Arp);
    let icmp = ipv4(1, CLIENT_ADDRESS, STACK_ADDRESS, &[8, 0, 0, 0]);
    let message = Message {
        source: CLIENT_ADDRESS,
        destination: STACK_ADDRESS,
        hop_limit: 64,
        range: 34..38,
    };
    assert_eq!(route_of(&icmp), Route::Icmp(message));
    // Before there is an address, and as a broadcast.
    let nobody = Station {
        mac: STACK_MAC,
        ..Station::default()
    };
    let mut dhcp = ipv4(
        17,
        CLIENT_ADDRESS,
        Ipv4Addr::BROADCAST,
        &[0, 67, 0, 68, 0, 8, 0, 0],
    );
    assert_eq!(route(&dhcp, false, &nobody), Route::Dhcp);
    dhcp[..6].fill(0xff);
    assert_eq!(route(&dhcp, false, &nobody), Route::Dhcp);
    let unknown = Route::Drop(DropReason::NotOurAddress);
    assert_eq!(route(&segment(), false, &nobody), unknown);
}

#[test]
fn no_frame_is_too_strange() {
    let mut random = Random::new(9);
    for _ in 0..200_000 {
        let mut frame = segment();
        for _ in 0..=random.below(4) {
            let at = random.below(frame.len() as u64) as usize;
            frame[at] = random.below(256) as u8;
        }
        if random.chance(500) {
            seal_ipv4_if_whole(&mut frame);
        }
        frame.truncate(random.below(80) as usize);
        route(&frame, random.chance(500), &station());
    }
}

fn seal_ipv4_if_whole(frame: &mut [u8]) {
    if frame.len() >= 14 + usize::from(frame[14] & 0x0f) * 4 && frame[14] & 0x0f >= 5 {
        seal_ipv4(frame);
    }
}

fn segment_v6() -> List<u8> {
    let segment = Tcp::new(4000, ACK, 11, 22).over_ipv6();
    segment.with_payload(b"payload").frame()
}

#[test]
fn a_segment_over_ipv6_is_read_whole() {
    let key = FlowKey::v6((CLIENT_ADDRESS_V6, 4000), (STACK_ADDRESS_V6, 80));
    let mut frame = segment_v6();
    frame.extend([0; 5]);
    let Route::Segment(segment) = route_of(&frame) else {
        panic!("no segment");
    };
    assert_eq!((segment.key, segment.sequence), (key, Seq(11)));
    assert_eq!(segment.parts(&frame), (&[][..], &b"payload"[..]));
    // Behind options that may be ignored.
    let options = [6, 0, 1, 4, 0, 0, 0, 0];
    frame.splice(54..54, options);
    (frame[19], frame[20]) = (frame[19] + 8, 60);
    let Route::Segment(segment) = route_of(&frame) else {
        panic!("no segment");
    };
    assert_eq!((segment.key, segment.options_at), (key, 82));
    assert_eq!(segment.parts(&frame).1, b"payload");
}

#[test]
fn every_reason_for_a_drop_over_ipv6() {
    let changed = |change: fn(&mut List<u8>)| {
        let mut frame = segment_v6();
        change(&mut frame);
        frame
    };
    let cases: List<(DropReason, List<u8>)> = vec![
        (DropReason::NotOurStation, changed(|frame| frame[5] ^= 1)),
        (DropReason::Broadcast, changed(|frame| frame[0] = 0x33)),
        (DropReason::NotOurAddress, changed(|frame| frame[53] ^= 7)),
        (DropReason::BadIpv6Header, segment_v6()[..53].to_vec()),
        (DropReason::BadIpv6Header, segment_v6()[..80].to_vec()),
        (
            DropReason::BadIpv6Extension,
            changed(|frame| frame[20] = 43),
        ),
        // Nineteen bytes, and more to come.
        (
            DropReason::BadFragment,
            changed(|frame| (frame[20], frame[57]) = (44, 0x51)),
        ),
        (DropReason::IpProtocol, changed(|frame| frame[20] = 59)),
        (DropReason::UdpPort, changed(|frame| frame[20] = 17)),
        (DropReason::BadSource, changed(|frame| frame[22] = 0xff)),
        (
            DropReason::BadSource,
            changed(|frame| frame[22..38].fill(0)),
        ),
        (DropReason::BadSource, changed(|frame| frame[37] = 1)),
        (DropReason::BadTcpHeader, changed(|frame| frame[66] = 0x40)),
        (DropReason::BadTcpChecksum, changed(|frame| frame[80] ^= 1)),
    ];
    for (reason, frame) in cases {
        assert_eq!(route_of(&frame), Route::Drop(reason), "{frame:02x?}");
    }
}

#[test]
fn groups_are_heard_for_icmp_alone() {
    let group = crate::ipv6::solicited_node(STACK_ADDRESS_V6);
    let nobody = Ipv6Addr::UNSPECIFIED;
    for (source, destination) in [(CLIENT_ADDRESS_V6, group), (nobody, group)] {
        let mut message = vec![135, 0, 0, 0, 0, 0, 0, 0];
        seal_icmpv6(&mut message, source, destination);
        let frame = ipv6(58, source, destination, &message);
        assert!(matches!(route_of(&frame), Route::Icmpv6(_)), "{source}");
        let frame = ipv6(6, source, destination, &message);
        assert_eq!(route_of(&frame), Route::Drop(DropReason::Broadcast));
    }
    let frame = ipv6(58, nobody, STACK_ADDRESS_V6, &[128; 8]);
    assert_eq!(route_of(&frame), Route::Drop(DropReason::BadSource));
}

#[test]
fn no_frame_over_ipv6_is_too_strange() {
    let mut random = Random::new(10);
    for _ in 0..200_000 {
        let mut frame = segment_v6();
        for _ in 0..=random.below(6) {
            let at = 12 + random.below(frame.len() as u64 - 12) as usize;
            frame[at] = random.below(256) as u8;
        }
        if random.chance(500) {
            frame[20] = [0, 43, 44, 58, 60][random.below(5) as usize];
        }
        frame.truncate(random.below(90) as usize);
        route(&frame, random.chance(500), &station());
    }
}
