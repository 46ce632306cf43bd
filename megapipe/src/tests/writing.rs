//! Writes: by pieces, against a peer that does not read, and their memory.

use super::world::Bench;
use crate::channel::{Completion, Cookie, Handle, IoError, IoSlice, IoVec, SubmitError};
use alloc::rc::Rc;
use alloc::sync::Arc;
use net::stack::CloseReason;

static BODY: [u8; 1000] = [b'b'; 1000];

fn pieces(bench: &mut Bench) -> IoVec {
    let mut buffer = bench.channel.buffer().unwrap();
    buffer.append(b"buffer");
    IoVec::from_iter([
        IoSlice::from_static(b"head"),
        IoSlice::from_static(b"inline"),
        IoSlice::from(buffer),
        IoSlice::from_static(&BODY),
    ])
}

fn assert_written(completion: Completion, cookie: u64, bytes: usize) {
    assert!(
        matches!(
            completion,
            Completion::Write { cookie: Cookie(of), result: Ok(written) }
                if of == cookie && written == bytes
        ),
        "{completion:?}"
    );
}

#[test]
fn a_write_that_fits_completes_at_once_and_gives_its_buffers_back() {
    let mut bench = Bench::small();
    let (id, handle) = bench.open(Cookie(7));
    let mut pieces = pieces(&mut bench);
    assert_eq!(bench.channel.in_use().free_buffers, 3);
    bench
        .run(|channel| channel.writev(handle, &mut pieces))
        .unwrap();
    assert_eq!(bench.channel.counters().opportunistic, 1);
    assert_eq!(bench.channel.in_use().free_buffers, 4);
    assert_written(bench.completion(), 7, 1016);
    let sent = &bench.world.peer(id).sent;
    assert_eq!(&sent[..16], b"headinlinebuffer");
    assert_eq!(&sent[16..], &BODY);
}

#[test]
fn a_write_waits_for_a_peer_that_does_not_read() {
    for step in 1..3 {
        let mut bench = Bench::small();
        bench.world.send_room = 1;
        let (id, handle) = bench.open(Cookie(7));
        let mut pieces = pieces(&mut bench);
        bench
            .run(|channel| channel.writev(handle, &mut pieces))
            .unwrap();
        assert_eq!(bench.channel.counters().writes_waited, 1);
        let mut room = 1;
        while room < 4 {
            bench.assert_quiet();
            assert_eq!(bench.channel.in_use().writes, 1);
            bench.world.make_room(id, step);
            room += step;
        }
        assert_written(bench.completion(), 7, 1016);
        assert_eq!(bench.world.peer(id).sent.len(), 1016);
        assert_eq!(bench.channel.in_use().writes, 0);
        assert_eq!(bench.channel.in_use().free_buffers, 4);
    }
}

/// Submits a write of the body that is told only if it has to wait.
fn write_quietly(bench: &mut Bench, handle: Handle) -> Result<(), SubmitError> {
    let mut pieces = IoVec::from_iter([IoSlice::from_static(&BODY), IoSlice::from_static(b"end")]);
    pieces.set_quiet(true);
    bench.run(|channel| channel.writev(handle, &mut pieces))
}

#[test]
fn a_quiet_write_that_completes_at_once_is_not_told_and_the_next_may_follow() {
    let mut bench = Bench::small();
    let (id, handle) = bench.open(Cookie(7));
    for count in 1..=3 {
        write_quietly(&mut bench, handle).unwrap();
        bench.assert_quiet();
        assert_eq!(bench.channel.is_writing(handle), Ok(false));
        assert_eq!(bench.channel.in_use().writes, 0);
        assert_eq!(bench.world.peer(id).sent.len(), 1003 * count);
    }
    // One that is not quiet is told as ever.
    bench
        .run(|channel| channel.write(handle, &BODY[..]))
        .unwrap();
    assert_written(bench.completion(), 7, 1000);
}

