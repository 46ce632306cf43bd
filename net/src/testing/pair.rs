//! Two stacks on one link in virtual time, one in each place: one listens, the other connects.

use super::link::Link;
use super::memory_nic::MemoryNic;
use super::world::World;
use super::{STACK_ADDRESS, STACK_ADDRESS_V6};
use crate::stack::{CloseReason, ConnectionId, Event, ListenerId, StackConfig};
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use kernel::Instant;

/// The port that the server listens on.
const PORT: u16 = 80;

/// Two stacks.
pub struct Pair {
    /// The link between them.
    pub link: Link,
    /// The one that listens.
    pub server: World,
    /// The one that connects.
    pub client: World,
    /// What both clocks say.
    pub now: Instant,
    listener: ListenerId,
}

impl Pair {
    /// Makes two stacks with the same bounds.
    pub fn new(link: Link, config: &StackConfig) -> Self {
        Pair::with_server_nic(link, config, |nic| nic)
    }

    /// Makes two stacks with the same bounds, the server's over the queue pair that `change` makes of
    /// the usual one.
    pub fn with_server_nic(
        link: Link,
        config: &StackConfig,
        change: impl FnOnce(MemoryNic) -> MemoryNic,
    ) -> Self {
        let mut server = World::with(&link, config.clone(), change(link.nic(0)));
        let client = StackConfig {
            seed: [8; 32],
            ..config.clone()
        };
        Pair {
            listener: server.listen(PORT, 8),
            client: World::of_client(&link, client),
            server,
            link,
            now: Instant::ZERO,
        }
    }

    /// Begins a connection of the client's.
    ///
    /// # Panics
    /// When the stack refuses.
    pub fn connect(&mut self) -> ConnectionId {
        self.connect_to(STACK_ADDRESS)
    }

    /// Begins a connection of the client's over IPv6.
    ///
    /// # Panics
    /// When the stack refuses.
    pub fn connect_over_ipv6(&mut self) -> ConnectionId {
        self.connect_to(STACK_ADDRESS_V6)
    }

    fn connect_to(&mut self, address: impl Into<IpAddr>) -> ConnectionId {
        let remote = SocketAddr::new(address.into(), PORT);
        self.client
            .stack
            .connect(remote, self.now)
            .expect("a free slot")
    }

    /// Takes a connection that the server has waiting.
    pub fn accept(&mut self) -> Option<ConnectionId> {
        let accepted = self.server.stack.accept(self.listener)?;
        Some(accepted.connection)
    }

    /// Lets both stacks do everything that is to be done at this moment.
    pub fn settle(&mut self) {
        self.link.set_now(self.now);
        (self.server.now, self.client.now) = (self.now, self.now);
        while self.server.turn() | self.client.turn() || self.has_more() {}
    }

    /// Whether a stack would not sleep: it has something to tell, or to send.
    fn has_more(&mut self) -> bool {
        [&mut self.server, &mut self.client]
            .into_iter()
            .any(|world| {
                let has_more = world.stack.arm();
                world.stack.disarm();
                has_more
            })
    }

    /// Does what is to be done now, and moves time to the next thing that happens, at `end` at the
    /// latest.
    pub fn step(&mut self, end: Instant) {
        self.settle();
        let deadlines = [
            self.server.stack.next_deadline(),
            self.client.stack.next_deadline(),
            self.link.next_arrival(),
        ];
        let next = deadlines.into_iter().flatten().min().unwrap_or(end);
        // So that time goes on.
        let next = next.max(self.now + Duration::from_micros(10));
        self.now = next.min(end);
        self.settle();
    }

    /// Runs for `ms` milliseconds.
    pub fn run(&mut self, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        while self.now < end {
            self.step(end);
        }
    }

    /// Returns how the client's and the server's connections have ended, of all events since the
    /// last call.
    pub fn ends(&mut self) -> [Option<CloseReason>; 2] {
        [&mut self.client, &mut self.server].map(|world| {
            let events = world.take_events();
            events.into_iter().find_map(|event| match event {
                Event::Closed(_, reason) => Some(reason),
                _ => None,
            })
        })
    }
}
