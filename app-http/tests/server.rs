//! The server on a channel, over the real stack and a link, against a client of its own.

#[path = "support/appliance.rs"]
mod appliance;
mod support;

use app_http::limits::MAX_LINGER_BYTES;
use appliance::{Appliance, BUFFER_BYTES, PORT, Size};
use kernel::Instant;
use net::testing::{Conditions, Link};
use std::time::Duration;
use support::{etag, site};

const SMALL: Size = Size { connections: 16 };

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Splits a response into its head and its body.
fn parts(response: &[u8]) -> (String, &[u8]) {
    let end = response
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .expect("a head");
    (text(&response[..end]), &response[end + 4..])
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

#[test]
fn every_page_comes_back_byte_for_byte_on_one_connection() {
    let mut appliance = Appliance::new(SMALL);
    let socket = appliance.connect();
    let site = site();
    let host = site.default_host();
    for page in host.pages() {
        let path = text(page.path()).replace(' ', "%20");
        let response = appliance.exchange(socket, get(&path).as_bytes());
        let (head, body) = parts(&response);
        assert!(
            head.starts_with(&format!("HTTP/1.1 {} ", page.status())),
            "{path}: {head}"
        );
        assert!(head.contains("\r\nDate: "), "{head}");
        assert!(
            body == page.identity().body(),
            "{path}: {} bytes",
            body.len()
        );
    }
    assert_eq!(appliance.counter("connections"), 1);
    assert_eq!(appliance.counter("requests"), host.pages().count() as u64);
    assert!(!appliance.is_finished(socket));
    appliance.client.close(socket);
    appliance.run(100);
    assert!(appliance.is_finished(socket));
    appliance.assert_idle();
}

/// Requests of every kind on one connection, some with content.
fn conversation() -> String {
    let tag = etag(&site(), "/");
    format!(
        "{}{}GET /a%20b.css HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nGET / HTT\
         HEAD /sub/ HTTP/1.1\r\nHost: a\r\n\r\n\
         GET / HTTP/1.1\r\nHost: a\r\nIf-None-Match: {tag}\r\n\r\n\
         GET / HTTP/1.1\r\nHost: a\r\nIf-None-Match: {tag}\r\n\r\n\
         POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc{}",
        get("/"),
        get("/large.bin"),
        get("/none")
    )
}

/// Takes out what depends on the moment.
fn without_dates(response: &[u8]) -> String {
    text(response)
        .split("\r\n")
        .filter(|line| !line.starts_with("Date: "))
        .collect::<Vec<_>>()
        .join("\r\n")
}

#[test]
fn pipelined_requests_are_answered_in_order_however_they_are_split() {
    let mut appliance = Appliance::new(SMALL);
    let socket = appliance.connect();
    let whole = without_dates(&appliance.exchange(socket, conversation().as_bytes()));
    let statuses: Vec<&str> = whole
        .split("HTTP/1.1 ")
        .skip(1)
        .map(|response| &response[..3])
        .collect();
    assert_eq!(
        statuses,
        ["200", "200", "200", "200", "304", "304", "405", "404"]
    );

    for bytes_at_once in [1, 2, 13, 100] {
        let socket = appliance.connect();
        let mut received = Vec::new();
        for piece in conversation().as_bytes().chunks(bytes_at_once) {
            assert_eq!(appliance.client.send(socket, piece), piece.len());
            appliance.run(1);
            received.extend(appliance.client.receive(socket));
        }
        received.extend(appliance.exchange(socket, b""));
        assert!(
            without_dates(&received) == whole,
            "{bytes_at_once} bytes at once"
        );
    }
    assert!(appliance.counter("partial_heads") > 0);
}

#[test]
fn close_is_said_and_done() {
    let mut appliance = Appliance::new(SMALL);
    for request in [
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "GET /large.bin HTTP/1.0\r\n\r\n",
    ] {
        let socket = appliance.connect();
        let response = appliance.exchange(socket, request.as_bytes());
        let (head, body) = parts(&response);
        assert!(head.contains("\r\nConnection: close\r\n"), "{head}");
        assert!(
            head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())),
            "{head}"
        );
        assert!(appliance.is_finished(socket));
        appliance.client.close(socket);
        appliance.run(100);
        appliance.assert_idle();
    }
}

