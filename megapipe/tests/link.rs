//! Channels over the real stack and an in-memory link: the paper's ping-pong server, a peer that
//! does not read, a bad link, and many connections through one channel.
#![forbid(unsafe_code)]

mod support;

use net::testing::{Conditions, Link};
use std::time::Duration;
use support::{PORT, PingPong, Rig, Sender, WRITE_BYTES};

#[test]
fn ping_pong_answers_every_client_in_its_own_words() {
    let mut rig = Rig::new(Link::new(), 128, 4096, PingPong::new(128));
    let sockets: Vec<_> = (0..50).map(|_| rig.client.connect(PORT)).collect();
    rig.settle();
    for round in 0..20 {
        for (number, socket) in sockets.iter().enumerate() {
            rig.client
                .send(*socket, format!("ping {round} of {number}").as_bytes());
        }
        rig.settle();
        for (number, socket) in sockets.iter().enumerate() {
            let expected = format!("ping {round} of {number}").into_bytes();
            assert_eq!(rig.client.receive(*socket), expected);
        }
    }
    assert_eq!(rig.core.channel().in_use().handles, 50);
    let counters = rig.core.channel().counters();
    assert_eq!((counters.accepted, counters.registered), (50, 50));
    assert!(counters.flushes < counters.commands / 8, "{counters:?}");
    for socket in &sockets {
        rig.client.close(*socket);
    }
    rig.run(1000);
    rig.assert_idle();
    assert_eq!(rig.core.stack().counters().slots_now, 0);
}

#[test]
fn a_client_that_resets_is_told_and_leaves_nothing() {
    let mut rig = Rig::new(Link::new(), 128, 4096, PingPong::new(128));
    for _ in 0..3 {
        let sockets: Vec<_> = (0..50).map(|_| rig.client.connect(PORT)).collect();
        rig.settle();
        for socket in &sockets {
            rig.client.send(*socket, b"ping");
            rig.client.socket(*socket).abort();
        }
        rig.run(1000);
        rig.assert_idle();
        assert_eq!(rig.core.stack().counters().slots_now, 0);
    }
    assert_eq!(rig.core.channel().counters().unregistered, 150);
}

fn body(bytes: usize) -> &'static [u8] {
    let body: Vec<u8> = (0..bytes).map(|index| (index * 7 / 3) as u8).collect();
    body.leak()
}

#[test]
fn a_write_waits_for_a_peer_that_does_not_read() {
    let body = body(1 << 20);
    let mut rig = Rig::new(Link::new(), 4, 8192, Sender::new(4, body));
    rig.client.buffer_bytes = 4096;
    let socket = rig.client.connect(PORT);
    rig.run(10_000);
    // The send queue has as many pieces as it takes; the next write waits.
    let taken = net::limits::SEND_PIECES / 2;
    assert_eq!(rig.core.channel().in_use().writes, 1);
    assert_eq!(rig.core.application().written, taken);
    let mut received = Vec::new();
    while received.len() < body.len() {
        let before = received.len();
        received.extend(rig.client.receive(socket));
        rig.run(200);
        assert!(
            received.len() > before || rig.client.socket(socket).can_recv(),
            "stalled"
        );
    }
    assert_eq!(received, body);
    assert_eq!(
        rig.core.application().written,
        body.len().div_ceil(WRITE_BYTES)
    );
    rig.client.close(socket);
    rig.run(1000);
    rig.assert_idle();
}

#[test]
fn a_bad_link_loses_nothing_and_leaks_nothing() {
    let conditions = Conditions {
        loss: 30,
        duplication: 20,
        reordering: 50,
        corruption: 10,
        delay: Duration::from_millis(2),
    };
    let body = body(100_000);
    for seed in 0..10 {
        let link = Link::with(conditions, seed, 1);
        link.capture(&format!("megapipe-{seed}"));
        let mut rig = Rig::new(link, 8, 8192, Sender::new(8, body));
        let sockets: Vec<_> = (0..4).map(|_| rig.client.connect(PORT)).collect();
        let mut received = vec![Vec::new(); sockets.len()];
        for _ in 0..3000 {
            rig.run(20);
            for (socket, received) in sockets.iter().zip(&mut received) {
                received.extend(rig.client.receive(*socket));
            }
            if received.iter().all(|received| received.len() == body.len()) {
                break;
            }
        }
        for received in &received {
            assert!(
                received == body,
                "{} of {} bytes",
                received.len(),
                body.len()
            );
        }
        for socket in &sockets {
            rig.client.close(*socket);
        }
        rig.run(120_000);
        rig.assert_idle();
    }
}

#[test]
fn ten_thousand_connections_pass_through_one_channel_without_a_leak() {
    const AT_ONCE: usize = 50;
    let mut rig = Rig::new(Link::new(), 128, 2048, PingPong::new(128));
    rig.client.buffer_bytes = 2048;
    let sockets: Vec<_> = (0..AT_ONCE).map(|_| rig.client.connect(PORT)).collect();
    for round in 0..10_000 / AT_ONCE {
        if round > 0 {
            sockets
                .iter()
                .for_each(|socket| rig.client.reconnect(*socket, PORT));
        }
        rig.settle();
        for socket in &sockets {
            assert_eq!(rig.client.send(*socket, b"ping"), 4);
        }
        rig.settle();
        for socket in &sockets {
            assert_eq!(rig.client.receive(*socket), b"ping");
            // Half of them end in order, half with a reset.
            if round % 2 == 0 {
                rig.client.close(*socket);
            } else {
                rig.client.socket(*socket).abort();
            }
        }
        rig.settle();
        // The client holds TIME_WAIT of its own; a socket of ours must be closed to be used again.
        sockets
            .iter()
            .for_each(|socket| rig.client.socket(*socket).abort());
        rig.settle();
    }
    rig.run(1000);
    rig.assert_idle();
    let counters = rig.core.channel().counters();
    assert_eq!((counters.accepted, counters.unregistered), (10_000, 10_000));
    assert_eq!(rig.core.stack().counters().slots_now, 0);
}
