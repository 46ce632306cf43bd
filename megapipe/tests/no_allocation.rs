//! After start-up a core allocates nothing: counted over 10,000 requests and over new connections.
#![forbid(unsafe_code)]

mod support;

use net::testing::{Link, SocketHandle};
use support::{PORT, PingPong, Rig};

/// Runs core and client until nothing happens; returns what the core allocated meanwhile.
fn settle_counting(rig: &mut Rig<PingPong>) -> u64 {
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
fn exchange(rig: &mut Rig<PingPong>, sockets: &[SocketHandle]) -> u64 {
    for socket in sockets {
        rig.client.send(*socket, &[b'x'; 64]);
    }
    let allocations = settle_counting(rig);
    for socket in sockets {
        assert_eq!(rig.client.receive(*socket).len(), 64);
    }
    allocations
}

#[test]
fn a_warm_core_allocates_nothing() {
    let counted = allocation_counter::measure(|| drop(std::hint::black_box(vec![1])));
    assert_eq!(counted.count_total, 1, "the counter counts");
    let mut rig = Rig::new(Link::new(), 128, 4096, PingPong::new(128));
    let mut sockets: Vec<_> = (0..50).map(|_| rig.client.connect(PORT)).collect();
    rig.settle();
    // The link's own queues grow to their size first.
    for _ in 0..10 {
        exchange(&mut rig, &sockets);
    }
    let mut allocations = 0;
    for _ in 0..10_000 / 50 {
        allocations += exchange(&mut rig, &sockets);
    }
    assert_eq!(allocations, 0, "over 10,000 requests");

    // Connections that come and go allocate nothing either.
    for _ in 0..20 {
        let socket = sockets.remove(0);
        rig.client.socket(socket).abort();
        sockets.push(rig.client.connect(PORT));
        allocations += settle_counting(&mut rig);
        allocations += exchange(&mut rig, &sockets);
    }
    assert_eq!(allocations, 0, "over 20 new connections");
}
