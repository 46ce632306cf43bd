//! A core at the end of an in-memory link, and a client on the other end.
#![allow(dead_code, reason = "not every test uses all of it")]

use kernel::{CoreMask, Instant};
use megapipe::channel::ChannelUse;
use megapipe::{
    Application, Channel, ChannelConfig, Completion, Cookie, Core, Handle, IoSlice, IoVec,
    SubmitError,
};
use net::testing::{Client, Link, MemoryNic, World, next_event};
use std::time::Duration;

pub(crate) const PORT: u16 = 7;
pub(crate) const BUFFERS: usize = 64;
const LISTENER: Cookie = Cookie(u64::MAX);

/// A core with an application, its client, and virtual time.
pub(crate) struct Rig<A: Application> {
    pub(crate) core: Core<MemoryNic, A>,
    pub(crate) client: Client,
    pub(crate) link: Link,
    pub(crate) now: Instant,
}

impl<A: Application> Rig<A> {
    pub(crate) fn new(link: Link, connections: usize, buffer_bytes: usize, application: A) -> Self {
        let config = World::config(connections, buffer_bytes);
        let stack = net::testing::stack(config, link.nic(0));
        let channel = Channel::create(ChannelConfig {
            handles: connections,
            batch: 32,
            chunks: 64,
            buffers: BUFFERS,
            buffer_bytes: 2048,
            timers: 16,
        });
        let client = Client::new(&link);
        let mut rig = Rig {
            core: Core::new(stack, channel, application),
            client,
            link,
            now: Instant::ZERO,
        };
        rig.settle();
        rig
    }

    /// Runs core and client until nothing more happens at this moment.
    pub(crate) fn settle(&mut self) {
        self.link.set_now(self.now);
        loop {
            let client_moved = self.client.poll(self.now);
            if !self.core.turn(self.now).is_busy & !client_moved {
                return;
            }
        }
    }

    /// Runs core and client for `ms` milliseconds of virtual time, from event to event.
    pub(crate) fn run(&mut self, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        loop {
            self.settle();
            let stack = self.core.stack().next_deadline();
            match next_event(&self.link, &mut self.client, stack, self.now, end) {
                Some(next) => self.now = next,
                None => break,
            }
        }
        self.now = end;
        self.settle();
    }

    /// Checks that no connection, lwsocket, handle, write or buffer is in use.
    pub(crate) fn assert_idle(&self) {
        let idle = ChannelUse {
            free_buffers: BUFFERS,
            ..ChannelUse::default()
        };
        assert_eq!(self.core.channel().in_use(), idle);
    }
}

/// The paper's ping-pong server: sends back what it receives, and ends what the peer ends.
pub(crate) struct PingPong {
    handles: Vec<Option<Handle>>,
    is_listening: bool,
}

impl PingPong {
    pub(crate) fn new(connections: usize) -> Self {
        PingPong {
            handles: vec![None; connections],
            is_listening: false,
        }
    }

    fn serve(&mut self, channel: &mut Channel) -> Result<(), SubmitError> {
        if !self.is_listening {
            let listener = channel.listen(PORT, LISTENER, CoreMask::first(1))?;
            channel.accept(listener, u32::MAX)?;
            self.is_listening = true;
        }
        while let Some(completion) = channel.dispatch(None) {
            match completion {
                Completion::Accept { socket, .. } => {
                    let index = socket.index();
                    let handle = channel.register(socket, Cookie(index as u64));
                    self.handles[index] = Some(handle);
                    // A connection that is over already is told so.
                    let _ = channel.read(handle);
                }
                Completion::Read {
                    cookie,
                    buffer: Some(bytes),
                    ..
                } => {
                    if let Some(handle) = self.handles[cookie.0 as usize] {
                        let mut pieces = IoVec::from_iter([bytes]);
                        let _ = channel.writev(handle, &mut pieces);
                    }
                }
                Completion::Write {
                    cookie,
                    result: Ok(_),
                } => {
                    if let Some(handle) = self.handles[cookie.0 as usize] {
                        let _ = channel.read(handle);
                    }
                }
                Completion::Read { cookie, .. } | Completion::Disconnect { cookie, .. } => {
                    if let Some(handle) = self.handles[cookie.0 as usize].take() {
                        channel.unregister(handle)?;
                    }
                }
                Completion::Write { .. } => {}
                Completion::ListenFailed { error, .. } => panic!("{error:?}"),
                other => panic!("nobody asked for {other:?}"),
            }
        }
        Ok(())
    }
}

impl Application for PingPong {
    fn run(&mut self, channel: &mut Channel, _: Instant) {
        self.serve(channel)
            .expect("the commands of one completion fit");
    }
}

/// Sends the same bytes to everyone who connects, one write after the other, and then finishes.
pub(crate) struct Sender {
    body: &'static [u8],
    /// By the cookie: the handle, and the bytes still to be written.
    handles: Vec<Option<(Handle, &'static [u8])>>,
    is_listening: bool,
    /// Writes that were complete.
    pub(crate) written: usize,
}

/// Bytes of one write of a [`Sender`].
pub(crate) const WRITE_BYTES: usize = 50_000;

impl Sender {
    pub(crate) fn new(connections: usize, body: &'static [u8]) -> Self {
        Sender {
            body,
            handles: vec![None; connections],
            is_listening: false,
            written: 0,
        }
    }

    fn write_next(&mut self, channel: &mut Channel, index: usize) {
        let Some((handle, rest)) = &mut self.handles[index] else {
            return;
        };
        let (now, later) = rest.split_at(rest.len().min(WRITE_BYTES));
        *rest = later;
        if now.is_empty() {
            let _ = channel.disconnect(*handle);
        } else {
            let halves = now.split_at(now.len() / 2);
            let pieces = [
                IoSlice::from_static(halves.0),
                IoSlice::from_static(halves.1),
            ];
            let _ = channel.writev(*handle, &mut IoVec::from_iter(pieces));
        }
    }
}

impl Application for Sender {
    fn run(&mut self, channel: &mut Channel, _: Instant) {
        if !self.is_listening {
            let listener = channel.listen(PORT, LISTENER, CoreMask::first(1)).unwrap();
            channel.accept(listener, u32::MAX).unwrap();
            self.is_listening = true;
        }
        while let Some(completion) = channel.dispatch(None) {
            match completion {
                Completion::Accept { socket, .. } => {
                    let index = socket.index();
                    let handle = channel.register(socket, Cookie(index as u64));
                    self.handles[index] = Some((handle, self.body));
                    let _ = channel.read(handle);
                    self.write_next(channel, index);
                }
                Completion::Write { cookie, result } => {
                    self.written += usize::from(result.is_ok());
                    self.write_next(channel, cookie.0 as usize);
                }
                Completion::Disconnect { cookie, .. } => {
                    if let Some((handle, _)) = self.handles[cookie.0 as usize].take() {
                        channel.unregister(handle).unwrap();
                    }
                }
                Completion::Read { .. } => {}
                Completion::ListenFailed { error, .. } => panic!("{error:?}"),
                other => panic!("nobody asked for {other:?}"),
            }
        }
    }
}
