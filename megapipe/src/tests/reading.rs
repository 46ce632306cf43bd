//! Reads: at once, later, into a lent buffer, and without one.

use super::world::Bench;
use crate::channel::{Completion, Cookie, SubmitError};

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
fn a_read_waits_for_data_without_a_buffer_and_brings_one_of_the_stack() {
    let mut bench = Bench::small();
    let (id, handle) = bench.open(Cookie(7));
    bench.run(|channel| channel.read(handle)).unwrap();
    bench.assert_quiet();
    assert_eq!(bench.channel.counters().reads_waited, 1);
    assert_eq!(bench.world.chunks_out, 0);
    bench.world.arrive(id, b"late");
    let completion = bench.completion();
    assert_eq!(bench.world.chunks_out, 1);
    assert_eq!(read_of(completion), (Cookie(7), b"late".into(), 4));
    bench.run(|_| ());
    assert_eq!(bench.world.chunks_out, 0, "given back at the next flush");
    assert_eq!(bench.channel.in_use().free_buffers, 4, "not the channel's");
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
