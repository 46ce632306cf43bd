//! What a connection has received: bytes in order that nobody has read, and runs of bytes beyond
//! a gap. All of it lies in [`Chunk`]s, which are held only while there is something in them.
//!
//! Upstream: segments, trimmed to the window. Downstream: the layer above, which takes whole
//! chunks or copies. Invariants: the runs beyond the gap ascend, do not touch what was received in
//! order, and do not overlap; when memory is low nothing is kept beyond the gap, because only what
//! is in order can ever be read and so given back.

use super::seq::Seq;
use crate::chunk::{Chunk, ChunkPool};
use crate::limits::SACK_BLOCKS;
use alloc::boxed::Box;
use core::ops::Range;
use heapless::Vec;

/// The bytes of one connection.
pub(crate) struct ReceiveQueue {
    /// In order, to be read: the oldest first.
    front: Option<Box<Chunk>>,
    /// In order, behind `front`: the newest first.
    back: Option<Box<Chunk>>,
    unread: usize,
    /// Beyond a gap, ascending.
    beyond: Option<Box<Chunk>>,
    beyond_chunks: u16,
    /// Where the segment that came last beyond the gap began (RFC 2018 §4: told first).
    latest: Seq,
}

impl ReceiveQueue {
    pub(crate) const fn new() -> Self {
        ReceiveQueue {
            front: None,
            back: None,
            unread: 0,
            beyond: None,
            beyond_chunks: 0,
            latest: Seq(0),
        }
    }

    /// Returns the bytes that can be read.
    #[inline]
    pub(crate) fn unread(&self) -> usize {
        self.unread
    }

    /// Whether something waits beyond a gap.
    #[inline]
    pub(crate) fn has_gap(&self) -> bool {
        self.beyond.is_some()
    }

    /// Appends bytes that are next in order, and returns how many found room.
    #[inline]
    pub(crate) fn append(&mut self, mut data: &[u8], pool: &mut ChunkPool) -> usize {
        let mut appended = 0;
        loop {
            if let Some(last) = self.last() {
                let count = last.append(data);
                appended += count;
                data = &data[count..];
            }
            if data.is_empty() {
                break;
            }
            let Some(chunk) = pool.take() else {
                pool.refused += data.len() as u64;
                break;
            };
            self.push(chunk);
        }
        self.unread += appended;
        appended
    }

    /// Returns the newest chunk in order, where that can be had at once.
    #[inline]
    fn last(&mut self) -> Option<&mut Box<Chunk>> {
        match &mut self.back {
            Some(back) => Some(back),
            None => self.front.as_mut().filter(|front| front.next.is_none()),
        }
    }

    #[inline]
    fn push(&mut self, mut chunk: Box<Chunk>) {
        if self.front.is_none() {
            self.front = Some(chunk);
        } else {
            chunk.next = self.back.take();
            self.back = Some(chunk);
        }
    }

    /// Takes the oldest chunk.
    #[inline]
    pub(crate) fn take(&mut self) -> Option<Box<Chunk>> {
        let mut first = self.front.take()?;
        self.front = first.next.take();
        if self.front.is_none() {
            // What came behind it, turned round.
            while let Some(mut chunk) = self.back.take() {
                self.back = chunk.next.take();
                chunk.next = self.front.take();
                self.front = Some(chunk);
            }
        }
        self.unread -= first.len();
        Some(first)
    }

    /// Copies the oldest bytes into `out` and returns how many.
    pub(crate) fn copy(&mut self, out: &mut [u8], pool: &mut ChunkPool) -> usize {
        let mut copied = 0;
        while copied < out.len()
            && let Some(first) = &mut self.front
        {
            let rest = &mut out[copied..];
            let count = first.len().min(rest.len());
            rest[..count].copy_from_slice(&first.filled()[..count]);
            copied += count;
            if count < first.len() {
                first.consume(count);
                self.unread -= count;
            } else if let Some(chunk) = self.take() {
                pool.give_back(chunk);
            }
        }
        copied
    }

