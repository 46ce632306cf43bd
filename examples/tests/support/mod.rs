//! A proxy at one end of a link in memory; at the other its clients, and its backends on ports of
//! their own. All in virtual time.

use examples::proxy::{LISTENER, Proxy};
use kernel::{CoreMask, Instant};
use megapipe::{Application, Channel, ChannelConfig, Core};
use net::testing::{
    CLIENT_ADDRESS, Client, Link, MemoryNic, SocketHandle, State, World, next_event, stack,
};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

const PORT: u16 = 80;
/// Connections that a backend is ready to take at once.
const LISTENING: usize = 4;
/// Bytes of each buffer at the far end, and of a window of the proxy's.
pub(crate) const BUFFER_BYTES: usize = 8192;
pub(crate) const WINDOW_BYTES: usize = 4096;

/// A server that says its name to whoever connects. What a test does not take over it finishes when
/// the peer has.
pub(crate) struct Backend {
    pub(crate) name: u8,
    pub(crate) is_up: bool,
    sockets: Vec<SocketHandle>,
    greeted: BTreeSet<SocketHandle>,
}

impl Backend {
    fn port(&self) -> u16 {
        8000 + u16::from(self.name)
    }

    /// Where it is.
    pub(crate) fn address(name: u8) -> SocketAddr {
        (CLIENT_ADDRESS, 8000 + u16::from(name)).into()
    }

    /// Takes connections, greets, and finishes what the peer has finished.
    fn serve(&mut self, client: &mut Client) {
        let mut listening = 0;
        self.sockets.retain(|handle| {
            let socket = client.socket(*handle);
            match socket.state() {
                State::Listen if self.is_up => listening += 1,
                State::Established if self.greeted.insert(*handle) => {
                    socket.send_slice(&[self.name]).unwrap();
                }
                State::CloseWait => socket.close(),
                State::Listen | State::Closed | State::TimeWait => {
                    socket.abort();
                    self.greeted.remove(handle);
                    client.remove(*handle);
                    return false;
                }
                _ => {}
            }
            true
        });
        while self.is_up && listening < LISTENING {
            self.sockets.push(client.listen(self.port()));
            listening += 1;
        }
    }
}

/// One session, as both of its ends see it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Session {
    pub(crate) client: SocketHandle,
    pub(crate) backend: SocketHandle,
    /// The backend's.
    pub(crate) name: u8,
}

/// The proxy and everyone around it.
pub(crate) struct Rig {
    pub(crate) core: Core<MemoryNic, Proxy>,
    pub(crate) client: Client,
    pub(crate) backends: Vec<Backend>,
    link: Link,
    now: Instant,
}

impl Rig {
    /// Makes a proxy for so many connections to the backends of these names, and to the strangers,
    /// who are not there.
    pub(crate) fn new(connections: usize, names: &[u8], strangers: &[SocketAddr]) -> Self {
        let link = Link::new();
        link.capture("proxy");
        let stack = stack(World::config(connections, WINDOW_BYTES), link.nic(0));
        let mut channel = Channel::create(ChannelConfig {
            handles: connections,
            batch: 32,
            chunks: 64,
            buffers: 0,
            buffer_bytes: 0,
            // Two of a session are never set at once.
            timers: connections,
        });
        // As the image does it.
        let listener = channel.listen(PORT, LISTENER, CoreMask::first(1)).unwrap();
        channel.accept_multishot(listener).unwrap();
        let addresses: Vec<SocketAddr> = strangers
            .iter()
            .copied()
            .chain(names.iter().map(|name| Backend::address(*name)))
            .collect();
        let mut client = Client::new(&link);
        client.buffer_bytes = BUFFER_BYTES;
        let backend = |name: &u8| Backend {
            name: *name,
            is_up: true,
            sockets: Vec::new(),
            greeted: BTreeSet::new(),
        };
        let mut rig = Rig {
            core: Core::new(stack, channel, Proxy::new(&addresses, connections)),
            client,
            backends: names.iter().map(backend).collect(),
            link,
            now: Instant::ZERO,
        };
        rig.run(1);
        rig
    }

    /// Runs everyone until nothing more happens at this moment.
    fn settle(&mut self) {
        self.link.set_now(self.now);
        loop {
            for backend in &mut self.backends {
                backend.serve(&mut self.client);
            }
            let client_moved = self.client.poll(self.now);
            if !self.core.turn(self.now).is_busy & !client_moved {
                return;
            }
        }
    }

    /// Runs everyone for `ms` milliseconds of virtual time, from event to event.
    pub(crate) fn run(&mut self, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        loop {
            self.settle();
            let deadlines = [
                self.core.stack().next_deadline(),
                self.core.channel().deadline(),
            ];
            let core = deadlines.into_iter().flatten().min();
            match next_event(&self.link, &mut self.client, core, self.now, end) {
                Some(next) => self.now = next,
                None => break,
            }
        }
        self.now = end;
        self.settle();
    }

    /// Begins a session, and returns the client's end.
    pub(crate) fn connect(&mut self) -> SocketHandle {
        let client = self.client.connect(PORT);
        self.run(5);
        client
    }

    /// Begins a session and takes both of its ends over.
    pub(crate) fn open(&mut self) -> Session {
        let client = self.connect();
        self.claim(client)
    }

    /// Takes a session over that has come to a backend.
    pub(crate) fn claim(&mut self, client: SocketHandle) -> Session {
        let greeting = self.client.receive(client);
        let [name] = greeting[..] else {
            panic!("greeted with {greeting:?}");
        };
        let backend = self
            .backends
            .iter_mut()
            .find(|backend| backend.name == name)
            .unwrap();
        let sockets = &mut self.client;
        let is_session =
            |handle: &SocketHandle| sockets.socket(*handle).state() == State::Established;
        let place = backend.sockets.iter().position(is_session).unwrap();
        let taken = backend.sockets.swap_remove(place);
        backend.greeted.remove(&taken);
        Session {
            client,
            backend: taken,
            name,
        }
    }

    /// Sends bytes from one end of a session to the other.
    pub(crate) fn pass(&mut self, from: SocketHandle, to: SocketHandle, bytes: &[u8]) {
        assert_eq!(self.client.send(from, bytes), bytes.len());
        self.run(5);
        assert_eq!(self.client.receive(to), bytes);
    }

    pub(crate) fn state(&mut self, socket: SocketHandle) -> State {
        self.client.socket(socket).state()
    }

    /// Returns one of the proxy's counters.
    pub(crate) fn counter(&self, name: &str) -> u64 {
        let mut value = None;
        self.core.application().tell_counters(&mut |its, number| {
            if its == name {
                value = Some(number);
            }
        });
        value.expect("a counter of the proxy's")
    }

    /// Checks that no session is left, and nothing of one.
    pub(crate) fn assert_idle(&mut self) {
        // A check may be under way; between two of them none is.
        self.run(100);
        assert_eq!(self.counter("sessions_now"), 0);
        let left = self.core.channel().in_use();
        assert_eq!((left.handles, left.lwsockets, left.writes), (0, 0, 0));
        let counters = self.core.stack().counters();
        assert_eq!(counters.established_now, 0);
    }
}
