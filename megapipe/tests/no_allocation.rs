//! After start-up a core allocates nothing: counted over 100,000 requests and over 100,000 connections.
#![forbid(unsafe_code)]

mod support;

use kernel::{CoreMask, Instant};
use megapipe::{Application, Channel, Completion, Cookie, Handle, IoVec};
use net::testing::{Link, SocketHandle};
use std::time::Duration;
use support::{PORT, PingPong, Rig};

/// Runs core and client until nothing happens; returns what the core allocated meanwhile.
fn settle_counting<A: Application>(rig: &mut Rig<A>) -> u64 {
    let mut allocations = 0;
    loop {
        let client_moved = rig.client.poll(rig.now);
        let mut is_busy = false;
        let counted = allocation_counter::measure(|| is_busy = rig.core.turn(rig.now).is_busy);
        allocations += counted.count_total;
        if !is_busy & !client_moved {
            return allocations;
        }
    }
}

/// Every client sends a request and takes its answer.
fn exchange<A: Application>(rig: &mut Rig<A>, sockets: &[SocketHandle]) -> u64 {
    for socket in sockets {
        rig.client.send(*socket, &[b'x'; 64]);
    }
    let allocations = settle_counting(rig);
    for socket in sockets {
        assert_eq!(rig.client.receive(*socket).len(), 64);
    }
    allocations
}

/// Uses what a channel has beside reads and writes: multishot, receipts, timers.
struct Busy {
    handles: Vec<Option<Handle>>,
    is_listening: bool,
    told: [u64; 2],
}

impl Application for Busy {
    fn run(&mut self, channel: &mut Channel, _: Instant) {
        if !self.is_listening {
            let listener = channel.listen(PORT, Cookie(u64::MAX), CoreMask::first(1));
            channel.accept_multishot(listener.unwrap()).unwrap();
            self.is_listening = true;
        }
        while let Some(completion) = channel.dispatch(None) {
            let index = completion.cookie().0 as usize;
            let handle = self.handles.get(index).copied().flatten();
            match (completion, handle) {
                (Completion::Accept { socket, .. }, _) => {
                    let index = socket.index();
                    let handle = channel.register(socket, Cookie(index as u64));
                    self.handles[index] = Some(handle);
                    let _ = channel.read_multishot(handle);
                }
                (
                    Completion::Read {
                        buffer: Some(buffer),
                        ..
                    },
                    Some(handle),
                ) => {
                    let receipt = channel.receipt(handle).unwrap();
                    let mut pieces = IoVec::from_iter([buffer.into(), receipt]);
                    let _ = channel.writev(handle, &mut pieces);
                    channel.timer(Duration::ZERO, Cookie(index as u64)).unwrap();
                }
                (Completion::Acknowledged { receipts, .. }, _) => self.told[0] += receipts as u64,
                (Completion::Timer { .. }, _) => self.told[1] += 1,
                (Completion::Disconnect { .. }, Some(handle)) => {
                    channel.unregister(handle).unwrap();
                    self.handles[index] = None;
                }
                _ => {}
            }
        }
    }
}

#[test]
fn a_warm_core_allocates_nothing_in_100_000_requests_and_100_000_connections() {
    let counted = allocation_counter::measure(|| drop(std::hint::black_box(vec![1])));
    assert_eq!(counted.count_total, 1, "the counter counts");
    let mut rig = Rig::new(Link::new(), 128, 4096, PingPong::new(128));
    rig.client.buffer_bytes = 1024;
    let sockets: Vec<_> = (0..50).map(|_| rig.client.connect(PORT)).collect();
    rig.settle();
    // The link's own queues grow to their size first.
    for _ in 0..10 {
        exchange(&mut rig, &sockets);
    }
    let mut allocations = 0;
    for _ in 0..100_000 / sockets.len() {
        allocations += exchange(&mut rig, &sockets);
    }
    assert_eq!(allocations, 0, "over 100,000 requests");

    // Connections that come and go, with a request each; half of them end by a reset.
    for round in 0..100_000 / sockets.len() {
        for (number, socket) in sockets.iter().enumerate() {
            if (round + number) % 2 == 0 {
                rig.client.socket(*socket).abort();
            } else {
                rig.client.close(*socket);
            }
        }
        allocations += settle_counting(&mut rig);
        for socket in &sockets {
            rig.client.socket(*socket).abort();
        }
        allocations += settle_counting(&mut rig);
        for socket in &sockets {
            rig.client.reconnect(*socket, PORT);
        }
        allocations += settle_counting(&mut rig);
        allocations += exchange(&mut rig, &sockets);
    }
    assert_eq!(allocations, 0, "over 100,000 connections");
    let accepted = rig.core.channel().counters().accepted;
    assert_eq!(accepted, 100_000 + sockets.len() as u64);
}

#[test]
fn multishot_receipts_and_timers_allocate_nothing_either() {
    let busy = Busy {
        handles: vec![None; 128],
        is_listening: false,
        told: [0; 2],
    };
    let mut rig = Rig::new(Link::new(), 128, 4096, busy);
    let sockets: Vec<_> = (0..10).map(|_| rig.client.connect(PORT)).collect();
    rig.settle();
    // The link has its buffers for what the stack asks about its addresses, too.
    for _ in 0..12 {
        rig.now = rig.now + Duration::from_secs(1);
        rig.settle();
    }
    let mut allocations = 0;
    for round in 0..1_000 {
        let counted = exchange(&mut rig, &sockets);
        allocations += if round < 10 { 0 } else { counted };
        rig.now = rig.now + Duration::from_millis(3);
    }
    settle_counting(&mut rig);
    assert_eq!(allocations, 0);
    assert!(
        rig.core
            .application()
            .told
            .iter()
            .all(|told| *told >= 9_900)
    );
}
