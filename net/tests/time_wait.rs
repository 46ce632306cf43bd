//! TIME_WAIT: what it answers, what it lets through, and that sixty thousand connections from one
//! address leave nothing behind.

use net::counters::DropReason;
use net::stack::{Event, ListenerId};
use net::testing::frames::{ACK, FIN, RST, SYN, Tcp};
use net::testing::{ClientPort, Link, World};
use std::time::Duration;

struct Peer {
    world: World,
    listener: ListenerId,
    port: ClientPort,
}

/// The numbers of a connection that has been finished, the stack first.
struct Finished {
    /// The peer's next sequence number.
    ours: u32,
    /// The stack's.
    theirs: u32,
}

impl Peer {
    fn new() -> Self {
        let link = Link::new();
        link.capture("time-wait");
        let mut world = World::with(&link, World::config(1024, 1024), link.nic(0));
        let listener = world.listen(80, 16);
        world.settle_addresses();
        let port = link.client_port();
        Peer {
            world,
            listener,
            port,
        }
    }

    fn exchange(&mut self, segment: &Tcp) -> Vec<Tcp> {
        self.port.send(&segment.frame());
        self.world.turn();
        let frames = std::iter::from_fn(|| {
            let frame = self.port.receive()?;
            let segment = Tcp::parse(&frame);
            self.port.recycle(frame);
            segment
        });
        frames.collect()
    }

    /// Shakes hands from `client_port` with this initial sequence number; the stack finishes
    /// first, with one byte, and the peer after it.
    fn run_connection(&mut self, client_port: u16, initial: u32) -> Finished {
        let syn = Tcp::new(client_port, SYN, initial, 0);
        let replies = self.exchange(&syn);
        assert_eq!(replies.len(), 1, "port {client_port}: {replies:?}");
        assert_eq!(replies[0].flags, SYN | ACK, "port {client_port}");
        let (ours, theirs) = (initial.wrapping_add(1), replies[0].sequence.wrapping_add(1));
        assert_eq!(replies[0].acknowledged, ours);
        self.exchange(&Tcp::new(client_port, ACK, ours, theirs));
        assert_eq!(self.world.take_events(), [Event::Incoming(self.listener)]);
        let stack = &mut self.world.stack;
        let connection = stack.accept(self.listener).expect("one waits").connection;
        stack.send(connection, b"!").unwrap();
        stack.release(connection).unwrap();
        self.world.turn();
        let fin = self
            .port
            .receive()
            .and_then(|frame| Tcp::parse(&frame))
            .expect("a FIN");
        assert_eq!(
            (fin.flags, fin.payload.as_slice()),
            (FIN | ACK, b"!".as_slice())
        );
        let theirs = theirs.wrapping_add(2);
        let replies = self.exchange(&Tcp::new(client_port, FIN | ACK, ours, theirs));
        let ours = ours.wrapping_add(1);
        assert_eq!(replies.len(), 1);
        assert_eq!((replies[0].flags, replies[0].acknowledged), (ACK, ours));
        assert_eq!(replies[0].sequence, theirs);
        Finished { ours, theirs }
    }
}

#[test]
fn a_fin_that_is_sent_again_is_acknowledged_again_and_starts_over() {
    let mut peer = Peer::new();
    let Finished { ours, theirs } = peer.run_connection(5000, 1);
    peer.world.now = peer.world.now + Duration::from_secs(15);
    let replies = peer.exchange(&Tcp::new(5000, FIN | ACK, ours.wrapping_sub(1), theirs));
    assert_eq!(replies.len(), 1);
    let reply = (
        replies[0].flags,
        replies[0].sequence,
        replies[0].acknowledged,
    );
    assert_eq!(reply, (ACK, theirs, ours));
    peer.world.now = peer.world.now + Duration::from_secs(15);
    peer.world.turn();
    assert_eq!(peer.world.stack.counters().time_wait_now, 1);
    peer.world.now = peer.world.now + Duration::from_secs(6);
    peer.world.turn();
    assert_eq!(peer.world.stack.counters().time_wait_now, 0);
}

#[test]
fn a_reset_and_a_plain_ack_are_ignored() {
    let mut peer = Peer::new();
    let Finished { ours, theirs } = peer.run_connection(5000, 1);
    assert_eq!(peer.exchange(&Tcp::new(5000, RST, ours, 0)), []);
    assert_eq!(peer.exchange(&Tcp::new(5000, ACK, ours, theirs)), []);
    let counters = peer.world.stack.counters();
    assert_eq!(counters.drops(DropReason::TimeWaitReset), 1);
    assert_eq!(counters.time_wait_now, 1);
}

#[test]
fn a_syn_beyond_the_old_connection_begins_a_new_one_and_an_old_one_does_not() {
    let mut peer = Peer::new();
    let Finished { ours, theirs } = peer.run_connection(5000, u32::MAX - 1);
    let replies = peer.exchange(&Tcp::new(5000, SYN, ours.wrapping_sub(1), 0));
    assert_eq!(replies.len(), 1);
    let reply = (
        replies[0].flags,
        replies[0].sequence,
        replies[0].acknowledged,
    );
    assert_eq!(reply, (ACK, theirs, ours), "RFC 5961 §4.2");
    peer.run_connection(5000, ours.wrapping_add(1));
    let counters = peer.world.stack.counters();
    assert_eq!((counters.time_wait_reused, counters.time_wait_now), (1, 1));
}

#[test]
fn sixty_thousand_connections_from_one_address_leave_nothing() {
    const PORTS: u32 = 3000;
    let mut peer = Peer::new();
    for number in 0..60_000u32 {
        // As a client's clock-driven generator does, each connection of a port starts higher.
        let round = number / PORTS;
        peer.run_connection((number % PORTS) as u16 + 2000, round * 1000);
        peer.world.now = peer.world.now + Duration::from_micros(50);
    }
    let counters = peer.world.stack.counters();
    assert_eq!(counters.connections_finished, 60_000);
    assert_eq!(
        (
            counters.slots_now,
            counters.established_now,
            counters.half_open_now
        ),
        (0, 0, 0)
    );
    assert!(counters.time_wait_reused > 0, "ports came round");
    let remembered = net::limits::time_wait_entries(1024) as u64;
    assert_eq!(counters.time_wait_now, remembered.min(u64::from(PORTS)));
    peer.world.now = peer.world.now + Duration::from_secs(21);
    peer.world.turn();
    assert_eq!(peer.world.stack.counters().time_wait_now, 0);
}
