//! One connection's life between a stack and a client, and what the layer above is told of it.

use net::stack::{CloseReason, ConnectionError, ConnectionId, Event, ListenerId};
use net::testing::frames::{ACK, FIN, RST, SYN, Tcp};
use net::testing::{Client, Link, MemoryNic, STACK_ADDRESS, World};
use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp::State;

struct Pair {
    link: Link,
    world: World,
    client: Client,
    listener: ListenerId,
}

fn pair() -> Pair {
    pair_over(|nic| nic)
}

fn pair_over(change: impl Fn(MemoryNic) -> MemoryNic) -> Pair {
    let link = Link::new();
    link.capture("connection");
    let nic = change(link.nic(0));
    let mut world = World::with(&link, World::config(64, 16_384), nic);
    let listener = world.listen(80, 16);
    let client = Client::new(&link);
    Pair {
        link,
        world,
        client,
        listener,
    }
}

impl Pair {
    fn connect(&mut self) -> (SocketHandle, ConnectionId) {
        let socket = self.client.connect(80);
        self.world.run(&mut self.client, 20);
        assert_eq!(self.world.take_events(), [Event::Incoming(self.listener)]);
        let accepted = self.world.stack.accept(self.listener).expect("one waits");
        (socket, accepted.connection)
    }

    fn run(&mut self, ms: u64) -> Vec<Event> {
        self.world.run(&mut self.client, ms);
        self.world.take_events()
    }

    fn counter(&self, name: &str) -> u64 {
        let counters = self.world.stack.counters();
        let found = counters.iter().find(|(other, _)| *other == name);
        found.expect("a counter").1
    }
}

#[test]
fn request_and_response_go_over_a_persistent_connection() {
    let mut pair = pair();
    let (socket, connection) = pair.connect();
    let mut buf = [0; 2048];
    for turn in 0..50 {
        let request = format!("request {turn}");
        pair.client.send(socket, request.as_bytes());
        assert_eq!(pair.run(1), [Event::Readable(connection)]);
        let bytes = pair
            .world
            .stack
            .receive(connection, &mut buf)
            .unwrap()
            .unwrap();
        assert_eq!(&buf[..bytes], request.as_bytes());
        assert_eq!(pair.world.stack.receive(connection, &mut buf), Ok(None));
        let response = format!("response {turn}");
        let sent = pair.world.stack.send(connection, response.as_bytes());
        assert_eq!(sent, Ok(response.len()));
        assert_eq!(pair.run(1), []);
        assert_eq!(pair.client.receive(socket), response.as_bytes());
    }
}

#[test]
fn a_connection_that_the_client_finishes_leaves_nothing() {
    let mut pair = pair();
    let (socket, connection) = pair.connect();
    pair.client.close(socket);
    assert_eq!(pair.run(1), [Event::Readable(connection)]);
    let mut buf = [0; 16];
    assert_eq!(pair.world.stack.receive(connection, &mut buf), Ok(Some(0)));
    assert_eq!(pair.world.stack.send(connection, b"last words"), Ok(10));
    pair.world.stack.shutdown(connection).unwrap();
    assert_eq!(
        pair.run(20),
        [Event::Closed(connection, CloseReason::Finished)]
    );
    assert_eq!(pair.client.receive(socket), b"last words");
    let closed = Err(ConnectionError::Closed);
    assert_eq!(pair.world.stack.send(connection, b"more"), closed);
    assert_eq!(pair.counter("slots_now"), 1);
    pair.world.stack.release(connection).unwrap();
    assert_eq!(pair.counter("slots_now"), 0);
    assert_eq!(pair.counter("established_now"), 0);
    assert_eq!(pair.counter("time_wait_now"), 0);
    let unknown = Err(ConnectionError::Unknown);
    assert_eq!(pair.world.stack.send(connection, b"more"), unknown);
}

