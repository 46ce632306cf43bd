//! Hosts by name (RFC 9110 §7.2): exact names first, then `*.` names, the longest first.

use crate::limits::MAX_NAME_BYTES;
use crate::reader::Site;
use crate::records::NameRecord;
use core::cmp::Ordering;

/// Returns the number of the host that has the name of `authority`.
pub(crate) fn find(site: &Site<'_>, authority: &[u8]) -> Option<u16> {
    let name = without_port(authority);
    let name = name.strip_suffix(b".").unwrap_or(name);
    if name.len() > MAX_NAME_BYTES {
        return None;
    }
    if let Some(host) = named(site, name) {
        return Some(host);
    }
    // Names for all that end in them sort first: a dot comes before letters and digits.
    let has_wildcards = text(site, site.names.first()?).starts_with(b".");
    if !has_wildcards {
        return None;
    }
    let dots = (1..name.len()).filter(|at| name[*at] == b'.');
    dots.filter_map(|at| named(site, &name[at..])).next()
}

/// Returns the names of a host.
pub(crate) fn of_host<'a>(site: Site<'a>, host: u16) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    let is_of_host =
        move |record: &&[u8; NameRecord::BYTES]| NameRecord::decode(record).host == host;
    let records = site.names.iter().filter(is_of_host);
    records.map(move |record| text(&site, record))
}

fn named(site: &Site<'_>, name: &[u8]) -> Option<u16> {
    let found = site
        .names
        .binary_search_by(|record| compare(text(site, record), name));
    let record = site.names.get(found.ok()?)?;
    Some(NameRecord::decode(record).host)
}

#[inline]
pub(crate) fn text<'a>(site: &Site<'a>, record: &[u8; NameRecord::BYTES]) -> &'a [u8] {
    let record = NameRecord::decode(record);
    site.text(record.at, record.bytes).unwrap_or_default()
}

/// Compares a name of the image, in lower case, with one in letters of either case.
fn compare(known: &[u8], name: &[u8]) -> Ordering {
    let lower = name.iter().map(u8::to_ascii_lowercase);
    known.iter().copied().cmp(lower)
}

/// Returns an authority without its port (RFC 3986 §3.2.3).
fn without_port(authority: &[u8]) -> &[u8] {
    let digits = authority
        .iter()
        .rev()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let (before, _) = authority.split_at(authority.len() - digits);
    before.strip_suffix(b":").unwrap_or(authority)
}
