//! Several cores over one queue pair, two, and partial masks: every flow reaches its owner, and the
//! owner's answers reach the client.

use kernel::{CoreId, CoreMask, Instant};
use net::counters::Counters;
use net::stack::{ConnectionId, Event, ListenError, ListenerId, Stack};
use net::testing::{Client, Conditions, Link, MemoryNic, Random, SocketHandle, World, stacks};
use std::collections::HashSet;
use std::time::Duration;

/// Cores that echo what they receive.
struct Appliance {
    stacks: Vec<Stack<MemoryNic>>,
    listeners: Vec<Option<ListenerId>>,
    /// Connections each core has accepted.
    accepted: Vec<HashSet<ConnectionId>>,
    /// Virtual time so far.
    started_ms: u64,
}

impl Appliance {
    /// Makes one core per entry of `queues`: the queue it has, if any. `masks` says what each
    /// core's listener answers, if it has one.
    fn new(link: &Link, queues: &[Option<usize>], masks: &[Option<u64>]) -> Self {
        let mut stacks = stacks(&World::config(128, 4096), link, queues);
        let listeners = stacks.iter_mut().zip(masks).map(|(stack, mask)| {
            let mask = CoreMask::from_bits((*mask)?);
            Some(stack.listen(80, mask, 64).expect("disjoint masks"))
        });
        Appliance {
            listeners: listeners.collect(),
            accepted: stacks.iter().map(|_| HashSet::new()).collect(),
            started_ms: 0,
            stacks,
        }
    }

    /// Runs one turn on every core; a core that was not woken sleeps, which must lose nothing.
    fn turn(&mut self, now: Instant, awake: &mut CoreMask) -> bool {
        let mut is_busy = false;
        let mut wake = CoreMask::EMPTY;
        for number in 0..self.stacks.len() {
            let core = CoreId::new(number).unwrap();
            if awake.contains(core) || self.stacks[number].arm() {
                self.stacks[number].disarm();
                is_busy |= self.turn_core(number, now, &mut wake);
            }
        }
        *awake = wake;
        is_busy || !wake.is_empty()
    }

    /// Runs one turn on one core, and adds the cores that it woke.
    fn turn_core(&mut self, number: usize, now: Instant, wake: &mut CoreMask) -> bool {
        let stack = &mut self.stacks[number];
        let mut is_busy = stack.handle_frames(now) > 0;
        stack.handle_timers(now);
        while let Some(event) = stack.poll_event() {
            is_busy = true;
            match event {
                Event::Incoming(listener) => {
                    assert_eq!(Some(listener), self.listeners[number]);
                    let accepted = stack.accept(listener).expect("one waits");
                    self.accepted[number].insert(accepted.connection);
                }
                Event::Readable(connection) => echo(stack, connection),
                Event::Closed(connection, _) => stack.release(connection).unwrap(),
                Event::Connected(_) | Event::Writable(_) => {}
            }
        }
        *wake = wake.or(stack.poll_transmit(now));
        is_busy
    }

    fn run(&mut self, link: &Link, client: &mut Client, ms: u64) {
        let mut awake = CoreMask::first(self.stacks.len());
        for tick in 0..ms {
            let now = Instant::from_nanos(self.started_ms * 1_000_000 + client_time(tick));
            link.set_now(now);
            while client.poll(now) | self.turn(now, &mut awake) {}
        }
        self.started_ms += ms;
    }

    /// Changes the mask of one core's listener.
    fn change_mask(&mut self, core: usize, mask: u64) -> Result<(), ListenError> {
        let listener = self.listeners[core].expect("it listens");
        self.stacks[core].change_mask(listener, CoreMask::from_bits(mask))
    }

    /// Ends one core's listener.
    fn close_listener(&mut self, core: usize) {
        let listener = self.listeners[core].take().expect("it listens");
        self.stacks[core].close_listener(listener).unwrap();
    }

