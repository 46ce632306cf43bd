//! A queue pair in memory, at either end of a [`Link`], with the offloads of a device when it is told
//! to have them.

use super::link::{End, Link};
use super::offload;
use crate::limits::{FRAME_BUFFERS, HEAD_MAX_BYTES, TAIL_PIECES};
use crate::nic::{Nic, NicCounters, NicInfo, RxMeta, TxMeta};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use kernel::virtio::limits::RX_BUFFER_BYTES;

/// A queue pair of the stack on a [`Link`].
pub struct MemoryNic {
    link: Link,
    end: End,
    info: NicInfo,
    transmit_frames: usize,
    /// Transmitted and not yet flushed.
    queued: VecDeque<(Vec<u8>, TxMeta)>,
    counters: NicCounters,
    rx_checksum_valid: bool,
    /// Segments that have arrived and follow each other are put together.
    joins_segments: bool,
    /// A frame that is longer lies in several buffers.
    buffer_bytes: usize,
    /// Those of the frame received last, but the first.
    parts: Vec<Vec<u8>>,
    is_armed: bool,
}

impl MemoryNic {
    pub(super) fn new(link: Link, end: End, mac: [u8; 6]) -> Self {
        MemoryNic {
            link,
            end,
            info: NicInfo::plain(mac, 1500),
            transmit_frames: 256,
            queued: VecDeque::new(),
            counters: NicCounters::default(),
            rx_checksum_valid: false,
            joins_segments: false,
            buffer_bytes: usize::MAX,
            parts: Vec::new(),
            is_armed: false,
        }
    }

    /// Has the device complete checksums, and cut segments up to `tso_max_bytes` (0 for none).
    pub fn with_offloads(mut self, tso_max_bytes: u32) -> Self {
        self.info.tx_checksum = true;
        self.info.tail_pieces = TAIL_PIECES;
        self.info.tso4_max_bytes = tso_max_bytes;
        self.info.tso6_max_bytes = tso_max_bytes;
        self
    }

    /// Has the device say of every frame that its checksum is good.
    pub fn with_valid_checksums(mut self) -> Self {
        self.rx_checksum_valid = true;
        self
    }

    /// Has the device put segments together that have arrived and follow each other, in buffers as
    /// virtio has them.
    pub fn with_large_receive(mut self) -> Self {
        self.joins_segments = true;
        self.with_buffers(RX_BUFFER_BYTES)
    }

    /// Has the device put frames into buffers of so many bytes: longer ones lie in several.
    pub fn with_buffers(mut self, bytes: usize) -> Self {
        self.set_buffers(bytes);
        self
    }

    pub(super) fn set_buffers(&mut self, bytes: usize) {
        self.buffer_bytes = bytes.max(1);
    }

    /// Puts what has arrived and follows `frame` behind it; returns the payload bytes of each segment,
    /// 0 when there is only one.
    fn join(&mut self, frame: &mut Vec<u8>) -> u16 {
        let wire = &mut *self.link.0.borrow_mut();
        let mut joint = offload::Joint::new(frame);
        while let Some(next) = wire.arrived(self.end)
            && joint.add(frame, next)
        {
            if let Some(next) = wire.arrive(self.end) {
                wire.spare.push(next);
            }
        }
        joint.finish(frame)
    }

    /// Leaves in `frame` what its first buffer takes.
    fn split(&mut self, frame: &mut Vec<u8>) {
        let bytes = self.buffer_bytes.max(frame.len().div_ceil(FRAME_BUFFERS));
        if frame.len() > bytes {
            let wire = &mut *self.link.0.borrow_mut();
            for part in frame[bytes..].chunks(bytes) {
                self.parts.push(wire.buffer(part));
            }
            frame.truncate(bytes);
        }
    }

    /// Gives the transmit queue room for this many frames between two flushes.
    pub fn with_transmit_frames(mut self, frames: usize) -> Self {
        self.transmit_frames = frames;
        self
    }

    /// Gives the device another packet size, in bytes.
    pub fn with_mtu(mut self, mtu: u16) -> Self {
        self.info.mtu = mtu;
        self
    }

    /// Whether the stack has asked for an interrupt.
    pub fn is_armed(&self) -> bool {
        self.is_armed
    }
}

impl Nic for MemoryNic {
    type Frame = Vec<u8>;

    fn info(&self) -> NicInfo {
        self.info
    }

    fn receive(&mut self) -> Option<(Vec<u8>, RxMeta)> {
        let mut frame = self.link.0.borrow_mut().arrive(self.end)?;
        let segment_bytes = match self.joins_segments {
            true => self.join(&mut frame),
            false => 0,
        };
        self.counters.rx_frames += 1;
        self.counters.rx_bytes += frame.len() as u64;
        self.split(&mut frame);
        self.counters.rx_large_frames += u64::from(!self.parts.is_empty());
        let meta = RxMeta {
            checksum_valid: self.rx_checksum_valid || segment_bytes > 0,
            segment_bytes,
            more_buffers: self.parts.len() as u8,
        };
        Some((frame, meta))
    }

    fn receive_rest(&mut self, rest: &mut Vec<Vec<u8>>) {
        rest.append(&mut self.parts);
    }

    fn recycle(&mut self, frame: Vec<u8>) {
        self.link.0.borrow_mut().spare.push(frame);
    }

    fn can_transmit(&mut self) -> bool {
        self.queued.len() < self.transmit_frames
    }

    fn transmit<R, F>(&mut self, len: usize, tail: &[&'static [u8]], fill: F) -> Result<R, F>
    where
        F: FnOnce(&mut [u8]) -> (R, TxMeta),
    {
        let largest = (usize::from(self.info.mtu) + 14).max(self.info.tso4_max_bytes as usize);
        let tail_bytes: usize = tail.iter().map(|piece| piece.len()).sum();
        if !self.can_transmit()
            || len + tail_bytes > largest
            || tail.len() > self.info.tail_pieces
            || (tail_bytes > 0 && len > HEAD_MAX_BYTES)
        {
            return Err(fill);
        }
        let mut frame = self.link.0.borrow_mut().spare.pop().unwrap_or_default();
        // Stale bytes, as in a ring: what the stack does not write is seen.
        frame.resize(len, 0xa5);
        let (result, meta) = fill(&mut frame);
        tail.iter().for_each(|piece| frame.extend_from_slice(piece));
        self.queued.push_back((frame, meta));
        Ok(result)
    }

    fn flush(&mut self) {
        if self.queued.is_empty() {
            return;
        }
        self.counters.doorbells += 1;
        let to_stack = self.end == End::Client;
        let wire = &mut *self.link.0.borrow_mut();
        while let Some((frame, meta)) = self.queued.pop_front() {
            self.counters.tx_frames += 1;
            self.counters.tx_bytes += frame.len() as u64;
            offload::finish(frame, meta, usize::from(self.info.mtu), |frame| {
                wire.carry(frame, to_stack);
            });
        }
    }

    fn arm(&mut self) -> bool {
        self.is_armed = true;
        self.link.0.borrow_mut().has_arrived(self.end)
    }

    fn disarm(&mut self) {
        self.is_armed = false;
    }

    fn counters(&self) -> NicCounters {
        self.counters
    }
}
