//! What is sent of a page: conditions, ranges and codings (RFC 9110 §12 to §14).

mod support;

use app_http::engine::{Batch, Engine};
use app_http::limits::MAX_MULTIPARTS;
use app_http::request::Next;
use site::Coding;
use site::pack::PackOptions;
use support::{BOOT, LAST_MODIFIED, Reply, ask, engine, engine_of, etag, get, pack, site};

const LATER: &str = "Sun, 06 Nov 1994 08:00:00 GMT";
const EARLIER: &str = "Fri, 04 Nov 1994 08:49:37 GMT";

/// Asks for the page of 26 letters.
fn letters(engine: &mut Engine, fields: &str) -> Reply {
    get(engine, "GET /letters.txt", fields)
}

fn status(fields: &str) -> u16 {
    letters(&mut engine(), fields).status
}

fn tag() -> String {
    etag(&site(), "/letters.txt")
}

#[test]
fn a_matching_tag_gets_304_with_the_fields_that_a_cache_needs() {
    let (mut engine, tag) = (engine(), tag());
    let whole = letters(&mut engine, "");
    for list in [
        tag.clone(),
        format!("W/{tag}"),
        format!("\"x\", {tag}"),
        "*".to_owned(),
    ] {
        for method in ["GET", "HEAD"] {
            let line = format!("{method} /letters.txt");
            let reply = get(&mut engine, &line, &format!("If-None-Match: {list}\r\n"));
            assert_eq!((reply.status, reply.body.len()), (304, 0), "{list}");
            for field in ["ETag", "Cache-Control", "Vary"] {
                assert_eq!(reply.field(field), whole.field(field), "{list}");
            }
            assert_eq!(reply.field("Content-Length"), None);
            assert_eq!(reply.next, Next::Request { skip: 0 });
        }
    }
    let two_lines = format!("If-None-Match: \"x\"\r\nIF-NONE-MATCH:{tag}\r\n");
    assert_eq!(status(&two_lines), 304);
    let unquoted = tag.trim_matches('"');
    for list in ["\"x\"", unquoted, ""] {
        assert_eq!(status(&format!("If-None-Match: {list}\r\n")), 200, "{list}");
    }
}

#[test]
fn dates_are_compared_in_every_form() {
    assert_eq!(
        status(&format!("If-Modified-Since: {LAST_MODIFIED}\r\n")),
        304
    );
    assert_eq!(status(&format!("If-Modified-Since: {LATER}\r\n")), 304);
    assert_eq!(status(&format!("If-Modified-Since: {EARLIER}\r\n")), 200);
    assert_eq!(
        status("If-Modified-Since: Saturday, 05-Nov-94 08:49:37 GMT\r\n"),
        304
    );
    assert_eq!(
        status("If-Modified-Since: Sat Nov  5 08:49:37 1994\r\n"),
        304
    );
    assert_eq!(status("If-Modified-Since: yesterday\r\n"), 200);
    let twice = format!("If-Modified-Since: {LATER}\r\n").repeat(2);
    assert_eq!(status(&twice), 200);
    assert_eq!(
        status(&format!("If-Unmodified-Since: {LAST_MODIFIED}\r\n")),
        200
    );
    assert_eq!(status(&format!("If-Unmodified-Since: {EARLIER}\r\n")), 412);
    assert_eq!(status("If-Unmodified-Since: yesterday\r\n"), 200);
}

#[test]
fn if_match_compares_strongly() {
    let tag = tag();
    assert_eq!(status(&format!("If-Match: {tag}\r\n")), 200);
    assert_eq!(status(&format!("If-Match: \"x\", {tag}\r\n")), 200);
    assert_eq!(status("If-Match: *\r\n"), 200);
    assert_eq!(status(&format!("If-Match: W/{tag}\r\n")), 412);
    assert_eq!(status("If-Match: \"x\"\r\n"), 412);
    let failed = letters(&mut engine(), "If-Match: \"x\"\r\n");
    assert_eq!(failed.next, Next::Request { skip: 0 });
}

