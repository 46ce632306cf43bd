//! The end of a connection and of a handle: disconnect, breaks, unregister, stale handles.

use super::world::Bench;
use crate::channel::{ChannelUse, Completion, Cookie, IoError, IoSlice, IoVec, SubmitError};
use net::stack::CloseReason;

fn hello() -> IoVec {
    IoVec::from_iter([IoSlice::from_static(b"hello")])
}

const IDLE: ChannelUse = ChannelUse {
    lwsockets: 0,
    handles: 0,
    writes: 0,
    free_buffers: 4,
};

#[test]
fn disconnect_waits_for_the_write_under_way_and_reads_go_on() {
    let mut bench = Bench::small();
    bench.world.send_room = 0;
    let (id, handle) = bench.open(Cookie(7));
    bench.run(|channel| {
        channel.writev(handle, &mut hello()).unwrap();
        channel.disconnect(handle).unwrap();
        channel.read(handle).unwrap();
        assert_eq!(channel.disconnect(handle), Err(SubmitError::BrokenPipe));
        assert_eq!(
            channel.writev(handle, &mut hello()).unwrap_err(),
            SubmitError::BrokenPipe
        );
    });
    assert!(!bench.world.peer(id).is_shut);
    bench.world.make_room(id, 1);
    assert!(matches!(
        bench.completion(),
        Completion::Write { result: Ok(5), .. }
    ));
    assert!(bench.world.peer(id).is_shut);
    bench.world.arrive(id, b"bye");
    assert!(matches!(
        bench.completion(),
        Completion::Read { result: Ok(3), .. }
    ));
    bench.world.finish(id);
    assert!(matches!(
        bench.completion(),
        Completion::Disconnect {
            cookie: Cookie(7),
            reason: CloseReason::Finished
        }
    ));
    // The handle is still there, and is freed by unregister.
    assert_eq!(bench.channel.in_use().handles, 1);
    bench.run(|channel| channel.unregister(handle)).unwrap();
    assert_eq!(bench.channel.in_use(), IDLE);
    assert_eq!(bench.world.released, [id]);
}

#[test]
fn what_comes_with_the_end_is_read_before_the_disconnect() {
    let mut bench = Bench::small();
    let (id, handle) = bench.open(Cookie(7));
    bench.run(|channel| channel.disconnect(handle)).unwrap();
    bench.run(|channel| channel.read(handle)).unwrap();
    bench.world.peer(id).incoming.extend(b"last words");
    bench.world.finish(id);
    let completions = bench.completions();
    assert!(
        matches!(completions[0], Completion::Read { result: Ok(10), .. }),
        "{completions:?}"
    );
    assert!(
        matches!(completions[1], Completion::Disconnect { .. }),
        "{completions:?}"
    );
}

#[test]
fn a_read_under_way_at_an_orderly_end_reads_nothing() {
    let mut bench = Bench::small();
    let (id, handle) = bench.open(Cookie(7));
    bench.run(|channel| channel.disconnect(handle)).unwrap();
    bench.run(|channel| channel.read(handle)).unwrap();
    bench.world.end(id, CloseReason::Finished);
    let completions = bench.completions();
    assert!(
        matches!(completions[0], Completion::Read { result: Ok(0), .. }),
        "{completions:?}"
    );
    assert!(
        matches!(completions[1], Completion::Disconnect { .. }),
        "{completions:?}"
    );
}

#[test]
fn what_is_under_way_fails_before_the_disconnect() {
    let cases = [
        (CloseReason::Reset, IoError::Reset),
        (CloseReason::TimedOut, IoError::TimedOut),
        (CloseReason::Aborted, IoError::BrokenPipe),
    ];
    for (reason, expected) in cases {
        let mut bench = Bench::small();
        bench.world.send_room = 0;
        let (id, handle) = bench.open(Cookie(7));
        let buffer = bench.channel.buffer().unwrap();
        bench.run(|channel| {
            channel.read_into(handle, buffer).unwrap();
            channel.writev(handle, &mut hello()).unwrap();
        });
        bench.world.end(id, reason);
        let completions = bench.completions();
        assert!(matches!(
            &completions[..],
            [
                Completion::Read { buffer: Some(_), result: Err(read), .. },
                Completion::Write { result: Err(write), .. },
                Completion::Disconnect { reason: told, .. },
            ] if *read == expected && *write == expected && *told == reason
        ));
        assert_eq!(bench.channel.in_use().writes, 0);
        // Whoever ended it, every call says so.
        let over = Err(SubmitError::Closed(reason));
        assert_eq!(bench.channel.read(handle), over);
        assert_eq!(bench.channel.disconnect(handle), over);
        assert_eq!(bench.channel.abort(handle), over);
        assert_eq!(bench.channel.receipt(handle).map(drop), over);
        let write = bench.channel.writev(handle, &mut hello());
        assert_eq!(write, over);
        drop(completions);
        bench.run(|channel| channel.unregister(handle)).unwrap();
        assert_eq!(bench.channel.in_use(), IDLE);
    }
}

#[test]
fn an_abort_ends_the_connection_and_what_is_under_way() {
    let mut bench = Bench::small();
    bench.world.send_room = 0;
    let (id, handle) = bench.open(Cookie(7));
    bench.run(|channel| {
        channel.read(handle).unwrap();
        channel.writev(handle, &mut hello()).unwrap();
        channel.abort(handle).unwrap();
        // Not over yet; twice is once.
        channel.abort(handle).unwrap();
    });
    let completions = bench.completions();
    assert!(matches!(
        &completions[..],
        [
            Completion::Read {
                result: Err(IoError::BrokenPipe),
                ..
            },
            Completion::Write {
                result: Err(IoError::BrokenPipe),
                ..
            },
            Completion::Disconnect {
                reason: CloseReason::Aborted,
                ..
            },
        ]
    ));
    assert!(bench.world.peer(id).sent.is_empty());
    bench.run(|channel| channel.unregister(handle)).unwrap();
    assert_eq!(bench.channel.in_use(), IDLE);
}

