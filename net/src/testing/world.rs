//! A stack and virtual time, for tests that need no more: one core, one queue, a fixed address of each family.

use super::client::Client;
use super::link::Link;
use super::memory_nic::MemoryNic;
use super::{CLIENT_ADDRESS, CLIENT_ADDRESS_V6, CLIENT_MAC, STACK_ADDRESS, STACK_ADDRESS_V6};
use crate::address::AddressConfig;
use crate::fabric::{FabricPort, fabric};
use crate::stack::{Event, ListenerId, Stack, StackConfig};
use crate::tcp::Lent;
use alloc::vec::Vec;
use core::time::Duration;
use kernel::{CoreMask, Instant};

/// Returns when something happens next on a link, at its client or at its stack (whose deadline is
/// `stack`), if that is before `end`: in 10 us at the earliest, so that virtual time goes on.
pub fn next_event(
    link: &Link,
    client: &mut Client,
    stack: Option<Instant>,
    now: Instant,
    end: Instant,
) -> Option<Instant> {
    let deadlines = [stack, client.next_deadline(now), link.next_arrival()];
    let next = deadlines.into_iter().flatten().min()?;
    Some(next.max(now + Duration::from_micros(10))).filter(|next| *next < end)
}

/// Bytes of a chunk of receive memory.
const CHUNK_BYTES: usize = 2048;

/// Makes a stack with the usual addresses, alone in its fabric, that sends from memory of the type
/// `P`.
pub fn stack<P: Lent>(config: StackConfig, nic: MemoryNic) -> Stack<MemoryNic, P> {
    stack_at(config, nic, fabric(&[true], [0x5a; 16]).remove(0))
}

fn stack_at<P: Lent>(config: StackConfig, nic: MemoryNic, port: FabricPort) -> Stack<MemoryNic, P> {
    let is_client = crate::nic::Nic::info(&nic).mac == CLIENT_MAC;
    let mut stack = Stack::new(config, Some(nic), port, Instant::ZERO);
    let (v4, v6) = match is_client {
        true => (CLIENT_ADDRESS, CLIENT_ADDRESS_V6),
        false => (STACK_ADDRESS, STACK_ADDRESS_V6),
    };
    let config = AddressConfig::fixed(v4, 16).and(v6, 64);
    stack.configure_address(&config, Instant::ZERO);
    stack
}

/// Makes the stacks of an appliance of several cores, with the usual IPv4 address: one for each entry
/// of `queues`, which says which queue of the link it has, if any.
pub fn stacks(
    config: &StackConfig,
    link: &Link,
    queues: &[Option<usize>],
) -> Vec<Stack<MemoryNic>> {
    let with_pair: Vec<bool> = queues.iter().map(Option::is_some).collect();
    let ports = fabric(&with_pair, [0x77; 16]).into_iter().zip(queues);
    let mut stacks: Vec<Stack<MemoryNic>> = ports
        .map(|(port, queue)| {
            let nic = queue.map(|queue| link.nic(queue).with_offloads(0));
            Stack::new(config.clone(), nic, port, Instant::ZERO)
        })
        .collect();
    if let Some(first) = stacks.first_mut() {
        let address = AddressConfig::fixed(STACK_ADDRESS, 16);
        first.configure_address(&address, Instant::ZERO);
    }
    stacks
}

/// A stack at the end of a link.
pub struct World {
    /// The stack.
    pub stack: Stack<MemoryNic>,
    /// What the clock says.
    pub now: Instant,
    /// Events the stack has told.
    pub events: Vec<Event>,
    link: Link,
}

impl World {
    /// Makes a stack for 64 connections with windows of 16 KiB.
    pub fn new(link: &Link) -> Self {
        let config = World::config(64, 16_384);
        World::with(link, config, link.nic(0))
    }

    /// Makes a stack with these bounds over this queue pair.
    pub fn with(link: &Link, config: StackConfig, nic: MemoryNic) -> Self {
        let port = fabric(&[true], [0x5a; 16]).remove(0);
        World::at(link, config, nic, port)
    }

    /// Makes a stack in the client's place: what it connects to is the other one.
    pub fn of_client(link: &Link, config: StackConfig) -> Self {
        World::with(link, config, link.client_nic())
    }

    /// Makes a stack in this place of a fabric.
    pub fn at(link: &Link, config: StackConfig, nic: MemoryNic, port: FabricPort) -> Self {
        World {
            stack: stack_at(config, nic, port),
            now: Instant::ZERO,
            events: Vec::new(),
            link: link.clone(),
        }
    }

    /// Returns a configuration with this many connections, windows of so many bytes, and memory
    /// for all of them to be full.
    pub fn config(connections: usize, buffer_bytes: usize) -> StackConfig {
        StackConfig {
            connections,
            window_bytes: buffer_bytes as u32,
            chunks: 8 + connections * (2 + buffer_bytes / CHUNK_BYTES),
            chunk_bytes: CHUNK_BYTES,
            keep_alive: None,
            seed: [7; 32],
        }
    }

    /// Listens on a port.
    ///
    /// # Panics
    /// When the stack refuses.
    pub fn listen(&mut self, port: u16, backlog: usize) -> ListenerId {
        let cores = CoreMask::only(self.stack.port().core());
        self.stack
            .listen(port, cores, backlog)
            .expect("a free port")
    }

    /// Runs one turn of the stack; events are collected. Returns whether anything happened.
    pub fn turn(&mut self) -> bool {
        let frames = self.stack.handle_frames(self.now);
        self.stack.handle_timers(self.now);
        let told = self.events.len();
        while let Some(event) = self.stack.poll_event() {
            self.events.push(event);
        }
        self.stack.poll_transmit(self.now);
        frames > 0 || self.events.len() > told
    }

    /// Runs stack and client until nothing more happens at this moment.
    pub fn settle(&mut self, client: &mut Client) {
        self.link.set_now(self.now);
        loop {
            let client_moved = client.poll(self.now);
            if !self.turn() & !client_moved {
                break;
            }
        }
    }

    /// Runs stack and client for `ms` milliseconds of virtual time, from event to event.
    pub fn run(&mut self, client: &mut Client, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        loop {
            self.settle(client);
            let stack = self.stack.next_deadline();
            match next_event(&self.link, client, stack, self.now, end) {
                Some(next) => self.now = next,
                None => break,
            }
        }
        self.now = end;
        self.settle(client);
    }

    /// Lets so much time pass that the stack has asked all there is to ask about its addresses, and
    /// drops what it has sent.
    pub fn settle_addresses(&mut self) {
        for _ in 0..12 {
            self.now = self.now + Duration::from_secs(1);
            self.link.set_now(self.now);
            self.turn();
        }
        let client = self.link.client_port();
        while let Some(frame) = client.receive() {
            client.recycle(frame);
        }
    }

    /// Takes the events collected so far.
    pub fn take_events(&mut self) -> Vec<Event> {
        core::mem::take(&mut self.events)
    }
}