#[test]
fn a_quiet_write_that_waits_is_told() {
    let mut bench = Bench::small();
    bench.world.send_room = 1;
    let (id, handle) = bench.open(Cookie(7));
    write_quietly(&mut bench, handle).unwrap();
    bench.assert_quiet();
    assert_eq!(bench.channel.is_writing(handle), Ok(true));
    assert_eq!(write_quietly(&mut bench, handle), Err(SubmitError::Busy));
    bench.world.make_room(id, 1);
    assert_written(bench.completion(), 7, 1003);
    assert_eq!(bench.channel.is_writing(handle), Ok(false));
}

#[test]
fn a_quiet_write_that_fails_is_told() {
    let mut bench = Bench::small();
    bench.world.send_room = 1;
    let (id, handle) = bench.open(Cookie(7));
    write_quietly(&mut bench, handle).unwrap();
    bench.world.end(id, CloseReason::Reset);
    let completions = bench.completions();
    assert!(
        matches!(
            completions[..],
            [
                Completion::Write {
                    result: Err(IoError::Reset),
                    ..
                },
                Completion::Disconnect {
                    reason: CloseReason::Reset,
                    ..
                }
            ]
        ),
        "{completions:?}"
    );
}

#[test]
fn a_disconnect_behind_a_quiet_write_finishes_behind_it() {
    for send_room in [1, 8] {
        let mut bench = Bench::small();
        bench.world.send_room = send_room;
        let (id, handle) = bench.open(Cookie(7));
        let mut pieces =
            IoVec::from_iter([IoSlice::from_static(&BODY), IoSlice::from_static(b"end")]);
        pieces.set_quiet(true);
        bench.run(|channel| {
            channel.writev(handle, &mut pieces).unwrap();
            channel.disconnect(handle).unwrap();
        });
        bench.assert_quiet();
        if send_room == 1 {
            assert!(!bench.world.peer(id).is_shut);
            bench.world.make_room(id, 1);
            assert_written(bench.completion(), 7, 1003);
        }
        assert_eq!(bench.world.peer(id).sent.len(), 1003);
        assert!(bench.world.peer(id).is_shut);
    }
}

#[test]
fn a_refused_write_leaves_its_pieces() {
    let mut bench = Bench::small();
    let (_, handle) = bench.open(Cookie(7));
    let refused = bench.channel.writev(handle, &mut IoVec::new());
    assert_eq!(refused, Err(SubmitError::Empty));
    let mut nothing = IoVec::from_iter([IoSlice::from_static(b"")]);
    assert_eq!(
        bench.channel.writev(handle, &mut nothing),
        Err(SubmitError::Empty)
    );
    let mut first = pieces(&mut bench);
    bench.channel.writev(handle, &mut first).unwrap();
    assert!(first.is_empty());
    let mut second = pieces(&mut bench);
    let refused = bench.channel.writev(handle, &mut second);
    assert_eq!((refused, second.len()), (Err(SubmitError::Busy), 4));
}

#[test]
fn completions_of_a_handle_come_in_the_order_in_which_they_happened() {
    for write_first in [false, true] {
        let mut bench = Bench::small();
        let (id, handle) = bench.open(Cookie(7));
        let mut write = IoVec::from_iter([IoSlice::from_static(b"pong")]);
        if write_first {
            bench
                .run(|channel| channel.writev(handle, &mut write))
                .unwrap();
            bench.world.arrive(id, b"ping");
            bench.run(|channel| channel.read(handle)).unwrap();
        } else {
            bench.world.arrive(id, b"ping");
            bench.run(|channel| channel.read(handle)).unwrap();
            bench
                .run(|channel| channel.writev(handle, &mut write))
                .unwrap();
        }
        let completions = bench.completions();
        assert_eq!(completions.len(), 2);
        let is_write = matches!(completions[0], Completion::Write { .. });
        assert_eq!(is_write, write_first, "{completions:?}");
    }
}

