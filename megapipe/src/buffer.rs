//! Buffers: the channel's pool of read memory, lent to the application by value.
//!
//! A read takes a [`Buffer`] when there is something to put into it; the application gives it back
//! by dropping it, or by sending it as a piece of a write. The pool is a free list behind an `Rc`:
//! one core, no atomics. All memory is made with the channel. Invariant: buffers in the free list
//! and buffers outside add up to the number the pool was made with.

use alloc::boxed::Box;
use alloc::rc::{Rc, Weak};
use alloc::vec::Vec;
use core::cell::RefCell;
use core::fmt;

/// The memory of one buffer; `start..end` is filled.
struct Memory {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
    pool: Weak<Pool>,
}

/// Bytes of the channel's pool; returns there when dropped. Filled from the front by reads.
pub struct Buffer {
    /// `None` only inside `drop`.
    memory: Option<Box<Memory>>,
}

impl Buffer {
    /// Returns the bytes filled so far.
    pub fn filled(&self) -> &[u8] {
        match &self.memory {
            Some(memory) => &memory.bytes[memory.start..memory.end],
            None => &[],
        }
    }

    /// Returns how many more bytes fit.
    pub fn spare(&self) -> usize {
        self.capacity() - self.filled().len()
    }

    /// Returns how many bytes fit in all.
    pub fn capacity(&self) -> usize {
        self.memory.as_ref().map_or(0, |memory| memory.bytes.len())
    }

    /// Removes the first `count` filled bytes (at most all). Costs nothing: the rest is moved to
    /// the front when its room is needed.
    pub fn consume(&mut self, count: usize) {
        let Some(memory) = &mut self.memory else {
            return;
        };
        memory.start += count.min(memory.end - memory.start);
        if memory.start == memory.end {
            memory.start = 0;
            memory.end = 0;
        }
    }

    /// Appends as much of `data` as fits and returns how much.
    pub fn append(&mut self, data: &[u8]) -> usize {
        let room = self.room();
        let count = data.len().min(room.len());
        room[..count].copy_from_slice(&data[..count]);
        self.advance(count);
        count
    }

    /// Moves the filled bytes to the front and lends the room behind them.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        let Some(memory) = &mut self.memory else {
            return &mut [];
        };
        if memory.start > 0 {
            memory.bytes.copy_within(memory.start..memory.end, 0);
            memory.end -= memory.start;
            memory.start = 0;
        }
        &mut memory.bytes[memory.end..]
    }

    /// Counts the first `count` bytes of [`room`](Self::room) (at most all) as filled.
    pub(crate) fn advance(&mut self, count: usize) {
        if let Some(memory) = &mut self.memory {
            memory.end = memory.end.saturating_add(count).min(memory.bytes.len());
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let Some(mut memory) = self.memory.take() else {
            return;
        };
        // A pool that is gone has no list to return to: the memory is simply freed.
        if let Some(pool) = memory.pool.upgrade() {
            memory.start = 0;
            memory.end = 0;
            pool.free.borrow_mut().push(memory);
        }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Buffer({} of {} bytes)",
            self.filled().len(),
            self.capacity()
        )
    }
}

/// The free buffers of one channel. The last one back is the first one out: it is in the cache.
pub(crate) struct Pool {
    #[expect(clippy::vec_box, reason = "a buffer is moved often, as one pointer")]
    free: RefCell<Vec<Box<Memory>>>,
}

impl Pool {
    /// Makes `count` buffers of `bytes` bytes each.
    pub(crate) fn new(count: usize, bytes: usize) -> Rc<Self> {
        let pool = Rc::new(Pool {
            free: RefCell::new(Vec::with_capacity(count)),
        });
        pool.free.borrow_mut().extend((0..count).map(|_| {
            Box::new(Memory {
                bytes: alloc::vec![0; bytes].into_boxed_slice(),
                start: 0,
                end: 0,
                pool: Rc::downgrade(&pool),
            })
        }));
        pool
    }

    /// Takes an empty buffer, `None` when all are out.
    #[inline]
    pub(crate) fn take(&self) -> Option<Buffer> {
        let memory = self.free.borrow_mut().pop()?;
        Some(Buffer {
            memory: Some(memory),
        })
    }

    /// Takes an empty buffer back, at less cost than dropping it.
    #[inline]
    pub(crate) fn put_back(&self, mut buffer: Buffer) {
        if let Some(memory) = buffer.memory.take() {
            self.free.borrow_mut().push(memory);
        }
    }

    /// Returns how many buffers are free.
    pub(crate) fn free(&self) -> usize {
        self.free.borrow().len()
    }
}

#[cfg(test)]
mod tests {
    use super::Pool;
    use std::vec::Vec;

    #[test]
    fn buffers_return_empty_when_dropped() {
        let pool = Pool::new(2, 8);
        let mut first = pool.take().unwrap();
        assert_eq!(first.append(b"hello"), 5);
        let second = pool.take().unwrap();
        assert!(pool.take().is_none());
        drop(first);
        assert_eq!(pool.free(), 1);
        assert_eq!(pool.take().unwrap().filled(), b"");
        drop(second);
        assert_eq!(pool.free(), 2);
    }

    #[test]
    fn consumed_room_is_used_again() {
        let pool = Pool::new(1, 8);
        let mut buffer = pool.take().unwrap();
        assert_eq!(buffer.append(b"abcdefghij"), 8);
        buffer.consume(5);
        assert_eq!((buffer.filled(), buffer.spare()), (&b"fgh"[..], 5));
        assert_eq!(buffer.append(b"123456"), 5);
        assert_eq!(buffer.filled(), b"fgh12345");
        buffer.consume(100);
        assert_eq!((buffer.filled().len(), buffer.spare()), (0, 8));
    }

    #[test]
    fn a_buffer_outlives_its_pool() {
        let pool = Pool::new(1, 4);
        let mut buffer = pool.take().unwrap();
        drop(pool);
        assert_eq!(buffer.append(b"abc"), 3);
        assert_eq!(buffer.filled(), b"abc");
    }

    #[test]
    fn any_sequence_of_appends_and_consumes_reads_like_a_queue() {
        let pool = Pool::new(1, 16);
        let mut buffer = pool.take().unwrap();
        let mut model: Vec<u8> = Vec::new();
        let mut random = 1u64;
        for step in 0..10_000u64 {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(step);
            let count = (random >> 40) as usize % 12;
            if random >> 63 == 0 {
                let data: Vec<u8> = (0..count).map(|i| (step as usize + i) as u8).collect();
                let taken = buffer.append(&data);
                assert_eq!(taken, count.min(16 - model.len()));
                model.extend_from_slice(&data[..taken]);
            } else {
                buffer.consume(count);
                model.drain(..count.min(model.len()));
            }
            assert_eq!(buffer.filled(), &model[..]);
            assert_eq!(buffer.spare(), 16 - model.len());
        }
    }
}
