//! The receive queue: a pool of buffers that are always either with the device, with the driver as
//! owned [`RxBuffer`]s, or on their way between.
//!
//! Upstream: the ring. Downstream: `net::virtio_net`.
//! Invariant: a buffer is readable only while an `RxBuffer` of it exists, and while one exists the
//! device was not given it.

use super::device::QueueError;
use super::doorbell::Doorbell;
use super::limits::RX_BUFFER_BYTES;
use super::memory::{SharedMemory, device_address};
use super::ring::{Completion, DESCRIPTOR_WRITE, Ring};
use core::ptr::NonNull;

/// A buffer that the device has filled: owned, not copied. Give it back with [`RxQueue::recycle`];
/// one that is dropped instead is lost to its queue.
#[derive(Debug)]
pub struct RxBuffer {
    start: NonNull<u8>,
    len_bytes: u16,
}

// SAFETY: an `RxBuffer` is the only way to its memory, which is never freed.
unsafe impl Send for RxBuffer {}

impl AsRef<[u8]> for RxBuffer {
    /// Returns what the device wrote: at least the queue's `min_bytes`, or 1 byte of a further part.
    #[inline]
    fn as_ref(&self) -> &[u8] {
        // SAFETY: (1) the memory is zeroed at first, lives for ever and is `RX_BUFFER_BYTES` long,
        // which `RxQueue::receive` checked `len_bytes` against; (2) the device was not given the
        // buffer while this value exists (the queue makes one per completion, and `recycle`
        // consumes it), so a device that keeps to the specification does not write.
        unsafe { core::slice::from_raw_parts(self.start.as_ptr(), usize::from(self.len_bytes)) }
    }
}

/// What a receive queue holds next, looked at as one more part of what came before.
#[derive(Debug)]
pub enum RxPart {
    /// Nothing yet.
    Nothing,
    /// A filled buffer, of 1 byte at least.
    Buffer(RxBuffer),
    /// A completion that cannot be true; it was counted and skipped.
    Lie,
}

/// The receiving side of a queue pair.
pub struct RxQueue {
    ring: Ring,
    pool: NonNull<u8>,
    min_bytes: u32,
}

// SAFETY: the pool is never freed, and parts of it are handed out as `RxBuffer`s only.
unsafe impl Send for RxQueue {}

impl RxQueue {
    /// Makes a queue of `size` buffers of [`RX_BUFFER_BYTES`], all given but not yet published.
    /// Completions of fewer than `min_bytes` are refused.
    pub(super) fn new(
        size: u16,
        min_bytes: u32,
        has_event_index: bool,
        doorbell: Doorbell,
    ) -> Result<Self, QueueError> {
        let mut ring = Ring::new(size, has_event_index, doorbell).ok_or(QueueError::NoMemory)?;
        let bytes = usize::from(size) * RX_BUFFER_BYTES;
        let pool = SharedMemory::new(bytes).ok_or(QueueError::NoMemory)?;
        for id in 0..size {
            let start = pool.at(usize::from(id) * RX_BUFFER_BYTES);
            let len = RX_BUFFER_BYTES as u32;
            ring.describe(id, device_address(start), len, DESCRIPTOR_WRITE, 0);
            ring.give(id);
        }
        Ok(RxQueue {
            ring,
            pool: pool.start(),
            min_bytes,
        })
    }

    pub(super) fn ring(&self) -> &Ring {
        &self.ring
    }

    /// Takes the next filled buffer; completions that cannot be true are counted and skipped.
    #[inline]
    pub fn receive(&mut self) -> Option<RxBuffer> {
        loop {
            match self.take(self.min_bytes) {
                RxPart::Nothing => return None,
                RxPart::Lie => {}
                RxPart::Buffer(buffer) => return Some(buffer),
            }
        }
    }

    /// Takes the next completion as a further buffer of a frame that began in another (VirtIO 1.2
    /// §5.1.6.4): with no header, and so of any length. Each completion is told of, the bad ones too,
    /// because the frame's are counted.
    pub fn receive_part(&mut self) -> RxPart {
        self.take(1)
    }

    #[inline(always)]
    fn take(&mut self, min_bytes: u32) -> RxPart {
        match self.ring.take() {
            Completion::Nothing => RxPart::Nothing,
            Completion::Lie => RxPart::Lie,
            Completion::Buffer { id, len_bytes } => {
                if len_bytes >= min_bytes && len_bytes <= RX_BUFFER_BYTES as u32 {
                    // SAFETY: `id` is below the ring's size, and the pool holds as many buffers.
                    let start = unsafe { self.pool.add(usize::from(id) * RX_BUFFER_BYTES) };
                    return RxPart::Buffer(RxBuffer {
                        start,
                        len_bytes: len_bytes as u16,
                    });
                }
                self.ring.count_bad_completion();
                self.ring.give(id);
                RxPart::Lie
            }
        }
    }

    /// Gives a buffer back to the device; [`publish`](Self::publish) tells it. A buffer of another
    /// queue is refused, and lost.
    #[inline]
    pub fn recycle(&mut self, buffer: RxBuffer) {
        let offset = buffer
            .start
            .addr()
            .get()
            .wrapping_sub(self.pool.addr().get());
        let id = offset / RX_BUFFER_BYTES;
        if id < usize::from(self.ring.size()) {
            self.ring.give(id as u16);
        }
    }

    /// Tells the device of the buffers given back, with at most one doorbell.
    #[inline]
    pub fn publish(&mut self) {
        self.ring.publish();
    }

    /// Rings the doorbell though the device may not have asked: it looks once more for what it could
    /// not bring.
    pub fn nudge(&mut self) {
        self.ring.nudge();
    }

    /// Asks for an interrupt at the next filled buffer; true when one waits already, and then none
    /// was asked for.
    pub fn arm(&mut self) -> bool {
        self.ring.arm()
    }

    /// Asks for no interrupts.
    pub fn disarm(&mut self) {
        self.ring.disarm();
    }

    /// Returns the doorbells rung so far.
    pub fn doorbells(&self) -> u64 {
        self.ring.doorbells()
    }

    /// Returns the completions refused so far because the device lied.
    pub fn bad_completions(&self) -> u64 {
        self.ring.bad_completions()
    }
}

const _: () = assert!(RX_BUFFER_BYTES <= u16::MAX as usize);
