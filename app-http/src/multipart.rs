//! Answers with several ranges: `multipart/byteranges` (RFC 9110 §14.6, RFC 2046 §5.1.1).
//!
//! Upstream: [`response`](crate::response), which begins one. Downstream: the server, which goes
//! on with it write by write. Nothing is put together: a part is a few pieces by reference and its
//! numbers. The boundary is the page's entity tag, a digest of its content, which its content cannot
//! have in it.

use crate::limits::{MAX_MULTIPARTS, MAX_RANGES, MAX_WRITE_BYTES};
use crate::range::{ByteRange, Ranges};
use crate::response::add;
use alloc::boxed::Box;
use core::fmt::{self, Write};
use megapipe::channel::{IoSlice, IoVec, Version, Versions};
use site::Variant;

const TYPE: &[u8] = b"Server: sluice\r\nContent-Type: multipart/byteranges; boundary=";
const DELIMITER: &[u8] = b"\r\n--";
const LINE_END: &[u8] = b"\r\n";
const RANGE: &[u8] = b"Content-Range: bytes ";
const LAST: &[u8] = b"--\r\n";

/// Bytes of the numbers of one range, and of all texts of an answer.
const NUMBERS_BYTES: usize = 3 * 15 + 6;
const TEXT_BYTES: usize = 48 + MAX_RANGES * NUMBERS_BYTES;

/// One answer under way: the ranges, and how far it has come.
#[derive(Debug, Clone)]
pub struct Multipart {
    variant: Variant<'static>,
    ranges: Ranges,
    /// Content-Length with its line ends, then the numbers of each Content-Range with its line end
    /// and the blank line.
    text: Version,
    /// Where each of these ends.
    text_ends: heapless::Vec<u16, { MAX_RANGES + 1 }>,
    /// The range that is next.
    part: usize,
    /// Bytes of it that have been written.
    written: u64,
}

impl Multipart {
    /// Begins an answer with these ranges of a page; `None` when no text is free.
    fn new(variant: Variant<'static>, ranges: Ranges, texts: &mut Versions) -> Option<Self> {
        let mut text = heapless::Vec::<u8, TEXT_BYTES>::new();
        let mut text_ends = heapless::Vec::new();
        let length = variant.body().len();
        let bytes = content_bytes(&variant, &ranges);
        write!(text, "\r\nContent-Length: {bytes}\r\n").ok()?;
        text_ends.push(text.len() as u16).ok()?;
        for range in &ranges {
            write!(text, "{}", Numbers(range, length)).ok()?;
            text_ends.push(text.len() as u16).ok()?;
        }
        let is_written = texts.renew(|place| place[..text.len()].copy_from_slice(&text));
        is_written.then(|| Multipart {
            variant,
            ranges,
            text: texts.current(),
            text_ends,
            part: 0,
            written: 0,
        })
    }

    /// Returns the text behind `before` others.
    fn text(&self, before: usize) -> IoSlice {
        let end_of = |number: usize| {
            self.text_ends
                .get(number)
                .map_or(0, |end| usize::from(*end))
        };
        let start = before.checked_sub(1).map_or(0, end_of);
        self.text.piece(start..end_of(before))
    }

    /// Adds the field lines behind Connection, and the blank line.
    pub(crate) fn push_fields(&self, pieces: &mut IoVec) {
        add(pieces, IoSlice::from_static(TYPE));
        add(pieces, IoSlice::from_static(boundary(&self.variant)));
        add(pieces, self.text(0));
        add(
            pieces,
            IoSlice::from_static(self.variant.fields_behind_type()),
        );
    }

    /// Adds what one write takes; returns whether that was the end.
    pub fn push_next(&mut self, pieces: &mut IoVec) -> bool {
        let Some(&range) = self.ranges.get(self.part) else {
            for piece in [DELIMITER, boundary(&self.variant), LAST] {
                add(pieces, IoSlice::from_static(piece));
            }
            return true;
        };
        if self.written == 0 {
            let type_line = self.variant.type_line();
            for piece in [
                DELIMITER,
                boundary(&self.variant),
                LINE_END,
                type_line,
                RANGE,
            ] {
                add(pieces, IoSlice::from_static(piece));
            }
            add(pieces, self.text(self.part + 1));
        }
        let left = range.bytes() - self.written;
        let bytes = left.min(MAX_WRITE_BYTES as u64);
        let first = (range.first + self.written) as usize;
        let body = self.variant.body().get(first..first + bytes as usize);
        add(pieces, IoSlice::from_static(body.unwrap_or_default()));
        if bytes == left {
            self.part += 1;
            self.written = 0;
        } else {
            self.written += bytes;
        }
        false
    }
}

/// The numbers of a Content-Range with its line end and the blank line, for a page of so many bytes.
struct Numbers<'a>(&'a ByteRange, usize);

impl fmt::Display for Numbers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last, length) = (self.0.first, self.0.end - 1, self.1);
        write!(f, "{first}-{last}/{length}\r\n\r\n")
    }
}

/// Returns Content-Length.
fn content_bytes(variant: &Variant<'static>, ranges: &Ranges) -> u64 {
    let (boundary, length) = (boundary(variant).len(), variant.body().len());
    let of_part = DELIMITER.len() + boundary + LINE_END.len() + RANGE.len();
    let of_part = of_part + variant.type_line().len();
    let parts = ranges.iter().map(|range| {
        let mut numbers = heapless::String::<NUMBERS_BYTES>::new();
        // Three numbers of 15 digits at most fit.
        let _ = write!(numbers, "{}", Numbers(range, length));
        (of_part + numbers.len()) as u64 + range.bytes()
    });
    parts.sum::<u64>() + (DELIMITER.len() + boundary + LAST.len()) as u64
}

fn boundary(variant: &Variant<'static>) -> &'static [u8] {
    match variant.etag() {
        [b'"', tag @ .., b'"'] if !tag.is_empty() => tag,
        _ => b"sluice-part-boundary-0b7c2e9d41f8a653",
    }
}

/// The answers with several ranges that are under way on a core.
#[derive(Debug)]
pub struct Multiparts {
    places: Box<[Option<Multipart>]>,
    texts: Versions,
    taken: usize,
}

/// A place among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MultipartId(u8);

impl Default for Multiparts {
    fn default() -> Self {
        Multiparts {
            places: (0..MAX_MULTIPARTS).map(|_| None).collect(),
            texts: Versions::new(MAX_MULTIPARTS, TEXT_BYTES),
            taken: 0,
        }
    }
}

impl Multiparts {
    /// Returns whether another one can be begun.
    #[inline(always)]
    pub fn has_room(&self) -> bool {
        self.taken < self.places.len() && self.texts.has_free()
    }

    /// Makes an answer with these ranges of a page; `None` when there is no room.
    pub(crate) fn begin(&mut self, variant: Variant<'static>, ranges: Ranges) -> Option<Multipart> {
        Multipart::new(variant, ranges, &mut self.texts)
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
