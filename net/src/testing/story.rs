//! Any bytes as what happens to a stack: frames of every kind, segments of a connection that is open,
//! time, and what the layer above does. For the fuzz target `frames`, and for its corpus, which is
//! played again in the tests.
//!
//! Bytes are steps, each of a kind, a length and so many bytes; what is missing at the end is left
//! out.

use super::frames::{ACK, SYN, Tcp, ipv4, packet, seal_icmpv6, seal_tcp};
use super::{CLIENT_ADDRESS, CLIENT_ADDRESS_V6, CLIENT_MAC, Datagram, Link, World, seal};
use super::{STACK_ADDRESS, STACK_ADDRESS_V6, STACK_MAC};
use crate::address::AddressConfig;
use crate::ipv6;
use crate::stack::{ConnectionId, StackConfig};
use alloc::vec::Vec;
use core::net::Ipv6Addr;
use core::time::Duration;
use kernel::Instant;

/// Steps of one story at most.
const STEPS: usize = 200;
/// Connections of the stack.
const CONNECTIONS: usize = 8;
/// Receive memory is small, so that it is soon full, and because it is never freed.
const WINDOW_BYTES: usize = 1024;
const CHUNKS: usize = 24;
const CHUNK_BYTES: usize = 128;

/// Plays a story.
///
/// # Panics
/// When the stack does, or when it has kept something when all is over.
pub fn play(bytes: &[u8]) {
    let mut story = Story::new();
    let mut rest = bytes;
    for _ in 0..STEPS {
        let [kind, length, more @ ..] = rest else {
            break;
        };
        let (step, more) = more.split_at(usize::from(*length).min(more.len()));
        story.step(*kind, step);
        rest = more;
    }
    story.end();
}

struct Story {
    link: Link,
    world: World,
    /// The next segment of the connection that is open.
    next: Tcp,
    owned: Vec<ConnectionId>,
}

impl Story {
    fn new() -> Self {
        let link = Link::new();
        let config = StackConfig {
            chunks: CHUNKS,
            chunk_bytes: CHUNK_BYTES,
            ..World::config(CONNECTIONS, WINDOW_BYTES)
        };
        let mut world = World::with(&link, config, link.nic(0));
        world.listen(80, 4);
        // What routers say is to be followed, too.
        let fixed = AddressConfig::fixed(STACK_ADDRESS, 16).and(STACK_ADDRESS_V6, 64);
        let slaac = true;
        world
            .stack
            .configure_address(&AddressConfig { slaac, ..fixed }, world.now);
        let mut story = Story {
            link,
            world,
            next: Tcp::new(1000, SYN, 0, 0),
            owned: Vec::new(),
        };
        story.send(&story.next.frame());
        story.next.flags = ACK;
        story.next.sequence = 1;
        story.send(&story.next.frame());
        story
    }

    /// Sends a frame to the stack, and learns what the stack says on the connection.
    fn send(&mut self, frame: &[u8]) {
        let port = self.link.client_port();
        port.send(frame);
        self.world.turn();
        self.world.take_events();
        while let Some(frame) = port.receive() {
            let reply = Tcp::parse(&frame).filter(|reply| reply.client_port == 1000);
            if let Some(reply) = reply {
                let controls = reply.flags & 3 != 0;
                let taken = reply.payload.len() as u32 + u32::from(controls);
                self.next.acknowledged = reply.sequence.wrapping_add(taken);
            }
            port.recycle(frame);
        }
    }

