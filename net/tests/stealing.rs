//! Idle cores take connections that wait in another core's accept queue: whole ones, with what was
//! received on them, and none that an application has.

use kernel::{CoreId, CoreMask, Instant};
use net::counters::Counters;
use net::stack::{ConnectionId, Event, ListenerId, Stack};
use net::testing::{Client, Conditions, Link, MemoryNic, Random, SocketHandle, World, stacks};
use std::time::Duration;

/// A core that echoes what it receives on connections that it has accepted.
struct Core {
    stack: Stack<MemoryNic>,
    listener: Option<ListenerId>,
    /// How many connections it will still accept.
    credit: usize,
    accepted: Vec<ConnectionId>,
    /// This side finishes first.
    is_hasty: bool,
}

impl Core {
    /// Runs one turn; `wake` gets the cores that it woke.
    fn turn(&mut self, now: Instant, wake: &mut CoreMask) -> bool {
        let mut is_busy = self.stack.handle_frames(now) > 0;
        self.stack.handle_timers(now);
        while let Some(event) = self.stack.poll_event() {
            is_busy = true;
            match event {
                Event::Readable(connection) => self.echo(connection),
                Event::Closed(connection, _) => self.stack.release(connection).unwrap(),
                Event::Incoming(_) | Event::Connected(_) | Event::Writable(_) => {}
            }
        }
        is_busy |= self.accept();
        *wake = wake.or(self.stack.poll_transmit(now));
        is_busy
    }

    fn accept(&mut self) -> bool {
        let before = self.accepted.len();
        while self.credit > 0
            && let Some(listener) = self.listener
            && let Some(accepted) = self.stack.accept(listener)
        {
            self.credit -= 1;
            self.accepted.push(accepted.connection);
        }
        self.accepted.len() > before
    }

    fn echo(&mut self, connection: ConnectionId) {
        let mut buf = [0; 4096];
        match self.stack.receive(connection, &mut buf) {
            Ok(Some(0)) if !self.is_hasty => self.stack.shutdown(connection).unwrap(),
            Ok(Some(0)) => {}
            Ok(Some(bytes)) => {
                assert_eq!(self.stack.send(connection, &buf[..bytes]), Ok(bytes));
                if self.is_hasty {
                    self.stack.shutdown(connection).unwrap();
                }
            }
            Ok(None) | Err(_) => {}
        }
    }

    /// Goes to sleep, as a core does that has nothing to do; `false` when it has.
    fn sleep(&mut self, wake: &mut CoreMask) -> bool {
        if let Some(listener) = self.listener.filter(|_| self.credit > 0) {
            *wake = wake.or(self.stack.bid(listener, self.credit as u32));
        }
        !self.stack.arm()
    }

    fn set_stealing(&mut self, is_on: bool) {
        let listener = self.listener.expect("it listens");
        self.stack.set_stealing(listener, is_on).unwrap();
    }
}

/// Cores with a listener each, in virtual time.
struct Appliance {
    link: Link,
    client: Client,
    cores: Vec<Core>,
    now: Instant,
}

impl Appliance {
    /// Makes one core per entry of `queues`: the queue it has, if any. All steal.
    fn new(conditions: Conditions, seed: u64, queues: &[Option<usize>]) -> Self {
        let link = Link::with(conditions, seed, queues.iter().flatten().count());
        let stacks = stacks(&World::config(128, 4096), &link, queues);
        let cores = (0..).zip(stacks).map(|(number, mut stack)| {
            let own = CoreMask::only(CoreId::new(number).unwrap());
            let listener = stack.listen(80, own, 64).expect("disjoint masks");
            stack.set_stealing(listener, true).unwrap();
            Core {
                stack,
                listener: Some(listener),
                credit: 0,
                accepted: Vec::new(),
                is_hasty: false,
            }
        });
        let mut appliance = Appliance {
            client: Client::new(&link),
            cores: cores.collect(),
            now: Instant::ZERO,
            link,
        };
        appliance.client.buffer_bytes = 4096;
        appliance
    }

    fn credits(&mut self, credits: &[usize]) {
        for (core, credit) in self.cores.iter_mut().zip(credits) {
            core.credit = *credit;
        }
    }

    /// Runs until nothing happens, and goes on for `ms`. A core that is not woken sleeps.
    fn run(&mut self, ms: u64) {
        let mut awake = CoreMask::first(self.cores.len());
        for _ in 0..ms {
            self.now = self.now + Duration::from_millis(1);
            self.link.set_now(self.now);
            while self.client.poll(self.now) | self.turn(&mut awake) {}
        }
    }

