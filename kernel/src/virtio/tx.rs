//! The transmit queue: a pool of buffers, each either free or with the device. Behind a buffer a frame
//! may go on in memory that lasts for ever, which is sent from where it is: then the buffer's
//! descriptor leads to a table of its own (VirtIO 1.2 §2.7.5.3).
//!
//! Upstream: `net::virtio_net`. Downstream: the ring.
//! Invariants: a buffer and its table are writable only through a [`TxSlot`], and only while they are
//! free; nothing else that the device is shown is ever written or freed.

use super::device::QueueError;
use super::doorbell::Doorbell;
use super::limits::{TX_BUFFER_BYTES, TX_TAIL_PIECES};
use super::memory::{SharedMemory, device_address};
use super::ring::{Completion, DESCRIPTOR_INDIRECT, DESCRIPTOR_NEXT, Ring};
use super::ring_layout::Descriptor;
use alloc::vec::Vec;
use core::ptr::NonNull;

/// Descriptors of the table of one buffer: its own, and the pieces behind it.
const TABLE_ENTRIES: usize = 1 + TX_TAIL_PIECES;

/// The transmitting side of a queue pair.
pub struct TxQueue {
    ring: Ring,
    pool: NonNull<u8>,
    /// A table for each buffer, when the device takes such.
    tables: Option<NonNull<[Descriptor; TABLE_ENTRIES]>>,
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
        has_indirect: bool,
        doorbell: Doorbell,
    ) -> Result<Self, QueueError> {
        let ring = Ring::new(size, has_event_index, doorbell).ok_or(QueueError::NoMemory)?;
        let bytes = usize::from(size) * TX_BUFFER_BYTES;
        let pool = SharedMemory::new(bytes).ok_or(QueueError::NoMemory)?;
        let tables = match has_indirect {
            true => {
                let bytes = usize::from(size) * size_of::<[Descriptor; TABLE_ENTRIES]>();
                let memory = SharedMemory::new(bytes).ok_or(QueueError::NoMemory)?;
                Some(memory.start().cast())
            }
            false => None,
        };
        Ok(TxQueue {
            ring,
            pool: pool.start(),
            tables,
            free: (0..size).rev().collect(),
        })
    }

    pub(super) fn ring(&self) -> &Ring {
        &self.ring
    }

    /// Returns how many pieces of lasting memory may follow a buffer: 0 when the device takes no
    /// tables.
    pub fn tail_pieces(&self) -> usize {
        match self.tables {
            Some(_) => TX_TAIL_PIECES,
            None => 0,
        }
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
        let (address, len_bytes) = (self.address(), self.len_bytes);
        self.queue.ring.describe(self.id, address, len_bytes, 0, 0);
        self.give();
    }

    /// Queues the buffer with `tail` behind it in the same frame: at most
    /// [`tail_pieces`](TxQueue::tail_pieces) pieces, none of them empty; more are left out.
    #[inline]
    pub fn submit_with_tail(self, tail: &[&'static [u8]]) {
        let tail = &tail[..tail.len().min(self.queue.tail_pieces())];
        let Some(tables) = self.queue.tables.filter(|_| !tail.is_empty()) else {
            return self.submit();
        };
        // SAFETY: there is a table for each id, ids are below the ring's size, and the memory
        // lives for ever.
        let table = unsafe { tables.add(usize::from(self.id)) };
        let write = |at: usize, address, len_bytes| {
            let is_last = at == tail.len();
            let descriptor = Descriptor {
                address,
                len_bytes,
                flags: if is_last { 0 } else { DESCRIPTOR_NEXT },
                next: if is_last { 0 } else { at as u16 + 1 },
            };
            // SAFETY: (1) `at` is at most `TX_TAIL_PIECES`, so inside of the table; (2) the device
            // does not have the buffer, and so does not look at its table.
            unsafe {
                table
                    .cast::<Descriptor>()
                    .add(at)
                    .write_volatile(descriptor)
            };
        };
        write(0, self.address(), self.len_bytes);
        for (number, piece) in tail.iter().enumerate() {
            // Lengths are below the 64 KiB of a frame, or the device refuses it.
            let address = device_address(NonNull::from(*piece).cast());
            write(number + 1, address, piece.len() as u32);
        }
        let table_bytes = (1 + tail.len()) * size_of::<Descriptor>();
        let table = device_address(table.cast());
        self.queue
            .ring
            .describe(self.id, table, table_bytes as u32, DESCRIPTOR_INDIRECT, 0);
        self.give();
    }

    #[inline]
    fn address(&self) -> u64 {
        // SAFETY: as in `bytes_mut`.
        let start = unsafe { self.queue.pool.add(usize::from(self.id) * TX_BUFFER_BYTES) };
        device_address(start)
    }

    #[inline]
    fn give(self) {
        self.queue.free.pop();
        self.queue.ring.give(self.id);
    }
}
