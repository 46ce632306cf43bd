//! A conversation gets the same bytes however it is split, and the short way of the usual request
//! leads to what the long way does.

mod support;

use app_http::access_log::{AccessLog, LogConfig};
use app_http::engine::Engine;
use app_http::limits::HeadLimits;
use app_http::log_line::LogForm;
use app_http::request::Next;
use proptest::prelude::*;
use std::fmt::Write;
use support::{BOOT, answer_all, engine, etag, site};

/// Feeds pieces to the engine, as the server does; returns what is sent, and whether the connection
/// stays.
fn converse<'a>(engine: &mut Engine, pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<u8>, bool) {
    let (mut held, mut out) = (Vec::new(), Vec::new());
    let mut skip = 0;
    for piece in pieces {
        held.extend_from_slice(piece);
        loop {
            let here = held.len().min(skip);
            held.drain(..here);
            skip -= here;
            let (batch, answers) = answer_all(engine, &held);
            if batch.requests == 0 {
                break;
            }
            out.extend(answers);
            held.drain(..batch.consumed);
            match batch.next {
                Next::Request { skip: rest } => skip = rest as usize,
                Next::Close | Next::Linger => return (out, false),
            }
        }
    }
    (out, true)
}

/// Requests that between them take every way through the engine; those that close come last.
fn requests() -> Vec<String> {
    let tag = etag(&site(), "/letters.txt");
    let fields = |count: usize| "X-Filler: something\r\n".repeat(count);
    let mut requests: Vec<String> = [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "\r\nGET /%61?x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        "HEAD //sub/./ HTTP/1.1\r\nHost:a\r\n\r\n",
        "GET /sub?x=y HTTP/1.1\r\nhost: \t[::1]:80 \r\n\r\n",
        "GET /blog/x HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nGET / HTTP",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /letters.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=1-2\r\n\r\n",
        "GET /letters.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=1-2,-3\r\n\r\n",
        "GET /letters.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=99-\r\n\r\n",
        "GET /none HTTP/1.1\r\nHost: a\r\nX_y: \u{e4}\t\r\nAccept-Encoding: gzip;q=0\r\n\r\n",
        // The rest closes.
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/2.0\r\n\r\n",
        "GET / HTTP/x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "BREW / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n",
        "GET / HTTP/1.1\r\nX: \x02\r\n\r\n",
        "GET / HTTP/1.1\r\nX: ~\u{ff}~\rY\r\n\r\n",
        "GET / HTTP/1.1\rX\r\n\r\n",
        "\x16\x03\x01 / HTTP/1.1\r\n\r\n",
        // The fuzz target found that this was taken for a HEAD when it came as a whole.
        "\rHEAD \x03",
    ]
    .map(str::to_owned)
    .to_vec();
    let get = "GET /letters.txt HTTP/1.1\r\nHost: a\r\n";
    requests.insert(0, format!("{get}If-None-Match: \"x\", {tag}\r\n\r\n"));
    requests.insert(0, format!("{get}If-Match: \"x\"\r\n\r\n"));
    requests.insert(0, format!("{get}{}\r\n", fields(40)));
    requests.push(format!("{get}{}\r\n", fields(HeadLimits::default().fields)));
    requests
}

#[test]
fn every_request_cut_anywhere_and_byte_by_byte_gets_the_same_answer() {
    let mut engine = engine();
    for request in requests() {
        let bytes = request.as_bytes();
        let (whole, stays) = converse(&mut engine, [bytes].into_iter());
        assert!(!whole.is_empty(), "{request:?}");
        for cut in 0..=bytes.len() {
            let (first, second) = bytes.split_at(cut);
            let cut_up = converse(&mut engine, [first, second].into_iter());
            assert!(cut_up == (whole.clone(), stays), "{request:?} cut at {cut}");
        }
        let single = converse(&mut engine, bytes.chunks(1));
        assert!(single == (whole, stays), "{request:?} byte by byte");
    }
}

