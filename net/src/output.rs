//! The way out: a frame is composed in place in the transmit queue of this core, or, without a
//! queue pair, in a box for the core that sends for it. All headers are written here.
//!
//! Upstream: [`tcp`](crate::tcp), [`arp`](crate::arp), TIME_WAIT. Downstream: the [`Nic`] or the
//! fabric. Invariant: the checksum field of a segment that leaves holds either the whole checksum,
//! or the pseudo-header's sum and a [`PartialChecksum`] beside it (VirtIO 1.2 §5.1.6.2).

use crate::address::Host;
use crate::checksum::Sum;
use crate::counters::{Counters, DropReason};
use crate::demux::ETHERNET_HEADER_BYTES;
use crate::fabric::FabricPort;
use crate::flow::{AddressPair, FlowKey};
use crate::ipv4::{self, IPV4_HEADER_BYTES};
use crate::ipv6::{self, IPV6_HEADER_BYTES};
use crate::limits::{
    GATHER_MIN_BYTES, HANDOVER_FRAME_BYTES, MTU_MIN_BYTES, MTU_MIN_IPV6_BYTES,
    MTU_WITHOUT_QUEUE_PAIR_BYTES, TAIL_PIECES,
};
use crate::nic::{Nic, NicInfo, PartialChecksum, TxMeta};
use crate::segment::{IPPROTO_TCP, TCP_HEADER_BYTES};
use crate::tcp::{Departure, Link};
use alloc::boxed::Box;
use alloc::vec;
use core::net::{Ipv4Addr, Ipv6Addr};
use core::num::NonZeroU16;

/// This core's queue pair, or its lane to the core that has one.
pub(crate) struct Output<N: Nic> {
    pub(crate) nic: Option<N>,
    pub(crate) port: FabricPort,
    pub(crate) counters: Counters,
    /// What the device can do; without one, what a plain device could.
    pub(crate) info: NicInfo,
    /// What a connection of either family may put into one segment.
    links: [Link; 2],
    /// Where a frame is composed that there is no room for, since its author cannot be stopped.
    overflow: Box<[u8]>,
}

impl<N: Nic> Output<N> {
    pub(crate) fn new(nic: Option<N>, port: FabricPort) -> Self {
        let info = match &nic {
            Some(nic) => {
                let info = nic.info();
                port.publish_link(info.mac, info.mtu);
                NicInfo {
                    mtu: info.mtu.max(MTU_MIN_BYTES),
                    ..info
                }
            }
            None => info_without_queue_pair(&port),
        };
        let largest = (usize::from(info.mtu) + ETHERNET_HEADER_BYTES)
            .max(info.tso4_max_bytes.max(info.tso6_max_bytes) as usize)
            .max(HANDOVER_FRAME_BYTES);
        Output {
            nic,
            port,
            counters: Counters::default(),
            info,
            links: links(&info, &Host::default()),
            overflow: vec![0; largest].into_boxed_slice(),
        }
    }

    /// Takes in what this host is by now; without a queue pair also what the device is, from the core
    /// that has it.
    pub(crate) fn follow(&mut self, host: &Host) {
        if self.nic.is_none() {
            self.info = info_without_queue_pair(&self.port);
        }
        self.links = links(&self.info, host);
    }

    /// Returns what a connection of a family may put into one segment.
    #[inline]
    pub(crate) fn link(&self, is_ipv6: bool) -> Link {
        self.links[usize::from(is_ipv6)]
    }

    /// Returns the bytes of the largest packet of a family.
    pub(crate) fn packet_bytes(&self, is_ipv6: bool) -> usize {
        usize::from(self.link(is_ipv6).mss_bytes + headers_bytes(is_ipv6))
    }

    /// Returns how many frames were sent.
    pub(crate) fn sent_frames(&self) -> u64 {
        self.counters.tx_frames + self.counters.forwards_out
    }

    /// Returns whether there is room for one more frame of any size.
    pub(crate) fn can_transmit(&mut self) -> bool {
        match &mut self.nic {
            Some(nic) => nic.can_transmit(),
            None => self.port.can_forward(),
        }
    }

