//! Real traffic, and beside each of its frames others made from it: what is changed must break
//! nothing but the connections that it is about. The seeds are fixed; `SLUICE_SEEDS=FROM..TO` runs
//! others.

use net::nic::{Nic, TxMeta};
use net::stack::{ConnectionId, ListenerId};
use net::testing::{Client, Link, MemoryNic, Mutator, Random, SocketHandle, World};
use std::ops::Range;
use std::time::Duration;

/// The port whose connections' frames are changed, and the one of those that must not suffer.
const VICTIMS: u16 = 80;
const BYSTANDERS: u16 = 81;
/// Turns of one story, a millisecond each.
const TURNS: u64 = 250;

fn seeds() -> Range<u64> {
    let Ok(text) = std::env::var("SLUICE_SEEDS") else {
        return 0..60;
    };
    let (from, to) = text.split_once("..").expect("FROM..TO");
    from.parse().expect("a number")..to.parse().expect("a number")
}

/// A client and a stack, and somebody between them.
struct Story {
    near: Link,
    between: MemoryNic,
    far: Link,
    client: Client,
    world: World,
    mutator: Mutator,
    random: Random,
    connections: Vec<(ConnectionId, bool)>,
}

impl Story {
    fn new(seed: u64, is_ipv6: bool) -> Self {
        let (near, far) = (Link::new(), Link::new());
        far.capture(&format!("mutated-{seed}"));
        // Every third story over a device that puts segments together, every third over one whose
        // buffers are smaller than most frames; what is no segment must fit into one.
        let nic = match seed % 3 {
            0 => far.nic(0),
            1 => far.nic(0).with_large_receive(),
            _ => far.nic(0).with_buffers(96 + seed as usize),
        };
        let mut client = match is_ipv6 {
            false => Client::new(&near),
            true => Client::over_ipv6(&near),
        };
        client.buffer_bytes = 8192;
        Story {
            between: near.nic(0).with_transmit_frames(4096),
            client,
            world: World::with(&far, World::config(64, 8192), nic),
            mutator: Mutator::new(seed),
            random: Random::new(!seed),
            connections: Vec::new(),
            near,
            far,
        }
    }

    /// Carries what the client has sent to the stack, with company; and the stack's answers back.
    fn carry(&mut self, changes: u64) {
        let port = self.far.client_port();
        while let Some((frame, _)) = self.between.receive() {
            let to = match frame.get(12..14) {
                Some([0x08, 0x00]) => frame.get(36..38),
                _ => frame.get(56..58),
            };
            let is_bystanders = to == Some(&BYSTANDERS.to_be_bytes());
            let company = if is_bystanders {
                0
            } else {
                self.random.below(changes + 1)
            };
            let before = self.random.below(company + 1);
            for _ in 0..before {
                port.send(&self.mutator.mutate(&frame));
            }
            port.send(&frame);
            for _ in before..company {
                port.send(&self.mutator.mutate(&frame));
            }
            self.between.recycle(frame);
        }
        self.world.turn();
        while let Some(frame) = port.receive() {
            let copied = self.between.transmit(frame.len(), &[], |bytes| {
                bytes.copy_from_slice(&frame);
                ((), TxMeta::default())
            });
            assert!(copied.is_ok());
            port.recycle(frame);
        }
        self.between.flush();
    }

    /// One millisecond: the client, the carrier, the application (an echo), and again.
    fn step(&mut self, listeners: &[ListenerId; 2], changes: u64) {
        self.world.now = self.world.now + Duration::from_millis(1);
        self.near.set_now(self.world.now);
        self.far.set_now(self.world.now);
        for _ in 0..3 {
            self.client.poll(self.world.now);
            self.carry(changes);
        }
        for listener in listeners {
            while let Some(accepted) = self.world.stack.accept(*listener) {
                self.connections.push((accepted.connection, true));
            }
        }
        let mut bytes = [0; 2048];
        for (connection, is_open) in &mut self.connections {
            match self.world.stack.receive(*connection, &mut bytes) {
                Ok(Some(count)) => {
                    // What does not fit is lost to a victim; a bystander never has so much under way.
                    let _ = self.world.stack.send(*connection, &bytes[..count]);
                }
                Ok(None) => {}
                Err(_) => *is_open = false,
            }
        }
        self.connections.retain(|(connection, is_open)| {
            if !is_open {
                self.world.stack.release(*connection).expect("owned");
            }
            *is_open
        });
    }
}

/// A client's side of a bystander: every byte comes back, in order.
struct Bystander {
    socket: SocketHandle,
    sent: usize,
    received: usize,
}

impl Bystander {
    fn step(&mut self, client: &mut Client) {
        for byte in client.receive(self.socket) {
            assert_eq!(byte, self.received as u8, "at byte {}", self.received);
            self.received += 1;
        }
        if self.received == self.sent && client.socket(self.socket).may_send() {
            let bytes: Vec<u8> = (self.sent..self.sent + 700).map(|at| at as u8).collect();
            self.sent += client.send(self.socket, &bytes);
        }
    }
}

fn tell(seed: u64, is_ipv6: bool) {
    let mut story = Story::new(seed, is_ipv6);
    let listeners = [VICTIMS, BYSTANDERS].map(|port| story.world.listen(port, 16));
    let mut victims: Vec<_> = (0..3).map(|_| story.client.connect(VICTIMS)).collect();
    let mut bystanders = [(); 2].map(|()| Bystander {
        socket: story.client.connect(BYSTANDERS),
        sent: 0,
        received: 0,
    });
    for turn in 0..TURNS {
        for victim in &mut victims {
            let bytes = story.random.below(1500) as usize;
            story.client.send(*victim, &vec![9; bytes]);
            drop(story.client.receive(*victim));
            match story.random.below(40) {
                0 => story.client.close(*victim),
                1 => story.client.socket(*victim).abort(),
                _ => {}
            }
            if !story.client.socket(*victim).is_open() {
                story.client.remove(*victim);
                *victim = story.client.connect(VICTIMS);
            }
        }
        story.step(&listeners, 1 + turn % 4);
        for bystander in &mut bystanders {
            bystander.step(&mut story.client);
        }
    }
    for bystander in &bystanders {
        assert!(
            bystander.received > 20_000,
            "seed {seed}: {}",
            bystander.received
        );
        story.client.socket(bystander.socket).abort();
    }
    victims
        .iter()
        .for_each(|victim| story.client.socket(*victim).abort());
    for _ in 0..50 {
        story.step(&listeners, 0);
    }
    // What is left is nobody's: it goes, and so does all memory.
    for (connection, _) in std::mem::take(&mut story.connections) {
        story.world.stack.abort(connection).ok();
        story.world.stack.release(connection).expect("owned");
    }
    for _ in 0..1500 {
        story.world.now = story.world.now + Duration::from_millis(100);
        story.step(&listeners, 0);
    }
    let counters = story.world.stack.counters();
    let left = (
        counters.slots_now,
        counters.half_open_now,
        counters.time_wait_now,
    );
    assert_eq!(left, (0, 0, 0), "seed {seed}: {counters:?}");
    assert_eq!(
        counters.free_chunks_now,
        World::config(64, 8192).chunks as u64
    );
}

#[test]
fn frames_made_from_real_traffic_break_nothing_but_what_they_are_about() {
    for seed in seeds() {
        tell(seed, false);
    }
}

#[test]
fn frames_made_from_real_traffic_over_ipv6_break_nothing_but_what_they_are_about() {
    for seed in seeds() {
        tell(seed, true);
    }
}
