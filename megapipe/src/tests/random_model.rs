//! A simple model of the API: what is known of each handle, timer and connect, and so which outcomes
//! of a call, and which completions, there may be.

use super::random_listeners::KnownListener;
use super::world::{Bench, World};
use crate::channel::{
    Channel, ChannelConfig, Completion, ConnectHandle, Cookie, Handle, ListenHandle, SubmitError,
    TimerHandle,
};
use core::time::Duration;
use kernel::{CoreMask, Instant};
use net::stack::{CloseReason, ConnectionId};
use std::collections::{BTreeMap, BTreeSet};
use std::vec::Vec;

/// Whose handle a call is given.
#[derive(Debug, Clone, Copy)]
pub(super) enum Target {
    /// One that is known.
    Live(usize),
    /// One that was.
    Stale(usize),
    /// One of another channel.
    Foreign,
}

/// What read is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    Single,
    Into,
    Multishot,
    /// Multishot and cancelled: one more completion may come.
    Ending,
}

/// What write is under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Writing {
    pub(super) bytes: usize,
    pub(super) is_quiet: bool,
    /// What the stack had been asked for before it.
    pub(super) lends: usize,
}

/// What is known of one registered handle.
pub(super) struct Known {
    pub(super) id: ConnectionId,
    pub(super) handle: Handle,
    pub(super) arrived: Vec<u8>,
    pub(super) read: Vec<u8>,
    pub(super) written: Vec<u8>,
    pub(super) reading: Option<Reading>,
    pub(super) writing: Option<Writing>,
    pub(super) receipts: usize,
    pub(super) is_over: bool,
}

/// Handles of another channel, each of which this one has too.
pub(super) struct Foreign {
    pub(super) handle: Handle,
    pub(super) timer: TimerHandle,
    pub(super) connect: ConnectHandle,
    pub(super) listener: ListenHandle,
    _bench: Bench,
}

pub(super) struct Model {
    pub(super) now: Instant,
    pub(super) bench: Bench,
    pub(super) handles: BTreeMap<u64, Known>,
    pub(super) connects: BTreeMap<u64, ConnectHandle>,
    pub(super) timers: BTreeMap<u64, (TimerHandle, Instant)>,
    pub(super) listeners: BTreeMap<u64, KnownListener>,
    /// Listeners whose command waits for the flush, and how many unregistered ones' do.
    pub(super) unflushed_listeners: BTreeSet<u64>,
    pub(super) unflushed_unlistens: usize,
    pub(super) stale: Vec<Handle>,
    pub(super) stale_timers: Vec<TimerHandle>,
    pub(super) stale_connects: Vec<ConnectHandle>,
    pub(super) stale_listeners: Vec<ListenHandle>,
    pub(super) foreign: Foreign,
    pub(super) next_cookie: u64,
}

const HANDLES: usize = 6;
const BUFFERS: usize = 4;
pub(super) const TIMERS: usize = 3;
pub(super) const UNKNOWN: SubmitError = SubmitError::UnknownHandle;

pub(super) static OUT: [u8; 300] = {
    let mut bytes = [0; 300];
    let mut index = 0;
    while index < 300 {
        bytes[index] = index as u8;
        index += 1;
    }
    bytes
};

fn config(batch: usize) -> ChannelConfig {
    ChannelConfig {
        handles: HANDLES,
        batch,
        chunks: 64,
        buffers: BUFFERS,
        buffer_bytes: 16,
        timers: TIMERS,
    }
}

/// A bench that listens nowhere yet.
fn bench(batch: usize) -> Bench {
    let mut bench = Bench {
        world: World::new(HANDLES),
        channel: Channel::create(config(batch)),
    };
    bench.world.send_room = 3;
    bench.world.holds = true;
    bench
}

/// Chooses one of what there is.
pub(super) fn choose<V>(from: &BTreeMap<u64, V>, number: usize) -> Option<u64> {
    from.keys().nth(number % from.len().max(1)).copied()
}

impl Model {
    pub(super) fn new(batch: usize) -> Self {
        let mut other = Bench::new(config(4));
        let (_, handle) = other.open(Cookie(0));
        let timer = other.channel.timer(Duration::ZERO, Cookie(0)).unwrap();
        let connect = other
            .channel
            .connect("10.0.0.1:1".parse().unwrap(), Cookie(0));
        let listener = other.channel.listen(81, Cookie(0), CoreMask::first(1));
        let mut model = Model {
            now: Instant::ZERO,
            bench: bench(batch),
            handles: BTreeMap::new(),
            connects: BTreeMap::new(),
            timers: BTreeMap::new(),
            listeners: BTreeMap::new(),
            unflushed_listeners: BTreeSet::new(),
            unflushed_unlistens: 0,
            stale: Vec::new(),
            stale_timers: Vec::new(),
            stale_connects: Vec::new(),
            stale_listeners: Vec::new(),
            foreign: Foreign {
                handle,
                timer,
                connect: connect.unwrap(),
                listener: listener.unwrap(),
                _bench: other,
            },
            next_cookie: 0,
        };
        model.listen(0, CoreMask::first(1));
        model.accept(Target::Live(0), None);
        model
    }

