//! Pages and their variants: prepared responses, and the parts that other answers are made of.
//!
//! Upstream: [`Host`](crate::Host). Downstream: `app-http`, which puts a status line, Date and
//! rarely Connection before what is here:
//!
//! | answer | behind status line and Date |
//! |---|---|
//! | as the page says (200, 404, 301 …) | [`Variant::response`] |
//! | to HEAD | [`Variant::head`] |
//! | 304 | [`Variant::kept_fields`] |
//! | 206, one range | Server, Content-Length, Content-Range, [`Variant::fields_from_type`], a part of [`Variant::body`] |
//! | 206, several ranges | Server, Content-Length, another Content-Type, [`Variant::fields_behind_type`]; each part has [`Variant::type_line`] |
//! | redirect with more in its Location | [`Variant::response`], cut at [`Variant::insert_at`] |

use crate::coding::{Coding, Codings, Wanted};
use crate::records::{NO_TIME, PLAIN_PATH, PageRecord, VariantRecord};

/// One page of a host.
#[derive(Debug, Clone, Copy)]
pub struct Page<'a> {
    pub(crate) record: PageRecord,
    pub(crate) path: &'a [u8],
    pub(crate) variants: &'a [[u8; VariantRecord::BYTES]],
    pub(crate) responses: &'a [u8],
}

impl<'a> Page<'a> {
    /// Returns the path, percent-decoded; empty for pages that answer where no path does.
    #[inline]
    pub fn path(&self) -> &'a [u8] {
        self.path
    }

    /// Returns the status code.
    #[inline]
    pub fn status(&self) -> u16 {
        self.record.status
    }

    /// Returns the Unix time in seconds of Last-Modified, if the page has it.
    #[inline]
    pub fn modified(&self) -> Option<u64> {
        (self.record.modified != NO_TIME).then_some(self.record.modified)
    }

    /// Returns whether the path stands for itself in a URI, so that a request target which equals
    /// it needs no decoding.
    #[inline]
    pub fn has_plain_path(&self) -> bool {
        self.record.flags & PLAIN_PATH != 0
    }

    /// Returns the codings that the page can be had in. Identity is always among them.
    #[inline]
    pub fn codings(&self) -> Codings {
        Codings::from_bits(self.record.codings)
    }

    /// Returns the page in this coding.
    #[inline]
    pub fn variant(&self, coding: Coding) -> Option<Variant<'a>> {
        let codings = self.codings();
        let record = self.variants.get(codings.place(coding))?;
        codings
            .contains(coding)
            .then(|| Variant::read(record, self.responses))?
    }

    /// Returns the page as it is.
    #[inline]
    pub fn identity(&self) -> Variant<'a> {
        self.variant(Coding::Identity).unwrap_or(Variant::NONE)
    }

    /// Returns what of the page is most welcome to a client, as it is when nothing is; among what is
    /// equally welcome, the smallest.
    #[inline(always)]
    pub fn best(&self, wanted: Wanted) -> Variant<'a> {
        let coding = wanted.best_of(self.codings(), self.record.by_size);
        self.variant(coding).unwrap_or_else(|| self.identity())
    }

    /// Returns the page's codings, the one with the smallest body first.
    #[inline]
    pub fn by_size(&self) -> impl Iterator<Item = Coding> + use<> {
        let order = self.record.by_size;
        (0..self.codings().len()).map(move |place| Coding::from_bits(order >> (2 * place)))
    }
}

/// One response of a page: what is sent for it in one coding.
#[derive(Debug, Clone, Copy)]
pub struct Variant<'a> {
    /// From the status line to the end of the body.
    whole: &'a [u8],
    record: VariantRecord,
}

