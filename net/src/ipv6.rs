//! IPv6 headers (RFC 8200), in and out, and what addresses say of themselves (RFC 4291).
//!
//! Upstream: [`demux`](crate::demux) and [`output`](crate::output). Extension headers are walked over
//! as far as they can be ignored, few of them and of few bytes (RFC 8504 §5.3): hop-by-hop and
//! destination options of which none demands to be known. Routing headers are refused; fragments are
//! told apart here and read in [`fragments`](crate::fragments).

use crate::counters::DropReason;
use crate::demux::ETHERNET_HEADER_BYTES;
use crate::ipv4::{NotWhole, TTL};
use crate::limits::{EXTENSION_HEADERS, EXTENSION_HEADERS_BYTES};
use core::net::Ipv6Addr;

/// Bytes of a header without extensions.
pub(crate) const IPV6_HEADER_BYTES: usize = 40;

/// All nodes on the link (RFC 4291 §2.7.1).
pub(crate) const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// All routers on the link.
pub(crate) const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

pub(crate) const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
/// The header of a fragment (RFC 8200 §4.5), and its bytes.
pub(crate) const FRAGMENT: u8 = 44;
pub(crate) const FRAGMENT_HEADER_BYTES: usize = 8;
const DESTINATION_OPTIONS: u8 = 60;

/// A header for a payload of `bytes` bytes.
#[inline]
pub(crate) fn header(
    from: Ipv6Addr,
    to: Ipv6Addr,
    protocol: u8,
    hop_limit: u8,
    bytes: u16,
) -> [u8; IPV6_HEADER_BYTES] {
    let [high, low] = bytes.to_be_bytes();
    let mut header = [0; IPV6_HEADER_BYTES];
    header[..8].copy_from_slice(&[0x60, 0, 0, 0, high, low, protocol, hop_limit]);
    header[8..24].copy_from_slice(&from.octets());
    header[24..].copy_from_slice(&to.octets());
    header
}

/// Hops that a packet may take that leaves the link.
pub(crate) const HOP_LIMIT: u8 = TTL;

/// A packet whose headers are good.
pub(crate) struct Ipv6<'a> {
    headers_bytes: usize,
    pub(crate) payload: &'a [u8],
    pub(crate) protocol: u8,
    pub(crate) hop_limit: u8,
    pub(crate) source: Ipv6Addr,
    pub(crate) destination: Ipv6Addr,
}

impl<'a> Ipv6<'a> {
    /// Parses the packet at the start of `bytes`, unless it is a fragment; Ethernet's padding may
    /// follow it.
    #[inline]
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, NotWhole> {
        let mut ip = Ipv6::parse_header(bytes)?;
        if ip.has_extensions() {
            ip.skip_extensions()?;
        }
        Ok(ip)
    }

    /// Parses a packet that is a fragment, up to its fragment header.
    pub(crate) fn parse_fragment(bytes: &'a [u8]) -> Result<Self, DropReason> {
        let mut ip = Ipv6::parse_header(bytes)?;
        match ip.skip_extensions() {
            Err(NotWhole::Fragment) => Ok(ip),
            Err(NotWhole::Bad(reason)) => Err(reason),
            Ok(()) => Err(DropReason::BadFragment),
        }
    }

    /// Returns what the datagram of a first fragment carries, and the start of it, from what is behind
    /// the fragment header.
    pub(crate) fn behind_fragment_header(
        &self,
        next: u8,
        bytes: &'a [u8],
    ) -> Result<(u8, &'a [u8]), DropReason> {
        let mut inner = Ipv6 {
            headers_bytes: 0,
            payload: bytes,
            protocol: next,
            ..*self
        };
        match inner.skip_extensions() {
            Ok(()) => Ok((inner.protocol, inner.payload)),
            Err(_) => Err(DropReason::BadFragment),
        }
    }

    #[inline(always)]
    fn has_extensions(&self) -> bool {
        matches!(
            self.protocol,
            HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION_OPTIONS
        )
    }

    #[inline(always)]
    fn parse_header(bytes: &'a [u8]) -> Result<Self, DropReason> {
        let bad = DropReason::BadIpv6Header;
        let (header, rest) = bytes.split_first_chunk::<IPV6_HEADER_BYTES>().ok_or(bad)?;
        let payload_bytes = usize::from(u16::from_be_bytes([header[4], header[5]]));
        let payload = rest.get(..payload_bytes).ok_or(bad)?;
        if header[0] >> 4 != 6 {
            return Err(bad);
        }
        let address = |bytes: &[u8]| bytes.first_chunk().map(|bytes: &[u8; 16]| (*bytes).into());
        let (Some(source), Some(destination)) = (address(&header[8..]), address(&header[24..]))
        else {
            return Err(bad);
        };
        Ok(Ipv6 {
            headers_bytes: IPV6_HEADER_BYTES,
            payload,
            protocol: header[6],
            hop_limit: header[7],
            source,
            destination,
        })
    }

