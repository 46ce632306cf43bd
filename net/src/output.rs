//! The way out: a frame is composed in place in the transmit queue of this core, or, without a
//! queue pair, in a box for the core that sends for it. Ethernet header and TCP checksum are added
//! here; what smoltcp's interface writes is the IP packet between.
//!
//! Upstream: [`tcp`](crate::tcp), [`arp`](crate::arp), TIME_WAIT. Downstream: the [`Nic`] or the
//! fabric. Invariant: the checksum field of a segment that leaves holds either the whole checksum,
//! or the pseudo-header's sum and a [`PartialChecksum`] beside it (VirtIO 1.2 §5.1.6.2).

use crate::checksum::Sum;
use crate::counters::{Counters, DropReason};
use crate::demux::{ETHERNET_HEADER_BYTES, Flags, IPV4_HEADER_BYTES};
use crate::fabric::FabricPort;
use crate::limits::{HANDOVER_FRAME_BYTES, MTU_MIN_BYTES, MTU_WITHOUT_QUEUE_PAIR_BYTES};
use crate::nic::{Nic, NicInfo, PartialChecksum, TxMeta};
use alloc::boxed::Box;
use alloc::vec;
use core::net::Ipv4Addr;

/// This core's queue pair, or its lane to the core that has one.
pub(crate) struct Output<N: Nic> {
    pub(crate) nic: Option<N>,
    pub(crate) port: FabricPort,
    pub(crate) counters: Counters,
    /// What the device can do; without one, what a plain device could.
    pub(crate) info: NicInfo,
    /// The sequence number after the last TCP segment composed.
    pub(crate) sequence_after: u32,
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
            sequence_after: 0,
            overflow: vec![0; largest].into_boxed_slice(),
        }
    }

    /// Without a queue pair, learns what the device is from the core that has it.
    pub(crate) fn refresh_info(&mut self) {
        if self.nic.is_none() {
            self.info = info_without_queue_pair(&self.port);
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
        let unsent = match &mut self.nic {
            Some(nic) => match nic.transmit(bytes, fill) {
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

    /// Composes a frame around an IPv4 packet of `bytes` bytes that `fill` writes, addressed to
    /// the station `peer`. A TCP checksum is completed, or left to the device.
    #[inline]
    pub(crate) fn transmit_ipv4<R>(
        &mut self,
        peer: [u8; 6],
        bytes: usize,
        fill: impl FnOnce(&mut [u8]) -> R,
    ) -> R {
        let (own, in_device) = (self.info.mac, self.info.tx_checksum);
        let (result, after) = self.transmit(ETHERNET_HEADER_BYTES + bytes, |frame| {
            frame[..6].copy_from_slice(&peer);
            frame[6..12].copy_from_slice(&own);
            frame[12..14].copy_from_slice(&[0x08, 0x00]);
            let packet = &mut frame[ETHERNET_HEADER_BYTES..];
            let result = fill(packet);
            let (meta, after) = complete(packet, in_device);
            ((result, after), meta)
        });
        self.sequence_after = after;
        result
    }
}

/// Completes the IPv4 header's checksum, and that of a TCP segment in it or what of it the device
/// needs. Returns the sequence number after the segment, 0 for what is none.
#[inline]
fn complete(packet: &mut [u8], in_device: bool) -> (TxMeta, u32) {
    // Nothing here writes IPv4 options.
    let Some((ip, segment)) = packet.split_first_chunk_mut::<IPV4_HEADER_BYTES>() else {
        return (TxMeta::default(), 0);
    };
    ip[10..12].copy_from_slice(&[0, 0]);
    let checksum = Sum::default().add(ip).complement();
    ip[10..12].copy_from_slice(&checksum);
    // The packet is at most 65535 bytes: its total length says so.
    let length = segment.len() as u16;
    let Some(tcp) = segment.first_chunk_mut::<20>().filter(|_| ip[9] == 6) else {
        return (TxMeta::default(), 0);
    };
    let source = Ipv4Addr::new(ip[12], ip[13], ip[14], ip[15]);
    let destination = Ipv4Addr::new(ip[16], ip[17], ip[18], ip[19]);
    let header_bytes = u16::from(tcp[12] >> 4) * 4;
    let flags = Flags(tcp[13]);
    let occupied = u32::from(length.saturating_sub(header_bytes))
        + u32::from(flags.has_syn())
        + u32::from(flags.has_fin());
    let after = u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]).wrapping_add(occupied);
    let pseudo = Sum::default().add_pseudo_header(source, destination, 6, length);
    tcp[16..18].copy_from_slice(&[0, 0]);
    if !in_device {
        let checksum = pseudo.add(segment).complement();
        segment[16..18].copy_from_slice(&checksum);
        return (TxMeta::default(), after);
    }
    tcp[16..18].copy_from_slice(&pseudo.fold());
    let start = (ETHERNET_HEADER_BYTES + IPV4_HEADER_BYTES) as u16;
    let meta = TxMeta {
        checksum: Some(PartialChecksum { start, offset: 16 }),
        ..TxMeta::default()
    };
    (meta, after)
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
        tso4_max_bytes: 0,
    }
}
