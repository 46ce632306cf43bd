//! The request engine's behaviours, one test each, and every request again in all its pieces.

mod support;

use app_http::limits::{MAX_FIELDS, MAX_SKIPPED_BYTES};
use app_http::refusal::Refusal;
use app_http::request::{Answer, ConnectionLine, Next, Step, answer_to_overlong_head};
use support::{answer_of, etag, site, step};

const KEPT: Next = Next::Request { skip: 0 };

/// Sends a request of version 1.1 with a Host and returns the answer.
fn get(line: &str, fields: &str) -> Answer<'static> {
    answer_of(
        &site(),
        &format!("{line} HTTP/1.1\r\nHost: a\r\n{fields}\r\n"),
    )
}

fn status(line: &str, fields: &str) -> u16 {
    get(line, fields).response.status
}

fn raw(request: &str) -> Answer<'static> {
    answer_of(&site(), request)
}

#[track_caller]
fn refused(request: &str, refusal: Refusal) {
    let answer = raw(request);
    assert_eq!(answer.refusal, Some(refusal), "{request:?}");
    assert_eq!(answer.response.status, refusal.answer().status);
    assert_eq!(answer.response.connection, ConnectionLine::Close);
    assert_eq!(answer.next, Next::Linger);
}

#[test]
fn get_sends_the_page_and_keeps_the_connection() {
    let site = site();
    let request = "GET /?q HTTP/1.1\r\nHost: localhost:8080\r\nAccept: */*\r\n\r\n";
    let answer = answer_of(&site, request);
    let page = site.default_host().lookup(b"/").unwrap().identity();
    assert_eq!(answer.consumed, request.len());
    assert_eq!(answer.response.body, b"front page");
    assert_eq!(
        answer.response.body.as_ptr(),
        page.body().as_ptr(),
        "by reference"
    );
    assert_eq!(answer.response.head, page.lines());
    assert_eq!(answer.response.connection, ConnectionLine::Absent);
    assert_eq!(answer.next, KEPT);
}

#[test]
fn head_sends_the_same_head_and_no_body() {
    let (head, get) = (get("HEAD /", ""), get("GET /", ""));
    assert_eq!(head.response.head, get.response.head);
    assert_eq!(head.response.body, b"");
    assert_eq!(self::get("HEAD /none", "").response.body, b"");
    assert_eq!(
        raw("HEAD /.. HTTP/1.1\r\nHost: a\r\n\r\n").response.body,
        b""
    );
}

#[test]
fn targets_are_decoded_and_normalised() {
    for target in [
        "/a%20b.css",
        "/sub/../a%20b.css",
        "//./a%20b%2ecss?x=%zz",
        "http://h/a%20b.css",
    ] {
        assert_eq!(
            get(&format!("GET {target}"), "").response.body,
            b"body{}",
            "{target}"
        );
    }
    assert_eq!(get("GET /sub/", "").response.body, b"inner");
    assert_eq!(status("GET /sub", ""), 301);
    for target in ["/../a", "/%00", "/%", "*", "a", "/a#b", "http:///"] {
        refused(
            &format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"),
            Refusal::Target,
        );
    }
    let long = "/%41".repeat(3_000);
    refused(
        &format!("GET {long} HTTP/1.1\r\nHost: a\r\n\r\n"),
        Refusal::TargetTooLong,
    );
}

#[test]
fn an_unknown_path_gets_the_sites_own_404_page_and_keeps_the_connection() {
    let answer = get("GET /none", "If-None-Match: *\r\n");
    assert_eq!(answer.response.status, 404);
    assert_eq!(answer.response.body, b"own 404");
    assert_eq!((answer.next, answer.refusal), (KEPT, None));
}

#[test]
fn a_matching_tag_gets_304_without_body() {
    let site = site();
    let tag = etag(&site, "/");
    for list in [
        tag.clone(),
        format!("W/{tag}"),
        format!("\"x\", {tag}"),
        "*".to_owned(),
    ] {
        for method in ["GET", "HEAD"] {
            let answer = get(
                &format!("{method} /"),
                &format!("If-None-Match: {list}\r\n"),
            );
            assert_eq!(answer.response.status, 304, "{list}");
            let kept = site.default_host().lookup(b"/").unwrap();
            let kept = kept.identity().kept_fields();
            assert_eq!([answer.response.head, b"\r\n"].concat(), kept);
            assert_eq!(answer.response.body, b"");
        }
    }
    let two_lines = format!("If-None-Match: \"x\"\r\nIF-NONE-MATCH:{tag}\r\n");
    assert_eq!(status("GET /", &two_lines), 304);
    let unquoted = tag.trim_matches('"');
    for list in ["\"x\"", unquoted, ""] {
        assert_eq!(
            status("GET /", &format!("If-None-Match: {list}\r\n")),
            200,
            "{list}"
        );
    }
}