#[test]
fn a_connection_that_the_stack_finishes_leaves_a_time_wait_entry_only() {
    let mut pair = pair();
    let (socket, connection) = pair.connect();
    pair.world.stack.send(connection, b"bye").unwrap();
    pair.world.stack.release(connection).unwrap();
    assert_eq!(pair.run(20), []);
    assert_eq!(pair.client.receive(socket), b"bye");
    assert_eq!(pair.client.socket(socket).state(), State::CloseWait);
    assert_eq!(pair.counter("slots_now"), 1);
    pair.client.close(socket);
    pair.run(20);
    assert_eq!(pair.client.socket(socket).state(), State::Closed);
    assert_eq!(pair.counter("slots_now"), 0);
    assert_eq!(pair.counter("time_wait_now"), 1);
    pair.run(30_000);
    assert_eq!(pair.counter("time_wait_now"), 0);
}

#[test]
fn writers_wait_for_room_and_every_byte_arrives() {
    for has_offload in [false, true] {
        let mut pair = pair_over(|nic| match has_offload {
            true => nic.with_offloads(0),
            false => nic,
        });
        let (socket, connection) = pair.connect();
        let data: Vec<u8> = (0..300_000u32).map(|at| (at * 7 / 3) as u8).collect();
        let (mut sent, mut received) = (0, Vec::new());
        while received.len() < data.len() {
            if sent < data.len() {
                sent += pair.world.stack.send(connection, &data[sent..]).unwrap();
            }
            let events = pair.run(1);
            received.extend(pair.client.receive(socket));
            assert!(
                events
                    .iter()
                    .all(|event| *event == Event::Writable(connection))
            );
        }
        assert!(received == data, "offload: {has_offload}");
    }
}

#[test]
fn large_bodies_go_out_in_few_frames_that_the_device_cuts() {
    carry_large_body(Client::new);
}

#[test]
fn large_bodies_over_ipv6_go_out_in_few_frames_that_the_device_cuts() {
    carry_large_body(Client::over_ipv6);
}

#[test]
fn pieces_of_every_size_arrive_whole_when_some_are_sent_from_where_they_are() {
    // Heads that are copied, bodies that are not, and ends of them in one segment.
    let sizes = [
        vec![277, 1100, 277, 1100],
        vec![1100, 200, 1100],
        vec![950, 63_310, 40_000],
        vec![277, 1_048_299, 951_701],
        vec![1024; 8],
        vec![1460, 1460, 3, 1460],
    ];
    for (sizes, offloads) in sizes.iter().flat_map(|sizes| [(sizes, 0), (sizes, 65_549)]) {
        let mut random = net::testing::Random::new(7);
        let pieces: Vec<&'static [u8]> = sizes
            .iter()
            .map(|size| {
                let bytes: Vec<u8> = (0..*size).map(|_| random.below(256) as u8).collect();
                &*bytes.leak()
            })
            .collect();
        carry(Client::new, &pieces, offloads);
        carry(Client::over_ipv6, &pieces, offloads);
    }
}

