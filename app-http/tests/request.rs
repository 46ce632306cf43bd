//! One request, one answer: what the engine makes of the bytes of a request.

mod support;

use app_http::counters::STATUSES;
use app_http::engine::{Batch, Engine};
use app_http::limits::{HeadLimits, MAX_SKIPPED_BYTES};
use app_http::refusal::Refusal;
use app_http::request::Next;
use site::pack::PackOptions;
use support::{ask, client, engine, engine_of, etag, get, pack, site};

const KEPT: Next = Next::Request { skip: 0 };

fn refusals(engine: &Engine, refusal: Refusal) -> u64 {
    engine.counters.refusals[refusal as usize]
}

/// Asserts that a request is refused for this reason, and the connection closed.
#[track_caller]
fn refused(request: &str, refusal: Refusal) {
    let mut engine = engine();
    let reply = ask(&mut engine, request);
    assert_eq!(refusals(&engine, refusal), 1, "{request:?}: {}", reply.head);
    assert_eq!(reply.status, refusal.answer().status);
    assert_eq!(reply.next, Next::Linger);
}

fn status(line: &str, fields: &str) -> u16 {
    get(&mut engine(), line, fields).status
}

#[test]
fn get_sends_the_page_and_keeps_the_connection() {
    let request = "GET /?q HTTP/1.1\r\nHost: localhost:8080\r\nAccept: */*\r\n\r\n";
    let reply = ask(&mut engine(), request);
    assert_eq!((reply.status, reply.text().as_str()), (200, "front page"));
    assert_eq!((reply.consumed, reply.next), (request.len(), KEPT));
    let start = "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nServer: sluice\r\n";
    assert!(reply.head.starts_with(start), "{}", reply.head);
    assert_eq!(reply.field("Connection"), None);
    assert_eq!(reply.field("Accept-Ranges"), Some("bytes"));
}

#[test]
fn head_sends_the_same_head_and_no_body() {
    let mut engine = engine();
    for target in ["/", "/none", "/sub", "/blog/x", "/../x", "/old?a"] {
        let head = get(&mut engine, &format!("HEAD {target}"), "");
        let get = get(&mut engine, &format!("GET {target}"), "");
        assert_eq!((&head.head, head.next), (&get.head, get.next), "{target}");
        assert!(head.body.is_empty(), "{target}");
    }
    let malformed = ask(&mut engine, "\r\nHEAD / HTTP/1.1\r\nHost : a\r\n\r\n");
    assert_eq!((malformed.status, malformed.body.len()), (400, 0));
}

#[test]
fn targets_are_decoded_and_normalised() {
    let mut engine = engine();
    for target in [
        "/a%20b.css",
        "/sub/../a%20b.css",
        "//./a%20b%2ecss?x=%zz",
        "http://h/a%20b.css",
        "HTTPS://h:1/a%20b.css",
    ] {
        let reply = get(&mut engine, &format!("GET {target}"), "");
        assert_eq!(reply.text(), "body{}", "{target}");
    }
    assert_eq!(get(&mut engine, "GET /sub/", "").text(), "inner");
    for target in [
        "/../a",
        "/%00",
        "/%",
        "/%4",
        "/%zz",
        "*",
        "a",
        "/a#b",
        "http:///",
        "/\u{e4}",
        "/a b",
        "http://u@h/",
        "h:80",
        "?a",
        "/ ",
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        let reply = ask(&mut engine, &request);
        assert_eq!((reply.status, reply.next), (400, Next::Linger), "{target}");
    }
    let long = "/%41".repeat(1_000);
    assert_eq!(status(&format!("GET {long}"), ""), 404);
}

#[test]
fn a_folder_without_slash_moves_to_the_one_with_it_and_takes_the_query_along() {
    let mut engine = engine();
    let reply = get(&mut engine, "GET /sub", "");
    assert_eq!(
        (reply.status, reply.field("Location")),
        (301, Some("/sub/"))
    );
    let reply = get(&mut engine, "GET /sub?a=b&c=%20", "");
    assert_eq!(reply.field("Location"), Some("/sub/?a=b&c=%20"));
    assert_eq!(reply.next, KEPT);
}

