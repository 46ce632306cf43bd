//! ICMP of both families (RFC 792, RFC 4443): echo requests are answered, messages that a packet of
//! ours was too large for a link are read, and neighbour and listener discovery are passed on. The rest is counted
//! and dropped: what else comes of a connection's packets, TCP finds out itself.
//!
//! Upstream: the demux. Downstream: [`control`](crate::control).

use crate::checksum::Sum;
use crate::demux::{IPPROTO_ICMPV6, Message};
use crate::flow::{AddressPair, FlowKey};
use crate::ipv6;
use crate::mld::{self, Query};
use crate::ndp::{self, Discovery};
use crate::segment::IPPROTO_TCP;
use crate::tcp::Seq;
use core::net::{Ipv4Addr, Ipv6Addr};

/// Bytes of an echo message before its data: type, code, checksum, identifier, sequence number; as
/// many stand before the packet that another message speaks of.
const HEADER_BYTES: usize = 8;

/// What a message is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Signal<'a> {
    /// Send this back.
    Echo(EchoReply<'a>),
    /// A packet of ours was too large for a link on its way.
    TooBig(TooBig),
    /// Neighbour discovery.
    Discovery(Discovery<'a>),
    /// Which groups are listened to?
    Query(Query),
}

/// The answer to an echo request: the same message with another type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EchoReply<'a> {
    kind: u8,
    /// The pseudo-header's sum, which IPv4 has none of.
    pseudo: Sum,
    /// Identifier, sequence number and data.
    rest: &'a [u8],
}

/// A segment of ours did not fit (RFC 1191 §4, RFC 8201 §4): what does, and whose it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooBig {
    /// Largest packet of the link, in bytes; IPv4 routers of old say 0.
    pub(crate) mtu: u32,
    /// Whose segment it was.
    pub(crate) key: FlowKey,
    /// The number of its first byte.
    pub(crate) sequence: Seq,
}

/// Reads an ICMP message; `None` when it is malformed, or of no use.
pub(crate) fn process(bytes: &[u8]) -> Option<Signal<'_>> {
    let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>()?;
    if !Sum::default().add(bytes).is_intact() {
        return None;
    }
    match header[..2] {
        [8, 0] => Some(Signal::Echo(EchoReply {
            kind: 0,
            pseudo: Sum::default(),
            rest: &bytes[4..],
        })),
        // Fragmentation needed, and not allowed.
        [3, 4] => {
            let quoted = rest.first_chunk::<20>()?;
            let header_bytes = usize::from(quoted[0] & 0x0f) * 4;
            let is_segment = quoted[0] >> 4 == 4 && quoted[9] == IPPROTO_TCP;
            let address = |at: usize| {
                Ipv4Addr::new(quoted[at], quoted[at + 1], quoted[at + 2], quoted[at + 3])
            };
            let addresses = AddressPair::V4 {
                local: address(12),
                remote: address(16),
            };
            let tcp = rest.get(header_bytes.max(20)..)?;
            is_segment.then_some(())?;
            let mtu = u16::from_be_bytes([header[6], header[7]]);
            too_big(mtu.into(), addresses, tcp)
        }
        _ => None,
    }
}

/// Reads an ICMPv6 message; `None` when it is malformed, or of no use.
pub(crate) fn process_v6<'a>(bytes: &'a [u8], message: &Message<Ipv6Addr>) -> Option<Signal<'a>> {
    let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>()?;
    let addresses = AddressPair::V6 {
        remote: message.source,
        local: message.destination,
    };
    let pseudo = Sum::default().add_pseudo_header(&addresses, IPPROTO_ICMPV6, bytes.len() as u16);
    if !pseudo.add(bytes).is_intact() {
        return None;
    }
    match header[..2] {
        // Groups are not answered: nobody is to be reached by a flood of our making.
        [128, 0] if !message.destination.is_multicast() => Some(Signal::Echo(EchoReply {
            kind: 129,
            pseudo,
            rest: &bytes[4..],
        })),
        [2, _] if !message.destination.is_multicast() => {
            let (quoted, tcp) = rest.split_first_chunk::<{ ipv6::IPV6_HEADER_BYTES }>()?;
            let is_segment = quoted[0] >> 4 == 6 && quoted[6] == IPPROTO_TCP;
            is_segment.then_some(())?;
            let addresses = AddressPair::V6 {
                local: Ipv6Addr::from(*quoted[8..].first_chunk::<16>()?),
                remote: Ipv6Addr::from(*quoted[24..].first_chunk::<16>()?),
            };
            let mtu = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
            too_big(mtu, addresses, tcp)
        }
        [130, 0] => mld::parse(bytes, message).map(Signal::Query),
        [133..=137, _] => ndp::parse(bytes, message).map(Signal::Discovery),
        _ => None,
    }
}

/// Reads the first bytes of a segment that came back: no more than ports and number need be there.
fn too_big(mtu: u32, addresses: AddressPair, tcp: &[u8]) -> Option<Signal<'static>> {
    let start = tcp.first_chunk::<8>()?;
    Some(Signal::TooBig(TooBig {
        mtu,
        key: FlowKey {
            addresses,
            local_port: u16::from_be_bytes([start[0], start[1]]),
            remote_port: u16::from_be_bytes([start[2], start[3]]),
        },
        sequence: Seq(u32::from_be_bytes([start[4], start[5], start[6], start[7]])),
    }))
}

impl EchoReply<'_> {
    /// Returns the bytes of the message.
    pub(crate) fn len(&self) -> usize {
        4 + self.rest.len()
    }

    /// Returns the message in two parts: its first bytes, and what was sent.
    pub(crate) fn parts(&self) -> ([u8; 4], &[u8]) {
        let mut head = [self.kind, 0, 0, 0];
        let [.., high, low] = &mut head;
        let sum = self.pseudo.add(&[self.kind, 0]).add(self.rest);
        [*high, *low] = sum.complement();
        (head, self.rest)
    }

    /// Writes the message, [`len`](Self::len) bytes.
    pub(crate) fn emit(&self, message: &mut [u8]) {
        let (head, rest) = self.parts();
        message[..4].copy_from_slice(&head);
        message[4..].copy_from_slice(rest);
    }
}

#[cfg(all(test, not(loom)))]
#[path = "icmp_tests.rs"]
mod tests;
