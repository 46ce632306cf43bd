//! Text that changes while earlier versions of it are still on their way.
//!
//! Upstream: the application. Downstream: [`IoSlice`], and through it the send queue, which drops a
//! piece when the peer has acknowledged it. Invariant: what a piece shows never changes.

use crate::writes::IoSlice;
use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

/// Text that is written anew now and then and sent by reference: a Date line, say. Each version is
/// kept unchanged until the last piece that shows it is dropped, and its memory used again then.
#[derive(Debug)]
pub struct Versions {
    places: Vec<Rc<[u8]>>,
    current: usize,
}

impl Versions {
    /// Takes memory for `count` versions, at least one, of `bytes` bytes each, all zero.
    pub fn new(count: usize, bytes: usize) -> Self {
        let place = || Rc::from(vec![0; bytes]);
        Versions {
            places: (0..count.max(1)).map(|_| place()).collect(),
            current: 0,
        }
    }

    /// Writes a new version over the oldest that nobody sends any more. Returns `false`, and the
    /// current one stays, when all are still being sent.
    pub fn renew(&mut self, write: impl FnOnce(&mut [u8])) -> bool {
        let count = self.places.len();
        for step in 1..=count {
            let place = (self.current + step) % count;
            if let Some(bytes) = Rc::get_mut(&mut self.places[place]) {
                write(bytes);
                self.current = place;
                return true;
            }
        }
        false
    }

    /// Writes a new version as [`renew`](Self::renew) does and returns a piece that shows it: a short
    /// text that is put together for one write. `None` when all are still being sent, or when it is
    /// too long.
    pub fn format(&mut self, text: fmt::Arguments<'_>) -> Option<IoSlice> {
        let mut written = None;
        self.renew(|bytes| {
            let mut cursor = Cursor { bytes, len: 0 };
            let is_whole = fmt::write(&mut cursor, text).is_ok();
            written = is_whole.then_some(cursor.len);
        });
        written.map(|len| self.piece(0..len))
    }

    /// Returns whether [`renew`](Self::renew) would find a place.
    pub fn has_free(&self) -> bool {
        let mut places = self.places.iter();
        places.any(|place| Rc::strong_count(place) == 1)
    }

    /// Returns the current version, to make pieces of it later.
    pub fn current(&self) -> Version {
        Version(Rc::clone(&self.places[self.current]))
    }

    /// Returns the current version.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.places[self.current]
    }

    /// Returns a piece that shows `range` of the current version; no bytes when it is not in it.
    #[inline]
    pub fn piece(&self, range: Range<usize>) -> IoSlice {
        let memory = Rc::clone(&self.places[self.current]);
        IoSlice::from_part(memory, range).unwrap_or_default()
    }
}

/// One version, kept as it is.
#[derive(Debug, Clone)]
pub struct Version(Rc<[u8]>);

impl Version {
    /// Returns a piece that shows `range` of it; no bytes when it is not in it.
    pub fn piece(&self, range: Range<usize>) -> IoSlice {
        IoSlice::from_part(Rc::clone(&self.0), range).unwrap_or_default()
    }
}

/// Memory that is written from the front.
#[derive(Debug)]
struct Cursor<'a> {
    bytes: &'a mut [u8],
    len: usize,
}

impl fmt::Write for Cursor<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.len + text.len();
        let place = self.bytes.get_mut(self.len..end).ok_or(fmt::Error)?;
        place.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_stays_as_long_as_a_piece_shows_it() {
        let mut text = Versions::new(2, 1);
        assert!(text.renew(|bytes| bytes[0] = b'a'));
        let first = text.piece(0..1);
        assert!(text.renew(|bytes| bytes[0] = b'b'));
        let second = text.piece(0..1);
        assert!(!text.renew(|_| panic!("no place is free")));
        assert_eq!(text.bytes(), b"b");
        assert_eq!((first.bytes(), second.bytes()), (&b"a"[..], &b"b"[..]));
        drop(first);
        assert!(text.renew(|bytes| bytes[0] = b'c'));
        assert_eq!((text.bytes(), second.bytes()), (&b"c"[..], &b"b"[..]));
        assert_eq!(text.piece(0..2).bytes(), b"", "not in it");
    }

    #[test]
    fn a_formatted_text_is_whole_or_none() {
        let mut texts = Versions::new(2, 8);
        let short = texts.format(format_args!("{}-{}", 12, 345)).unwrap();
        assert_eq!((short.bytes(), texts.has_free()), (&b"12-345"[..], true));
        let version = texts.current();
        assert!(texts.format(format_args!("{}", 123_456_789)).is_none());
        let full = texts.format(format_args!("12345678")).unwrap();
        assert!(!texts.has_free() && texts.format(format_args!("x")).is_none());
        drop((short, full));
        assert_eq!(version.piece(3..6).bytes(), b"345");
    }

    #[test]
    fn one_version_that_nobody_sends_is_written_over() {
        let mut text = Versions::new(0, 4);
        assert!(text.renew(|bytes| bytes.copy_from_slice(b"once")));
        assert!(text.renew(|bytes| bytes.copy_from_slice(b"more")));
        assert_eq!(text.bytes(), b"more");
    }
}
