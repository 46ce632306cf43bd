//! Field sections that are known mean what they mean when they are new.

mod support;

use app_http::access_log::AccessLog;
use app_http::engine::Engine;
use app_http::limits::{HeadLimits, KNOWN_SECTION_BYTES, KNOWN_SECTIONS};
use app_http::request::Next;
use proptest::prelude::*;
use site::Site;
use site::pack::PackOptions;
use std::sync::OnceLock;
use support::{BOOT, MODIFIED, answer_all, engine_of, etag, pack};

/// A site with something to choose: a text in every coding, and two hosts.
fn site() -> Site<'static> {
    static SITE: OnceLock<Site<'static>> = OnceLock::new();
    *SITE.get_or_init(|| {
        let text = "much of a muchness, ".repeat(200);
        let options = PackOptions {
            last_modified: Some(MODIFIED),
            ..PackOptions::default()
        };
        pack(
            &[
                ("text.txt", text.as_bytes()),
                ("index.html", b"front page"),
                ("empty.txt", b""),
            ],
            &options,
        )
    })
}

/// Sections that clients send, and some that differ in little.
fn sections() -> Vec<String> {
    let tag = etag(&site(), "/text.txt");
    let long = "x".repeat(KNOWN_SECTION_BYTES);
    let mut sections: Vec<String> = [
        "Host: a\r\nAccept: */*\r\n",
        "Host: b\r\nAccept: */*\r\n",
        "Host: a\r\nAccept-Encoding: gzip\r\n",
        "Host: a\r\nAccept-Encoding: zstd\r\n",
        "Host: a\r\nAccept-Encoding: br;q=0.5, gzip;q=0.4\r\n",
        "Host: a\r\nAccept-Encoding: br;q=0.4, gzip;q=0.5\r\n",
        "Host: a\r\nAccept-Encoding: identity;q=0, *\r\n",
        "Host: a\r\nConnection: close\r\n",
        "Host: a\r\nConnection: clear\r\n",
        "Host: a\r\nRange: bytes=1-3\r\n",
        "Host: a\r\nContent-Length: 0\r\n",
        "Accept: everything there is\r\n",
        "a:\r\n",
    ]
    .map(str::to_owned)
    .to_vec();
    sections.push(format!("Host: a\r\nIf-None-Match: {tag}\r\n"));
    sections.push(format!(
        "If-None-Match: {tag}\r\nAccept-Encoding: br\r\nHost: a\r\n"
    ));
    sections.push(format!("Host: a\r\nCookie: {long}\r\n"));
    sections
}

/// Answers requests that follow each other; each comes alone, or all come together.
fn answers(engine: &mut Engine, requests: &[String], is_pipeline: bool) -> Vec<Vec<u8>> {
    let inputs = match is_pipeline {
        true => vec![requests.concat()],
        false => requests.to_vec(),
    };
    let mut answers = Vec::new();
    for input in inputs {
        let mut left = input.as_bytes();
        while !left.is_empty() {
            let (batch, bytes) = answer_all(engine, left);
            answers.push(bytes);
            left = &left[batch.consumed..];
            if batch.requests == 0 || matches!(batch.next, Next::Close | Next::Linger) {
                break;
            }
        }
    }
    answers
}

proptest! {
    #[test]
    fn a_section_that_is_known_means_what_it_means_when_it_is_new(
        requests in prop::collection::vec(
            (
                prop::sample::select(vec!["GET", "HEAD", "OPTIONS"]),
                prop::sample::select(vec!["/text.txt", "/", "/none", "/empty.txt", "/text.txt?x"]),
                prop::sample::select(vec!["1.1", "1.1", "1.0"]),
                prop::sample::select(sections()),
            ),
            1..40,
        ),
    ) {
        let requests: Vec<String> = requests
            .iter()
            .map(|(method, target, version, section)| {
                format!("{method} {target} HTTP/{version}\r\n{section}\r\n")
            })
            .collect();
        let mut engine = engine_of(site());
        for (request, answer) in requests.iter().zip(answers(&mut engine, &requests, false)) {
            let alone = answers_of_new_engine(request);
            prop_assert!(alone == answer, "{request:?}");
        }
        let mut once_more = answers(&mut engine, &requests, true).concat();
        let known = answers(&mut engine, &requests, true).concat();
        prop_assert!(known == once_more);
        once_more.clear();
        for request in &requests {
            once_more.extend(answers_of_new_engine(request));
        }
        // A pipeline ends where the connection does.
        prop_assert!(once_more.starts_with(&known));
    }
}

fn answers_of_new_engine(request: &String) -> Vec<u8> {
    answers(&mut engine_of(site()), std::slice::from_ref(request), false).concat()
}

#[test]
fn more_sections_than_are_kept_are_still_answered() {
    let mut engine = engine_of(site());
    for round in 0..3 {
        for number in 0..4 * KNOWN_SECTIONS {
            let request = format!("GET /text.txt HTTP/1.1\r\nHost: a\r\nX: {number:04}\r\n\r\n");
            let (batch, _) = answer_all(&mut engine, request.as_bytes());
            assert_eq!(batch.consumed, request.len(), "{round} {number}");
        }
    }
    assert_eq!(engine.counters.answers[0], 3 * 4 * KNOWN_SECTIONS as u64);
}

#[test]
fn a_head_with_a_known_section_is_refused_when_its_request_line_makes_it_too_long() {
    let fields = "Host: a\r\nAccept: something or other\r\n\r\n";
    let limits = HeadLimits {
        request_line_bytes: 100,
        head_bytes: "GET / HTTP/1.1\r\n".len() + fields.len(),
        fields: 2,
    };
    let mut engine = Engine::new(site(), limits, BOOT, AccessLog::new(None));
    for _ in 0..2 {
        let (_, answer) = answer_all(
            &mut engine,
            format!("GET / HTTP/1.1\r\n{fields}").as_bytes(),
        );
        assert!(answer.starts_with(b"HTTP/1.1 200 "));
        let longer = format!("GET /text.txt HTTP/1.1\r\n{fields}");
        let (_, answer) = answer_all(&mut engine, longer.as_bytes());
        assert!(answer.starts_with(b"HTTP/1.1 431 "));
    }
}
