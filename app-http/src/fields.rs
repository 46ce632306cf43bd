//! What the field lines of a request mean for the server, read once.
//!
//! Names are told apart by their length and then compared whole. Values that only some requests
//! need (conditions, ranges, codings) are kept as places and read when they are asked for.

use crate::authority;
use crate::field_line::{
    ACCEPT, HOST, Place, USER_AGENT, eight, is_long_name, is_name, trim, unusual_name_end,
};
use crate::refusal::Refusal;
use crate::scan::{find, not_name};

/// A field whose value is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// Host.
    Host,
    /// If-Match.
    IfMatch,
    /// If-None-Match.
    IfNoneMatch,
    /// If-Modified-Since.
    IfModifiedSince,
    /// If-Unmodified-Since.
    IfUnmodifiedSince,
    /// If-Range.
    IfRange,
    /// Range.
    Range,
    /// Accept-Encoding.
    AcceptEncoding,
}

const FIELDS: usize = 8;

impl Field {
    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// The fields that make a request for a page more than "send me all of it".
const SELECTING: u16 = Field::IfMatch.bit()
    | Field::IfNoneMatch.bit()
    | Field::IfModifiedSince.bit()
    | Field::IfUnmodifiedSince.bit()
    | Field::Range.bit();

/// What the field lines say.
#[derive(Debug)]
pub struct Fields<'a> {
    input: &'a [u8],
    values: [Place; FIELDS],
    /// Bits of the fields that are there.
    seen: u16,
    /// Bits of the fields that are there more than once.
    repeated: u16,
    /// The lines, for fields that may be repeated.
    lines: Place,
    /// A Connection line has the token `close`.
    pub has_close: bool,
    /// A Connection line has the token `keep-alive`.
    pub has_keep_alive: bool,
    /// `Expect: 100-continue`.
    pub expects_continue: bool,
    /// Expect has something else.
    pub expects_unknown: bool,
    /// There is a Transfer-Encoding; it is `chunked`.
    pub is_chunked: bool,
    /// Content-Length, in bytes.
    pub content_length: Option<u64>,
}

impl<'a> Fields<'a> {
    /// Begins with no field lines; they are in `input` from `start` on.
    #[inline(always)]
    pub(crate) fn new(input: &'a [u8], start: usize) -> Self {
        Fields {
            input,
            values: [Place::default(); FIELDS],
            seen: 0,
            repeated: 0,
            lines: Place::new(start, start),
            has_close: false,
            has_keep_alive: false,
            expects_continue: false,
            expects_unknown: false,
            is_chunked: false,
            content_length: None,
        }
    }

    /// Reads the field line from `start` to `end`, where a line end is; it has no control
    /// characters but tabs.
    ///
    /// # Errors
    /// [`Refusal::FieldLine`] when it does not start with a token and a colon, [`Refusal::Host`]
    /// for a second Host, [`Refusal::Framing`] for a Content-Length that is malformed or repeated,
    /// [`Refusal::TransferCoding`] for codings other than chunked.
    #[inline(always)]
    pub(crate) fn read_line(&mut self, start: usize, end: usize) -> Result<(), Refusal> {
        // The line that every request has, and the two that nearly every one has and that mean
        // nothing here. Its line end and the last one are behind it, so that there are eight bytes.
        match eight(self.input, start) {
            Some(bytes) if bytes << 24 == HOST => self.keep_host(start + b"host:".len(), end),
            Some(bytes) if bytes << 8 == ACCEPT => Ok(()),
            Some(bytes)
                if bytes == USER_AGENT[0]
                    && eight(self.input, start + 3) == Some(USER_AGENT[1]) =>
            {
                Ok(())
            }
            _ => self.read_any_line(start, end),
        }
    }

