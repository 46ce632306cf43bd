//! What is to become of a received frame: one pass over its headers, one closed answer.
//!
//! Upstream: the queue pair, or another core's ring. Downstream: the stack's `process_*`, by
//! [`Route`]. Nothing here keeps state. Every reason for a drop is a [`DropReason`].
//!
//! Ethernet II; IP headers are read in [`ipv4`](crate::ipv4) and [`ipv6`](crate::ipv6), TCP's in
//! [`segment`](crate::segment).

use crate::counters::DropReason;
use crate::flow::AddressPair;
use crate::fragments::Fragment;
use crate::ipv4::{self, Ipv4, NotWhole};
use crate::ipv6::{self, Ipv6};
use crate::limits::ADDRESSES;
use crate::segment::{self, IPPROTO_TCP};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::ops::Range;
use heapless::Vec;

pub(crate) use crate::segment::{Flags, Segment};

/// Bytes of an Ethernet header without tags.
pub(crate) const ETHERNET_HEADER_BYTES: usize = 14;

/// The protocol numbers of ICMP (RFC 792), UDP, and ICMP for IPv6 (RFC 4443).
pub(crate) const IPPROTO_ICMP: u8 = 1;
pub(crate) const IPPROTO_UDP: u8 = 17;
pub(crate) const IPPROTO_ICMPV6: u8 = 58;

/// Who we are, as far as known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Station {
    /// The device's address.
    pub(crate) mac: [u8; 6],
    /// Our addresses; none before they are configured.
    pub(crate) v4: Vec<Ipv4Addr, ADDRESSES>,
    pub(crate) v6: Vec<Ipv6Addr, ADDRESSES>,
}

impl Station {
    /// Whether all addresses of another time are ours.
    pub(crate) fn has_all_of(&self, other: &Station) -> bool {
        other.v4.iter().all(|address| self.v4.contains(address))
            && other.v6.iter().all(|address| self.v6.contains(address))
    }

    /// Whether an address is ours.
    pub(crate) fn has(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.v4.contains(&address),
            IpAddr::V6(address) => self.v6.contains(&address),
        }
    }
}

/// Where a frame goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// An ARP packet.
    Arp,
    /// An ICMP message for us.
    Icmp(Message<Ipv4Addr>),
    /// An ICMPv6 message for us, or for a group that we belong to.
    Icmpv6(Message<Ipv6Addr>),
    /// A datagram for the DHCP client.
    Dhcp,
    /// A TCP segment for our address.
    Segment(Segment),
    /// A part of a datagram for our address.
    Fragment(Fragment),
    /// Nothing that is wanted.
    Drop(DropReason),
}

/// A message of the layer itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message<Address> {
    pub(crate) source: Address,
    pub(crate) destination: Address,
    /// What is left of its hops, which says whether it began on this link.
    pub(crate) hop_limit: u8,
    /// Where it lies in the frame.
    pub(crate) range: Range<usize>,
}

/// Says where a frame goes. The transport checksum of TCP is verified unless `checksum_valid`.
#[inline(always)]
pub(crate) fn route(frame: &[u8], checksum_valid: bool, station: &Station) -> Route {
    let Some(header) = frame.first_chunk::<ETHERNET_HEADER_BYTES>() else {
        return Route::Drop(DropReason::Runt);
    };
    let is_ours = header[..6] == station.mac;
    if !is_ours && header[0] & 1 == 0 {
        return Route::Drop(DropReason::NotOurStation);
    }
    // A group sends nothing, and no station is called nothing: answers would go to all, or nowhere.
    if header[6] & 1 != 0 || header[6..12] == [0; 6] {
        return Route::Drop(DropReason::BadSource);
    }
    let packet = &frame[ETHERNET_HEADER_BYTES..];
    match [header[12], header[13]] {
        [0x08, 0x00] => route_ipv4(packet, is_ours, checksum_valid, station),
        [0x86, 0xdd] => route_ipv6(packet, is_ours, checksum_valid, station),
        [0x08, 0x06] => Route::Arp,
        [0x81, 0x00] | [0x88, 0xa8] => Route::Drop(DropReason::Vlan),
        _ => Route::Drop(DropReason::Ethertype),
    }
}