    /// Composes a whole frame of `bytes` bytes with `fill`; counted and dropped without room.
    pub(crate) fn transmit<R>(
        &mut self,
        bytes: usize,
        fill: impl FnOnce(&mut [u8]) -> (R, TxMeta),
    ) -> R {
        self.transmit_with_tail(bytes, &[], fill)
    }

    /// Composes a frame of `bytes` bytes with `fill`, and `tail` behind them. Only a device that takes
    /// a tail may be given one.
    #[inline]
    fn transmit_with_tail<R>(
        &mut self,
        bytes: usize,
        tail: &[&'static [u8]],
        fill: impl FnOnce(&mut [u8]) -> (R, TxMeta),
    ) -> R {
        let unsent = match &mut self.nic {
            Some(nic) => match nic.transmit(bytes, tail, fill) {
                Ok(result) => {
                    self.counters.tx_frames += 1;
                    return result;
                }
                Err(fill) => fill,
            },
            None => match self.port.forward(bytes, fill) {
                Ok(result) => {
                    self.counters.forwards_out += 1;
                    return result;
                }
                Err(fill) => fill,
            },
        };
        self.counters.count_drop(DropReason::TransmitFull);
        unsent(&mut self.overflow[..bytes]).0
    }

    /// Whether a payload of so many bytes may go out without being copied.
    #[inline]
    pub(crate) fn gathers(&self, payload_bytes: usize) -> bool {
        self.info.tail_pieces >= TAIL_PIECES
            && self.info.tx_checksum
            && payload_bytes >= GATHER_MIN_BYTES
    }

    /// Composes the frame of a TCP segment of the flow `key`, addressed to the station `peer`;
    /// `fill` writes its payload, all but `tail`, which is sent from where it is if the output
    /// [`gathers`](Self::gathers). The checksum is completed, or left to the device.
    #[inline]
    pub(crate) fn transmit_segment(
        &mut self,
        key: &FlowKey,
        peer: [u8; 6],
        departure: &Departure,
        tail: &[&'static [u8]],
        fill: impl FnOnce(&mut [u8]),
    ) {
        let (own, in_device) = (self.info.mac, self.info.tx_checksum);
        let options = departure.options.bytes();
        let tcp_bytes = TCP_HEADER_BYTES + options.len() + departure.payload_bytes;
        let tail_bytes: usize = tail.iter().map(|piece| piece.len()).sum();
        let ip_bytes = ip_header_bytes(key.addresses.is_ipv6());
        let bytes = ETHERNET_HEADER_BYTES + ip_bytes + tcp_bytes - tail_bytes;
        self.transmit_with_tail(bytes, tail, |frame| {
            // The frame is as long as was asked for, so none of the parts is missing.
            let Some(tcp) = write_ip(frame, key, peer, own, tcp_bytes as u16) else {
                return ((), TxMeta::default());
            };
            let Some((header, rest)) = tcp.split_first_chunk_mut() else {
                return ((), TxMeta::default());
            };
            *header = tcp_header(key, departure);
            let (option_room, payload) = rest.split_at_mut(options.len());
            match (option_room.as_mut_array::<12>(), options.as_array()) {
                // Timestamps, as nearly always: moved without a call.
                (Some(room), Some(timestamps)) => *room = *timestamps,
                _ => option_room.copy_from_slice(options),
            }
            fill(payload);
            let pseudo =
                Sum::default().add_pseudo_header(&key.addresses, IPPROTO_TCP, tcp_bytes as u16);
            let meta = match in_device {
                true => {
                    header[16..18].copy_from_slice(&pseudo.fold());
                    partial_checksum(departure, key.addresses.is_ipv6(), options.len())
                }
                false => {
                    let checksum = pseudo.add(tcp).complement();
                    tcp[16..18].copy_from_slice(&checksum);
                    TxMeta::default()
                }
            };
            ((), meta)
        });
    }

    /// Composes a frame around a packet of either family whose payload of `bytes` bytes `fill` writes,
    /// addressed to the station `peer`.
    pub(crate) fn transmit_ip(
        &mut self,
        peer: [u8; 6],
        addresses: &AddressPair,
        protocol: u8,
        bytes: usize,
        fill: impl FnOnce(&mut [u8]),
    ) {
        match *addresses {
            AddressPair::V4 { remote, local } => {
                self.transmit_ipv4(peer, (local, remote), protocol, bytes, fill);
            }
            AddressPair::V6 { remote, local } => {
                let protocol = (protocol, ipv6::HOP_LIMIT);
                self.transmit_ipv6(peer, (local, remote), protocol, bytes, fill);
            }
        }
    }

    /// Composes a frame around an IPv4 packet whose payload of `bytes` bytes `fill` writes,
    /// addressed to the station `peer`.
    pub(crate) fn transmit_ipv4(
        &mut self,
        peer: [u8; 6],
        addresses: (Ipv4Addr, Ipv4Addr),
        protocol: u8,
        bytes: usize,
        fill: impl FnOnce(&mut [u8]),
    ) {
        let (from, to) = addresses;
        let header = ipv4::header(from, to, protocol, bytes as u16);
        self.transmit_behind(&header, peer, bytes, fill);
    }

    /// The same behind an IPv4 header.
    pub(crate) fn transmit_behind(
        &mut self,
        header: &[u8; IPV4_HEADER_BYTES],
        peer: [u8; 6],
        bytes: usize,
        fill: impl FnOnce(&mut [u8]),
    ) {
        let own = self.info.mac;
        let headers = ETHERNET_HEADER_BYTES + IPV4_HEADER_BYTES;
        self.transmit(headers + bytes, |frame| {
            let (head, payload) = frame.split_at_mut(headers);
            let (ethernet, ip) = head.split_at_mut(ETHERNET_HEADER_BYTES);
            ethernet.copy_from_slice(&ethernet_header(peer, own, ETHERTYPE_IPV4));
            ip.copy_from_slice(header);
            fill(payload);
            ((), TxMeta::default())
        });
    }

    /// Composes a frame around an IPv6 packet whose payload of `bytes` bytes `fill` writes, addressed
    /// to the station `peer`.
    pub(crate) fn transmit_ipv6(
        &mut self,
        peer: [u8; 6],
        addresses: (Ipv6Addr, Ipv6Addr),
        (protocol, hop_limit): (u8, u8),
        bytes: usize,
        fill: impl FnOnce(&mut [u8]),
    ) {
        let own = self.info.mac;
        let (from, to) = addresses;
        let headers = ETHERNET_HEADER_BYTES + IPV6_HEADER_BYTES;
        self.transmit(headers + bytes, |frame| {
            let (head, payload) = frame.split_at_mut(headers);
            let (ethernet, ip) = head.split_at_mut(ETHERNET_HEADER_BYTES);
            ethernet.copy_from_slice(&ethernet_header(peer, own, ETHERTYPE_IPV6));
            let header = ipv6::header(from, to, protocol, hop_limit, bytes as u16);
            ip.copy_from_slice(&header);
            fill(payload);
            ((), TxMeta::default())
        });
    }
}

pub(crate) const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
pub(crate) const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];
/// Bytes of a TCP header with all the options it can have.
const TCP_HEADER_MAX_BYTES: usize = 60;

#[inline]
pub(crate) const fn ip_header_bytes(is_ipv6: bool) -> usize {
    if is_ipv6 {
        IPV6_HEADER_BYTES
    } else {
        IPV4_HEADER_BYTES
    }
}

/// Bytes of the headers of a segment without options.
pub(crate) const fn headers_bytes(is_ipv6: bool) -> u16 {
    (ip_header_bytes(is_ipv6) + TCP_HEADER_BYTES) as u16
}

/// Returns what a connection of either family may put into one segment.
fn links(info: &NicInfo, host: &Host) -> [Link; 2] {
    [false, true].map(|is_ipv6| {
        let (told, least, cut_bytes) = match is_ipv6 {
            false => (host.mtu_v4, MTU_MIN_BYTES, info.tso4_max_bytes),
            true => (host.mtu_v6, MTU_MIN_IPV6_BYTES, info.tso6_max_bytes),
        };
        let mtu = info.mtu.min(told.unwrap_or(u16::MAX).max(least));
        let ip_bytes = ip_header_bytes(is_ipv6);
        let mss_bytes = mtu - headers_bytes(is_ipv6);
        let headers = (ETHERNET_HEADER_BYTES + ip_bytes + TCP_HEADER_MAX_BYTES) as u32;
        // The packet's length is a field of 16 bits.
        let largest = cut_bytes.min(0xffff + ETHERNET_HEADER_BYTES as u32);
        Link {
            mss_bytes,
            payload_max_bytes: largest.saturating_sub(headers).max(mss_bytes.into()),
        }
    })
}

/// Writes the headers before TCP's, and returns the room behind them.
#[inline]
fn write_ip<'a>(
    frame: &'a mut [u8],
    key: &FlowKey,
    peer: [u8; 6],
    own: [u8; 6],
    tcp_bytes: u16,
) -> Option<&'a mut [u8]> {
    let (ethernet, rest) = frame.split_first_chunk_mut()?;
    match key.addresses {
        AddressPair::V4 { remote, local } => {
            let (ip, tcp) = rest.split_first_chunk_mut()?;
            *ethernet = ethernet_header(peer, own, ETHERTYPE_IPV4);
            *ip = ipv4::header(local, remote, IPPROTO_TCP, tcp_bytes);
            Some(tcp)
        }
        AddressPair::V6 { remote, local } => {
            let (ip, tcp) = rest.split_first_chunk_mut()?;
            *ethernet = ethernet_header(peer, own, ETHERTYPE_IPV6);
            *ip = ipv6::header(local, remote, IPPROTO_TCP, ipv6::HOP_LIMIT, tcp_bytes);
            Some(tcp)
        }
    }
}

