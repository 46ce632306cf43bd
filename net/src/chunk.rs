//! Receive memory: chunks, which move as owned boxes from the stack's pool into a connection's
//! receive queue, out to the layer above, and back.
//!
//! Upstream: received segments are copied in. Downstream: the layer above reads them in place.
//! Invariants: a chunk is in one place at a time; none is made after start-up; a connection with
//! nothing unread holds none, so that idle connections cost no buffer.

use crate::limits::out_of_order_chunks;
use crate::tcp::Seq;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cell::Cell;
use core::fmt;
use kernel::uncleared;

/// A piece of memory, of which a part in the middle is filled. Filled from the front.
pub struct Chunk {
    memory: &'static mut [u8],
    start: usize,
    end: usize,
    /// Sequence number of the first filled byte, while the chunk waits out of order.
    pub(crate) sequence: Seq,
    /// The next chunk of the list that this one hangs in.
    pub(crate) next: Option<Box<Chunk>>,
}

/// A list of chunks through the chunks themselves, shared on one core without atomics. The last one
/// in is the first one out: it is in the cache.
#[derive(Default)]
pub struct ChunkList(Cell<Option<Box<Chunk>>>);

impl ChunkList {
    /// Puts a chunk in.
    #[inline]
    pub fn put(&self, mut chunk: Box<Chunk>) {
        chunk.next = self.0.take();
        self.0.set(Some(chunk));
    }

    /// Takes a chunk out.
    #[inline]
    pub fn take(&self) -> Option<Box<Chunk>> {
        let mut chunk = self.0.take()?;
        self.0.set(chunk.next.take());
        Some(chunk)
    }

    /// Takes all chunks out: the first, with the others hanging on it.
    #[inline]
    pub fn take_all(&self) -> Option<Box<Chunk>> {
        self.0.take()
    }

    /// Counts the chunks, one by one.
    pub fn count(&self) -> usize {
        let first = self.0.take();
        let mut count = 0;
        let mut next = first.as_ref();
        while let Some(chunk) = next {
            count += 1;
            next = chunk.next.as_ref();
        }
        self.0.set(first);
        count
    }
}

impl Drop for ChunkList {
    /// One by one: a long list would take a long stack.
    fn drop(&mut self) {
        while self.take().is_some() {}
    }
}

impl Chunk {
    /// Makes an empty chunk over memory that is its own for ever.
    pub fn new(memory: &'static mut [u8]) -> Box<Self> {
        Box::new(Chunk {
            memory,
            start: 0,
            end: 0,
            sequence: Seq(0),
            next: None,
        })
    }

    /// Makes `count` empty chunks of `bytes` bytes each, whose memory is not touched before it is
    /// used.
    pub fn several(count: usize, bytes: usize) -> impl Iterator<Item = Box<Self>> {
        let bytes = bytes.max(1);
        uncleared(count * bytes)
            .chunks_exact_mut(bytes)
            .map(Chunk::new)
    }

    /// Takes off the chunks that hang on it, the first with the others.
    #[inline]
    pub fn take_rest(&mut self) -> Option<Box<Chunk>> {
        self.next.take()
    }

    /// Returns the filled bytes.
    #[inline]
    pub fn filled(&self) -> &[u8] {
        &self.memory[self.start..self.end]
    }

    /// Returns how many bytes are filled.
    #[inline]
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Returns whether nothing is filled.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.end == self.start
    }

    /// Returns how many bytes fit in all.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.memory.len()
    }

    /// Returns how many more bytes fit.
    #[inline]
    pub fn spare(&self) -> usize {
        self.capacity() - self.len()
    }

    /// Removes the first `count` filled bytes, at most all. Costs nothing: the rest is moved to
    /// the front when its room is needed.
    #[inline]
    pub fn consume(&mut self, count: usize) {
        self.start += count.min(self.end - self.start);
        if self.start == self.end {
            self.clear();
        }
    }

    /// Removes everything.
    #[inline]
    pub fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
    }

    /// Appends as much of `data` as fits and returns how much.
    #[inline]
    pub fn append(&mut self, data: &[u8]) -> usize {
        let room = self.room();
        let count = data.len().min(room.len());
        room[..count].copy_from_slice(&data[..count]);
        self.advance(count);
        count
    }

    /// Moves the filled bytes to the front and lends the room behind them.
    #[inline]
    pub fn room(&mut self) -> &mut [u8] {
        if self.start > 0 {
            self.memory.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        &mut self.memory[self.end..]
    }

    /// Counts the first `count` bytes of [`room`](Self::room), at most all, as filled.
    #[inline]
    pub fn advance(&mut self, count: usize) {
        self.end = self.end.saturating_add(count).min(self.memory.len());
    }
}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chunk({} of {} bytes)", self.len(), self.capacity())
    }
}

