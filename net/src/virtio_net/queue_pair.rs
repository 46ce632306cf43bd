//! One queue pair of one core: the [`Nic`] of the image.
//!
//! Upstream: `kernel::virtio`'s queues. Downstream: the stack of the core that owns the pair.
//! Invariants: no register but the two doorbells is touched (and on MMIO the interrupt
//! acknowledgement, before a sleep), and none is read; nothing is allocated.

use super::gathering::Gathering;
use super::header::{self, HEADER_BYTES};
use crate::nic::{Nic, NicCounters, NicInfo, RxMeta, TxMeta};
use alloc::vec::Vec;
use kernel::virtio::doorbell::Doorbell;
use kernel::virtio::limits::TX_BUFFER_BYTES;
use kernel::virtio::rx::{RxBuffer, RxQueue};
use kernel::virtio::tx::TxQueue;

/// A received frame, or a part of one, in the buffer that the device filled.
#[derive(Debug)]
pub struct Frame {
    buffer: RxBuffer,
    /// Bytes of the device's header before it.
    header_bytes: u8,
}

impl Frame {
    /// A frame that begins in this buffer.
    #[inline]
    pub(super) fn new(buffer: RxBuffer) -> Self {
        Frame {
            buffer,
            header_bytes: HEADER_BYTES as u8,
        }
    }

    /// A frame goes on in this buffer, which is without a header (VirtIO 1.2 §5.1.6.4).
    pub(super) fn part(buffer: RxBuffer) -> Self {
        Frame {
            buffer,
            header_bytes: 0,
        }
    }

    #[inline]
    pub(super) fn into_buffer(self) -> RxBuffer {
        self.buffer
    }
}

impl AsRef<[u8]> for Frame {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        let bytes = self.buffer.as_ref();
        bytes.get(self.header_bytes.into()..).unwrap_or_default()
    }
}

/// What a device may say of a frame that it has received.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trust {
    /// That its checksum is good (GUEST_CSUM).
    pub(super) checksums: bool,
    /// That it lies in several buffers (MRG_RXBUF).
    pub(super) several_buffers: bool,
}

/// One receive queue and one transmit queue, owned by one core.
pub struct QueuePair {
    info: NicInfo,
    rx: RxQueue,
    tx: TxQueue,
    /// What the device may say of a frame.
    trust: Trust,
    /// A frame in several buffers.
    gathering: Gathering,
    interrupt_acknowledge: Option<Doorbell>,
    /// The device may hold frames back that came for another queue: see [`set_scaled`](Self::set_scaled).
    holds_back: bool,
    counters: NicCounters,
}

impl QueuePair {
    /// Joins the two queues; `rx` refuses completions shorter than the header.
    pub(super) fn new(
        info: NicInfo,
        rx: RxQueue,
        tx: TxQueue,
        trust: Trust,
        interrupt_acknowledge: Option<Doorbell>,
    ) -> Self {
        QueuePair {
            info,
            rx,
            tx,
            trust,
            gathering: Gathering::new(),
            interrupt_acknowledge,
            holds_back: false,
            counters: NicCounters::default(),
        }
    }

    /// Says that the device spreads flows, and so may hold frames back. QEMU does, when it spreads
    /// them itself and one queue is out of buffers: what has come in on another is not read on until
    /// that other queue's doorbell rings, which nothing else would do.
    pub(super) fn set_scaled(&mut self) {
        self.holds_back = true;
    }

    /// Receives the frame in several buffers that has begun, when all of it has come.
    #[cold]
    fn receive_large(&mut self) -> Option<(Frame, RxMeta)> {
        let (frame, meta) = self.gathering.go_on(&mut self.rx)?;
        self.counters.rx_frames += 1;
        self.counters.rx_large_frames += 1;
        self.counters.rx_bytes += frame.as_ref().len() as u64;
        Some((frame, meta))
    }
}

impl Nic for QueuePair {
    type Frame = Frame;

    fn info(&self) -> NicInfo {
        self.info
    }

    #[inline]
    fn receive(&mut self) -> Option<(Frame, RxMeta)> {
        loop {
            if self.gathering.is_under_way() {
                let large = self.receive_large();
                if large.is_some() || self.gathering.is_under_way() {
                    return large;
                }
            }
            let buffer = self.rx.receive()?;
            let bytes: &[u8] = buffer.as_ref();
            // The queue refuses what is shorter.
            let header = bytes.first_chunk()?;
            let mut meta = header::read(header);
            meta.checksum_valid &= self.trust.checksums;
            if self.trust.several_buffers && header::buffers(header) != 1 {
                self.gathering.begin(&mut self.rx, buffer, meta);
                continue;
            }
            self.counters.rx_frames += 1;
            self.counters.rx_bytes += (bytes.len() - HEADER_BYTES) as u64;
            return Some((Frame::new(buffer), meta));
        }
    }

    fn receive_rest(&mut self, rest: &mut Vec<Frame>) {
        let known = rest.len();
        self.gathering.take_rest(rest);
        for part in &rest[known..] {
            self.counters.rx_bytes += part.as_ref().len() as u64;
        }
    }

    #[inline]
    fn recycle(&mut self, frame: Frame) {
        self.rx.recycle(frame.into_buffer());
    }

    #[inline]
    fn can_transmit(&mut self) -> bool {
        self.tx.has_room()
    }

    #[inline]
    fn transmit<R, F>(&mut self, len: usize, tail: &[&'static [u8]], fill: F) -> Result<R, F>
    where
        F: FnOnce(&mut [u8]) -> (R, TxMeta),
    {
        if len > TX_BUFFER_BYTES - HEADER_BYTES || tail.len() > self.info.tail_pieces {
            return Err(fill);
        }
        let Some(mut slot) = self.tx.reserve(HEADER_BYTES + len) else {
            return Err(fill);
        };
        let Some((header, frame)) = slot.bytes_mut().split_first_chunk_mut() else {
            return Err(fill);
        };
        let (result, meta) = fill(frame);
        header::write(header, meta);
        slot.submit_with_tail(tail);
        let tail_bytes: usize = tail.iter().map(|piece| piece.len()).sum();
        self.counters.tx_frames += 1;
        self.counters.tx_bytes += (len + tail_bytes) as u64;
        Ok(result)
    }

    #[inline]
    fn flush(&mut self) {
        self.tx.publish();
        self.rx.publish();
    }

    fn arm(&mut self) -> bool {
        // The acknowledgement comes first: what the device raises after it is a new interrupt, and
        // what it raised before shows in the ring, which is looked at once more below.
        if let Some(register) = &self.interrupt_acknowledge {
            register.ring();
        }
        if self.rx.arm() {
            return true;
        }
        if self.holds_back {
            self.rx.nudge();
        }
        if self.tx.arm_if_full() {
            self.rx.disarm();
            return true;
        }
        false
    }

    fn disarm(&mut self) {
        self.rx.disarm();
        self.tx.disarm();
    }

    fn counters(&self) -> NicCounters {
        NicCounters {
            doorbells: self.rx.doorbells() + self.tx.doorbells(),
            rx_bad_completions: self.rx.bad_completions(),
            rx_bad_large_frames: self.gathering.refused(),
            tx_bad_completions: self.tx.bad_completions(),
            ..self.counters
        }
    }
}