#[inline]
pub(crate) fn ethernet_header(
    to: [u8; 6],
    from: [u8; 6],
    ethertype: [u8; 2],
) -> [u8; ETHERNET_HEADER_BYTES] {
    let mut header = [0; ETHERNET_HEADER_BYTES];
    header[..6].copy_from_slice(&to);
    header[6..12].copy_from_slice(&from);
    header[12..].copy_from_slice(&ethertype);
    header
}

/// A TCP header (RFC 9293 §3.1) without checksum.
#[inline]
fn tcp_header(key: &FlowKey, departure: &Departure) -> [u8; TCP_HEADER_BYTES] {
    let words = (TCP_HEADER_BYTES + departure.options.bytes().len()) as u8 / 4;
    let mut header = [0; TCP_HEADER_BYTES];
    header[..2].copy_from_slice(&key.local_port.to_be_bytes());
    header[2..4].copy_from_slice(&key.remote_port.to_be_bytes());
    header[4..8].copy_from_slice(&departure.sequence.to_be_bytes());
    header[8..12].copy_from_slice(&departure.acknowledged.to_be_bytes());
    header[12] = words << 4;
    header[13] = departure.flags.0;
    header[14..16].copy_from_slice(&departure.window.to_be_bytes());
    header
}

/// What the device is told of a segment: where its checksum goes, and how it is to be cut.
#[inline]
fn partial_checksum(departure: &Departure, is_ipv6: bool, option_bytes: usize) -> TxMeta {
    let start = (ETHERNET_HEADER_BYTES + ip_header_bytes(is_ipv6)) as u16;
    let is_cut = departure.payload_bytes > usize::from(departure.segment_bytes);
    TxMeta {
        checksum: Some(PartialChecksum { start, offset: 16 }),
        segment_bytes: is_cut
            .then_some(departure.segment_bytes)
            .and_then(NonZeroU16::new),
        header_bytes: start + (TCP_HEADER_BYTES + option_bytes) as u16,
        is_ipv6,
    }
}

/// What a core without a queue pair works with: nothing is left to the device, because the frame
/// is finished before it crosses.
fn info_without_queue_pair(port: &FabricPort) -> NicInfo {
    let (mac, mtu) = port
        .link()
        .unwrap_or(([0; 6], MTU_WITHOUT_QUEUE_PAIR_BYTES));
    let mtu = mtu.clamp(MTU_MIN_BYTES, MTU_WITHOUT_QUEUE_PAIR_BYTES);
    NicInfo::plain(mac, mtu)
}
