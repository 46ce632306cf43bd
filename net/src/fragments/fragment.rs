//! One fragment of an IP datagram (RFC 791 §3.2, RFC 8200 §4.5), as the demux reads it.
//!
//! Upstream: [`demux`](crate::demux), for packets that are fragments and no others. Downstream:
//! [`reassembly`](super::reassembly). What no sender that means well makes is refused here: a length
//! that is no multiple of eight with more to come, an end beyond the largest datagram ("ping of
//! death"), and a first fragment that does not hold all headers (RFC 1858 §3, RFC 7112 §5).

use crate::counters::DropReason;
use crate::demux::{ETHERNET_HEADER_BYTES, IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_UDP};
use crate::flow::AddressPair;
use crate::ipv4::{IPV4_HEADER_BYTES, Ipv4};
use crate::ipv6::{FRAGMENT_HEADER_BYTES, Ipv6};
use crate::segment::{IPPROTO_TCP, TCP_HEADER_BYTES};
use core::ops::Range;

/// Bytes of the headers of UDP and of ICMP's messages.
const SHORT_HEADER_BYTES: usize = 8;

/// Which datagram a fragment is of (RFC 791 §3.2, RFC 8200 §4.5: the protocol is no part of IPv6's).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DatagramKey {
    pub(crate) addresses: AddressPair,
    /// In IPv4; 0 in IPv6.
    pub(crate) protocol: u8,
    pub(crate) identification: u32,
}

/// A fragment that is as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fragment {
    pub(crate) key: DatagramKey,
    /// What the datagram carries. In IPv6 the first fragment's word counts.
    pub(crate) protocol: u8,
    /// Where its bytes belong in the datagram's payload.
    pub(crate) place: Range<usize>,
    /// It is not the last.
    pub(crate) has_more: bool,
    /// Where its bytes begin in the frame; the packet's headers are before them.
    pub(crate) payload_at: usize,
}

impl Fragment {
    /// Reads a packet with a good header that is a fragment.
    pub(crate) fn of_ipv4(ip: &Ipv4<'_>, packet: &[u8]) -> Result<Self, DropReason> {
        let word = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
        let (identification, position) = (word(4), word(6));
        let offset = usize::from(position & 0x1fff) * 8;
        let largest = usize::from(u16::MAX) - IPV4_HEADER_BYTES;
        let fragment = Fragment {
            key: DatagramKey {
                addresses: AddressPair::V4 {
                    remote: ip.source,
                    local: ip.destination,
                },
                protocol: ip.protocol,
                identification: identification.into(),
            },
            protocol: ip.protocol,
            place: offset..offset + ip.payload.len(),
            has_more: position & 0x2000 != 0,
            payload_at: ip.payload_at(),
        };
        if !matches!(ip.protocol, IPPROTO_ICMP | IPPROTO_TCP | IPPROTO_UDP) {
            return Err(DropReason::IpProtocol);
        }
        if offset == 0 && !holds_headers(ip.protocol, ip.payload) {
            return Err(DropReason::BadFragment);
        }
        fragment.checked(largest)
    }

    /// Reads a packet whose payload begins with a fragment header.
    pub(crate) fn of_ipv6(ip: &Ipv6<'_>) -> Result<Self, DropReason> {
        let bad = DropReason::BadFragment;
        let header = ip.payload.split_first_chunk::<FRAGMENT_HEADER_BYTES>();
        let ([next, _, high, low, a, b, c, d], bytes) = header.ok_or(bad)?;
        let position = u16::from_be_bytes([*high, *low]);
        // Counted in eights, and three bits that say something else.
        let offset = usize::from(position & 0xfff8);
        let fragment = Fragment {
            key: DatagramKey {
                addresses: AddressPair::V6 {
                    remote: ip.source,
                    local: ip.destination,
                },
                protocol: 0,
                identification: u32::from_be_bytes([*a, *b, *c, *d]),
            },
            protocol: *next,
            place: offset..offset + bytes.len(),
            has_more: position & 1 != 0,
            payload_at: ip.payload_at() + FRAGMENT_HEADER_BYTES,
        };
        if offset == 0 {
            let (protocol, payload) = ip.behind_fragment_header(*next, bytes)?;
            if !matches!(protocol, IPPROTO_ICMPV6 | IPPROTO_TCP | IPPROTO_UDP) {
                return Err(DropReason::IpProtocol);
            }
            if !holds_headers(protocol, payload) {
                return Err(bad);
            }
        }
        fragment.checked(u16::MAX.into())
    }

    /// Returns it, unless its bytes cannot be where it says.
    fn checked(self, largest: usize) -> Result<Self, DropReason> {
        let is_sound = !self.place.is_empty()
            && self.place.end <= largest
            && (!self.has_more || self.place.len().is_multiple_of(8));
        is_sound.then_some(self).ok_or(DropReason::BadFragment)
    }

    /// Whether it is a whole datagram all the same (RFC 6946).
    pub(crate) fn is_atomic(&self) -> bool {
        self.place.start == 0 && !self.has_more
    }

    /// Returns its bytes, out of its frame.
    pub(crate) fn bytes<'a>(&self, frame: &'a [u8]) -> &'a [u8] {
        let end = self.payload_at + self.place.len();
        frame.get(self.payload_at..end).unwrap_or_default()
    }

    /// Returns the packet's headers, out of its frame.
    pub(crate) fn headers<'a>(&self, frame: &'a [u8]) -> &'a [u8] {
        frame
            .get(ETHERNET_HEADER_BYTES..self.payload_at)
            .unwrap_or_default()
    }
}

/// Whether the start of a datagram's payload has all of the headers that say what it is.
fn holds_headers(protocol: u8, payload: &[u8]) -> bool {
    match protocol {
        IPPROTO_TCP => {
            let words = payload.get(12).map_or(0, |byte| byte >> 4);
            payload.len() >= TCP_HEADER_BYTES.max(usize::from(words) * 4)
        }
        _ => payload.len() >= SHORT_HEADER_BYTES,
    }
}
