//! Patterns of paths, as `_redirects` and `_headers` have them, compiled for the reader.
//!
//! A pattern is segments between slashes: text, a placeholder `:name` for one segment that is not
//! empty, or `*`, the splat, once and anywhere, for any bytes. `/folder/*` is for the folder's own
//! name too. One slash at the end makes no difference.

use super::head::percent_encode;
use crate::limits::{MAX_CAPTURES, MAX_PARTS, MAX_PATH_BYTES};
use crate::reader::Site;
use crate::records::{
    CAPTURE, LITERAL, NO_SPLAT, PartRecord, QUERY, RuleRecord, SEGMENT, SPLAT, SPLAT_BELOW,
};
use crate::rules::{self, Room};

/// A part of a pattern or of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    Literal(Vec<u8>),
    Segment,
    Capture(u32),
    Query,
}

/// A pattern.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Pattern {
    pub(super) head: Vec<Part>,
    pub(super) tail: Vec<Part>,
    pub(super) splat: u8,
    /// The captures in order; the splat is called `splat`.
    pub(super) names: Vec<String>,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What is wrong and what to write instead.
    pub(super) fn parse(text: &str) -> Result<Pattern, String> {
        if text.starts_with("http://") || text.starts_with("https://") {
            return Err(format!(
                "{text}: start with / (a site of its own for a host: --host NAME=DIR)"
            ));
        }
        let Some(rest) = text.strip_prefix('/') else {
            return Err(format!("{text}: start with /"));
        };
        if text.contains(['?', '#']) {
            return Err(format!("{text}: a path only, without ? and #"));
        }
        if text.len() > MAX_PATH_BYTES {
            return Err(format!("longer than {MAX_PATH_BYTES} bytes: shorten it"));
        }
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let mut pattern = Pattern::default();
        if !rest.is_empty() {
            for segment in rest.split('/') {
                pattern.push_segment(text, segment)?;
            }
        } else {
            pattern.literal(b"/");
        }
        if pattern.names.len() > MAX_CAPTURES {
            return Err(format!("{text}: {MAX_CAPTURES} placeholders at most"));
        }
        if pattern.head.len() + pattern.tail.len() > MAX_PARTS {
            return Err(format!("{text}: too many placeholders"));
        }
        pattern.let_splat_have_the_folder();
        Ok(pattern)
    }

    fn push_segment(&mut self, text: &str, segment: &str) -> Result<(), String> {
        if matches!(segment, "" | "." | "..") {
            return Err(format!("{text}: write it without //, /./ and /../"));
        }
        self.literal(b"/");
        if let Some(name) = segment.strip_prefix(':') {
            let length = name
                .bytes()
                .take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
                .count();
            if name.starts_with(|first: char| first.is_ascii_alphabetic()) {
                if length < name.len() {
                    return Err(format!(
                        "{text}: a placeholder is a whole segment: /:{}/",
                        &name[..length]
                    ));
                }
                return self.push_placeholder(text, name);
            }
        }
        let mut pieces = segment.split('*');
        self.literal(&decoded(text, pieces.next().unwrap_or_default())?);
        for piece in pieces {
            if self.splat != NO_SPLAT {
                return Err(format!("{text}: one * at most"));
            }
            self.splat = SPLAT;
            self.names.push("splat".to_owned());
            self.literal(&decoded(text, piece)?);
        }
        Ok(())
    }

    fn push_placeholder(&mut self, text: &str, name: &str) -> Result<(), String> {
        if name == "splat" {
            return Err(format!("{text}: :splat stands for the *: write /*"));
        }
        if self.names.iter().any(|known| known == name) {
            return Err(format!("{text}: :{name} stands there twice: rename one"));
        }
        self.names.push(name.to_owned());
        self.side().push(Part::Segment);
        Ok(())
    }

    fn side(&mut self) -> &mut Vec<Part> {
        match self.splat {
            NO_SPLAT => &mut self.head,
            _ => &mut self.tail,
        }
    }

    fn literal(&mut self, bytes: &[u8]) {
        let side = self.side();
        match side.last_mut() {
            _ if bytes.is_empty() => {}
            Some(Part::Literal(before)) => before.extend_from_slice(bytes),
            _ => side.push(Part::Literal(bytes.to_vec())),
        }
    }

    /// Makes `/folder/*` match `/folder` too.
    fn let_splat_have_the_folder(&mut self) {
        if self.splat == NO_SPLAT || !self.tail.is_empty() {
            return;
        }
        if let Some(Part::Literal(last)) = self.head.last_mut()
            && last.ends_with(b"/")
        {
            last.pop();
            if last.is_empty() {
                self.head.pop();
            }
            self.splat = SPLAT_BELOW;
        }
    }

    /// Returns the path, if the pattern is for one only.
    pub(super) fn as_path(&self) -> Option<&[u8]> {
        match (self.head.as_slice(), self.splat) {
            ([Part::Literal(path)], NO_SPLAT) => Some(path),
            _ => None,
        }
    }
}

/// Decodes percent escapes; what is written with and without them is the same path.
fn decoded(text: &str, piece: &str) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(piece.len());
    let mut bytes = piece.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        match (digit(bytes.next()), digit(bytes.next())) {
            (Some(high), Some(low)) if high + low > 0 && (high, low) != (2, 15) => {
                out.push((high << 4 | low) as u8);
            }
            _ => {
                return Err(format!(
                    "{text}: % is followed by two hex digits, not 00 or 2F; a % itself is %25"
                ));
            }
        }
    }
    Ok(out)
}

