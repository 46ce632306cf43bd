//! The way out for what is larger than a packet: an IP payload in fragments (RFC 791 §3.2, RFC 8200
//! §4.5).
//!
//! Upstream: [`control`](crate::control), with the answer to a large ping; nothing else here is ever
//! larger than a packet. Downstream: [`output`](crate::output). Identifications are random (RFC 7739
//! §5.1), so that nobody who does not see them can send the missing fragment. Over IPv6, where no
//! router cuts, fragments are as small as every way takes (RFC 8200 §5).

use crate::counters::DropReason;
use crate::demux::ETHERNET_HEADER_BYTES;
use crate::flow::{AddressPair, FlowPrf};
use crate::ipv4::{self, IPV4_HEADER_BYTES};
use crate::ipv6::{self, FRAGMENT_HEADER_BYTES, IPV6_HEADER_BYTES};
use crate::limits::{HEAD_MAX_BYTES, MTU_MIN_IPV6_BYTES};
use crate::nic::Nic;
use crate::output::Output;

/// What identifies the datagrams of a core.
pub(crate) struct Identifications {
    prf: FlowPrf,
    given: u64,
}

impl Identifications {
    /// Begins with a secret.
    pub(crate) fn new(prf: FlowPrf) -> Self {
        Identifications { prf, given: 0 }
    }

    /// Returns the next: anything.
    pub(crate) fn next(&mut self) -> u32 {
        self.given += 1;
        self.prf.part(self.given) as u32
    }
}

impl<N: Nic> Output<N> {
    /// Sends a datagram whose payload is `parts` behind each other, in as many fragments as it takes,
    /// to the station `peer`. Without room for all of them the rest is not sent, and counted.
    pub(crate) fn transmit_in_fragments(
        &mut self,
        peer: [u8; 6],
        addresses: AddressPair,
        (protocol, identification): (u8, u32),
        parts: [&[u8]; 2],
    ) {
        let total = parts[0].len() + parts[1].len();
        let most = self.fragment_bytes(addresses.is_ipv6());
        let mut at = 0;
        while at < total {
            if !self.can_transmit() {
                return self.counters.count_drop(DropReason::TransmitFull);
            }
            let bytes = most.min(total - at);
            let position = Position {
                identification,
                offset: at as u16,
                has_more: at + bytes < total,
            };
            self.transmit_fragment(peer, addresses, (protocol, &position), bytes, |payload| {
                copy(parts, at, payload);
            });
            self.counters.fragments_sent += 1;
            at += bytes;
        }
    }

    /// Bytes of a fragment's payload, a multiple of eight.
    fn fragment_bytes(&self, is_ipv6: bool) -> usize {
        let most = match is_ipv6 {
            true => {
                let packet = self.packet_bytes(true).min(MTU_MIN_IPV6_BYTES.into());
                packet - IPV6_HEADER_BYTES - FRAGMENT_HEADER_BYTES
            }
            false => {
                let most = HEAD_MAX_BYTES - ETHERNET_HEADER_BYTES;
                self.packet_bytes(false).min(most) - IPV4_HEADER_BYTES
            }
        };
        most / 8 * 8
    }

    fn transmit_fragment(
        &mut self,
        peer: [u8; 6],
        addresses: AddressPair,
        (protocol, position): (u8, &Position),
        bytes: usize,
        fill: impl FnOnce(&mut [u8]),
    ) {
        match addresses {
            AddressPair::V4 { remote, local } => {
                let header = position.in_ipv4(ipv4::header(local, remote, protocol, bytes as u16));
                self.transmit_behind(&header, peer, bytes, fill);
            }
            AddressPair::V6 { remote, local } => {
                let kind = (ipv6::FRAGMENT, ipv6::HOP_LIMIT);
                let bytes = FRAGMENT_HEADER_BYTES + bytes;
                self.transmit_ipv6(peer, (local, remote), kind, bytes, |packet| {
                    let (header, payload) = packet.split_at_mut(FRAGMENT_HEADER_BYTES);
                    header.copy_from_slice(&position.ipv6_header(protocol));
                    fill(payload);
                });
            }
        }
    }
}

/// Where a fragment belongs.
struct Position {
    identification: u32,
    /// A multiple of eight.
    offset: u16,
    has_more: bool,
}

impl Position {
    /// Makes a header one of a fragment.
    fn in_ipv4(&self, mut header: [u8; IPV4_HEADER_BYTES]) -> [u8; IPV4_HEADER_BYTES] {
        let word = (u16::from(self.has_more) << 13) | (self.offset / 8);
        header[4..6].copy_from_slice(&(self.identification as u16).to_be_bytes());
        header[6..8].copy_from_slice(&word.to_be_bytes());
        ipv4::seal(&mut header);
        header
    }

    fn ipv6_header(&self, protocol: u8) -> [u8; FRAGMENT_HEADER_BYTES] {
        let [high, low] = (self.offset | u16::from(self.has_more)).to_be_bytes();
        let [a, b, c, d] = self.identification.to_be_bytes();
        [protocol, 0, high, low, a, b, c, d]
    }
}

/// Copies what stands from `at` on in two parts behind each other.
fn copy(parts: [&[u8]; 2], at: usize, to: &mut [u8]) {
    let [first, second] = parts;
    let of_first = first.get(at..).unwrap_or_default();
    let of_first = &of_first[..of_first.len().min(to.len())];
    let (start, rest) = to.split_at_mut(of_first.len());
    start.copy_from_slice(of_first);
    let from = (at + start.len()).saturating_sub(first.len());
    rest.copy_from_slice(&second[from..from + rest.len()]);
}
