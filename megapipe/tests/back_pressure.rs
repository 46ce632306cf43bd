//! Back-pressure to the end: a bulk transfer, sent back by the application, in which every side
//! stalls in turn; nothing is lost, and nobody keeps more than its memory has room for.
#![forbid(unsafe_code)]

mod support;

use kernel::{CoreMask, Instant};
use megapipe::{Application, Buffer, Channel, Completion, Cookie, Handle};
use net::testing::{Link, SocketHandle, World};
use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;
use support::{PORT, Rig};

const CONNECTIONS: usize = 4;
const WINDOW_BYTES: usize = 16_384;

/// How the application behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// It sends back at once.
    Prompt,
    /// It reads, and keeps its buffers.
    Keeping,
    /// It takes one completion each time it runs.
    Slow,
}

/// Sends back what it receives, from the buffers that it came in.
struct Echo {
    mode: Rc<Cell<Mode>>,
    handle: Option<Handle>,
    held: VecDeque<Buffer>,
    is_writing: bool,
    is_listening: bool,
}

impl Application for Echo {
    fn run(&mut self, channel: &mut Channel, _: Instant) {
        if !self.is_listening {
            let listener = channel.listen(PORT, Cookie(1), CoreMask::first(1)).unwrap();
            channel.accept_multishot(listener).unwrap();
            self.is_listening = true;
        }
        let mode = self.mode.get();
        let most = match mode {
            Mode::Slow => 1,
            Mode::Prompt | Mode::Keeping => usize::MAX,
        };
        let mut taken = 0;
        // It looks whether its mode has changed now and then.
        let pause = Some(Duration::from_millis(1));
        while taken < most
            && let Some(completion) = channel.dispatch(pause)
        {
            taken += 1;
            match completion {
                Completion::Accept { socket, .. } => {
                    let handle = channel.register(socket, Cookie(2));
                    channel.read_multishot(handle).unwrap();
                    self.handle = Some(handle);
                }
                Completion::Read {
                    buffer: Some(buffer),
                    ..
                } => self.held.push_back(buffer),
                Completion::Write { result, .. } => {
                    result.unwrap();
                    self.is_writing = false;
                }
                other => panic!("{other:?}"),
            }
        }
        if mode != Mode::Keeping
            && !self.is_writing
            && let (Some(handle), Some(buffer)) = (self.handle, self.held.pop_front())
        {
            channel.write(handle, buffer).unwrap();
            self.is_writing = true;
        }
    }
}

/// The client's side of the transfer.
struct Transfer {
    rig: Rig<Echo>,
    mode: Rc<Cell<Mode>>,
    socket: SocketHandle,
    sent: usize,
    received: usize,
}

fn byte(place: usize) -> u8 {
    (place * 7 / 3) as u8
}

impl Transfer {
    fn begin() -> Self {
        let mode = Rc::new(Cell::new(Mode::Prompt));
        let echo = Echo {
            mode: Rc::clone(&mode),
            handle: None,
            held: VecDeque::new(),
            is_writing: false,
            is_listening: false,
        };
        let mut rig = Rig::new(Link::new(), CONNECTIONS, WINDOW_BYTES, echo);
        let socket = rig.client.connect(PORT);
        rig.run(10);
        Transfer {
            rig,
            mode,
            socket,
            sent: 0,
            received: 0,
        }
    }

    /// Runs for `ms` milliseconds; the client sends all it can, and reads if it `reads`.
    fn run(&mut self, ms: u64, sends: bool, reads: bool) {
        for _ in 0..ms {
            if sends {
                let data: Vec<u8> = (self.sent..self.sent + 32_768).map(byte).collect();
                self.sent += self.rig.client.send(self.socket, &data);
            }
            if reads {
                for received in self.rig.client.receive(self.socket) {
                    assert_eq!(received, byte(self.received), "at {}", self.received);
                    self.received += 1;
                }
            }
            self.rig.run(1);
        }
    }

    fn under_way(&self) -> usize {
        self.sent - self.received
    }

    /// Runs until all that was sent has come back.
    fn finish(&mut self) {
        self.mode.set(Mode::Prompt);
        for _ in 0..10_000 {
            if self.received == self.sent {
                return;
            }
            self.run(10, false, true);
        }
        panic!("{} of {} bytes", self.received, self.sent);
    }
}

#[test]
fn every_side_may_stall_and_nothing_is_lost() {
    let mut transfer = Transfer::begin();
    transfer.run(200, true, true);
    assert!(transfer.received > 100_000, "{}", transfer.received);

    // A client that does not read stops the application's writes, those its reads, and those the
    // client's own sending.
    transfer.run(2_000, true, false);
    let stalled = transfer.under_way();
    transfer.run(2_000, true, false);
    assert_eq!(transfer.under_way(), stalled, "it goes on for ever");
    // Its own two buffers, and the stack's memory, all of which the application holds by now.
    let config = World::config(CONNECTIONS, WINDOW_BYTES);
    let bound = 2 * transfer.rig.client.buffer_bytes + config.chunks * config.chunk_bytes;
    assert!(stalled <= bound, "{stalled} of {bound}");
    transfer.finish();

    // An application that keeps its buffers stops the client.
    transfer.mode.set(Mode::Keeping);
    transfer.run(2_000, true, true);
    let stalled = transfer.under_way();
    transfer.run(1_000, true, true);
    assert_eq!(transfer.under_way(), stalled, "it goes on for ever");
    transfer.finish();

    // One that takes a completion at a time loses none of them.
    transfer.mode.set(Mode::Slow);
    let before = transfer.received;
    transfer.run(500, true, true);
    assert!(transfer.received > before);
    transfer.finish();
    assert_eq!(
        transfer
            .rig
            .core
            .channel()
            .counters()
            .commands_refused_ring_full,
        0
    );
}
