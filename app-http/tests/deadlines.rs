//! What takes too long, what is too much, and how the server stops.

#[path = "support/appliance.rs"]
mod appliance;
mod support;

use app_http::ServerConfig;
use app_http::access_log::LogConfig;
use app_http::control::Control;
use app_http::log_line::LogForm;
use app_http::settings::Settings;
use appliance::{Appliance, BUFFER_BYTES, PORT, Size};
use kernel::CoreMask;
use megapipe::Channel;
use net::testing::{Link, SocketHandle};
use std::sync::Arc;
use support::site;

const SMALL: Size = Size { connections: 16 };
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const LARGE: &[u8] = b"GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n";

fn appliance(change: impl FnOnce(&mut Settings)) -> Appliance {
    let mut settings = Settings::default();
    change(&mut settings);
    Appliance::with(Link::new(), SMALL, settings)
}

fn stoppable() -> (Appliance, Arc<Control>) {
    let control = Arc::new(Control::new(1));
    let config = ServerConfig {
        buffer_bytes: BUFFER_BYTES,
        control: Arc::clone(&control),
        ..ServerConfig::alone(PORT, 16)
    };
    (
        Appliance::serving(Link::new(), SMALL, site(), config),
        control,
    )
}

/// Asserts that the server ends a connection between these two seconds from now.
#[track_caller]
fn ends_within(
    appliance: &mut Appliance,
    socket: SocketHandle,
    seconds: std::ops::Range<u64>,
) -> String {
    appliance.run(seconds.start * 1000);
    assert!(!appliance.is_finished(socket), "too early");
    appliance.run((seconds.end - seconds.start) * 1000);
    let received = appliance.client.receive(socket);
    assert!(appliance.is_finished(socket), "too late");
    appliance.client.close(socket);
    appliance.run(1000);
    appliance.assert_idle();
    String::from_utf8_lossy(&received).into_owned()
}

#[test]
fn a_connection_on_which_nothing_comes_is_closed_without_a_word() {
    let mut appliance = appliance(|_| {});
    let socket = appliance.connect();
    assert_eq!(ends_within(&mut appliance, socket, 19..22), "");
    assert_eq!(appliance.counter("idle_timeouts"), 1);
}

#[test]
fn a_kept_connection_is_closed_when_no_further_request_comes() {
    let mut appliance =
        appliance(|settings| settings.timeouts.idle = std::time::Duration::from_secs(7));
    let socket = appliance.connect();
    for _ in 0..5 {
        assert!(!appliance.exchange(socket, GET).is_empty());
        appliance.run(5_000);
    }
    assert_eq!(ends_within(&mut appliance, socket, 1..4), "");
    assert_eq!(
        (
            appliance.counter("idle_timeouts"),
            appliance.counter("requests")
        ),
        (1, 5)
    );
}

#[test]
fn a_server_looks_at_deadlines_when_there_are_any_and_else_never() {
    let mut appliance = appliance(|_| {});
    let deadline = |appliance: &Appliance| appliance.core.channel().deadline();
    assert_eq!(deadline(&appliance), None);
    let socket = appliance.connect();
    appliance.exchange(socket, GET);
    let looks = |appliance: &Appliance| appliance.core.channel().counters().timers_told;
    let before = looks(&appliance);
    appliance.run(55_000);
    assert!(deadline(&appliance).is_some());
    // A few for each deadline: a wheel turns in long steps when it is far.
    let looks = looks(&appliance) - before;
    assert!((1..=10).contains(&looks), "{looks} in 55 seconds");
    appliance.client.close(socket);
    appliance.run(60_000);
    assert_eq!(deadline(&appliance), None);
    appliance.assert_idle();
}

#[test]
fn a_head_that_comes_byte_by_byte_gets_408_in_time() {
    let mut appliance = appliance(|_| {});
    let socket = appliance.connect();
    for byte in b"GET / HTTP/1.1\r\nX".chunks(1) {
        appliance.client.send(socket, byte);
        appliance.run(1_000);
    }
    let answer = ends_within(&mut appliance, socket, 1..30);
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("\r\nConnection: close\r\n"));
    assert_eq!(appliance.counter("request_timeouts"), 1);
}

#[test]
fn so_does_one_that_comes_byte_by_byte_behind_a_request_that_was_answered() {
    let mut appliance = appliance(|_| {});
    let socket = appliance.connect();
    for _ in 0..3 {
        assert!(!appliance.exchange(socket, GET).is_empty());
    }
    for byte in b"GET / HTTP/1.1\r\nX".chunks(1) {
        appliance.client.send(socket, byte);
        appliance.run(1_000);
    }
    let answer = ends_within(&mut appliance, socket, 1..30);
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert_eq!(appliance.counter("request_timeouts"), 1);
}