#[test]
fn other_methods_are_not_allowed_and_unknown_ones_not_implemented() {
    for method in [
        "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "CONNECT",
    ] {
        let answer = get(&format!("{method} /"), "");
        assert_eq!(answer.refusal, Some(Refusal::MethodNotAllowed), "{method}");
        assert_eq!(
            (answer.response.connection, answer.next),
            (ConnectionLine::Absent, KEPT)
        );
    }
    assert_eq!(status("OPTIONS *", ""), 405);
    assert_eq!(
        get("POST /", "Content-Length: 7\r\n").next,
        Next::Request { skip: 7 }
    );
    for method in ["get", "GETS", "BREW", "G!T"] {
        refused(
            &format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n"),
            Refusal::UnknownMethod,
        );
    }
}

#[test]
fn host_is_needed_once_in_version_1_1() {
    refused("GET / HTTP/1.1\r\n\r\n", Refusal::Host);
    refused(
        "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        Refusal::Host,
    );
    refused(
        "GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n",
        Refusal::Host,
    );
    for host in ["a/b", "a b", "u@a", "a?", "a\\b"] {
        refused(
            &format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"),
            Refusal::Host,
        );
    }
    for host in ["", "a", "[::1]:80", "127.0.0.1:8080", "x-1.example"] {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(raw(&request).response.status, 200, "{host}");
    }
    assert_eq!(raw("GET / HTTP/1.0\r\n\r\n").response.status, 200);
}

#[test]
fn the_connection_stays_as_version_and_tokens_say() {
    let kept = [
        ("1.1", "", ConnectionLine::Absent),
        ("1.1", "Keep-Alive", ConnectionLine::Absent),
    ];
    for (version, tokens, line) in kept {
        let request = format!("GET / HTTP/{version}\r\nHost: a\r\nConnection: {tokens}\r\n\r\n");
        assert_eq!(
            (raw(&request).response.connection, raw(&request).next),
            (line, KEPT)
        );
    }
    let asked = raw("GET / HTTP/1.0\r\nConnection: x, keep-alive\r\n\r\n");
    assert_eq!(
        (asked.response.connection, asked.next),
        (ConnectionLine::KeepAlive, KEPT)
    );
    for request in [
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nconnection: x ,\tCLOSE\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.0\r\nConnection: closed\r\n\r\n",
        "GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n",
    ] {
        let answer = raw(request);
        assert_eq!(answer.response.status, 200, "{request:?}");
        assert_eq!(
            answer.response.connection,
            ConnectionLine::Close,
            "{request:?}"
        );
        assert_eq!(answer.next, Next::Close, "{request:?}");
    }
}

#[test]
fn content_is_skipped_within_a_limit_and_otherwise_the_connection_closed() {
    let next = |fields: &str| get("GET /", fields).next;
    assert_eq!(next("Content-Length: 0\r\n"), KEPT);
    assert_eq!(next("Content-Length: 5\r\n"), Next::Request { skip: 5 });
    let most = format!("Content-Length: {MAX_SKIPPED_BYTES}\r\n");
    assert_eq!(
        next(&most),
        Next::Request {
            skip: MAX_SKIPPED_BYTES as u32
        }
    );
    let more = format!("Content-Length: {}\r\n", MAX_SKIPPED_BYTES + 1);
    assert_eq!(next(&more), Next::Linger);
    assert_eq!(next("Transfer-Encoding: chunked\r\n"), Next::Linger);
    assert_eq!(
        next("Content-Length: 5\r\nConnection: close\r\n"),
        Next::Linger
    );
    let expecting = get("GET /", "Content-Length: 5\r\nExpect: 100-continue\r\n");
    assert_eq!(
        (expecting.next, expecting.response.status),
        (Next::Linger, 200)
    );
    assert_eq!(expecting.response.connection, ConnectionLine::Close);
    assert_eq!(next("Expect: 100-continue\r\n"), KEPT);
}

#[test]
fn unclear_framing_is_refused() {
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 5, 5",
        "Content-Length: +5",
        "Content-Length: -5",
        "Content-Length: 0x5",
        "Content-Length: ",
        "Content-Length: 99999999999999999999",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    ] {
        refused(
            &format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n"),
            Refusal::Framing,
        );
    }
    refused(
        "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        Refusal::Framing,
    );
    for coding in ["gzip, chunked", "identity", "xchunked"] {
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {coding}\r\n\r\n");
        refused(&request, Refusal::TransferCoding);
    }
}

#[test]
fn other_versions_are_named_as_such_and_nonsense_is_not() {
    for version in ["HTTP/2.0", "HTTP/1.2", "HTTP/0.9", "HTTP/3"] {
        refused(
            &format!("GET / {version}\r\nHost: a\r\n\r\n"),
            Refusal::Version,
        );
    }
    refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Refusal::Version);
    for request in [
        "GET / HTPP/1.1\r\n\r\n",
        "GET / http/1.1\r\n\r\n",
        "GET / HTTP/x\r\n\r\n",
    ] {
        refused(request, Refusal::RequestLine);
    }
}

