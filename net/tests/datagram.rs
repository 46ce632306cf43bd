//! Datagrams that the stack sends: by the station that ARP names, whole and with a checksum that
//! another implementation takes, and not at all when they cannot go.

use net::datagram::DatagramError;
use net::testing::frames::{arp_reply, neighbour_reply};
use net::testing::{CLIENT_ADDRESS, CLIENT_ADDRESS_V6, CLIENT_MAC, Link};
use net::testing::{STACK_ADDRESS, STACK_ADDRESS_V6, World};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{EthernetFrame, IpProtocol, Ipv4Packet, Ipv4Repr, Ipv6Packet};
use smoltcp::wire::{UdpPacket, UdpRepr};
use std::net::{Ipv4Addr, SocketAddrV4, SocketAddrV6};
use std::time::Duration;

const TO: SocketAddrV4 = SocketAddrV4::new(CLIENT_ADDRESS, 514);

/// Takes what the stack sent, and answers ARP if `answers`; returns the number of questions and the
/// payloads of datagrams.
fn received(link: &Link, answers: bool) -> (usize, Vec<Vec<u8>>) {
    let port = link.client_port();
    let frames: Vec<_> = std::iter::from_fn(|| port.receive()).collect();
    let (mut asked, mut payloads) = (0, Vec::new());
    for frame in frames {
        if let Some(reply) = arp_reply(&frame) {
            asked += 1;
            if answers {
                port.send(&reply);
            }
        }
        payloads.extend(payload(&frame));
        port.recycle(frame);
    }
    (asked, payloads)
}

fn payload(frame: &[u8]) -> Option<Vec<u8>> {
    let ethernet = EthernetFrame::new_checked(frame).ok()?;
    let ip = Ipv4Packet::new_checked(ethernet.payload()).ok()?;
    let all = ChecksumCapabilities::default();
    let head = Ipv4Repr::parse(&ip, &all).expect("a good header");
    if head.next_header != IpProtocol::Udp || ethernet.dst_addr().0 != CLIENT_MAC {
        return None;
    }
    let udp = UdpPacket::new_checked(ip.payload()).expect("whole");
    let (from, to) = (STACK_ADDRESS.into(), CLIENT_ADDRESS.into());
    let ports = UdpRepr::parse(&udp, &from, &to, &all).expect("a good checksum");
    assert_ne!(udp.checksum(), 0, "there is one");
    assert_eq!((ports.src_port, ports.dst_port), (515, 514));
    Some(udp.payload().to_vec())
}

#[test]
fn a_datagram_waits_for_arp_and_then_goes_whole() {
    let link = Link::new();
    let mut world = World::new(&link);
    world.turn();
    received(&link, false);
    let send = |world: &mut World, bytes: &[u8]| {
        let sent = world.stack.send_datagram(515, TO, bytes);
        world.turn();
        sent
    };
    assert_eq!(send(&mut world, b"a"), Err(DatagramError::NotNow));
    assert_eq!(received(&link, true), (1, vec![]));
    world.turn();
    // Lengths that are odd, and one whose checksum would be zero.
    for bytes in [&b""[..], b"a", b"abc", &[0xff; 1472]] {
        assert_eq!(send(&mut world, bytes), Ok(()));
        assert_eq!(received(&link, true), (0, vec![bytes.to_vec()]));
    }
    for word in 0..=u16::MAX {
        assert_eq!(send(&mut world, &word.to_be_bytes()), Ok(()));
        assert_eq!(received(&link, true).1, [word.to_be_bytes()]);
    }
    assert_eq!(send(&mut world, &[0; 1473]), Err(DatagramError::TooLarge));
    assert_eq!(world.stack.counters().datagrams_sent, 4 + 65_536);
}

#[test]
fn a_station_that_does_not_answer_is_asked_for_once_a_second() {
    let link = Link::new();
    let mut world = World::new(&link);
    world.turn();
    received(&link, false);
    for _ in 0..300 {
        let nobody = SocketAddrV4::new(Ipv4Addr::new(10, 7, 0, 77), 514);
        let sent = world.stack.send_datagram(515, nobody, b"x");
        assert_eq!(sent, Err(DatagramError::NotNow));
        world.turn();
        received(&link, false);
        world.now = world.now + Duration::from_millis(10);
    }
    assert_eq!(world.stack.counters().arp_requests, 3);
}

#[test]
fn what_the_transmit_queue_has_no_room_for_is_not_lost_but_refused() {
    let link = Link::new();
    let nic = link.nic(0).with_transmit_frames(2);
    let mut world = World::with(&link, World::config(4, 1024), nic);
    world.turn();
    received(&link, false);
    assert!(world.stack.send_datagram(515, TO, b"x").is_err());
    world.turn();
    received(&link, true);
    world.turn();
    let sent = |world: &mut World| world.stack.send_datagram(515, TO, b"x");
    let results: Vec<_> = (0..4).map(|_| sent(&mut world)).collect();
    let refused = Err(DatagramError::NotNow);
    assert_eq!(results, [Ok(()), Ok(()), refused, refused]);
    world.turn();
    assert_eq!(received(&link, true).1.len(), 2);
    assert_eq!(sent(&mut world), Ok(()));
}

#[test]
fn a_datagram_over_ipv6_waits_for_its_neighbour_and_then_goes_whole() {
    let link = Link::new();
    let mut world = World::new(&link);
    world.settle_addresses();
    let port = link.client_port();
    let to = SocketAddrV6::new(CLIENT_ADDRESS_V6, 514, 0, 0);
    let mut send = |bytes: &[u8]| {
        let sent = world.stack.send_datagram(515, to, bytes);
        world.turn();
        let frames: Vec<_> = std::iter::from_fn(|| port.receive()).collect();
        let answers = frames.iter().filter_map(|frame| neighbour_reply(frame));
        answers.for_each(|answer| port.send(&answer));
        world.turn();
        (sent, frames)
    };
    assert_eq!(send(b"a").0, Err(DatagramError::NotNow));
    for bytes in [&b""[..], b"a", b"abc", &[0xff; 1452]] {
        let (sent, frames) = send(bytes);
        assert_eq!(sent, Ok(()));
        let ip = Ipv6Packet::new_checked(&frames[0][14..]).expect("whole");
        let all = ChecksumCapabilities::default();
        let (from, to) = (ip.src_addr().into(), ip.dst_addr().into());
        let udp = UdpPacket::new_checked(ip.payload()).expect("whole");
        let ports = UdpRepr::parse(&udp, &from, &to, &all).expect("a good checksum");
        assert_ne!(udp.checksum(), 0, "there is one");
        assert_eq!((ports.src_port, ports.dst_port), (515, 514));
        assert_eq!((ip.src_addr(), udp.payload()), (STACK_ADDRESS_V6, bytes));
    }
    // Checksums that would be zero are among these.
    for word in 0..=u16::MAX {
        let (_, frames) = send(&word.to_be_bytes());
        assert_ne!(frames[0][60..62], [0, 0]);
    }
    assert_eq!(send(&[0; 1453]).0, Err(DatagramError::TooLarge));
}
