//! A server that stops while the submission ring is full gives its listener back all the same.

mod support;

use app_http::control::Control;
use app_http::{Server, ServerConfig};
use kernel::{CoreMask, Instant};
use megapipe::channel::{Channel, ChannelConfig, ListenHandle};
use megapipe::{Application, Cookie, Core};
use net::stack::StackConfig;
use net::testing::{Client, Link, next_event};
use std::sync::Arc;
use std::time::Duration;
use support::site;

const PORT: u16 = 80;
const OTHER_PORT: u16 = 81;

/// Fills the submission ring before the server runs, so many times from the wish to stop on.
struct Crowd {
    server: Server,
    control: Arc<Control>,
    listener: Option<ListenHandle>,
    times: u32,
}

impl Application for Crowd {
    fn run(&mut self, channel: &mut Channel, now: Instant) {
        let listener = *self.listener.get_or_insert_with(|| {
            let cores = CoreMask::first(1);
            let listener = channel.listen(OTHER_PORT, Cookie(u64::MAX - 7), cores);
            listener.expect("a listener")
        });
        if self.control.is_stopping() && self.times > 0 {
            self.times -= 1;
            while channel.accept(listener, 1).is_ok() {}
        }
        self.server.run(channel, now);
    }
}

#[test]
fn a_server_that_stops_while_the_ring_is_full_still_stops_listening() {
    let link = Link::new();
    let control = Arc::new(Control::new(1));
    let config = ServerConfig {
        control: Arc::clone(&control),
        ..ServerConfig::alone(PORT, 16)
    };
    let stack = StackConfig {
        connections: 16,
        window_bytes: 4096,
        chunks: 64,
        chunk_bytes: 1024,
        keep_alive: None,
        seed: [7; 32],
    };
    let channel = Channel::create(ChannelConfig {
        handles: 16,
        batch: 32,
        chunks: 64,
        buffers: 8,
        buffer_bytes: 8192,
        timers: 32,
    });
    let crowd = Crowd {
        server: Server::new(site(), config),
        control: Arc::clone(&control),
        listener: None,
        times: 3,
    };
    let mut core = Core::new(net::testing::stack(stack, link.nic(0)), channel, crowd);
    let mut client = Client::new(&link);
    let mut now = Instant::ZERO;
    let mut run = |core: &mut Core<_, Crowd>, client: &mut Client| {
        let end = now + Duration::from_millis(50);
        loop {
            link.set_now(now);
            while client.poll(now) | core.turn(now).is_busy {}
            match next_event(&link, client, core.stack().next_deadline(), now, end) {
                Some(next) => now = next,
                None => break now = end,
            }
        }
    };
    let early = client.connect(PORT);
    run(&mut core, &mut client);
    assert!(client.socket(early).may_send());
    client.close(early);
    run(&mut core, &mut client);

    control.stop();
    core.notify(CoreMask::EMPTY);
    run(&mut core, &mut client);
    let crowd = core.application();
    assert_eq!(crowd.server.counters().commands_refused, 3);
    assert!(!crowd.server.is_listening());
    assert!(control.is_stopped());
    // Refused by the stack, not taken in and forgotten.
    let late = client.connect(PORT);
    run(&mut core, &mut client);
    assert!(!client.socket(late).is_open());
}
