//! The admin port over the real stack: health, metrics that add up, and the wish to stop.

#[path = "support/appliance.rs"]
mod appliance;
mod support;

use app_http::admin::AdminConfig;
use app_http::control::Control;
use app_http::limits::ADMIN_CONNECTIONS;
use app_http::metrics::Metrics;
use app_http::publisher::Publisher;
use app_http::trace::Traces;
use app_http::{Server, ServerConfig};
use appliance::{Appliance, BUFFER_BYTES, PORT, Size};
use kernel::CoreMask;
use megapipe::Observer;
use net::testing::Link;
use std::cell::Cell;
use std::sync::Arc;
use support::site;

const ADMIN: u16 = 9100;
const SIZE: Size = Size { connections: 24 };
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

struct Watched {
    appliance: Appliance,
    control: Arc<Control>,
}

thread_local! {
    static STOPPED: Cell<bool> = const { Cell::new(false) };
}

impl Watched {
    fn new() -> Self {
        let control = Arc::new(Control::new(1));
        let metrics = Arc::new(Metrics::new(1));
        let traces = Arc::new(Traces::new(1, false));
        let config = ServerConfig {
            buffer_bytes: BUFFER_BYTES,
            control: Arc::clone(&control),
            ..ServerConfig::alone(PORT, 16)
        };
        let server = Server::new(site(), config).with_admin(AdminConfig {
            port: ADMIN,
            cores: CoreMask::first(1),
            metrics: Arc::clone(&metrics),
            traces: Arc::clone(&traces),
        });
        STOPPED.set(false);
        let mut appliance = Appliance::running(Link::new(), SIZE, server);
        let told = Arc::clone(&control);
        let mut publisher = Publisher::new(metrics, traces, told, || STOPPED.set(true), ());
        appliance.watch = Some(Box::new(move |core, now| {
            let deadline = Observer::<net::testing::MemoryNic, Server>::deadline(&publisher);
            if deadline.is_some_and(|deadline| deadline <= now) {
                publisher.observe(core, now);
            }
        }));
        Watched { appliance, control }
    }

    fn run(&mut self, ms: u64) {
        self.appliance.run(ms);
    }

    fn ask(&mut self, request: &str) -> String {
        let socket = self.appliance.connect_to(ADMIN);
        let answer = self.appliance.exchange(socket, request.as_bytes());
        assert!(self.appliance.is_finished(socket), "{request}");
        self.appliance.client.close(socket);
        self.appliance.run(10);
        String::from_utf8(answer).unwrap()
    }

    fn get(&mut self, path: &str) -> String {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"))
    }
}

#[track_caller]
fn has_status(answer: &str, status: u16) {
    assert!(
        answer.starts_with(&format!("HTTP/1.1 {status} ")),
        "{answer}"
    );
}

#[test]
fn health_and_readiness_are_told() {
    let mut watched = Watched::new();
    has_status(&watched.get("/healthz"), 200);
    has_status(&watched.get("/readyz?x"), 200);
    has_status(&watched.get("/"), 404);
    has_status(&watched.get("/drain"), 405);
    has_status(
        &watched.ask("POST /metrics HTTP/1.1\r\nHost: a\r\n\r\n"),
        405,
    );
    has_status(&watched.ask("nonsense\r\n\r\n"), 400);
    assert!(!watched.control.is_stopping());
}

#[test]
fn metrics_add_up_to_what_was_asked_for() {
    let mut watched = Watched::new();
    let socket = watched.appliance.connect();
    for _ in 0..7 {
        watched.appliance.exchange(socket, GET);
    }
    watched
        .appliance
        .exchange(socket, b"GET /none HTTP/1.1\r\nHost: a\r\n\r\n");
    let answer = watched.get("/metrics");
    has_status(&answer, 200);
    assert!(
        answer.contains("\r\nContent-Type: text/plain; version=0.0.4"),
        "{answer}"
    );
    for line in [
        "sluice_http_requests_total{status=\"200\"} 7",
        "sluice_http_requests_total{status=\"404\"} 1",
        "sluice_core_http_requests_total{core=\"0\",status=\"200\"} 7",
        "sluice_http_request_seconds_count 8",
        "sluice_http_connections_total 1",
    ] {
        assert!(
            answer.lines().any(|known| known == line),
            "{line}\n{answer}"
        );
    }
    assert!(answer.contains("\nsluice_net_"), "{answer}");
    assert!(
        answer.contains("\nsluice_channel_flushes_total "),
        "{answer}"
    );
    assert!(answer.contains("\nsluice_core_turns_total "), "{answer}");
    assert!(answer.ends_with('\n') && answer.len() > 2 * BUFFER_BYTES);
}

