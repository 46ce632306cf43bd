//! The ping-pong server over sockets, on one core and two, with every setting of the switches: all
//! comes back, nothing is left behind, and each switch does what it is for.

use kernel::{CoreId, CoreMask, Instant, Processor};
use net::AddressConfig;
use net::fabric::fabric;
use net::stack::{Stack, StackConfig};
use net::testing::{Client, Conditions, Link, MemoryNic, STACK_ADDRESS, SocketHandle};
use sockets::pong::Pong;
use sockets::{Calls, Cpu, Switches, System, Thread};
use std::cell::Cell;

const CONNECTIONS: usize = 128;

/// A core in virtual time. It never sleeps: the test decides who runs.
struct Core {
    id: CoreId,
    now: Cell<Instant>,
    crossings: Cell<u64>,
}

impl Processor for Core {
    fn core(&self) -> CoreId {
        self.id
    }

    fn now(&self) -> Instant {
        self.now.get()
    }

    fn unix_seconds(&self) -> u64 {
        0
    }

    fn clear_wake(&self) {}

    fn sleep_until(&self, _: Option<Instant>) {}

    fn wake(&self, _: CoreId) {}
}

impl Cpu for Core {
    fn cross(&self) {
        self.crossings.set(self.crossings.get() + 1);
    }
}

/// Makes cores with a queue each, which listen on port 7.
fn system(link: &Link, switches: Switches, cores: usize) -> System<MemoryNic> {
    let system = System::new(switches, cores, CONNECTIONS);
    for (queue, port) in fabric(&vec![true; cores], [9; 16]).into_iter().enumerate() {
        let config = StackConfig {
            connections: CONNECTIONS,
            window_bytes: 16_384,
            chunks: 256,
            chunk_bytes: 2048,
            keep_alive: None,
            seed: [queue as u8; 32],
        };
        let mut stack = Stack::new(config, Some(link.nic(queue)), port, Instant::ZERO);
        if queue == 0 {
            let address = AddressConfig::fixed(STACK_ADDRESS, 16);
            stack.configure_address(&address, Instant::ZERO);
        }
        system.join(stack, 7).unwrap();
    }
    system
}

/// A client and the cores that serve it.
struct World<'a> {
    link: Link,
    client: Client,
    cpus: &'a [Core],
    threads: Vec<Thread<'a, MemoryNic, Core>>,
    pongs: Vec<Pong>,
    ms: u64,
}

impl World<'_> {
    fn run(&mut self, ms: u64) {
        for _ in 0..ms {
            self.ms += 1;
            let now = Instant::from_nanos(self.ms * 1_000_000);
            self.link.set_now(now);
            for _ in 0..20 {
                self.client.poll(now);
                for ((cpu, thread), pong) in
                    self.cpus.iter().zip(&mut self.threads).zip(&mut self.pongs)
                {
                    cpu.now.set(now);
                    pong.run(thread, Some(now));
                }
            }
        }
    }

    fn calls(&self) -> Vec<Calls> {
        self.threads.iter().map(Thread::calls).collect()
    }
}

fn message(number: usize, round: usize) -> Vec<u8> {
    let bytes = 1 + (number * 131 + round * 977) % 5000;
    (0..bytes)
        .map(|place| (place * 7 + number + round) as u8)
        .collect()
}

/// Plays several rounds over `count` connections, and returns the calls of each core.
fn play(switches: Switches, cores: usize, count: usize) -> Vec<Calls> {
    let link = Link::with(Conditions::PERFECT, 5, cores);
    link.capture(&format!("pong-{cores}-{switches:?}"));
    let system = system(&link, switches, cores);
    let cpus: Vec<Core> = CoreMask::first(cores)
        .iter()
        .map(|id| Core {
            id,
            now: Cell::new(Instant::ZERO),
            crossings: Cell::new(0),
        })
        .collect();
    let mut client = Client::new(&link);
    client.buffer_bytes = 8192;
    let mut world = World {
        threads: cpus.iter().map(|cpu| Thread::new(&system, cpu)).collect(),
        pongs: cpus.iter().map(|_| Pong::new(CONNECTIONS)).collect(),
        link: link.clone(),
        client,
        cpus: &cpus,
        ms: 0,
    };
    let sockets: Vec<SocketHandle> = (0..count).map(|_| world.client.connect(7)).collect();
    world.run(5);
    for round in 0..4 {
        for (number, socket) in sockets.iter().enumerate() {
            let message = message(number, round);
            assert_eq!(world.client.send(*socket, &message), message.len());
        }
        world.run(60);
        for (number, socket) in sockets.iter().enumerate() {
            let answer = world.client.receive(*socket);
            assert!(
                answer == message(number, round),
                "{switches:?}: {number} in round {round}"
            );
        }
    }
    // Half of them finish, half break off.
    for (number, socket) in sockets.iter().enumerate() {
        match number % 2 {
            0 => world.client.close(*socket),
            _ => world.client.socket(*socket).abort(),
        }
    }
    world.run(100);
    for core in CoreMask::first(cores).iter() {
        let counters = system.with_stack(core, Stack::counters).unwrap();
        assert_eq!(
            (counters.slots_now, counters.established_now),
            (0, 0),
            "{switches:?}"
        );
    }
    assert_eq!(system.descriptors_in_use(), 0);
    let calls = world.calls();
    for (cpu, calls) in cpus.iter().zip(&calls) {
        assert_eq!(cpu.crossings.get(), calls.crossings);
    }
    let sum = |of: fn(&Calls) -> u64| calls.iter().map(of).sum::<u64>();
    assert_eq!(sum(|calls| calls.accepts), count as u64);
    assert_eq!(sum(|calls| calls.closes), count as u64);
    calls
}

fn every_setting() -> impl Iterator<Item = Switches> {
    (0..8).map(|bits| Switches {
        partition: bits & 1 != 0,
        batch: bits & 2 != 0,
        lwsocket: bits & 4 != 0,
    })
}

#[test]
fn everything_comes_back_with_every_setting_on_one_core() {
    for switches in every_setting() {
        play(switches, 1, 40);
    }
}

#[test]
fn everything_comes_back_with_every_setting_on_two_cores() {
    for switches in every_setting() {
        let calls = play(switches, 2, 60);
        for core in &calls {
            assert!(core.accepts >= 10, "{switches:?}: {calls:?}");
        }
        let remote: u64 = calls.iter().map(|calls| calls.remote).sum();
        assert_eq!(remote == 0, switches.partition, "{switches:?}: {remote}");
    }
}

#[test]
fn every_call_crosses_once_and_a_batch_of_them_too() {
    let alone = play(Switches::default(), 1, 40)[0];
    let calls = alone.accepts + alone.receives + alone.sends + alone.closes + alone.would_block;
    // One more for each connection that is watched, for each wait, and for an accept that found none.
    assert!(alone.crossings >= calls + alone.accepts + alone.waits);
    let batched = Switches {
        batch: true,
        ..Switches::default()
    };
    let batched = play(batched, 1, 40)[0];
    assert!(batched.crossings <= 2 * batched.waits);
    assert!(batched.crossings - batched.waits < (alone.crossings - alone.waits) / 2);
}