#[test]
fn content_must_come_at_the_lowest_rate() {
    let mut appliance = appliance(|settings| settings.minimum_rate = 1_000);
    let socket = appliance.connect();
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n";
    assert!(!appliance.exchange(socket, head.as_bytes()).is_empty());
    // Sixty seconds for the bytes, and twenty.
    for _ in 0..70 {
        appliance.client.send(socket, &[b'x'; 700]);
        appliance.run(1_000);
    }
    assert!(!appliance.is_finished(socket));
    appliance.run(15_000);
    assert!(appliance.is_finished(socket));
    assert_eq!(appliance.counter("request_timeouts"), 1);
}

#[test]
fn a_client_that_does_not_take_its_answers_holds_its_own_connection_and_not_for_ever() {
    let mut appliance = appliance(|settings| settings.minimum_rate = 0);
    appliance.client.buffer_bytes = 2048;
    let slow = appliance.connect();
    appliance.client.send(slow, &LARGE.repeat(20));
    appliance.run(1_000);
    appliance.client.buffer_bytes = 65_536;
    for _ in 0..10 {
        let other = appliance.connect();
        assert!(!appliance.exchange(other, GET).is_empty());
        appliance.client.close(other);
        appliance.run(500);
    }
    assert_eq!(appliance.counter("connections_ended"), 10);
}

/// Asks for a page again and again, one request a segment, and takes no answer; returns how many
/// requests were sent.
fn ask_without_reading(appliance: &mut Appliance, socket: SocketHandle) -> u64 {
    const REQUESTS: u64 = 60;
    for _ in 0..REQUESTS {
        appliance.client.send(socket, GET);
        appliance.run(50);
    }
    REQUESTS
}

#[test]
fn requests_behind_an_answer_that_is_not_taken_wait_and_are_answered_then() {
    let mut appliance = appliance(|_| {});
    appliance.client.buffer_bytes = 2048;
    let socket = appliance.connect();
    let sent = ask_without_reading(&mut appliance, socket);
    let answered = appliance.counter("requests");
    assert!((2..sent).contains(&answered), "{answered}");
    let received = appliance.exchange(socket, b"");
    assert_eq!(appliance.counter("requests"), sent);
    assert_eq!(received.len() as u64, appliance.counter("bytes_out"));
    assert_eq!(ends_within(&mut appliance, socket, 58..62), "");
    assert_eq!(appliance.counter("idle_timeouts"), 1);
}

#[test]
fn answers_that_wait_are_written_though_the_client_has_finished_or_the_server_stops() {
    for is_stop in [false, true] {
        let (mut appliance, control) = stoppable();
        appliance.client.buffer_bytes = 2048;
        let socket = appliance.connect();
        // No more than are answered at once, so that the last one waits for room and no request
        // waits behind it.
        let mut asked = 0;
        loop {
            appliance.client.send(socket, GET);
            appliance.run(50);
            asked += 1;
            if appliance.core.channel().counters().writes_waited > 0 {
                break;
            }
            assert!(asked < 60);
        }
        assert_eq!(appliance.counter("requests"), asked);
        match is_stop {
            true => control.stop(),
            false => appliance.client.close(socket),
        }
        appliance.run(1_000);
        let mut received = Vec::new();
        for _ in 0..200 {
            received.extend(appliance.client.receive(socket));
            appliance.run(20);
        }
        assert_eq!(
            received.len() as u64,
            appliance.counter("bytes_out"),
            "stop: {is_stop}"
        );
        assert_eq!(appliance.counter("connections_ended"), 1);
    }
}

#[test]
fn answers_that_are_never_taken_end_their_connection_in_time() {
    let mut appliance = appliance(|settings| settings.minimum_rate = 10_000);
    appliance.client.buffer_bytes = 2048;
    let socket = appliance.connect();
    ask_without_reading(&mut appliance, socket);
    appliance.run(40_000);
    assert_eq!(appliance.counter("write_timeouts"), 1);
    assert_eq!(appliance.counter("connections_ended"), 1);
}

#[test]
fn thousands_of_pipelined_requests_are_all_answered() {
    let mut appliance = appliance(|_| {});
    let socket = appliance.connect();
    let received = appliance.exchange(socket, &GET.repeat(5_000));
    let answers = String::from_utf8_lossy(&received)
        .matches("HTTP/1.1 200 OK")
        .count();
    assert_eq!(answers, 5_000);
}

