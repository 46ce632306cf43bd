//! Reads: at once, later, into a lent buffer, and without one.

use super::world::Bench;
use crate::channel::{Completion, Cookie, SubmitError};
use kernel::Instant;

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

#[test]
fn a_multishot_read_goes_on_until_the_peer_has_finished() {
    let mut bench = Bench::small();
    let (id, handle) = bench.open(Cookie(7));
    bench.run(|channel| channel.read_multishot(handle)).unwrap();
    assert_eq!(bench.channel.read(handle), Err(SubmitError::Busy));
    for round in 0..10_u8 {
        bench.assert_quiet();
        bench.world.arrive(id, &[round; 10]);
        assert_eq!(read_of(bench.completion()).1, [round; 10]);
    }
    // What is larger than a chunk comes in several completions, without another command.
    bench.world.arrive(id, &[b'x'; 150]);
    let lengths: std::vec::Vec<usize> = (0..3).map(|_| read_of(bench.completion()).2).collect();
    assert_eq!(lengths, [64, 64, 22]);
    bench.world.finish(id);
    assert_eq!(read_of(bench.completion()).2, 0);
    bench.assert_quiet();
    assert_eq!(bench.channel.read(handle), Ok(()), "it is over");
}

#[test]
fn a_multishot_read_takes_the_next_chunk_only_when_the_last_was_handed_out() {
    let mut bench = Bench::small();
    let (id, handle) = bench.open(Cookie(7));
    bench.run(|channel| channel.read_multishot(handle)).unwrap();
    bench.world.arrive(id, &[b'x'; 1000]);
    for _ in 0..5 {
        bench.channel.collect(Instant::ZERO, &mut bench.world);
        assert_eq!(bench.world.chunks_out, 1);
    }
    // The application keeps its buffers, and gets them back into the stack by dropping them.
    let kept: std::vec::Vec<_> = (0..3).map(|_| bench.completion()).collect();
    assert_eq!(bench.world.chunks_out, 4, "three kept, and one is ready");
    drop(kept);
    bench.run(|_| ());
    assert_eq!(bench.world.chunks_out, 1);
    assert_eq!(bench.world.peer(id).incoming.len(), 1000 - 4 * 64);
}

#[test]
fn a_cancelled_read_gives_its_buffer_back_and_loses_nothing() {
    let mut bench = Bench::small();
    let (id, handle) = bench.open(Cookie(7));
    assert_eq!(
        bench.channel.cancel_read(handle).unwrap_err(),
        SubmitError::Empty
    );
    let mut buffer = bench.channel.buffer().unwrap();
    buffer.append(b"part");
    bench
        .run(|channel| channel.read_into(handle, buffer))
        .unwrap();
    let buffer = bench.channel.cancel_read(handle).unwrap();
    assert_eq!(buffer.unwrap().filled(), b"part");
    bench.world.arrive(id, b"kept");
    bench.assert_quiet();
    bench.run(|channel| channel.read_multishot(handle)).unwrap();
    // Ready, and cancelled then: it is told, and is the last.
    bench.world.arrive(id, b" and more");
    assert!(bench.channel.cancel_read(handle).unwrap().is_none());
    assert_eq!(read_of(bench.completion()).1, b"kept");
    bench.assert_quiet();
    bench.run(|channel| channel.read(handle)).unwrap();
    assert_eq!(read_of(bench.completion()).1, b" and more");
}

#[test]
fn what_has_come_is_read_before_the_end_is_told() {
    for is_multishot in [false, true] {
        let mut bench = Bench::small();
        let (id, handle) = bench.open(Cookie(7));
        bench.run(|channel| channel.disconnect(handle)).unwrap();
        bench
            .run(|channel| match is_multishot {
                true => channel.read_multishot(handle),
                false => channel.read(handle),
            })
            .unwrap();
        // Three chunks and the peer's finish in one go: the connection is over at once.
        bench.world.peer(id).incoming.extend([b'x'; 150]);
        bench.world.finish(id);
        for (round, expected) in [64, 64, 22].into_iter().enumerate() {
            if round > 0 && !is_multishot {
                bench.run(|channel| channel.read(handle)).unwrap();
            }
            let mut completions = bench.completions();
            assert_eq!(completions.len(), 1 + usize::from(round == 2));
            assert_eq!(read_of(completions.remove(0)).2, expected);
            if let Some(last) = completions.pop() {
                assert!(matches!(last, Completion::Disconnect { .. }), "{last:?}");
            }
        }
        bench.assert_quiet();
        assert!(matches!(
            bench.channel.read(handle),
            Err(SubmitError::Closed(_))
        ));
    }
}
