//! Honest clients that ask and are answered in virtual time, while somebody else does something to
//! the stack: how many answers they get is compared with what they get in peace.

use net::AddressConfig;
use net::counters::{Counters, DropReason};
use net::stack::{ConnectionId, ListenerId};
use net::testing::frames::{ACK, SYN, Tcp, ipv4};
use net::testing::{Client, Conditions, Link, Random, SocketHandle, World};
use net::testing::{STACK_ADDRESS, STACK_ADDRESS_V6};
use std::net::IpAddr;
use std::time::Duration;

/// Honest connections.
const HONEST: usize = 4;
const REQUEST_BYTES: usize = 64;
const RESPONSE_BYTES: usize = 4096;
/// Half of the slots are for the hostile.
const SLOTS: usize = 64;
/// How long a siege lasts, in virtual time.
pub(crate) const SIEGE_MS: u64 = 500;
/// Frames that an attack sends in each millisecond.
pub(crate) const FRAMES_PER_MS: u64 = 200;

/// A stack with honest clients.
pub(crate) struct Siege {
    pub(crate) link: Link,
    pub(crate) world: World,
    pub(crate) client: Client,
    pub(crate) random: Random,
    pub(crate) listener: ListenerId,
    honest: Vec<(SocketHandle, ConnectionId)>,
    asked: Vec<usize>,
    answered: Vec<usize>,
    /// The next port of a hostile connection.
    hostile_port: u16,
}

impl Siege {
    pub(crate) fn new(name: &str) -> Self {
        Siege::with(name, Client::new)
    }

    /// The honest speak IPv6, and the stack follows routers.
    pub(crate) fn over_ipv6(name: &str) -> Self {
        Siege::with(name, Client::over_ipv6)
    }

    fn with(name: &str, client: impl FnOnce(&Link) -> Client) -> Self {
        let delay = Duration::from_micros(500);
        let conditions = Conditions {
            delay,
            ..Conditions::PERFECT
        };
        let link = Link::with(conditions, 1, 1);
        link.capture(name);
        let mut world = World::with(&link, World::config(SLOTS, 16_384), link.nic(0));
        let fixed = AddressConfig::fixed(STACK_ADDRESS, 16).and(STACK_ADDRESS_V6, 64);
        let slaac = true;
        let config = AddressConfig { slaac, ..fixed };
        world.stack.configure_address(&config, world.now);
        let listener = world.listen(80, SLOTS);
        let mut client = client(&link);
        let sockets: Vec<_> = (0..HONEST).map(|_| client.connect(80)).collect();
        world.run(&mut client, 20);
        let mut connections: Vec<_> = std::iter::from_fn(|| world.stack.accept(listener)).collect();
        // By the client's ports, which it gives out in order.
        connections.sort_by_key(|accepted| accepted.peer.port());
        let pairs = sockets.into_iter().zip(connections);
        Siege {
            honest: pairs
                .map(|(socket, accepted)| (socket, accepted.connection))
                .collect(),
            random: Random::new(5),
            asked: vec![0; HONEST],
            answered: vec![0; HONEST],
            hostile_port: 1000,
            link,
            world,
            client,
            listener,
        }
    }

    /// The client's port of an honest connection.
    pub(crate) fn honest_port(&mut self) -> u16 {
        let number = self.random.below(HONEST as u64) as usize;
        let endpoint = self.client.socket(self.honest[number].0).local_endpoint();
        endpoint.expect("connected").port
    }

    /// A SYN from one of `sources` and from the port that it is for.
    pub(crate) fn land(&mut self, sources: &[impl Copy + Into<IpAddr>]) -> Vec<u8> {
        let number = self.random.below(sources.len() as u64) as usize;
        let land = Tcp {
            client: sources[number].into(),
            client_port: 80,
            ..Tcp::new(80, SYN, 1, 0)
        };
        land.frame()
    }

    /// Sends a frame to the stack.
    pub(crate) fn send(&self, frame: &[u8]) {
        self.link.client_port().send(frame);
    }

    /// Runs for so many milliseconds, with `attack` at the start of each, and returns how many
    /// answers the honest got; every byte of them is checked.
    pub(crate) fn run(&mut self, ms: u64, mut attack: impl FnMut(&mut Siege)) -> usize {
        let before: usize = self.answered.iter().sum();
        for _ in 0..ms {
            attack(self);
            self.world.run(&mut self.client, 1);
            self.serve();
            self.ask();
        }
        self.answered.iter().sum::<usize>() - before
    }

    /// The application: answers each whole request.
    fn serve(&mut self) {
        let mut request = [0; REQUEST_BYTES];
        for (_, connection) in &self.honest {
            if let Ok(Some(bytes)) = self.world.stack.receive(*connection, &mut request) {
                assert_eq!(bytes, REQUEST_BYTES);
                let response = [request[0]; RESPONSE_BYTES];
                let sent = self.world.stack.send(*connection, &response);
                assert_eq!(sent, Ok(RESPONSE_BYTES));
            }
        }
    }

