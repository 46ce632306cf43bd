//! Connects: their outcomes, those given up, and their bound.

use super::world::Bench;
use crate::channel::{Completion, ConnectFailure, Cookie, SubmitError};
use crate::limits;
use net::stack::{CloseReason, ConnectError};

const REMOTE: &str = "10.0.0.9:80";

fn begin(bench: &mut Bench, cookie: u64) -> crate::ConnectHandle {
    let remote = REMOTE.parse().unwrap();
    bench
        .run(|channel| channel.connect(remote, Cookie(cookie)))
        .unwrap()
}

#[test]
fn a_connection_of_ours_is_registered_like_an_accepted_one() {
    let mut bench = Bench::small();
    begin(&mut bench, 5);
    let (id, remote) = bench.world.asked[0];
    assert_eq!(remote, REMOTE.parse().unwrap());
    bench.assert_quiet();
    bench.world.open(id);
    bench.world.arrive(id, b"welcome");
    let Completion::Connect {
        cookie: Cookie(5),
        result: Ok(socket),
    } = bench.completion()
    else {
        panic!("not connected");
    };
    let handle = bench.channel.register(socket, Cookie(6));
    bench.run(|channel| channel.read(handle)).unwrap();
    assert!(matches!(
        bench.completion(),
        Completion::Read {
            cookie: Cookie(6),
            result: Ok(7),
            ..
        }
    ));
    bench.run(|channel| channel.unregister(handle)).unwrap();
    assert_eq!(bench.world.released, [id]);
    let counters = bench.channel.counters();
    assert_eq!((counters.connected, counters.connects_now), (1, 0));
}

#[test]
fn a_connect_that_comes_to_nothing_says_why_and_gives_its_place_back() {
    let cases = [
        (CloseReason::Reset, ConnectFailure::Refused),
        (CloseReason::TimedOut, ConnectFailure::TimedOut),
        (CloseReason::Aborted, ConnectFailure::Aborted),
    ];
    let mut bench = Bench::small();
    for (reason, expected) in cases {
        begin(&mut bench, 5);
        let (id, _) = bench.world.asked.pop().unwrap();
        bench.world.end(id, reason);
        assert!(matches!(
            bench.completion(),
            Completion::Connect { cookie: Cookie(5), result: Err(failure) } if failure == expected
        ));
        assert_eq!(bench.world.released.pop(), Some(id));
        bench.assert_quiet();
    }
    assert_eq!(bench.channel.counters().connects_failed, 3);
}

#[test]
fn out_of_memory_is_a_completion_of_connect() {
    let cases = [
        (ConnectError::ConnectionsFull, ConnectFailure::OutOfMemory),
        (ConnectError::PortsFull, ConnectFailure::NoPort),
        (ConnectError::NoAddress, ConnectFailure::NoAddress),
        (ConnectError::BadAddress, ConnectFailure::BadAddress),
    ];
    let mut bench = Bench::small();
    for (error, expected) in cases {
        bench.world.refuse_connect = Some(error);
        begin(&mut bench, 5);
        assert!(matches!(
            bench.completion(),
            Completion::Connect { result: Err(failure), .. } if failure == expected
        ));
    }
    let remote = "[::1]:80".parse().unwrap();
    bench
        .run(|channel| channel.connect(remote, Cookie(0)))
        .unwrap();
    assert!(matches!(
        bench.completion(),
        Completion::Connect {
            result: Err(ConnectFailure::BadAddress),
            ..
        }
    ));
}

#[test]
fn nothing_is_told_of_a_connect_that_was_given_up() {
    let mut bench = Bench::small();
    // Before the flush.
    bench.run(|channel| {
        let connect = channel.connect(REMOTE.parse().unwrap(), Cookie(1)).unwrap();
        assert_eq!(channel.cancel_connect(connect), Ok(()));
        let again = channel.cancel_connect(connect);
        assert_eq!(again, Err(SubmitError::UnknownHandle));
    });
    assert!(bench.world.asked.is_empty());
    // While the stack shakes hands.
    let connect = begin(&mut bench, 2);
    bench
        .run(|channel| channel.cancel_connect(connect))
        .unwrap();
    assert_eq!(bench.world.released, [bench.world.asked[0].0]);
    // When it is open and not told; its place is another's at once.
    let connect = begin(&mut bench, 3);
    let id = bench.world.asked[1].0;
    bench.world.open(id);
    bench
        .channel
        .collect(kernel::Instant::ZERO, &mut bench.world);
    bench
        .run(|channel| channel.cancel_connect(connect))
        .unwrap();
    begin(&mut bench, 4);
    bench.assert_quiet();
    assert_eq!(bench.world.released[1], id);
    bench.world.open(bench.world.asked[2].0);
    assert!(matches!(
        bench.completion(),
        Completion::Connect {
            cookie: Cookie(4),
            result: Ok(_)
        }
    ));
    let mut other = Bench::small();
    let foreign = begin(&mut other, 0);
    assert_eq!(
        bench.channel.cancel_connect(foreign),
        Err(SubmitError::UnknownHandle)
    );
}

#[test]
fn a_connect_too_many_is_refused() {
    let mut bench = Bench::small();
    bench.world.refuse_connect = Some(ConnectError::NoAddress);
    for _ in 0..limits::CONNECTS {
        begin(&mut bench, 0);
    }
    let refused = bench.channel.connect(REMOTE.parse().unwrap(), Cookie(0));
    assert_eq!(refused, Err(SubmitError::TooManyConnects));
    let mut told = 0;
    while !bench.completions().is_empty() {
        told += 1;
    }
    assert!(told > 0);
    begin(&mut bench, 0);
}
