//! Rules at run time: whether a path matches, and what becomes of it.
//!
//! A pattern is at most one splat between parts that each match in one way only: a literal is
//! where it is, a placeholder ends at the next slash. So a pattern is matched in one pass from both
//! ends, without going back, and a target is written in one pass. Nothing is allocated.
//!
//! Upstream: [`Host::answer`](crate::Host::answer). The packer's compiler is `pack::redirects`.

use crate::host::NoRoom;
use crate::limits::MAX_CAPTURES;
use crate::reader::Site;
use crate::records::{CAPTURE, LITERAL, NO_SPLAT, PartRecord, QUERY, RuleRecord, SPLAT_BELOW};
use core::ops::Range;

/// What the placeholders and the splat of a pattern matched, as ranges of the path.
pub(crate) struct Captures {
    ranges: [Range<u16>; MAX_CAPTURES],
}

/// Returns what the rule's pattern captures of `path`, `None` when it does not match.
#[inline]
pub(crate) fn captures(site: &Site<'_>, rule: &RuleRecord, path: &[u8]) -> Option<Captures> {
    u16::try_from(path.len()).ok()?;
    let first = rule.first_part as usize;
    let (head, tail) = site
        .parts
        .get(first..)?
        .split_at_checked(rule.head_parts.into())?;
    let tail = tail.get(..usize::from(rule.tail_parts))?;
    let mut found = Captures {
        ranges: [const { 0..0 }; MAX_CAPTURES],
    };
    let mut count = 0;
    // What is not matched yet is `path[start..end]`.
    let (mut start, mut end) = (0, path.len());
    for part in head.iter().map(PartRecord::decode) {
        let rest = path.get(start..)?;
        if part.kind == LITERAL {
            let literal = site.text(part.at, part.bytes)?;
            rest.starts_with(literal).then_some(())?;
            start += literal.len();
        } else {
            let bytes = rest.iter().position(|byte| *byte == b'/');
            let bytes = bytes.unwrap_or(rest.len());
            found.set(count, start..start + bytes)?;
            count += 1;
            start += bytes;
        }
    }
    if rule.splat == NO_SPLAT {
        let rest = path.get(start..end)?;
        // One slash at the end makes no difference.
        return (rest.is_empty() || rest == b"/" && start > 1).then_some(found);
    }
    let splat = count;
    count += 1 + tail.iter().filter(|part| is_capture(part)).count();
    for part in tail.iter().rev().map(PartRecord::decode) {
        let rest = path.get(start..end)?;
        if part.kind == LITERAL {
            let literal = site.text(part.at, part.bytes)?;
            rest.ends_with(literal).then_some(())?;
            end -= literal.len();
        } else {
            let slash = rest.iter().rposition(|byte| *byte == b'/');
            let from = start + slash.map_or(0, |slash| slash + 1);
            count -= 1;
            found.set(count, from..end)?;
            end = from;
        }
    }
    if rule.splat == SPLAT_BELOW && start < end {
        (path.get(start) == Some(&b'/')).then_some(())?;
        start += 1;
    }
    found
        .ranges
        .get_mut(splat)?
        .clone_from(&(start as u16..end as u16));
    Some(found)
}

fn is_capture(part: &[u8; PartRecord::BYTES]) -> bool {
    PartRecord::decode(part).kind != LITERAL
}

impl Captures {
    /// Sets a placeholder's range; `None` when it is empty.
    fn set(&mut self, number: usize, range: Range<usize>) -> Option<()> {
        let range_bytes = range.len();
        let place = self.ranges.get_mut(number)?;
        *place = range.start as u16..range.end as u16;
        (range_bytes > 0).then_some(())
    }

    fn of<'p>(&self, number: u32, path: &'p [u8]) -> &'p [u8] {
        let range = self.ranges.get(number as usize);
        range
            .and_then(|range| path.get(usize::from(range.start)..usize::from(range.end)))
            .unwrap_or_default()
    }
}

fn target<'a>(site: &Site<'a>, rule: &RuleRecord) -> impl Iterator<Item = PartRecord> + use<'a> {
    let first =
        rule.first_part as usize + usize::from(rule.head_parts) + usize::from(rule.tail_parts);
    let parts = site.parts.get(first..).unwrap_or_default();
    parts
        .iter()
        .take(rule.target_parts.into())
        .map(PartRecord::decode)
}

/// Writes the path that a rewrite leads to.
pub(crate) fn write_path(
    site: &Site<'_>,
    rule: &RuleRecord,
    path: &[u8],
    captures: &Captures,
    out: &mut Room<'_>,
) {
    for part in target(site, rule) {
        match part.kind {
            LITERAL => out.push_all(site.text(part.at, part.bytes).unwrap_or_default()),
            CAPTURE => out.push_all(captures.of(part.at, path)),
            _ => {}
        }
    }
}

/// Writes the Location that a redirect leads to.
pub(crate) fn write_location(
    site: &Site<'_>,
    rule: &RuleRecord,
    path: &[u8],
    captures: &Captures,
    query: Option<&[u8]>,
    out: &mut Room<'_>,
) {
    for part in target(site, rule) {
        let (bytes, is_encoded) = match part.kind {
            // The packer has encoded it.
            LITERAL => (site.text(part.at, part.bytes).unwrap_or_default(), true),
            CAPTURE => (captures.of(part.at, path), false),
            QUERY => {
                out.push_query(query);
                continue;
            }
            _ => continue,
        };
        // `//name` would be another server (RFC 3986 §4.2).
        let slashes = match out.written() == b"/" {
            true => bytes.iter().take_while(|byte| **byte == b'/').count(),
            false => 0,
        };
        match is_encoded {
            true => out.push_all(&bytes[slashes..]),
            false => out.push_encoded(&bytes[slashes..], b"-._~/"),
        }
    }
}

/// Bytes that are being written into room that is given.
pub(crate) struct Room<'r> {
    bytes: &'r mut [u8],
    length: usize,
    is_overrun: bool,
}

impl<'r> Room<'r> {
    pub(crate) fn new(bytes: &'r mut [u8]) -> Self {
        Room {
            bytes,
            length: 0,
            is_overrun: false,
        }
    }

    pub(crate) fn written(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    pub(crate) fn clear(&mut self) {
        self.length = 0;
    }

    pub(crate) fn finish(self) -> Result<&'r [u8], NoRoom> {
        match self.is_overrun {
            false => Ok(self.bytes.get(..self.length).unwrap_or_default()),
            true => Err(NoRoom),
        }
    }

    fn push_all(&mut self, bytes: &[u8]) {
        let end = self.length + bytes.len();
        match self.bytes.get_mut(self.length..end) {
            Some(place) => {
                place.copy_from_slice(bytes);
                self.length = end;
            }
            None => self.is_overrun = true,
        }
    }

    /// Writes bytes as they may stand in a URI: letters, digits and `safe` as they are.
    fn push_encoded(&mut self, bytes: &[u8], safe: &[u8]) {
        const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
        for byte in bytes {
            if byte.is_ascii_alphanumeric() || safe.contains(byte) {
                self.push_all(&[*byte]);
            } else {
                let [high, low] = [byte >> 4, byte & 0xf].map(|half| DIGITS[usize::from(half)]);
                self.push_all(&[b'%', high, low]);
            }
        }
    }

    /// Writes a query with its question mark (RFC 3986 §3.4). What may not stand in one is encoded.
    pub(crate) fn push_query(&mut self, query: Option<&[u8]>) {
        if let Some(query) = query {
            self.push_all(b"?");
            self.push_encoded(query, b"-._~/?:@!$&'()*+,;=%");
        }
    }
}
