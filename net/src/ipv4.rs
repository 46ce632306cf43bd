//! IPv4 headers (RFC 791 §3.1, RFC 1122 §3.2.1), in and out.
//!
//! Upstream: [`demux`](crate::demux) and [`output`](crate::output). Fragments are told apart here and
//! read in [`fragments`](crate::fragments).

use crate::checksum::Sum;
use crate::counters::DropReason;
use crate::demux::ETHERNET_HEADER_BYTES;
use core::net::Ipv4Addr;

/// Bytes of a header without options.
pub(crate) const IPV4_HEADER_BYTES: usize = 20;
/// Hops that a packet may take: what RFC 1700 recommends.
pub(crate) const TTL: u8 = 64;
const UDP_HEADER_BYTES: usize = 8;

/// A header for a payload of `bytes` bytes, not to be fragmented: its identification may then be
/// anything (RFC 6864 §4.1).
#[inline]
pub(crate) fn header(
    from: Ipv4Addr,
    to: Ipv4Addr,
    protocol: u8,
    bytes: u16,
) -> [u8; IPV4_HEADER_BYTES] {
    let [high, low] = (IPV4_HEADER_BYTES as u16 + bytes).to_be_bytes();
    let mut header = [0; IPV4_HEADER_BYTES];
    header[..12].copy_from_slice(&[0x45, 0, high, low, 0, 0, 0x40, 0, TTL, protocol, 0, 0]);
    header[12..16].copy_from_slice(&from.octets());
    header[16..].copy_from_slice(&to.octets());
    let checksum = Sum::default().add(&header).complement();
    header[10..12].copy_from_slice(&checksum);
    header
}

/// Fills in the checksum of a header that was changed.
pub(crate) fn seal(header: &mut [u8; IPV4_HEADER_BYTES]) {
    header[10..12].fill(0);
    let checksum = Sum::default().add(header).complement();
    header[10..12].copy_from_slice(&checksum);
}

/// Whether one host may have this address: not unspecified, loopback, multicast or reserved.
pub(crate) fn is_host(address: Ipv4Addr) -> bool {
    let first = address.octets()[0];
    first != 0 && first != 127 && first < 224
}

/// Why a packet is not taken as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotWhole {
    /// It is one of several.
    Fragment,
    /// There is something wrong with it.
    Bad(DropReason),
}

impl From<DropReason> for NotWhole {
    fn from(reason: DropReason) -> Self {
        NotWhole::Bad(reason)
    }
}

/// An IPv4 packet whose header is good.
pub(crate) struct Ipv4<'a> {
    header_bytes: usize,
    pub(crate) payload: &'a [u8],
    pub(crate) protocol: u8,
    pub(crate) hop_limit: u8,
    pub(crate) source: Ipv4Addr,
    pub(crate) destination: Ipv4Addr,
}

impl<'a> Ipv4<'a> {
    /// Parses the packet at the start of `bytes`, unless it is a fragment; Ethernet's padding may
    /// follow it.
    #[inline]
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, NotWhole> {
        Ipv4::read::<false>(bytes)
    }

    /// Parses a packet that is a fragment.
    pub(crate) fn parse_fragment(bytes: &'a [u8]) -> Result<Self, DropReason> {
        Ipv4::read::<true>(bytes).map_err(|refused| match refused {
            NotWhole::Bad(reason) => reason,
            NotWhole::Fragment => DropReason::BadFragment,
        })
    }

    /// Parses a packet that is a fragment or, without `FRAGMENT`, is none.
    #[inline(always)]
    fn read<const FRAGMENT: bool>(bytes: &'a [u8]) -> Result<Self, NotWhole> {
        let bad = NotWhole::Bad(DropReason::BadIpv4Header);
        let header = bytes.first_chunk::<IPV4_HEADER_BYTES>().ok_or(bad)?;
        let header_bytes = usize::from(header[0] & 0x0f) * 4;
        let total_bytes = usize::from(u16::from_be_bytes([header[2], header[3]]));
        if header[0] >> 4 != 4
            || header_bytes < IPV4_HEADER_BYTES
            || total_bytes < header_bytes
            || total_bytes > bytes.len()
        {
            return Err(bad);
        }
        let sum = if header_bytes == IPV4_HEADER_BYTES {
            Sum::default().add(header)
        } else {
            Sum::default().add(&bytes[..header_bytes])
        };
        if !sum.is_intact() {
            return Err(NotWhole::Bad(DropReason::BadIpv4Checksum));
        }
        // More fragments to come, or not the first.
        let is_fragment = u16::from_be_bytes([header[6], header[7]]) & 0x3fff != 0;
        if is_fragment != FRAGMENT {
            return Err(NotWhole::Fragment);
        }
        Ok(Ipv4 {
            header_bytes,
            payload: &bytes[header_bytes..total_bytes],
            protocol: header[9],
            hop_limit: header[8],
            source: Ipv4Addr::new(header[12], header[13], header[14], header[15]),
            destination: Ipv4Addr::new(header[16], header[17], header[18], header[19]),
        })
    }

    /// Where the payload begins in the frame.
    #[inline]
    pub(crate) fn payload_at(&self) -> usize {
        ETHERNET_HEADER_BYTES + self.header_bytes
    }

    /// Whether this is a datagram from a DHCP server's port to a client's (RFC 2131 §4.1).
    pub(crate) fn is_dhcp_reply(&self) -> bool {
        self.payload.len() >= UDP_HEADER_BYTES && self.payload[..4] == [0, 67, 0, 68]
    }
}
