//! The proxy over a link in memory: half-closes, back-pressure, backends that break, do not answer or
//! are not there, whose turn it is, and what is left of sessions.
#![forbid(unsafe_code)]

mod support;

use net::testing::{CLIENT_ADDRESS, SocketHandle, State};
use std::net::{Ipv4Addr, SocketAddr};
use support::{BUFFER_BYTES, Rig, Session, WINDOW_BYTES};

const CONNECTIONS: usize = 64;
const NAMES: [u8; 3] = *b"abc";

/// Where nobody is: not even the neighbour's address is answered.
fn nowhere() -> SocketAddr {
    let [a, b, c, _] = CLIENT_ADDRESS.octets();
    (Ipv4Addr::new(a, b, c, 250), 8000).into()
}

fn message(number: usize, bytes: usize) -> Vec<u8> {
    (0..bytes).map(|place| (place * 7 + number) as u8).collect()
}

#[test]
fn what_comes_on_one_side_goes_out_on_the_other_until_both_have_finished() {
    let mut rig = Rig::new(CONNECTIONS, b"a", &[]);
    // The client finishes first, and the backend has more to say.
    let Session {
        client, backend, ..
    } = rig.open();
    for number in 0..10 {
        rig.pass(client, backend, &message(number, 1 + number * 300));
        rig.pass(backend, client, &message(number, 3000 - number * 300));
    }
    rig.client.send(client, b"the end");
    rig.client.close(client);
    rig.run(10);
    assert_eq!(rig.client.receive(backend), b"the end");
    assert_eq!(rig.state(backend), State::CloseWait);
    rig.pass(backend, client, b"more");
    assert_eq!(rig.counter("sessions_now"), 1);
    rig.client.close(backend);
    rig.run(10);
    assert_eq!(rig.state(client), State::TimeWait);
    rig.assert_idle();

    // The backend finishes first, and the client goes on.
    let Session {
        client, backend, ..
    } = rig.open();
    rig.client.send(backend, b"farewell");
    rig.client.close(backend);
    rig.run(10);
    assert_eq!(rig.client.receive(client), b"farewell");
    assert_eq!(rig.state(client), State::CloseWait);
    for number in 0..10 {
        rig.pass(client, backend, &message(number, 3000));
    }
    rig.client.close(client);
    rig.run(10);
    assert_eq!(rig.state(backend), State::TimeWait);
    rig.assert_idle();
    assert_eq!(rig.counter("sessions_broken"), 0);
}

/// Sends from one end to the other, which does not read for a while.
fn stall(rig: &mut Rig, from: SocketHandle, to: SocketHandle) {
    let total = 400_000;
    let data = message(1, total);
    let mut sent = 0;
    for _ in 0..200 {
        sent += rig.client.send(from, &data[sent..]);
        rig.run(10);
    }
    // The buffers of both ends, and of the proxy a window, what is read of it and its send queue.
    assert!(sent <= 2 * BUFFER_BYTES + 6 * WINDOW_BYTES, "{sent}");
    let stalled = sent;
    for _ in 0..100 {
        sent += rig.client.send(from, &data[sent..]);
        rig.run(10);
    }
    assert_eq!(sent, stalled, "it goes on for ever");
    let mut received = Vec::new();
    for _ in 0..3000 {
        sent += rig.client.send(from, &data[sent..]);
        rig.run(5);
        received.extend(rig.client.receive(to));
        if received.len() == total {
            break;
        }
    }
    assert!(received == data, "{} of {total}", received.len());
}

#[test]
fn a_side_that_does_not_read_stops_the_other_and_nothing_is_lost() {
    let mut rig = Rig::new(CONNECTIONS, b"a", &[]);
    let (session, bystander) = (rig.open(), rig.open());
    stall(&mut rig, session.client, session.backend);
    stall(&mut rig, session.backend, session.client);
    rig.pass(
        bystander.client,
        bystander.backend,
        b"nothing of mine stalled",
    );
    assert_eq!(rig.counter("bytes_passed_on"), 800_000 + 23 + 2);
}

#[test]
fn a_side_that_breaks_breaks_the_other_and_nobody_else() {
    let mut rig = Rig::new(CONNECTIONS, b"a", &[]);
    let bystander = rig.open();
    for number in 0..10 {
        let session = rig.open();
        let (breaks, other) = match number % 2 {
            0 => (session.backend, session.client),
            _ => (session.client, session.backend),
        };
        rig.client.send(breaks, b"half of");
        if number % 3 == 0 {
            // In the middle of a half-close.
            rig.client.close(other);
        }
        rig.run(5);
        rig.client.socket(breaks).abort();
        rig.run(5);
        // Reset, not finished: it is over though this side has not finished, or was not answered.
        assert_eq!(rig.state(other), State::Closed, "{number}");
        assert_eq!(rig.counter("sessions_now"), 1);
    }
    assert_eq!(rig.counter("sessions_broken"), 10);
    rig.pass(
        bystander.backend,
        bystander.client,
        b"nothing has happened to me",
    );
}