    #[inline(always)]
    fn read_any_line(&mut self, start: usize, end: usize) -> Result<(), Refusal> {
        // The line end stops the search.
        let mut colon = find(self.input, start, not_name).unwrap_or(end);
        if self.input[colon] != b':' {
            colon = unusual_name_end(self.input, colon, end)?;
        }
        let name = &self.input[start..colon];
        if name.is_empty() {
            return Err(Refusal::FieldLine);
        }
        let value = || trim(self.input, colon + 1, end);
        match name.len() {
            5 if is_name(name, b"range") => self.keep(Field::Range, value()),
            6 if is_name(name, b"expect") => self.read_expect(value()),
            8 if is_name(name, b"if-match") => self.keep(Field::IfMatch, value()),
            8 if is_name(name, b"if-range") => self.keep(Field::IfRange, value()),
            10 if is_name(name, b"connection") => self.read_connection(value()),
            13 if is_name(name, b"if-none-match") => self.keep(Field::IfNoneMatch, value()),
            14 if is_name(name, b"content-length") => return self.read_content_length(value()),
            15 if is_name(name, b"accept-encoding") => self.keep(Field::AcceptEncoding, value()),
            17 if is_long_name(name, b"if-modified-since") => {
                self.keep(Field::IfModifiedSince, value());
            }
            17 if is_long_name(name, b"transfer-encoding") => {
                return self.read_transfer_encoding(value());
            }
            19 if is_long_name(name, b"if-unmodified-since") => {
                self.keep(Field::IfUnmodifiedSince, value());
            }
            _ => {}
        }
        Ok(())
    }

    /// Checks what only all lines together tell; they end at `end`.
    ///
    /// # Errors
    /// [`Refusal::Framing`] for a Content-Length beside a Transfer-Encoding (RFC 9112 §6.3).
    #[inline(always)]
    pub(crate) fn finish(&mut self, end: usize) -> Result<(), Refusal> {
        self.lines.end = end as u16;
        if self.is_chunked && self.content_length.is_some() {
            return Err(Refusal::Framing);
        }
        Ok(())
    }

    /// Returns whether a field is there.
    #[inline]
    pub fn has(&self, field: Field) -> bool {
        self.seen & field.bit() != 0
    }

    /// Returns whether a condition or Range is there.
    #[inline(always)]
    pub fn has_condition_or_range(&self) -> bool {
        self.seen & SELECTING != 0
    }

    /// Returns whether something is there that has to do with content behind the head, or with the
    /// end of the connection.
    #[inline(always)]
    pub fn has_framing_or_close(&self) -> bool {
        self.is_chunked | self.has_close | self.content_length.is_some() | self.expects_continue
    }

    /// Returns whether the answer depends on more than target, host and one If-None-Match: on
    /// other conditions, ranges, content, or expectations.
    #[inline(always)]
    pub fn is_special(&self) -> bool {
        let is_selecting = self.seen & SELECTING & !Field::IfNoneMatch.bit() != 0;
        is_selecting | (self.repeated != 0) | self.has_framing_or_close() | self.expects_unknown
    }