    /// Begins one core's listener.
    fn listen(&mut self, core: usize, mask: u64) -> Result<(), ListenError> {
        let mask = CoreMask::from_bits(mask);
        self.listeners[core] = Some(self.stacks[core].listen(80, mask, 64)?);
        Ok(())
    }

    fn counters(&self) -> Vec<Counters> {
        self.stacks.iter().map(Stack::counters).collect()
    }
}

fn client_time(tick: u64) -> u64 {
    tick * 1_000_000
}

fn echo(stack: &mut Stack<MemoryNic>, connection: ConnectionId) {
    let mut buf = [0; 4096];
    match stack.receive(connection, &mut buf) {
        Ok(Some(0)) => stack.shutdown(connection).unwrap(),
        Ok(Some(bytes)) => assert_eq!(stack.send(connection, &buf[..bytes]), Ok(bytes)),
        Ok(None) | Err(_) => {}
    }
}

/// Opens 60 connections, sends over each and closes it; every byte must come back.
fn serve(queues: &[Option<usize>], masks: &[Option<u64>]) -> Appliance {
    let pairs = queues.iter().flatten().count();
    let link = Link::with(Conditions::PERFECT, 1, pairs);
    link.capture(&format!("cores-{queues:?}"));
    let mut appliance = Appliance::new(&link, queues, masks);
    let mut client = Client::new(&link);
    client.buffer_bytes = 8192;
    let sockets: Vec<_> = (0..60).map(|_| client.connect(80)).collect();
    appliance.run(&link, &mut client, 5);
    for (number, socket) in sockets.iter().enumerate() {
        let message = vec![number as u8; 3000];
        assert_eq!(client.send(*socket, &message), 3000);
    }
    appliance.run(&link, &mut client, 50);
    for (number, socket) in sockets.iter().enumerate() {
        assert_eq!(
            client.receive(*socket),
            vec![number as u8; 3000],
            "{number}"
        );
        client.close(*socket);
    }
    appliance.run(&link, &mut client, 50);
    for counters in appliance.counters() {
        assert_eq!((counters.slots_now, counters.established_now), (0, 0));
        assert_eq!(counters.unknown_segments, 0);
    }
    appliance
}

#[test]
fn two_cores_share_one_queue_pair() {
    let appliance = serve(&[Some(0), None], &[Some(1), Some(2)]);
    let shares: Vec<_> = appliance.accepted.iter().map(HashSet::len).collect();
    let counters = appliance.counters();
    assert!(counters[0].connections_finished >= 15, "{counters:?}");
    assert!(counters[1].connections_finished >= 15, "{counters:?}");
    assert!(shares.iter().all(|share| *share >= 1));
    assert_eq!(counters[0].handovers_out, counters[1].handovers_in);
    assert_eq!(counters[1].forwards_out, counters[0].forwards_in);
    assert!(counters[1].forwards_out > 0 && counters[1].tx_frames == 0);
}

#[test]
fn two_cores_have_a_queue_pair_each() {
    let appliance = serve(&[Some(0), Some(1)], &[Some(1), Some(2)]);
    let counters = appliance.counters();
    for core in &counters {
        assert!(core.rx_frames > 0 && core.tx_frames > 0, "{counters:?}");
        assert!(core.handovers_in > 0 && core.forwards_out == 0);
        assert!(core.connections_finished >= 15);
    }
}

#[test]
fn a_core_outside_the_mask_answers_nothing() {
    let appliance = serve(&[Some(0), Some(1), None], &[None, Some(0b010), Some(0b100)]);
    let counters = appliance.counters();
    assert_eq!(counters[0].connections_begun, 0);
    assert_eq!(
        counters[1].connections_begun + counters[2].connections_begun,
        60
    );
    assert!(counters[1].connections_begun >= 15 && counters[2].connections_begun >= 15);
}