#[test]
fn conditions_are_evaluated_in_the_order_of_the_rfc() {
    let tag = tag();
    // If-Match goes before If-Unmodified-Since, which does not count beside it.
    let both = format!("If-Match: {tag}\r\nIf-Unmodified-Since: {EARLIER}\r\n");
    assert_eq!(status(&both), 200);
    // A failed precondition goes before 304.
    assert_eq!(
        status(&format!("If-Match: \"x\"\r\nIf-None-Match: {tag}\r\n")),
        412
    );
    assert_eq!(
        status(&format!("If-Match: {tag}\r\nIf-None-Match: {tag}\r\n")),
        304
    );
    // If-None-Match goes before If-Modified-Since, which does not count beside it.
    let both = format!("If-None-Match: \"x\"\r\nIf-Modified-Since: {LATER}\r\n");
    assert_eq!(status(&both), 200);
    let both = format!("If-None-Match: {tag}\r\nIf-Modified-Since: {EARLIER}\r\n");
    assert_eq!(status(&both), 304);
    // All of them go before Range.
    assert_eq!(
        status(&format!("If-None-Match: {tag}\r\nRange: bytes=0-1\r\n")),
        304
    );
    assert_eq!(status("If-Match: \"x\"\r\nRange: bytes=99-\r\n"), 412);
}

#[test]
fn a_range_is_sent_as_206_and_is_only_part_of_the_page() {
    let mut engine = engine();
    let whole = letters(&mut engine, "");
    for (range, sent, content_range) in [
        ("0-0", "a", "bytes 0-0/26"),
        ("1-3", "bcd", "bytes 1-3/26"),
        ("23-", "xyz", "bytes 23-25/26"),
        ("-2", "yz", "bytes 24-25/26"),
        ("20-99", "uvwxyz", "bytes 20-25/26"),
        ("-99", "abcdefghijklmnopqrstuvwxyz", "bytes 0-25/26"),
    ] {
        let reply = letters(&mut engine, &format!("Range: bytes={range}\r\n"));
        assert_eq!(
            (reply.status, reply.text().as_str()),
            (206, sent),
            "{range}"
        );
        assert_eq!(reply.field("Content-Range"), Some(content_range));
        for field in [
            "Content-Type",
            "ETag",
            "Last-Modified",
            "Cache-Control",
            "Server",
        ] {
            assert_eq!(reply.field(field), whole.field(field), "{field}");
        }
    }
    let closing = letters(&mut engine, "Range: bytes=0-0\r\nConnection: close\r\n");
    assert_eq!((closing.status, closing.next), (206, Next::Close));
}

#[test]
fn what_no_byte_is_in_gets_416_and_the_length() {
    let mut engine = engine();
    for range in ["26-", "-0", "99-100", "x", "5-4", ""] {
        let reply = letters(&mut engine, &format!("Range: bytes={range}\r\n"));
        assert_eq!((reply.status, reply.text().len()), (416, 26), "{range}");
        assert_eq!(reply.field("Content-Range"), Some("bytes */26"));
        assert_eq!(reply.field("ETag"), None);
    }
    let empty = get(&mut engine, "GET /empty.txt", "Range: bytes=0-\r\n");
    assert_eq!(
        (empty.status, empty.field("Content-Range")),
        (416, Some("bytes */0"))
    );
}

#[test]
fn range_counts_only_where_it_is_defined() {
    let mut engine = engine();
    assert_eq!(letters(&mut engine, "Range: lines=0-1\r\n").status, 200);
    assert_eq!(
        letters(&mut engine, "Range: bytes=0-1\r\nRange: bytes=2-3\r\n").status,
        200
    );
    let head = get(&mut engine, "HEAD /letters.txt", "Range: bytes=0-1\r\n");
    assert_eq!(
        (head.status, head.field("Content-Length")),
        (200, Some("26"))
    );
    assert_eq!(
        get(&mut engine, "GET /sub", "Range: bytes=0-1\r\n").status,
        301
    );
}