#[test]
fn malformed_heads_are_refused() {
    for request in [
        "GET /\r\n\r\n",
        "GET  / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1 \r\n\r\n",
        "GET / HTTP/1.10\r\n\r\n",
        " GET / HTTP/1.1\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01",
        "GET / HTTP/1.1\rHost: a\r\n\r\n",
        "GET\t/ HTTP/1.1\r\n\r\n",
    ] {
        refused(request, Refusal::RequestLine);
    }
    for field in [
        "Host : a",
        "Host: a\r\n folded: b",
        " Host: a",
        "Host",
        ": a",
        "Ho st: a",
        "Host: a\0b",
        "Host: a\rb",
        "X: \x01",
    ] {
        let answer = raw(&format!("GET / HTTP/1.1\r\n{field}\r\n\r\n"));
        assert_eq!(answer.response.status, 400, "{field:?}");
    }
}

#[test]
fn too_many_fields_and_overlong_heads_are_refused() {
    let fields = |count: usize| "X: y\r\n".repeat(count - 1);
    assert_eq!(status("GET /", &fields(MAX_FIELDS)), 200);
    assert_eq!(status("GET /", &fields(MAX_FIELDS + 1)), 431);
    let line = answer_to_overlong_head(b"\r\nGET /aaaaaaaaaaaaaaaaaaaa");
    assert_eq!(line.refusal, Some(Refusal::TargetTooLong));
    let fields = answer_to_overlong_head(b"GET / HTTP/1.1\r\nX: aaaaaaaaaaaa");
    assert_eq!(fields.refusal, Some(Refusal::FieldsTooLarge));
}

#[test]
fn empty_lines_before_a_request_are_skipped_and_bare_line_feeds_end_lines() {
    assert_eq!(
        raw("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .response
            .status,
        200
    );
    assert_eq!(raw("\nGET / HTTP/1.1\nHost: a\n\n").response.status, 200);
    assert_eq!(step(&site(), b"\r\n"), Step::NeedMore);
    assert_eq!(step(&site(), b""), Step::NeedMore);
}

/// Requests that between them take every way through the engine.
fn corpus() -> Vec<String> {
    let tag = etag(&site(), "/");
    let mut corpus: Vec<String> = [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "\r\nGET /%61?x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        "HEAD //sub/./ HTTP/1.1\nHost: a\n\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
        "GET / HTTP/2.0\r\n\r\n",
        "GET / HTTP/1.2\r\n\r\n",
        "GET / HTTP/x\r\n\r\n",
        "BREW / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n",
        "GET / HTTP/1.1\r\nX: \x02\r\n\r\n",
        "GET / HTTP/1.1\rX\r\n\r\n",
        "\x16\x03\x01 / HTTP/1.1\r\n\r\n",
    ]
    .map(str::to_owned)
    .to_vec();
    corpus.push(format!(
        "GET / HTTP/1.1\r\nHost: a\r\nIf-None-Match: \"x\", {tag}\r\n\r\n"
    ));
    corpus.push(format!(
        "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
        "X: y\r\n".repeat(MAX_FIELDS)
    ));
    corpus
}

#[test]
fn a_request_cut_anywhere_needs_more_or_is_already_refused_alike() {
    let site = site();
    for request in corpus() {
        let whole = answer_of(&site, &request);
        let mut is_answered = false;
        for cut in 0..=request.len() {
            match step(&site, &request.as_bytes()[..cut]) {
                Step::NeedMore => assert!(!is_answered && cut < request.len(), "{request:?} {cut}"),
                Step::Answer(answer) => {
                    is_answered = true;
                    assert_eq!(answer.response, whole.response, "{request:?} cut at {cut}");
                    assert_eq!(answer.next, whole.next);
                    assert!(answer.consumed <= cut);
                    let is_complete = whole.refusal.is_some() || cut == request.len();
                    assert!(is_complete, "{request:?} answered at {cut}");
                }
            }
        }
    }
}

#[test]
fn what_follows_a_request_does_not_change_its_answer() {
    let site = site();
    for request in corpus() {
        let whole = answer_of(&site, &request);
        for tail in ["GET / HTTP/1.1\r\n", "\0\0\0", "\r\n", "x"] {
            let answer = answer_of(&site, &format!("{request}{tail}"));
            assert_eq!(
                (answer.response, answer.next),
                (whole.response, whole.next),
                "{request:?}"
            );
            assert!(whole.refusal.is_some() || answer.consumed == request.len());
        }
    }
}

#[test]
fn garbage_and_mutated_requests_never_panic() {
    let site = site();
    let mut state = 3u64;
    let mut next = move || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 33) as usize
    };
    let corpus = corpus();
    for round in 0..60_000 {
        let mut bytes = match round % 3 {
            0 => (0..next() % 200).map(|_| next() as u8).collect(),
            _ => corpus[next() % corpus.len()].clone().into_bytes(),
        };
        for _ in 0..next() % 4 {
            if bytes.is_empty() {
                break;
            }
            let at = next() % bytes.len();
            match next() % 3 {
                0 => bytes[at] = next() as u8,
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, b"\r\n \0:%/\xff"[next() % 8]),
            }
        }
        if let Step::Answer(answer) = step(&site, &bytes) {
            assert!(answer.consumed <= bytes.len());
            assert!(!answer.response.head.is_empty());
        }
    }
}
