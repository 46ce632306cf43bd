//! The way out: a frame is composed in place in the transmit queue of this core, or, without a
//! queue pair, in a box for the core that sends for it. All headers are written here.
//!
//! Upstream: [`tcp`](crate::tcp), [`arp`](crate::arp), TIME_WAIT. Downstream: the [`Nic`] or the
//! fabric. Invariant: the checksum field of a segment that leaves holds either the whole checksum,
//! or the pseudo-header's sum and a [`PartialChecksum`] beside it (VirtIO 1.2 §5.1.6.2).

use crate::checksum::Sum;
use crate::counters::{Counters, DropReason};
use crate::demux::{ETHERNET_HEADER_BYTES, IPV4_HEADER_BYTES, TCP_HEADER_BYTES};
use crate::fabric::FabricPort;
use crate::flow::FlowKey;
use crate::limits::{
    GATHER_MIN_BYTES, HANDOVER_FRAME_BYTES, MTU_MIN_BYTES, MTU_WITHOUT_QUEUE_PAIR_BYTES,
    TAIL_PIECES,
};
use crate::nic::{Nic, NicInfo, PartialChecksum, TxMeta};
use crate::tcp::{Departure, Link};
use alloc::boxed::Box;
use alloc::vec;
use core::net::Ipv4Addr;
use core::num::NonZeroU16;

/// This core's queue pair, or its lane to the core that has one.
pub(crate) struct Output<N: Nic> {
    pub(crate) nic: Option<N>,
    pub(crate) port: FabricPort,
    pub(crate) counters: Counters,
    /// What the device can do; without one, what a plain device could.
    pub(crate) info: NicInfo,
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
            .max(info.tso4_max_bytes as usize)
            .max(HANDOVER_FRAME_BYTES);
        Output {
            nic,
            port,
            counters: Counters::default(),
            info,
            overflow: vec![0; largest].into_boxed_slice(),
        }
    }

    /// Without a queue pair, learns what the device is from the core that has it.
    pub(crate) fn refresh_info(&mut self) {
        if self.nic.is_none() {
            self.info = info_without_queue_pair(&self.port);
        }
    }

    /// Returns what a connection may put into one segment.
    #[inline]
    pub(crate) fn link(&self) -> Link {
        let mss_bytes = self.info.mtu - (IPV4_HEADER_BYTES + TCP_HEADER_BYTES) as u16;
        let headers = (ETHERNET_HEADER_BYTES + IPV4_HEADER_BYTES + TCP_HEADER_MAX_BYTES) as u32;
        // The packet's length is a field of 16 bits.
        let largest = self
            .info
            .tso4_max_bytes
            .min(0xffff + ETHERNET_HEADER_BYTES as u32);
        let cut_by_device = largest.saturating_sub(headers);
        Link {
            mss_bytes,
            payload_max_bytes: cut_by_device.max(mss_bytes.into()),
        }
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
        let bytes = ETHERNET_HEADER_BYTES + IPV4_HEADER_BYTES + tcp_bytes - tail_bytes;
        self.transmit_with_tail(bytes, tail, |frame| {
            // The frame is as long as was asked for, so none of the parts is missing.
            let Some((ethernet, rest)) = frame.split_first_chunk_mut() else {
                return ((), TxMeta::default());
            };
            let Some((ip, tcp)) = rest.split_first_chunk_mut() else {
                return ((), TxMeta::default());
            };
            *ethernet = ethernet_header(peer, own, ETHERTYPE_IPV4);
            *ip = ipv4_header(key.local, key.remote, IPPROTO_TCP, tcp_bytes as u16);
            let Some((header, rest)) = tcp.split_first_chunk_mut() else {
                return ((), TxMeta::default());
            };
            *header = tcp_header(key, departure);
            let (option_room, payload) = rest.split_at_mut(options.len());
            option_room.copy_from_slice(options);
            fill(payload);
            let pseudo = Sum::default().add_pseudo_header(
                key.local,
                key.remote,
                IPPROTO_TCP,
                tcp_bytes as u16,
            );
            let meta = match in_device {
                true => {
                    header[16..18].copy_from_slice(&pseudo.fold());
                    partial_checksum(departure, options.len())
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
        let own = self.info.mac;
        let (from, to) = addresses;
        let headers = ETHERNET_HEADER_BYTES + IPV4_HEADER_BYTES;
        self.transmit(headers + bytes, |frame| {
            let (head, payload) = frame.split_at_mut(headers);
            let (ethernet, ip) = head.split_at_mut(ETHERNET_HEADER_BYTES);
            ethernet.copy_from_slice(&ethernet_header(peer, own, ETHERTYPE_IPV4));
            ip.copy_from_slice(&ipv4_header(from, to, protocol, bytes as u16));
            fill(payload);
            ((), TxMeta::default())
        });
    }
}

const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
const IPPROTO_TCP: u8 = 6;
/// Hops that a packet may take: what RFC 1700 recommends.
const TTL: u8 = 64;
/// Bytes of a TCP header with all the options it can have.
const TCP_HEADER_MAX_BYTES: usize = 60;

#[inline]
fn ethernet_header(to: [u8; 6], from: [u8; 6], ethertype: [u8; 2]) -> [u8; ETHERNET_HEADER_BYTES] {
    let mut header = [0; ETHERNET_HEADER_BYTES];
    header[..6].copy_from_slice(&to);
    header[6..12].copy_from_slice(&from);
    header[12..].copy_from_slice(&ethertype);
    header
}

/// An IPv4 header (RFC 791 §3.1) for a payload of `bytes` bytes, not to be fragmented: its
/// identification may then be anything (RFC 6864 §4.1).
#[inline]
fn ipv4_header(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, bytes: u16) -> [u8; IPV4_HEADER_BYTES] {
    let [high, low] = (IPV4_HEADER_BYTES as u16 + bytes).to_be_bytes();
    let mut header = [0; IPV4_HEADER_BYTES];
    header[..12].copy_from_slice(&[0x45, 0, high, low, 0, 0, 0x40, 0, TTL, protocol, 0, 0]);
    header[12..16].copy_from_slice(&from.octets());
    header[16..].copy_from_slice(&to.octets());
    let checksum = Sum::default().add(&header).complement();
    header[10..12].copy_from_slice(&checksum);
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
fn partial_checksum(departure: &Departure, option_bytes: usize) -> TxMeta {
    let start = (ETHERNET_HEADER_BYTES + IPV4_HEADER_BYTES) as u16;
    let is_cut = departure.payload_bytes > usize::from(departure.segment_bytes);
    TxMeta {
        checksum: Some(PartialChecksum { start, offset: 16 }),
        segment_bytes: is_cut
            .then_some(departure.segment_bytes)
            .and_then(NonZeroU16::new),
        header_bytes: start + (TCP_HEADER_BYTES + option_bytes) as u16,
    }
}

/// What a core without a queue pair works with: nothing is left to the device, because the frame
/// is finished before it crosses.
fn info_without_queue_pair(port: &FabricPort) -> NicInfo {
    let (mac, mtu) = port
        .link()
        .unwrap_or(([0; 6], MTU_WITHOUT_QUEUE_PAIR_BYTES));
    NicInfo {
        mac,
        mtu: mtu.clamp(MTU_MIN_BYTES, MTU_WITHOUT_QUEUE_PAIR_BYTES),
        tx_checksum: false,
        tail_pieces: 0,
        tso4_max_bytes: 0,
    }
}
