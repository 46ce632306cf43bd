//! The raw requests of Http11Probe (its suites of smuggling, malformed input, compliance, cookies and
//! caching) and of h1spec that `probes.rs` has not: content and what frames it, conditions, cookies,
//! upgrades, targets that try to get out. Rebuilt from what the cases are about, under names of ours.

#[path = "support/fate.rs"]
mod fate;
mod support;

use app_http::limits::HeadLimits;
use fate::Fate::{Closes, Stays, Waits};
use fate::fate;
use support::{answer_all, engine, etag, site};

/// What somebody would like to have answered as a request of its own.
const HIDDEN: &str = "GET /none HTTP/1.1\r\nHost: a\r\n\r\n";

fn with(start: &str, lines: &str) -> String {
    format!("{start} HTTP/1.1\r\nHost: a\r\n{lines}\r\n")
}

/// Returns the statuses of all answers to what comes in one piece.
fn statuses(input: &str) -> Vec<u16> {
    let mut engine = engine();
    let (mut left, mut statuses) = (input.as_bytes(), Vec::new());
    loop {
        let (batch, bytes) = answer_all(&mut engine, left);
        let text = String::from_utf8_lossy(&bytes);
        // No page of the test site has these bytes.
        let answers = text.split("HTTP/1.1 ").skip(1);
        statuses.extend(answers.map(|answer| answer[..3].parse::<u16>().unwrap()));
        left = &left[batch.consumed..];
        let stays = matches!(batch.next, app_http::request::Next::Request { .. });
        if batch.requests == 0 || !stays || left.is_empty() {
            return statuses;
        }
    }
}

#[test]
fn lengths_that_mean_what_they_say_are_stepped_over() {
    for lines in [
        "Content-Length: 5\r\n",
        "Content-Length:5\r\n",
        "Content-Length:   5\r\n",
        "Content-Length:\t5\r\n",
        "Content-Length: 5  \r\n",
        "Content-Length: 005\r\n",
        "CONTENT-LENGTH: 5\r\n",
        // Other fields, whatever they look like.
        "Content_Length: 40\r\nContent-Length: 5\r\n",
        "Transfer_Encoding: chunked\r\nContent-Length: 5\r\n",
        "X-Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    ] {
        for (start, status) in [
            ("GET /", 200),
            ("HEAD /", 200),
            ("OPTIONS /", 204),
            ("POST /", 405),
            ("TRACE /", 405),
            ("BREW /", 501),
        ] {
            let request = format!("{}hello{HIDDEN}", with(start, lines));
            let expected = match status {
                // What follows a method that nobody knows is not looked at.
                501 => vec![501],
                _ => vec![status, 404],
            };
            assert_eq!(statuses(&request), expected, "{start} {lines}");
        }
    }
    // None at all: what follows is the next request, or none.
    let poison = format!("{}X{HIDDEN}", with("POST /", "Content-Length: 0\r\n"));
    assert_eq!(statuses(&poison), [405, 501]);
    let double = format!("{}{HIDDEN}", with("POST /", "Content-Length: 00\r\n"));
    assert_eq!(statuses(&double), [405, 404]);
    assert_eq!(
        statuses(&format!("{}{HIDDEN}", with("POST /", ""))),
        [405, 404]
    );
    // Less than announced is waited for.
    let less = format!("{}he", with("GET /", "Content-Length: 5\r\n"));
    assert_eq!(statuses(&less), [200]);
}

#[test]
fn lengths_and_codings_that_two_readers_read_differently_are_refused() {
    for lines in [
        "Content-Length: -0\r\n",
        "Content-Length: 0o5\r\n",
        "Content-Length: 1_0\r\n",
        "Content-Length: 5, 5, 5\r\n",
        "Content-Length: 5;\r\n",
        "Content-Length: 5.0\r\n",
        "Content-Length: \"5\"\r\n",
        "Content-Length: -123456789123456789123456789\r\n",
        "Content-Length: 18446744073709551616\r\n",
        "Content-Length\t: 5\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: , chunked\r\n",
        "Transfer-Encoding: chunked,\r\n",
        "Transfer-Encoding: chunked;q=1\r\n",
        "Transfer-Encoding: \x0cchunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: Chunked\r\nContent-Length: 5\r\n",
        "Connection: close\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: \r\n chunked\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: chunked \r\nContent-Length: +5\r\n",
    ] {
        for start in ["GET /", "HEAD /", "POST /", "OPTIONS /"] {
            let fate = fate(format!("{}{HIDDEN}", with(start, lines)).as_bytes());
            let is_refused = matches!(fate, Closes(400 | 501));
            assert!(is_refused, "{start} {lines:?}: {fate:?}");
        }
    }
}

