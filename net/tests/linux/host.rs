//! A namespace with a tap, the stack behind it, and Linux before it.

use kernel::Instant;
use net::stack::{ConnectionId, Event};
use net::testing::{CLIENT_ADDRESS, CLIENT_MAC, Conditions, Direction, Link, STACK_ADDRESS, World};
use rustix::net::sockopt::set_tcp_congestion;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use smoltcp::phy::{self, Device, Medium, RxToken, TunTapInterface, TxToken};
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant as Clock};

/// What came of a transfer.
pub(crate) struct Outcome {
    /// Payload of all ways over the time it took.
    pub(crate) kbit_s: u64,
    /// Segments that the stack sent again.
    pub(crate) repeated: u64,
}

const TAP: &str = "tap0";
/// A transfer that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(120);
const WINDOW_BYTES: usize = 128 * 1024;

/// Runs `test` with a tap in a new namespace, where that is allowed.
pub(crate) fn with_tap(test: impl FnOnce(&mut TunTapInterface) + Send) {
    if !is_allowed() {
        let is_ci = std::env::var_os("CI").is_some_and(|ci| ci == "true");
        assert!(!is_ci, "needs root, iproute2 and /dev/net/tun");
        // Past the test runner, which shows no words of tests that pass; without an output there is
        // nobody to be told.
        let _ = writeln!(
            io::stdout(),
            "skipped: needs root, iproute2 and /dev/net/tun"
        );
        return;
    }
    let inside = thread::scope(|scope| {
        let inside = scope.spawn(|| {
            let namespace = Namespace::enter();
            let mut tap = TunTapInterface::new(TAP, Medium::Ethernet).expect("a tap");
            namespace.configure();
            test(&mut tap);
        });
        inside.join()
    });
    if let Err(panic) = inside {
        std::panic::resume_unwind(panic);
    }
}

fn is_allowed() -> bool {
    let tun = File::options().read(true).write(true).open("/dev/net/tun");
    let ip = Command::new("ip").args(["netns", "list"]).output();
    rustix::process::geteuid().is_root()
        && tun.is_ok()
        && ip.is_ok_and(|output| output.status.success())
}

/// A namespace that goes with this value; the thread that made it stays in it.
struct Namespace(String);

impl Namespace {
    fn enter() -> Self {
        let thread = thread::current().id();
        let number: String = format!("{thread:?}")
            .chars()
            .filter(char::is_ascii_digit)
            .collect();
        let name = format!("sluice-n-{}-{number}", std::process::id());
        ip(&["netns", "add", &name]);
        let namespace = Namespace(name);
        let file = File::open(format!("/run/netns/{}", namespace.0)).expect("the namespace");
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).expect("root");
        namespace
    }

    fn configure(&self) {
        let mac = CLIENT_MAC.map(|byte| format!("{byte:02x}")).join(":");
        ip(&["link", "set", TAP, "address", &mac]);
        ip(&["addr", "add", &format!("{CLIENT_ADDRESS}/16"), "dev", TAP]);
        ip(&["link", "set", TAP, "up"]);
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        ip(&["netns", "del", &self.0]);
    }
}

fn ip(words: &[&str]) {
    let status = Command::new("ip").args(words).status().expect("ip");
    assert!(status.success(), "ip {}: {status}", words.join(" "));
}

/// The bytes of a way, `salt` telling the two apart.
fn bytes(count: usize, salt: u32) -> Vec<u8> {
    let byte = |at: u32| ((at ^ salt).wrapping_mul(2_654_435_761) >> 24) as u8;
    (0..count as u32).map(byte).collect()
}

const FROM_STACK: u32 = 1;
const FROM_LINUX: u32 = 2;

/// Linux's side: runs to the end and checks what came.
fn linux(listener: Option<TcpListener>, to_send: usize, to_receive: usize) {
    let stream = match listener {
        Some(listener) => listener.accept().expect("a connection").0,
        None => TcpStream::connect(SocketAddrV4::new(STACK_ADDRESS, 80)).expect("a connection"),
    };
    // The same congestion control as ours, where there is a choice.
    if let Err(error) = set_tcp_congestion(&stream, "cubic") {
        eprintln!("Linux keeps its own congestion control: {error}");
    }
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let mut reader = stream.try_clone().expect("a socket");
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut received = Vec::new();
            reader.read_to_end(&mut received).expect("no reset");
            assert!(
                received == bytes(to_receive, FROM_STACK),
                "other bytes came"
            );
        });
        (&stream)
            .write_all(&bytes(to_send, FROM_LINUX))
            .expect("no reset");
        stream.shutdown(Shutdown::Write).expect("open");
    });
}

