//! Several cores over one queue pair, two, and partial masks: every flow reaches its owner, and the
//! owner's answers reach the client.

use kernel::{CoreId, CoreMask, Instant};
use net::counters::Counters;
use net::fabric::fabric;
use net::stack::{ConnectionId, Event, ListenError, ListenerId, Stack};
use net::testing::{Client, Conditions, Link, MemoryNic, STACK_ADDRESS, World};
use net::{Address, AddressConfig};
use std::collections::HashSet;

/// Cores that echo what they receive.
struct Appliance {
    stacks: Vec<Stack<MemoryNic>>,
    listeners: Vec<Option<ListenerId>>,
    /// Connections each core has accepted.
    accepted: Vec<HashSet<ConnectionId>>,
}

impl Appliance {
    /// Makes one core per entry of `queues`: the queue it has, if any. `masks` says what each
    /// core's listener answers, if it has one.
    fn new(link: &Link, queues: &[Option<usize>], masks: &[Option<u64>]) -> Self {
        let with_pair: Vec<bool> = queues.iter().map(Option::is_some).collect();
        let ports = fabric(&with_pair, [0x77; 16]);
        let mut stacks: Vec<Stack<MemoryNic>> = Vec::new();
        for (port, queue) in ports.into_iter().zip(queues) {
            let nic = queue.map(|queue| link.nic(queue).with_offloads(0));
            stacks.push(Stack::new(
                World::config(128, 4096),
                nic,
                port,
                Instant::ZERO,
            ));
        }
        let address = AddressConfig::Static(Address {
            address: STACK_ADDRESS,
            prefix: 16,
            gateway: None,
        });
        stacks[0].configure_address(address, Instant::ZERO);
        let listeners = stacks.iter_mut().zip(masks).map(|(stack, mask)| {
            let mask = CoreMask::from_bits((*mask)?);
            Some(stack.listen(80, mask, 64).expect("disjoint masks"))
        });
        Appliance {
            listeners: listeners.collect(),
            accepted: stacks.iter().map(|_| HashSet::new()).collect(),
            stacks,
        }
    }

    /// Runs one turn on every core; a core that was not woken sleeps, which must lose nothing.
    fn turn(&mut self, now: Instant, awake: &mut CoreMask) -> bool {
        let mut is_busy = false;
        let mut wake = CoreMask::EMPTY;
        for (number, stack) in self.stacks.iter_mut().enumerate() {
            let core = CoreId::new(number).unwrap();
            if !awake.contains(core) && !stack.arm() {
                continue;
            }
            stack.disarm();
            is_busy |= stack.handle_frames(now) > 0;
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
            wake = wake.or(stack.poll_transmit(now));
        }
        *awake = wake;
        is_busy || !wake.is_empty()
    }

    fn run(&mut self, link: &Link, client: &mut Client, ms: u64) {
        let mut awake = CoreMask::first(self.stacks.len());
        for tick in 0..ms {
            let now = Instant::from_nanos(client_time(tick));
            link.set_now(now);
            while client.poll(now) | self.turn(now, &mut awake) {}
        }
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