#[test]
fn a_connection_that_ends_before_it_is_registered_is_told_once_it_is() {
    for before_accept in [true, false] {
        let mut bench = Bench::small();
        let id = bench.world.arrive_new().unwrap();
        if before_accept {
            bench.world.end(id, CloseReason::Reset);
        }
        let Completion::Accept { socket, .. } = bench.completion() else {
            panic!("not accepted");
        };
        if !before_accept {
            bench.world.end(id, CloseReason::Reset);
        }
        bench.assert_quiet();
        let handle = bench.channel.register(socket, Cookie(7));
        let over = Err(SubmitError::Closed(CloseReason::Reset));
        assert_eq!(bench.channel.read(handle), over);
        assert!(matches!(bench.completion(), Completion::Disconnect { .. }));
        bench.assert_quiet();
    }
}

#[test]
fn unregister_cancels_what_is_ready_and_what_is_under_way() {
    let mut bench = Bench::small();
    bench.world.send_room = 0;
    let (id, handle) = bench.open(Cookie(7));
    bench.world.arrive(id, b"data");
    bench.run(|channel| channel.read(handle)).unwrap();
    let mut buffer = bench.channel.buffer().unwrap();
    buffer.append(b"more than fits");
    let mut pieces = IoVec::from_iter([buffer]);
    bench
        .run(|channel| channel.writev(handle, &mut pieces))
        .unwrap();
    assert_eq!(bench.channel.in_use().free_buffers, 3);
    bench.run(|channel| channel.unregister(handle)).unwrap();
    assert_eq!(bench.channel.in_use(), IDLE);
    assert_eq!(bench.world.chunks_out, 0);
    assert_eq!(bench.channel.counters().completions_cancelled, 1);
    bench.assert_quiet();
    assert_eq!(bench.world.released, [id]);
}

#[test]
fn commands_of_a_handle_that_is_unregistered_in_the_same_batch_do_nothing() {
    let mut bench = Bench::small();
    let (id, handle) = bench.open(Cookie(7));
    bench.world.arrive(id, b"data");
    bench.run(|channel| {
        channel.read(handle).unwrap();
        channel.writev(handle, &mut hello()).unwrap();
        channel.disconnect(handle).unwrap();
        channel.unregister(handle).unwrap();
    });
    bench.assert_quiet();
    assert_eq!(bench.channel.in_use(), IDLE);
    assert_eq!(bench.world.released, [id]);
}

#[test]
fn a_stale_handle_reaches_nothing() {
    let mut bench = Bench::small();
    let (_, old) = bench.open(Cookie(1));
    bench.run(|channel| channel.unregister(old)).unwrap();
    let (id, new) = bench.open(Cookie(2));
    assert_eq!((old.index(), old == new), (new.index(), false));
    bench.world.arrive(id, b"for the new one");
    let stale = SubmitError::UnknownHandle;
    let buffer = bench.channel.buffer().unwrap();
    assert_eq!(bench.channel.read(old), Err(stale));
    assert_eq!(
        bench.channel.read_into(old, buffer).unwrap_err().error,
        stale
    );
    assert_eq!(bench.channel.writev(old, &mut hello()).unwrap_err(), stale);
    assert_eq!(bench.channel.disconnect(old), Err(stale));
    assert_eq!(bench.channel.unregister(old), Err(stale));
    assert_eq!(bench.channel.counters().commands_refused_stale, 5);
    bench.assert_quiet();
    bench.run(|channel| channel.read(new)).unwrap();
    assert!(matches!(
        bench.completion(),
        Completion::Read {
            cookie: Cookie(2),
            ..
        }
    ));
}

#[test]
fn a_handle_of_another_channel_reaches_nothing() {
    let (mut mine, mut other) = (Bench::small(), Bench::small());
    // The same place and generation in both.
    let (id, own) = mine.open(Cookie(1));
    let (_, foreign) = other.open(Cookie(1));
    assert_eq!(own.index(), foreign.index());
    let unknown = SubmitError::UnknownHandle;
    let channel = &mut mine.channel;
    assert_eq!(channel.read(foreign), Err(unknown));
    assert_eq!(channel.read_multishot(foreign), Err(unknown));
    assert_eq!(channel.cancel_read(foreign).unwrap_err(), unknown);
    assert_eq!(channel.writev(foreign, &mut hello()), Err(unknown));
    assert_eq!(channel.receipt(foreign).unwrap_err(), unknown);
    assert_eq!(channel.disconnect(foreign), Err(unknown));
    assert_eq!(channel.unregister(foreign), Err(unknown));
    // Nor is another channel's buffer taken.
    let buffer = other.channel.buffer().unwrap();
    let refused = channel.read_into(own, buffer).unwrap_err();
    assert_eq!(refused.error, SubmitError::ForeignBuffer);
    drop(refused);
    assert_eq!(other.channel.in_use().free_buffers, 4);
    mine.world.arrive(id, b"for its own");
    mine.run(|channel| channel.read(own)).unwrap();
    assert!(matches!(mine.completion(), Completion::Read { .. }));
}
