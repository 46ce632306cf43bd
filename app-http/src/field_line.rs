//! The parts of one field line: where its name ends, what its name is, where its value is
//! (RFC 9112 §5).

use crate::head::is_token;
use crate::refusal::Refusal;

/// Where a value is in the input. Heads are far smaller than 64 KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Place {
    pub(crate) start: u16,
    pub(crate) end: u16,
}

impl Place {
    #[inline(always)]
    pub(crate) fn new(start: usize, end: usize) -> Self {
        Place {
            start: start as u16,
            end: end as u16,
        }
    }

    /// Returns the bytes at this place.
    #[inline(always)]
    pub(crate) fn of(self, input: &[u8]) -> &[u8] {
        let (start, end) = (self.start.into(), self.end.into());
        input.get(start..end).unwrap_or_default()
    }
}

/// Returns the place of a value without the blanks and tabs around it.
#[inline(always)]
pub(crate) fn trim(input: &[u8], start: usize, end: usize) -> Place {
    match &input[start..end] {
        // One blank before it and none behind, as nearly every line is written. What is not above
        // the blank is white: there are no other control characters.
        [b' ', first, .., last] if *first > b' ' && *last > b' ' => Place::new(start + 1, end),
        _ => trim_any(input, start, end),
    }
}

#[cold]
fn trim_any(input: &[u8], start: usize, end: usize) -> Place {
    let value = &input[start..end];
    let start = end - value.trim_ascii_start().len();
    Place::new(start, start + value.trim_ascii().len())
}

/// Sets bit 5 of each byte, which is all that tells the cases of a letter apart. No other byte of a
/// field line differs from a letter, a hyphen or a colon by it alone.
pub(crate) const FOLD: u64 = u64::from_le_bytes([0x20; 8]);

pub(crate) const HOST: u64 = u64::from_le_bytes(*b"\0\0\0host:");
pub(crate) const ACCEPT: u64 = u64::from_le_bytes(*b"\0accept:");
pub(crate) const USER_AGENT: [u64; 2] = [
    u64::from_le_bytes(*b"user-age"),
    u64::from_le_bytes(*b"r-agent:"),
];

/// Returns the eight bytes at `start`, if there are as many, in lower case.
#[inline(always)]
pub(crate) fn eight(input: &[u8], start: usize) -> Option<u64> {
    let bytes = input.get(start..)?.first_chunk()?;
    Some(u64::from_le_bytes(*bytes) | FOLD)
}

/// Compares a name of this length, at most 16, with one in lower case.
#[inline(always)]
pub(crate) fn is_name<const BYTES: usize>(name: &[u8], lower_case: &[u8; BYTES]) -> bool {
    if let (Some((first, last)), Some((lower_first, lower_last))) = (ends(name), ends(lower_case)) {
        return first | FOLD == lower_first && last | FOLD == lower_last;
    }
    match (short_ends(name), short_ends(lower_case)) {
        (Some((first, last)), Some((lower_first, lower_last))) => {
            first | FOLD as u32 == lower_first && last | FOLD as u32 == lower_last
        }
        _ => false,
    }
}

/// The same for names of more than sixteen bytes.
pub(crate) fn is_long_name(name: &[u8], lower_case: &[u8]) -> bool {
    name.eq_ignore_ascii_case(lower_case)
}

/// Returns the first eight bytes and the last eight, which may overlap.
#[inline(always)]
fn ends(name: &[u8]) -> Option<(u64, u64)> {
    let (first, last) = (name.first_chunk()?, name.last_chunk()?);
    Some((u64::from_le_bytes(*first), u64::from_le_bytes(*last)))
}

/// Returns the first four bytes and the last four, which may overlap.
#[inline(always)]
fn short_ends(name: &[u8]) -> Option<(u32, u32)> {
    let (first, last) = (name.first_chunk()?, name.last_chunk()?);
    Some((u32::from_le_bytes(*first), u32::from_le_bytes(*last)))
}

/// Finds the colon behind a name that is not made of letters, digits and hyphens alone.
#[cold]
pub(crate) fn unusual_name_end(input: &[u8], from: usize, end: usize) -> Result<usize, Refusal> {
    let rest = &input[from..end];
    let colon = rest
        .iter()
        .position(|byte| *byte == b':')
        .ok_or(Refusal::FieldLine)?;
    if rest[..colon].iter().all(|byte| is_token(*byte)) {
        Ok(from + colon)
    } else {
        Err(Refusal::FieldLine)
    }
}
