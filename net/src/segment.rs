//! A TCP segment as the demux reads it (RFC 9293 §3.1), over either family.
//!
//! Upstream: [`demux`](crate::demux). Downstream: [`tcp`](crate::tcp), by way of the stack.

use crate::checksum::Sum;
use crate::counters::DropReason;
use crate::flow::{AddressPair, FlowKey};
use crate::tcp::Seq;

/// Bytes of a TCP header without options.
pub(crate) const TCP_HEADER_BYTES: usize = 20;
/// The protocol number of TCP.
pub(crate) const IPPROTO_TCP: u8 = 6;

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

    /// Where the TCP header begins in the frame.
    pub(crate) fn header_at(&self) -> usize {
        usize::from(self.options_at) - TCP_HEADER_BYTES
    }

    /// Bytes of the frame before the payload.
    pub(crate) fn headers_bytes(&self) -> usize {
        usize::from(self.options_at) + usize::from(self.options_bytes)
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
    pub(crate) const FIN: Flags = Flags(0x01);
    pub(crate) const PSH: Flags = Flags(0x08);
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

/// Reads the segment that is `payload` of a packet between these addresses and begins at `start` of
/// its frame. Its checksum is verified unless it is known to be good.
#[inline(always)]
pub(crate) fn parse(
    addresses: AddressPair,
    start: usize,
    payload: &[u8],
    checksum_valid: bool,
) -> Result<Segment, DropReason> {
    let bad = DropReason::BadTcpHeader;
    let header = payload.first_chunk::<TCP_HEADER_BYTES>().ok_or(bad)?;
    let header_bytes = usize::from(header[12] >> 4) * 4;
    let remote_port = u16::from_be_bytes([header[0], header[1]]);
    let local_port = u16::from_be_bytes([header[2], header[3]]);
    if header_bytes < TCP_HEADER_BYTES
        || header_bytes > payload.len()
        || remote_port == 0
        || local_port == 0
    {
        return Err(bad);
    }
    if !checksum_valid && !is_intact(&addresses, payload) {
        return Err(DropReason::BadTcpChecksum);
    }
    Ok(Segment {
        key: FlowKey {
            addresses,
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
        // Headers end within the first kilobytes, and the payload's length is a field of 16 bits.
        options_at: (start + TCP_HEADER_BYTES) as u16,
        options_bytes: (header_bytes - TCP_HEADER_BYTES) as u8,
        payload_bytes: (payload.len() - header_bytes) as u16,
    })
}

fn is_intact(addresses: &AddressPair, payload: &[u8]) -> bool {
    Sum::default()
        .add_pseudo_header(addresses, IPPROTO_TCP, payload.len() as u16)
        .add(payload)
        .is_intact()
}
