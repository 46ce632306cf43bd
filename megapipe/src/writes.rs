//! Writes: the pieces of a `writev`, and the table of those under way.
//!
//! The pieces of a write wait here from submission until all is in the send queue, with a cursor
//! behind what is there already. One write per handle is under way at most, so a table of as many
//! places as there are handles cannot be full. Places are kept out of the handle table, because
//! they are large and few are in use at a time; the last one freed is used next, so those few stay
//! in the cache.

use crate::buffer::Buffer;
use crate::limits;
use alloc::boxed::Box;
use alloc::vec::Vec;

/// One piece of a write. The channel holds it until the write completes.
#[derive(Debug)]
pub enum IoSlice {
    /// Memory that outlives everything, such as the packed site: sent by reference.
    Static(&'static [u8]),
    /// A buffer of the pool, returned there when it is in the send queue as a whole.
    Buffer(Buffer),
    /// A few bytes carried in the command itself.
    Inline(heapless::Vec<u8, { IoSlice::INLINE_BYTES }>),
}

impl IoSlice {
    /// Largest `Inline` piece, in bytes.
    pub const INLINE_BYTES: usize = limits::INLINE_BYTES;

    /// Returns the bytes of the piece.
    pub fn bytes(&self) -> &[u8] {
        match self {
            IoSlice::Static(bytes) => bytes,
            IoSlice::Buffer(buffer) => buffer.filled(),
            IoSlice::Inline(bytes) => bytes,
        }
    }
}

/// The pieces of one `writev`, sent in order.
pub type IoVec = heapless::Vec<IoSlice, { limits::WRITE_PIECES }>;

/// A place in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct WriteId(u32);

/// One write and how far it has come.
#[derive(Default)]
pub(crate) struct Write {
    /// What is not in the send queue as a whole; the next piece is the last here.
    pieces: IoVec,
    /// Bytes of the next piece that are in the send queue.
    done_bytes: usize,
}

impl Write {
    /// Copies as much of the rest into `room` as fits and returns how much.
    #[inline]
    pub(crate) fn fill(&mut self, room: &mut [u8]) -> usize {
        let mut filled = 0;
        while let Some(piece) = self.pieces.last() {
            let rest = piece.bytes().get(self.done_bytes..).unwrap_or_default();
            let room = &mut room[filled..];
            let count = rest.len().min(room.len());
            room[..count].copy_from_slice(&rest[..count]);
            filled += count;
            if count < rest.len() {
                self.done_bytes += count;
                break;
            }
            self.pieces.pop();
            self.done_bytes = 0;
        }
        filled
    }

    /// Returns whether all is in the send queue.
    #[inline]
    pub(crate) fn is_done(&self) -> bool {
        self.pieces.is_empty()
    }
}

/// The writes under way.
pub(crate) struct WriteTable {
    places: Box<[Write]>,
    free: Vec<WriteId>,
}

impl WriteTable {
    /// Takes room for `handles` writes.
    pub(crate) fn new(handles: usize) -> Self {
        WriteTable {
            places: (0..handles).map(|_| Write::default()).collect(),
            free: (0..handles as u32).rev().map(WriteId).collect(),
        }
    }

    /// Takes a free place, `None` when there is none.
    pub(crate) fn reserve(&mut self) -> Option<WriteId> {
        self.free.pop()
    }

    /// Begins a write in a place that was reserved; `pieces` is empty then.
    #[inline]
    pub(crate) fn begin(&mut self, id: WriteId, pieces: &mut IoVec) {
        let write = &mut self.places[id.0 as usize];
        while let Some(piece) = pieces.pop() {
            // A place that is free is empty, and so has room for all.
            let _ = write.pieces.push(piece);
        }
        write.done_bytes = 0;
    }

    /// Lends a write.
    pub(crate) fn write(&mut self, id: WriteId) -> &mut Write {
        &mut self.places[id.0 as usize]
    }

    /// Ends a write; its buffers return to the pool.
    pub(crate) fn remove(&mut self, id: WriteId) {
        self.places[id.0 as usize].pieces.clear();
        self.free.push(id);
    }

    /// Returns the writes under way.
    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::{IoSlice, IoVec, WriteTable};
    use std::vec;
    use std::vec::Vec;

    fn pieces() -> IoVec {
        let inline = heapless::Vec::from_slice(b"date").unwrap();
        IoVec::from_iter([
            IoSlice::Static(b"head"),
            IoSlice::Static(b""),
            IoSlice::Inline(inline),
            IoSlice::Static(b"body"),
        ])
    }

    #[test]
    fn a_write_walks_over_its_pieces_in_any_steps() {
        for step in 1..12 {
            let mut table = WriteTable::new(1);
            let id = table.reserve().unwrap();
            table.begin(id, &mut pieces());
            let mut sent = Vec::new();
            let mut tries = 0;
            while !table.write(id).is_done() {
                tries += 1;
                let mut room = vec![0; step];
                let count = table.write(id).fill(&mut room);
                assert!(count == step || table.write(id).is_done());
                sent.extend_from_slice(&room[..count]);
            }
            assert_eq!(tries, 12usize.div_ceil(step));
            assert_eq!(sent, b"headdatebody", "in steps of {step}");
        }
    }

    #[test]
    fn a_place_is_free_again_after_its_write() {
        let mut table = WriteTable::new(1);
        let id = table.reserve().unwrap();
        table.begin(id, &mut pieces());
        assert_eq!((table.reserve(), table.len()), (None, 1));
        table.remove(id);
        assert_eq!((table.len(), table.reserve()), (0, Some(id)));
    }
}
