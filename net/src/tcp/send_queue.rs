//! What a connection has to send: pieces of memory that the layer above has lent, in order, from
//! the first byte that is not acknowledged on. Nothing is copied before it goes into a frame.
//!
//! Upstream: the layer above. Downstream: frames, each byte at least once. Invariant: a piece is
//! dropped, and so given back, when its last byte is acknowledged, and not before.

use crate::limits::SEND_PIECES;
use heapless::Deque;

/// Memory that a connection may read until it drops it.
pub trait Lent {
    /// Returns the bytes to be sent, the same ones at every call.
    fn bytes(&self) -> &[u8];
}

impl Lent for alloc::vec::Vec<u8> {
    fn bytes(&self) -> &[u8] {
        self
    }
}

impl Lent for alloc::boxed::Box<[u8]> {
    fn bytes(&self) -> &[u8] {
        self
    }
}

impl Lent for &'static [u8] {
    fn bytes(&self) -> &[u8] {
        self
    }
}

/// A bounded queue of lent pieces, read as one run of bytes.
pub(crate) struct SendQueue<P> {
    pieces: Deque<P, SEND_PIECES>,
    /// Bytes of the first piece that are acknowledged.
    done: usize,
    /// Bytes in the queue.
    len: usize,
}

impl<P: Lent> SendQueue<P> {
    pub(crate) const fn new() -> Self {
        SendQueue {
            pieces: Deque::new(),
            done: 0,
            len: 0,
        }
    }

    /// Returns the bytes that are not acknowledged, sent or not.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Returns whether there is room for another piece.
    #[inline]
    pub(crate) fn has_room(&self) -> bool {
        !self.pieces.is_full()
    }

    /// Appends a piece; an empty one is dropped at once.
    ///
    /// # Errors
    /// Gives the piece back when there is no room.
    #[inline]
    pub(crate) fn push(&mut self, piece: P) -> Result<(), P> {
        let bytes = piece.bytes().len();
        if bytes > 0 {
            self.pieces.push_back(piece)?;
            self.len += bytes;
        }
        Ok(())
    }

    /// Removes the first `count` bytes (at most all), and returns whether a piece went with them.
    #[inline]
    pub(crate) fn acknowledge(&mut self, count: usize) -> bool {
        let count = count.min(self.len);
        self.len -= count;
        self.done += count;
        let mut is_freed = false;
        while let Some(first) = self.pieces.front() {
            let bytes = first.bytes().len();
            if self.done < bytes {
                break;
            }
            self.done -= bytes;
            self.pieces.pop_front();
            is_freed = true;
        }
        is_freed
    }

    /// Drops everything.
    pub(crate) fn clear(&mut self) {
        self.pieces.clear();
        self.done = 0;
        self.len = 0;
    }

    /// Copies the bytes from `offset` on into `out`, as many as it has room for; they must be in
    /// the queue.
    #[inline]
    pub(crate) fn copy(&self, offset: usize, mut out: &mut [u8]) {
        let mut skip = self.done + offset;
        for piece in &self.pieces {
            let bytes = piece.bytes();
            let Some(rest) = bytes.get(skip..) else {
                skip -= bytes.len();
                continue;
            };
            skip = 0;
            let count = rest.len().min(out.len());
            let (now, later) = out.split_at_mut(count);
            now.copy_from_slice(&rest[..count]);
            out = later;
            if out.is_empty() {
                return;
            }
        }
        debug_assert!(out.is_empty(), "more was asked for than is queued");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::rc::Rc;
    use std::vec;
    use std::vec::Vec;

    impl Lent for Rc<Vec<u8>> {
        fn bytes(&self) -> &[u8] {
            self
        }
    }

    #[test]
    fn any_part_reads_as_one_run_of_bytes() {
        let parts: [&'static [u8]; 5] = [b"head", b"", b"date", b"x", b"and a body"];
        let all: Vec<u8> = parts.concat();
        for acknowledged in 0..=all.len() {
            let mut queue = SendQueue::new();
            parts.into_iter().for_each(|part| queue.push(part).unwrap());
            assert_eq!(queue.len(), all.len());
            queue.acknowledge(acknowledged);
            let rest = &all[acknowledged..];
            assert_eq!(queue.len(), rest.len());
            for offset in 0..=rest.len() {
                for end in offset..=rest.len() {
                    let mut out = vec![0; end - offset];
                    queue.copy(offset, &mut out);
                    assert_eq!(out, &rest[offset..end]);
                }
            }
        }
    }

    #[test]
    fn a_piece_is_given_back_with_its_last_byte_and_not_before() {
        let piece = Rc::new(vec![1, 2, 3]);
        let mut queue = SendQueue::new();
        queue.push(piece.clone()).unwrap();
        queue.push(piece.clone()).unwrap();
        assert!(!queue.acknowledge(2));
        assert_eq!(Rc::strong_count(&piece), 3);
        assert!(queue.acknowledge(1));
        assert_eq!(Rc::strong_count(&piece), 2);
        assert!(queue.acknowledge(100), "at most all");
        assert_eq!((Rc::strong_count(&piece), queue.len()), (1, 0));
    }

    #[test]
    fn a_full_queue_gives_the_piece_back() {
        let mut queue = SendQueue::new();
        for _ in 0..SEND_PIECES {
            assert!(queue.has_room());
            queue.push(vec![1]).unwrap();
        }
        assert_eq!(queue.push(vec![2]), Err(vec![2]));
        assert!(!queue.has_room());
        queue.clear();
        assert!(queue.has_room() && queue.len() == 0);
    }
}
