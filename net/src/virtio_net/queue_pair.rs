//! One queue pair of one core: the [`Nic`] of the image.
//!
//! Upstream: `kernel::virtio`'s queues. Downstream: the stack of the core that owns the pair.
//! Invariants: no register but the two doorbells is touched (and on MMIO the interrupt
//! acknowledgement, before a sleep), and none is read; nothing is allocated.

use super::header::{self, HEADER_BYTES};
use crate::nic::{Nic, NicCounters, NicInfo, RxMeta, TxMeta};
use kernel::virtio::doorbell::Doorbell;
use kernel::virtio::limits::TX_BUFFER_BYTES;
use kernel::virtio::rx::{RxBuffer, RxQueue};
use kernel::virtio::tx::TxQueue;

/// A received frame, in the buffer that the device filled.
#[derive(Debug)]
pub struct Frame(RxBuffer);

impl AsRef<[u8]> for Frame {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        self.0.as_ref().get(HEADER_BYTES..).unwrap_or_default()
    }
}

/// One receive queue and one transmit queue, owned by one core.
pub struct QueuePair {
    info: NicInfo,
    rx: RxQueue,
    tx: TxQueue,
    /// The device may say that a checksum is good (GUEST_CSUM).
    trusts_rx_checksum: bool,
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
        trusts_rx_checksum: bool,
        interrupt_acknowledge: Option<Doorbell>,
    ) -> Self {
        QueuePair {
            info,
            rx,
            tx,
            trusts_rx_checksum,
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
}

impl Nic for QueuePair {
    type Frame = Frame;

    fn info(&self) -> NicInfo {
        self.info
    }

    #[inline]
    fn receive(&mut self) -> Option<(Frame, RxMeta)> {
        let buffer = self.rx.receive()?;
        let bytes: &[u8] = buffer.as_ref();
        let meta = match bytes.first() {
            Some(&flags) if self.trusts_rx_checksum => header::read(flags),
            _ => RxMeta::default(),
        };
        self.counters.rx_frames += 1;
        self.counters.rx_bytes += (bytes.len() - HEADER_BYTES) as u64;
        Some((Frame(buffer), meta))
    }

    #[inline]
    fn recycle(&mut self, frame: Frame) {
        self.rx.recycle(frame.0);
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
            tx_bad_completions: self.tx.bad_completions(),
            ..self.counters
        }
    }
}