/// The free chunks of one stack. The last one back is the first one out: it is in the cache.
pub(crate) struct ChunkPool {
    #[expect(clippy::vec_box, reason = "a chunk is moved often, as one pointer")]
    free: Vec<Box<Chunk>>,
    count: usize,
    /// Chunks that one connection may hold beyond a gap.
    pub(crate) beyond_gap_max: u16,
    /// Bytes that found no chunk, since the start.
    pub(crate) refused: u64,
}

impl ChunkPool {
    /// Makes `count` chunks, at least one, of `bytes` bytes each, for connections with windows of
    /// `window_bytes`.
    pub(crate) fn new(count: usize, bytes: usize, window_bytes: u32) -> Self {
        let count = count.max(1);
        let mut free = Vec::with_capacity(count);
        free.extend(Chunk::several(count, bytes));
        ChunkPool {
            free,
            count,
            beyond_gap_max: out_of_order_chunks(window_bytes as usize, bytes),
            refused: 0,
        }
    }

    /// Takes an empty chunk, `None` when all are out.
    #[inline]
    pub(crate) fn take(&mut self) -> Option<Box<Chunk>> {
        self.free.pop()
    }

    /// Takes a chunk back, and what hangs on it. One that is not this pool's is freed when there
    /// are as many as were made.
    #[inline]
    pub(crate) fn give_back(&mut self, mut chunk: Box<Chunk>) {
        loop {
            let next = chunk.take_rest();
            chunk.clear();
            if self.free.len() < self.count {
                self.free.push(chunk);
            }
            match next {
                Some(next) => chunk = next,
                None => return,
            }
        }
    }

    /// Whether so few are left that none is to be spent on what may never be read: a quarter.
    #[inline]
    pub(crate) fn is_low(&self) -> bool {
        self.free.len() * 4 < self.count
    }

    /// Returns how many are free.
    pub(crate) fn free(&self) -> usize {
        self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consumed_room_is_used_again() {
        let mut pool = ChunkPool::new(1, 8, 1024);
        let mut chunk = pool.take().unwrap();
        assert_eq!(chunk.append(b"abcdefghij"), 8);
        chunk.consume(5);
        assert_eq!((chunk.filled(), chunk.spare()), (&b"fgh"[..], 5));
        assert_eq!(chunk.append(b"123456"), 5);
        assert_eq!(chunk.filled(), b"fgh12345");
        chunk.consume(100);
        assert_eq!((chunk.len(), chunk.spare()), (0, 8));
    }

    #[test]
    fn chunks_return_empty_with_all_that_hangs_on_them() {
        let mut pool = ChunkPool::new(4, 8, 1024);
        let mut first = pool.take().unwrap();
        let mut second = pool.take().unwrap();
        first.append(b"x");
        second.append(b"y");
        first.next = Some(second);
        assert!(!pool.is_low() && pool.free() == 2);
        pool.give_back(first);
        assert_eq!(pool.free(), 4);
        assert!((0..4).all(|_| pool.take().is_some_and(|chunk| chunk.is_empty())));
        assert!(pool.take().is_none() && pool.is_low());
    }

    #[test]
    fn any_sequence_of_appends_and_consumes_reads_like_a_queue() {
        let mut pool = ChunkPool::new(1, 16, 1024);
        let mut chunk = pool.take().unwrap();
        let mut model: Vec<u8> = Vec::new();
        let mut random = 1u64;
        for step in 0..10_000u64 {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(step);
            let count = (random >> 40) as usize % 12;
            if random >> 63 == 0 {
                let data: Vec<u8> = (0..count).map(|i| (step as usize + i) as u8).collect();
                let taken = chunk.append(&data);
                assert_eq!(taken, count.min(16 - model.len()));
                model.extend_from_slice(&data[..taken]);
            } else {
                chunk.consume(count);
                model.drain(..count.min(model.len()));
            }
            assert_eq!(chunk.filled(), &model[..]);
            assert_eq!(chunk.spare(), 16 - model.len());
        }
    }
}