    /// Where the payload begins in the frame.
    #[inline]
    pub(crate) fn payload_at(&self) -> usize {
        ETHERNET_HEADER_BYTES + self.headers_bytes
    }

    /// Steps over extension headers, up to that of a fragment.
    #[cold]
    fn skip_extensions(&mut self) -> Result<(), NotWhole> {
        let bad = NotWhole::Bad(DropReason::BadIpv6Extension);
        let mut left = EXTENSION_HEADERS_BYTES;
        for place in 0..EXTENSION_HEADERS {
            match self.protocol {
                // Hop-by-hop options are first or not at all (RFC 8200 §4.1).
                HOP_BY_HOP if place == 0 => {}
                DESTINATION_OPTIONS => {}
                FRAGMENT => return Err(NotWhole::Fragment),
                HOP_BY_HOP | ROUTING => return Err(bad),
                _ => return Ok(()),
            }
            let [next, words, ..] = *self.payload else {
                return Err(bad);
            };
            let bytes = 8 * (usize::from(words) + 1);
            left = left.checked_sub(bytes).ok_or(bad)?;
            let (extension, payload) = self.payload.split_at_checked(bytes).ok_or(bad)?;
            if !may_be_ignored(&extension[2..]) {
                return Err(bad);
            }
            self.headers_bytes += bytes;
            self.payload = payload;
            self.protocol = next;
        }
        Err(bad)
    }
}

/// Whether these options are well-formed and none of them, unknown as they all are here, asks for the
/// packet to be dropped (RFC 8200 §4.2).
fn may_be_ignored(mut options: &[u8]) -> bool {
    while let [kind, rest @ ..] = options {
        if *kind == 0 {
            options = rest;
            continue;
        }
        let [length, rest @ ..] = rest else {
            return false;
        };
        let Some(behind) = rest.get(usize::from(*length)..) else {
            return false;
        };
        if kind >> 6 != 0 {
            return false;
        }
        options = behind;
    }
    true
}

/// Whether one host may have this address and speak to us from it: not unspecified, loopback,
/// multicast, or an IPv4 address in disguise (RFC 4291 §2.5.5, draft-itojun-v6ops-v4mapped-harmful).
#[inline]
pub(crate) fn is_host(address: Ipv6Addr) -> bool {
    // ::/80 holds the unspecified address, loopback, and both kinds of embedded IPv4 addresses.
    address.octets()[0] != 0xff && address.to_bits() >> 48 != 0
}

/// Whether an address is one of the link alone (RFC 4291 §2.5.6).
pub(crate) fn is_link_local(address: Ipv6Addr) -> bool {
    address.segments()[0] & 0xffc0 == 0xfe80
}

/// Whether this is a group that we may belong to: all nodes, or those whose addresses end as one of
/// ours may. Which address is meant, the message says.
pub(crate) fn is_group_of_ours(address: Ipv6Addr) -> bool {
    address == ALL_NODES || solicited_node(address) == address
}

/// The group of those whose addresses end like this one (RFC 4291 §2.7.1).
pub(crate) fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    let last = u16::from_be_bytes([b, c]);
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), last)
}

/// The station address of a group (RFC 2464 §7).
pub(crate) fn group_station(group: Ipv6Addr) -> [u8; 6] {
    let [.., a, b, c, d] = group.octets();
    [0x33, 0x33, a, b, c, d]
}

/// The network of the link alone, of 64 bits (RFC 4291 §2.5.6).
pub(crate) const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0);