#[test]
fn chunked_content_is_never_taken_for_a_request_however_it_is_malformed() {
    for coding in ["chunked", "Chunked", "CHUNKED", "chunked ", "\tchunked"] {
        for chunks in [
            "0\r\n\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
            "A\r\n0123456789\r\n0\r\n\r\n",
            "5;name=value\r\nhello\r\n0\r\n\r\n",
            "5;\r\nhello\r\n0\r\n\r\n",
            "5;\n\r\nhello\r\n0\r\n\r\n",
            "5;\rx\r\nhello\r\n0\r\n\r\n",
            "5;\x01\r\nhello\r\n0\r\n\r\n",
            "5;[=x\r\nhello\r\n0\r\n\r\n",
            "0x5\r\nhello\r\n0\r\n\r\n",
            "+5\r\nhello\r\n0\r\n\r\n",
            "-5\r\nhello\r\n0\r\n\r\n",
            " 5\r\nhello\r\n0\r\n\r\n",
            "5 \r\nhello\r\n0\r\n\r\n",
            "1_0\r\nhello\r\n0\r\n\r\n",
            "5\nhello\n0\n\n",
            "5\rhello\r0\r\r",
            "5\r\nhello!!\r\n0\r\n\r\n",
            "5\r\nhello0\r\n\r\n",
            "FFFFFFFFFFFFFFFF0\r\nhello\r\n0\r\n\r\n",
            "X\r\nhello\r\n0\r\n\r\n",
            "5\r\nhello\r\n",
            "5\r\nhello\r\n0\r\nContent-Length: 50\r\n\r\n",
            "5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
            "5\r\nhello\r\n0\r\nHost: b\r\nAuthorization: x\r\n\r\n",
            "5\r\nhello\r\n0\r\nX: y\n\r\n",
        ] {
            let lines = format!("Transfer-Encoding: {coding}\r\n");
            for (start, status) in [("GET /", 200), ("POST /", 405), ("OPTIONS /", 204)] {
                let request = format!("{}{chunks}{HIDDEN}", with(start, &lines));
                assert_eq!(
                    fate(request.as_bytes()),
                    Closes(status),
                    "{start} {chunks:?}"
                );
            }
        }
    }
}

#[test]
fn who_waits_to_send_content_gets_the_final_answer() {
    let expect = "Expect: 100-continue\r\n";
    assert_eq!(fate(with("GET /", expect).as_bytes()), Stays(200));
    let announced = format!("{expect}Content-Length: 5\r\n");
    assert_eq!(fate(with("GET /", &announced).as_bytes()), Closes(200));
    // Whether the content comes is not known: what is behind it is not looked at.
    let request = format!("{}hello{HIDDEN}", with("POST /", &announced));
    assert_eq!(fate(request.as_bytes()), Closes(405));
    assert_eq!(
        fate(with("GET /", "Expect: 200-ok\r\n").as_bytes()),
        Closes(417)
    );
    // No 100 to HTTP/1.0, which does not know it.
    let (_, answer) = answer_all(
        &mut engine(),
        b"GET / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n",
    );
    assert!(answer.starts_with(b"HTTP/1.1 200 "));
}

#[test]
fn connections_stay_or_close_as_is_said() {
    for (request, wanted) in [
        (with("GET /", "Connection: close\r\n"), Closes(200)),
        (
            with("GET /", "Connection: keep-alive, CLOSE\r\n"),
            Closes(200),
        ),
        (with("GET /", "Connection: keep-alive\r\n"), Stays(200)),
        (
            with("GET /", "Connection: Upgrade\r\nUpgrade: websocket\r\n"),
            Stays(200),
        ),
        (
            with("POST /", "Connection: Upgrade\r\nUpgrade: websocket\r\n"),
            Stays(405),
        ),
        (
            with(
                "GET /",
                "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n",
            ),
            Stays(200),
        ),
        ("GET / HTTP/1.0\r\nHost: a\r\n\r\n".to_owned(), Closes(200)),
        (
            "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".to_owned(),
            Stays(200),
        ),
        (with("TRACE /", "Cookie: secret=1\r\n"), Stays(405)),
        (with("PUT /", ""), Stays(405)),
        (with("GET /", "Accept: nonsense/nonsense\r\n"), Stays(200)),
    ] {
        assert_eq!(fate(request.as_bytes()), wanted, "{request}");
    }
    assert_eq!(
        statuses(&format!("{HIDDEN}{HIDDEN}{HIDDEN}")),
        [404, 404, 404]
    );
}

