//! The response heads, written once here so that the server formats nothing.
//!
//! A head has the status line and the header lines, each with its line end. The server adds Date,
//! Connection where it is needed, and the blank line (RFC 9112 §2.1).

use super::content_type::content_type;
use super::image::{NewPage, TagPlace};
use crate::date::http_date;
use std::ops::Range;

/// The body of a redirect.
pub(super) const MOVED_BODY: &[u8] = b"301 Moved Permanently\n";

/// The body for paths not found, when the site has none of its own.
pub(super) const NOT_FOUND_BODY: &[u8] = b"404 Not Found\n";

const SERVER: &[u8] = b"Server: sluice\r\n";

/// Clients may keep a page but ask each time whether it is still the same.
const REVALIDATE: &[u8] = b"Cache-Control: public, max-age=0, must-revalidate\r\n";

/// Browsers take the type as it is given (WHATWG Fetch, "determine nosniff").
const NOSNIFF: &[u8] = b"X-Content-Type-Options: nosniff\r\n";

/// Bytes of the content's digest that go into the ETag; 128 bits do not collide.
const TAG_DIGEST_BYTES: usize = 16;

/// Makes the page of a file.
pub(super) fn file(path: &[u8], body: Range<u64>, digest: &blake3::Hash, modified: u64) -> NewPage {
    let hex = digest.to_hex();
    let tag = format!("\"{}\"", &hex[..2 * TAG_DIGEST_BYTES]);

    let mut head = b"HTTP/1.1 200 OK\r\n".to_vec();
    head.extend_from_slice(SERVER);
    content_lines(&mut head, content_type(path).as_bytes(), &body);
    let etag = identity_lines(&mut head, &tag, modified);
    head.extend_from_slice(NOSNIFF);

    // RFC 9110 §15.4.5: what a cache needs to find and refresh what it has.
    let mut not_modified = b"HTTP/1.1 304 Not Modified\r\n".to_vec();
    not_modified.extend_from_slice(SERVER);
    identity_lines(&mut not_modified, &tag, modified);

    NewPage {
        status: 200,
        head,
        not_modified,
        body,
        etag: Some(etag),
    }
}

/// Makes the page that sends clients from a folder's name without slash to `target`.
pub(super) fn moved(target: &[u8], body: Range<u64>) -> NewPage {
    let mut head = b"HTTP/1.1 301 Moved Permanently\r\n".to_vec();
    head.extend_from_slice(SERVER);
    head.extend_from_slice(b"Location: ");
    percent_encode(&mut head, target);
    head.extend_from_slice(b"\r\n");
    content_lines(&mut head, b"text/plain; charset=utf-8", &body);
    head.extend_from_slice(REVALIDATE);
    head.extend_from_slice(NOSNIFF);
    NewPage::without_tag(301, head, body)
}

/// Makes the answer for paths not found from the site's own page for it.
pub(super) fn not_found(path: &[u8], page: &NewPage) -> NewPage {
    not_found_head(content_type(path).as_bytes(), page.body.clone())
}

/// Makes the answer for paths not found for sites that have none.
pub(super) fn plain_not_found(body: Range<u64>) -> NewPage {
    not_found_head(b"text/plain; charset=utf-8", body)
}

fn not_found_head(content_type: &[u8], body: Range<u64>) -> NewPage {
    let mut head = b"HTTP/1.1 404 Not Found\r\n".to_vec();
    head.extend_from_slice(SERVER);
    content_lines(&mut head, content_type, &body);
    head.extend_from_slice(b"Cache-Control: no-cache\r\n");
    head.extend_from_slice(NOSNIFF);
    NewPage::without_tag(404, head, body)
}

fn content_lines(head: &mut Vec<u8>, content_type: &[u8], body: &Range<u64>) {
    head.extend_from_slice(b"Content-Type: ");
    head.extend_from_slice(content_type);
    let length = body.end - body.start;
    head.extend_from_slice(format!("\r\nContent-Length: {length}\r\n").as_bytes());
}

/// Writes Last-Modified, ETag and Cache-Control; returns where the ETag is.
fn identity_lines(head: &mut Vec<u8>, tag: &str, modified: u64) -> TagPlace {
    head.extend_from_slice(b"Last-Modified: ");
    head.extend_from_slice(&http_date(modified));
    head.extend_from_slice(b"\r\nETag: ");
    let at = head.len();
    head.extend_from_slice(tag.as_bytes());
    head.extend_from_slice(b"\r\n");
    head.extend_from_slice(REVALIDATE);
    TagPlace {
        at,
        bytes: tag.len(),
    }
}

/// Writes a path as it may stand in a URI (RFC 3986 §3.3): unreserved characters and slashes as
/// they are, everything else in percent form.
fn percent_encode(out: &mut Vec<u8>, path: &[u8]) {
    for &byte in path {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            out.push(byte);
        } else {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_percent_encoded() {
        let page = moved("/a b/ä%\r\n/".as_bytes(), 0..0);
        let head = String::from_utf8(page.head).unwrap();
        assert!(
            head.contains("\r\nLocation: /a%20b/%C3%A4%25%0D%0A/\r\n"),
            "{head}"
        );
    }

    #[test]
    fn a_tag_stands_where_the_page_says() {
        let page = file(b"/a.css", 0..5, &blake3::hash(b"hello"), 784_111_777);
        let tag = page.etag.unwrap();
        let text = String::from_utf8(page.head[tag.at..tag.at + tag.bytes].to_vec()).unwrap();
        assert_eq!(
            text,
            format!("\"{}\"", &blake3::hash(b"hello").to_hex()[..32])
        );
    }
}