#[test]
fn rules_redirect_and_rewrite() {
    let mut engine = engine();
    let old = get(&mut engine, "GET /old", "");
    assert_eq!(
        (old.status, old.field("Location")),
        (301, Some("/letters.txt"))
    );
    let splat = get(&mut engine, "GET /blog/2024/a%20b?x=1", "");
    assert_eq!(splat.status, 302);
    assert_eq!(splat.field("Location"), Some("/news/2024/a%20b?x=1"));
    let rewritten = get(&mut engine, "GET /app/deep/link", "");
    assert_eq!(
        (rewritten.status, rewritten.text().as_str()),
        (200, "front page")
    );
    // What comes out of a rule cannot end a line.
    let sly = get(&mut engine, "GET /blog/%0d%0aSet-Cookie:x", "");
    assert_eq!(sly.field("Location"), Some("/news/%0D%0ASet-Cookie%3Ax"));
    assert_eq!(sly.field("Set-Cookie"), None);
}

#[test]
fn a_location_that_has_no_room_is_refused() {
    let query = "q".repeat(3_000);
    assert_eq!(status(&format!("GET /blog/x?{query}"), ""), 302);
    let path = "%01".repeat(1_300);
    let reply = get(&mut engine(), &format!("GET /blog/{path}"), "");
    assert!([302, 414, 503].contains(&reply.status), "{}", reply.head);
}

#[test]
fn an_unknown_path_gets_the_sites_own_404_page_and_keeps_the_connection() {
    let reply = get(
        &mut engine(),
        "GET /none",
        "If-None-Match: *\r\nRange: bytes=0-1\r\n",
    );
    assert_eq!((reply.status, reply.text().as_str()), (404, "own 404"));
    assert_eq!(reply.next, KEPT);
}

#[test]
fn options_says_what_is_allowed() {
    let mut engine = engine();
    for target in ["*", "/", "/none", "http://a/"] {
        let reply = get(&mut engine, &format!("OPTIONS {target}"), "");
        assert!([200, 204].contains(&reply.status), "{}", reply.head);
        assert_eq!(reply.field("Allow"), Some("GET, HEAD, OPTIONS"));
        assert_eq!((reply.body.len(), reply.next), (0, KEPT));
    }
    assert_eq!(status("OPTIONS /..", ""), 400);
}

#[test]
fn other_methods_are_not_allowed_and_unknown_ones_not_implemented() {
    let mut engine = engine();
    for method in ["POST", "PUT", "DELETE", "TRACE", "PATCH"] {
        let reply = get(&mut engine, &format!("{method} /"), "");
        assert_eq!((reply.status, reply.next), (405, KEPT), "{method}");
        assert_eq!(reply.field("Allow"), Some("GET, HEAD, OPTIONS"));
    }
    assert_eq!(refusals(&engine, Refusal::MethodNotAllowed), 5);
    let connect = ask(&mut engine, "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n");
    assert_eq!((connect.status, connect.next), (405, Next::Linger));
    let post = get(&mut engine, "POST /", "Content-Length: 7\r\n");
    assert_eq!(post.next, Next::Request { skip: 7 });
    for method in ["get", "GETS", "BREW", "G!T", "PRI", "PROPFIND"] {
        let request = format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n");
        refused(&request, Refusal::UnknownMethod);
    }
}

#[test]
fn host_is_needed_once_in_version_1_1() {
    for request in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nX: y\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\nhOST: b\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n",
        "GET http://a/ HTTP/1.1\r\n\r\n",
    ] {
        refused(request, Refusal::Host);
    }
    for host in [
        "a/b", "a b", "u@a", "a?", "a\\b", "a:b", "a:1:2", "[::1", "a,b c", "\"a\"", "a\tb",
    ] {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        refused(&request, Refusal::Host);
    }
    let mut engine = engine();
    for host in [
        "",
        "a",
        "[::1]:80",
        "127.0.0.1:8080",
        "x-1.example",
        "a:",
        " \ta\t ",
    ] {
        let request = format!("GET / HTTP/1.1\r\nHost:{host}\r\n\r\n");
        assert_eq!(ask(&mut engine, &request).status, 200, "{host}");
    }
    assert_eq!(ask(&mut engine, "GET / HTTP/1.0\r\n\r\n").status, 200);
}