#[test]
fn one_listener_can_answer_for_every_core() {
    let appliance = serve(&[Some(0), Some(1)], &[None, Some(0b11)]);
    assert_eq!(appliance.counters()[1].connections_finished, 60);
}

#[test]
fn masks_are_checked() {
    let link = Link::new();
    let mut appliance = Appliance::new(&link, &[Some(0), None], &[Some(1), None]);
    let [first, second] = &mut appliance.stacks[..] else {
        panic!("two cores");
    };
    let both = CoreMask::first(2);
    assert_eq!(second.listen(80, both, 1), Err(ListenError::CoreTaken));
    assert_eq!(
        second.listen(80, CoreMask::EMPTY, 1),
        Err(ListenError::BadMask)
    );
    assert_eq!(
        second.listen(80, CoreMask::first(3), 1),
        Err(ListenError::BadMask)
    );
    assert_eq!(first.listen(0, both, 1), Err(ListenError::Full));
    assert!(second.listen(80, CoreMask::from_bits(2), 1).is_ok());
    for port in 1..net::limits::LISTENERS as u16 {
        assert!(first.listen(port, both, 1).is_ok(), "{port}");
    }
    assert_eq!(first.listen(1000, both, 1), Err(ListenError::Full));
}

#[test]
fn a_full_ring_is_counted_and_the_client_sends_again() {
    let link = Link::new();
    let mut appliance = Appliance::new(&link, &[Some(0), None], &[None, Some(0b11)]);
    let mut client = Client::new(&link);
    client.buffer_bytes = 1024;
    let count = net::limits::handover_frames(2) + 40;
    for _ in 0..count {
        client.connect(80);
    }
    // Only the first core runs: the ring to the second fills.
    let now = Instant::ZERO;
    while client.poll(now) | (appliance.stacks[0].handle_frames(now) > 0) {
        appliance.stacks[0].poll_transmit(now);
    }
    let dropped = appliance.counters()[0].drops(net::counters::DropReason::HandoverFull);
    assert_eq!(dropped, 40);
    assert!(appliance.stacks[1].arm(), "frames wait in its ring");
    appliance.run(&link, &mut client, 3000);
    assert!(appliance.counters()[1].connections_established >= 64);
}

/// Opens connections and returns their sockets.
fn open(
    appliance: &mut Appliance,
    link: &Link,
    client: &mut Client,
    count: usize,
) -> Vec<SocketHandle> {
    let sockets: Vec<_> = (0..count).map(|_| client.connect(80)).collect();
    appliance.run(link, client, 10);
    sockets
}

/// Sends something over each connection and asserts that it comes back.
fn assert_echoed(
    appliance: &mut Appliance,
    link: &Link,
    client: &mut Client,
    sockets: &[SocketHandle],
) {
    // A few at a time: the rings between cores have places for so many frames.
    for sockets in sockets.chunks(20) {
        for (number, socket) in sockets.iter().enumerate() {
            let message = vec![number as u8; 2000];
            assert_eq!(client.send(*socket, &message), 2000, "{number}");
        }
        appliance.run(link, client, 60);
        for (number, socket) in sockets.iter().enumerate() {
            let message = vec![number as u8; 2000];
            assert!(client.receive(*socket) == message, "{number}");
        }
    }
}

fn begun(appliance: &Appliance) -> Vec<u64> {
    let counters = appliance.counters();
    counters.iter().map(|core| core.connections_begun).collect()
}