/// A target with captures, as the redirect's Location or the path of a page.
pub(super) fn target_parts(
    text: &str,
    pattern: &Pattern,
    is_location: bool,
) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    // The host is not to be chosen by who asks.
    let authority_end = match text.find("://") {
        Some(at) => text[at + 3..]
            .find('/')
            .map_or(text.len(), |end| at + 3 + end),
        None => 0,
    };
    while let Some(colon) = rest.find(':') {
        let name: String = rest[colon + 1..]
            .chars()
            .take_while(|letter| letter.is_ascii_alphanumeric() || *letter == '_')
            .collect();
        let at = text.len() - rest.len() + colon;
        literal.push_str(&rest[..colon]);
        rest = &rest[colon + 1 + name.len()..];
        if at < authority_end || !name.starts_with(|first: char| first.is_ascii_alphabetic()) {
            literal.push(':');
            literal.push_str(&name);
            continue;
        }
        let Some(number) = pattern.names.iter().position(|known| *known == name) else {
            return Err(match name.as_str() {
                "splat" => format!("{text}: :splat has no * that it stands for"),
                _ => format!("{text}: :{name} is not in the path (a : itself is %3A)"),
            });
        };
        if is_location && literal.contains('#') {
            return Err(format!("{text}: no placeholder behind the #"));
        }
        push_literal(&mut parts, std::mem::take(&mut literal), is_location, text)?;
        parts.push(Part::Capture(number as u32));
    }
    literal.push_str(rest);
    if is_location && !text.contains('?') {
        // In front of the fragment, which may be in the last literal only.
        let fragment = literal.find('#').map(|at| literal.split_off(at));
        push_literal(&mut parts, literal, is_location, text)?;
        parts.push(Part::Query);
        push_literal(&mut parts, fragment.unwrap_or_default(), is_location, text)?;
    } else {
        push_literal(&mut parts, literal, is_location, text)?;
    }
    if parts.len() > MAX_PARTS {
        return Err(format!("{text}: too many placeholders"));
    }
    Ok(parts)
}

fn push_literal(
    parts: &mut Vec<Part>,
    literal: String,
    is_location: bool,
    text: &str,
) -> Result<(), String> {
    if literal.is_empty() {
        return Ok(());
    }
    let bytes = match is_location {
        true => uri_bytes(&literal),
        false => decoded(text, &literal)?,
    };
    parts.push(Part::Literal(bytes));
    Ok(())
}

/// Returns text as it may stand in a URI: what is not ASCII, or not allowed, in percent form.
pub(super) fn uri_bytes(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte) {
            out.push(byte);
        } else {
            out.extend(percent_encode(&[byte]));
        }
    }
    out
}

/// The tables of one rule, as they stand in an image.
#[derive(Debug, Clone, Default)]
pub(super) struct Compiled {
    pub(super) rule: RuleRecord,
    parts: Vec<[u8; PartRecord::BYTES]>,
    text: Vec<u8>,
}

impl Compiled {
    /// Compiles a pattern, with a target if it has one.
    pub(super) fn new(pattern: &Pattern, target: &[Part], action: u8) -> Compiled {
        let mut compiled = Compiled {
            rule: RuleRecord {
                head_parts: pattern.head.len() as u8,
                tail_parts: pattern.tail.len() as u8,
                target_parts: target.len() as u8,
                splat: pattern.splat,
                action,
                ..RuleRecord::default()
            },
            ..Compiled::default()
        };
        for part in pattern.head.iter().chain(&pattern.tail).chain(target) {
            let (at, bytes, kind) = match part {
                Part::Literal(literal) => {
                    let at = compiled.text.len() as u32;
                    compiled.text.extend_from_slice(literal);
                    (at, literal.len() as u16, LITERAL)
                }
                Part::Segment => (0, 0, SEGMENT),
                Part::Capture(number) => (*number, 0, CAPTURE),
                Part::Query => (0, 0, QUERY),
            };
            let record = PartRecord {
                at,
                bytes,
                kind,
                spare: 0,
            };
            compiled.parts.push(record.encode());
        }
        compiled
    }

    /// Returns the parts with the bytes of the literals.
    pub(super) fn parts(&self) -> impl Iterator<Item = (PartRecord, &[u8])> {
        self.parts.iter().map(|part| {
            let part = PartRecord::decode(part);
            let text = match part.kind {
                LITERAL => &self.text[part.at as usize..][..part.bytes.into()],
                _ => &[],
            };
            (part, text)
        })
    }

    /// Returns whether a path matches, decided by the reader's own code.
    pub(super) fn matches(&self, path: &[u8]) -> bool {
        rules::captures(&self.tables(), &self.rule, path).is_some()
    }

    /// Returns the Location, or the path, that the target is for a path that matches; the query
    /// is left out.
    pub(super) fn target(&self, path: &[u8], is_location: bool) -> Option<Vec<u8>> {
        let tables = self.tables();
        let captures = rules::captures(&tables, &self.rule, path)?;
        // Each capture may be in every part, three bytes for one.
        let mut room = vec![0; self.text.len() + 3 * path.len() * self.parts.len()];
        let mut out = Room::new(&mut room);
        match is_location {
            true => rules::write_location(&tables, &self.rule, path, &captures, None, &mut out),
            false => rules::write_path(&tables, &self.rule, path, &captures, &mut out),
        }
        out.finish().ok().map(<[u8]>::to_vec)
    }

    fn tables(&self) -> Site<'_> {
        Site {
            responses: &[],
            pages: &[],
            paths: &[],
            variants: &[],
            seeds: &[],
            slots: &[],
            hosts: &[],
            names: &[],
            rules: &[],
            parts: &self.parts,
            text: &self.text,
        }
    }
}

#[cfg(test)]
#[path = "pattern_tests.rs"]
mod tests;
