//! What the field lines of a request mean for the server: read once, names compared by length
//! first.

use crate::refusal::Refusal;
use crate::target::is_authority;
use httparse::Header;

/// The fields that matter, from one pass over the field lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fields {
    /// Host lines.
    pub hosts: u32,
    /// A Connection line has the token `close`.
    pub has_close: bool,
    /// A Connection line has the token `keep-alive`.
    pub has_keep_alive: bool,
    /// There is an If-None-Match line.
    pub has_if_none_match: bool,
    /// `Expect: 100-continue`.
    pub expects_continue: bool,
    /// Content-Length, in bytes.
    pub content_length: Option<u64>,
    /// There is a Transfer-Encoding; it is `chunked`.
    pub is_chunked: bool,
}

impl Fields {
    /// Reads the field lines.
    ///
    /// # Errors
    /// [`Refusal::Host`] for a malformed or second Host, [`Refusal::Framing`] for a Content-Length
    /// that is malformed, repeated or beside a Transfer-Encoding, [`Refusal::TransferCoding`] for
    /// codings other than chunked.
    #[inline]
    pub fn read(headers: &[Header<'_>]) -> Result<Self, Refusal> {
        let mut fields = Fields::default();
        for header in headers {
            let name = header.name.as_bytes();
            match name.len() {
                4 if is(name, b"host") => fields.read_host(header.value)?,
                6 if is(name, b"expect") => {
                    fields.expects_continue |= header.value.eq_ignore_ascii_case(b"100-continue");
                }
                10 if is(name, b"connection") => fields.read_connection(header.value),
                13 if is(name, b"if-none-match") => fields.has_if_none_match = true,
                14 if is(name, b"content-length") => fields.read_content_length(header.value)?,
                17 if is(name, b"transfer-encoding") => {
                    fields.read_transfer_encoding(header.value)?
                }
                _ => {}
            }
        }
        if fields.is_chunked && fields.content_length.is_some() {
            return Err(Refusal::Framing);
        }
        Ok(fields)
    }

    /// Returns whether content follows the head.
    pub fn has_content(&self) -> bool {
        self.is_chunked || self.content_length.is_some_and(|bytes| bytes > 0)
    }

    fn read_host(&mut self, value: &[u8]) -> Result<(), Refusal> {
        self.hosts += 1;
        if self.hosts > 1 || !is_authority(value) {
            return Err(Refusal::Host);
        }
        Ok(())
    }

    fn read_connection(&mut self, value: &[u8]) {
        for token in value.split(|byte| *byte == b',') {
            let token = token.trim_ascii();
            self.has_close |= token.eq_ignore_ascii_case(b"close");
            self.has_keep_alive |= token.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    fn read_content_length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        // `parse` would take a plus sign.
        let digits = value.iter().all(u8::is_ascii_digit);
        let bytes = core::str::from_utf8(value)
            .ok()
            .filter(|_| digits)
            .and_then(|text| text.parse().ok())
            .ok_or(Refusal::Framing)?;
        match self.content_length.replace(bytes) {
            None => Ok(()),
            Some(_) => Err(Refusal::Framing),
        }
    }

    fn read_transfer_encoding(&mut self, value: &[u8]) -> Result<(), Refusal> {
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

/// Compares a field name with one in lower case, whatever the case of its letters. Bit 5 is all
/// that tells the cases apart, and no other byte that httparse lets into a name differs from a
/// letter or a hyphen by it alone.
#[inline]
fn is<const BYTES: usize>(name: &[u8], lower_case: &[u8; BYTES]) -> bool {
    name.first_chunk::<BYTES>().is_some_and(|name| {
        let mut pairs = name.iter().zip(lower_case);
        pairs.all(|(byte, lower)| byte | 0x20 == *lower)
    })
}

/// Returns whether the If-None-Match lines hold `*` or a tag that is weakly equal to `etag`, which
/// has its quotes (RFC 9110 §13.1.2, §8.8.3.2).
pub fn if_none_match_holds(headers: &[Header<'_>], etag: &[u8]) -> bool {
    headers
        .iter()
        .filter(|header| header.name.eq_ignore_ascii_case("if-none-match"))
        .any(|header| list_has(header.value, etag))
}

/// Returns whether a list of tags is `*` or has `etag`. Commas may stand inside a tag, so the list
/// is read tag by tag; it ends where it is malformed.
fn list_has(list: &[u8], etag: &[u8]) -> bool {
    let mut rest = list.trim_ascii();
    if rest == b"*" {
        return true;
    }
    while !rest.is_empty() {
        let tag = rest.strip_prefix(b"W/").unwrap_or(rest);
        let Some(quoted) = tag.strip_prefix(b"\"") else {
            return false;
        };
        let Some(end) = quoted.iter().position(|byte| *byte == b'"') else {
            return false;
        };
        if &tag[..end + 2] == etag {
            return true;
        }
        rest = tag[end + 2..].trim_ascii_start();
        while let Some(after) = rest.strip_prefix(b",") {
            rest = after.trim_ascii_start();
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_found_in_lists_and_compared_weakly() {
        for list in [
            "*",
            " * ",
            "\"a\"",
            "W/\"a\"",
            "\"b\", \"a\"",
            "\"b\" ,, W/\"a\"",
            "\"b,\",\"a\", \"c\"",
        ] {
            assert!(list_has(list.as_bytes(), b"\"a\""), "{list}");
        }
        for list in [
            "",
            "a",
            "\"A\"",
            "\"b\"",
            "\"a",
            "w/\"a\"",
            "\"b, \"a\"",
            "**",
            "*, \"b\"",
            "\"\"a\"",
        ] {
            assert!(!list_has(list.as_bytes(), b"\"a\""), "{list}");
        }
    }
}