    /// Keeps bytes that begin at `start`, beyond a gap, as far as there is room for them.
    pub(crate) fn insert(&mut self, mut start: Seq, mut data: &[u8], pool: &mut ChunkPool) {
        self.latest = start;
        let mut place = &mut self.beyond;
        while !data.is_empty() {
            // To the last run that does not begin after the data.
            while let Some(chunk) = place
                && !chunk.sequence.is_after(start)
            {
                let end = chunk.sequence + chunk.len() as u32;
                let known = end.beyond(start).min(data.len() as u32);
                start = start + known;
                data = &data[known as usize..];
                let next = chunk.next.as_ref().map(|next| next.sequence);
                if start == end && !data.is_empty() {
                    // It continues this chunk, up to the next one.
                    let room = next.map_or(data.len(), |next| next.beyond(start) as usize);
                    let count = chunk.append(&data[..data.len().min(room)]);
                    start = start + count as u32;
                    data = &data[count..];
                }
                place = &mut place.as_mut().expect("matched above").next;
            }
            if data.is_empty() {
                return;
            }
            if pool.is_low() || self.beyond_chunks >= pool.beyond_gap_max {
                pool.refused += data.len() as u64;
                return;
            }
            let Some(mut chunk) = pool.take() else {
                return;
            };
            let gap = place
                .as_ref()
                .map_or(data.len(), |next| next.sequence.beyond(start) as usize);
            let count = chunk.append(&data[..data.len().min(gap)]);
            chunk.sequence = start;
            chunk.next = place.take();
            start = start + count as u32;
            data = &data[count..];
            self.beyond_chunks += 1;
            place = &mut place.insert(chunk).next;
        }
    }

    /// Takes in what `next` has reached of the runs beyond the gap, and returns the number after
    /// the last byte in order now.
    pub(crate) fn join(&mut self, mut next: Seq, pool: &mut ChunkPool) -> Seq {
        while let Some(mut chunk) = self.beyond.take_if(|chunk| !chunk.sequence.is_after(next)) {
            self.beyond = chunk.next.take();
            self.beyond_chunks -= 1;
            chunk.consume(next.beyond(chunk.sequence) as usize);
            if chunk.is_empty() {
                pool.give_back(chunk);
                continue;
            }
            next = next + chunk.len() as u32;
            self.unread += chunk.len();
            self.push(chunk);
        }
        next
    }

    /// Returns the runs beyond the gap for the SACK option: the one that grew last, then the others
    /// ascending (RFC 2018 §4).
    pub(crate) fn sack_blocks(&self) -> Vec<Range<Seq>, SACK_BLOCKS> {
        let mut blocks = Vec::new();
        let mut first = None;
        let mut run: Option<Range<Seq>> = None;
        let mut add = |run: Range<Seq>| {
            if !run.start.is_after(self.latest) && run.end.is_after(self.latest) {
                first = Some(run);
            } else {
                // What does not fit is told when it is a gap's neighbour.
                let _ = blocks.push(run);
            }
        };
        let mut chunk = self.beyond.as_ref();
        while let Some(this) = chunk {
            let end = this.sequence + this.len() as u32;
            run = match run {
                Some(before) if before.end == this.sequence => Some(before.start..end),
                before => {
                    before.into_iter().for_each(&mut add);
                    Some(this.sequence..end)
                }
            };
            chunk = this.next.as_ref();
        }
        run.into_iter().for_each(&mut add);
        if let Some(first) = first {
            blocks.truncate(SACK_BLOCKS - 1);
            // Room was made.
            let _ = blocks.insert(0, first);
        }
        blocks
    }

