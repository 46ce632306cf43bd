//! Batches: when commands are flushed, what fits, and when the application runs.

use super::world::Bench;
use crate::channel::{Channel, ChannelConfig, Completion, Cookie, Handle, SubmitError};
use core::time::Duration;
use kernel::Instant;
use std::vec::Vec;

const BATCH: usize = 8;

/// A channel with `count` handles that each have something to read.
fn readable(count: usize) -> (Bench, Vec<Handle>) {
    let mut bench = Bench::new(ChannelConfig {
        handles: count,
        batch: BATCH,
        chunks: 64,
        buffers: count,
        buffer_bytes: 8,
        timers: 16,
    });
    let handles = (0..count as u64)
        .map(|cookie| {
            let (id, handle) = bench.open(Cookie(cookie));
            bench.world.arrive(id, b"x");
            handle
        })
        .collect();
    (bench, handles)
}

/// Reads from all handles, as many as the ring takes at a time.
fn read_all(bench: &mut Bench, handles: &[Handle]) {
    for batch in handles.chunks(BATCH) {
        bench.run(|channel| {
            batch
                .iter()
                .for_each(|handle| channel.read(*handle).unwrap())
        });
    }
}

#[test]
fn dispatch_says_none_when_a_batch_has_collected() {
    let (mut bench, handles) = readable(20);
    read_all(&mut bench, &handles);
    let flushes = bench.channel.counters().flushes;
    let mut rounds = Vec::new();
    while bench.channel.wants_application(Instant::ZERO) {
        let answered = bench.run(|channel| {
            let mut answered = 0;
            while let Some(Completion::Read { cookie, .. }) = channel.dispatch(None) {
                channel.disconnect(handles[cookie.0 as usize]).unwrap();
                answered += 1;
            }
            answered
        });
        rounds.push(answered);
    }
    // Every command comes of a completion, in batches of 8; the last flush is for want of more.
    assert_eq!(rounds, [8, 8, 4]);
    let counters = bench.channel.counters();
    assert_eq!(counters.flushes - flushes, 3);
    assert_eq!(counters.completions, 20 + 20);
}

#[test]
fn the_commands_of_one_completion_always_fit() {
    let (mut bench, handles) = readable(20);
    read_all(&mut bench, &handles);
    while bench.channel.wants_application(Instant::ZERO) {
        bench.run(|channel| {
            while let Some(Completion::Read { cookie, .. }) = channel.dispatch(None) {
                let handle = handles[cookie.0 as usize];
                let mut pieces = crate::IoVec::from_iter([crate::IoSlice::from_static(b"y")]);
                let commands: [Result<(), SubmitError>; Channel::COMMANDS_PER_COMPLETION] = [
                    channel.read(handle),
                    channel.writev(handle, &mut pieces),
                    channel.disconnect(handle),
                    channel.unregister(handle),
                ];
                assert_eq!(commands, [Ok(()); 4]);
            }
        });
    }
    assert_eq!(bench.channel.in_use().handles, 0);
    assert_eq!(bench.channel.counters().commands_refused_ring_full, 0);
}

#[test]
fn a_full_ring_refuses_and_the_application_runs_again_at_once() {
    let (mut bench, handles) = readable(20);
    bench.channel.begin_run(Instant::ZERO);
    let taken = handles
        .iter()
        .take_while(|handle| bench.channel.read(**handle).is_ok())
        .count();
    assert_eq!(taken, BATCH + Channel::COMMANDS_PER_COMPLETION);
    assert_eq!(bench.channel.read(handles[19]), Err(SubmitError::RingFull));
    assert_eq!(
        bench.channel.unregister(handles[19]),
        Err(SubmitError::RingFull)
    );
    let buffer = bench.channel.buffer().unwrap();
    let refused = bench.channel.read_into(handles[19], buffer).unwrap_err();
    assert_eq!(refused.error, SubmitError::RingFull);
    assert!(bench.channel.wants_application(Instant::ZERO));
    // Nothing was lost or begun by what was refused.
    bench.channel.flush_to(&mut bench.world);
    assert_eq!(bench.completions().len(), taken);
    assert_eq!(bench.channel.read(handles[19]), Ok(()));
}

#[test]
fn flush_hands_over_before_the_next_completion() {
    let (mut bench, handles) = readable(3);
    bench.run(|channel| {
        handles
            .iter()
            .for_each(|handle| channel.read(*handle).unwrap())
    });
    bench.run(|channel| {
        assert!(channel.dispatch(None).is_some());
        channel.flush();
        assert!(channel.dispatch(None).is_none());
    });
    assert!(bench.channel.wants_application(Instant::ZERO));
    assert_eq!(bench.completions().len(), 2);
    // Also with nothing else to do: the application is called again after its flush.
    bench.run(Channel::flush);
    assert!(bench.channel.wants_application(Instant::ZERO));
    bench.assert_quiet();
    assert!(!bench.channel.wants_application(Instant::ZERO));
}

#[test]
fn the_application_runs_at_the_start_and_when_its_timeout_has_passed() {
    let mut bench = Bench::small();
    let fresh = Channel::create(ChannelConfig {
        handles: 1,
        batch: 0,
        chunks: 64,
        buffers: 0,
        buffer_bytes: 0,
        timers: 16,
    });
    assert!(fresh.wants_application(Instant::ZERO));
    assert!(
        !bench
            .channel
            .wants_application(Instant::from_nanos(u64::MAX))
    );
    bench.channel.begin_run(Instant::from_nanos(500));
    assert!(
        bench
            .channel
            .dispatch(Some(Duration::from_nanos(100)))
            .is_none()
    );
    assert!(!bench.channel.wants_application(Instant::from_nanos(599)));
    assert!(bench.channel.wants_application(Instant::from_nanos(600)));
    assert_eq!(bench.channel.deadline(), Some(Instant::from_nanos(600)));
    bench.channel.begin_run(Instant::from_nanos(600));
    assert!(bench.channel.dispatch(None).is_none());
    assert!(
        !bench
            .channel
            .wants_application(Instant::from_nanos(u64::MAX))
    );
}