#[test]
fn requests_beyond_the_limit_of_a_connection_close_it() {
    let mut appliance = appliance(|settings| settings.requests_per_connection = 3);
    let socket = appliance.connect();
    let received = appliance.exchange(socket, &GET.repeat(10));
    let text = String::from_utf8_lossy(&received).into_owned();
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 3);
    assert_eq!(text.matches("Connection: close").count(), 1);
    assert!(appliance.is_finished(socket));
    appliance.client.close(socket);
    appliance.run(10_000);
    appliance.assert_idle();
}

#[test]
fn an_address_has_so_many_connections_and_no_more() {
    let mut appliance = appliance(|settings| settings.connections_per_address = 2);
    let first = appliance.connect();
    let second = appliance.connect();
    let third = appliance.connect();
    appliance.run(100);
    assert!(appliance.is_finished(third));
    assert_eq!(appliance.counter("address_limit_exceeded"), 1);
    appliance.client.close(first);
    appliance.run(1_000);
    let fourth = appliance.connect();
    for socket in [second, fourth] {
        assert!(!appliance.exchange(socket, GET).is_empty());
    }
}

#[test]
fn a_server_that_stops_closes_what_is_idle_finishes_what_is_not_and_says_so() {
    let (mut appliance, control) = stoppable();
    let idle = appliance.connect();
    assert!(!appliance.exchange(idle, GET).is_empty());
    let busy = appliance.connect();
    appliance.client.send(busy, &GET[..10]);
    appliance.run(100);
    control.stop();
    appliance.core.notify(CoreMask::EMPTY);
    appliance.run(2_000);
    assert!(appliance.is_finished(idle) && !appliance.is_finished(busy));
    assert!(!control.is_stopped());
    let answer = appliance.exchange(busy, &GET[10..]);
    assert!(String::from_utf8_lossy(&answer).contains("\r\nConnection: close\r\n"));
    appliance.run(2_000);
    // It waits for the client's end as well: what a client still sends must not reset the answer.
    assert!(appliance.is_finished(busy) && !control.is_stopped());
    appliance.client.close(busy);
    appliance.run(1_000);
    assert!(control.is_stopped());
    assert_eq!(appliance.counter("cut_off_at_stop"), 0);
    // Nobody new gets in.
    let late = appliance.connect();
    assert!(appliance.exchange(late, GET).is_empty());
    assert_eq!(appliance.counter("requests"), 2);
}

#[test]
fn what_does_not_finish_in_time_is_cut_off() {
    let (mut appliance, control) = stoppable();
    let sockets: Vec<SocketHandle> = (0..12).map(|_| appliance.connect()).collect();
    for socket in &sockets {
        appliance.client.send(*socket, &GET[..10]);
    }
    control.stop();
    appliance.core.notify(CoreMask::EMPTY);
    for _ in 0..40 {
        for socket in &sockets {
            appliance.client.send(*socket, b"x");
        }
        appliance.run(1_000);
    }
    assert!(control.is_stopped());
    let ended = appliance.counter("cut_off_at_stop") + appliance.counter("request_timeouts");
    assert_eq!(ended, 12);
}

#[test]
fn every_answer_has_a_line_in_the_log_and_a_full_log_loses_lines_only() {
    let log = LogConfig {
        form: LogForm::Combined,
        sample: 1,
        ring_bytes: 1_000,
    };
    let engine_log = app_http::access_log::AccessLog::new(Some(log));
    let limits = app_http::limits::HeadLimits::default();
    let mut engine = app_http::engine::Engine::new(site(), limits, support::BOOT, engine_log);
    let request = "GET /none HTTP/1.1\r\nHost: a\r\nUser-Agent: x\r\n\r\n";
    for _ in 0..100 {
        support::ask(&mut engine, request);
    }
    support::ask(&mut engine, "\x16\x03\r\n");
    let counters = &engine.counters;
    assert_eq!(counters.log_lines + counters.log_lines_dropped, 101);
    assert!(counters.log_lines > 5 && counters.log_lines_dropped > 50);
    struct Lines(Vec<String>);
    impl app_http::access_log::LogSink for Lines {
        fn take(&mut self, line: &[u8], _: u64, _: &mut Channel) -> bool {
            self.0.push(String::from_utf8(line.to_vec()).unwrap());
            self.0.len() < 4
        }
    }
    let mut lines = Lines(Vec::new());
    // One is refused behind three, and given again later.
    let channel = &mut support::channel();
    for (left, has_more) in [(2, true), (4, false), (5, false)] {
        assert_eq!(engine.log.drain(&mut lines, 0, channel), has_more);
        assert_eq!(lines.0.len(), left);
    }
    let expected =
        "10.0.0.7 - - [06/Nov/1994:08:49:37 +0000] \"GET /none HTTP/1.1\" 404 7 \"-\" \"x\"";
    assert!(lines.0.iter().all(|line| line == expected), "{:?}", lines.0);
}