#[test]
fn the_host_decides_which_site_answers_and_an_absolute_target_decides_more() {
    let other = tempfile::tempdir().unwrap();
    std::fs::write(other.path().join("index.html"), "other").unwrap();
    let options = PackOptions {
        hosts: vec![("example.org".to_owned(), other.path().to_owned())],
        ..PackOptions::default()
    };
    let mut engine = engine_of(pack(&[("index.html", b"default")], &options));
    for (target, host, text) in [
        ("/", "example.org", "other"),
        ("/", "EXAMPLE.org:8080", "other"),
        ("/", "example.com", "default"),
        ("/", "", "default"),
        ("/?q", "example.org", "other"),
        ("http://example.org/", "example.com", "other"),
        ("http://example.com", "example.org", "default"),
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(ask(&mut engine, &request).text(), text, "{target} {host}");
    }
    assert_eq!(ask(&mut engine, "GET / HTTP/1.0\r\n\r\n").text(), "default");
}

#[test]
fn the_connection_stays_as_version_and_tokens_say() {
    let mut engine = engine();
    for tokens in [
        "",
        "Keep-Alive",
        "keep-alive, x",
        "upgrade",
        "closed",
        "x-close",
    ] {
        let reply = get(&mut engine, "GET /", &format!("Connection: {tokens}\r\n"));
        assert_eq!(
            (reply.field("Connection"), reply.next),
            (None, KEPT),
            "{tokens}"
        );
    }
    let asked = ask(
        &mut engine,
        "GET / HTTP/1.0\r\nConnection: x, keep-alive\r\n\r\n",
    );
    assert_eq!(
        (asked.field("Connection"), asked.next),
        (Some("keep-alive"), KEPT)
    );
    for request in [
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nconnection: x ,\tCLOSE\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.0\r\nConnection: closed\r\n\r\n",
        "GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n",
    ] {
        let reply = ask(&mut engine, request);
        assert_eq!(
            (reply.status, reply.next),
            (200, Next::Close),
            "{request:?}"
        );
    }
}

#[test]
fn a_core_without_memory_answers_503_counted_as_such_and_a_head_without_body() {
    for (method, has_body) in [("GET", true), ("HEAD", false)] {
        let mut engine = engine();
        let request = format!("{method} /blog/x HTTP/1.1\r\nHost: a\r\n\r\n");
        let (mut pieces, mut batch) = (megapipe::IoVec::new(), Batch::NOTHING);
        engine.answer_all(request.as_bytes(), client(9), &mut pieces, &mut batch);
        let bytes: Vec<u8> = pieces
            .iter()
            .flat_map(|piece| piece.bytes())
            .copied()
            .collect();
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
        assert_eq!(body.is_empty(), !has_body, "{method}");
        let counted = STATUSES.iter().position(|status| *status == 503).unwrap();
        assert_eq!(engine.counters.answers[counted], 1);
    }
}

#[test]
fn the_last_request_of_a_connection_is_told_to_close() {
    let mut engine = engine();
    let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let (batch, bytes) = support::answer_some(&mut engine, request, client(1));
    // More may be on its way, which must not reset the answer away.
    assert_eq!(support::reply(&batch, &bytes).next, Next::Linger);
    let two = request.repeat(3);
    let (batch, bytes) = support::answer_some(&mut engine, &two, client(2));
    assert_eq!((batch.requests, batch.next), (2, Next::Linger));
    assert!(
        String::from_utf8(bytes)
            .unwrap()
            .contains("Connection: close")
    );
}