    pub(super) fn cookie(&mut self) -> u64 {
        self.next_cookie += 1;
        self.next_cookie
    }

    /// A connection whose end is not known to anyone, by its handle.
    fn peer(&mut self, number: usize) -> Option<(u64, ConnectionId)> {
        let cookie = choose(&self.handles, number)?;
        let id = self.handles[&cookie].id;
        self.bench
            .world
            .peer(id)
            .over
            .is_none()
            .then_some((cookie, id))
    }

    // What others do.

    pub(super) fn arrive(&mut self, number: usize) {
        let world = &mut self.bench.world;
        if let Some(number) = number.checked_rem(world.ports.open.len()) {
            world.arrive_at(number);
        }
    }

    /// Something happens to a connection that waits to be accepted.
    pub(super) fn disturb(&mut self, number: usize, reason: Option<CloseReason>) {
        let world = &mut self.bench.world;
        let count = world.ports.waiting().count();
        let Some(number) = number.checked_rem(count) else {
            return;
        };
        let id = world.ports.waiting().nth(number).unwrap();
        match reason {
            _ if world.peer(id).over.is_some() || world.peer(id).is_finished => {}
            Some(reason) => world.end(id, reason),
            None => world.arrive(id, &OUT[..50]),
        }
    }

    pub(super) fn bytes(&mut self, number: usize, bytes: usize) {
        if let Some((cookie, id)) = self.peer(number)
            && !self.bench.world.peer(id).is_finished
        {
            self.bench.world.arrive(id, &OUT[..bytes]);
            let known = self.handles.get_mut(&cookie).unwrap();
            known.arrived.extend(&OUT[..bytes]);
        }
    }

    pub(super) fn room(&mut self, number: usize, pieces: usize) {
        if let Some((_, id)) = self.peer(number) {
            self.bench.world.make_room(id, pieces);
        }
    }

    pub(super) fn acknowledge(&mut self, number: usize, pieces: usize) {
        if let Some((_, id)) = self.peer(number) {
            self.bench.world.acknowledge(id, pieces);
        }
    }

    pub(super) fn finish(&mut self, number: usize) {
        if let Some((_, id)) = self.peer(number) {
            self.bench.world.finish(id);
        }
    }

    pub(super) fn break_off(&mut self, number: usize, reason: CloseReason) {
        if let Some((_, id)) = self.peer(number) {
            self.bench.world.end(id, reason);
        }
    }

    /// One of the connections that this side has begun.
    fn asked(&mut self, number: usize) -> Option<ConnectionId> {
        let World { asked, peers, .. } = &mut self.bench.world;
        asked.retain(|(id, _)| {
            peers[id.index()]
                .as_ref()
                .is_some_and(|peer| peer.id == *id)
        });
        let number = number.checked_rem(asked.len())?;
        Some(asked.swap_remove(number).0)
    }

    pub(super) fn open(&mut self, number: usize) {
        if let Some(id) = self.asked(number) {
            self.bench.world.open(id);
        }
    }

    pub(super) fn refuse(&mut self, number: usize, reason: CloseReason) {
        if let Some(id) = self.asked(number) {
            self.bench.world.end(id, reason);
        }
    }

    /// One run of the application, as the core would do it.
    pub(super) fn run(&mut self, most: usize) {
        self.bench.channel.collect(self.now, &mut self.bench.world);
        self.bench.channel.begin_run(self.now);
        for _ in 0..most {
            match self.bench.channel.dispatch(None) {
                Some(completion) => self.check(completion),
                None => break,
            }
        }
        self.bench.channel.flush_to(&mut self.bench.world);
        self.unflushed_listeners.clear();
        self.unflushed_unlistens = 0;
        self.check_writes();
    }

    /// Whether a write is under way is known exactly: a quiet one that was handed over at once is not.
    fn check_writes(&mut self) {
        let Bench { world, channel } = &mut self.bench;
        for known in self.handles.values_mut() {
            let is_writing = channel.is_writing(known.handle).unwrap();
            if let Some(writing) = known.writing.filter(|_| !is_writing) {
                let peer = world.peer(known.id);
                assert!(writing.is_quiet, "a write was not told");
                assert_eq!(peer.lends, writing.lends + 1, "it had to wait");
                assert_eq!(peer.sent, known.written);
                known.writing = None;
            }
            assert_eq!(is_writing, known.writing.is_some());
        }
    }

