//! Requests that follow each other, and the bytes that answer them.

mod support;

use app_http::ServerCounters;
use app_http::batch::{Answering, Batch};
use app_http::limits::MAX_TARGET_BYTES;
use app_http::request::Next;
use app_http::response::DateLine;
use kernel::Instant;
use megapipe::channel::{IoSlice, IoVec};
use site::Site;
use support::{etag, site};

const BOOT: u64 = 784_111_777;

fn answer_all(
    site: &Site<'static>,
    counters: &mut ServerCounters,
    input: &[u8],
) -> (Batch, Vec<u8>) {
    let mut pieces = IoVec::new();
    let mut answering = Answering {
        site,
        date: &DateLine::new(BOOT),
        scratch: &mut [0; MAX_TARGET_BYTES],
        counters,
    };
    let batch = answering.answer_all(input, &mut pieces);
    (batch, bytes(&pieces))
}

fn bytes(pieces: &IoVec) -> Vec<u8> {
    pieces
        .iter()
        .flat_map(|piece| match piece {
            IoSlice::Static(bytes) => bytes.to_vec(),
            IoSlice::Inline(bytes) => bytes.to_vec(),
            IoSlice::Buffer(_) => panic!("no response needs a buffer"),
        })
        .collect()
}

/// Feeds the input in pieces to the engine, as the server does; returns what is sent, and whether
/// the connection stays.
fn converse<'a>(
    site: &Site<'static>,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> (Vec<u8>, ServerCounters, bool) {
    let (mut held, mut out) = (Vec::new(), Vec::new());
    let mut counters = ServerCounters::default();
    let mut skip = 0;
    for piece in pieces {
        held.extend_from_slice(piece);
        loop {
            let here = held.len().min(skip);
            held.drain(..here);
            skip -= here;
            let (batch, answers) = answer_all(site, &mut counters, &held);
            if answers.is_empty() {
                break;
            }
            out.extend(answers);
            held.drain(..batch.consumed);
            match batch.next {
                Next::Request { skip: rest } => skip = rest as usize,
                Next::Close | Next::Linger => return (out, counters, false),
            }
        }
    }
    (out, counters, true)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_response_has_date_connection_and_blank_line_in_place() {
    let site = site();
    let (out, ..) = converse(
        &site,
        [&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..]].into_iter(),
    );
    let out = text(&out);
    let (head, body) = out.split_once("\r\n\r\n").unwrap();
    assert!(
        head.ends_with("\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT"),
        "{head}"
    );
    assert_eq!(body, "front page");
    assert!(!head.contains("Connection"));

    let (out, _, stays) = converse(&site, [&b"GET / HTTP/1.0\r\n\r\n"[..]].into_iter());
    assert!(text(&out).contains("GMT\r\nConnection: close\r\n\r\nfront page"));
    assert!(!stays);
    let request = b"GET /empty.txt HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n";
    let (out, _, stays) = converse(&site, [&request[..]].into_iter());
    assert!(text(&out).ends_with("GMT\r\nConnection: keep-alive\r\n\r\n"));
    assert!(stays);
}

#[test]
fn the_date_moves_with_time_and_only_then() {
    let mut date = DateLine::new(BOOT);
    let shown = |date: &DateLine| {
        let site = site();
        let mut counters = ServerCounters::default();
        let mut answering = Answering {
            site: &site,
            date,
            scratch: &mut [0; MAX_TARGET_BYTES],
            counters: &mut counters,
        };
        let mut pieces = IoVec::new();
        answering.answer_all(b"GET / HTTP/1.1\r\nHost:\r\n\r\n", &mut pieces);
        let out = text(&bytes(&pieces));
        out.split_once("Date: Sun, 06 Nov 1994 ").unwrap().1[..8].to_owned()
    };
    assert_eq!(shown(&date), "08:49:37");
    date.handle_time(Instant::from_nanos(999_999_999));
    assert_eq!(shown(&date), "08:49:37");
    date.handle_time(Instant::from_nanos(23_000_000_000));
    assert_eq!(shown(&date), "08:50:00");
}

/// A conversation of many requests, some with content.
fn conversation(site: &Site<'static>) -> Vec<u8> {
    let tag = etag(site, "/");
    format!(
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n\
         HEAD /sub/ HTTP/1.1\r\nHost: a\r\n\r\n\
         GET /a%20b.css HTTP/1.1\r\nHost: a\r\nContent-Length: 26\r\n\r\nGET /stolen HTTP/1.1\r\n\r\n..\
         \r\nGET /none HTTP/1.1\r\nHost: a\r\n\r\n\
         GET / HTTP/1.1\r\nHost: a\r\nIf-None-Match: {tag}\r\n\r\n\
         GET / HTTP/1.1\r\nHost: a\r\nIf-None-Match: {tag}\r\n\r\n\
         GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n\
         POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\
         GET /empty.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    )
    .into_bytes()
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let site = site();
    let input = conversation(&site);
    let (out, counters, stays) = converse(&site, [&input[..]].into_iter());
    let statuses: Vec<String> = text(&out)
        .split("HTTP/1.1 ")
        .skip(1)
        .map(|response| response[..3].to_owned())
        .collect();
    assert_eq!(
        statuses,
        [
            "200", "200", "200", "404", "304", "304", "200", "405", "200"
        ]
    );
    assert!(!stays);
    assert_eq!(counters.answers, [5, 2, 2, 0]);
    assert_eq!(counters.requests(), 9);
    let named: Vec<(&str, u64)> = counters.iter().collect();
    assert!(named.contains(&("refused_method_not_allowed", 1)));
}

#[test]
fn a_conversation_cut_anywhere_gets_the_same_bytes() {
    let site = site();
    let input = conversation(&site);
    let (whole, ..) = converse(&site, [&input[..]].into_iter());
    for cut in 0..input.len() {
        let (head, tail) = input.split_at(cut);
        assert_eq!(
            converse(&site, [head, tail].into_iter()).0,
            whole,
            "cut at {cut}"
        );
    }
    assert_eq!(converse(&site, input.chunks(1)).0, whole, "byte by byte");
    assert_eq!(converse(&site, input.chunks(7)).0, whole);
}

#[test]
fn as_many_answers_go_into_one_write_as_it_has_pieces_for() {
    let site = site();
    let mut counters = ServerCounters::default();
    let tag = etag(&site, "/");
    let unchanged = format!("GET / HTTP/1.1\r\nHost: a\r\nIf-None-Match: {tag}\r\n\r\n");
    let (batch, _) = answer_all(&site, &mut counters, unchanged.repeat(3).as_bytes());
    assert_eq!(batch.consumed, unchanged.len());
    let full = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let (batch, _) = answer_all(&site, &mut counters, full.repeat(3).as_bytes());
    assert_eq!(batch.consumed, full.len());
    // A full answer does not fit behind a short one, and is not counted before it does.
    let (batch, _) = answer_all(
        &site,
        &mut counters,
        format!("{unchanged}{full}").as_bytes(),
    );
    assert_eq!(batch.consumed, unchanged.len());
    assert_eq!(counters.requests(), 3);
}

#[test]
fn bytes_behind_the_last_request_make_the_close_a_lingering_one() {
    let site = site();
    let mut counters = ServerCounters::default();
    let last = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let (batch, _) = answer_all(&site, &mut counters, last.as_bytes());
    assert_eq!(batch.next, Next::Close);
    let more = format!("{last}GET");
    let (batch, _) = answer_all(&site, &mut counters, more.as_bytes());
    assert_eq!(batch.next, Next::Linger);
}