    fn turn(&mut self, awake: &mut CoreMask) -> bool {
        let mut wake = CoreMask::EMPTY;
        let mut is_busy = false;
        for (number, core) in self.cores.iter_mut().enumerate() {
            let is_woken = awake.contains(CoreId::new(number).unwrap());
            if is_woken || !core.sleep(&mut wake) {
                core.stack.disarm();
                is_busy |= core.turn(self.now, &mut wake);
            }
        }
        *awake = wake;
        is_busy || !wake.is_empty()
    }

    /// Opens connections and sends something on each at once.
    fn open(&mut self, count: usize) -> Vec<SocketHandle> {
        let sockets: Vec<_> = (0..count).map(|_| self.client.connect(80)).collect();
        self.run(5);
        for (number, socket) in sockets.iter().enumerate() {
            assert_eq!(self.client.send(*socket, &message(number, 900)), 900);
        }
        self.run(5);
        sockets
    }

    fn assert_echoed(&mut self, sockets: &[SocketHandle]) {
        self.run(300);
        for (number, socket) in sockets.iter().enumerate() {
            let received = self.client.receive(*socket);
            assert!(received == message(number, 900), "{number}: {received:?}");
        }
        for (number, socket) in sockets.iter().enumerate() {
            assert_eq!(self.client.send(*socket, &message(number, 2000)), 2000);
            self.run(1);
        }
        self.run(300);
        for (number, socket) in sockets.iter().enumerate() {
            assert!(self.client.receive(*socket) == message(number, 2000));
        }
    }

    /// Closes what is open and asserts that nothing is left on any core.
    fn assert_ends_clean(&mut self, sockets: &[SocketHandle]) {
        sockets.iter().for_each(|socket| self.client.close(*socket));
        self.run(100);
        self.assert_nothing_left();
    }

    fn assert_nothing_left(&mut self) {
        for core in &mut self.cores {
            core.credit = 0;
            if core.listener.is_some() {
                core.set_stealing(false);
            }
        }
        self.run(5);
        for counters in self.counters() {
            let now = (counters.slots_now, counters.established_now);
            assert_eq!(now, (0, 0), "{counters:?}");
            assert_eq!(counters.unknown_segments, 0);
            let chunks = World::config(128, 4096).chunks as u64;
            assert_eq!(counters.free_chunks_now, chunks);
        }
    }

    fn accepted(&self) -> Vec<usize> {
        self.cores.iter().map(|core| core.accepted.len()).collect()
    }

    fn counters(&self) -> Vec<Counters> {
        self.cores
            .iter()
            .map(|core| core.stack.counters())
            .collect()
    }

    fn sum(&self, of: impl Fn(&Counters) -> u64) -> u64 {
        self.counters().iter().map(of).sum()
    }
}

fn message(number: usize, bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (number * 7 + at) as u8).collect()
}

/// Core 0 asks for nothing, core 1 for everything.
fn take_what_waits(queues: &[Option<usize>]) {
    let mut appliance = Appliance::new(Conditions::PERFECT, 1, queues);
    appliance.link.capture(&format!("stealing-{queues:?}"));
    appliance.credits(&[0, 1000]);
    let sockets = appliance.open(40);
    assert_eq!(appliance.accepted(), [0, 40]);
    let counters = appliance.counters();
    let given = counters[0].connections_given;
    assert!((8..=32).contains(&given), "its share of flows: {given}");
    assert_eq!(counters[1].connections_taken, given);
    assert_eq!(counters[0].established_now, 0);
    appliance.assert_echoed(&sockets);
    appliance.assert_ends_clean(&sockets);
}

#[test]
fn an_idle_core_takes_what_waits_for_another_over_one_queue() {
    take_what_waits(&[Some(0), None]);
}

#[test]
fn an_idle_core_takes_what_waits_for_another_over_two_queues() {
    take_what_waits(&[Some(0), Some(1)]);
}

#[test]
fn what_was_received_before_it_moved_is_read_where_it_has_moved_to() {
    let mut appliance = Appliance::new(Conditions::PERFECT, 2, &[Some(0), Some(1)]);
    let sockets = appliance.open(40);
    assert_eq!(appliance.accepted(), [0, 0]);
    appliance.credits(&[0, 1000]);
    appliance.run(5);
    assert_eq!(appliance.accepted(), [0, 40]);
    appliance.assert_echoed(&sockets);
    appliance.assert_ends_clean(&sockets);
}