#[test]
fn a_client_that_finishes_sending_still_gets_its_answer() {
    let mut appliance = Appliance::new(SMALL);
    let socket = appliance.connect();
    appliance.client.send(socket, get("/large.bin").as_bytes());
    appliance.client.close(socket);
    let response = appliance.exchange(socket, b"");
    assert_eq!(parts(&response).1.len(), 300_000);
    assert!(appliance.is_finished(socket));
    appliance.assert_idle();
}

#[test]
fn a_refused_request_is_answered_before_the_close_although_the_client_goes_on() {
    let mut appliance = Appliance::new(SMALL);
    let mut upload = b"BREW / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n".to_vec();
    upload.resize(100_000, b'x');
    let garbage = vec![b'\x16'; 3000];
    let double =
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (request, status) in [
        (upload, "501"),
        (garbage, "400"),
        (double.as_bytes().to_vec(), "400"),
    ] {
        let socket = appliance.connect();
        let response = appliance.exchange(socket, &request);
        let (head, body) = parts(&response);
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{head}");
        assert!(!body.is_empty());
        assert!(appliance.is_finished(socket));
        appliance.client.close(socket);
        appliance.run(1000);
        appliance.assert_idle();
    }
    assert_eq!(appliance.counter("answers_4xx"), 2);
    assert_eq!(appliance.counter("linger_exceeded"), 0);
}

#[test]
fn a_client_that_never_stops_sending_is_cut_off() {
    let mut appliance = Appliance::new(SMALL);
    let socket = appliance.connect();
    let mut upload = b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    upload.resize(2 * MAX_LINGER_BYTES as usize, b'x');
    let response = appliance.exchange(socket, &upload);
    assert!(text(&response).starts_with("HTTP/1.1 405 "));
    assert_eq!(appliance.counter("linger_exceeded"), 1);
    appliance.run(1000);
    appliance.assert_idle();
}

#[test]
fn content_is_skipped_across_many_reads() {
    let mut appliance = Appliance::new(SMALL);
    let socket = appliance.connect();
    let mut request = b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n".to_vec();
    request.resize(request.len() + 60_000, b'x');
    request.extend(get("/sub/").as_bytes());
    let response = text(&appliance.exchange(socket, &request));
    assert!(
        response.contains("\r\n\r\nfront pageHTTP/1.1 200 OK"),
        "{response}"
    );
    assert!(response.ends_with("\r\n\r\ninner"));
    assert_eq!(appliance.counter("bytes_in"), request.len() as u64);
    assert_eq!(appliance.counter("bytes_out"), response.len() as u64);
}

#[test]
fn overlong_heads_are_refused() {
    let mut appliance = Appliance::new(SMALL);
    let line = get(&format!("/{}", "a".repeat(BUFFER_BYTES)));
    let field = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(BUFFER_BYTES));
    for (request, status) in [(line, "414"), (field, "431")] {
        let socket = appliance.connect();
        let response = text(&appliance.exchange(socket, request.as_bytes()));
        assert!(
            response.starts_with(&format!("HTTP/1.1 {status} ")),
            "{response}"
        );
        assert!(appliance.is_finished(socket));
        appliance.client.close(socket);
        appliance.run(1000);
    }
    appliance.assert_idle();
    // The largest head that is taken fills the buffer to the last byte.
    let socket = appliance.connect();
    let rest = "GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n".len();
    let fill = "a".repeat(BUFFER_BYTES - rest);
    let largest = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {fill}\r\n\r\n");
    assert!(text(&appliance.exchange(socket, largest.as_bytes())).starts_with("HTTP/1.1 200 "));
}

#[test]
fn resets_leave_nothing_behind() {
    let mut appliance = Appliance::new(SMALL);
    for request in [
        "",
        "GET / HT",
        &get("/"),
        &get("/large.bin"),
        "garbage\r\n\r\n",
    ] {
        for _ in 0..20 {
            let socket = appliance.connect();
            appliance.client.send(socket, request.as_bytes());
            appliance.run(1);
            appliance.client.socket(socket).abort();
            appliance.run(5);
            appliance.client.remove(socket);
        }
    }
    appliance.run(1000);
    assert_eq!(appliance.counter("connections"), 100);
    appliance.assert_idle();
}