#[inline]
fn route_ipv4(packet: &[u8], is_ours: bool, checksum_valid: bool, station: &Station) -> Route {
    let ip = match Ipv4::parse(packet) {
        Ok(ip) => ip,
        Err(NotWhole::Bad(reason)) => return Route::Drop(reason),
        Err(NotWhole::Fragment) => return route_fragment_ipv4(packet, is_ours, station),
    };
    if ip.protocol == IPPROTO_UDP && ip.is_dhcp_reply() {
        // The client answers to where it came from, and a server without an address is none.
        return match ipv4::is_host(ip.source) {
            true => Route::Dhcp,
            false => Route::Drop(DropReason::BadSource),
        };
    }
    if !is_ours {
        return Route::Drop(DropReason::Broadcast);
    }
    // Nearly always there is one.
    if station.v4.first() != Some(&ip.destination) && !station.v4.contains(&ip.destination) {
        return Route::Drop(DropReason::NotOurAddress);
    }
    if !ipv4::is_host(ip.source) || ip.source == ip.destination {
        return Route::Drop(DropReason::BadSource);
    }
    let start = ip.payload_at();
    match ip.protocol {
        IPPROTO_TCP => {
            let addresses = AddressPair::V4 {
                remote: ip.source,
                local: ip.destination,
            };
            match segment::parse(addresses, start, ip.payload, checksum_valid) {
                Ok(segment) => Route::Segment(segment),
                Err(reason) => Route::Drop(reason),
            }
        }
        IPPROTO_ICMP => Route::Icmp(Message {
            source: ip.source,
            destination: ip.destination,
            hop_limit: ip.hop_limit,
            range: start..start + ip.payload.len(),
        }),
        IPPROTO_UDP => Route::Drop(DropReason::UdpPort),
        _ => Route::Drop(DropReason::IpProtocol),
    }
}

fn route_ipv6(packet: &[u8], is_ours: bool, checksum_valid: bool, station: &Station) -> Route {
    let ip = match Ipv6::parse(packet) {
        Ok(ip) => ip,
        Err(NotWhole::Bad(reason)) => return Route::Drop(reason),
        Err(NotWhole::Fragment) => return route_fragment_ipv6(packet, is_ours, station),
    };
    let is_icmp = ip.protocol == IPPROTO_ICMPV6;
    // Duplicates are asked for from no address, and at those who may have one (RFC 4862 §5.4.2).
    let is_for_group = is_icmp && ipv6::is_group_of_ours(ip.destination);
    if !is_for_group {
        if !is_ours {
            return Route::Drop(DropReason::Broadcast);
        }
        if !station.v6.contains(&ip.destination) {
            return Route::Drop(DropReason::NotOurAddress);
        }
    }
    let may_be_nobody = is_for_group && ip.source.is_unspecified();
    if !may_be_nobody && (!ipv6::is_host(ip.source) || ip.source == ip.destination) {
        return Route::Drop(DropReason::BadSource);
    }
    let start = ip.payload_at();
    match ip.protocol {
        IPPROTO_TCP => {
            let addresses = AddressPair::V6 {
                remote: ip.source,
                local: ip.destination,
            };
            match segment::parse(addresses, start, ip.payload, checksum_valid) {
                Ok(segment) => Route::Segment(segment),
                Err(reason) => Route::Drop(reason),
            }
        }
        IPPROTO_ICMPV6 => Route::Icmpv6(Message {
            source: ip.source,
            destination: ip.destination,
            hop_limit: ip.hop_limit,
            range: start..start + ip.payload.len(),
        }),
        IPPROTO_UDP => Route::Drop(DropReason::UdpPort),
        _ => Route::Drop(DropReason::IpProtocol),
    }
}

#[cold]
fn route_fragment_ipv4(packet: &[u8], is_ours: bool, station: &Station) -> Route {
    let fragment = Ipv4::parse_fragment(packet).and_then(|ip| {
        let is_host = ipv4::is_host(ip.source) && ip.source != ip.destination;
        is_for_us(is_ours, station.v4.contains(&ip.destination), is_host)?;
        Fragment::of_ipv4(&ip, packet)
    });
    fragment.map_or_else(Route::Drop, Route::Fragment)
}

#[cold]
fn route_fragment_ipv6(packet: &[u8], is_ours: bool, station: &Station) -> Route {
    let fragment = Ipv6::parse_fragment(packet).and_then(|ip| {
        let is_host = ipv6::is_host(ip.source) && ip.source != ip.destination;
        is_for_us(is_ours, station.v6.contains(&ip.destination), is_host)?;
        Fragment::of_ipv6(&ip)
    });
    fragment.map_or_else(Route::Drop, Route::Fragment)
}

/// Refuses a fragment that is not for us, or from nobody; nothing that is for many is put together.
fn is_for_us(is_ours: bool, has_address: bool, is_host: bool) -> Result<(), DropReason> {
    match (is_ours, has_address, is_host) {
        (false, _, _) => Err(DropReason::Broadcast),
        (_, false, _) => Err(DropReason::NotOurAddress),
        (_, _, false) => Err(DropReason::BadSource),
        _ => Ok(()),
    }
}

#[cfg(test)]
#[path = "demux_tests.rs"]
mod tests;
