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
    /// A buffer of the pool, returned there when the write is complete.
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
    pieces: IoVec,
    /// Pieces that are in the send queue as a whole.
    done_pieces: usize,
    /// Bytes of the next piece that are in the send queue.
    done_bytes: usize,
}

impl Write {
    /// Copies as much of the rest into `room` as fits and returns how much.
    #[inline]
    pub(crate) fn fill(&mut self, room: &mut [u8]) -> usize {
        let mut filled = 0;
        while let Some(piece) = self.pieces.get(self.done_pieces) {
            let rest = piece.bytes().get(self.done_bytes..).unwrap_or_default();
            let room = &mut room[filled..];
            let count = rest.len().min(room.len());
            room[..count].copy_from_slice(&rest[..count]);
            filled += count;
            if count < rest.len() {
                self.done_bytes += count;
                break;
            }
            self.done_pieces += 1;
            self.done_bytes = 0;
        }
        filled
    }

    /// Returns whether all is in the send queue.
    #[inline]
    pub(crate) fn is_done(&self) -> bool {
        self.done_pieces == self.pieces.len()
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

    /// Begins a write in a free place, and lends its pieces, none yet, to be put there; `None` when
    /// all places are taken.
    #[inline]
    pub(crate) fn begin(&mut self) -> Option<(WriteId, &mut IoVec)> {
        let id = self.free.pop()?;
        let write = &mut self.places[id.0 as usize];
        write.done_pieces = 0;
        write.done_bytes = 0;
        Some((id, &mut write.pieces))
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
    use super::{IoSlice, IoVec, WriteId, WriteTable};
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

    fn begin(table: &mut WriteTable) -> WriteId {
        let (id, place) = table.begin().unwrap();
        *place = pieces();
        id
    }

    #[test]
    fn a_write_walks_over_its_pieces_in_any_steps() {
        for step in 1..12 {
            let mut table = WriteTable::new(1);
            let id = begin(&mut table);
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
        let id = begin(&mut table);
        assert!(table.begin().is_none() && table.len() == 1);
        table.remove(id);
        assert_eq!(table.len(), 0);
        let (again, pieces) = table.begin().unwrap();
        assert_eq!((again, pieces.len()), (id, 0));
    }
}
