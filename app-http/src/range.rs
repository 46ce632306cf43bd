//! Range requests (RFC 9110 §14).
//!
//! Upstream: the Range of a GET whose answer would be 200. Downstream:
//! [`request`](crate::request). Other range units are ignored, as RFC 9110 §14.2 allows; what is
//! `bytes` and malformed is answered like what cannot be satisfied, with 416 and the length, so that
//! the client learns it.

use crate::fields::decimal;
use crate::limits::MAX_RANGES;

/// Bytes `first..end` of a body; never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ByteRange {
    /// The first byte.
    pub first: u64,
    /// Behind the last byte.
    pub end: u64,
}

impl ByteRange {
    /// Returns the number of bytes.
    pub fn bytes(self) -> u64 {
        self.end - self.first
    }
}

/// Ranges in the order in which they were asked for.
pub type Ranges = heapless::Vec<ByteRange, MAX_RANGES>;

/// What a Range comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selection {
    /// Everything: Range does not count.
    Whole,
    /// 206 with one range.
    One(ByteRange),
    /// 206 with several; they are in the list that was given.
    Several,
    /// 416.
    Unsatisfiable,
}

/// Finds what of a body of `length` bytes is asked for; `ranges` is empty, and filled for
/// [`Selection::Several`].
pub fn select(value: &[u8], length: u64, ranges: &mut Ranges) -> Selection {
    let Some((unit, set)) = value.split_at_checked(b"bytes=".len()) else {
        return Selection::Whole;
    };
    if !unit.eq_ignore_ascii_case(b"bytes=") {
        return Selection::Whole;
    }
    let mut is_too_many = false;
    let mut total = 0u64;
    for spec in set.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
        // Empty elements of a list count for nothing (RFC 9110 §5.6.1.2).
        if spec.is_empty() {
            continue;
        }
        match parse(spec, length) {
            Err(Malformed) => return Selection::Unsatisfiable,
            Ok(None) => {}
            Ok(Some(range)) => {
                total = total.saturating_add(range.bytes());
                is_too_many |= ranges.push(range).is_err();
            }
        }
    }
    match ranges.as_slice() {
        [] => Selection::Unsatisfiable,
        [range] => Selection::One(*range),
        _ if is_too_many || total > length => Selection::Whole,
        _ => Selection::Several,
    }
}

struct Malformed;

/// Parses `first-last`, `first-` or `-suffix`; `None` for one that no byte of the body is in.
fn parse(spec: &[u8], length: u64) -> Result<Option<ByteRange>, Malformed> {
    let dash = spec
        .iter()
        .position(|byte| *byte == b'-')
        .ok_or(Malformed)?;
    let (first, last) = (&spec[..dash], &spec[dash + 1..]);
    let range = match (first, last) {
        (b"", b"") => return Err(Malformed),
        (b"", suffix) => ByteRange {
            first: length.saturating_sub(position(suffix)?),
            end: length,
        },
        (first, b"") => ByteRange {
            first: position(first)?,
            end: length,
        },
        (first, last) => {
            let (first, last) = (position(first)?, position(last)?);
            if first > last {
                return Err(Malformed);
            }
            ByteRange {
                first,
                end: last.saturating_add(1).min(length),
            }
        }
    };
    Ok((range.first < range.end).then_some(range))
}

/// Parses a position; one that is too large for a number is behind the end of every body.
fn position(digits: &[u8]) -> Result<u64, Malformed> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Malformed);
    }
    Ok(decimal(digits).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;
    use std::string::String;
    use std::vec;
    use std::vec::Vec;

    fn of(value: &str, length: u64) -> (Selection, Vec<(u64, u64)>) {
        let mut ranges = Ranges::new();
        let selection = select(value.as_bytes(), length, &mut ranges);
        let list = ranges
            .iter()
            .map(|range| (range.first, range.end))
            .collect();
        (selection, list)
    }

    #[track_caller]
    fn one(value: &str, first: u64, end: u64) {
        let range = ByteRange { first, end };
        assert_eq!(of(value, 1000).0, Selection::One(range), "{value}");
    }

    #[test]
    fn a_single_range_is_clipped_to_the_body() {
        one("bytes=0-0", 0, 1);
        one("bytes=0-499", 0, 500);
        one("bytes=500-", 500, 1000);
        one("bytes=-1", 999, 1000);
        one("bytes=-5000", 0, 1000);
        one("bytes=990-2000", 990, 1000);
        one("bytes=0-99999999999999999999999", 0, 1000);
        one("BYTES=1-2", 1, 3);
        one("bytes= 1-2 ,", 1, 3);
        one("bytes=1-2,1000-", 1, 3);
    }

    #[test]
    fn what_is_outside_or_malformed_cannot_be_satisfied() {
        for value in [
            "bytes=1000-",
            "bytes=1000-2000",
            "bytes=-0",
            "bytes=",
            "bytes=,",
            "bytes=-",
            "bytes=5-4",
            "bytes=a-b",
            "bytes=1",
            "bytes=1-2-3",
            "bytes=1-2,x",
            "bytes=+1-2",
            "bytes=1 -2",
            "bytes=99999999999999999999999-",
            "bytes=--1",
        ] {
            assert_eq!(of(value, 1000).0, Selection::Unsatisfiable, "{value}");
        }
        for value in ["bytes=0-", "bytes=-1", "bytes=0-0"] {
            assert_eq!(of(value, 0).0, Selection::Unsatisfiable, "{value}");
        }
    }

    #[test]
    fn other_units_do_not_count() {
        for value in [
            "",
            "bytes",
            "lines=1-2",
            "bytes 1-2",
            "bytes:1-2",
            "byte=1-2",
        ] {
            assert_eq!(of(value, 1000).0, Selection::Whole, "{value}");
        }
    }

    #[test]
    fn several_ranges_keep_their_order() {
        let (selection, list) = of("bytes=900-, 0-9,-5", 1000);
        assert_eq!(selection, Selection::Several);
        assert_eq!(list, vec![(900, 1000), (0, 10), (995, 1000)]);
    }

    #[test]
    fn ranges_of_more_than_the_body_or_too_many_are_answered_with_all_of_it() {
        assert_eq!(of("bytes=0-999,0-0", 1000).0, Selection::Whole);
        assert_eq!(of("bytes=0-,0-,0-", 1000).0, Selection::Whole);
        assert_eq!(of("bytes=0-499,500-", 1000).0, Selection::Several);
        let many = |count: usize| -> String {
            let list: Vec<String> = (0..count).map(|place| format!("{place}-{place}")).collect();
            format!("bytes={}", list.join(","))
        };
        assert_eq!(of(&many(MAX_RANGES), 1000).0, Selection::Several);
        assert_eq!(of(&many(MAX_RANGES + 1), 1000).0, Selection::Whole);
    }
}
