//! The transmit queue: a pool of buffers, each either free or with the device.
//!
//! Upstream: `net::virtio_net`. Downstream: the ring.
//! Invariant: a buffer is writable only through a [`TxSlot`], and only while it is free.

use super::device::QueueError;
use super::doorbell::Doorbell;
use super::limits::TX_BUFFER_BYTES;
use super::memory::{SharedMemory, device_address};
use super::ring::{Completion, Ring};
use alloc::vec::Vec;
use core::ptr::NonNull;

/// The transmitting side of a queue pair.
pub struct TxQueue {
    ring: Ring,
    pool: NonNull<u8>,
    /// Buffers that the device does not have; never more than the ring's size.
    free: Vec<u16>,
}

// SAFETY: the pool is never freed, and parts of it are lent out through `&mut TxQueue` only.
unsafe impl Send for TxQueue {}

/// A free buffer, lent until it is submitted; dropped, it stays free.
pub struct TxSlot<'a> {
    queue: &'a mut TxQueue,
    id: u16,
    len_bytes: u32,
}

impl TxQueue {
    /// Makes a queue of `size` free buffers of [`TX_BUFFER_BYTES`].
    pub(super) fn new(
        size: u16,
        has_event_index: bool,
        doorbell: Doorbell,
    ) -> Result<Self, QueueError> {
        let mut ring = Ring::new(size, has_event_index, doorbell).ok_or(QueueError::NoMemory)?;
        let bytes = usize::from(size) * TX_BUFFER_BYTES;
        let pool = SharedMemory::new(bytes).ok_or(QueueError::NoMemory)?;
        for id in 0..size {
            let start = pool.at(usize::from(id) * TX_BUFFER_BYTES);
            ring.describe(id, device_address(start), 0, 0, 0);
        }
        Ok(TxQueue {
            ring,
            pool: pool.start(),
            free: (0..size).rev().collect(),
        })
    }

    pub(super) fn ring(&self) -> &Ring {
        &self.ring
    }

    /// Returns whether a buffer is free, taking back what the device has finished with only when
    /// none is.
    #[inline]
    pub fn has_room(&mut self) -> bool {
        !self.free.is_empty() || self.reclaim()
    }

    /// Takes back what the device has finished with; returns whether a buffer is free.
    fn reclaim(&mut self) -> bool {
        loop {
            match self.ring.take() {
                Completion::Nothing => return !self.free.is_empty(),
                Completion::Lie => {}
                Completion::Buffer { id, .. } => self.free.push(id),
            }
        }
    }

    /// Lends a free buffer to be filled with `len_bytes`; `None` when none is free or `len_bytes`
    /// is more than [`TX_BUFFER_BYTES`].
    #[inline]
    pub fn reserve(&mut self, len_bytes: usize) -> Option<TxSlot<'_>> {
        if len_bytes > TX_BUFFER_BYTES || !self.has_room() {
            return None;
        }
        let id = *self.free.last()?;
        Some(TxSlot {
            queue: self,
            id,
            len_bytes: len_bytes as u32,
        })
    }

    /// Tells the device of the buffers submitted, with at most one doorbell.
    #[inline]
    pub fn publish(&mut self) {
        self.ring.publish();
    }

    /// Asks for an interrupt at the next completion if no buffer is free; true when one has come
    /// free already, and then none was asked for.
    pub fn arm_if_full(&mut self) -> bool {
        self.free.is_empty() && (self.reclaim() || self.ring.arm())
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

impl TxSlot<'_> {
    /// Returns the bytes that will be sent; they hold what was sent last until they are written.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let offset = usize::from(self.id) * TX_BUFFER_BYTES;
        // SAFETY: (1) ids on the free list are below the ring's size, and the pool holds as many
        // buffers, zeroed at first; `reserve` checked `len_bytes`; (2) the device does not have a
        // free buffer, and the slot borrows the queue, so this is the only way to it.
        unsafe {
            let start = self.queue.pool.add(offset).as_ptr();
            core::slice::from_raw_parts_mut(start, self.len_bytes as usize)
        }
    }

    /// Queues the buffer; [`TxQueue::publish`] tells the device.
    #[inline]
    pub fn submit(self) {
        self.queue.free.pop();
        self.queue.ring.set_len(self.id, self.len_bytes);
        self.queue.ring.give(self.id);
    }
}