    fn step(&mut self, kind: u8, bytes: &[u8]) {
        let byte = |at: usize| bytes.get(at).copied().unwrap_or(0);
        match kind % 8 {
            0 => self.send(bytes),
            1 => {
                let mut frame = bytes.to_vec();
                for (place, value) in frame.iter_mut().zip(STACK_MAC) {
                    *place = value;
                }
                seal(&mut frame);
                self.send(&frame);
            }
            2 | 3 => self.segment(kind % 8 == 3, bytes),
            4 if kind > 127 => self.packet_v6(bytes),
            4 if kind > 63 => self.fragment(bytes),
            4 => {
                let protocol = [1, 6, 17, byte(0)][usize::from(byte(0) % 4)];
                let payload = bytes.get(1..).unwrap_or_default();
                let mut frame = ipv4(protocol, CLIENT_ADDRESS, STACK_ADDRESS, payload);
                seal(&mut frame);
                self.send(&frame);
            }
            5 => {
                let mut frame: Vec<u8> = [STACK_MAC, CLIENT_MAC].concat();
                frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0]);
                frame.extend(bytes);
                self.send(&frame);
            }
            6 if kind > 191 => {
                // From now on the device has buffers of this size: longer frames lie in several.
                let nic = self.world.stack.output.nic.as_mut();
                nic.expect("a queue pair")
                    .set_buffers(usize::from(byte(0)) << (byte(1) % 4));
            }
            6 => {
                let ms = u64::from(byte(0)) << (byte(1) % 12);
                self.world.now = self.world.now + Duration::from_millis(ms);
                self.link.set_now(self.world.now);
                self.send(&[]);
            }
            _ => self.act(byte(0), byte(1)),
        }
    }

    /// An IPv6 packet from and to whom it is of interest, its checksum good: neighbour discovery, what
    /// routers say, segments, extension headers.
    fn packet_v6(&mut self, bytes: &[u8]) {
        let byte = |at: usize| bytes.get(at).copied().unwrap_or(0);
        let router = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x77);
        let nobody = Ipv6Addr::UNSPECIFIED;
        let from = [CLIENT_ADDRESS_V6, router, nobody, STACK_ADDRESS_V6][usize::from(byte(1) % 4)];
        let group = ipv6::solicited_node(STACK_ADDRESS_V6);
        let to = [STACK_ADDRESS_V6, group, ipv6::ALL_NODES][usize::from(byte(1) / 4 % 3)];
        let protocol = [58, 58, 58, 6, 0, 60, 44, byte(0)][usize::from(byte(0) % 8)];
        let mut payload = bytes.get(2..).unwrap_or_default().to_vec();
        match protocol {
            58 if payload.len() >= 4 => seal_icmpv6(&mut payload, from, to),
            6 if payload.len() >= 20 => seal_tcp(&mut payload, from, to),
            _ => {}
        }
        let mut frame = packet(protocol, from, to, &payload);
        // Mostly as neighbour discovery has it, or listener discovery.
        frame[21] = match byte(1) {
            0xf0..0xf8 => 64,
            0xf8.. => 1,
            _ => 255,
        };
        self.send(&frame);
    }

    /// A fragment of one of few datagrams: family, more to come, which datagram, what it carries; where
    /// it belongs, near or far; and its bytes.
    fn fragment(&mut self, bytes: &[u8]) {
        let byte = |at: usize| bytes.get(at).copied().unwrap_or(0);
        let head = byte(0);
        let is_ipv4 = head & 1 == 0;
        let (from, to) = match is_ipv4 {
            true => (CLIENT_ADDRESS.into(), STACK_ADDRESS.into()),
            false => (CLIENT_ADDRESS_V6.into(), STACK_ADDRESS_V6.into()),
        };
        let protocol = match (head >> 4 & 3, is_ipv4) {
            (0 | 1, true) => 1,
            (0 | 1, false) => 58,
            (2, _) => 6,
            _ => [17, 60, 44, 0][usize::from(head >> 6)],
        };
        let datagram = Datagram {
            from,
            to,
            protocol,
            identification: (head >> 2 & 3).into(),
            payload: Vec::new(),
        };
        let unit = if byte(1) > 0xf0 { 4096 } else { 8 };
        let offset = (usize::from(byte(1)) * unit) & 0xfff8;
        let bytes = bytes.get(2..).unwrap_or_default();
        self.send(&datagram.fragment(offset, head & 2 != 0, bytes));
    }

    /// A segment of the connection: flags, how far its numbers are off, window, options, payload.
    fn segment(&mut self, moves_on: bool, bytes: &[u8]) {
        let byte = |at: usize| bytes.get(at).copied().unwrap_or(0);
        let off = |at: usize| i32::from(byte(at) as i8) << (byte(5) % 16);
        let mut segment = self.next.clone();
        segment.flags = ACK ^ byte(0);
        segment.sequence = segment.sequence.wrapping_add_signed(off(1));
        segment.acknowledged = segment.acknowledged.wrapping_add_signed(off(2));
        let rest = bytes.get(6..).unwrap_or_default();
        let options = &rest[..(usize::from(byte(4) % 11) * 4).min(rest.len()) / 4 * 4];
        segment.payload = rest[options.len()..].repeat(1 + usize::from(byte(4) >> 6));
        let mut frame = segment.frame();
        frame[48] ^= byte(3);
        frame.splice(54..54, options.iter().copied());
        frame[46] = ((5 + options.len() / 4) as u8) << 4;
        let [high, low] = (frame.len() as u16 - 14).to_be_bytes();
        (frame[16], frame[17]) = (high, low);
        seal(&mut frame);
        if moves_on {
            let bytes = segment.payload.len() as u32;
            self.next.sequence = segment.sequence.wrapping_add(bytes);
        }
        self.send(&frame);
    }

    /// What the layer above does.
    fn act(&mut self, what: u8, with: u8) {
        let stack = &mut self.world.stack;
        if what.is_multiple_of(8) {
            self.owned.extend(accept(&mut self.world));
        } else if !self.owned.is_empty() {
            let number = usize::from(with) % self.owned.len();
            let connection = self.owned[number];
            let mut buf = [0; 700];
            match what % 8 {
                1 | 2 => drop(stack.receive(connection, &mut buf)),
                3 | 4 => drop(stack.send(connection, &buf[..usize::from(with)])),
                5 => drop(stack.shutdown(connection)),
                6 => drop(stack.abort(connection)),
                _ => {
                    stack.release(connection).expect("owned");
                    self.owned.swap_remove(number);
                }
            }
        }
        self.send(&[]);
    }

    /// Gives everything back and lets time pass: nothing may be left.
    fn end(mut self) {
        while let Some(connection) = accept(&mut self.world) {
            self.owned.push(connection);
        }
        for connection in self.owned.drain(..) {
            self.world.stack.release(connection).expect("owned");
        }
        for _ in 0..600 {
            let soon = self.world.now + Duration::from_secs(1);
            let next = self.world.stack.next_deadline().unwrap_or(Instant::ZERO);
            self.world.now = next.max(soon);
            self.world.turn();
            while self.link.client_port().receive().is_some() {}
        }
        let counters = self.world.stack.counters();
        let slots = (counters.slots_now, counters.half_open_now);
        assert_eq!(slots, (0, 0), "{counters:?}");
        assert_eq!(counters.reassemblies_now, 0);
        assert_eq!(counters.free_chunks_now, CHUNKS as u64);
    }
}

fn accept(world: &mut World) -> Option<ConnectionId> {
    let listener = world.stack.listeners.at_port(80)?;
    let id = world.stack.listeners.id(listener);
    Some(world.stack.accept(id)?.connection)
}
