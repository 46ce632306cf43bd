//! Writes: the pieces of a `writev`, and the table of those under way.
//!
//! The pieces of a write wait here from submission until the connection's send queue has taken
//! them; they are never copied. One write per handle is under way at most, so a table of as many
//! places as there are handles cannot be full. Places are kept out of the handle table, because
//! they are large and few are in use at a time; the last one freed is used next, so those few stay
//! in the cache.

use crate::buffer::Buffer;
use crate::limits;
use alloc::vec::Vec;
use net::Lent;

/// One piece of a write. Channel and stack hold it until the peer has acknowledged its last byte.
#[derive(Debug)]
pub enum IoSlice {
    /// Memory that outlives everything, such as the packed site: sent by reference.
    Static(&'static [u8]),
    /// A buffer, which returns to its owner when the peer has acknowledged it.
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

impl Default for IoSlice {
    /// No bytes.
    fn default() -> Self {
        IoSlice::Static(&[])
    }
}

impl Lent for IoSlice {
    #[inline]
    fn bytes(&self) -> &[u8] {
        IoSlice::bytes(self)
    }

    #[inline]
    fn lasting(&self) -> Option<&'static [u8]> {
        match self {
            IoSlice::Static(bytes) => Some(bytes),
            IoSlice::Buffer(_) | IoSlice::Inline(_) => None,
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
    /// Pieces that the send queue has taken.
    done_pieces: usize,
}

impl Write {
    /// Takes the next piece out.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<IoSlice> {
        let piece = self.pieces.get_mut(self.done_pieces)?;
        self.done_pieces += 1;
        Some(core::mem::take(piece))
    }

    /// Returns whether the send queue has taken everything.
    #[inline]
    pub(crate) fn is_done(&self) -> bool {
        self.done_pieces == self.pieces.len()
    }
}

/// The writes under way.
pub(crate) struct WriteTable {
    /// Made when they are first used.
    places: Vec<Write>,
    count: usize,
    free: Vec<WriteId>,
}

impl WriteTable {
    /// Takes room for `handles` writes.
    pub(crate) fn new(handles: usize) -> Self {
        WriteTable {
            places: Vec::with_capacity(handles),
            count: handles,
            free: Vec::with_capacity(handles),
        }
    }

    /// Begins a write in a free place, and lends its pieces, none yet, to be put there; `None` when
    /// all places are taken.
    #[inline]
    pub(crate) fn begin(&mut self) -> Option<(WriteId, &mut IoVec)> {
        let id = match self.free.pop() {
            Some(id) => id,
            None if self.places.len() < self.count => {
                self.places.push(Write::default());
                WriteId(self.places.len() as u32 - 1)
            }
            None => return None,
        };
        let write = &mut self.places[id.0 as usize];
        write.done_pieces = 0;
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
    fn a_write_gives_its_pieces_in_order_and_once() {
        let mut table = WriteTable::new(1);
        let id = begin(&mut table);
        let mut taken = Vec::new();
        while let Some(piece) = table.write(id).next() {
            taken.extend_from_slice(piece.bytes());
            assert_eq!(table.write(id).is_done(), taken == b"headdatebody");
        }
        assert_eq!(taken, b"headdatebody");
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