#[test]
fn request_lines_that_are_nearly_right() {
    let longest = HeadLimits::default().request_line_bytes - "GET / HTTP/1.1".len();
    let long = format!("/{}", "a".repeat(longest));
    for (line, wanted) in [
        ("GET / ", Closes(400)),
        ("GET / HTTP/1.2", Closes(505)),
        ("GET / HTTP/9.9", Closes(505)),
        ("GET / HTTP/01.01", Closes(400)),
        ("GET / HTTP/ 1.1", Closes(400)),
        ("GET / HTTP/1.", Closes(400)),
        ("GET / HTTPS/1.1", Closes(400)),
        ("GET /a b HTTP/1.1", Closes(400)),
        ("Extra lineGET / HTTP/1.1", Closes(400)),
        ("   ", Closes(400)),
        ("CONNECT a: HTTP/1.1", Closes(405)),
        ("CONNECT / HTTP/1.1", Closes(405)),
        ("GET /\\..\\..\\etc HTTP/1.1", Stays(404)),
        ("GET /%c0%ae%c0%ae/%c0%ae%c0%ae/etc HTTP/1.1", Stays(404)),
        ("GET /%0d%0aX-Injected:%20yes HTTP/1.1", Stays(404)),
        ("GET /%2e%2e/%2e%2e/etc HTTP/1.1", Closes(400)),
        ("GET /%252e%252e/etc HTTP/1.1", Stays(404)),
        ("GET /%zz HTTP/1.1", Closes(400)),
        (&format!("GET {long} HTTP/1.1"), Stays(404)),
        (&format!("GET {long}a HTTP/1.1"), Closes(414)),
    ] {
        let request = format!("{line}\r\nHost: a\r\n\r\n");
        assert_eq!(
            fate(request.as_bytes()),
            wanted,
            "{}",
            &line[..line.len().min(60)]
        );
    }
    let split = "GET / HTTP/1.1\r\nHost: a\r\n\rSome-Header: x\r\n\r\n";
    assert_eq!(fate(split.as_bytes()), Closes(400));
    assert_eq!(fate(b"GET / HTTP/1.1\r\nHost: a\r\nX-Test: value"), Waits);
    assert_eq!(
        fate(b"GET / HTTP/1.1\r\nhoSt:\ta\r\nempty:\r\n\r\n"),
        Stays(200)
    );
    // What is decoded goes into no field of an answer.
    let moved = with("GET /blog/%0d%0aX-Injected:%20yes", "");
    let (_, answer) = answer_all(&mut engine(), moved.as_bytes());
    assert!(!String::from_utf8_lossy(&answer).contains("\r\nX-Injected"));
}

#[test]
fn cookies_are_fields_like_others() {
    let many = (0..200).map(|number| format!("c{number}=v; "));
    let oversized = format!("Cookie: {}\r\n", "x".repeat(64 << 10));
    for (lines, wanted) in [
        ("Cookie: a=b\r\n", Stays(200)),
        ("Cookie:\r\n", Stays(200)),
        ("Cookie: ===;;; =\r\n", Stays(200)),
        ("Cookie: a=b\r\nCookie: c=d\r\n", Stays(200)),
        (
            &format!("Cookie: {}\r\n", many.collect::<String>()),
            Stays(200),
        ),
        ("Cookie: a=\0b\r\n", Closes(400)),
        ("Cookie: a=\x01\x02\r\n", Closes(400)),
        (&oversized, Closes(431)),
    ] {
        assert_eq!(fate(with("GET /", lines).as_bytes()), wanted, "{lines:.40}");
    }
}

#[test]
fn conditions_as_caches_send_them() {
    let tag = etag(&site(), "/letters.txt");
    let bare = tag.trim_matches('"').to_owned();
    let earlier = "Fri, 01 Jan 1990 00:00:00 GMT";
    for (lines, wanted) in [
        (format!("If-None-Match: {tag}\r\n"), 304),
        (format!("If-None-Match: W/{tag}\r\n"), 304),
        ("If-None-Match: *\r\n".to_owned(), 304),
        (format!("If-None-Match: {bare}\r\n"), 200),
        (format!("If-None-Match: \"other\", {tag}\r\n"), 304),
        (
            format!("If-Modified-Since: {}\r\n", support::LAST_MODIFIED),
            304,
        ),
        (format!("If-Modified-Since: {earlier}\r\n"), 200),
        ("If-Modified-Since: yesterday\r\n".to_owned(), 200),
        // The tag comes first.
        (
            format!("If-None-Match: {tag}\r\nIf-Modified-Since: {earlier}\r\n"),
            304,
        ),
        (
            format!(
                "If-None-Match: \"other\"\r\nIf-Modified-Since: {}\r\n",
                support::LAST_MODIFIED
            ),
            200,
        ),
        ("Range: bytes=0-1\r\n".to_owned(), 206),
        ("Range: bytes=abc\r\n".to_owned(), 416),
        ("Range: lines=1-2\r\n".to_owned(), 200),
    ] {
        let request = with("GET /letters.txt", &lines);
        assert_eq!(fate(request.as_bytes()), Stays(wanted), "{lines}");
    }
    assert_eq!(
        fate(with("POST /letters.txt", "Range: bytes=0-1\r\n").as_bytes()),
        Stays(405)
    );
    // A 304 has the tag, Date, and no content.
    let request = with("GET /letters.txt", &format!("If-None-Match: {tag}\r\n"));
    let (_, answer) = answer_all(&mut engine(), request.as_bytes());
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.contains(&format!("\r\nETag: {tag}\r\n")) && answer.contains("\r\nDate: "));
    assert!(answer.ends_with("\r\n\r\n"));
}

#[test]
fn what_is_not_allowed_is_told_with_what_is() {
    for (start, status) in [
        ("POST /", "405"),
        ("OPTIONS /", "204"),
        ("OPTIONS *", "204"),
    ] {
        let (_, answer) = answer_all(&mut engine(), with(start, "").as_bytes());
        let answer = String::from_utf8(answer).unwrap();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
        assert!(
            answer.contains("\r\nAllow: GET, HEAD, OPTIONS\r\n"),
            "{answer}"
        );
    }
}
