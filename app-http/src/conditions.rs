//! Conditional requests (RFC 9110 §13).
//!
//! Upstream: the fields of a request. Downstream: [`request`](crate::request), which asks only when
//! the answer would be 200 (§13.2.1).

use crate::date;
use crate::fields::{Field, Fields};

/// What the conditions of a request come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The request is answered as if there were none.
    Proceed,
    /// The client has this already: 304.
    NotModified,
    /// What the client relies on is not so: 412.
    Failed,
}

/// What conditions are compared with: a page in the coding that would be sent.
#[derive(Debug, Clone, Copy)]
pub struct Validators<'s> {
    /// The strong entity tag with its quotes; empty when there is none.
    pub etag: &'s [u8],
    /// Last-Modified as a Unix time in seconds.
    pub modified: Option<u64>,
    /// Unix time in seconds.
    pub now: u64,
}

/// Which tags are the same (RFC 9110 §8.8.3.2).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    /// Only strong ones.
    Strong,
    /// Weak ones too.
    Weak,
}

impl Validators<'_> {
    /// Evaluates the conditions of a GET or HEAD, in the order of §13.2.2.
    pub fn evaluate(&self, fields: &Fields<'_>) -> Outcome {
        let preconditions_hold = if fields.has(Field::IfMatch) {
            self.any_matches(fields, Field::IfMatch, b"if-match", Comparison::Strong)
        } else {
            self.date_of(fields, Field::IfUnmodifiedSince)
                .is_none_or(|(modified, date)| modified <= date)
        };
        if !preconditions_hold {
            return Outcome::Failed;
        }
        let is_known = if fields.has(Field::IfNoneMatch) {
            self.any_matches(
                fields,
                Field::IfNoneMatch,
                b"if-none-match",
                Comparison::Weak,
            )
        } else {
            self.date_of(fields, Field::IfModifiedSince)
                .is_some_and(|(modified, date)| modified <= date)
        };
        match is_known {
            true => Outcome::NotModified,
            false => Outcome::Proceed,
        }
    }

    /// Returns whether Range counts: there is no If-Range, or it names what would be sent, by a
    /// strong tag or by the exact date (§13.1.5).
    pub fn range_applies(&self, fields: &Fields<'_>) -> bool {
        if !fields.has(Field::IfRange) {
            return true;
        }
        let Some(value) = fields.single(Field::IfRange) else {
            return false;
        };
        if value.starts_with(b"\"") || value.starts_with(b"W/") {
            return !self.etag.is_empty() && value == self.etag;
        }
        // A date is strong when it is over: §8.8.2.2.
        date::parse(value, self.now)
            .is_some_and(|date| Some(date) == self.modified && date < self.now)
    }

    fn any_matches(
        &self,
        fields: &Fields<'_>,
        field: Field,
        name: &'static [u8],
        comparison: Comparison,
    ) -> bool {
        let mut lists = fields.all(field, name);
        lists.any(|list| list_has(list, self.etag, comparison))
    }

    /// Returns Last-Modified and the date in a field; `None` when either is missing, when the date
    /// is malformed, or when the field is repeated.
    fn date_of(&self, fields: &Fields<'_>, field: Field) -> Option<(u64, u64)> {
        let date = date::parse(fields.single(field)?, self.now)?;
        Some((self.modified?, date))
    }
}

/// Returns whether a list of tags is `*` or has `etag`. Commas may stand inside a tag, so the list
/// is read tag by tag; it ends where it is malformed.
fn list_has(list: &[u8], etag: &[u8], comparison: Comparison) -> bool {
    let mut rest = list.trim_ascii();
    if rest == b"*" {
        return true;
    }
    while !rest.is_empty() {
        let weak = rest.strip_prefix(b"W/");
        let tag = weak.unwrap_or(rest);
        let Some(quoted) = tag.strip_prefix(b"\"") else {
            return false;
        };
        let Some(end) = quoted.iter().position(|byte| *byte == b'"') else {
            return false;
        };
        let counts = weak.is_none() || comparison == Comparison::Weak;
        if counts && &tag[..end + 2] == etag {
            return true;
        }
        rest = tag[end + 2..].trim_ascii_start();
        if !rest.is_empty() && !rest.starts_with(b",") {
            return false;
        }
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
            assert!(
                list_has(list.as_bytes(), b"\"a\"", Comparison::Weak),
                "{list}"
            );
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
            "\"b\" \"a\"",
            "W/ \"a\"",
        ] {
            assert!(
                !list_has(list.as_bytes(), b"\"a\"", Comparison::Weak),
                "{list}"
            );
        }
    }

    #[test]
    fn weak_tags_are_never_strongly_equal() {
        assert!(list_has(b"\"b\", \"a\"", b"\"a\"", Comparison::Strong));
        assert!(list_has(b"*", b"\"a\"", Comparison::Strong));
        assert!(list_has(b"W/\"a\", \"a\"", b"\"a\"", Comparison::Strong));
        assert!(!list_has(b"W/\"a\"", b"\"a\"", Comparison::Strong));
    }
}
