//! Writes: by pieces, against a peer that does not read, and their memory.

use super::world::Bench;
use crate::channel::{Completion, Cookie, IoSlice, IoVec, SubmitError};

static BODY: [u8; 1000] = [b'b'; 1000];

fn pieces(bench: &mut Bench) -> IoVec {
    let mut buffer = bench.channel.buffer().unwrap();
    buffer.append(b"buffer");
    IoVec::from_iter([
        IoSlice::Static(b"head"),
        IoSlice::Inline(heapless::Vec::from_slice(b"inline").unwrap()),
        IoSlice::Buffer(buffer),
        IoSlice::Static(&BODY),
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

#[test]
fn a_refused_write_leaves_its_pieces() {
    let mut bench = Bench::small();
    let (_, handle) = bench.open(Cookie(7));
    let refused = bench.channel.writev(handle, &mut IoVec::new());
    assert_eq!(refused, Err(SubmitError::Empty));
    let mut nothing = IoVec::from_iter([IoSlice::Static(b"")]);
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
        let mut write = IoVec::from_iter([IoSlice::Static(b"pong")]);
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
