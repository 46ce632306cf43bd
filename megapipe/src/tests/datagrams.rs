//! Datagrams: bounded, in order, and sent when the stack can.

use super::world::Bench;
use crate::channel::SubmitError;
use crate::limits::{DATAGRAM_BYTES, DATAGRAMS};
use core::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use kernel::{CoreId, CoreMask, Instant};
use std::vec::Vec;

const TO: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 9), 514));

#[test]
fn datagrams_leave_in_order_when_the_stack_has_room_and_the_application_hears_of_it() {
    let mut bench = Bench::small();
    bench.run(|channel| {
        for number in 0..DATAGRAMS as u8 {
            channel.send_datagram(1, TO, &[number]).unwrap();
        }
        let full = channel.send_datagram(1, TO, b"no");
        assert_eq!(full, Err(SubmitError::RingFull));
    });
    assert!(bench.world.datagrams.is_empty(), "no room");
    let now = Instant::ZERO;
    bench.world.datagrams_left = 10;
    bench.channel.collect(now, &mut bench.world);
    assert_eq!(bench.world.datagrams.len(), 10);
    assert!(!bench.channel.wants_application(now), "some still wait");
    bench.world.datagrams_left = 100;
    bench.channel.collect(now, &mut bench.world);
    let numbers: Vec<_> = bench.world.datagrams.iter().map(|sent| sent.1[0]).collect();
    assert_eq!(numbers, (0..DATAGRAMS as u8).collect::<Vec<_>>());
    assert!(bench.channel.wants_application(now), "it was refused one");
    bench
        .run(|channel| channel.send_datagram(1, TO, b"yes"))
        .unwrap();
    assert_eq!(bench.world.datagrams.last().unwrap().1, b"yes");
    bench.channel.collect(now, &mut bench.world);
    assert!(!bench.channel.wants_application(now));
}

#[test]
fn a_datagram_that_is_too_large_is_refused_at_once() {
    let mut bench = Bench::small();
    let sent = bench.run(|channel| channel.send_datagram(1, TO, &[0; DATAGRAM_BYTES + 1]));
    assert_eq!(sent, Err(SubmitError::TooLarge));
}

#[test]
fn notices_of_one_run_are_one_command_for_all_their_cores() {
    let mut bench = Bench::small();
    let core = |index| CoreMask::only(CoreId::new(index).unwrap());
    bench.run(|channel| {
        channel.notify(core(1)).unwrap();
        channel.notify(core(3)).unwrap();
    });
    assert_eq!(bench.world.notified, core(1).or(core(3)));
}