#[test]
fn content_is_skipped_within_a_limit_and_otherwise_the_connection_closed() {
    let next = |fields: &str| get(&mut engine(), "GET /", fields).next;
    assert_eq!(next("Content-Length: 0\r\n"), KEPT);
    assert_eq!(next("Content-Length: 5\r\n"), Next::Request { skip: 5 });
    let most = MAX_SKIPPED_BYTES as u32;
    assert_eq!(
        next(&format!("Content-Length: {most}\r\n")),
        Next::Request { skip: most }
    );
    assert_eq!(
        next(&format!("Content-Length: {}\r\n", most + 1)),
        Next::Linger
    );
    assert_eq!(next("Transfer-Encoding: chunked\r\n"), Next::Linger);
    assert_eq!(
        next("Content-Length: 5\r\nConnection: close\r\n"),
        Next::Linger
    );
}

#[test]
fn expectations_are_met_by_the_final_answer_or_refused() {
    let expecting = get(
        &mut engine(),
        "GET /",
        "Content-Length: 5\r\nExpect: 100-Continue\r\n",
    );
    assert_eq!((expecting.status, expecting.next), (200, Next::Linger));
    assert_eq!(
        get(&mut engine(), "GET /", "Expect: 100-continue\r\n").next,
        KEPT
    );
    for value in ["200-ok", "100-continue, x", "x=\"100-continue\""] {
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\nExpect: {value}\r\n\r\n");
        refused(&request, Refusal::Expectation);
    }
}

#[test]
fn unclear_framing_is_refused() {
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5, 5",
        "Content-Length: +5",
        "Content-Length: -5",
        "Content-Length: 0x5",
        "Content-Length: 5 5",
        "Content-Length: 5;a",
        "Content-Length: ",
        "Content-Length: 99999999999999999999",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    ] {
        refused(
            &format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n"),
            Refusal::Framing,
        );
    }
    refused(
        "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        Refusal::Framing,
    );
    for coding in [
        "gzip, chunked",
        "identity",
        "xchunked",
        "chunked, chunked",
        "chunked;a=b",
        "\"chunked\"",
        "chunked,",
        "",
        "chunked\u{0b}",
    ] {
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {coding}\r\n\r\n");
        let reply = ask(&mut engine(), &request);
        assert!(
            [400, 501].contains(&reply.status) && reply.next == Next::Linger,
            "{coding}"
        );
    }
}

#[test]
fn other_versions_are_named_as_such_and_nonsense_is_not() {
    for version in ["HTTP/2.0", "HTTP/1.2", "HTTP/0.9", "HTTP/9.9", "HTTP/3"] {
        refused(
            &format!("GET / {version}\r\nHost: a\r\n\r\n"),
            Refusal::Version,
        );
    }
    refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Refusal::Version);
    for version in [
        "HTPP/1.1",
        "http/1.1",
        "Http/1.1",
        "HTTP/x",
        "HTTP/",
        "HTTP/1,1",
        "HTTP/1.10",
        "HTTP/01.1",
        "HTTP/1.1.1",
        "HTTP /1.1",
        "HTTP/+1.1",
        "HTTP/1. 1",
    ] {
        refused(
            &format!("GET / {version}\r\nHost: a\r\n\r\n"),
            Refusal::RequestLine,
        );
    }
}

#[test]
fn malformed_request_lines_are_refused() {
    for request in [
        "GET /\r\n\r\n",
        "GET\r\n\r\n",
        "GET / \r\n\r\n",
        "GET HTTP/1.1\r\n\r\n",
        "GET  HTTP/1.1\r\n\r\n",
        " / HTTP/1.1\r\n\r\n",
        "GET  / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1 \r\n\r\n",
        " GET / HTTP/1.1\r\n\r\n",
        "   \r\n\r\n",
        "\x16\x03\x01\x02\x00\x01",
        "GET / HTTP/1.1\rHost: a\r\n\r\n",
        "GET\t/ HTTP/1.1\r\n\r\n",
        "G\u{e4}T / HTTP/1.1\r\n\r\n",
        "GET /a\0b HTTP/1.1\r\n\r\n",
        "GET /a\x7fb HTTP/1.1\r\n\r\n",
        "\rGET / HTTP/1.1\r\n\r\n",
    ] {
        refused(request, Refusal::RequestLine);
    }
}

