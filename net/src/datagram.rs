//! UDP datagrams that this side sends (RFC 768): to one address of either family, without an answer.
//!
//! Upstream: the layer above, with the bytes. Downstream: `output`, by the station
//! that ARP or neighbour discovery names. Nothing is kept here: what cannot go now is the caller's to
//! try again. Received datagrams are DHCP's or dropped.

use crate::checksum::Sum;
use crate::demux::IPPROTO_UDP;
use crate::flow::AddressPair;
use crate::limits::ARP_AGAIN;
use crate::nic::Nic;
use crate::output::ip_header_bytes;
use crate::stack::Stack;
use crate::tcp::Lent;
use core::net::{IpAddr, SocketAddr};
use kernel::Instant;

const HEADER_BYTES: usize = 8;

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
        to: impl Into<SocketAddr>,
        bytes: &[u8],
    ) -> Result<(), DatagramError> {
        let to = to.into();
        let (target, length) = (to.ip(), HEADER_BYTES + bytes.len());
        let is_ipv6 = target.is_ipv6();
        if ip_header_bytes(is_ipv6) + length > self.output.packet_bytes(is_ipv6) {
            return Err(DatagramError::TooLarge);
        }
        let from = self.host.source_for(target);
        let addresses = from.and_then(|from| AddressPair::new(target, from));
        let addresses = addresses.ok_or(DatagramError::NotNow)?;
        if !self.output.can_transmit() {
            return Err(DatagramError::NotNow);
        }
        let peer = self.station_of(target).ok_or(DatagramError::NotNow)?;
        let ports = (from_port, to.port());
        let fill = |datagram: &mut [u8]| write(datagram, &addresses, ports, bytes);
        self.output
            .transmit_ip(peer, &addresses, IPPROTO_UDP, length, fill);
        self.output.counters.datagrams_sent += 1;
        Ok(())
    }

    /// Returns the station that leads to `target`; if it is not known, it is asked for, once in a
    /// while.
    fn station_of(&mut self, target: IpAddr) -> Option<[u8; 6]> {
        let (station, now) = (self.host.next_hop(target), self.now);
        let known = self.neighbours.find(station, now);
        let is_recent = |asked: Instant| now.saturating_since(asked) < ARP_AGAIN;
        if known.is_none() && !self.datagrams.asked.is_some_and(is_recent) {
            self.datagrams.asked = Some(now);
            self.ask_for(station);
        }
        known
    }
}

/// Writes a datagram with its checksum, which IPv6 demands and IPv4 permits (RFC 768, RFC 8200 §8.1).
fn write(datagram: &mut [u8], addresses: &AddressPair, ports: (u16, u16), bytes: &[u8]) {
    let length = datagram.len() as u16;
    let (header, payload) = datagram.split_at_mut(HEADER_BYTES);
    header[..2].copy_from_slice(&ports.0.to_be_bytes());
    header[2..4].copy_from_slice(&ports.1.to_be_bytes());
    header[4..6].copy_from_slice(&length.to_be_bytes());
    header[6..].fill(0);
    payload.copy_from_slice(bytes);
    let pseudo = Sum::default().add_pseudo_header(addresses, IPPROTO_UDP, length);
    let checksum = match pseudo.add(datagram).complement() {
        // Zero would say that there is none.
        [0, 0] => [0xff; 2],
        checksum => checksum,
    };
    datagram[6..8].copy_from_slice(&checksum);
}
