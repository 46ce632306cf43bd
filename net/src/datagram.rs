//! UDP datagrams that this side sends (RFC 768): to one address, without an answer.
//!
//! Upstream: the layer above, with the bytes. Downstream: `output`, by the station
//! that ARP names. Nothing is kept here: what cannot go now is the caller's to try again. Received
//! datagrams are DHCP's or dropped.

use crate::checksum::Sum;
use crate::flow::AddressPair;
use crate::ipv4::IPV4_HEADER_BYTES;
use crate::limits::ARP_AGAIN;
use crate::nic::Nic;
use crate::stack::Stack;
use crate::tcp::Lent;
use core::net::{IpAddr, SocketAddrV4};
use kernel::Instant;

const HEADER_BYTES: usize = 8;
const IPPROTO_UDP: u8 = 17;

/// Why a datagram was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatagramError {
    /// It does not fit into one packet of the link: nothing is fragmented.
    TooLarge,
    /// Not now: no address is ours yet, the station was asked for, or the transmit queue is full.
    NotNow,
}

/// What is remembered between datagrams.
#[derive(Debug, Default)]
pub(crate) struct Datagrams {
    /// When a station was asked for last.
    asked: Option<Instant>,
}

impl<N: Nic, P: Lent> Stack<N, P> {
    /// Sends a datagram from a port of ours. That it is sent does not mean that it arrives.
    ///
    /// # Errors
    /// [`DatagramError`].
    pub fn send_datagram(
        &mut self,
        from_port: u16,
        to: SocketAddrV4,
        bytes: &[u8],
    ) -> Result<(), DatagramError> {
        let length = HEADER_BYTES + bytes.len();
        if IPV4_HEADER_BYTES + length > self.output.packet_bytes(false) {
            return Err(DatagramError::TooLarge);
        }
        let target = IpAddr::V4(*to.ip());
        let Some(IpAddr::V4(from)) = self.host.source_for(target) else {
            return Err(DatagramError::NotNow);
        };
        if !self.output.can_transmit() {
            return Err(DatagramError::NotNow);
        }
        let station = self.host.next_hop(target);
        let Some(peer) = self.neighbours.find(station, self.now) else {
            let now = self.now;
            let is_recent = |asked: Instant| now.saturating_since(asked) < ARP_AGAIN;
            if !self.datagrams.asked.is_some_and(is_recent) {
                self.datagrams.asked = Some(now);
                self.ask_for(station);
            }
            return Err(DatagramError::NotNow);
        };
        let addresses = (from, *to.ip());
        self.output
            .transmit_ipv4(peer, addresses, IPPROTO_UDP, length, |datagram| {
                let (header, payload) = datagram.split_at_mut(HEADER_BYTES);
                header[..2].copy_from_slice(&from_port.to_be_bytes());
                header[2..4].copy_from_slice(&to.port().to_be_bytes());
                header[4..6].copy_from_slice(&(length as u16).to_be_bytes());
                header[6..].fill(0);
                payload.copy_from_slice(bytes);
                let pair = AddressPair::V4 {
                    remote: *to.ip(),
                    local: from,
                };
                let checksum = Sum::default()
                    .add_pseudo_header(&pair, IPPROTO_UDP, length as u16)
                    .add(datagram)
                    .complement();
                // Zero would say that there is none.
                let checksum = if checksum == [0, 0] {
                    [0xff; 2]
                } else {
                    checksum
                };
                datagram[6..8].copy_from_slice(&checksum);
            });
        self.output.counters.datagrams_sent += 1;
        Ok(())
    }
}
