//! Playing a script: the peer by hand, the stack for real.

use crate::script::{Line, Segment, Step, parse, parse_time};
use crate::wire::forget_what_is_not_expected;
use kernel::Instant;
use net::stack::{CloseReason, ConnectionId, Event, ListenerId, StackConfig};
use net::testing::frames::{arp_reply, neighbour_reply};
use net::testing::{CLIENT_ADDRESS, CLIENT_ADDRESS_V6, ClientPort, Link, World};
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Timers may be late by a tick of the wheel.
const TOLERANCE: Duration = Duration::from_micros(2200);
/// The port that is listened on.
const PORT: u16 = 80;

pub(crate) struct Player {
    world: World,
    link: Link,
    port: ClientPort,
    listener: ListenerId,
    /// The peer's address, which chooses the family.
    pub(crate) peer: IpAddr,
    pub(crate) peer_port: u16,
    pub(crate) stack_port: u16,
    /// The stack's first sequence number and timestamp, once it has sent them.
    pub(crate) base: Option<u32>,
    pub(crate) clock: Option<u32>,
    sent: VecDeque<(Instant, Segment)>,
    connection: Option<ConnectionId>,
    /// What the layer above has sent and received.
    sent_bytes: u32,
    received_bytes: u32,
    pub(crate) line: String,
}

/// The byte of a stream at a relative sequence number; the stack's and the peer's differ.
pub(crate) fn byte(at: u32, is_stack: bool) -> u8 {
    (at.wrapping_mul(31) ^ u32::from(is_stack)) as u8
}

/// What an IPv6 header is larger than an IPv4 header: links that carry it take so much more, and the
/// segments of a script are the same.
const MORE_BYTES: u16 = 20;

/// Plays a script, over one of the families.
pub(crate) fn play(name: &str, text: &str, is_over_ipv6: bool) {
    let mut lines = parse(text).into_iter().peekable();
    let mut config = World::config(8, 65_535);
    let (mut mtu, mut backlog) = (1500, 8);
    while let Some(line) = lines.next_if(|line| set(line, &mut config, &mut mtu, &mut backlog)) {
        drop(line);
    }
    let link = Link::new();
    link.capture(&format!("script-{name}"));
    let mut peer = IpAddr::V4(CLIENT_ADDRESS);
    if is_over_ipv6 {
        mtu += MORE_BYTES;
        peer = CLIENT_ADDRESS_V6.into();
    }
    let mut world = World::with(&link, config, link.nic(0).with_mtu(mtu));
    let listener = world.listen(PORT, backlog);
    let mut player = Player {
        port: link.client_port(),
        world,
        link,
        listener,
        peer,
        peer_port: 5000,
        stack_port: PORT,
        base: None,
        clock: None,
        sent: VecDeque::new(),
        connection: None,
        sent_bytes: 0,
        received_bytes: 0,
        line: String::new(),
    };
    player.turn();
    for line in lines {
        player.line = format!("{name}.pkt, line {}", line.number);
        player.step(&line);
    }
    player.line = format!("{name}.pkt, at its end");
    player.is_quiet();
}

/// Takes a line about how the stack is made.
fn set(line: &Line, config: &mut StackConfig, mtu: &mut u16, backlog: &mut usize) -> bool {
    let Step::Command(word, arguments) = &line.step else {
        return false;
    };
    let number = || -> usize { arguments[0].parse().expect("a number") };
    match word.as_str() {
        "mtu" => *mtu = number() as u16,
        "window" => *config = World::config(config.connections, number()),
        "connections" => *config = World::config(number(), config.window_bytes as usize),
        "backlog" => *backlog = number(),
        "keep-alive" => config.keep_alive = Some(parse_time(&arguments[0])),
        _ => return false,
    }
    true
}

impl Player {
    fn step(&mut self, line: &Line) {
        let at = self.world.now + line.after;
        match &line.step {
            Step::Outbound(expected) => return self.expect(expected, at),
            // Several commands act together.
            Step::Command(..) if line.after.is_zero() => {}
            Step::Wait | Step::Inbound(_) | Step::Command(..) => {
                self.is_quiet();
                self.run_to(at, false);
                self.is_quiet();
            }
        }
        match &line.step {
            Step::Inbound(segment) => {
                let frame = self.frame(segment);
                self.port.send(&frame);
                self.turn();
            }
            Step::Command(word, arguments) => self.command(word, arguments),
            Step::Wait | Step::Outbound(_) => {}
        }
    }

    /// Lets the stack do what is to be done now.
    fn turn(&mut self) {
        self.link.set_now(self.world.now);
        loop {
            let is_busy = self.world.turn();
            while let Some(frame) = self.port.receive() {
                if let Some(reply) = arp_reply(&frame).or_else(|| neighbour_reply(&frame)) {
                    self.port.send(&reply);
                } else if let Some(segment) = self.read(&frame) {
                    if std::env::var_os("SLUICE_SCRIPT").is_some() {
                        println!("{:?} {segment:?}", self.world.now);
                    }
                    self.sent.push_back((self.world.now, segment));
                }
                self.port.recycle(frame);
            }
            if !is_busy {
                break;
            }
        }
    }