#[test]
fn every_counter_of_every_layer_is_in_the_metrics() {
    let text = Watched::new().get("/metrics");
    let names: std::collections::HashSet<&str> = text
        .lines()
        .filter_map(|line| line.split([' ', '{']).next())
        .collect();
    let net = net::counters::Counters::default();
    let nic = net::nic::NicCounters::default();
    let core = megapipe::CoreCounters::default();
    let channel = megapipe::ChannelCounters::default();
    let counters = (net.iter().map(|(name, _)| ("net", name)))
        .chain(nic.iter().map(|(name, _)| ("net", name)))
        .chain(core.iter().map(|(name, _)| ("core", name)))
        .chain(channel.iter().map(|(name, _)| ("channel", name)));
    let mut drops = 0;
    for (layer, name) in counters {
        drops += u32::from(layer == "net" && name.contains("drop"));
        let of_all = match name.strip_suffix("_now") {
            Some(gauge) => format!("sluice_{layer}_{gauge}"),
            None => format!("sluice_{layer}_{name}_total"),
        };
        let of_core = of_all.replacen("sluice_", "sluice_core_", 1);
        assert!(names.contains(&*of_all), "{of_all}\n{text}");
        assert!(names.contains(&*of_core), "{of_core}\n{text}");
    }
    assert!(drops > 10, "{drops} drops");
}

#[test]
fn the_admin_port_answers_when_the_site_has_no_room() {
    let mut watched = Watched::new();
    let crowd: Vec<_> = (0..16).map(|_| watched.appliance.connect()).collect();
    assert_eq!(watched.appliance.counter("connections"), 16);
    has_status(&watched.get("/healthz"), 200);
    drop(crowd);
}

#[test]
fn admin_connections_that_say_nothing_go_and_more_than_fit_wait() {
    let mut watched = Watched::new();
    for _ in 0..ADMIN_CONNECTIONS {
        watched.appliance.connect_to(ADMIN);
    }
    let waiting = watched.appliance.connect_to(ADMIN);
    watched
        .appliance
        .client
        .send(waiting, b"GET /healthz HTTP/1.0\r\n\r\n");
    watched.run(1_000);
    assert!(watched.appliance.client.receive(waiting).is_empty());
    watched.run(40_000);
    let answer = watched.appliance.exchange(waiting, b"");
    has_status(&String::from_utf8(answer).unwrap(), 200);
}

#[test]
fn what_a_web_page_asks_for_is_refused_and_nothing_stops() {
    let mut watched = Watched::new();
    for field in [
        "Origin: https://example.org",
        "Origin: null",
        "origin: http://10.0.2.15:9100",
        "Sec-Fetch-Site: cross-site",
        "Sec-Fetch-Site: same-origin",
    ] {
        for path in ["/drain", "/trace/start", "/trace/stop"] {
            let request = format!("POST {path} HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n");
            has_status(&watched.ask(&request), 403);
        }
    }
    assert!(!watched.control.is_stopping());
    let request = "POST /trace/stop HTTP/1.1\r\nHost: a\r\nSec-Fetch-Site: none\r\n\r\n";
    has_status(&watched.ask(request), 200);
    has_status(&watched.get("/readyz"), 200);
}

#[test]
fn drain_stops_the_servers_and_then_the_machine() {
    let mut watched = Watched::new();
    let idle = watched.appliance.connect();
    watched.appliance.exchange(idle, GET);
    let answer = watched.ask("POST /drain HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    has_status(&answer, 202);
    assert!(watched.appliance.is_finished(idle));
    assert!(watched.control.is_stopped());
    has_status(&watched.get("/readyz"), 503);
    watched.run(2_000);
    assert!(STOPPED.get());
}

#[test]
fn a_trace_has_what_happened_between_start_and_stop_as_events_that_a_viewer_shows() {
    let mut watched = Watched::new();
    let socket = watched.appliance.connect();
    watched.appliance.exchange(socket, GET);
    let names = |watched: &mut Watched| {
        let answer = watched.get("/trace");
        has_status(&answer, 200);
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let text: serde_json::Value = serde_json::from_str(body).expect("JSON");
        let events = text["traceEvents"].as_array().unwrap().clone();
        let name = |event: &serde_json::Value| {
            let name = |key: &str| event[key].as_str().unwrap().to_owned();
            format!("{} {}", name("ph"), name("name"))
        };
        events.iter().map(name).collect::<Vec<_>>()
    };
    assert_eq!(
        names(&mut watched),
        ["M thread_name"],
        "off unless it is wanted"
    );
    let start = "POST /trace/start HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
    has_status(&watched.ask(start), 200);
    let second = watched.appliance.connect();
    for _ in 0..3 {
        watched.appliance.exchange(second, GET);
    }
    watched.appliance.client.close(second);
    watched.run(100);
    let stop = start.replace("start", "stop");
    has_status(&watched.ask(&stop), 200);
    watched.appliance.exchange(socket, GET);
    let names = names(&mut watched);
    let count = |name: &str| names.iter().filter(|known| *known == name).count();
    let counts = ["b connection", "b request", "e request", "e connection"].map(count);
    assert_eq!(counts, [1, 3, 3, 1], "{names:?}");
    has_status(&watched.get("/trace/start"), 405);
}
