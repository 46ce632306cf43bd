//! Random sequences of calls, arrivals and breaks against what the paper's rules allow.

use super::world::Bench;
use crate::channel::{ChannelConfig, Completion, Cookie, Handle, IoSlice, IoVec, SubmitError};
use kernel::Instant;
use net::stack::{CloseReason, ConnectionId};
use std::collections::BTreeMap;
use std::vec::Vec;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }
}

static OUT: [u8; 256] = {
    let mut bytes = [0; 256];
    let mut index = 0;
    while index < 256 {
        bytes[index] = index as u8;
        index += 1;
    }
    bytes
};

/// What the test knows of one registered handle.
struct Known {
    id: ConnectionId,
    handle: Handle,
    arrived: Vec<u8>,
    read: Vec<u8>,
    written: Vec<u8>,
    reading: bool,
    /// Bytes of the write under way.
    writing: Option<usize>,
    is_over: bool,
}

struct Model {
    bench: Bench,
    random: Random,
    known: BTreeMap<u64, Known>,
    next_cookie: u64,
}

const HANDLES: usize = 6;
const BUFFERS: usize = 4;

impl Model {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let mut bench = Bench::new(ChannelConfig {
            handles: HANDLES,
            batch: 1 + random.below(8),
            chunks: 64,
            buffers: BUFFERS,
            buffer_bytes: 16,
            timers: 16,
        });
        bench.world.send_room = 3;
        Model {
            bench,
            random,
            known: BTreeMap::new(),
            next_cookie: 0,
        }
    }

    fn pick(&mut self) -> Option<u64> {
        let count = self.known.len();
        let nth = self.random.below(count.max(1));
        self.known.keys().nth(nth).copied()
    }

    /// Something happens on the other side of the network.
    fn disturb(&mut self) {
        let action = self.random.below(8);
        if action == 0 {
            self.bench.world.arrive_new();
            return;
        }
        let Some(cookie) = self.pick() else { return };
        let id = self.known[&cookie].id;
        if self.bench.world.peer(id).over.is_some() {
            return;
        }
        match action {
            1..=3 if !self.bench.world.peer(id).is_finished => {
                let data: Vec<u8> = (0..self.random.below(40)).map(|byte| byte as u8).collect();
                self.bench.world.arrive(id, &data);
                self.known.get_mut(&cookie).unwrap().arrived.extend(data);
            }
            4 | 5 => {
                let room = self.random.below(4);
                self.bench.world.make_room(id, room);
            }
            6 => self.bench.world.finish(id),
            7 if self.random.below(8) == 0 => self.bench.world.end(id, CloseReason::Reset),
            _ => {}
        }
    }

    /// The application does something on its own.
    fn command(&mut self) {
        let Some(cookie) = self.pick() else { return };
        let action = self.random.below(8);
        let length = 1 + self.random.below(200);
        let known = self.known.get_mut(&cookie).unwrap();
        let channel = &mut self.bench.channel;
        match action {
            0..=2 => match channel.read(known.handle) {
                Ok(()) => assert!(!core::mem::replace(&mut known.reading, true)),
                Err(SubmitError::Busy) => assert!(known.reading),
                Err(error) => {
                    assert!(matches!(
                        error,
                        SubmitError::RingFull | SubmitError::BrokenPipe
                    ));
                }
            },
            3..=5 => {
                let mut pieces = IoVec::new();
                let half = length / 2;
                let _ = pieces.push(IoSlice::from_static(&OUT[..half]));
                if let Some(mut buffer) = channel.buffer() {
                    buffer.append(b"buffer");
                    let _ = pieces.push(buffer);
                }
                let _ = pieces.push(IoSlice::from_static(&OUT[half..length]));
                let bytes: Vec<u8> = pieces.iter().flat_map(IoSlice::bytes).copied().collect();
                match channel.writev(known.handle, &mut pieces) {
                    Ok(()) => {
                        assert!(known.writing.is_none());
                        known.writing = Some(bytes.len());
                        known.written.extend(bytes);
                    }
                    Err(SubmitError::Busy) => {
                        assert!(known.writing.is_some());
                    }
                    Err(_) => {}
                }
            }
            6 if length < 40 => drop(channel.disconnect(known.handle)),
            7 if length < 40 && channel.unregister(known.handle).is_ok() => {
                let stale = known.handle;
                self.known.remove(&cookie);
                assert_eq!(channel.read(stale), Err(SubmitError::UnknownHandle));
            }
            _ => {}
        }
    }

    /// Checks one completion against what is known.
    fn check(&mut self, completion: Completion) {
        match completion {
            Completion::Accept { socket, .. } => {
                if self.random.below(5) == 0 {
                    return;
                }
                self.next_cookie += 1;
                let index = socket.index();
                let id = self.bench.world.peers[index].as_ref().unwrap().id;
                let handle = self
                    .bench
                    .channel
                    .register(socket, Cookie(self.next_cookie));
                let known = Known {
                    id,
                    handle,
                    arrived: Vec::new(),
                    read: Vec::new(),
                    written: Vec::new(),
                    reading: false,
                    writing: None,
                    is_over: false,
                };
                self.known.insert(self.next_cookie, known);
            }
            Completion::Read {
                cookie,
                buffer,
                result,
            } => {
                let known = self
                    .known
                    .get_mut(&cookie.0)
                    .expect("told of a live handle only");
                assert!(core::mem::take(&mut known.reading) && !known.is_over);
                if let Ok(bytes) = result {
                    let buffer = buffer.as_ref().map_or(&[][..], |buffer| buffer.filled());
                    assert_eq!(buffer.len(), bytes);
                    known.read.extend(buffer);
                    assert!(known.arrived.starts_with(&known.read));
                }
            }
            Completion::Write { cookie, result } => {
                let known = self
                    .known
                    .get_mut(&cookie.0)
                    .expect("told of a live handle only");
                let asked = known.writing.take().expect("a write was under way");
                assert!(!known.is_over);
                if let Ok(bytes) = result {
                    assert_eq!(bytes, asked);
                    assert_eq!(self.bench.world.peer(known.id).sent, known.written);
                }
            }
            Completion::Disconnect { cookie, .. } => {
                let known = self
                    .known
                    .get_mut(&cookie.0)
                    .expect("told of a live handle only");
                assert!(!known.is_over && !known.reading && known.writing.is_none());
                known.is_over = true;
            }
            _ => {
                panic!("the listener is open, and stays as it is")
            }
        }
    }

    /// One run of the application, as the core would do it.
    fn step(&mut self) {
        for _ in 0..self.random.below(6) {
            self.disturb();
        }
        self.bench
            .channel
            .collect(Instant::ZERO, &mut self.bench.world);
        self.bench.channel.begin_run(kernel::Instant::ZERO);
        for _ in 0..self.random.below(6) {
            self.command();
        }
        while let Some(completion) = self.bench.channel.dispatch(None) {
            self.check(completion);
            if self.random.below(3) == 0 {
                self.command();
            }
        }
        self.bench.channel.flush_to(&mut self.bench.world);
    }

    /// Lets every peer read all, and checks that nothing still waits that could go on.
    fn settle(&mut self) {
        for _ in 0..2 {
            for known in self.known.values() {
                if !known.is_over {
                    self.bench.world.make_room(known.id, 1 << 20);
                }
            }
            for _ in 0..=HANDLES {
                for completion in self.bench.completions() {
                    self.check(completion);
                }
            }
        }
        for known in self.known.values() {
            assert_eq!(known.writing, None);
            let is_drained = known.read.len() == known.arrived.len();
            assert!(
                !known.reading || is_drained,
                "a read waits though there is something"
            );
        }
    }

    /// Ends everything and checks that nothing is left.
    fn finish(mut self) {
        self.settle();
        while let Some(cookie) = self.pick() {
            let handle = self.known[&cookie].handle;
            self.bench
                .run(|channel| channel.unregister(handle))
                .unwrap();
            self.known.remove(&cookie);
        }
        drop(self.bench.completions());
        for _ in 0..HANDLES {
            drop(self.bench.completions());
        }
        let left = self.bench.channel.in_use();
        assert_eq!((left.lwsockets, left.handles, left.writes), (0, 0, 0));
        assert_eq!(left.free_buffers, BUFFERS);
        assert_eq!(self.bench.world.chunks_out, 0);
        assert!(self.bench.world.peers.iter().all(Option::is_none));
    }
}

#[test]
fn random_calls_keep_the_rules_and_leave_nothing_behind() {
    for seed in 0..300 {
        let mut model = Model::new(seed);
        for _ in 0..300 {
            model.step();
        }
        model.finish();
    }
}