    /// Returns the value of a field that may be there once; `None` too when it is there twice.
    #[inline]
    pub fn single(&self, field: Field) -> Option<&'a [u8]> {
        let is_single = self.seen & !self.repeated & field.bit() != 0;
        is_single.then(|| self.bytes(self.values[field as usize]))
    }

    /// Returns where the value of a field is that is there, from the first line on.
    #[inline(always)]
    pub(crate) fn place(&self, field: Field) -> Option<Place> {
        let place = self.values[field as usize];
        let start = self.lines.start;
        self.has(field).then(|| Place {
            start: place.start - start,
            end: place.end - start,
        })
    }

    /// Returns the value of the first line of a field.
    #[inline]
    pub fn first(&self, field: Field) -> Option<&'a [u8]> {
        self.has(field)
            .then(|| self.bytes(self.values[field as usize]))
    }

    /// Returns the values of all lines of a field, which together are one list
    /// (RFC 9110 §5.3); `name` is the field's in lower case.
    pub fn all(
        &self,
        field: Field,
        name: &'static [u8],
    ) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let is_repeated = self.repeated & field.bit() != 0;
        let once = self.first(field).filter(|_| !is_repeated);
        let lines = if is_repeated {
            self.bytes(self.lines)
        } else {
            &[]
        };
        once.into_iter().chain(values(lines, name))
    }

    /// Returns the value of the first line with this name, in lower case, of a field that is not
    /// kept.
    pub fn other(&self, name: &'static [u8]) -> Option<&'a [u8]> {
        values(self.bytes(self.lines), name).next()
    }

    /// Returns the host that is named, without its port; `None` in it when Host is malformed.
    #[inline(always)]
    pub fn host(&self) -> Option<Option<&'a [u8]>> {
        let place = self.values[Field::Host as usize];
        self.has(Field::Host)
            .then(|| authority::host(self.input, place.start.into(), place.end.into()))
    }

    /// Returns whether content follows the head.
    #[inline]
    pub fn has_content(&self) -> bool {
        self.is_chunked || self.content_length.is_some_and(|bytes| bytes > 0)
    }

    /// Keeps the first value of a field.
    #[inline(always)]
    fn keep(&mut self, field: Field, place: Place) {
        if self.has(field) {
            self.repeated |= field.bit();
        } else {
            self.seen |= field.bit();
            self.values[field as usize] = place;
        }
    }

    #[inline(always)]
    fn keep_host(&mut self, start: usize, end: usize) -> Result<(), Refusal> {
        if self.has(Field::Host) {
            return Err(Refusal::Host);
        }
        self.keep(Field::Host, trim(self.input, start, end));
        Ok(())
    }

    #[inline(always)]
    fn bytes(&self, place: Place) -> &'a [u8] {
        place.of(self.input)
    }

    #[cold]
    fn read_expect(&mut self, place: Place) {
        let value = self.bytes(place);
        for expectation in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            if expectation.eq_ignore_ascii_case(b"100-continue") {
                self.expects_continue = true;
            } else if !expectation.is_empty() {
                self.expects_unknown = true;
            }
        }
    }

    fn read_connection(&mut self, place: Place) {
        let value = self.bytes(place);
        if value.len() == 10 && is_name(value, b"keep-alive") {
            self.has_keep_alive = true;
            return;
        }
        for token in value.split(|byte| *byte == b',') {
            let token = token.trim_ascii();
            self.has_close |= token.eq_ignore_ascii_case(b"close");
            self.has_keep_alive |= token.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    #[cold]
    fn read_content_length(&mut self, place: Place) -> Result<(), Refusal> {
        let bytes = decimal(self.bytes(place)).ok_or(Refusal::Framing)?;
        match self.content_length.replace(bytes) {
            None => Ok(()),
            Some(_) => Err(Refusal::Framing),
        }
    }

    #[cold]
    fn read_transfer_encoding(&mut self, place: Place) -> Result<(), Refusal> {
        let value = self.bytes(place);
        if self.is_chunked {
            return Err(Refusal::Framing);
        }
        self.is_chunked = value.eq_ignore_ascii_case(b"chunked");
        if self.is_chunked {
            Ok(())
        } else {
            Err(Refusal::TransferCoding)
        }
    }
}

/// Finds the values of the field lines with this name.
fn values<'a>(lines: &'a [u8], name: &'static [u8]) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    lines.split(|byte| *byte == b'\n').filter_map(move |line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let value = line[colon + 1..].strip_suffix(b"\r")?;
        line[..colon]
            .eq_ignore_ascii_case(name)
            .then(|| value.trim_ascii())
    })
}

/// Returns a number of digits only, `None` also when it does not fit.
pub fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |number, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit < 10).then_some(())?;
        number.checked_mul(10)?.checked_add(digit.into())
    })
}
