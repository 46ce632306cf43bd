//! Buffers: memory that a read has filled, lent to the application by value.
//!
//! A read hands out a chunk of the stack's own receive memory, without a copy; the channel has a
//! few larger buffers beside it, for what does not fit one chunk. The application gives a
//! [`Buffer`] back by dropping it, or by sending it as a piece of a write. Invariant: a buffer returns to where it came from, once.

use alloc::boxed::Box;
use alloc::rc::Rc;
use core::fmt;
use net::chunk::{Chunk, ChunkList};

/// Bytes in memory that returns to its owner when the buffer is dropped. Filled from the front.
pub struct Buffer {
    /// `None` only inside `drop`.
    chunk: Option<Box<Chunk>>,
    home: Rc<ChunkList>,
}

impl AsRef<[u8]> for Buffer {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        self.filled()
    }
}

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
}

impl Drop for Buffer {
    #[inline]
    fn drop(&mut self) {
        if let Some(chunk) = self.chunk.take() {
            self.home.put(chunk);
        }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (filled, capacity) = (self.filled().len(), self.capacity());
        write!(f, "Buffer({filled} of {capacity} bytes)")
    }
}

/// Whose chunk it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The channel's.
    Channel,
    /// The stack's.
    Stack,
}

/// Where the buffers of one channel return to.
pub(crate) struct Buffers {
    /// The channel's own buffers that are free.
    own: Rc<ChunkList>,
    /// The stack's chunks, on their way back to it.
    provided: Rc<ChunkList>,
}

impl Buffers {
    /// Makes `count` buffers of `bytes` bytes each.
    pub(crate) fn new(count: usize, bytes: usize) -> Self {
        let own = Rc::new(ChunkList::default());
        Chunk::several(count, bytes).for_each(|chunk| own.put(chunk));
        Buffers {
            own,
            provided: Rc::default(),
        }
    }

    /// Takes an empty buffer of the channel's own, `None` when all are out.
    pub(crate) fn take(&self) -> Option<Buffer> {
        let mut chunk = self.own.take()?;
        chunk.clear();
        Some(self.lend(chunk, Owner::Channel))
    }

    /// Makes a buffer of a chunk.
    #[inline]
    pub(crate) fn lend(&self, chunk: Box<Chunk>, owner: Owner) -> Buffer {
        let home = match owner {
            Owner::Channel => &self.own,
            Owner::Stack => &self.provided,
        };
        Buffer {
            chunk: Some(chunk),
            home: Rc::clone(home),
        }
    }

    /// Makes a chunk of a buffer again.
    ///
    /// # Errors
    /// Gives the buffer back when it is another channel's.
    pub(crate) fn unlend(&self, mut buffer: Buffer) -> Result<(Box<Chunk>, Owner), Buffer> {
        let owner = if Rc::ptr_eq(&buffer.home, &self.own) {
            Owner::Channel
        } else if Rc::ptr_eq(&buffer.home, &self.provided) {
            Owner::Stack
        } else {
            return Err(buffer);
        };
        let chunk = buffer.chunk.take();
        chunk.map(|chunk| (chunk, owner)).ok_or(buffer)
    }

    /// Takes the chunks that are to go back to the stack: the first, with the others hanging on it.
    #[inline]
    pub(crate) fn returned(&self) -> Option<Box<Chunk>> {
        self.provided.take_all()
    }

    /// Returns how many of the channel's own buffers are free.
    pub(crate) fn free(&self) -> usize {
        self.own.count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_return_empty_to_where_they_came_from() {
        let home = Buffers::new(2, 8);
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
        drop(home.lend(chunk, Owner::Stack));
        assert_eq!(home.free(), 2);
        assert!(home.returned().is_some() && home.returned().is_none());
    }

    #[test]
    fn a_buffer_outlives_its_channel() {
        let home = Buffers::new(1, 4);
        let mut buffer = home.take().unwrap();
        drop(home);
        assert_eq!(buffer.append(b"abc"), 3);
        assert_eq!(buffer.filled(), b"abc");
    }
}
