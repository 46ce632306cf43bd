//! The response heads, written once here so that the server formats nothing.
//!
//! The order of the lines is that of [`format`](mod@crate::format), so that the server can cut other
//! answers out of them.

use super::fields::FieldSet;
use crate::coding::Coding;
use crate::date::http_date;
use crate::limits::MAX_HEAD_BYTES;
use crate::records::VariantRecord;

/// Bytes of the content's digest that go into the ETag; 128 bits do not collide.
const TAG_DIGEST_BYTES: usize = 16;

/// Returns the entity tag of content with this digest.
pub(super) fn entity_tag(digest: &blake3::Hash) -> String {
    format!("\"{}\"", &digest.to_hex()[..2 * TAG_DIGEST_BYTES])
}

/// Where a redirect leads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Location {
    /// As it stands in the field line, percent-encoded; a request's query or a rule's target
    /// goes behind it.
    pub(super) before: Vec<u8>,
    /// What follows that: a fragment.
    pub(super) after: Vec<u8>,
    /// Whether something may be put in.
    pub(super) is_open: bool,
}

/// What a head says.
#[derive(Debug, Clone)]
pub(super) struct HeadSpec<'a> {
    pub(super) status: u16,
    /// Bytes of the body; `None` where there is never one (RFC 9110 §8.6).
    pub(super) body_bytes: Option<u64>,
    pub(super) content_type: Option<&'a str>,
    pub(super) coding: Coding,
    /// The tag with its quotes.
    pub(super) etag: Option<&'a str>,
    /// Unix time in seconds.
    pub(super) modified: Option<u64>,
    pub(super) location: Option<&'a Location>,
    pub(super) fields: &'a FieldSet,
    /// Whether other codings are to be had under the same path.
    pub(super) varies: bool,
}

/// A head, with the blank line at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) bytes: Vec<u8>,
    /// Where its parts are.
    pub(super) parts: VariantRecord,
}

/// A head is longer than the format's offsets reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HeadTooLong;

/// Writes a head.
pub(super) fn compose(spec: &HeadSpec<'_>) -> Result<Head, HeadTooLong> {
    let mut head = Writer::default();
    let mut parts = VariantRecord {
        coding: spec.coding as u8,
        ..VariantRecord::default()
    };
    head.text(&format!(
        "HTTP/1.1 {} {}\r\n",
        spec.status,
        reason(spec.status)
    ));
    parts.fields_at = head.place();
    head.line("Server", "sluice");
    if let Some(bytes) = spec.body_bytes {
        head.line("Content-Length", &bytes.to_string());
    }
    parts.type_at = head.place();
    if let Some(content_type) = spec.fields.value("Content-Type").or(spec.content_type) {
        head.line("Content-Type", content_type);
    }
    parts.rest_at = head.place();
    let (metadata, kept): (Vec<_>, Vec<_>) = spec
        .fields
        .iter()
        .filter(|(name, _)| !is_written_apart(name))
        .partition(|(name, _)| is_metadata(name));
    describe(&mut head, spec);
    for (name, value) in metadata {
        head.line(name, value);
    }
    if let Some(location) = spec.location {
        head.text("Location: ");
        head.bytes.extend_from_slice(&location.before);
        if location.is_open {
            parts.insert_at = head.place();
        }
        head.bytes.extend_from_slice(&location.after);
        head.text("\r\n");
    }
    parts.kept_at = head.place();
    for (name, value) in kept {
        head.line(name, value);
    }
    if let Some(tag) = spec.etag {
        parts.etag_at = head.place() + "ETag: ".len() as u16;
        parts.etag_bytes = tag.len() as u16;
        head.line("ETag", tag);
    }
    if let Some(vary) = vary(spec) {
        head.line("Vary", &vary);
    }
    parts.end_at = head.place();
    head.text("\r\n");
    match head.bytes.len() > MAX_HEAD_BYTES {
        true => Err(HeadTooLong),
        false => Ok(Head {
            bytes: head.bytes,
            parts,
        }),
    }
}