    /// Gives everything back.
    pub(crate) fn clear(&mut self, pool: &mut ChunkPool) {
        for list in [&mut self.front, &mut self.back, &mut self.beyond] {
            if let Some(chunk) = list.take() {
                pool.give_back(chunk);
            }
        }
        self.unread = 0;
        self.beyond_chunks = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec as List;

    fn byte(at: u32) -> u8 {
        (at.wrapping_mul(2_654_435_761) >> 24) as u8
    }

    /// Bytes as a sender has them at these sequence numbers.
    fn bytes(start: Seq, count: u32) -> List<u8> {
        (0..count).map(|at| byte((start + at).0)).collect()
    }

    #[test]
    fn segments_in_any_order_are_read_in_order() {
        let mut random = 99u64;
        let mut next_random = |bound: u64| {
            random = random
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (random >> 33) % bound
        };
        for round in 0..300 {
            let mut pool = ChunkPool::new(64, 16, 1024);
            let mut queue = ReceiveQueue::new();
            let base = Seq(u32::MAX - 100);
            let (mut next, mut read) = (base, List::new());
            while next - base < 300 {
                let start = base + (next - base).saturating_sub(20) + next_random(60) as u32;
                let count = 1 + next_random(30) as u32;
                let data = bytes(start, count);
                if start.is_after(next) {
                    queue.insert(start, &data, &mut pool);
                } else {
                    let known = next.beyond(start).min(count) as usize;
                    let appended = queue.append(&data[known..], &mut pool);
                    next = queue.join(next + appended as u32, &mut pool);
                }
                for block in queue.sack_blocks() {
                    assert!(block.start.is_after(next) && block.end.is_after(block.start));
                }
                if next_random(3) == 0 {
                    if round % 2 == 0 {
                        let mut out = [0; 7];
                        let count = queue.copy(&mut out, &mut pool);
                        read.extend_from_slice(&out[..count]);
                    } else if let Some(chunk) = queue.take() {
                        read.extend_from_slice(chunk.filled());
                        pool.give_back(chunk);
                    }
                }
                assert_eq!(queue.unread() + read.len(), (next - base) as usize);
            }
            while let Some(chunk) = queue.take() {
                read.extend_from_slice(chunk.filled());
                pool.give_back(chunk);
            }
            assert_eq!(read, bytes(base, next - base), "round {round}");
            queue.clear(&mut pool);
            assert_eq!(pool.free(), 64);
        }
    }

    #[test]
    fn small_segments_share_a_chunk_and_an_empty_queue_holds_none() {
        let mut pool = ChunkPool::new(4, 64, 1024);
        let mut queue = ReceiveQueue::new();
        for at in 0..60 {
            assert_eq!(queue.append(&[at], &mut pool), 1);
        }
        assert_eq!(pool.free(), 3);
        let mut out = [0; 60];
        assert_eq!(queue.copy(&mut out, &mut pool), 60);
        assert_eq!((pool.free(), queue.unread()), (4, 0));
    }

    #[test]
    fn the_run_that_grew_last_is_told_first() {
        let mut pool = ChunkPool::new(64, 16, 1024);
        let mut queue = ReceiveQueue::new();
        for start in [100, 200, 300, 400, 300] {
            queue.insert(Seq(start), &[0; 10], &mut pool);
        }
        let starts: List<u32> = queue
            .sack_blocks()
            .iter()
            .map(|block| block.start.0)
            .collect();
        assert_eq!(starts, [300, 100, 200], "and no more than fit");
    }

    #[test]
    fn without_memory_nothing_is_kept_beyond_a_gap_and_what_is_in_order_is_cut() {
        let mut pool = ChunkPool::new(4, 16, 1024);
        let mut queue = ReceiveQueue::new();
        queue.insert(Seq(100), &[1; 64], &mut pool);
        assert_eq!(pool.free(), 0, "three quarters, and the last by one");
        let mut other = ReceiveQueue::new();
        assert_eq!(other.append(&[1; 16], &mut pool), 0);
        assert!(pool.refused > 0);
        queue.clear(&mut pool);
        assert_eq!(other.append(&[1; 100], &mut pool), 64);
        queue.insert(Seq(7), &[1; 3], &mut pool);
        assert!(!queue.has_gap());
    }
}
