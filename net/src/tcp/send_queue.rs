//! What a connection has to send: pieces of memory that the layer above has lent, in order, from
//! the first byte that is not acknowledged on. Nothing is copied before it goes into a frame.
//!
//! Upstream: the layer above. Downstream: frames, each byte at least once. Invariant: a piece is
//! dropped, and so given back, when its last byte is acknowledged, and not before.

use crate::limits::{GATHER_COPY_BYTES, GATHER_MIN_BYTES, SEND_PIECES, TAIL_PIECES};
use heapless::{Deque, Vec};

/// Memory that a connection may read until it drops it.
pub trait Lent {
    /// Returns the bytes to be sent, the same ones at every call.
    fn bytes(&self) -> &[u8];

    /// Returns the same bytes if they last for ever: then a device may read them where they are,
    /// even after the piece is dropped.
    fn lasting(&self) -> Option<&'static [u8]> {
        None
    }
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

    fn lasting(&self) -> Option<&'static [u8]> {
        Some(self)
    }
}

/// Pieces of a payload that are sent from where they are.
pub(crate) type Tail = Vec<&'static [u8], TAIL_PIECES>;

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

    /// Appends a piece. One without bytes is dropped when all before it is acknowledged, so at once
    /// when there is nothing, or when it lasts for ever.
    ///
    /// # Errors
    /// Gives the piece back when there is no room.
    #[inline]
    pub(crate) fn push(&mut self, piece: P) -> Result<(), P> {
        let bytes = piece.bytes().len();
        if bytes > 0 {
            self.pieces.push_back(piece)?;
            self.len += bytes;
        } else if self.len > 0 && piece.lasting().is_none() {
            self.pieces.push_back(piece)?;
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

    /// Splits the `count` bytes from `offset` on into those to be copied, which come first, and those
    /// that can be sent from where they are. Returns how many are copied, and the rest: fewer bytes
    /// in all when they lie in too many pieces. Of any count up to those, all are covered: how a piece
    /// is sent depends on what is left of it, not on where the count ends.
    pub(crate) fn split(&self, offset: usize, count: usize) -> (usize, Tail) {
        let (mut copied, mut tail, mut left) = (0, Tail::new(), count);
        let mut skip = self.done + offset;
        for piece in &self.pieces {
            let bytes = piece.bytes().len();
            if skip >= bytes {
                skip -= bytes;
                continue;
            }
            let part = (bytes - skip).min(left);
            let lasting = piece.lasting();
            let lasting = lasting.filter(|_| bytes - skip >= GATHER_MIN_BYTES);
            let is_taken = match lasting {
                Some(lasting) => tail.push(&lasting[skip..skip + part]).is_ok(),
                None => tail.is_empty() && copied + part <= GATHER_COPY_BYTES,
            };
            if lasting.is_none() && tail.is_empty() {
                copied += part.min(GATHER_COPY_BYTES - copied);
            }
            skip = 0;
            left -= part;
            if !is_taken || left == 0 {
                break;
            }
        }
        (copied, tail)
    }

    /// Copies the bytes from `offset` on into `out`, as many as it has room for; they must be in
    /// the queue.
    #[inline]
    pub(crate) fn copy(&self, offset: usize, mut out: &mut [u8]) {
        let mut skip = self.done + offset;
        let (front, back) = self.pieces.as_slices();
        // Shorter than to go through the queue piece by piece.
        for pieces in [front, back] {
            for piece in pieces {
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
    fn large_lasting_pieces_are_sent_from_where_they_are_and_what_is_before_them_is_copied() {
        let large: &'static [u8] = vec![7; 5000].leak();
        let mut queue: SendQueue<&'static [u8]> = SendQueue::new();
        for piece in [&b"head"[..], large, large, b"next head", large] {
            queue.push(piece).unwrap();
        }
        assert_eq!(queue.split(0, 3), (3, Tail::new()));
        assert_eq!(queue.split(0, 20_000), (4, Tail::from_iter([large, large])));
        assert_eq!(queue.split(1, 4000), (3, Tail::from_iter([&large[..3997]])));
        assert_eq!(
            queue.split(4004, 1000),
            (1000, Tail::new()),
            "short: copied"
        );
        assert_eq!(queue.split(4004, 6000), (1000, Tail::from_iter([large])));
        queue.acknowledge(4 + 1000);
        let rest = Tail::from_iter([&large[1000..], large]);
        assert_eq!(queue.split(0, 20_000), (0, rest));
        // After both large pieces: a copied head, and the third.
        assert_eq!(queue.split(9000, 20_000), (9, Tail::from_iter([large])));
        let mut copying: SendQueue<Vec<u8>> = SendQueue::new();
        copying.push(vec![1; 5000]).unwrap();
        assert_eq!(copying.split(0, 5000), (GATHER_COPY_BYTES, Tail::new()));
    }

    #[test]
    fn whatever_is_covered_is_covered_up_to_any_byte_before_and_reads_the_same() {
        let mut random = crate::testing::Random::new(4);
        let sizes = [0, 1, 300, 950, 1023, 1024, 1025, 1460, 1461, 2500, 9000];
        for _ in 0..300 {
            let mut queue: SendQueue<&'static [u8]> = SendQueue::new();
            let mut all = Vec::new();
            for _ in 0..1 + random.below(SEND_PIECES as u64) {
                let size = sizes[random.below(sizes.len() as u64) as usize];
                let piece: Vec<u8> = (0..size).map(|_| random.below(256) as u8).collect();
                all.extend_from_slice(&piece);
                queue.push(piece.leak()).unwrap();
            }
            let offset = random.below(all.len() as u64 + 1) as usize;
            let covered = |count| {
                let (copied, tail) = queue.split(offset, count);
                let mut whole = vec![0; copied];
                queue.copy(offset, &mut whole);
                tail.iter().for_each(|piece| whole.extend_from_slice(piece));
                assert_eq!(whole, all[offset..offset + whole.len()], "{count} bytes");
                whole.len()
            };
            let most = covered(all.len() - offset);
            for _ in 0..50 {
                let count = random.below(most as u64 + 1) as usize;
                assert_eq!(covered(count), count, "of {most} from {offset} on");
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
    fn a_piece_without_bytes_is_dropped_when_all_before_it_is_acknowledged() {
        let (piece, mark) = (Rc::new(vec![1, 2, 3]), Rc::new(vec![]));
        let mut queue = SendQueue::new();
        queue.push(mark.clone()).unwrap();
        assert_eq!(Rc::strong_count(&mark), 1, "nothing is before it");
        for part in [&piece, &mark, &piece, &mark] {
            queue.push(part.clone()).unwrap();
        }
        let mut out = [0; 6];
        queue.copy(0, &mut out);
        assert_eq!((out, queue.len()), ([1, 2, 3, 1, 2, 3], 6));
        for (count, marks) in [(2, 3), (1, 2), (2, 2), (1, 1)] {
            queue.acknowledge(count);
            assert_eq!(Rc::strong_count(&mark), marks);
        }
        queue.push(piece.clone()).unwrap();
        queue.push(mark.clone()).unwrap();
        queue.clear();
        assert_eq!(Rc::strong_count(&mark), 1);
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
