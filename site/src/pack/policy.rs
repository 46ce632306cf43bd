//! Which field lines a page gets: ours, those of the switches, and what `_headers` says.

use super::PackOptions;
use super::fields::FieldSet;
use super::headers::HeaderRules;
use std::collections::HashSet;
use std::sync::Arc;

/// Clients may keep a page but ask each time whether it is still the same.
const REVALIDATE: &str = "public, max-age=0, must-revalidate";

/// A name that changes with the content need never be asked for again (RFC 8246).
const IMMUTABLE: &str = "public, max-age=31536000, immutable";

/// How long browsers may remember that other origins are allowed, in seconds.
const PREFLIGHT_SECONDS: &str = "86400";

/// The policy of a host.
pub(super) struct Policy<'o> {
    options: &'o PackOptions,
    rules: HeaderRules,
    /// Most pages have the same fields.
    known: HashSet<Arc<FieldSet>>,
}

impl<'o> Policy<'o> {
    pub(super) fn new(options: &'o PackOptions, rules: HeaderRules) -> Self {
        Policy {
            options,
            rules,
            known: HashSet::new(),
        }
    }

    /// Returns the fields of the page at `path`.
    pub(super) fn page(&mut self, path: &[u8]) -> Arc<FieldSet> {
        let cache_control = match is_fingerprinted(path) {
            true => IMMUTABLE,
            false => REVALIDATE,
        };
        let mut fields = self.base(cache_control);
        self.rules.apply(path, &mut fields);
        self.intern(fields)
    }

    /// Returns the fields of the page at `path` when it answers in place of another.
    pub(super) fn error_page(&mut self, path: &[u8]) -> Arc<FieldSet> {
        let mut fields = self.base("no-cache");
        self.rules.apply(path, &mut fields);
        self.intern(fields)
    }

    /// Returns the fields of redirects.
    pub(super) fn redirect(&mut self) -> Arc<FieldSet> {
        let fields = self.base(REVALIDATE);
        self.intern(fields)
    }

    /// Returns the fields of the answer to OPTIONS.
    pub(super) fn options(&mut self) -> Arc<FieldSet> {
        let mut fields = FieldSet::default();
        fields.set("Allow", "GET, HEAD, OPTIONS");
        if let Some(origin) = &self.options.cors {
            fields.set("Access-Control-Allow-Origin", origin);
            fields.set("Access-Control-Allow-Methods", "GET, HEAD, OPTIONS");
            fields.set(
                "Access-Control-Allow-Headers",
                "Range, If-Match, If-None-Match, If-Modified-Since, If-Range, Cache-Control",
            );
            fields.set("Access-Control-Max-Age", PREFLIGHT_SECONDS);
        }
        self.intern(fields)
    }

    fn base(&self, cache_control: &str) -> FieldSet {
        let mut fields = FieldSet::default();
        fields.set("Cache-Control", cache_control);
        // Browsers take the type as it is given (WHATWG Fetch, "determine nosniff").
        fields.set("X-Content-Type-Options", "nosniff");
        if self.options.has_security_headers {
            fields.set("Content-Security-Policy", "frame-ancestors 'self'");
            fields.set("X-Frame-Options", "SAMEORIGIN");
            fields.set("Referrer-Policy", "strict-origin-when-cross-origin");
        }
        if let Some(origin) = &self.options.cors {
            fields.set("Access-Control-Allow-Origin", origin);
            fields.set(
                "Access-Control-Expose-Headers",
                "Accept-Ranges, Content-Encoding, Content-Range, ETag",
            );
        }
        fields
    }

    fn intern(&mut self, fields: FieldSet) -> Arc<FieldSet> {
        if let Some(known) = self.known.get(&fields) {
            return known.clone();
        }
        let fields = Arc::new(fields);
        self.known.insert(fields.clone());
        fields
    }
}

/// Returns whether a file's name has a hash of its content in it, as bundlers write them between
/// dots, hyphens or underscores. A name that only looks so would never be asked for again, so
/// words, numbers and dates must not pass, and pages do not count.
pub(super) fn is_fingerprinted(path: &[u8]) -> bool {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
    let Some(dot) = name.iter().rposition(|byte| *byte == b'.') else {
        return false;
    };
    let (stem, extension) = name.split_at(dot);
    if [".html", ".htm", ".xml", ".txt", ".json"]
        .iter()
        .any(|page| extension.eq_ignore_ascii_case(page.as_bytes()))
    {
        return false;
    }
    let mut words = stem.split(|byte| b".-_".contains(byte)).skip(1);
    // Or the whole name is the hash.
    words.any(is_hash) || stem.len() >= 16 && is_hash(stem)
}

/// Returns whether a word is 8 or more digits of base 16, or 8 of base 32 or 64.
fn is_hash(word: &[u8]) -> bool {
    let kind = |byte: &u8| match byte {
        b'0'..=b'9' => 0,
        b'A'..=b'Z' => 1,
        b'a'..=b'z' => 2,
        _ => 3,
    };
    let count = |wanted| word.iter().filter(|byte| kind(byte) == wanted).count();
    let [digits, upper, lower, other] = [0, 1, 2, 3].map(count);
    let changes = word
        .windows(2)
        .filter(|pair| kind(&pair[0]) != kind(&pair[1]))
        .count();
    let is_base_16 = word.len() >= 8
        && word
            .iter()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte))
        && digits >= 2
        && lower > 0;
    let is_base_32 = word.len() == 8
        && word
            .iter()
            .all(|byte| byte.is_ascii_uppercase() || (b'2'..=b'7').contains(byte))
        && digits > 0
        && upper > 0;
    let is_base_64 = word.len() == 8 && other == 0 && digits > 0 && upper > 0 && changes >= 4;
    is_base_16 || is_base_32 || is_base_64 && lower > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_a_hash_of_bundlers_are_fingerprinted_and_others_are_not() {
        for name in [
            "/main.8f3a2b1c.js",
            "/assets/index-BqA3fL2x.css",
            "/chunk-7Q2XKZ3P.js",
            "/_next/static/chunks/app-5d9e63f7a9b1c2d3.js",
            "/css/style.min.0a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f9.css",
            "/media/0a1b2c3d4e5f6071.woff2",
        ] {
            assert!(is_fingerprinted(name.as_bytes()), "{name}");
        }
        for name in [
            "/main.js",
            "/jquery-3.6.0.min.js",
            "/report-20240115.pdf",
            "/photo_12345678.jpg",
            "/photo-DSC00012.jpg",
            "/book-Chapter1.pdf",
            "/video-face2face.mp4",
            "/page-8f3a2b1c.html",
            "/data-8f3a2b1c.json",
            "/font-awesome4.css",
            "/deadbeef/main.js",
            "/bootstrap.bundle.min.js",
            "/decade-facade.css",
            "/a-deadbeef.css",
            "/8f3a2b1c",
            "/",
        ] {
            assert!(!is_fingerprinted(name.as_bytes()), "{name}");
        }
    }
}