#[test]
fn a_backend_that_never_answers_costs_its_time_once_and_the_next_one_is_tried() {
    let mut rig = Rig::new(CONNECTIONS, b"b", &[nowhere()]);
    let client = rig.connect();
    rig.run(1_900);
    assert!(rig.client.receive(client).is_empty(), "not yet");
    rig.run(300);
    let session = rig.claim(client);
    rig.pass(session.client, session.backend, b"here I am");
    assert_eq!(rig.counter("backend_connects_failed"), 1);
    assert_eq!(rig.counter("backends_well_now"), 1);
    // It is left out from now on, since its checks fail as well.
    for _ in 0..10 {
        assert_eq!(rig.open().name, b'b');
        rig.run(700);
    }
    assert_eq!(rig.counter("backend_connects_failed"), 1);
    assert!(rig.counter("checks_failed") >= 2);
}

#[test]
fn a_client_that_goes_while_its_backend_is_awaited_leaves_nothing() {
    let mut rig = Rig::new(CONNECTIONS, &[], &[nowhere()]);
    let clients: Vec<SocketHandle> = (0..10).map(|_| rig.connect()).collect();
    assert_eq!(rig.counter("sessions_now"), 10);
    for client in clients {
        rig.client.socket(client).abort();
    }
    rig.run(10);
    rig.assert_idle();
    // The check of the backend is left.
    assert_eq!(rig.core.channel().counters().connects_now, 1);
}

#[test]
fn without_a_backend_a_client_is_let_go_at_once() {
    let mut rig = Rig::new(CONNECTIONS, b"ab", &[nowhere()]);
    rig.backends
        .iter_mut()
        .for_each(|backend| backend.is_up = false);
    rig.run(4_000);
    assert_eq!(rig.counter("backends_well_now"), 0);
    for number in 1..=5 {
        let client = rig.connect();
        assert_eq!(rig.state(client), State::CloseWait, "finished");
        assert_eq!(rig.counter("sessions_refused_no_backend"), number);
        rig.client.close(client);
        rig.run(5);
    }
    rig.assert_idle();
    // One is back: it is found by its next check.
    rig.backends[1].is_up = true;
    rig.run(1_000);
    assert_eq!(rig.open().name, b'b');
}

#[test]
fn a_refused_connect_is_tried_elsewhere_and_every_backend_once_at_most() {
    let mut rig = Rig::new(CONNECTIONS, &NAMES, &[]);
    // Between two checks.
    rig.run(100);
    rig.backends[0].is_up = false;
    rig.backends[1].is_up = false;
    rig.run(5);
    assert_eq!(rig.open().name, b'c', "no client notices");
    assert_eq!(rig.counter("backend_connects_failed"), 2);
    rig.backends[2].is_up = false;
    rig.run(5);
    let client = rig.connect();
    assert_eq!(rig.state(client), State::CloseWait);
    assert_eq!(rig.counter("backend_connects_failed"), 3);
}

#[test]
fn those_that_are_well_take_turns_strictly() {
    let mut rig = Rig::new(CONNECTIONS, &NAMES, &[]);
    let turns =
        |rig: &mut Rig, count: usize| -> Vec<u8> { (0..count).map(|_| rig.open().name).collect() };
    assert_eq!(turns(&mut rig, 9), b"abcabcabc");
    // Whatever becomes of sessions, and however much time passes.
    let session = rig.open();
    rig.client.socket(session.client).abort();
    rig.run(3_000);
    assert_eq!(
        (session.name, &turns(&mut rig, 4)[..]),
        (b'a', &b"bcab"[..])
    );
    rig.backends[0].is_up = false;
    rig.run(1_000);
    assert_eq!(turns(&mut rig, 4), b"cbcb");
    rig.backends[0].is_up = true;
    rig.run(1_000);
    assert_eq!(turns(&mut rig, 3), b"cab");
}

#[test]
fn sessions_are_bounded_and_leave_nothing_behind() {
    let connections = 10;
    let mut rig = Rig::new(connections, b"ab", &[]);
    // What two checks need is set aside.
    let most = (connections - 2) / 2;
    for round in 0..50 {
        let sessions: Vec<Session> = (0..most).map(|_| rig.open()).collect();
        let refused = rig.counter("sessions_refused_full");
        let client = rig.connect();
        assert_eq!(rig.counter("sessions_refused_full"), refused + 1);
        assert_ne!(rig.state(client), State::Established, "let go");
        rig.client.socket(client).abort();
        for (number, session) in sessions.iter().enumerate() {
            rig.pass(session.client, session.backend, &message(round, 500));
            let (first, second) = match (round + number) % 2 {
                0 => (session.client, session.backend),
                _ => (session.backend, session.client),
            };
            match (round + number) % 5 {
                0 => rig.client.socket(first).abort(),
                _ => {
                    rig.client.close(first);
                    rig.run(5);
                    rig.client.close(second);
                }
            }
        }
        rig.run(20);
        rig.assert_idle();
        for session in sessions {
            rig.client.remove(session.client);
            rig.client.remove(session.backend);
        }
        rig.client.remove(client);
    }
    assert_eq!(rig.counter("sessions"), 50 * most as u64);
}

#[test]
fn a_session_on_which_nothing_moves_is_ended_and_one_that_talks_goes_on() {
    let mut rig = Rig::new(CONNECTIONS, b"a", &[]);
    let (silent, talking) = (rig.open(), rig.open());
    for _ in 0..7 {
        rig.run(100_000);
        rig.pass(talking.client, talking.backend, b"still here");
    }
    assert_eq!(rig.counter("sessions_now"), 1);
    assert_eq!(rig.counter("sessions_timed_out"), 1);
    assert_ne!(rig.state(silent.client), State::Established);
    assert_ne!(rig.state(silent.backend), State::Established);
}