impl<'a> Variant<'a> {
    /// Nothing at all; what a page without identity would send. No checked image has one.
    const NONE: Variant<'static> = Variant {
        whole: b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
        record: VariantRecord {
            start: 0,
            body_bytes: 0,
            fields_at: 36,
            type_at: 55,
            rest_at: 55,
            kept_at: 55,
            end_at: 55,
            etag_at: 55,
            etag_bytes: 0,
            insert_at: 0,
            coding: 0,
            spare: 0,
            spare_half: 0,
            spare_word: 0,
        },
    };

    /// Reads a variant; `None` when it is not wholly inside `responses`.
    #[inline]
    pub(crate) fn read(
        record: &[u8; VariantRecord::BYTES],
        responses: &'a [u8],
    ) -> Option<Variant<'a>> {
        let record = VariantRecord::decode(record);
        let bytes = record
            .body_bytes
            .checked_add(u64::from(record.end_at) + 2)?;
        let whole = crate::reader::slice(responses, record.start, bytes)?;
        Some(Variant { whole, record })
    }

    /// Returns whether the parts of the head are in order and the blank line is where it should be.
    pub(crate) fn is_well_formed(&self) -> bool {
        let record = &self.record;
        let is_inside = |at: u16| (record.fields_at..record.end_at).contains(&at);
        let places = [
            9,
            record.fields_at,
            record.type_at,
            record.rest_at,
            record.kept_at,
            record.end_at,
        ];
        let starts = [
            record.fields_at,
            record.type_at,
            record.rest_at,
            record.kept_at,
        ];
        let ends_line = |at: u16| self.upto(at).ends_with(b"\r\n");
        let tag_end = u32::from(record.etag_at) + u32::from(record.etag_bytes);
        places.is_sorted()
            && starts.into_iter().all(ends_line)
            && ends_line(record.end_at)
            && self.from(record.end_at).starts_with(b"\r\n")
            && self.whole.starts_with(b"HTTP/1.1 ")
            && (record.etag_bytes == 0
                || is_inside(record.etag_at) && tag_end < u32::from(record.end_at))
            && (record.insert_at == 0 || is_inside(record.insert_at))
            && usize::from(record.coding) < Coding::ALL.len()
    }

    #[inline]
    fn from(&self, at: u16) -> &'a [u8] {
        self.whole.get(usize::from(at)..).unwrap_or_default()
    }

    #[inline]
    fn upto(&self, end: u16) -> &'a [u8] {
        self.whole.get(..usize::from(end)).unwrap_or_default()
    }

    #[inline]
    fn part(&self, at: u16, end: u16) -> &'a [u8] {
        self.whole
            .get(usize::from(at)..usize::from(end))
            .unwrap_or_default()
    }

    /// The end of the blank line.
    #[inline]
    fn body_at(&self) -> u16 {
        self.record.end_at.saturating_add(2)
    }

    /// Returns the coding.
    #[inline]
    pub fn coding(&self) -> Coding {
        Coding::from_bits(self.record.coding)
    }

    /// Returns the status line with its line end.
    #[inline]
    pub fn status_line(&self) -> &'a [u8] {
        self.upto(self.record.fields_at)
    }

    /// Returns status line and field lines without the blank line, for who puts Date behind them.
    #[inline]
    pub fn lines(&self) -> &'a [u8] {
        self.upto(self.record.end_at)
    }

    /// Returns the field lines, the blank line and the body, in one piece.
    #[inline]
    pub fn response(&self) -> &'a [u8] {
        self.from(self.record.fields_at)
    }

    /// Returns the field lines and the blank line, for answers to HEAD.
    #[inline]
    pub fn head(&self) -> &'a [u8] {
        self.part(self.record.fields_at, self.body_at())
    }

    /// Returns the field lines that a 304 keeps and the blank line.
    #[inline]
    pub fn kept_fields(&self) -> &'a [u8] {
        self.part(self.record.kept_at, self.body_at())
    }

    /// Returns Content-Type and what follows, with the blank line, for 206 with one range. What is
    /// missing is Server, Content-Length and Content-Range.
    #[inline]
    pub fn fields_from_type(&self) -> &'a [u8] {
        self.part(self.record.type_at, self.body_at())
    }

    /// Returns what follows Content-Type, with the blank line, for 206 with several ranges.
    #[inline]
    pub fn fields_behind_type(&self) -> &'a [u8] {
        self.part(self.record.rest_at, self.body_at())
    }

    /// Returns the line of Content-Type with its line end; empty when there is none.
    #[inline]
    pub fn type_line(&self) -> &'a [u8] {
        self.part(self.record.type_at, self.record.rest_at)
    }

    /// Returns the body.
    #[inline]
    pub fn body(&self) -> &'a [u8] {
        self.from(self.body_at())
    }

    /// Returns the entity tag with its quotes, a strong one of this variant alone; empty when
    /// there is none (RFC 9110 §8.8.3).
    #[inline]
    pub fn etag(&self) -> &'a [u8] {
        self.part(
            self.record.etag_at,
            self.record.etag_at.saturating_add(self.record.etag_bytes),
        )
    }

    /// Returns where in [`Self::response`] and [`Self::head`] the bytes of
    /// [`Answer::inserted`](crate::Answer::inserted) are to be put in, if anywhere.
    #[inline]
    pub fn insert_at(&self) -> Option<usize> {
        let at = self.record.insert_at;
        (at != 0).then(|| usize::from(at).saturating_sub(usize::from(self.record.fields_at)))
    }
}