#[test]
fn nothing_moves_unless_both_listeners_are_told_to() {
    for silent in 0..2 {
        let mut appliance = Appliance::new(Conditions::PERFECT, 3, &[Some(0), Some(1)]);
        appliance.cores[silent].set_stealing(false);
        appliance.credits(&[0, 1000]);
        let sockets = appliance.open(20);
        assert_eq!(appliance.sum(|core| core.connections_given), 0);
        let [waiting, accepted] = appliance.accepted()[..] else {
            panic!("two cores");
        };
        assert!(waiting == 0 && (4..=16).contains(&accepted));
        appliance.credits(&[1000; 2]);
        appliance.assert_echoed(&sockets);
        appliance.assert_ends_clean(&sockets);
    }
}

#[test]
fn what_an_application_has_never_moves() {
    let mut appliance = Appliance::new(Conditions::PERFECT, 4, &[Some(0), Some(1)]);
    appliance.credits(&[5, 0]);
    let sockets = appliance.open(40);
    assert_eq!(appliance.accepted(), [5, 0]);
    appliance.credits(&[0, 1000]);
    appliance.run(5);
    assert_eq!(appliance.accepted(), [5, 35]);
    assert_eq!(appliance.counters()[0].established_now, 5);
    appliance.assert_echoed(&sockets);
    appliance.assert_ends_clean(&sockets);
}

#[test]
fn a_busy_core_is_given_nothing() {
    let mut appliance = Appliance::new(Conditions::PERFECT, 5, &[Some(0), Some(1)]);
    appliance.credits(&[0, 3]);
    let sockets = appliance.open(40);
    assert_eq!(appliance.accepted(), [0, 3], "no more than it asked for");
    let waiting = appliance.counters()[1].established_now;
    let begun = appliance.counters()[1].connections_begun;
    assert!(
        waiting <= begun + 3,
        "what it was given is what it asked for"
    );
    appliance.credits(&[1000; 2]);
    appliance.assert_echoed(&sockets);
    appliance.assert_ends_clean(&sockets);
}

#[test]
fn a_connection_that_has_moved_stays_where_it_is() {
    let mut appliance = Appliance::new(Conditions::PERFECT, 8, &[Some(0), None, None]);
    appliance.cores[1].set_stealing(false);
    appliance.credits(&[0, 1000, 0]);
    let sockets = appliance.open(60);
    let own = appliance.accepted()[1];
    // It bids, and then its application asks for nothing any more.
    appliance.cores[1].set_stealing(true);
    let mut woken = CoreMask::EMPTY;
    assert!(appliance.cores[1].sleep(&mut woken));
    assert_eq!(woken.bits(), 0b101, "both have a backlog");
    appliance.credits(&[0; 3]);
    appliance.run(5);
    let moved = appliance.counters()[1].connections_taken as usize;
    assert!((1..=8).contains(&moved), "{moved}");
    appliance.credits(&[0, 0, 1000]);
    appliance.run(5);
    assert_eq!(appliance.accepted(), [0, own, 60 - own - moved]);
    appliance.cores[1].set_stealing(false);
    appliance.credits(&[0, 1000, 0]);
    appliance.run(5);
    assert_eq!(appliance.accepted(), [0, own + moved, 60 - own - moved]);
    appliance.assert_echoed(&sockets);
    appliance.assert_ends_clean(&sockets);
}

#[test]
fn the_time_wait_of_a_moved_connection_stays_with_its_first_core() {
    let mut appliance = Appliance::new(Conditions::PERFECT, 6, &[Some(0), Some(1)]);
    appliance.credits(&[0, 1000]);
    appliance.cores[1].is_hasty = true;
    let sockets = appliance.open(40);
    appliance.run(20);
    let given = appliance.counters()[0].connections_given;
    assert!(given >= 8, "{given}");
    for (number, socket) in sockets.iter().enumerate() {
        assert!(appliance.client.receive(*socket) == message(number, 900));
        appliance.client.close(*socket);
    }
    appliance.run(20);
    let counters = appliance.counters();
    assert_eq!(counters[0].time_wait_now, given);
    assert_eq!(counters[1].time_wait_now, 40 - given);
    appliance.assert_nothing_left();
}