    /// Runs the stack's timers up to `at`, or until it has sent something.
    fn run_to(&mut self, at: Instant, stops: bool) {
        while self.world.now < at && (!stops || self.sent.is_empty()) {
            let next = self.world.stack.next_deadline().unwrap_or(at);
            let soon = self.world.now + Duration::from_micros(10);
            self.world.now = next.max(soon).min(at);
            self.turn();
        }
    }

    fn is_quiet(&mut self) {
        self.turn();
        let sent = self.sent.front();
        assert!(sent.is_none(), "{}: sent {sent:?}", self.line);
    }

    fn expect(&mut self, expected: &Segment, at: Instant) {
        self.turn();
        self.run_to(at + TOLERANCE, true);
        let Some((sent_at, mut segment)) = self.sent.pop_front() else {
            panic!("{}: nothing sent, not {expected:?}", self.line);
        };
        let early = at.saturating_since(sent_at);
        assert!(
            early <= Duration::from_millis(1),
            "{}: {early:?} early: {segment:?}",
            self.line
        );
        forget_what_is_not_expected(&mut segment, expected);
        assert_eq!(segment, *expected, "{}: sent (left)", self.line);
    }

    fn command(&mut self, word: &str, arguments: &[String]) {
        let at = |index: usize| arguments.get(index).map_or("", String::as_str);
        let number = |index: usize| -> u32 { at(index).parse().expect("a number") };
        let line = self.line.clone();
        match word {
            "port" => self.peer_port = number(0) as u16,
            "again" => {
                (self.base, self.clock, self.connection) = (None, None, None);
                (self.sent_bytes, self.received_bytes) = (0, 0);
            }
            "accept" => {
                self.turn();
                let accepted = self.world.stack.accept(self.listener);
                let accepted = accepted.unwrap_or_else(|| panic!("{line}: nobody waits"));
                self.connection = Some(accepted.connection);
            }
            "connect" => {
                let remote = SocketAddr::new(self.peer, self.peer_port);
                let begun = self.world.stack.connect(remote, self.world.now);
                self.connection = Some(begun.expect("begun"));
            }
            "counter" => {
                let counters = self.world.stack.counters();
                let found = counters.iter().find(|(name, _)| *name == at(0));
                let value = found.unwrap_or_else(|| panic!("{line}: no such counter")).1;
                assert_eq!(value, u64::from(number(1)), "{line}: {}", at(0));
            }
            "connected" => {
                let event = Event::Connected(self.connection());
                assert!(self.world.take_events().contains(&event), "{line}");
            }
            "open" => {
                let events = self.world.take_events();
                let end = events
                    .iter()
                    .find(|event| matches!(event, Event::Closed(..)));
                assert_eq!(end, None, "{line}");
            }
            "closed" => self.expect_end(at(0)),
            "send" => self.send(number(0)),
            "receive" => self.receive(number(0)),
            "finished" => {
                let connection = self.connection();
                let read = self.world.stack.receive(connection, &mut [0; 1]);
                assert_eq!(read, Ok(Some(0)), "{line}");
            }
            "too-big" => self.say_too_big(number(0), number(1)),
            "shutdown" => self.world.stack.shutdown(self.connection()).expect("open"),
            "abort" => self.world.stack.abort(self.connection()).expect("open"),
            "release" => self.world.stack.release(self.connection()).expect("ours"),
            _ => panic!("{line}: {word}"),
        }
    }

    fn connection(&self) -> ConnectionId {
        let connection = self.connection;
        connection.unwrap_or_else(|| panic!("{}: no connection", self.line))
    }

    fn send(&mut self, count: u32) {
        let first = self.sent_bytes + 1;
        let data: Vec<u8> = (first..first + count).map(|at| byte(at, true)).collect();
        let connection = self.connection();
        let sent = self.world.stack.send(connection, &data);
        assert_eq!(sent, Ok(data.len()), "{}", self.line);
        self.sent_bytes += count;
    }

    fn receive(&mut self, count: u32) {
        let connection = self.connection();
        let mut got = vec![0; count as usize];
        let mut filled = 0;
        while filled < got.len() {
            match self.world.stack.receive(connection, &mut got[filled..]) {
                Ok(Some(bytes)) if bytes > 0 => filled += bytes,
                other => panic!("{}: {other:?} after {filled} bytes", self.line),
            }
        }
        for (at, is) in got.into_iter().enumerate() {
            let at = self.received_bytes + 1 + at as u32;
            assert_eq!(is, byte(at, false), "{}: byte {at}", self.line);
        }
        self.received_bytes += count;
    }

    /// A router says that the stack's segment from this number on did not fit, and what does.
    fn say_too_big(&mut self, at: u32, mtu: u32) {
        let frame = self.too_big_frame(
            at,
            mtu + if self.peer.is_ipv6() {
                u32::from(MORE_BYTES)
            } else {
                0
            },
        );
        self.port.send(&frame);
        self.turn();
    }

    fn expect_end(&mut self, reason: &str) {
        let reason = match reason {
            "finished" => CloseReason::Finished,
            "reset" => CloseReason::Reset,
            "timed-out" => CloseReason::TimedOut,
            "aborted" => CloseReason::Aborted,
            other => panic!("{}: {other}", self.line),
        };
        let event = Event::Closed(self.connection(), reason);
        let events = self.world.take_events();
        assert!(events.contains(&event), "{}: {events:?}", self.line);
    }
}
