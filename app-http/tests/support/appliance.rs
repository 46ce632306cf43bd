//! A core with the server on it and a client on the other end of a link, in virtual time.

#![allow(dead_code, reason = "each test binary uses a part")]

use super::site;
use ::site::Site;
use app_http::limits::LOOK_PERIOD;
use app_http::settings::Settings;
use app_http::{Server, ServerConfig};
use kernel::Instant;
use kernel::wall_clock::WallClock;
use megapipe::Core;
use megapipe::channel::{Channel, ChannelConfig};
use net::stack::StackConfig;
use net::testing::{Client, Link, MemoryNic, SocketHandle, next_event};
use std::time::Duration;

pub(crate) const PORT: u16 = 80;
pub(crate) const BUFFER_BYTES: usize = 4096;
const BUFFERS: usize = 32;
const CHUNKS: usize = 256;

/// How large the appliance is.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    pub(crate) connections: usize,
}

pub(crate) struct Appliance {
    pub(crate) core: Core<MemoryNic, Server>,
    pub(crate) client: Client,
    pub(crate) now: Instant,
    /// Allocations in the core's turns since the server listened.
    pub(crate) allocations: u64,
    link: Link,
    /// Looks at the core after every turn, as an observer does.
    pub(crate) watch: Option<Watch>,
}

pub(crate) type Watch = Box<dyn FnMut(&mut Core<MemoryNic, Server>, Instant)>;

impl Appliance {
    pub(crate) fn new(size: Size) -> Self {
        Appliance::on(Link::new(), size)
    }

    pub(crate) fn on(link: Link, size: Size) -> Self {
        Appliance::with(link, size, Settings::default())
    }

    /// Makes an appliance whose clients may do what `settings` say.
    pub(crate) fn with(link: Link, size: Size, settings: Settings) -> Self {
        let config = ServerConfig {
            buffer_bytes: BUFFER_BYTES,
            wall_clock: WallClock::fixed_at(784_111_777),
            settings,
            ..ServerConfig::alone(PORT, size.connections as u32)
        };
        Appliance::serving(link, size, site(), config)
    }

    pub(crate) fn serving(
        link: Link,
        size: Size,
        site: Site<'static>,
        server: ServerConfig,
    ) -> Self {
        Appliance::running(link, size, Server::new(site, server))
    }

    /// Makes an appliance of a server that was made.
    pub(crate) fn running(link: Link, size: Size, server: Server) -> Self {
        let config = StackConfig {
            connections: size.connections,
            window_bytes: 4096,
            chunks: CHUNKS,
            chunk_bytes: 1024,
            keep_alive: None,
            seed: [7; 32],
        };
        let stack = net::testing::stack(config, link.nic(0));
        let channel = Channel::create(ChannelConfig {
            handles: size.connections,
            batch: 32,
            chunks: CHUNKS,
            buffers: BUFFERS,
            buffer_bytes: BUFFER_BYTES,
            timers: 32,
        });
        let mut appliance = Appliance {
            core: Core::new(stack, channel, server),
            client: Client::new(&link),
            now: Instant::ZERO,
            allocations: 0,
            link,
            watch: None,
        };
        appliance.run(1);
        assert!(appliance.core.application().is_listening());
        appliance.allocations = 0;
        appliance
    }

    /// Runs both sides until nothing more happens at this moment.
    fn settle(&mut self) {
        self.link.set_now(self.now);
        loop {
            let client_moved = self.client.poll(self.now);
            let mut is_busy = false;
            let turn = || is_busy = self.core.turn(self.now).is_busy;
            self.allocations += allocation_counter::measure(turn).count_total;
            if let Some(watch) = &mut self.watch {
                watch(&mut self.core, self.now);
            }
            if !is_busy & !client_moved {
                break;
            }
        }
    }

    /// Runs both sides for `ms` milliseconds of virtual time, from event to event, and as often as
    /// the server looks at its deadlines.
    pub(crate) fn run(&mut self, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        while end.saturating_since(self.now) > LOOK_PERIOD {
            self.run_until(self.now + LOOK_PERIOD);
        }
        self.run_until(end);
    }

    fn run_until(&mut self, end: Instant) {
        loop {
            self.settle();
            let stack = self.core.stack().next_deadline();
            match next_event(&self.link, &mut self.client, stack, self.now, end) {
                Some(next) => self.now = next,
                None => break,
            }
        }
        self.now = end;
        self.settle();
    }

    pub(crate) fn connect(&mut self) -> SocketHandle {
        self.connect_to(PORT)
    }

    pub(crate) fn connect_to(&mut self, port: u16) -> SocketHandle {
        let socket = self.client.connect(port);
        self.run(5);
        socket
    }

    /// Sends all of `bytes`, and returns what has come by the time nothing more comes.
    pub(crate) fn exchange(&mut self, socket: SocketHandle, bytes: &[u8]) -> Vec<u8> {
        let (mut sent, mut received) = (0, Vec::new());
        let mut idle = 0;
        while idle < 30 {
            let queued = self.client.send(socket, &bytes[sent..]);
            self.run(5);
            let came = self.client.receive(socket);
            idle = if queued == 0 && came.is_empty() {
                idle + 1
            } else {
                0
            };
            sent += queued;
            received.extend(came);
        }
        received
    }

    /// Returns whether the server has finished sending on this connection.
    pub(crate) fn is_finished(&mut self, socket: SocketHandle) -> bool {
        !self.client.socket(socket).may_recv()
    }

    /// Asserts that the server holds nothing of any connection.
    #[track_caller]
    pub(crate) fn assert_idle(&self) {
        let counters = self.core.application().counters();
        assert_eq!(counters.connections, counters.connections_ended);
        assert_eq!(counters.commands_refused, 0);
        let in_use = self.core.channel().in_use();
        assert_eq!((in_use.lwsockets, in_use.handles, in_use.writes), (0, 0, 0));
        // One is the engine's, from the first request on.
        assert!(in_use.free_buffers + 1 >= BUFFERS);
        assert_eq!(self.core.stack().counters().free_chunks_now, CHUNKS as u64);
    }

    pub(crate) fn counter(&self, name: &str) -> u64 {
        let counters = self.core.application().counters();
        counters
            .iter()
            .find(|(known, _)| *known == name)
            .expect("a counter")
            .1
    }
}