#[test]
fn counted_memory_is_given_back_when_the_peer_has_acknowledged_it() {
    let mut bench = Bench::small();
    bench.world.holds = true;
    let (id, handle) = bench.open(Cookie(7));
    let own: Rc<[u8]> = Rc::from(&b"own memory"[..]);
    let shared: Arc<[u8]> = Arc::from(&b"shared"[..]);
    let mut pieces = IoVec::from_iter([
        IoSlice::from_part(Rc::clone(&own), 0..3).unwrap(),
        IoSlice::from(Arc::clone(&shared)),
    ]);
    bench
        .run(|channel| channel.writev(handle, &mut pieces))
        .unwrap();
    assert_written(bench.completion(), 7, 9);
    assert_eq!((Rc::strong_count(&own), Arc::strong_count(&shared)), (2, 2));
    bench.world.acknowledge(id, 1);
    assert_eq!((Rc::strong_count(&own), Arc::strong_count(&shared)), (1, 2));
    bench.world.end(id, CloseReason::Reset);
    assert_eq!(Arc::strong_count(&shared), 1);
    assert_eq!(bench.world.peer(id).sent, b"ownshared");
}

/// Returns how many receipts a completion tells.
fn receipts(completion: Completion) -> usize {
    match completion {
        Completion::Acknowledged {
            cookie: Cookie(7),
            receipts,
        } => receipts,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_receipt_tells_when_all_before_it_is_acknowledged() {
    let mut bench = Bench::small();
    bench.world.holds = true;
    let (id, handle) = bench.open(Cookie(7));
    for _ in 0..2 {
        bench.run(|channel| {
            let receipt = channel.receipt(handle).unwrap();
            let mut pieces = IoVec::from_iter([IoSlice::from_static(b"lent"), receipt]);
            channel.writev(handle, &mut pieces).unwrap();
        });
        assert_written(bench.completion(), 7, 4);
    }
    assert_eq!(bench.channel.counters().receipts_now, 2);
    bench.world.acknowledge(id, 1);
    bench.assert_quiet();
    bench.world.acknowledge(id, 1);
    assert_eq!(receipts(bench.completion()), 1);
    bench.world.acknowledge(id, 2);
    assert_eq!(receipts(bench.completion()), 1);
    assert_eq!(bench.channel.counters().receipts_now, 0);
}

#[test]
fn receipts_of_a_connection_that_breaks_come_before_its_disconnect() {
    let mut bench = Bench::small();
    bench.world.holds = true;
    bench.world.send_room = 1;
    let (id, handle) = bench.open(Cookie(7));
    bench.run(|channel| {
        // One is in the send queue, one in the rest of the write that has no room.
        let pieces = [
            IoSlice::from_static(b"taken"),
            channel.receipt(handle).unwrap(),
            IoSlice::from_static(b"left"),
            channel.receipt(handle).unwrap(),
        ];
        channel
            .writev(handle, &mut IoVec::from_iter(pieces))
            .unwrap();
    });
    bench.world.end(id, CloseReason::TimedOut);
    let mut completions = bench.completions();
    let last = completions.pop().unwrap();
    assert!(matches!(last, Completion::Disconnect { .. }), "{last:?}");
    assert_eq!(completions.pop().map(receipts), Some(2));
    assert!(matches!(
        completions.pop(),
        Some(Completion::Write { result: Err(_), .. })
    ));
}

#[test]
fn receipts_are_bounded_and_those_of_a_handle_that_is_gone_are_not_told() {
    let mut bench = Bench::small();
    let (_, handle) = bench.open(Cookie(7));
    let kept: std::vec::Vec<IoSlice> =
        core::iter::from_fn(|| bench.channel.receipt(handle).ok()).collect();
    assert_eq!(kept.len(), crate::limits::RECEIPTS);
    assert_eq!(
        bench.channel.receipt(handle).unwrap_err(),
        SubmitError::TooManyReceipts
    );
    let only = bench.channel.write(handle, IoSlice::default());
    assert_eq!(only, Err(SubmitError::Empty));
    bench.run(|channel| channel.unregister(handle)).unwrap();
    drop(kept);
    bench.assert_quiet();
    assert_eq!(bench.channel.counters().receipts_now, 0);
    assert_eq!(
        bench.channel.receipt(handle).unwrap_err(),
        SubmitError::UnknownHandle
    );
}