#[test]
fn malformed_field_lines_are_refused() {
    for field in [
        "X : a",
        "X\t: a",
        "X: a\r\n folded: b",
        "X: a\r\n\tfolded",
        " X: a",
        "X",
        ": a",
        "X y: a",
        "X: a\0b",
        "X: a\rb",
        "X: \x01",
        "X: \x7f",
        "X[: a",
        "X\u{e4}: a",
        "\u{0}: a",
        "X(y): a",
        "@: a",
    ] {
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n");
        refused(&request, Refusal::FieldLine);
        refused(
            &format!("GET / HTTP/1.1\r\n{field}\r\nHost: a\r\n\r\n"),
            Refusal::FieldLine,
        );
    }
    let unusual = "!#$%&'*+-.^_`|~09azAZ: \u{e4}\t\"x\"\r\nX:\r\nY: \t \r\n";
    assert_eq!(status("GET /", unusual), 200);
}

#[test]
fn bare_line_feeds_end_nothing() {
    let mut engine = engine();
    for request in [
        "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "\r\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
    ] {
        assert_eq!(ask(&mut engine, request).status, 400, "{request:?}");
    }
}

#[test]
fn empty_lines_before_a_request_are_skipped() {
    let mut engine = engine();
    let reply = ask(&mut engine, "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(reply.status, 200);
    for part in ["", "\r", "\r\n", "\r\n\r"] {
        assert_eq!(
            support::answer_all(&mut engine, part.as_bytes()).0.requests,
            0
        );
    }
    let flood = "\r\n".repeat(HeadLimits::default().head_bytes);
    assert_eq!(ask(&mut engine, flood).status, 431);
}

#[test]
fn too_many_fields_and_overlong_heads_are_refused() {
    let limits = HeadLimits::default();
    let fields = |count: usize| "X: y\r\n".repeat(count - 1);
    assert_eq!(status("GET /", &fields(limits.fields)), 200);
    assert_eq!(status("GET /", &fields(limits.fields + 1)), 431);
    let line = |bytes: usize| format!("GET /{} HTTP/1.1", "a".repeat(bytes - 14));
    let tail = "\r\nHost: a\r\n\r\n";
    let longest = line(limits.request_line_bytes) + tail;
    assert_eq!(ask(&mut engine(), &longest).status, 404);
    refused(
        &(line(limits.request_line_bytes + 1) + tail),
        Refusal::TargetTooLong,
    );
    refused(
        &"A".repeat(limits.request_line_bytes + 1),
        Refusal::TargetTooLong,
    );
    let head = |bytes: usize| {
        let rest = "GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n".len();
        let fill = "a".repeat(bytes - rest);
        format!("GET / HTTP/1.1\r\nHost: a\r\nX: {fill}\r\n\r\n")
    };
    assert_eq!(ask(&mut engine(), head(limits.head_bytes)).status, 200);
    refused(&head(limits.head_bytes + 1), Refusal::FieldsTooLarge);
    refused(
        &head(limits.head_bytes * 2)[..limits.head_bytes],
        Refusal::FieldsTooLarge,
    );
}

#[test]
fn counters_add_up() {
    let mut engine = engine();
    let tag = etag(&site(), "/");
    get(&mut engine, "GET /", "");
    get(&mut engine, "GET /", &format!("If-None-Match: {tag}\r\n"));
    get(&mut engine, "GET /none", "");
    get(&mut engine, "POST /", "");
    assert_eq!(engine.counters.requests(), 4);
    assert_eq!(
        [2, 3, 4, 5].map(|class| engine.counters.class(class)),
        [1, 1, 2, 0]
    );
}