    fn register(&mut self, socket: crate::Lwsocket) {
        let cookie = self.cookie();
        if cookie.is_multiple_of(5) {
            // Nobody wants it.
            return;
        }
        let index = socket.index();
        let peer = self.bench.world.peers[index].as_ref().unwrap();
        let (id, arrived) = (peer.id, peer.incoming.iter().copied().collect());
        let handle = self.bench.channel.register(socket, Cookie(cookie));
        let known = Known {
            id,
            handle,
            arrived,
            read: Vec::new(),
            written: Vec::new(),
            reading: None,
            writing: None,
            receipts: 0,
            is_over: false,
        };
        self.handles.insert(cookie, known);
    }

    /// Checks one completion against what is known.
    fn check(&mut self, completion: Completion) {
        let cookie = completion.cookie().0;
        match completion {
            Completion::Accept {
                socket, pending, ..
            } => {
                self.check_accept(cookie, &socket, pending);
                return self.register(socket);
            }
            Completion::ListenFailed { error, .. } => {
                return self.check_listen_failed(cookie, error);
            }
            Completion::MaskChanged { result, .. } => {
                return self.check_mask_changed(cookie, result);
            }
            Completion::Connect { result, .. } => {
                let connect = self.connects.remove(&cookie).expect("a live connect");
                self.stale_connects.push(connect);
                return result.into_iter().for_each(|socket| self.register(socket));
            }
            Completion::Timer { .. } => {
                let (timer, due) = self.timers.remove(&cookie).expect("a live timer");
                assert!(due <= self.now, "early");
                return self.stale_timers.push(timer);
            }
            _ => {}
        }
        let known = self.handles.get_mut(&cookie).expect("a live handle");
        assert!(!known.is_over, "Disconnect is the last");
        match completion {
            Completion::Read { buffer, result, .. } => {
                let reading = known.reading.take().expect("a read was under way");
                let has_bytes = matches!(result, Ok(1..));
                if reading == Reading::Multishot && has_bytes {
                    known.reading = Some(reading);
                }
                if let Ok(bytes) = result {
                    let buffer = buffer.as_ref().map_or(&[][..], |buffer| buffer.filled());
                    assert_eq!(buffer.len(), bytes);
                    known.read.extend(buffer);
                    assert!(known.arrived.starts_with(&known.read));
                }
            }
            Completion::Write { result, .. } => {
                let writing = known.writing.take().expect("a write was under way");
                if let Ok(bytes) = result {
                    assert_eq!(bytes, writing.bytes);
                    let peer = self.bench.world.peer(known.id);
                    assert_eq!(peer.sent, known.written);
                    assert!(!writing.is_quiet || peer.lends > writing.lends + 1, "quiet");
                }
            }
            Completion::Acknowledged { receipts, .. } => {
                known.receipts = known.receipts.checked_sub(receipts).expect("given out");
            }
            Completion::Disconnect { reason, .. } => {
                assert!(known.writing.is_none());
                let (reading, receipts) = (known.reading, known.receipts);
                assert!(!matches!(reading, Some(Reading::Single | Reading::Into)));
                assert_eq!(receipts, 0, "all came back");
                if reason == CloseReason::Finished {
                    assert_eq!(known.read, known.arrived, "nothing unread is lost");
                }
                known.reading = None;
                known.is_over = true;
            }
            other => panic!("{other:?}"),
        }
    }

    /// Ends everything, and checks that nothing is left.
    pub(super) fn end(&mut self) {
        self.run(0);
        while let Some((_, connect)) = self.connects.pop_first() {
            self.bench.channel.cancel_connect(connect).unwrap();
            self.run(0);
        }
        self.now = self.now + Duration::from_secs(1);
        for _ in 0..200 {
            self.run(10);
        }
        assert!(self.timers.is_empty(), "a timer was not told");
        self.end_listeners();
        while let Some((_, known)) = self.handles.pop_first() {
            self.bench.channel.unregister(known.handle).unwrap();
            self.run(0);
        }
        for _ in 0..200 {
            self.run(10);
            while let Some((_, known)) = self.handles.pop_first() {
                self.bench.channel.unregister(known.handle).unwrap();
                self.run(0);
            }
        }
        let left = self.bench.channel.in_use();
        assert_eq!((left.lwsockets, left.handles, left.writes), (0, 0, 0));
        assert_eq!(left.free_buffers, BUFFERS);
        let counters = self.bench.channel.counters();
        let now = [
            counters.connects_now,
            counters.timers_now,
            counters.receipts_now,
        ];
        assert_eq!(now, [0; 3]);
        assert_eq!(self.bench.world.chunks_out, 0);
        assert!(self.bench.world.peers.iter().all(Option::is_none));
    }
}
