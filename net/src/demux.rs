//! What is to become of a received frame: one pass over its headers, one closed answer.
//!
//! Upstream: the queue pair, or another core's ring. Downstream: the stack's `process_*`, by
//! [`Route`]. Nothing here keeps state. Every reason for a drop is a [`DropReason`]. (IPv6 will be
//! one more ethertype here, and the same routes.)
//!
//! Ethernet II; IPv4 by RFC 791 §3.1 and RFC 1122 §3.2.1; TCP header by RFC 9293 §3.1.

use crate::checksum::Sum;
use crate::counters::DropReason;
use crate::flow::FlowKey;
use crate::tcp::Seq;
use core::net::Ipv4Addr;
use core::ops::Range;

/// Bytes of an Ethernet header without tags.
pub(crate) const ETHERNET_HEADER_BYTES: usize = 14;
/// Bytes of an IPv4 header without options.
pub(crate) const IPV4_HEADER_BYTES: usize = 20;
/// Bytes of a TCP header without options.
pub(crate) const TCP_HEADER_BYTES: usize = 20;
const UDP_HEADER_BYTES: usize = 8;

/// Who we are, as far as known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Station {
    /// The device's address.
    pub(crate) mac: [u8; 6],
    /// Our IP address; none before it is configured.
    pub(crate) address: Option<Ipv4Addr>,
}

/// Where a frame goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// An ARP packet.
    Arp,
    /// An ICMP message for us: where it lies in the frame.
    Icmp(Range<usize>),
    /// A datagram for the DHCP client.
    Dhcp,
    /// A TCP segment for our address.
    Segment(Segment),
    /// Nothing that is wanted.
    Drop(DropReason),
}

/// A TCP segment whose headers and checksum are good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Whose it is.
    pub(crate) key: FlowKey,
    /// The sequence number.
    pub(crate) sequence: Seq,
    /// The acknowledgement number, of meaning only with ACK.
    pub(crate) acknowledged: Seq,
    pub(crate) flags: Flags,
    /// The window field, not scaled.
    pub(crate) window: u16,
    /// Where the options begin in the frame; the payload follows them.
    pub(crate) options_at: u16,
    pub(crate) options_bytes: u8,
    pub(crate) payload_bytes: u16,
}

impl Segment {
    /// Returns the options and the payload, out of the segment's frame.
    #[inline]
    pub(crate) fn parts<'a>(&self, frame: &'a [u8]) -> (&'a [u8], &'a [u8]) {
        let start = usize::from(self.options_at);
        let middle = start + usize::from(self.options_bytes);
        let end = middle + usize::from(self.payload_bytes);
        let (options, payload) = (frame.get(start..middle), frame.get(middle..end));
        (options.unwrap_or_default(), payload.unwrap_or_default())
    }

    /// Returns the sequence number after the segment.
    pub(crate) fn end(&self) -> Seq {
        let controls = u32::from(self.flags.has_syn()) + u32::from(self.flags.has_fin());
        self.sequence + (u32::from(self.payload_bytes) + controls)
    }
}

/// The flags byte of a TCP header: FIN, SYN, RST, PSH, ACK from bit 0 up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flags(pub(crate) u8);

impl Flags {
    pub(crate) const SYN: Flags = Flags(0x02);
    pub(crate) const RST: Flags = Flags(0x04);
    pub(crate) const ACK: Flags = Flags(0x10);
    pub(crate) const FIN_ACK: Flags = Flags(0x11);
    pub(crate) const SYN_ACK: Flags = Flags(0x12);
    pub(crate) const RST_ACK: Flags = Flags(0x14);
    pub(crate) const ACK_PSH: Flags = Flags(0x18);

    pub(crate) fn has_fin(self) -> bool {
        self.0 & 0x01 != 0
    }
    pub(crate) fn has_syn(self) -> bool {
        self.0 & 0x02 != 0
    }
    pub(crate) fn has_rst(self) -> bool {
        self.0 & 0x04 != 0
    }
    pub(crate) fn has_ack(self) -> bool {
        self.0 & 0x10 != 0
    }
    /// A SYN that opens a connection: without ACK, RST and FIN.
    pub(crate) fn is_opening(self) -> bool {
        self.0 & 0x17 == 0x02
    }
}