    /// The clients: each asks when the last answer has come.
    fn ask(&mut self) {
        for (number, (socket, _)) in self.honest.iter().enumerate() {
            let is_first = self.asked[number] == 0;
            if is_first || self.client.socket(*socket).recv_queue() == RESPONSE_BYTES {
                let response = self.client.receive(*socket);
                let expected = self.asked[number] as u8;
                assert!(response.iter().all(|byte| *byte == expected));
                self.answered[number] += usize::from(!is_first);
                self.asked[number] += 1;
                let request = [self.asked[number] as u8; REQUEST_BYTES];
                assert_eq!(self.client.send(*socket, &request), REQUEST_BYTES);
            }
        }
    }

    pub(crate) fn counters(&self) -> Counters {
        self.world.stack.counters()
    }

    /// Asserts that a new connection is open and answered at once.
    pub(crate) fn assert_open_to_all(&mut self) {
        // What waits has been given up by its peers, who never were.
        while let Some(accepted) = self.world.stack.accept(self.listener) {
            self.world.stack.abort(accepted.connection).unwrap();
            self.world.stack.release(accepted.connection).unwrap();
        }
        let socket = self.client.connect(80);
        self.run(10, |_| ());
        // With a cookie it begins when it speaks.
        assert_eq!(self.client.send(socket, b"hello"), 5);
        self.run(10, |_| ());
        let accepted = self.world.stack.accept(self.listener).expect("a new one");
        let mut bytes = [0; 8];
        let received = self.world.stack.receive(accepted.connection, &mut bytes);
        assert_eq!(received, Ok(Some(5)));
        self.world.stack.abort(accepted.connection).unwrap();
        self.world.stack.release(accepted.connection).unwrap();
        self.run(1, |_| ());
    }
}

impl Siege {
    /// Opens connections from an address where nobody is, by hand, before the honest speak; each
    /// with its next segment, without payload.
    pub(crate) fn invade(&mut self, count: u16) -> Vec<(Tcp, ConnectionId)> {
        let first = self.hostile_port;
        self.hostile_port += count;
        let port = self.link.client_port();
        let mut step = |segment: &Tcp| {
            port.send(&segment.frame());
            for _ in 0..3 {
                self.world.now = self.world.now + Duration::from_millis(1);
                self.link.set_now(self.world.now);
                self.world.turn();
            }
            let replies = std::iter::from_fn(|| port.receive());
            replies.filter_map(|frame| Tcp::parse(&frame)).last()
        };
        let mut segments: Vec<Tcp> = (0..count)
            .map(|number| Tcp {
                client: [10, 7, 66, 6].into(),
                ..Tcp::new(first + number, SYN, 0, 0)
            })
            .collect();
        for segment in &mut segments {
            let reply = step(segment).expect("SYN|ACK");
            segment.flags = ACK;
            segment.sequence = 1;
            segment.acknowledged = reply.sequence.wrapping_add(1);
            step(segment);
        }
        let accepted = || self.world.stack.accept(self.listener);
        let accepted = std::iter::from_fn(accepted).map(|accepted| accepted.connection);
        segments.into_iter().zip(accepted).collect()
    }

    /// Lets `attack` begin, and returns how many answers the honest get of 100 that they get in
    /// peace; new clients are served at once when it is over, and after `settles_ms` no connection
    /// is left that it has made.
    pub(crate) fn endure(
        &mut self,
        settles_ms: u64,
        mut attack: impl FnMut(&mut Siege),
    ) -> (u64, Counters) {
        self.run(50, |_| ());
        let slots = self.counters().slots_now;
        let peace = self.run(SIEGE_MS, |_| ());
        assert!(peace > 100 * HONEST, "{peace} answers in peace");
        let war = self.run(SIEGE_MS, &mut attack);
        let counters = self.counters();
        assert!(counters.half_open_now <= SLOTS as u64 / 2);
        assert!(counters.free_chunks_now > 0);
        self.assert_open_to_all();
        self.run(settles_ms, |_| ());
        let after = self.counters();
        assert_eq!(after.slots_now, slots, "{after:?}");
        (100 * war as u64 / peace as u64, counters)
    }

    /// Endures so many frames that `frame` makes in each millisecond, and asserts that the honest
    /// get nine answers of ten at least.
    pub(crate) fn endure_flood(
        &mut self,
        settles_ms: u64,
        mut frame: impl FnMut(&mut Siege) -> Vec<u8>,
    ) -> Counters {
        let (percent, counters) = self.endure(settles_ms, |siege| {
            for _ in 0..FRAMES_PER_MS {
                let frame = frame(siege);
                siege.send(&frame);
            }
        });
        assert!(percent >= 90, "{percent} % of the answers in peace");
        counters
    }
}

/// Lets a new siege endure a flood.
pub(crate) fn flood(
    name: &str,
    settles_ms: u64,
    frame: impl FnMut(&mut Siege) -> Vec<u8>,
) -> Counters {
    Siege::new(name).endure_flood(settles_ms, frame)
}

/// Asserts that an attack's frames, or all but few, were dropped for a reason.
pub(crate) fn assert_dropped(counters: &Counters, reason: DropReason) {
    let dropped = counters.drops(reason);
    let sent = SIEGE_MS * FRAMES_PER_MS;
    assert!(
        dropped * 100 > sent * 99,
        "{dropped} of {sent} {}",
        reason.name()
    );
}

/// An IPv4 packet to the stack from any host.
pub(crate) fn packet(protocol: u8, from: u32, payload: &[u8]) -> Vec<u8> {
    ipv4(protocol, from.into(), net::testing::STACK_ADDRESS, payload)
}
