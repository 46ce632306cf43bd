//! Writes: the pieces of a `writev`, and the table of those under way.
//!
//! The pieces of a write wait here from submission until the connection's send queue has taken
//! them; they are never copied. One write per handle is under way at most, so a table of as many
//! places as there are handles cannot be full. Places are kept out of the handle table, because
//! they are large and few are in use at a time; the last one freed is used next, so those few stay
//! in the cache.

use crate::buffer::Buffer;
use crate::limits;
use alloc::rc::Rc;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;
use kernel::LentBytes;
use net::Lent;

/// One piece of a write: bytes, with whoever is to get them back. Channel and stack hold it until
/// the peer has acknowledged its last byte, or the connection broke.
///
/// A [`Buffer`], an `Rc<[u8]>` and an `Arc<[u8]>` become one with `into()`. Nothing is copied into a
/// piece: it moves as five words, and the stack sends from where the bytes are.
#[derive(Debug, Default)]
pub struct IoSlice(LentBytes);

impl IoSlice {
    /// Lends memory that outlives everything, such as the packed site.
    #[inline]
    pub const fn from_static(bytes: &'static [u8]) -> Self {
        IoSlice(LentBytes::from_static(bytes))
    }

    /// Lends a part of what an owner of two words or less keeps in place, such as an `Rc` or an
    /// `Arc`; it is dropped afterwards. `None` when it does not have that part.
    ///
    /// # Panics
    /// When the bytes lie in the owner itself.
    #[inline]
    pub fn from_part<O: AsRef<[u8]> + 'static>(owner: O, part: Range<usize>) -> Option<Self> {
        LentBytes::from_part(owner, part).map(IoSlice)
    }

    pub(crate) fn from_lent(lent: LentBytes) -> Self {
        IoSlice(lent)
    }

    /// Returns the bytes of the piece.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        self.0.bytes()
    }
}

impl From<&'static [u8]> for IoSlice {
    #[inline]
    fn from(bytes: &'static [u8]) -> Self {
        IoSlice::from_static(bytes)
    }
}

impl From<Buffer> for IoSlice {
    #[inline]
    fn from(buffer: Buffer) -> Self {
        IoSlice(LentBytes::from_owner(buffer))
    }
}

impl From<Rc<[u8]>> for IoSlice {
    fn from(memory: Rc<[u8]>) -> Self {
        IoSlice(LentBytes::from_owner(memory))
    }
}

impl From<Arc<[u8]>> for IoSlice {
    fn from(memory: Arc<[u8]>) -> Self {
        IoSlice(LentBytes::from_owner(memory))
    }
}

impl Lent for IoSlice {
    #[inline]
    fn bytes(&self) -> &[u8] {
        self.0.bytes()
    }

    #[inline]
    fn lasting(&self) -> Option<&'static [u8]> {
        self.0.lasting()
    }
}

/// The pieces of one `writev`, sent in order.
#[derive(Debug, Default)]
pub struct IoVec {
    /// Those from `taken` to `len` are there; the others have no bytes.
    pieces: [IoSlice; limits::WRITE_PIECES],
    bytes: usize,
    len: u8,
    taken: u8,
    is_quiet: bool,
}

/// Places are counted in a byte.
const _: () = assert!(limits::WRITE_PIECES <= u8::MAX as usize);

impl IoVec {
    /// Makes an empty list.
    pub const fn new() -> Self {
        IoVec {
            pieces: [const { IoSlice::from_static(&[]) }; limits::WRITE_PIECES],
            bytes: 0,
            len: 0,
            taken: 0,
            is_quiet: false,
        }
    }

    /// Makes the write one that is told only if it has to wait, or fails: one that completes when it
    /// is flushed has no [`Completion::Write`](crate::Completion::Write), and the next may be
    /// submitted then. [`Channel::is_writing`](crate::Channel::is_writing) tells how far it is.
    #[inline]
    pub fn set_quiet(&mut self, is_quiet: bool) {
        self.is_quiet = is_quiet;
    }

    /// Returns whether the write is told only if it has to wait, or fails.
    #[inline]
    pub const fn is_quiet(&self) -> bool {
        self.is_quiet
    }

    /// Appends a piece.
    ///
    /// # Errors
    /// Gives the piece back when there are [`WRITE_PIECES`](limits::WRITE_PIECES).
    #[inline]
    pub fn push(&mut self, piece: impl Into<IoSlice>) -> Result<(), IoSlice> {
        let piece = piece.into();
        let Some(place) = self.pieces.get_mut(usize::from(self.len)) else {
            return Err(piece);
        };
        self.bytes += piece.bytes().len();
        *place = piece;
        self.len += 1;
        Ok(())
    }

    /// Returns how many pieces there are.
    #[inline]
    pub const fn len(&self) -> usize {
        (self.len - self.taken) as usize
    }

    /// Returns how many pieces there can be.
    #[inline]
    pub const fn capacity(&self) -> usize {
        limits::WRITE_PIECES
    }