/// The address of a station in a network of 64 bits (RFC 2464 §4, RFC 4291 appendix A).
pub(crate) fn with_interface(network: Ipv6Addr, mac: [u8; 6]) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac;
    let interface = u64::from_be_bytes([a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
    let network = network.to_bits() >> 64 << 64;
    Ipv6Addr::from_bits(network | u128::from(interface))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;
    use std::vec::Vec;

    const PEER: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 9);
    const OURS: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);

    fn packet(protocol: u8, payload: &[u8]) -> Vec<u8> {
        let header = header(PEER, OURS, protocol, 64, payload.len() as u16);
        [&header, payload].concat()
    }

    fn parsed(protocol: u8, payload: &[u8]) -> Result<(u8, usize), NotWhole> {
        let packet = packet(protocol, payload);
        let ip = Ipv6::parse(&packet)?;
        assert_eq!((ip.source, ip.destination), (PEER, OURS));
        Ok((ip.protocol, ip.payload.len()))
    }

    #[test]
    fn a_header_is_read_and_padding_is_cut_off() {
        let mut bytes = packet(6, &[7; 30]);
        bytes.extend([0; 6]);
        let ip = Ipv6::parse(&bytes).unwrap();
        assert_eq!(
            (ip.protocol, ip.payload, ip.payload_at()),
            (6, &[7; 30][..], 54)
        );
        for length in 0..70 {
            assert!(Ipv6::parse(&bytes[..length]).is_err(), "{length} bytes");
        }
        bytes[0] = 0x45;
        assert!(Ipv6::parse(&bytes).is_err(), "another version");
    }

    #[test]
    fn options_that_may_be_ignored_are_stepped_over() {
        let padding = [6, 0, 1, 4, 0, 0, 0, 0];
        let alert = [60, 0, 5, 2, 0, 0, 1, 0];
        assert_eq!(parsed(60, &[padding, [9; 8]].concat()), Ok((6, 8)));
        assert_eq!(parsed(0, &[alert, padding, [9; 8]].concat()), Ok((6, 8)));
        let single_pads = [6, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(parsed(0, &single_pads), Ok((6, 0)));
    }

    #[test]
    fn what_cannot_be_ignored_is_refused() {
        let bad = Err(NotWhole::Bad(DropReason::BadIpv6Extension));
        let padding = [60, 0, 1, 4, 0, 0, 0, 0];
        let cases: [(&str, u8, Vec<u8>); 8] = [
            ("a routing header", 43, vec![6, 0, 0, 0, 0, 0, 0, 0]),
            (
                "hop-by-hop options behind others",
                60,
                vec![0, 0, 1, 4, 0, 0, 0, 0],
            ),
            (
                "an option that demands to be known",
                60,
                vec![6, 0, 0x80, 4, 0, 0, 0, 0],
            ),
            ("a jumbogram", 0, vec![6, 0, 0xc2, 4, 0, 1, 0, 0]),
            (
                "an option that is too long",
                60,
                vec![6, 0, 1, 5, 0, 0, 0, 0],
            ),
            (
                "an option without a length",
                60,
                vec![6, 0, 1, 3, 0, 0, 0, 1],
            ),
            (
                "a header that is cut short",
                60,
                vec![6, 1, 1, 12, 0, 0, 0, 0],
            ),
            ("too many of them", 60, padding.repeat(EXTENSION_HEADERS)),
        ];
        for (what, protocol, payload) in cases {
            assert_eq!(parsed(protocol, &payload), bad, "{what}");
        }
        let mut long = vec![6, 255, 1, 255];
        long.resize(2048, 0);
        assert_eq!(parsed(60, &long), bad, "too long");
        assert_eq!(
            parsed(44, &[6, 0, 0, 0, 0, 0, 0, 1]),
            Err(NotWhole::Fragment)
        );
    }

    #[test]
    fn addresses_say_what_they_are() {
        let address = |text: &str| text.parse::<Ipv6Addr>().unwrap();
        for bad in ["::", "::1", "ff02::1", "::ffff:10.0.0.1", "::10.0.0.1"] {
            assert!(!is_host(address(bad)), "{bad}");
        }
        for good in ["fe80::1", "fd00::1", "2001:db8::1", "64:ff9b::a00:1"] {
            assert!(is_host(address(good)), "{good}");
        }
        let group = solicited_node(address("fd00::12:3456:789a"));
        assert_eq!(group, address("ff02::1:ff56:789a"));
        assert_eq!(group_station(group), [0x33, 0x33, 0xff, 0x56, 0x78, 0x9a]);
        assert!(is_group_of_ours(group) && is_group_of_ours(ALL_NODES));
        assert!(!is_group_of_ours(ALL_ROUTERS) && !is_group_of_ours(PEER));
        let own = with_interface(LINK_LOCAL, [0x52, 0x54, 0, 0x12, 0x34, 0x56]);
        assert_eq!(own, address("fe80::5054:ff:fe12:3456"));
        assert!(is_link_local(own) && !is_link_local(PEER));
    }
}