/// Sends lasting pieces to a client, and checks that they arrive.
fn carry(client: fn(&Link) -> Client, pieces: &[&'static [u8]], offloads: u32) {
    let link = Link::new();
    link.capture("pieces");
    let nic = link.nic(0).with_offloads(offloads);
    let mut stack = net::testing::stack::<&'static [u8]>(World::config(4, 16_384), nic);
    let listener = stack.listen(80, kernel::CoreMask::first(1), 4).unwrap();
    let mut client = client(&link);
    let socket = client.connect(80);
    let expected = pieces.concat();
    let mut next = pieces.iter().copied();
    let (mut now, mut received, mut connection) = (kernel::Instant::ZERO, Vec::new(), None);
    for _ in 0..30_000 {
        now = now + std::time::Duration::from_micros(100);
        link.set_now(now);
        client.poll(now);
        stack.handle_frames(now);
        stack.handle_timers(now);
        if connection.is_none() {
            connection = stack.accept(listener).map(|accepted| accepted.connection);
            if let Some(connection) = connection {
                stack.lend(connection, || next.next()).unwrap();
            }
        }
        stack.poll_transmit(now);
        received.extend(client.receive(socket));
        if received.len() >= expected.len() {
            break;
        }
    }
    let same = received
        .iter()
        .zip(&expected)
        .take_while(|(is, was)| is == was);
    let lengths: Vec<usize> = pieces.iter().map(|piece| piece.len()).collect();
    assert_eq!(
        same.count(),
        expected.len(),
        "{lengths:?}, cut to {offloads}"
    );
    assert_eq!(received.len(), expected.len());
}

fn carry_large_body(client: fn(&Link) -> Client) {
    let link = Link::new();
    link.capture("tso");
    let nic = link.nic(0).with_offloads(65_549);
    let mut stack = net::testing::stack::<&'static [u8]>(World::config(4, 16_384), nic);
    let listener = stack.listen(80, kernel::CoreMask::first(1), 4).unwrap();
    let mut client = client(&link);
    let socket = client.connect(80);
    let body: &'static [u8] = (0..3_000_000u32)
        .map(|at| (at * 7 / 3) as u8)
        .collect::<Vec<_>>()
        .leak();
    let mut pieces = vec![&body[..300], &body[300..2_000_000], &body[2_000_000..]].into_iter();
    let (mut now, mut received, mut connection) = (kernel::Instant::ZERO, Vec::new(), None);
    for _ in 0..20_000 {
        now = now + std::time::Duration::from_micros(100);
        link.set_now(now);
        client.poll(now);
        stack.handle_frames(now);
        stack.handle_timers(now);
        if connection.is_none() {
            connection = stack.accept(listener).map(|accepted| accepted.connection);
            if let Some(connection) = connection {
                let loan = stack.lend(connection, || pieces.next()).unwrap();
                assert_eq!((loan.bytes, loan.has_room), (body.len(), true));
            }
        }
        stack.poll_transmit(now);
        received.extend(client.receive(socket));
        if received.len() == body.len() {
            break;
        }
    }
    assert!(received == body, "{} bytes", received.len());
    let segments = stack.counters().tx_segments;
    assert!(segments < 300, "{segments} frames for 3 MB");
}

#[test]
fn a_reader_that_waits_stops_the_sender_and_lets_it_go_on() {
    let mut pair = pair();
    let (socket, connection) = pair.connect();
    let data: Vec<u8> = (0..100_000u32).map(|at| (at / 5) as u8).collect();
    let mut sent = pair.client.send(socket, &data);
    pair.run(500);
    let (mut received, mut buf) = (Vec::new(), [0; 1000]);
    while received.len() < data.len() {
        match pair.world.stack.receive(connection, &mut buf).unwrap() {
            Some(bytes) => received.extend_from_slice(&buf[..bytes]),
            None => drop(pair.run(50)),
        }
        sent += pair.client.send(socket, &data[sent..]);
    }
    assert!(received == data);
}

#[test]
fn a_reset_by_the_client_is_told_and_what_came_before_can_be_read() {
    let mut pair = pair();
    let (socket, connection) = pair.connect();
    pair.client.send(socket, b"unread");
    pair.run(1);
    pair.client.socket(socket).abort();
    assert_eq!(pair.run(1), [Event::Closed(connection, CloseReason::Reset)]);
    let mut buf = [0; 16];
    assert_eq!(pair.world.stack.receive(connection, &mut buf), Ok(Some(6)));
    let closed = Err(ConnectionError::Closed);
    assert_eq!(pair.world.stack.receive(connection, &mut buf), closed);
    pair.world.stack.release(connection).unwrap();
    assert_eq!(pair.counter("slots_now"), 0);
}

#[test]
fn an_abort_resets_the_client() {
    let mut pair = pair();
    let (socket, connection) = pair.connect();
    pair.world.stack.abort(connection).unwrap();
    assert_eq!(
        pair.run(1),
        [Event::Closed(connection, CloseReason::Aborted)]
    );
    assert_eq!(pair.client.socket(socket).state(), State::Closed);
    assert_eq!(
        pair.world.stack.abort(connection),
        Err(ConnectionError::Closed)
    );
    pair.world.stack.release(connection).unwrap();
    assert_eq!(pair.counter("slots_now"), 0);
}

#[test]
fn releasing_with_unread_bytes_resets_and_so_does_data_after_the_release() {
    let mut pair = pair();
    let (socket, connection) = pair.connect();
    pair.client.send(socket, b"unread");
    pair.run(1);
    pair.world.stack.release(connection).unwrap();
    assert_eq!(pair.run(1), []);
    assert_eq!(pair.client.socket(socket).state(), State::Closed);

    let (socket, connection) = pair.connect();
    pair.world.stack.release(connection).unwrap();
    pair.run(20);
    assert_eq!(pair.client.socket(socket).state(), State::CloseWait);
    pair.client.send(socket, b"too late");
    pair.run(20);
    assert_eq!(pair.client.socket(socket).state(), State::Closed);
    assert_eq!(pair.counter("linger_resets"), 2);
    assert_eq!(pair.counter("slots_now"), 0);
}

#[test]
fn a_released_connection_whose_peer_never_finishes_is_reset_after_the_linger_time() {
    let mut pair = pair();
    let (socket, connection) = pair.connect();
    pair.world.stack.release(connection).unwrap();
    pair.run(29_000);
    assert_eq!(pair.client.socket(socket).state(), State::CloseWait);
    pair.run(2_000);
    assert_eq!(pair.client.socket(socket).state(), State::Closed);
    assert_eq!(pair.counter("slots_now"), 0);
}

#[test]
fn a_silent_peer_is_given_up_only_while_it_owes_an_acknowledgement() {
    let mut pair = pair();
    let (_, connection) = pair.connect();
    pair.run(600_000);
    assert_eq!(pair.world.stack.send(connection, b"hello"), Ok(5));
    // The client is gone from here on.
    let lost = net::testing::Conditions {
        loss: 1000,
        ..net::testing::Conditions::PERFECT
    };
    pair.link.set_conditions(lost);
    assert_eq!(pair.run(59_000), []);
    let events = pair.run(10_000);
    assert_eq!(events, [Event::Closed(connection, CloseReason::TimedOut)]);
    pair.world.stack.release(connection).unwrap();
    assert_eq!(pair.counter("slots_now"), 0);
}

#[test]
fn segments_of_no_connection_are_reset_and_resets_are_not_answered() {
    let mut pair = pair();
    let port = pair.link.client_port();
    let cases = [
        (Tcp::new(1, ACK, 5, 77), Some((RST, 77, 0))),
        (Tcp::new(1, SYN, 5, 0), None),
        (Tcp::new(1, RST, 5, 0), None),
        (Tcp::new(1, FIN | ACK, 5, 9), Some((RST, 9, 0))),
    ];
    for (mut segment, expected) in cases {
        segment.stack_port = 81;
        port.send(&segment.frame());
        pair.world.turn();
        let reply = std::iter::from_fn(|| port.receive()).find_map(|frame| Tcp::parse(&frame));
        let reply = reply.map(|reply| (reply.flags, reply.sequence, reply.acknowledged));
        if segment.flags == SYN {
            assert_eq!(reply, Some((RST | ACK, 0, 6)), "nobody listens");
        } else {
            assert_eq!(reply, expected, "{segment:?}");
        }
    }
}

#[test]
fn a_full_transmit_queue_delays_and_loses_nothing() {
    let mut pair = pair_over(|nic| nic.with_transmit_frames(2));
    let sockets: Vec<_> = (0..8).map(|_| pair.connect()).collect();
    for (_, connection) in &sockets {
        pair.world.stack.send(*connection, &[7; 9000]).unwrap();
    }
    pair.world.turn();
    assert!(pair.world.stack.arm(), "there is more to send");
    pair.run(500);
    for (socket, _) in sockets {
        assert_eq!(pair.client.receive(socket).len(), 9000);
    }
}

#[test]
fn echo_requests_are_answered() {
    let mut pair = pair();
    let port = pair.link.client_port();
    let mut echo = vec![8, 0, 0, 0, 0, 1, 0, 2];
    echo.extend_from_slice(&[42; 56]);
    let sum = !smoltcp::wire::checksum::data(&echo);
    echo[2..4].copy_from_slice(&sum.to_be_bytes());
    let client = net::testing::CLIENT_ADDRESS;
    port.send(&net::testing::frames::ipv4(1, client, STACK_ADDRESS, &echo));
    pair.world.turn();
    let frames: Vec<_> = std::iter::from_fn(|| port.receive()).collect();
    let reply = frames
        .iter()
        .find(|frame| frame[12..14] == [8, 0])
        .expect("a reply");
    assert_eq!((reply[23], reply[34]), (1, 0), "an ICMP echo reply");
    assert_eq!(reply[38..], echo[4..]);
    assert_eq!(pair.counter("icmp_frames"), 1);
}