#[test]
fn a_conversation_gets_the_same_bytes_in_pieces_of_any_size() {
    let mut engine = engine();
    let conversation = requests().concat();
    let (whole, stays) = converse(&mut engine, [conversation.as_bytes()].into_iter());
    assert!(!stays);
    for size in 1..200 {
        let pieces = conversation.as_bytes().chunks(size);
        assert!(
            converse(&mut engine, pieces).0 == whole,
            "pieces of {size} bytes"
        );
    }
}

#[test]
fn what_follows_a_request_does_not_change_its_answer() {
    let mut engine = engine();
    for request in requests() {
        let (whole, _) = converse(&mut engine, [request.as_bytes()].into_iter());
        for tail in ["GET / HTTP/1.1\r\n", "\0\0\0", "\r", "x"] {
            let more = format!("{request}{tail}");
            let (answers, _) = converse(&mut engine, [more.as_bytes()].into_iter());
            assert!(answers.starts_with(&whole), "{request:?} {tail:?}");
        }
    }
}

/// An engine that takes the long way for every request: it has a log.
fn long_way() -> Engine {
    let config = LogConfig {
        form: LogForm::Json,
        sample: 1,
        ring_bytes: 0,
    };
    Engine::new(
        site(),
        HeadLimits::default(),
        BOOT,
        AccessLog::new(Some(config)),
    )
}

fn part() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("/".to_owned()),
        Just("letters.txt".to_owned()),
        "[a-z%.?#/ ]{0,6}",
        "\\PC{0,3}",
    ]
}

fn field() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        Just("Host".to_owned()),
        Just("Connection".to_owned()),
        Just("Content-Length".to_owned()),
        Just("Transfer-Encoding".to_owned()),
        Just("Range".to_owned()),
        Just("If-None-Match".to_owned()),
        Just("Accept-Encoding".to_owned()),
        Just("Expect".to_owned()),
        "[A-Za-z!-]{0,9}",
    ];
    let value = prop_oneof![
        Just("a".to_owned()),
        Just("close".to_owned()),
        Just("3".to_owned()),
        Just("chunked".to_owned()),
        Just("bytes=0-1".to_owned()),
        Just("*".to_owned()),
        Just(etag(&site(), "/letters.txt")),
        Just(etag(&site(), "/")),
        Just("gzip".to_owned()),
        "[ -~\t]{0,12}",
    ];
    (name, value).prop_map(|(name, value)| format!("{name}:{value}\r\n"))
}

proptest! {
    #[test]
    fn the_short_way_and_the_long_way_give_the_same_bytes(
        requests in prop::collection::vec(
            (
                prop_oneof![4 => Just("GET"), 1 => Just("HEAD"), 1 => Just("POST")],
                prop::collection::vec(part(), 0..3),
                prop_oneof![6 => Just("1.1"), 1 => Just("1.0")],
                prop::collection::vec(field(), 0..4),
            ),
            1..5,
        ),
        size in 1..80usize,
    ) {
        let mut input = String::new();
        for (method, parts, version, fields) in &requests {
            let target = parts.concat();
            write!(input, "{method} /{target} HTTP/{version}\r\nHost: a\r\n").unwrap();
            input.extend(fields.iter().map(String::as_str));
            input.push_str("\r\n");
        }
        let whole = converse(&mut long_way(), [input.as_bytes()].into_iter());
        let mut short = engine();
        prop_assert!(converse(&mut short, [input.as_bytes()].into_iter()) == whole, "{input:?}");
        prop_assert!(converse(&mut short, input.as_bytes().chunks(size)) == whole, "{input:?}");
    }

    #[test]
    fn any_bytes_are_answered_or_waited_for(mut input in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut engine = engine();
        let (batch, _) = answer_all(&mut engine, &input);
        prop_assert!(batch.consumed <= input.len());
        // Behind a start that is right.
        let mut start = b"GET / HTTP/1.1\r\nHost: a\r\n".to_vec();
        start.append(&mut input);
        let (batch, _) = answer_all(&mut engine, &start);
        prop_assert!(batch.consumed <= start.len());
    }
}