/// Moves core 1's share to core 0 while connections of both are open.
fn move_a_share(queues: &[Option<usize>]) {
    let link = Link::with(Conditions::PERFECT, 3, queues.iter().flatten().count());
    link.capture(&format!("moved-{queues:?}"));
    let mut appliance = Appliance::new(&link, queues, &[Some(1), Some(2)]);
    let mut client = Client::new(&link);
    client.buffer_bytes = 4096;
    let before = open(&mut appliance, &link, &mut client, 40);
    assert!(begun(&appliance).iter().all(|count| *count >= 8));

    assert_eq!(appliance.change_mask(0, 0b11), Err(ListenError::CoreTaken));
    appliance.close_listener(1);
    assert_eq!(appliance.change_mask(0, 0b11), Ok(()));
    let ones = begun(&appliance)[1];
    assert_echoed(&mut appliance, &link, &mut client, &before);
    let after = open(&mut appliance, &link, &mut client, 40);
    assert_echoed(&mut appliance, &link, &mut client, &after);
    assert_eq!(begun(&appliance)[1], ones, "new flows are core 0's");

    // And back again, all together still in use.
    assert_eq!(appliance.change_mask(0, 0b01), Ok(()));
    assert_eq!(appliance.listen(1, 0b10), Ok(()));
    let last = open(&mut appliance, &link, &mut client, 40);
    assert!(begun(&appliance)[1] >= ones + 8);
    for sockets in [&before, &after, &last] {
        assert_echoed(&mut appliance, &link, &mut client, sockets);
        sockets.iter().for_each(|socket| client.close(*socket));
    }
    appliance.run(&link, &mut client, 100);
    for counters in appliance.counters() {
        assert_eq!((counters.slots_now, counters.established_now), (0, 0));
        assert_eq!((counters.unknown_segments, counters.half_open_lost), (0, 0));
    }
    assert_eq!(begun(&appliance).iter().sum::<u64>(), 120);
}

#[test]
fn connections_stay_where_they_are_when_a_share_moves_over_one_queue() {
    move_a_share(&[Some(0), None]);
}

#[test]
fn connections_stay_where_they_are_when_a_share_moves_over_two_queues() {
    move_a_share(&[Some(0), Some(1)]);
}

#[test]
fn a_core_is_asked_no_more_when_its_moved_flows_are_over() {
    let link = Link::new();
    let mut appliance = Appliance::new(&link, &[Some(0), None], &[Some(1), Some(2)]);
    let mut client = Client::new(&link);
    client.buffer_bytes = 4096;
    let sockets = open(&mut appliance, &link, &mut client, 20);
    appliance.close_listener(1);
    let crossings = |appliance: &Appliance| appliance.counters()[0].handovers_out;
    let first = crossings(&appliance);
    let more = open(&mut appliance, &link, &mut client, 10);
    assert!(crossings(&appliance) > first, "core 1 may have it");
    for socket in sockets.iter().chain(&more) {
        client.socket(*socket).abort();
    }
    // Longer than it takes the core to look again, which it does when it is asked once more.
    appliance.run(&link, &mut client, 1100);
    open(&mut appliance, &link, &mut client, 1);
    let settled = crossings(&appliance);
    let last = open(&mut appliance, &link, &mut client, 10);
    assert_echoed(&mut appliance, &link, &mut client, &last);
    assert_eq!(crossings(&appliance), settled);
}

#[test]
fn a_storm_of_changes_loses_no_connection_and_answers_none_twice() {
    for seed in 0..60 {
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
        let link = Link::with(conditions, seed, queues.iter().flatten().count());
        link.let_wander(300);
        link.capture(&format!("storm-of-changes-{seed}"));
        let mut appliance = Appliance::new(&link, &queues, &[Some(0b001), None, Some(0b110)]);
        let mut client = Client::new(&link);
        client.buffer_bytes = 4096;
        let mut random = Random::new(seed);
        let mut sockets = Vec::new();
        let mut awake = CoreMask::EMPTY;
        let (mut changes, mut masks) = (0, [0b001, 0, 0b110]);
        for step in 0..4000 {
            let now = Instant::from_nanos(step * 10_000);
            link.set_now(now);
            client.poll(now);
            // Cores run in any order, and some fall behind: their rings fill.
            let core = random.below(3) as usize;
            appliance.turn_core(core, now, &mut awake);
            if random.chance(20) && sockets.len() < 60 {
                sockets.push(client.connect(80));
            }
            if random.chance(60) {
                changes += u32::from(change_something(&mut appliance, &mut masks, &mut random));
            }
        }
        appliance.started_ms = 100;
        assert!(changes > 20, "{changes}");
        link.set_conditions(Conditions::PERFECT);
        appliance.run(&link, &mut client, 50);
        assert_echoed(&mut appliance, &link, &mut client, &sockets);
        let counters = appliance.counters();
        let sum = |of: fn(&Counters) -> u64| counters.iter().map(of).sum::<u64>();
        assert_eq!(
            sum(|core| core.connections_established),
            sockets.len() as u64,
            "seed {seed}"
        );
        assert_eq!(
            sum(|core| core.connections_begun),
            sockets.len() as u64,
            "seed {seed}"
        );
        assert_eq!(
            sum(|core| core.half_open_lost + core.unknown_segments),
            0,
            "seed {seed}"
        );
    }
}