#[test]
fn connections_that_come_when_the_listener_is_gone_are_reset() {
    let mut appliance = Appliance::new(Conditions::PERFECT, 7, &[Some(0), None]);
    let sockets = appliance.open(40);
    let waits = appliance.counters()[0].established_now;
    // Core 1 bids and ends its listener before it looks what has come.
    appliance.credits(&[0, 1000]);
    let mut wake = CoreMask::EMPTY;
    while appliance.cores[1].turn(appliance.now, &mut wake) {}
    wake = CoreMask::EMPTY;
    assert!(appliance.cores[1].sleep(&mut wake));
    assert_eq!(wake, CoreMask::only(CoreId::BOOT));
    appliance.cores[0].turn(appliance.now, &mut wake);
    let given = appliance.counters()[0].connections_given;
    assert_eq!(given, u64::from(net::limits::BID_CONNECTIONS));
    let listener = appliance.cores[1].listener.take().unwrap();
    appliance.cores[1].stack.close_listener(listener).unwrap();
    appliance.run(5);
    assert_eq!(appliance.counters()[1].listener_resets, given);
    let is_open = |appliance: &mut Appliance, socket: &SocketHandle| {
        appliance.client.socket(*socket).is_active()
    };
    let open: Vec<_> = sockets
        .iter()
        .copied()
        .filter(|socket| is_open(&mut appliance, socket))
        .collect();
    assert_eq!(open.len() as u64, 40 - given);
    appliance.credits(&[1000; 2]);
    appliance.run(5);
    assert_eq!(appliance.accepted()[0] as u64, waits - given);
    appliance.assert_ends_clean(&open);
}

#[test]
fn a_storm_of_moves_loses_no_connection_and_no_byte() {
    let mut moved = 0;
    for seed in 0..40 {
        let conditions = Conditions {
            duplication: 100,
            reordering: 200,
            delay: Duration::from_micros(300),
            ..Conditions::PERFECT
        };
        let queues = if seed % 2 == 0 {
            [Some(0), Some(1), None]
        } else {
            [Some(0), None, None]
        };
        let mut appliance = Appliance::new(conditions, seed, &queues);
        appliance.link.let_wander(300);
        appliance.link.capture(&format!("storm-of-moves-{seed}"));
        let mut random = Random::new(seed);
        let mut sockets = Vec::new();
        let mut awake = CoreMask::EMPTY;
        for step in 0..4000 {
            appliance.now = Instant::from_nanos(step * 10_000);
            appliance.link.set_now(appliance.now);
            appliance.client.poll(appliance.now);
            // Cores run in any order, sleep at any time, and some fall behind: their rings fill.
            let core = &mut appliance.cores[random.below(3) as usize];
            if random.chance(500) {
                core.turn(appliance.now, &mut awake);
            } else {
                core.sleep(&mut awake);
                core.stack.disarm();
            }
            if random.chance(20) && sockets.len() < 60 {
                sockets.push((appliance.client.connect(80), false));
            }
            if random.chance(100) {
                let core = &mut appliance.cores[random.below(3) as usize];
                core.credit = random.below(4) as usize;
            }
            if random.chance(10) {
                let core = &mut appliance.cores[random.below(3) as usize];
                core.set_stealing(random.chance(700));
            }
            for (number, (socket, is_sent)) in sockets.iter_mut().enumerate() {
                let is_open = appliance.client.socket(*socket).may_send();
                if is_open && !*is_sent && random.chance(5) {
                    *is_sent = appliance.client.send(*socket, &message(number, 900)) == 900;
                }
            }
        }
        appliance.link.set_conditions(Conditions::PERFECT);
        appliance.credits(&[1000; 3]);
        appliance.run(300);
        for (number, (socket, is_sent)) in sockets.iter().enumerate() {
            if !is_sent {
                assert_eq!(appliance.client.send(*socket, &message(number, 900)), 900);
            }
        }
        let sockets: Vec<_> = sockets.into_iter().map(|(socket, _)| socket).collect();
        appliance.assert_echoed(&sockets);
        let count = sockets.len() as u64;
        assert_eq!(appliance.sum(|core| core.connections_established), count);
        assert_eq!(appliance.sum(|core| core.connections_begun), count);
        assert_eq!(appliance.sum(|core| core.half_open_lost), 0, "seed {seed}");
        moved += appliance.sum(|core| core.connections_given);
        appliance.assert_ends_clean(&sockets);
    }
    assert!(moved > 200, "{moved}");
}
