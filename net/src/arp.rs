//! ARP (RFC 826) for our addresses: requests are answered, and what others say of themselves is read:
//! where they are, and that they have an address that we claim (RFC 5227). Whoever sends us a packet
//! is answered at the station it came from; others are asked for when this side opens a connection.

use crate::address::{AddressState, Host};
use crate::demux::ETHERNET_HEADER_BYTES;
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
    /// Another station has this address of ours, or wants it as we do.
    Conflict(Ipv4Addr),
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

/// Says what a frame asks for that has come to the station `mac`.
pub(crate) fn process(frame: &[u8], mac: [u8; 6], host: &Host) -> Action {
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
    if !peer.is_unicast() || peer.0 == mac {
        return Action::Drop;
    }
    if host.state_of(peer_address.into()).is_some() {
        return Action::Conflict(peer_address);
    }
    let is_probe = peer_address.is_unspecified();
    match (host.state_of(target.into()), operation) {
        (None, _) => Action::Drop,
        // Both ask for it, and neither has it (RFC 5227 §2.1.1).
        (Some(AddressState::Tentative | AddressState::Optimistic), ArpOperation::Request)
            if is_probe =>
        {
            Action::Conflict(target)
        }
        (Some(AddressState::Tentative), _) => Action::Drop,
        (Some(_), ArpOperation::Request) => Action::Answer(Answer {
            destination: peer.0,
            source: mac,
            packet: ArpRepr::EthernetIpv4 {
                operation: ArpOperation::Reply,
                source_hardware_addr: EthernetAddress(mac),
                source_protocol_addr: target,
                target_hardware_addr: peer,
                target_protocol_addr: peer_address,
            },
        }),
        (Some(_), ArpOperation::Reply) => Action::Learn(peer_address, peer.0),
        (Some(_), ArpOperation::Unknown(_)) => Action::Drop,
    }
}

/// Returns the announcement of `address` by the station `mac`: a request for itself.
pub(crate) fn announcement(mac: [u8; 6], address: Ipv4Addr) -> Answer {
    request(mac, address, address)
}

/// Returns the question of the station `mac` whether anybody has `address` (RFC 5227 §2.1.1).
pub(crate) fn probe(mac: [u8; 6], address: Ipv4Addr) -> Answer {
    request(mac, Ipv4Addr::UNSPECIFIED, address)
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
    use crate::address::HostAddress;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const US: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

    fn host(state: AddressState) -> Host {
        let mut host = Host::default();
        let ours = HostAddress {
            cidr: "10.0.0.1/24".parse().unwrap(),
            state,
        };
        host.addresses.push(ours).unwrap();
        host
    }

    fn action(frame: &[u8]) -> Action {
        process(frame, MAC, &host(AddressState::Preferred))
    }

    const PEER: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 9]);

    fn frame(operation: ArpOperation, peer: EthernetAddress, target: Ipv4Addr) -> [u8; 42] {
        frame_from(Ipv4Addr::new(10, 0, 0, 9), operation, peer, target)
    }

    fn frame_from(
        source: Ipv4Addr,
        operation: ArpOperation,
        peer: EthernetAddress,
        target: Ipv4Addr,
    ) -> [u8; 42] {
        let mut frame = [0; FRAME_BYTES];
        let answer = Answer {
            destination: BROADCAST,
            source: peer.0,
            packet: ArpRepr::EthernetIpv4 {
                operation,
                source_hardware_addr: peer,
                source_protocol_addr: source,
                target_hardware_addr: EthernetAddress([0; 6]),
                target_protocol_addr: target,
            },
        };
        answer.emit(&mut frame);
        frame
    }

    #[test]
    fn a_request_for_us_is_answered_to_the_asker() {
        let request = frame(ArpOperation::Request, PEER, US);
        let Action::Answer(answer) = action(&request) else {
            panic!("no answer");
        };
        let mut reply = [0; FRAME_BYTES];
        answer.emit(&mut reply);
        assert_eq!(reply[..6], PEER.0);
        assert_eq!(reply[20..22], [0, 2], "a reply");
        assert_eq!(reply[22..28], MAC);
        assert_eq!(reply[28..32], [10, 0, 0, 1]);
        assert_eq!(reply[32..38], PEER.0);
    }

    #[test]
    fn what_is_not_about_us_is_dropped() {
        let cases = [
            frame(ArpOperation::Request, PEER, Ipv4Addr::new(10, 0, 0, 2)),
            frame(ArpOperation::Request, EthernetAddress(BROADCAST), US),
            frame(ArpOperation::Request, EthernetAddress(MAC), US),
            frame(ArpOperation::Unknown(7), PEER, US),
        ];
        for case in cases {
            assert_eq!(action(&case), Action::Drop);
        }
        let request = frame(ArpOperation::Request, PEER, US);
        assert_eq!(action(&request[..30]), Action::Drop);
        assert_eq!(process(&request, MAC, &Host::default()), Action::Drop);
        let tentative = host(AddressState::Tentative);
        assert_eq!(process(&request, MAC, &tentative), Action::Drop);
    }

    #[test]
    fn replies_say_who_is_where() {
        let reply = frame(ArpOperation::Reply, PEER, US);
        let learnt = Action::Learn(Ipv4Addr::new(10, 0, 0, 9), PEER.0);
        assert_eq!(action(&reply), learnt);
    }

    #[test]
    fn another_station_at_our_address_is_a_conflict() {
        let announcement = frame_from(US, ArpOperation::Request, PEER, US);
        assert_eq!(action(&announcement), Action::Conflict(US));
        let reply = frame_from(US, ArpOperation::Reply, PEER, Ipv4Addr::new(10, 0, 0, 9));
        assert_eq!(action(&reply), Action::Conflict(US));
        let probe = frame_from(Ipv4Addr::UNSPECIFIED, ArpOperation::Request, PEER, US);
        assert!(matches!(action(&probe), Action::Answer(_)), "ours by now");
        let still_asking = host(AddressState::Optimistic);
        let conflict = Action::Conflict(US);
        assert_eq!(process(&probe, MAC, &still_asking), conflict);
    }
}