/// Says where a frame goes. The transport checksum of TCP is verified unless `checksum_valid`.
pub(crate) fn route(frame: &[u8], checksum_valid: bool, station: &Station) -> Route {
    let Some(header) = frame.first_chunk::<ETHERNET_HEADER_BYTES>() else {
        return Route::Drop(DropReason::Runt);
    };
    let is_ours = header[..6] == station.mac;
    if !is_ours && header[0] & 1 == 0 {
        return Route::Drop(DropReason::NotOurStation);
    }
    match [header[12], header[13]] {
        [0x08, 0x00] => {}
        [0x08, 0x06] => return Route::Arp,
        [0x81, 0x00] | [0x88, 0xa8] => return Route::Drop(DropReason::Vlan),
        _ => return Route::Drop(DropReason::Ethertype),
    }
    let ip = match Ipv4::parse(&frame[ETHERNET_HEADER_BYTES..]) {
        Ok(ip) => ip,
        Err(reason) => return Route::Drop(reason),
    };
    if ip.protocol == 17 && ip.is_dhcp_reply() {
        return Route::Dhcp;
    }
    if !is_ours {
        return Route::Drop(DropReason::Broadcast);
    }
    if station.address != Some(ip.destination) {
        return Route::Drop(DropReason::NotOurAddress);
    }
    if !is_host(ip.source) || ip.source == ip.destination {
        return Route::Drop(DropReason::BadSource);
    }
    match ip.protocol {
        6 => match ip.segment(checksum_valid) {
            Ok(segment) => Route::Segment(segment),
            Err(reason) => Route::Drop(reason),
        },
        1 => Route::Icmp(ip.payload_range()),
        17 => Route::Drop(DropReason::UdpPort),
        _ => Route::Drop(DropReason::IpProtocol),
    }
}

/// Whether one host may have this address: not unspecified, loopback, multicast or reserved.
fn is_host(address: Ipv4Addr) -> bool {
    let first = address.octets()[0];
    first != 0 && first != 127 && first < 224
}

/// An IPv4 packet whose header is good.
struct Ipv4<'a> {
    header_bytes: usize,
    payload: &'a [u8],
    protocol: u8,
    source: Ipv4Addr,
    destination: Ipv4Addr,
}

impl<'a> Ipv4<'a> {
    /// Parses the packet at the start of `bytes`; Ethernet's padding may follow it.
    #[inline]
    fn parse(bytes: &'a [u8]) -> Result<Self, DropReason> {
        let bad = DropReason::BadIpv4Header;
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
            return Err(DropReason::BadIpv4Checksum);
        }
        // More fragments to come, or not the first.
        if u16::from_be_bytes([header[6], header[7]]) & 0x3fff != 0 {
            return Err(DropReason::Fragment);
        }
        Ok(Ipv4 {
            header_bytes,
            payload: &bytes[header_bytes..total_bytes],
            protocol: header[9],
            source: Ipv4Addr::new(header[12], header[13], header[14], header[15]),
            destination: Ipv4Addr::new(header[16], header[17], header[18], header[19]),
        })
    }

    fn payload_range(&self) -> Range<usize> {
        let start = ETHERNET_HEADER_BYTES + self.header_bytes;
        start..start + self.payload.len()
    }

    /// Whether this is a datagram from a DHCP server's port to a client's (RFC 2131 §4.1).
    fn is_dhcp_reply(&self) -> bool {
        self.payload.len() >= UDP_HEADER_BYTES && self.payload[..4] == [0, 67, 0, 68]
    }

    #[inline]
    fn segment(&self, checksum_valid: bool) -> Result<Segment, DropReason> {
        let bad = DropReason::BadTcpHeader;
        let header = self.payload.first_chunk::<TCP_HEADER_BYTES>().ok_or(bad)?;
        let header_bytes = usize::from(header[12] >> 4) * 4;
        let remote_port = u16::from_be_bytes([header[0], header[1]]);
        let local_port = u16::from_be_bytes([header[2], header[3]]);
        if header_bytes < TCP_HEADER_BYTES
            || header_bytes > self.payload.len()
            || remote_port == 0
            || local_port == 0
        {
            return Err(bad);
        }
        if !checksum_valid && !self.is_transport_intact() {
            return Err(DropReason::BadTcpChecksum);
        }
        Ok(Segment {
            key: FlowKey {
                remote: self.source,
                local: self.destination,
                remote_port,
                local_port,
            },
            sequence: Seq(u32::from_be_bytes([
                header[4], header[5], header[6], header[7],
            ])),
            acknowledged: Seq(u32::from_be_bytes([
                header[8], header[9], header[10], header[11],
            ])),
            flags: Flags(header[13]),
            window: u16::from_be_bytes([header[14], header[15]]),
            // The packet is below 2^16 bytes: its total length says so.
            options_at: (ETHERNET_HEADER_BYTES + self.header_bytes + TCP_HEADER_BYTES) as u16,
            options_bytes: (header_bytes - TCP_HEADER_BYTES) as u8,
            payload_bytes: (self.payload.len() - header_bytes) as u16,
        })
    }

    fn is_transport_intact(&self) -> bool {
        // The payload is below 2^16 bytes: the total length says so.
        let length = self.payload.len() as u16;
        Sum::default()
            .add_pseudo_header(self.source, self.destination, self.protocol, length)
            .add(self.payload)
            .is_intact()
    }
}

#[cfg(test)]
#[path = "demux_tests.rs"]
mod tests;
