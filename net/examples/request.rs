//! What one 64-byte request and response on a persistent connection costs in the stack, to be
//! counted in instructions:
//!
//! ```text
//! cargo build --profile image -p net --example request
//! valgrind --tool=callgrind --toggle-collect='*serve_one*' target/image/examples/request 1 10000
//! ```
//!
//! The arguments are connections and requests. The instructions counted, divided by the requests,
//! are the cost: frames in, receive, send, frames out, over a queue pair that does nothing.

use kernel::{CoreMask, Instant};
use net::fabric::fabric;
use net::nic::{Nic, NicCounters, NicInfo, RxMeta, TxMeta};
use net::stack::{ConnectionId, Event, ListenerId};
use net::testing::frames::{ACK, SYN, Tcp};
use net::testing::{STACK_ADDRESS, STACK_MAC, World};
use net::{Address, AddressConfig, Stack};
use std::cell::RefCell;
use std::rc::Rc;

/// A queue pair of one frame each way.
#[derive(Clone, Default)]
struct OneFrame(Rc<RefCell<Slots>>);

#[derive(Default)]
struct Slots {
    received: Option<Vec<u8>>,
    sent: Vec<u8>,
}

impl Nic for OneFrame {
    type Frame = Vec<u8>;

    fn info(&self) -> NicInfo {
        NicInfo {
            mac: STACK_MAC,
            mtu: 1500,
            tx_checksum: true,
            tso4_max_bytes: 65_550,
        }
    }

    fn receive(&mut self) -> Option<(Vec<u8>, RxMeta)> {
        let meta = RxMeta {
            checksum_valid: true,
        };
        Some((self.0.borrow_mut().received.take()?, meta))
    }

    fn recycle(&mut self, _: Vec<u8>) {}

    fn can_transmit(&mut self) -> bool {
        true
    }

    fn transmit<R, F>(&mut self, len: usize, fill: F) -> Result<R, F>
    where
        F: FnOnce(&mut [u8]) -> (R, TxMeta),
    {
        let sent = &mut self.0.borrow_mut().sent;
        sent.resize(len, 0);
        Ok(fill(sent).0)
    }

    fn flush(&mut self) {}

    fn arm(&mut self) -> bool {
        false
    }

    fn disarm(&mut self) {}

    fn counters(&self) -> NicCounters {
        NicCounters::default()
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default| match arguments.next() {
        Some(text) => text.parse().expect("a number"),
        None => default,
    };
    let (connections, requests): (usize, usize) = (number(1), number(10_000));
    let wire = OneFrame::default();
    let port = fabric(&[true], [7; 16]).remove(0);
    let config = World::config(connections + 1, 4096);
    let mut stack = Stack::new(config, Some(wire.clone()), port, Instant::ZERO);
    let address = AddressConfig::Static(Address {
        address: STACK_ADDRESS,
        prefix: 16,
        gateway: None,
    });
    stack.configure_address(address, Instant::ZERO);
    let listener = stack
        .listen(80, CoreMask::first(1), connections)
        .expect("free");
    let mut peers: Vec<Tcp> = (0..connections)
        .map(|number| shake_hands(&mut stack, &wire, listener, number as u16 + 1024))
        .collect();
    for number in 0..requests {
        let segment = &mut peers[number % connections];
        wire.0.borrow_mut().received = Some(segment.frame());
        serve_one(&mut stack, Instant::from_nanos(number as u64 * 20_000));
        segment.acknowledged = next_sequence(&wire).wrapping_add(64);
        segment.sequence = segment.sequence.wrapping_add(64);
    }
    println!("{requests} requests on {connections} connections");
}

/// Opens a connection and returns its first request.
fn shake_hands(
    stack: &mut Stack<OneFrame>,
    wire: &OneFrame,
    listener: ListenerId,
    port: u16,
) -> Tcp {
    let mut take = |segment: &Tcp| {
        wire.0.borrow_mut().received = Some(segment.frame());
        stack.handle_frames(Instant::ZERO);
        stack.poll_transmit(Instant::ZERO);
    };
    take(&Tcp::new(port, SYN, 1000, 0));
    let ack = Tcp::new(port, ACK, 1001, next_sequence(wire).wrapping_add(1));
    take(&ack);
    stack.accept(listener).expect("established");
    ack.with_payload(&[b'q'; 64])
}

/// The sequence number of the frame that was sent last.
fn next_sequence(wire: &OneFrame) -> u32 {
    let sent = &wire.0.borrow().sent;
    u32::from_be_bytes([sent[38], sent[39], sent[40], sent[41]])
}

/// One turn of a core that answers each request with 64 bytes.
#[inline(never)]
fn serve_one(stack: &mut Stack<OneFrame>, now: Instant) {
    stack.handle_frames(now);
    stack.handle_timers(now);
    while let Some(event) = stack.poll_event() {
        if let Event::Readable(connection) = event {
            respond(stack, connection);
        }
    }
    stack.poll_transmit(now);
}

fn respond(stack: &mut Stack<OneFrame>, connection: ConnectionId) {
    let mut buf = [0; 256];
    if let Ok(Some(1..)) = stack.receive(connection, &mut buf) {
        stack.send(connection, &[b'r'; 64]).expect("open");
    }
}
