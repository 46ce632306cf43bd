//! Reads: at once, later, into a lent buffer, and without one.

use super::world::Bench;
use crate::channel::{ChannelConfig, Completion, Cookie, SubmitError};

fn read_of(completion: Completion) -> (Cookie, std::vec::Vec<u8>, usize) {
    match completion {
        Completion::Read {
            cookie,
            buffer,
            result: Ok(bytes),
        } => (
            cookie,
            buffer.map_or_else(Default::default, |b| b.filled().into()),
            bytes,
        ),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_read_with_data_there_completes_at_once() {
    let mut bench = Bench::small();
    let (id, handle) = bench.open(Cookie(7));
    bench.world.arrive(id, b"ping");
    bench.run(|channel| channel.read(handle)).unwrap();
    assert_eq!(bench.channel.counters().opportunistic, 1);
    assert_eq!(read_of(bench.completion()), (Cookie(7), b"ping".into(), 4));
}

#[test]
fn a_read_waits_for_data_without_a_buffer() {
    let mut bench = Bench::small();
    let (id, handle) = bench.open(Cookie(7));
    bench.run(|channel| channel.read(handle)).unwrap();
    bench.assert_quiet();
    assert_eq!(bench.channel.counters().reads_waited, 1);
    assert_eq!(bench.channel.in_use().free_buffers, 4);
    bench.world.arrive(id, b"late");
    assert_eq!(read_of(bench.completion()), (Cookie(7), b"late".into(), 4));
}

#[test]
fn what_does_not_fit_is_read_next_time() {
    let mut bench = Bench::small();
    let (id, handle) = bench.open(Cookie(1));
    bench.world.arrive(id, &[b'x'; 100]);
    bench.run(|channel| channel.read(handle)).unwrap();
    assert_eq!(read_of(bench.completion()).2, 64);
    bench.run(|channel| channel.read(handle)).unwrap();
    assert_eq!(read_of(bench.completion()).2, 36);
}

#[test]
fn read_into_appends_behind_what_is_there() {
    let mut bench = Bench::small();
    let (id, handle) = bench.open(Cookie(1));
    let mut buffer = bench.channel.buffer().unwrap();
    buffer.append(b"GET / HT");
    bench
        .run(|channel| channel.read_into(handle, buffer))
        .unwrap();
    bench.assert_quiet();
    bench.world.arrive(id, b"TP/1.1");
    assert_eq!(
        read_of(bench.completion()),
        (Cookie(1), b"GET / HTTP/1.1".into(), 6)
    );
}

#[test]
fn read_into_a_full_buffer_is_refused_with_the_buffer() {
    let mut bench = Bench::small();
    let (_, handle) = bench.open(Cookie(1));
    let mut buffer = bench.channel.buffer().unwrap();
    buffer.append(&[0; 64]);
    let refused = bench.channel.read_into(handle, buffer).unwrap_err();
    assert_eq!(refused.error, SubmitError::Empty);
    assert_eq!(refused.payload.filled().len(), 64);
}

#[test]
fn one_read_at_a_time_until_its_completion_is_dispatched() {
    let mut bench = Bench::small();
    let (id, handle) = bench.open(Cookie(1));
    bench.world.arrive(id, b"data");
    bench.run(|channel| channel.read(handle)).unwrap();
    assert_eq!(bench.channel.read(handle), Err(SubmitError::Busy));
    drop(bench.completion());
    assert_eq!(bench.channel.read(handle), Ok(()));
}

#[test]
fn the_end_of_what_the_peer_sends_is_a_read_of_nothing() {
    let mut bench = Bench::small();
    let (id, handle) = bench.open(Cookie(1));
    bench.world.arrive(id, b"last");
    bench.world.finish(id);
    bench.run(|channel| channel.read(handle)).unwrap();
    assert_eq!(read_of(bench.completion()).1, b"last");
    bench.run(|channel| channel.read(handle)).unwrap();
    assert!(matches!(
        bench.completion(),
        Completion::Read {
            buffer: None,
            result: Ok(0),
            ..
        }
    ));
    let buffer = bench.channel.buffer().unwrap();
    bench
        .run(|channel| channel.read_into(handle, buffer))
        .unwrap();
    assert!(matches!(
        bench.completion(),
        Completion::Read {
            buffer: Some(_),
            result: Ok(0),
            ..
        }
    ));
}

#[test]
fn reads_wait_for_buffers_in_turn() {
    let mut bench = Bench::new(ChannelConfig {
        handles: 3,
        batch: 32,
        buffers: 1,
        buffer_bytes: 8,
    });
    let opened = [10, 11, 12].map(|cookie| bench.open(Cookie(cookie)));
    for (id, handle) in opened {
        bench.world.arrive(id, b"data");
        bench.run(|channel| channel.read(handle)).unwrap();
    }
    assert_eq!(bench.channel.counters().buffer_waits, 2);
    for cookie in [10, 11, 12] {
        let completion = bench.completion();
        assert_eq!(bench.channel.in_use().free_buffers, 0);
        bench.assert_quiet();
        assert_eq!(read_of(completion), (Cookie(cookie), b"data".into(), 4));
        // The buffer is back: a run of the application hands it on.
        bench.run(|_| ());
    }
    assert_eq!(bench.channel.in_use().free_buffers, 1);
}

#[test]
fn a_handle_that_goes_while_it_waits_for_a_buffer_takes_none() {
    let mut bench = Bench::new(ChannelConfig {
        handles: 2,
        batch: 32,
        buffers: 1,
        buffer_bytes: 8,
    });
    let (id, handle) = bench.open(Cookie(1));
    let buffer = bench.channel.buffer();
    bench.world.arrive(id, b"data");
    bench.run(|channel| channel.read(handle)).unwrap();
    bench.run(|channel| channel.unregister(handle)).unwrap();
    // The same place, for another connection.
    let (id, handle) = bench.open(Cookie(2));
    drop(buffer);
    bench.assert_quiet();
    bench.world.arrive(id, b"new");
    bench.run(|channel| channel.read(handle)).unwrap();
    assert_eq!(read_of(bench.completion()), (Cookie(2), b"new".into(), 3));
}

#[test]
fn no_handle_is_forgotten_in_the_line_for_buffers() {
    let mut bench = Bench::new(ChannelConfig {
        handles: 2,
        batch: 32,
        buffers: 1,
        buffer_bytes: 8,
    });
    let buffer = bench.channel.buffer();
    // The first place is in the line, and stays there over several connections.
    for cookie in 0..3 {
        let (id, handle) = bench.open(Cookie(cookie));
        bench.world.arrive(id, b"data");
        bench.run(|channel| channel.read(handle)).unwrap();
        bench.run(|channel| channel.unregister(handle)).unwrap();
    }
    let opened = [10, 11].map(|cookie| bench.open(Cookie(cookie)));
    for (id, handle) in opened {
        bench.world.arrive(id, b"data");
        bench.run(|channel| channel.read(handle)).unwrap();
    }
    bench.assert_quiet();
    drop(buffer);
    bench.run(|_| ());
    for _ in 0..3 {
        for cookie in [10, 11] {
            let read = read_of(bench.completion());
            assert_eq!((read.0, read.2), (Cookie(cookie), 4));
            bench.run(|_| ());
        }
        // Both wait for the one buffer again.
        let held = bench.channel.buffer();
        for (id, handle) in opened {
            bench.world.arrive(id, b"more");
            bench.run(|channel| channel.read(handle)).unwrap();
        }
        bench.assert_quiet();
        drop(held);
        bench.run(|_| ());
    }
}
