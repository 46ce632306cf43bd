//! The raw requests that h1spec and Http11Probe try servers with, rebuilt: what each is answered with,
//! and whether the connection may live on. Names are ours, in the order of what they are about; what has to
//! do with content, conditions and smuggling is in `probes_of_content.rs`.

#[path = "support/fate.rs"]
mod fate;
mod support;

use app_http::limits::HeadLimits;
use fate::Fate::{Closes, Stays, Waits};
use fate::{Fate, fate};

#[track_caller]
fn try_all(cases: &[(&str, &str, Fate)]) {
    let other = cases.iter().filter_map(|(name, request, wanted)| {
        let fate = fate(request.as_bytes());
        (fate != *wanted).then_some((name, request, fate))
    });
    let other: Vec<_> = other.collect();
    assert!(other.is_empty(), "{other:#?}");
}

#[test]
fn fragments_of_a_request_are_waited_for() {
    let whole = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for end in 0..whole.len() {
        assert_eq!(fate(&whole.as_bytes()[..end]), Waits, "{:?}", &whole[..end]);
    }
    assert_eq!(fate(whole.as_bytes()), Stays(200));
}

#[test]
fn request_lines() {
    try_all(&[
        ("plain", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", Stays(200)),
        (
            "empty lines before",
            "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            Stays(200),
        ),
        (
            "bare LF before",
            "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            Closes(400),
        ),
        (
            "blank before",
            " GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            Closes(400),
        ),
        (
            "two blanks",
            "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
            Closes(400),
        ),
        (
            "tab between",
            "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
            Closes(400),
        ),
        (
            "blank behind",
            "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
            Closes(400),
        ),
        ("no target", "GET HTTP/1.1\r\nHost: a\r\n\r\n", Closes(400)),
        ("no version", "GET /\r\nHost: a\r\n\r\n", Closes(400)),
        ("HTTP/0.9", "GET /\r\n\r\n", Closes(400)),
        ("bare LF", "GET / HTTP/1.1\nHost: a\r\n\r\n", Closes(400)),
        ("bare CR", "GET / HTTP/1.1\rHost: a\r\n\r\n", Closes(400)),
        (
            "lower version",
            "GET / http/1.1\r\nHost: a\r\n\r\n",
            Closes(400),
        ),
        ("version 1", "GET / HTTP/1\r\nHost: a\r\n\r\n", Closes(505)),
        (
            "version 1.10",
            "GET / HTTP/1.10\r\nHost: a\r\n\r\n",
            Closes(400),
        ),
        (
            "version 2.0",
            "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
            Closes(505),
        ),
        (
            "HTTP/2 preface",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            Closes(505),
        ),
        (
            "lower method",
            "get / HTTP/1.1\r\nHost: a\r\n\r\n",
            Closes(501),
        ),
        (
            "method of garbage",
            "G@T / HTTP/1.1\r\nHost: a\r\n\r\n",
            Closes(400),
        ),
        (
            "fragment in target",
            "GET /#x HTTP/1.1\r\nHost: a\r\n\r\n",
            Closes(400),
        ),
        (
            "control in target",
            "GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n",
            Closes(400),
        ),
        (
            "NUL in target",
            "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n",
            Closes(400),
        ),
        (
            "escaped NUL",
            "GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n",
            Closes(400),
        ),
        (
            "not ASCII",
            "GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n",
            Closes(400),
        ),
        (
            "relative target",
            "GET a HTTP/1.1\r\nHost: a\r\n\r\n",
            Closes(400),
        ),
        (
            "a TLS hello",
            "\x16\x03\x01\0\u{5}\x01\0\r\n\r\n",
            Closes(400),
        ),
        (
            "asterisk with GET",
            "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
            Closes(400),
        ),
        (
            "asterisk with OPTIONS",
            "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
            Stays(204),
        ),
        (
            "CONNECT",
            "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
            Closes(405),
        ),
        (
            "absolute",
            "GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n",
            Stays(200),
        ),
        (
            "user in authority",
            "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n",
            Closes(400),
        ),
    ]);
}

#[test]
fn hosts() {
    try_all(&[
        ("missing", "GET / HTTP/1.1\r\n\r\n", Closes(400)),
        ("missing in 1.0", "GET / HTTP/1.0\r\n\r\n", Closes(200)),
        (
            "twice",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            Closes(400),
        ),
        (
            "two that differ",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            Closes(400),
        ),
        (
            "with a path",
            "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
            Closes(400),
        ),
        (
            "with a user",
            "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n",
            Closes(400),
        ),
        (
            "with a port of letters",
            "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n",
            Closes(400),
        ),
        (
            "with a list",
            "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
            Closes(400),
        ),
        (
            "of IPv6",
            "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
            Stays(200),
        ),
    ]);
}

#[test]
fn field_lines() {
    let with = |line: &str| format!("GET / HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n");
    for (name, line, wanted) in [
        ("empty value", "X:", Stays(200)),
        ("blanks around", "X: \t y \t", Stays(200)),
        ("bytes above ASCII in a value", "X: \u{e9}", Stays(200)),
        ("no colon", "X", Closes(400)),
        ("no name", ": x", Closes(400)),
        ("blank before the colon", "X : y", Closes(400)),
        ("tab before the colon", "X\t: y", Closes(400)),
        ("blank before the name", " X: y", Closes(400)),
        ("folded", "X: y\r\n z", Closes(400)),
        ("folded by a tab", "X: y\r\n\tz", Closes(400)),
        ("bare LF", "X: y\nZ: z", Closes(400)),
        ("bare CR", "X: y\rZ: z", Closes(400)),
        ("NUL in the value", "X: \0", Closes(400)),
        ("control in the value", "X: \x07", Closes(400)),
        ("control in the name", "X\x07: y", Closes(400)),
        ("bytes above ASCII in the name", "X\u{e9}: y", Closes(400)),
        ("bracket in the name", "X[: y", Closes(400)),
    ] {
        assert_eq!(fate(with(line).as_bytes()), wanted, "{name}");
    }
}

#[test]
fn what_could_smuggle_a_request() {
    let with = |lines: &str, content: &str| {
        format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n{content}")
    };
    let hidden = "GET /none HTTP/1.1\r\nHost: a\r\n\r\n";
    for (name, lines, wanted) in [
        (
            "both lengths",
            "Content-Length: 4\r\nTransfer-Encoding: chunked",
            Closes(400),
        ),
        (
            "both, the other way",
            "Transfer-Encoding: chunked\r\nContent-Length: 4",
            Closes(400),
        ),
        (
            "two lengths",
            "Content-Length: 4\r\nContent-Length: 5",
            Closes(400),
        ),
        (
            "the same length twice",
            "Content-Length: 4\r\nContent-Length: 4",
            Closes(400),
        ),
        ("a list of lengths", "Content-Length: 4, 5", Closes(400)),
        ("a list of the same", "Content-Length: 4, 4", Closes(400)),
        ("negative", "Content-Length: -1", Closes(400)),
        ("with a plus", "Content-Length: +4", Closes(400)),
        ("hexadecimal", "Content-Length: 0x4", Closes(400)),
        ("with a blank inside", "Content-Length: 4 4", Closes(400)),
        ("empty", "Content-Length:", Closes(400)),
        ("letters", "Content-Length: four", Closes(400)),
        (
            "beyond 64 bits",
            "Content-Length: 99999999999999999999",
            Closes(400),
        ),
        ("length behind a blank", "Content-Length : 4", Closes(400)),
        ("unknown coding", "Transfer-Encoding: xchunked", Closes(501)),
        (
            "coding behind chunked",
            "Transfer-Encoding: chunked, gzip",
            Closes(400),
        ),
        (
            "chunked twice",
            "Transfer-Encoding: chunked, chunked",
            Closes(400),
        ),
        ("no coding", "Transfer-Encoding:", Closes(400)),
        (
            "coding behind a blank",
            "Transfer-Encoding : chunked",
            Closes(400),
        ),
        (
            "coding that is folded",
            "Transfer-Encoding:\r\n chunked",
            Closes(400),
        ),
        (
            "coding with a vertical tab",
            "Transfer-Encoding: \x0bchunked",
            Closes(400),
        ),
        (
            "coding with a NUL",
            "Transfer-Encoding: chunked\0",
            Closes(400),
        ),
    ] {
        let fate = fate(with(lines, hidden).as_bytes());
        // Refused at the head, with nothing of what is behind it looked at; which of the two fits a
        // coding that is none is a matter of taste.
        let is_as_good = matches!((wanted, fate), (Closes(400 | 501), Closes(400 | 501)))
            && lines.starts_with("Transfer-Encoding");
        assert!(fate == wanted || is_as_good, "{name}: {fate:?}");
    }
    let old = format!("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n{hidden}");
    assert_eq!(fate(old.as_bytes()), Closes(400), "chunked in 1.0");
    let chunked = with("Transfer-Encoding: chunked", "4\r\nabcd\r\n0\r\n\r\n");
    assert!(
        matches!(fate(chunked.as_bytes()), Closes(405)),
        "content that is not read"
    );
}

#[test]
fn too_much_of_anything() {
    let limits = HeadLimits::default();
    let long = "x".repeat(limits.head_bytes);
    for (name, request, wanted) in [
        (
            "target",
            format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"),
            414,
        ),
        (
            "method",
            format!("{long} / HTTP/1.1\r\nHost: a\r\n\r\n"),
            414,
        ),
        (
            "name",
            format!("GET / HTTP/1.1\r\nHost: a\r\n{long}: x\r\n\r\n"),
            431,
        ),
        (
            "value",
            format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n"),
            431,
        ),
        (
            "fields",
            format!(
                "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
                "X: y\r\n".repeat(limits.fields)
            ),
            431,
        ),
    ] {
        assert_eq!(fate(request.as_bytes()), Closes(wanted), "{name}");
    }
}