#[test]
fn if_range_lets_range_count_when_the_page_is_the_same() {
    let tag = tag();
    let status = |value: &str| status(&format!("Range: bytes=0-1\r\nIf-Range: {value}\r\n"));
    assert_eq!(status(&tag), 206);
    assert_eq!(status(LAST_MODIFIED), 206);
    for other in [
        "\"x\"",
        &format!("W/{tag}"),
        LATER,
        EARLIER,
        "yesterday",
        "*",
        "",
    ] {
        assert_eq!(status(other), 200, "{other}");
    }
    // A page that changed in this very second may change again in it.
    let options = PackOptions {
        last_modified: Some(BOOT),
        ..PackOptions::default()
    };
    let mut engine = engine_of(pack(&[("a.txt", b"abc")], &options));
    let fields = "Range: bytes=0-1\r\nIf-Range: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
    assert_eq!(get(&mut engine, "GET /a.txt", fields).status, 200);
}

/// Takes a multipart body apart: each part's head and content.
#[track_caller]
fn parts(reply: &Reply) -> Vec<(String, String)> {
    let kind = reply.field("Content-Type").unwrap();
    let boundary = kind
        .strip_prefix("multipart/byteranges; boundary=")
        .unwrap();
    let text = reply.text();
    let inner = text
        .strip_suffix(&format!("\r\n--{boundary}--\r\n"))
        .unwrap();
    let delimiter = format!("\r\n--{boundary}\r\n");
    let parts: Vec<&str> = inner.split(&delimiter).collect();
    assert_eq!(parts[0], "", "nothing before the first part");
    let split = |part: &&str| {
        let (head, content) = part.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), content.to_owned())
    };
    parts[1..].iter().map(split).collect()
}

#[test]
fn several_ranges_are_sent_as_parts_in_their_order() {
    let mut engine = engine();
    let reply = letters(&mut engine, "Range: bytes=-2, 0-3,5-5\r\n");
    assert_eq!((reply.status, reply.field("Content-Range")), (206, None));
    let kind = letters(&mut engine, "")
        .field("Content-Type")
        .unwrap()
        .to_owned();
    let expected = [("24-25", "yz"), ("0-3", "abcd"), ("5-5", "f")].map(|(range, content)| {
        let head = format!("Content-Type: {kind}\r\nContent-Range: bytes {range}/26");
        (head, content.to_owned())
    });
    assert_eq!(parts(&reply), expected);
    assert_eq!(reply.field("ETag"), Some(tag().as_str()));
    // One that can be satisfied is sent as one.
    let one = letters(&mut engine, "Range: bytes=99-,0-1\r\n");
    assert_eq!(
        (one.status, one.field("Content-Range")),
        (206, Some("bytes 0-1/26"))
    );
}

#[test]
fn large_parts_are_sent_whole() {
    let mut engine = engine();
    let fields = "Range: bytes=0-139999,150000-150000,160000-299999\r\n";
    let reply = get(&mut engine, "GET /large.bin", fields);
    let lengths: Vec<usize> = parts(&reply)
        .iter()
        .map(|(_, content)| content.len())
        .collect();
    assert_eq!(lengths, [140_000, 1, 140_000]);
}

#[test]
fn ranges_of_more_than_the_page_get_all_of_it() {
    for range in ["0-,0-", "0-25,0-0", "-26,-26,-26"] {
        let reply = letters(&mut engine(), &format!("Range: bytes={range}\r\n"));
        assert_eq!((reply.status, reply.body.len()), (200, 26), "{range}");
    }
}

#[test]
fn when_too_many_answers_with_parts_are_under_way_the_next_gets_the_whole_page() {
    let mut engine = engine();
    let request = b"GET /letters.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=0-0,2-2\r\n\r\n";
    let mut begun = Vec::new();
    for _ in 0..MAX_MULTIPARTS {
        let mut pieces = megapipe::IoVec::new();
        let mut batch = Batch::NOTHING;
        engine.answer_all(request, support::client(9), &mut pieces, &mut batch);
        begun.push(batch.rest);
    }
    assert_eq!(ask(&mut engine, request).status, 200);
    engine.forget(begun[7]);
    assert_eq!(ask(&mut engine, request).status, 206);
    assert_eq!(ask(&mut engine, request).status, 206);
}