/// Writes what the content itself says, but for its length, type and tag.
fn describe(head: &mut Writer, spec: &HeadSpec<'_>) {
    if spec.coding != Coding::Identity {
        head.line("Content-Encoding", spec.coding.name());
    }
    if spec.status == 200 {
        head.line("Accept-Ranges", "bytes");
    }
    if let Some(modified) = spec.modified {
        let date = http_date(modified);
        head.line("Last-Modified", &String::from_utf8_lossy(&date));
    }
}

fn is_written_apart(name: &str) -> bool {
    ["Vary", "Content-Type"]
        .iter()
        .any(|own| name.eq_ignore_ascii_case(own))
}

#[derive(Default)]
struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// Where the next byte goes. Wrong in heads that are too long, which are refused in the end.
    fn place(&self) -> u16 {
        self.bytes.len() as u16
    }

    fn text(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
    }

    fn line(&mut self, name: &str, value: &str) {
        self.text(name);
        self.text(": ");
        self.text(value);
        self.text("\r\n");
    }
}

/// Returns the value of Vary: what the site says, and Accept-Encoding where it matters.
fn vary(spec: &HeadSpec<'_>) -> Option<String> {
    let own = spec.fields.value("Vary");
    let says = |name: &str| {
        own.is_some_and(|value| {
            value
                .split(',')
                .any(|word| word.trim() == "*" || word.trim().eq_ignore_ascii_case(name))
        })
    };
    match (own, spec.varies && !says("Accept-Encoding")) {
        (None, false) => None,
        (None, true) => Some("Accept-Encoding".to_owned()),
        (Some(own), false) => Some(own.to_owned()),
        (Some(own), true) => Some(format!("{own}, Accept-Encoding")),
    }
}

/// Returns whether a field describes the representation only, so that a 304 leaves it out (RFC 9110
/// §15.4.5). Everything else goes into the 304, so that caches learn of changed policies.
fn is_metadata(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    match name.as_str() {
        "content-location" | "content-security-policy" | "content-security-policy-report-only" => {
            false
        }
        "x-content-type-options" => true,
        _ => name.starts_with("content-"),
    }
}

/// Returns the reason phrase of a status.
pub(super) fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        404 => "Not Found",
        503 => "Service Unavailable",
        _ => "",
    }
}

/// Writes a path as it may stand in a URI (RFC 3986 §3.3): unreserved characters and slashes as
/// they are, everything else in percent form.
pub(super) fn percent_encode(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    for &byte in path {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            out.push(byte);
        } else {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_percent_encoded() {
        assert_eq!(
            percent_encode("/a b/ä%\r\n/".as_bytes()),
            b"/a%20b/%C3%A4%25%0D%0A/"
        );
    }

    /// A head of one byte of body, with nothing but these fields.
    fn plain(fields: &FieldSet) -> HeadSpec<'_> {
        HeadSpec {
            status: 200,
            body_bytes: Some(1),
            content_type: None,
            coding: Coding::Identity,
            etag: None,
            modified: None,
            location: None,
            fields,
            varies: false,
        }
    }

    #[test]
    fn vary_joins_what_the_site_says() {
        let vary_of = |own: Option<&str>, varies| {
            let mut fields = FieldSet::default();
            if let Some(own) = own {
                fields.set("Vary", own);
            }
            let spec = HeadSpec {
                varies,
                ..plain(&fields)
            };
            vary(&spec)
        };
        assert_eq!(vary_of(None, false), None);
        assert_eq!(vary_of(None, true).as_deref(), Some("Accept-Encoding"));
        assert_eq!(
            vary_of(Some("Origin"), true).as_deref(),
            Some("Origin, Accept-Encoding")
        );
        assert_eq!(
            vary_of(Some("accept-encoding"), true).as_deref(),
            Some("accept-encoding")
        );
        assert_eq!(vary_of(Some("*"), true).as_deref(), Some("*"));
    }

    #[test]
    fn a_head_that_offsets_do_not_reach_is_refused() {
        let mut fields = FieldSet::default();
        fields.set("X", &"x".repeat(70_000));
        assert_eq!(compose(&plain(&fields)), Err(HeadTooLong));
    }
}
