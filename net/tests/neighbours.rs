//! Who is at which address, told to several cores: what one has asked for reaches it wherever it comes,
//! and what nobody has asked for stays where it comes.

use kernel::Instant;
use net::fabric::fabric;
use net::testing::{CLIENT_MAC, Link, STACK_ADDRESS, STACK_MAC, World};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

const CORES: usize = 4;

/// Cores with a queue each. ARP comes on the first.
fn cores(link: &Link) -> Vec<World> {
    let ports = fabric(&[true; CORES], [0x3c; 16]);
    let worlds = ports.into_iter().enumerate();
    let mut worlds: Vec<World> = worlds
        .map(|(queue, port)| World::at(link, World::config(16, 4096), link.nic(queue), port))
        .collect();
    turn(&mut worlds, link, Instant::ZERO);
    worlds
}

fn turn(worlds: &mut [World], link: &Link, now: Instant) {
    link.set_now(now);
    for _ in 0..2 {
        for world in worlds.iter_mut() {
            world.now = now;
            world.turn();
        }
    }
}

/// A reply that says that `address` is at the station `mac`.
fn reply(address: Ipv4Addr, mac: [u8; 6]) -> Vec<u8> {
    let mut frame = [STACK_MAC, mac].concat();
    frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 2]);
    frame.extend(mac);
    frame.extend(address.octets());
    frame.extend(STACK_MAC);
    frame.extend(STACK_ADDRESS.octets());
    frame
}

fn crossed(worlds: &[World]) -> u64 {
    let counters = worlds.iter().map(|world| world.stack.counters());
    counters.map(|counters| counters.handovers_in).sum()
}

#[test]
fn answers_that_nobody_asked_for_keep_one_core_busy() {
    let link = Link::with(net::testing::Conditions::PERFECT, 1, CORES);
    let mut worlds = cores(&link);
    let mut now = Instant::ZERO;
    for number in 0..5000_u32 {
        let station = Ipv4Addr::from_bits(0x0a07_0100 + number);
        link.client_port().send(&reply(station, CLIENT_MAC));
        now = now + Duration::from_micros(100);
        turn(&mut worlds, &link, now);
    }
    // Half a second: the first is told to the others, who might have known the station.
    assert_eq!(crossed(&worlds), CORES as u64 - 1);
    let kept: Vec<u64> = worlds
        .iter()
        .map(|world| world.stack.counters().neighbour_news_kept)
        .collect();
    assert_eq!(kept, [4999, 0, 0, 0]);
}

#[test]
fn an_answer_reaches_the_core_that_asked_through_any_flood() {
    let link = Link::with(net::testing::Conditions::PERFECT, 1, CORES);
    let mut worlds = cores(&link);
    let mut now = Instant::ZERO;
    let asked = Ipv4Addr::new(10, 7, 0, 77);
    let station = [2, 0, 0, 0, 0, 0x77];
    // It comes on the first core's queue, and the last one has asked.
    let remote = SocketAddr::from((asked, 80));
    worlds[CORES - 1]
        .stack
        .connect(remote, now)
        .expect("a slot");
    turn(&mut worlds, &link, now);
    let port = link.client_port();
    while port.receive().is_some() {}
    for number in 0..300_u32 {
        let other = Ipv4Addr::from_bits(0x0a07_0200 + number);
        port.send(&reply(other, CLIENT_MAC));
        if number == 200 {
            port.send(&reply(asked, station));
        }
        now = now + Duration::from_micros(100);
        turn(&mut worlds, &link, now);
    }
    let syns: Vec<Vec<u8>> = std::iter::from_fn(|| port.receive()).collect();
    assert_eq!(syns.len(), 1, "sent at once, and not again");
    assert_eq!(syns[0][..6], station);
    // What shares the question's place until it is answered, and the news at the beginning.
    assert!(crossed(&worlds) < 20, "{}", crossed(&worlds));
}

#[test]
fn a_station_that_has_moved_is_known_to_all_cores_soon() {
    let link = Link::with(net::testing::Conditions::PERFECT, 1, CORES);
    let mut worlds = cores(&link);
    let mut now = Instant::ZERO;
    let address = Ipv4Addr::new(10, 7, 0, 77);
    let remote = SocketAddr::from((address, 80));
    let port = link.client_port();
    for station in [11, 12, 13].map(|number| [2, 0, 0, 0, 0, number]) {
        if station[5] == 11 {
            worlds[2].stack.connect(remote, now).expect("a slot");
            turn(&mut worlds, &link, now);
        }
        port.send(&reply(address, station));
        turn(&mut worlds, &link, now);
        while port.receive().is_some() {}
        now = now + Duration::from_millis(100);
        worlds[2].stack.connect(remote, now).expect("a slot");
        turn(&mut worlds, &link, now);
        // Beside what the stack says of its own address.
        let sent = std::iter::from_fn(|| port.receive());
        let mut syns = sent.filter(|frame| frame[12..14] == [8, 0]);
        let syn = syns.next().expect("without asking");
        assert_eq!(syn[..6], station);
        now = now + Duration::from_millis(1000);
    }
}