    /// Returns whether there is no piece.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.len == self.taken
    }

    /// Returns the bytes of all pieces.
    #[inline]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Looks at the pieces in order.
    pub fn iter(&self) -> core::slice::Iter<'_, IoSlice> {
        self.pieces[usize::from(self.taken)..usize::from(self.len)].iter()
    }

    /// Drops all pieces.
    #[inline]
    pub fn clear(&mut self) {
        while self.take_first().is_some() {}
        (self.len, self.taken, self.bytes) = (0, 0, 0);
        self.is_quiet = false;
    }

    /// Takes the first piece out; its bytes stay counted, and its place is not used again before
    /// [`clear`](Self::clear).
    #[inline]
    pub(crate) fn take_first(&mut self) -> Option<IoSlice> {
        if self.taken == self.len {
            return None;
        }
        let piece = self.pieces.get_mut(usize::from(self.taken))?;
        self.taken += 1;
        Some(IoSlice(piece.0.take()))
    }
}

impl<P: Into<IoSlice>> FromIterator<P> for IoVec {
    /// # Panics
    /// When there are more pieces than a write can have.
    fn from_iter<I: IntoIterator<Item = P>>(pieces: I) -> Self {
        let mut list = IoVec::new();
        for piece in pieces {
            assert!(list.push(piece).is_ok(), "too many pieces for one write");
        }
        list
    }
}

/// A place in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct WriteId(u32);

impl WriteId {
    /// Beyond all places.
    const NONE: WriteId = WriteId(u32::MAX);
}

/// The writes under way.
pub(crate) struct WriteTable {
    /// Made when they are first used.
    places: Vec<Place>,
    count: usize,
    used: usize,
    /// The place that was freed last; the others hang on it.
    free: WriteId,
}

struct Place {
    /// Those that the send queue has not taken.
    pieces: IoVec,
    /// The free place that was freed before this one.
    next: WriteId,
}

impl WriteTable {
    /// Takes room for `handles` writes.
    pub(crate) fn new(handles: usize) -> Self {
        WriteTable {
            places: Vec::with_capacity(handles),
            count: handles,
            used: 0,
            free: WriteId::NONE,
        }
    }

    /// Begins a write in a free place, and lends its pieces, none yet, to be put there; `None` when
    /// all places are taken.
    #[inline]
    pub(crate) fn begin(&mut self) -> Option<(WriteId, &mut IoVec)> {
        if self.free.0 as usize >= self.places.len() {
            self.grow()?;
        }
        let id = self.free;
        let place = &mut self.places[id.0 as usize];
        self.free = place.next;
        self.used += 1;
        Some((id, &mut place.pieces))
    }

    /// Makes one more place, the only free one; `None` when there are as many as there may be.
    #[cold]
    #[inline(never)]
    fn grow(&mut self) -> Option<()> {
        if self.places.len() == self.count {
            return None;
        }
        self.free = WriteId(self.places.len() as u32);
        self.places.push(Place {
            pieces: IoVec::new(),
            next: WriteId::NONE,
        });
        Some(())
    }

    /// Lends the pieces of a write.
    #[inline]
    pub(crate) fn pieces(&mut self, id: WriteId) -> &mut IoVec {
        &mut self.places[id.0 as usize].pieces
    }

    /// Ends a write, and returns its bytes; pieces that are left go back to their owners.
    #[inline]
    pub(crate) fn end(&mut self, id: WriteId) -> usize {
        let place = &mut self.places[id.0 as usize];
        let bytes = place.pieces.bytes();
        place.pieces.clear();
        place.next = self.free;
        self.free = id;
        self.used -= 1;
        bytes
    }

    /// Returns the writes under way.
    pub(crate) fn len(&self) -> usize {
        self.used
    }
}

#[cfg(test)]
mod tests {
    use super::{IoSlice, IoVec, WriteId, WriteTable, limits};
    use std::vec::Vec;

    fn pieces() -> IoVec {
        IoVec::from_iter([
            IoSlice::from_static(b"head"),
            IoSlice::from_static(b""),
            IoSlice::from_static(b"date"),
            IoSlice::from_static(b"body"),
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
        while let Some(piece) = table.pieces(id).take_first() {
            taken.extend_from_slice(piece.bytes());
        }
        assert_eq!(table.pieces(id).bytes(), 12, "of the whole write");
        assert_eq!(taken, b"headdatebody");
    }

    #[test]
    fn a_place_is_free_again_after_its_write() {
        let mut table = WriteTable::new(1);
        let id = begin(&mut table);
        assert!(table.begin().is_none() && table.len() == 1);
        assert_eq!(table.end(id), 12);
        assert_eq!(table.len(), 0);
        let (again, pieces) = table.begin().unwrap();
        assert_eq!((again, pieces.len()), (id, 0));
    }

    #[test]
    fn a_piece_too_many_is_given_back() {
        let mut pieces = IoVec::new();
        for count in 1..=pieces.capacity() {
            assert!(pieces.push(&b"ab"[..]).is_ok());
            assert_eq!((pieces.len(), pieces.bytes()), (count, 2 * count));
        }
        let refused = pieces.push(&b"too many"[..]).unwrap_err();
        assert_eq!(refused.bytes(), b"too many");
        assert_eq!(pieces.bytes(), 2 * limits::WRITE_PIECES);
    }
}