/// Changes one listener's mask, and returns whether that was to another and no other core had it.
/// One of the two has some core at every moment.
fn change_something(appliance: &mut Appliance, masks: &mut [u64; 3], random: &mut Random) -> bool {
    let (core, mask) = (2 * random.below(2) as usize, random.below(8));
    if mask == masks[core] || (mask == 0 && masks[2 - core] == 0) {
        return false;
    }
    match appliance.change_mask(core, mask) {
        Ok(()) => masks[core] = mask,
        Err(ListenError::CoreTaken) => return false,
        Err(error) => panic!("{error}"),
    }
    true
}

#[test]
fn a_closed_listener_resets_what_waits_and_leaves_what_was_accepted() {
    let link = Link::new();
    let mut world = World::new(&link);
    let listener = world.listen(80, 8);
    let mut client = Client::new(&link);
    client.buffer_bytes = 1024;
    let sockets: Vec<_> = (0..3).map(|_| client.connect(80)).collect();
    world.run(&mut client, 5);
    let accepted = world.stack.accept(listener).unwrap();
    assert_eq!(accepted.pending, 2);
    assert_eq!(world.stack.close_listener(listener), Ok(()));
    assert_eq!(
        world.stack.close_listener(listener),
        Err(ListenError::Unknown)
    );
    assert!(world.stack.accept(listener).is_none());
    world.run(&mut client, 5);
    let open = sockets
        .iter()
        .filter(|socket| client.socket(**socket).is_active());
    let open: Vec<_> = open.copied().collect();
    assert_eq!(open.len(), 1);
    client.send(open[0], b"still here");
    world.run(&mut client, 5);
    let mut buf = [0; 16];
    assert_eq!(
        world.stack.receive(accepted.connection, &mut buf),
        Ok(Some(10))
    );
    let counters = world.stack.counters();
    assert_eq!((counters.listener_resets, counters.slots_now), (2, 1));
    let late = client.connect(80);
    world.run(&mut client, 5);
    assert!(!client.socket(late).is_active(), "refused");
}

#[test]
fn listeners_come_and_go_without_end() {
    let link = Link::new();
    let mut world = World::new(&link);
    let mut client = Client::new(&link);
    for round in 0..100 {
        // More ports than the table has.
        let port = 80 + round % 50;
        let listener = world.listen(port, 4);
        let cores = CoreMask::first(1);
        assert_eq!(
            world.stack.listen(port, cores, 4),
            Err(ListenError::PortInUse)
        );
        let socket = client.connect(port);
        world.run(&mut client, 5);
        let accepted = world.stack.accept(listener).expect("it listens");
        client.socket(socket).abort();
        world.run(&mut client, 5);
        world.stack.release(accepted.connection).unwrap();
        world.stack.close_listener(listener).unwrap();
        world.run(&mut client, 5);
        client.remove(socket);
    }
    assert_eq!(world.stack.counters().slots_now, 0);
}