#[test]
fn more_clients_than_slots_are_served_one_after_the_other() {
    let mut appliance = Appliance::new(SMALL);
    let request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let mut waiting: Vec<_> = (0..100)
        .map(|_| (appliance.client.connect(PORT), 0))
        .collect();
    // The stack admits a few at a time; the others ask again, as TCP does.
    while !waiting.is_empty() && appliance.now < Instant::from_nanos(600_000_000_000) {
        waiting.retain_mut(|(socket, sent)| {
            if *sent == 0 {
                *sent = appliance.client.send(*socket, request.as_bytes());
            }
            let is_served = text(&appliance.client.receive(*socket)).ends_with("front page");
            if is_served {
                appliance.client.close(*socket);
            }
            !is_served
        });
        appliance.run(10);
    }
    assert_eq!(waiting.len(), 0);
    assert_eq!(appliance.counter("connections"), 100);
    appliance.assert_idle();
}

#[test]
fn a_client_that_does_not_read_is_not_read_from() {
    let mut appliance = Appliance::new(SMALL);
    appliance.client.buffer_bytes = 2048;
    let socket = appliance.connect();
    let requests = get("/large.bin").repeat(20);
    appliance.client.send(socket, requests.as_bytes());
    appliance.run(1000);
    // The send queue holds a few answers, by reference; the rest is not even parsed.
    let answered = appliance.counter("requests");
    assert!((1..6).contains(&answered), "{answered}");
    let received = appliance.exchange(socket, b"");
    assert_eq!(appliance.counter("requests"), 20);
    assert_eq!(received.len() as u64, appliance.counter("bytes_out"));
}

#[test]
fn the_date_follows_the_clock() {
    let mut appliance = Appliance::new(SMALL);
    appliance.run(3_600_000);
    let socket = appliance.connect();
    let response = text(&appliance.exchange(socket, get("/").as_bytes()));
    assert!(
        response.contains("\r\nDate: Sun, 06 Nov 1994 09:49:3"),
        "{response}"
    );
}

#[test]
fn nothing_is_allocated_after_the_start() {
    let mut appliance = Appliance::new(SMALL);
    for round in 0..5 {
        let socket = appliance.connect();
        appliance.exchange(socket, conversation().repeat(20).as_bytes());
        appliance.client.close(socket);
        appliance.run(100);
        if round == 0 {
            // The link makes its frames when they are first needed.
            appliance.allocations = 0;
        }
    }
    let socket = appliance.connect();
    appliance
        .client
        .send(socket, b"GET /large.bin HTTP/1.0\r\n\r\n");
    appliance.run(1);
    appliance.client.socket(socket).abort();
    appliance.run(1000);
    assert_eq!(appliance.counter("requests"), 801);
    assert_eq!(appliance.allocations, 0);
}

#[test]
fn a_bad_link_changes_nothing_but_the_time() {
    let whole = {
        let mut appliance = Appliance::new(SMALL);
        let socket = appliance.connect();
        without_dates(&appliance.exchange(socket, conversation().as_bytes()))
    };
    for seed in 0..10 {
        let conditions = Conditions {
            loss: 30,
            duplication: 20,
            reordering: 50,
            corruption: 10,
            delay: Duration::from_millis(2),
        };
        let link = Link::with(conditions, seed, 1);
        let mut appliance = Appliance::on(link, SMALL);
        let socket = appliance.client.connect(PORT);
        let mut received = Vec::new();
        let mut sent = 0;
        let conversation = conversation();
        while without_dates(&received) != whole {
            assert!(
                appliance.now < Instant::from_nanos(300_000_000_000),
                "seed {seed}"
            );
            sent += appliance
                .client
                .send(socket, &conversation.as_bytes()[sent..]);
            appliance.run(200);
            received.extend(appliance.client.receive(socket));
        }
    }
}
