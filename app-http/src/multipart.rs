//! Answers with several ranges: `multipart/byteranges` (RFC 9110 §14.6, RFC 2046 §5.1.1).
//!
//! Upstream: [`response`](crate::response), which begins one. Downstream: the server, which goes
//! on with it write by write. Nothing is put together: a part is a few pieces by reference and its
//! numbers. The boundary is the page's entity tag, a digest of its content, which its content cannot
//! have in it.

use crate::limits::{MAX_MULTIPARTS, MAX_WRITE_BYTES};
use crate::range::{ByteRange, Ranges};
use crate::response::{add, inline};
use alloc::boxed::Box;
use megapipe::channel::{IoSlice, IoVec};
use site::Variant;

const TYPE: &[u8] = b"Server: sluice\r\nContent-Type: multipart/byteranges; boundary=";
const DELIMITER: &[u8] = b"\r\n--";
const LINE_END: &[u8] = b"\r\n";
const RANGE: &[u8] = b"Content-Range: bytes ";
const LAST: &[u8] = b"--\r\n";

/// One answer under way: the ranges, and how far it has come.
#[derive(Debug, Clone)]
pub struct Multipart {
    variant: Variant<'static>,
    ranges: Ranges,
    /// The range that is next.
    part: usize,
    /// Bytes of it that have been written.
    written: u64,
}

impl Multipart {
    /// Begins an answer with these ranges of a page.
    pub fn new(variant: Variant<'static>, ranges: Ranges) -> Self {
        Multipart {
            variant,
            ranges,
            part: 0,
            written: 0,
        }
    }

    /// Adds the field lines behind Connection, and the blank line.
    pub(crate) fn push_fields(&self, pieces: &mut IoVec) {
        add(pieces, IoSlice::Static(TYPE));
        add(pieces, IoSlice::Static(self.boundary()));
        let bytes = self.content_bytes();
        add(
            pieces,
            inline(format_args!("\r\nContent-Length: {bytes}\r\n")),
        );
        add(pieces, IoSlice::Static(self.variant.fields_behind_type()));
    }

    /// Adds what one write takes; returns whether that was the end.
    pub fn push_next(&mut self, pieces: &mut IoVec) -> bool {
        let Some(&range) = self.ranges.get(self.part) else {
            for piece in [DELIMITER, self.boundary(), LAST] {
                add(pieces, IoSlice::Static(piece));
            }
            return true;
        };
        if self.written == 0 {
            let type_line = self.variant.type_line();
            for piece in [DELIMITER, self.boundary(), LINE_END, type_line, RANGE] {
                add(pieces, IoSlice::Static(piece));
            }
            add(pieces, self.numbers(range));
        }
        let left = range.bytes() - self.written;
        let bytes = left.min(MAX_WRITE_BYTES as u64);
        let first = (range.first + self.written) as usize;
        let body = self.variant.body().get(first..first + bytes as usize);
        add(pieces, IoSlice::Static(body.unwrap_or_default()));
        if bytes == left {
            self.part += 1;
            self.written = 0;
        } else {
            self.written += bytes;
        }
        false
    }

    /// Returns the numbers of a Content-Range with its line end and the blank line.
    fn numbers(&self, range: ByteRange) -> IoSlice {
        let (first, last) = (range.first, range.end - 1);
        let length = self.variant.body().len();
        inline(format_args!("{first}-{last}/{length}\r\n\r\n"))
    }

    /// Returns Content-Length.
    fn content_bytes(&self) -> u64 {
        let boundary = self.boundary().len();
        let of_part = DELIMITER.len() + boundary + LINE_END.len() + RANGE.len();
        let of_part = of_part + self.variant.type_line().len();
        let parts = self.ranges.iter().map(|range| {
            let numbers = self.numbers(*range).bytes().len();
            (of_part + numbers) as u64 + range.bytes()
        });
        parts.sum::<u64>() + (DELIMITER.len() + boundary + LAST.len()) as u64
    }

    fn boundary(&self) -> &'static [u8] {
        match self.variant.etag() {
            [b'"', tag @ .., b'"'] if !tag.is_empty() => tag,
            _ => b"sluice-part-boundary-0b7c2e9d41f8a653",
        }
    }
}

/// The answers with several ranges that are under way on a core.
#[derive(Debug)]
pub struct Multiparts {
    places: Box<[Option<Multipart>]>,
    taken: usize,
}

/// A place among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MultipartId(u8);

impl Default for Multiparts {
    fn default() -> Self {
        Multiparts {
            places: (0..MAX_MULTIPARTS).map(|_| None).collect(),
            taken: 0,
        }
    }
}

impl Multiparts {
    /// Returns whether another one can be begun.
    #[inline(always)]
    pub fn has_room(&self) -> bool {
        self.taken < self.places.len()
    }

    /// Takes one in; `None` when there is no room.
    pub fn insert(&mut self, multipart: Multipart) -> Option<MultipartId> {
        let place = self.places.iter().position(Option::is_none)?;
        self.places[place] = Some(multipart);
        self.taken += 1;
        Some(MultipartId(place as u8))
    }

    /// Adds what one write takes, and forgets the answer at its end; returns whether it was.
    pub fn push_next(&mut self, id: MultipartId, pieces: &mut IoVec) -> bool {
        let place = self.places.get_mut(usize::from(id.0));
        let is_done = match place.and_then(Option::as_mut) {
            Some(multipart) => multipart.push_next(pieces),
            None => true,
        };
        if is_done {
            self.remove(id);
        }
        is_done
    }

    /// Forgets one.
    pub fn remove(&mut self, id: MultipartId) {
        let place = self.places.get_mut(usize::from(id.0));
        if place.and_then(Option::take).is_some() {
            self.taken -= 1;
        }
    }
}
