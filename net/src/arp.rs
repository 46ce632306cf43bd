//! ARP (RFC 826) for our one address: requests are answered, and our address is announced once
//! when it becomes known (RFC 5227 §2.3). Whoever sends us a packet is answered at the station it
//! came from; others are asked for when this side opens a connection.

use crate::demux::{ETHERNET_HEADER_BYTES, Station};
use core::net::Ipv4Addr;
use smoltcp::wire::{ArpOperation, ArpPacket, ArpRepr, EthernetAddress};

/// Bytes of an ARP frame: Ethernet header and packet.
pub(crate) const FRAME_BYTES: usize = ETHERNET_HEADER_BYTES + 28;

const BROADCAST: [u8; 6] = [0xff; 6];

/// What an ARP frame asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Send this packet to its target.
    Answer(Answer),
    /// A reply to us: this address is at this station. The DHCP client, or another core, may have
    /// asked.
    Learn(Ipv4Addr, [u8; 6]),
    /// Nothing: malformed, or not about us.
    Drop,
}

/// An ARP packet of ours, ready to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answer {
    destination: [u8; 6],
    source: [u8; 6],
    packet: ArpRepr,
}

/// Says what a received ARP frame asks for.
pub(crate) fn process(frame: &[u8], station: &Station) -> Action {
    let packet = frame.get(ETHERNET_HEADER_BYTES..).unwrap_or_default();
    let parsed = ArpPacket::new_checked(packet).and_then(|packet| ArpRepr::parse(&packet));
    let Ok(ArpRepr::EthernetIpv4 {
        operation,
        source_hardware_addr: peer,
        source_protocol_addr: peer_address,
        target_protocol_addr: target,
        ..
    }) = parsed
    else {
        return Action::Drop;
    };
    if station.address != Some(target) || !peer.is_unicast() {
        return Action::Drop;
    }
    match operation {
        ArpOperation::Request => Action::Answer(Answer {
            destination: peer.0,
            source: station.mac,
            packet: ArpRepr::EthernetIpv4 {
                operation: ArpOperation::Reply,
                source_hardware_addr: EthernetAddress(station.mac),
                source_protocol_addr: target,
                target_hardware_addr: peer,
                target_protocol_addr: peer_address,
            },
        }),
        ArpOperation::Reply => Action::Learn(peer_address, peer.0),
        ArpOperation::Unknown(_) => Action::Drop,
    }
}

/// Returns the announcement of `address` by the station `mac`: a request for itself.
pub(crate) fn announcement(mac: [u8; 6], address: Ipv4Addr) -> Answer {
    request(mac, address, address)
}

/// Returns the question of the station `mac` at `address` who is at `target`.
pub(crate) fn request(mac: [u8; 6], address: Ipv4Addr, target: Ipv4Addr) -> Answer {
    Answer {
        destination: BROADCAST,
        source: mac,
        packet: ArpRepr::EthernetIpv4 {
            operation: ArpOperation::Request,
            source_hardware_addr: EthernetAddress(mac),
            source_protocol_addr: address,
            target_hardware_addr: EthernetAddress([0; 6]),
            target_protocol_addr: target,
        },
    }
}

impl Answer {
    /// Writes the frame, [`FRAME_BYTES`] long.
    pub(crate) fn emit(&self, frame: &mut [u8]) {
        frame[..6].copy_from_slice(&self.destination);
        frame[6..12].copy_from_slice(&self.source);
        frame[12..14].copy_from_slice(&[0x08, 0x06]);
        let packet = &mut frame[ETHERNET_HEADER_BYTES..FRAME_BYTES];
        self.packet.emit(&mut ArpPacket::new_unchecked(packet));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATION: Station = Station {
        mac: [2, 0, 0, 0, 0, 1],
        address: Some(Ipv4Addr::new(10, 0, 0, 1)),
    };
    const PEER: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 9]);

    fn frame(operation: ArpOperation, peer: EthernetAddress, target: Ipv4Addr) -> [u8; 42] {
        let mut frame = [0; FRAME_BYTES];
        let answer = Answer {
            destination: BROADCAST,
            source: peer.0,
            packet: ArpRepr::EthernetIpv4 {
                operation,
                source_hardware_addr: peer,
                source_protocol_addr: Ipv4Addr::new(10, 0, 0, 9),
                target_hardware_addr: EthernetAddress([0; 6]),
                target_protocol_addr: target,
            },
        };
        answer.emit(&mut frame);
        frame
    }

    #[test]
    fn a_request_for_us_is_answered_to_the_asker() {
        let request = frame(ArpOperation::Request, PEER, Ipv4Addr::new(10, 0, 0, 1));
        let Action::Answer(answer) = process(&request, &STATION) else {
            panic!("no answer");
        };
        let mut reply = [0; FRAME_BYTES];
        answer.emit(&mut reply);
        assert_eq!(reply[..6], PEER.0);
        assert_eq!(reply[20..22], [0, 2], "a reply");
        assert_eq!(reply[22..28], STATION.mac);
        assert_eq!(reply[28..32], [10, 0, 0, 1]);
        assert_eq!(reply[32..38], PEER.0);
    }

    #[test]
    fn what_is_not_about_us_is_dropped() {
        let us = Ipv4Addr::new(10, 0, 0, 1);
        let cases = [
            frame(ArpOperation::Request, PEER, Ipv4Addr::new(10, 0, 0, 2)),
            frame(ArpOperation::Request, EthernetAddress(BROADCAST), us),
            frame(ArpOperation::Unknown(7), PEER, us),
        ];
        for case in cases {
            assert_eq!(process(&case, &STATION), Action::Drop);
        }
        let request = frame(ArpOperation::Request, PEER, us);
        assert_eq!(process(&request[..30], &STATION), Action::Drop);
        let nobody = Station {
            address: None,
            ..STATION
        };
        assert_eq!(process(&request, &nobody), Action::Drop);
    }

    #[test]
    fn replies_say_who_is_where() {
        let reply = frame(ArpOperation::Reply, PEER, Ipv4Addr::new(10, 0, 0, 1));
        let learnt = Action::Learn(Ipv4Addr::new(10, 0, 0, 9), PEER.0);
        assert_eq!(process(&reply, &STATION), learnt);
    }
}
