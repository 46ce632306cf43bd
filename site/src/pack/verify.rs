//! Looking into an image: whether everything in it is what its heads say, and its rules in words.

use crate::coding::Coding;
use crate::host::Host;
use crate::page::{Page, Variant};
use crate::reader::Site;
use crate::records::{
    ACTION_LOOKUP, ACTION_MOVED, CAPTURE, LITERAL, NO_SPLAT, PartRecord, QUERY, RuleRecord,
    SPLAT_BELOW,
};
use std::collections::HashSet;
use std::io::{self, Read};
use thiserror::Error;

/// Something in an image is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{path} ({}): {problem}", .coding.name())]
pub struct NotVerified {
    /// The page's path.
    pub path: String,
    /// The variant's coding.
    pub coding: Coding,
    /// What is wrong.
    pub problem: &'static str,
}

/// Checks every response against its head: length, tag, and that each coding decodes to the page.
/// Returns how many responses there are.
///
/// # Errors
/// The first response that is wrong.
pub fn verify(site: &Site<'_>) -> Result<usize, NotVerified> {
    let mut seen = HashSet::new();
    for page in site.pages() {
        let mut decoded = None;
        for coding in Coding::ALL {
            let Some(variant) = page.variant(coding) else {
                continue;
            };
            // Pages share responses.
            if !seen.insert(variant.response().as_ptr()) {
                continue;
            }
            let wrong = |problem| NotVerified {
                path: String::from_utf8_lossy(page.path()).into_owned(),
                coding,
                problem,
            };
            check_head(&page, &variant).map_err(wrong)?;
            let digest = digest_of(&variant)
                .map_err(|_| wrong("the body cannot be decoded: pack the site again"))?;
            let identity = *decoded.get_or_insert(digest);
            if digest != identity {
                return Err(wrong(
                    "the body decodes to something else: pack the site again",
                ));
            }
        }
    }
    Ok(seen.len())
}

fn check_head(page: &Page<'_>, variant: &Variant<'_>) -> Result<(), &'static str> {
    let head = String::from_utf8_lossy(variant.head());
    let field = |name: &str| {
        head.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    };
    let status = format!("HTTP/1.1 {} ", page.status());
    if !variant.status_line().starts_with(status.as_bytes()) {
        return Err("the status line says another status");
    }
    let length = field("Content-Length").map(str::parse);
    if length != Some(Ok(variant.body().len())) && page.status() != 204 {
        return Err("Content-Length is not the body's");
    }
    let coding = (variant.coding() != Coding::Identity).then(|| variant.coding().name());
    if field("Content-Encoding") != coding {
        return Err("Content-Encoding is not the body's");
    }
    let tag = super::head::entity_tag(&blake3::hash(variant.body()));
    if !variant.etag().is_empty() && variant.etag() != tag.as_bytes() {
        return Err("ETag is not the body's");
    }
    Ok(())
}

/// Returns the digest of what a body decodes to.
fn digest_of(variant: &Variant<'_>) -> io::Result<blake3::Hash> {
    let body = variant.body();
    let mut reader: Box<dyn Read> = match variant.coding() {
        Coding::Identity => return Ok(blake3::hash(body)),
        Coding::Gzip => Box::new(flate2::read::GzDecoder::new(body)),
        Coding::Brotli => Box::new(brotli::Decompressor::new(body, 64 * 1024)),
        Coding::Zstd => Box::new(zstd::Decoder::new(body)?),
    };
    let mut hasher = blake3::Hasher::new();
    io::copy(&mut reader, &mut hasher)?;
    Ok(hasher.finalize())
}

/// Returns the host's rules as they could stand in `_redirects`.
pub fn rule_lines(site: &Site<'_>, host: &Host<'_, '_>) -> Vec<String> {
    let record = host.record();
    let rules = site.rules.iter().skip(record.first_rule as usize);
    rules
        .take(record.rule_count as usize)
        .map(|rule| rule_line(site, &RuleRecord::decode(rule)))
        .collect()
}

fn rule_line(site: &Site<'_>, rule: &RuleRecord) -> String {
    let [head, tail] = [rule.head_parts, rule.tail_parts].map(usize::from);
    let parts: Vec<PartRecord> = site.parts[rule.first_part as usize..]
        .iter()
        .take(head + tail + usize::from(rule.target_parts))
        .map(PartRecord::decode)
        .collect();
    // Placeholders have numbers only; the splat has one among them.
    let is_capture = |part: &&PartRecord| part.kind != LITERAL;
    let splat = match rule.splat {
        NO_SPLAT => usize::MAX,
        _ => parts[..head].iter().filter(is_capture).count(),
    };
    let name = |number: usize| match number == splat {
        true => ":splat".to_owned(),
        false => format!(":{}", (b'a' + number as u8) as char),
    };
    let mut line = String::new();
    let mut captures = 0;
    for (place, part) in parts[..head + tail].iter().enumerate() {
        if place == head {
            line.push('*');
            captures += 1;
        }
        match part.kind {
            LITERAL => line.push_str(&text(site, part)),
            _ => {
                line.push_str(&name(captures));
                captures += 1;
            }
        }
    }
    match (rule.splat, tail) {
        (SPLAT_BELOW, _) => line.push_str("/*"),
        (NO_SPLAT, _) | (_, 1..) => {}
        (_, 0) => line.push('*'),
    }
    line.push(' ');
    let page = site.page(rule.page);
    if rule.action != ACTION_LOOKUP && rule.action != ACTION_MOVED {
        let answer = page.map(|page| described(&page)).unwrap_or_default();
        return line + &answer;
    }
    for part in &parts[head + tail..] {
        match part.kind {
            CAPTURE => line.push_str(&name(part.at as usize)),
            QUERY => {}
            _ => line.push_str(&text(site, part)),
        }
    }
    let status = match rule.action {
        ACTION_MOVED => page.map_or(0, |page| page.status()),
        _ => 200,
    };
    format!("{line} {status}")
}

/// Says what a page is that has no path: where it leads to, or its tag.
fn described(page: &Page<'_>) -> String {
    let variant = page.identity();
    let what = match location(&variant) {
        Some(location) => location,
        None => format!(
            "a page of {} bytes {}",
            variant.body().len(),
            String::from_utf8_lossy(variant.etag())
        ),
    };
    format!("{what} {}", page.status())
}

/// Returns the Location of a redirect.
pub fn location(variant: &Variant<'_>) -> Option<String> {
    let head = String::from_utf8_lossy(variant.head());
    let line = head
        .lines()
        .find_map(|line| line.strip_prefix("Location: "));
    line.map(str::to_owned)
}

fn text(site: &Site<'_>, part: &PartRecord) -> String {
    let bytes = site.text(part.at, part.bytes).unwrap_or_default();
    String::from_utf8_lossy(bytes).into_owned()
}