/// The stack's side of one transfer.
struct Peer {
    world: World,
    connection: Option<ConnectionId>,
    unsent: Option<Vec<u8>>,
    received: Vec<u8>,
    is_finished: bool,
    is_over: bool,
}

impl Peer {
    fn act(&mut self) {
        for event in self.world.take_events() {
            match event {
                Event::Incoming(listener) => {
                    let accepted = self.world.stack.accept(listener).expect("one waits");
                    self.connection = Some(accepted.connection);
                }
                Event::Closed(_, reason) => {
                    assert_eq!(reason, net::stack::CloseReason::Finished);
                    self.is_over = true;
                }
                _ => {}
            }
        }
        let Some(connection) = self.connection else {
            return;
        };
        let stack = &mut self.world.stack;
        if let Some(unsent) = &self.unsent
            && stack
                .send(connection, unsent)
                .is_ok_and(|sent| sent == unsent.len())
        {
            self.unsent = None;
            stack.shutdown(connection).expect("open");
        }
        let mut buf = [0; 4096];
        while !self.is_finished {
            match stack.receive(connection, &mut buf).expect("no reset") {
                None => break,
                Some(0) => self.is_finished = true,
                Some(count) => self.received.extend_from_slice(&buf[..count]),
            }
        }
    }
}

/// Runs one transfer of so many bytes, seen from Linux; both ways is on a connection that the stack
/// opens.
pub(crate) fn transfer(
    tap: &mut TunTapInterface,
    conditions: Conditions,
    direction: Direction,
    count: usize,
    seed: u64,
) -> Outcome {
    let link = Link::with(conditions, seed, 1);
    link.capture(&format!("linux-{}-{seed}", direction.name()));
    let nic = link.nic(0).with_transmit_frames(1024);
    let mut world = World::with(&link, World::config(4, WINDOW_BYTES), nic);
    world.listen(80, 4);
    let (up, down) = direction.bytes(count);
    let listener = (direction == Direction::Both).then(|| {
        let address = SocketAddrV4::new(CLIENT_ADDRESS, 0);
        TcpListener::bind(address).expect("a free port")
    });
    let opened = listener.as_ref().map(|listener| {
        let port = listener.local_addr().expect("bound").port();
        let remote = SocketAddrV4::new(CLIENT_ADDRESS, port);
        world.stack.connect(remote, world.now).expect("a free slot")
    });
    let mut peer = Peer {
        world,
        connection: opened,
        unsent: None,
        received: Vec::new(),
        is_finished: false,
        is_over: false,
    };
    let mut to_send = Some(bytes(down, FROM_STACK));
    let begun = Clock::now();
    let other = thread::spawn(move || linux(listener, up, down));
    while !(peer.is_over && other.is_finished()) {
        let passed = begun.elapsed();
        assert!(passed < PATIENCE, "stalled: {conditions:?} {direction:?}");
        pump(tap, &link, &mut peer, passed);
        let stack = &peer.world.stack;
        if peer.connection.is_some() && stack.counters().connections_established > 0 {
            peer.unsent = peer.unsent.take().or_else(|| to_send.take());
        }
    }
    let took = begun.elapsed();
    other.join().expect("Linux has what was sent");
    assert!(
        peer.received == bytes(up, FROM_LINUX),
        "other bytes: {conditions:?} {direction:?}"
    );
    Outcome {
        kbit_s: (up + down) as u64 * 8 / (took.as_millis() as u64).max(1),
        repeated: peer.world.stack.counters().tx_segments_repeated,
    }
}

/// Carries frames between tap and link, lets the stack and its peer do what there is to do, and waits
/// for what comes next.
fn pump(tap: &mut TunTapInterface, link: &Link, peer: &mut Peer, passed: Duration) {
    let now = Instant::from_nanos(passed.as_nanos() as u64);
    let port = link.client_port();
    link.set_now(now);
    peer.world.now = now;
    let never = smoltcp::time::Instant::ZERO;
    while let Some((frame, _)) = tap.receive(never) {
        frame.consume(|frame| port.send(frame));
    }
    loop {
        let is_busy = peer.world.turn();
        peer.act();
        peer.world.stack.poll_transmit(now);
        if !is_busy {
            break;
        }
    }
    while let Some(frame) = port.receive() {
        if let Some(token) = tap.transmit(never) {
            token.consume(frame.len(), |out| out.copy_from_slice(&frame));
        }
        port.recycle(frame);
    }
    let next = [peer.world.stack.next_deadline(), link.next_arrival()];
    let next = next.into_iter().flatten().min();
    let wait = next.map_or(10_000, |next| next.saturating_since(now).as_micros() as u64);
    let wait = smoltcp::time::Duration::from_micros(wait.min(10_000));
    phy::wait(tap.as_raw_fd(), Some(wait)).expect("a tap");
}
