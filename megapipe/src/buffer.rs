//! Buffers: memory that a read has filled, lent to the application by value.
//!
//! A read hands out a chunk of the stack's own receive memory, without a copy; the channel has a
//! few larger buffers beside it, for what does not fit one chunk. The application gives a
//! [`Buffer`] back by dropping it, or by sending it as a piece of a write. Free lists are behind
//! an `Rc`: one core, no atomics. Invariant: a buffer returns to where it came from, once.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::fmt;
use net::chunk::Chunk;

/// Bytes in memory that returns to its owner when the buffer is dropped. Filled from the front.
pub struct Buffer {
    /// `None` only inside `drop`.
    chunk: Option<Box<Chunk>>,
    home: Rc<FreeList>,
}

/// Buffers of one owner that are free. The last one back is the first one out: it is in the cache.
type FreeList = RefCell<Vec<Box<Chunk>>>;

impl Buffer {
    /// Returns the bytes filled so far.
    #[inline]
    pub fn filled(&self) -> &[u8] {
        self.chunk.as_ref().map_or(&[], |chunk| chunk.filled())
    }

    /// Returns how many more bytes fit.
    pub fn spare(&self) -> usize {
        self.chunk.as_ref().map_or(0, |chunk| chunk.spare())
    }

    /// Returns how many bytes fit in all.
    pub fn capacity(&self) -> usize {
        self.chunk.as_ref().map_or(0, |chunk| chunk.capacity())
    }

    /// Removes the first `count` filled bytes (at most all). Costs nothing: the rest is moved to
    /// the front when its room is needed.
    #[inline]
    pub fn consume(&mut self, count: usize) {
        if let Some(chunk) = &mut self.chunk {
            chunk.consume(count);
        }
    }

    /// Appends as much of `data` as fits and returns how much.
    pub fn append(&mut self, data: &[u8]) -> usize {
        self.chunk.as_mut().map_or(0, |chunk| chunk.append(data))
    }

    /// Moves the filled bytes to the front and lends the room behind them.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        match &mut self.chunk {
            Some(chunk) => chunk.room(),
            None => &mut [],
        }
    }

    /// Counts the first `count` bytes of [`room`](Self::room) (at most all) as filled.
    pub(crate) fn advance(&mut self, count: usize) {
        if let Some(chunk) = &mut self.chunk {
            chunk.advance(count);
        }
    }
}

impl Drop for Buffer {
    #[inline]
    fn drop(&mut self) {
        if let Some(chunk) = self.chunk.take() {
            self.home.borrow_mut().push(chunk);
        }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (filled, capacity) = (self.filled().len(), self.capacity());
        write!(f, "Buffer({filled} of {capacity} bytes)")
    }
}

/// Where the buffers of one channel return to.
pub(crate) struct Home {
    /// The channel's own buffers that are free.
    own: Rc<FreeList>,
    /// The stack's chunks, on their way back to it.
    provided: Rc<FreeList>,
}

impl Home {
    /// Makes `count` buffers of `bytes` bytes each, and room for `provided` chunks of the stack.
    pub(crate) fn new(count: usize, bytes: usize, provided: usize) -> Self {
        let mut own = Vec::with_capacity(count);
        own.extend(Chunk::several(count, bytes));
        Home {
            own: Rc::new(RefCell::new(own)),
            provided: Rc::new(RefCell::new(Vec::with_capacity(provided))),
        }
    }

    /// Takes an empty buffer of the channel's own, `None` when all are out.
    pub(crate) fn take(&self) -> Option<Buffer> {
        let mut chunk = self.own.borrow_mut().pop()?;
        chunk.clear();
        Some(Buffer {
            chunk: Some(chunk),
            home: Rc::clone(&self.own),
        })
    }

    /// Makes a buffer of a chunk of the stack.
    #[inline]
    pub(crate) fn provide(&self, chunk: Box<Chunk>) -> Buffer {
        Buffer {
            chunk: Some(chunk),
            home: Rc::clone(&self.provided),
        }
    }

    /// Takes a chunk that is to go back to the stack.
    #[inline]
    pub(crate) fn returned(&self) -> Option<Box<Chunk>> {
        self.provided.borrow_mut().pop()
    }

    /// Returns how many of the channel's own buffers are free.
    pub(crate) fn free(&self) -> usize {
        self.own.borrow().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_return_empty_to_where_they_came_from() {
        let home = Home::new(2, 8, 1);
        let mut first = home.take().unwrap();
        assert_eq!(first.append(b"hello"), 5);
        let second = home.take().unwrap();
        assert!(home.take().is_none());
        drop(first);
        assert_eq!(home.free(), 1);
        assert_eq!(home.take().unwrap().filled(), b"");
        drop(second);
        assert_eq!(home.free(), 2);
        let chunk = Chunk::several(1, 4).next().unwrap();
        drop(home.provide(chunk));
        assert_eq!(home.free(), 2);
        assert!(home.returned().is_some() && home.returned().is_none());
    }

    #[test]
    fn a_buffer_outlives_its_channel() {
        let home = Home::new(1, 4, 0);
        let mut buffer = home.take().unwrap();
        drop(home);
        assert_eq!(buffer.append(b"abc"), 3);
        assert_eq!(buffer.filled(), b"abc");
    }
}