/// A site with a page that is worth coding.
fn coded_site() -> site::Site<'static> {
    // Repeated at a distance that gzip does not see.
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        format!("{:x}", state >> 28)
    };
    let text: String = (0..40_000).map(|_| next()).collect();
    let page = text.repeat(3);
    let options = PackOptions {
        last_modified: Some(support::MODIFIED),
        ..PackOptions::default()
    };
    pack(&[("page.html", page.as_bytes())], &options)
}

#[test]
fn the_coding_is_chosen_by_weight_and_then_by_size() {
    let site = coded_site();
    let page = site.default_host().lookup(b"/page.html").unwrap();
    assert_eq!(page.codings().len(), 4, "all codings pay");
    let smallest = page.by_size().next().unwrap();
    let mut engine = engine_of(site);
    let mut coding = |fields: &str| {
        let reply = get(&mut engine, "GET /page.html", fields);
        assert_eq!(reply.status, 200);
        assert!(
            reply.field("Vary").unwrap().contains("Accept-Encoding"),
            "{}",
            reply.head
        );
        reply
            .field("Content-Encoding")
            .unwrap_or("identity")
            .to_owned()
    };
    assert_eq!(coding(""), "identity");
    assert_eq!(coding("Accept-Encoding:\r\n"), "identity");
    assert_eq!(coding("Accept-Encoding: gzip\r\n"), "gzip");
    assert_eq!(coding("Accept-Encoding: x-gzip\r\n"), "gzip");
    assert_eq!(
        coding("Accept-Encoding: br;q=0.9, gzip;q=1.0, zstd;q=0.8\r\n"),
        "gzip"
    );
    assert_eq!(
        coding("Accept-Encoding: gzip;q=0.5, identity\r\n"),
        "identity"
    );
    assert_eq!(coding("Accept-Encoding: *\r\n"), smallest.name());
    assert_eq!(
        coding("Accept-Encoding: gzip, deflate, br, zstd\r\n"),
        smallest.name()
    );
    assert_eq!(
        coding("Accept-Encoding: gzip\r\nAccept-Encoding: gzip;q=0\r\n"),
        "identity"
    );
    assert_eq!(
        coding("Accept-Encoding: identity;q=0, zstd;q=0.001\r\n"),
        "zstd"
    );
    assert_eq!(coding("Accept-Encoding: deflate\r\n"), "identity");
    // Nothing that is there is wanted: it is sent as it is.
    assert_eq!(coding("Accept-Encoding: *;q=0\r\n"), "identity");
}

#[test]
fn each_coding_has_its_own_tag_and_ranges() {
    let site = coded_site();
    let page = site.default_host().lookup(b"/page.html").unwrap();
    let mut engine = engine_of(site);
    let mut tags = Vec::new();
    for coding in Coding::ALL {
        let variant = page.variant(coding).unwrap();
        let accept = format!("Accept-Encoding: {}\r\n", coding.name());
        let reply = get(&mut engine, "GET /page.html", &accept);
        assert!(reply.body == variant.body());
        let tag = reply.field("ETag").unwrap().to_owned();
        let again = get(
            &mut engine,
            "GET /page.html",
            &format!("{accept}If-None-Match: {tag}\r\n"),
        );
        assert_eq!(
            (again.status, again.field("ETag")),
            (304, Some(tag.as_str()))
        );
        let part = get(
            &mut engine,
            "GET /page.html",
            &format!("{accept}Range: bytes=2-5\r\n"),
        );
        assert_eq!((part.status, &part.body[..]), (206, &variant.body()[2..6]));
        assert_eq!(
            part.field("Content-Encoding"),
            reply.field("Content-Encoding")
        );
        tags.push(tag);
    }
    // A tag of another coding is of something else.
    let fields = format!("Accept-Encoding: gzip\r\nIf-None-Match: {}\r\n", tags[0]);
    assert_eq!(get(&mut engine, "GET /page.html", &fields).status, 200);
    tags.dedup();
    assert_eq!(tags.len(), 4);
}
