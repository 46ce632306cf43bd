//! The server: one core's application, carrying requests and answers over its channel.
//!
//! Upstream: completions of the core's [`Channel`]. Downstream: commands to it. A connection
//! reads, answers, and reads again when the channel has taken the whole answer: a client that does
//! not read is not served faster than it does. Requests that came together are answered in order.
//!
//! Invariants: a connection has at most one read or one write under way; it holds a buffer only
//! while requests or parts of one wait in it; nothing is allocated after [`Server::new`].

use crate::batch::Answering;
use crate::connections::{Connection, Connections, Slot, State};
use crate::counters::ServerCounters;
use crate::limits::{ACCEPT_CREDIT, MAX_LINGER_BYTES, MAX_TARGET_BYTES};
use crate::request::{Next, answer_to_overlong_head};
use crate::response::DateLine;
use crate::target::Scratch;
use alloc::boxed::Box;
use kernel::{CoreMask, Instant};
use megapipe::channel::{Buffer, IoError, ListenHandle, SubmitError};
use megapipe::{Application, Channel, Completion, Cookie, Lwsocket};
use site::Site;

/// The listener's cookie; connections have theirs from 0 up.
const LISTENER: Cookie = Cookie(u64::MAX);

/// What a server is made with.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Port to listen on.
    pub port: u16,
    /// Cores whose connections come to this server; masks of one port must not overlap.
    pub cores: CoreMask,
    /// Connections at once; as many as the channel has handles.
    pub connections: u32,
    /// Unix time at boot, in seconds.
    pub unix_seconds_at_boot: u64,
}

/// One core's server.
pub struct Server {
    site: Site<'static>,
    config: ServerConfig,
    listening: Listening,
    connections: Connections,
    date: DateLine,
    scratch: Box<Scratch>,
    counters: ServerCounters,
}

enum Listening {
    NotYet,
    /// `asked`: connections asked for that have not come.
    Yes {
        listener: ListenHandle,
        asked: u32,
    },
    Refused,
}

impl Application for Server {
    fn run(&mut self, channel: &mut Channel, now: Instant) {
        self.date.handle_time(now);
        if let Listening::NotYet = self.listening {
            self.listen(channel);
        }
        // No timeout: a deadline for idle and slow connections would be given here.
        while let Some(completion) = channel.dispatch(None) {
            self.handle_completion(channel, completion);
        }
        self.ask_for_connections(channel);
    }

    fn tell_counters(&self, tell: &mut dyn FnMut(&'static str, u64)) {
        self.counters
            .iter()
            .for_each(|(name, value)| tell(name, value));
    }
}

impl Server {
    /// Makes a server and takes all the memory it will ever use. It listens from the first
    /// [`Application::run`] on.
    pub fn new(site: Site<'static>, config: ServerConfig) -> Self {
        Server {
            site,
            listening: Listening::NotYet,
            connections: Connections::new(config.connections),
            date: DateLine::new(config.unix_seconds_at_boot),
            scratch: Box::new([0; MAX_TARGET_BYTES]),
            counters: ServerCounters::default(),
            config,
        }
    }

    /// Returns the counters.
    pub fn counters(&self) -> &ServerCounters {
        &self.counters
    }

    /// Returns whether the server listens: false before its first run, and for ever when the
    /// channel refused.
    pub fn is_listening(&self) -> bool {
        matches!(self.listening, Listening::Yes { .. })
    }

    #[cold]
    fn listen(&mut self, channel: &mut Channel) {
        self.listening = match channel.listen(self.config.port, LISTENER, self.config.cores) {
            Ok(listener) => Listening::Yes { listener, asked: 0 },
            Err(error) => {
                log::error!("port {}: cannot listen: {error:?}", self.config.port);
                Listening::Refused
            }
        };
        self.ask_for_connections(channel);
    }

    /// Keeps connections asked for, never more than there are free slots.
    #[inline]
    fn ask_for_connections(&mut self, channel: &mut Channel) {
        let Listening::Yes { listener, asked } = &mut self.listening else {
            return;
        };
        let wanted = self.connections.free_count().min(ACCEPT_CREDIT as usize) as u32;
        // Not one by one: only when half has come.
        if *asked > wanted / 2 || wanted == 0 {
            return;
        }
        match channel.accept(*listener, wanted - *asked) {
            Ok(()) => *asked = wanted,
            Err(_) => self.counters.commands_refused += 1,
        }
    }

    fn handle_completion(&mut self, channel: &mut Channel, completion: Completion) {
        match completion {
            Completion::Accept { socket, .. } => self.handle_accept(channel, socket),
            Completion::Read {
                cookie,
                buffer,
                result,
            } => self.handle_read(channel, Slot::from_word(cookie.0), buffer, result),
            Completion::Write { cookie, result } => {
                self.handle_write(channel, Slot::from_word(cookie.0), result);
            }
            Completion::Disconnect { cookie, .. } => {
                self.end(channel, Slot::from_word(cookie.0));
            }
            // This server never asks for another mask.
            Completion::MaskChanged { .. } => {}
            Completion::ListenFailed { error, .. } => {
                log::error!("port {}: cannot listen: {error:?}", self.config.port);
                self.listening = Listening::Refused;
            }
        }
    }

    fn handle_accept(&mut self, channel: &mut Channel, socket: Lwsocket) {
        if let Listening::Yes { asked, .. } = &mut self.listening {
            *asked = asked.saturating_sub(1);
        }
        self.counters.connections += 1;
        // There is a free slot for every connection asked for.
        let slot = self.connections.insert(|slot| Connection {
            handle: channel.register(socket, Cookie(slot.to_word())),
            state: State::Reading { skip: 0 },
            held: None,
        });
        if let Some(slot) = slot {
            self.read(channel, slot, 0);
        }
    }

    fn handle_read(
        &mut self,
        channel: &mut Channel,
        slot: Slot,
        buffer: Option<Buffer>,
        result: Result<usize, IoError>,
    ) {
        let Some(connection) = self.connections.connection(slot) else {
            return;
        };
        let (Ok(count @ 1..), Some(buffer)) = (result, buffer) else {
            // The peer has finished sending, or is gone. What is left of a request is not
            // answered.
            return self.end(channel, slot);
        };
        self.counters.bytes_in += count as u64;
        match connection.state {
            State::Reading { skip: 0 } => self.handle_requests(channel, slot, buffer),
            State::Reading { skip } => self.skip_content(channel, slot, skip, buffer),
            State::Lingering { left } => {
                drop(buffer);
                match left.checked_sub(count as u32) {
                    Some(left) => {
                        connection.state = State::Lingering { left };
                        let handle = connection.handle;
                        let result = channel.read(handle);
                        self.check(channel, slot, result);
                    }
                    None => {
                        self.counters.linger_exceeded += 1;
                        self.end(channel, slot);
                    }
                }
            }
            // No read is under way while a write is.
            State::Writing(_) => self.end(channel, slot),
        }
    }

    #[cold]
    fn skip_content(&mut self, channel: &mut Channel, slot: Slot, skip: u32, mut buffer: Buffer) {
        let here = buffer.filled().len().min(skip as usize);
        if here < buffer.filled().len() {
            buffer.consume(here);
            self.handle_requests(channel, slot, buffer);
        } else {
            drop(buffer);
            self.read(channel, slot, skip - here as u32);
        }
    }

    /// Answers what is complete in `buffer`, or reads on.
    fn handle_requests(&mut self, channel: &mut Channel, slot: Slot, mut buffer: Buffer) {
        let Some(connection) = self.connections.connection(slot) else {
            return;
        };
        let mut answering = Answering {
            site: &self.site,
            date: &self.date,
            scratch: &mut self.scratch,
            counters: &mut self.counters,
        };
        let written = channel.writev_with(connection.handle, |pieces| {
            answering.answer_all(buffer.filled(), pieces)
        });
        match written {
            Ok(batch) => {
                buffer.consume(batch.consumed);
                connection.state = State::Writing(batch.next);
                // Requests behind those answered.
                connection.held = (!buffer.filled().is_empty()).then_some(buffer);
            }
            Err(SubmitError::Empty) if buffer.spare() > 0 => self.read_on(channel, slot, buffer),
            Err(SubmitError::Empty) => self.read_on_in_larger(channel, slot, buffer),
            Err(error) => self.check(channel, slot, Err(error)),
        }
    }

    /// Reads on behind a part of a request that fills its buffer, in one of the channel's own.
    #[cold]
    fn read_on_in_larger(&mut self, channel: &mut Channel, slot: Slot, buffer: Buffer) {
        let Some(mut larger) = channel.buffer() else {
            self.counters.large_heads_refused += 1;
            return self.end(channel, slot);
        };
        if larger.append(buffer.filled()) == buffer.filled().len() && larger.spare() > 0 {
            self.read_on(channel, slot, larger);
        } else {
            self.refuse_overlong_head(channel, slot, buffer);
        }
    }

    /// Refuses a request whose head fills the buffer and goes on.
    #[cold]
    fn refuse_overlong_head(&mut self, channel: &mut Channel, slot: Slot, buffer: Buffer) {
        let Some(connection) = self.connections.connection(slot) else {
            return;
        };
        let refusal = answer_to_overlong_head(buffer.filled());
        drop(buffer);
        let mut answering = Answering {
            site: &self.site,
            date: &self.date,
            scratch: &mut self.scratch,
            counters: &mut self.counters,
        };
        connection.state = State::Writing(refusal.next);
        let written = channel.writev_with(connection.handle, |pieces| {
            answering.push(&refusal, pieces);
        });
        self.check(channel, slot, written);
    }

    fn handle_write(&mut self, channel: &mut Channel, slot: Slot, result: Result<usize, IoError>) {
        let Some(connection) = self.connections.connection(slot) else {
            return;
        };
        let (State::Writing(next), Ok(count)) = (connection.state, result) else {
            return self.end(channel, slot);
        };
        self.counters.bytes_out += count as u64;
        match (next, connection.held.take()) {
            (Next::Request { skip }, None) => self.read(channel, slot, skip),
            // What is held starts with a request: content that had come was stepped over.
            (Next::Request { .. }, Some(buffer)) => self.handle_requests(channel, slot, buffer),
            (Next::Close, _) => self.end(channel, slot),
            (Next::Linger, _) => {
                connection.state = State::Lingering {
                    left: MAX_LINGER_BYTES,
                };
                let handle = connection.handle;
                let result = channel
                    .disconnect(handle)
                    .and_then(|()| channel.read(handle));
                self.check(channel, slot, result);
            }
        }
    }

    /// Waits for the next request, or for the rest of the content before it.
    fn read(&mut self, channel: &mut Channel, slot: Slot, skip: u32) {
        let Some(connection) = self.connections.connection(slot) else {
            return;
        };
        connection.state = State::Reading { skip };
        let result = channel.read(connection.handle);
        self.check(channel, slot, result);
    }

    /// Reads on behind the part of a request that is in `buffer`.
    #[cold]
    fn read_on(&mut self, channel: &mut Channel, slot: Slot, buffer: Buffer) {
        let Some(connection) = self.connections.connection(slot) else {
            return;
        };
        self.counters.partial_heads += 1;
        connection.state = State::Reading { skip: 0 };
        let result = channel.read_into(connection.handle, buffer);
        self.check(channel, slot, result.map_err(|refused| refused.error));
    }

    /// Ends a connection when a command on it was refused.
    #[inline]
    fn check(&mut self, channel: &mut Channel, slot: Slot, result: Result<(), SubmitError>) {
        match result {
            Ok(()) => {}
            // The connection broke before the command.
            Err(SubmitError::BrokenPipe) => self.end(channel, slot),
            Err(_) => {
                self.counters.commands_refused += 1;
                self.end(channel, slot);
            }
        }
    }

    /// Forgets a connection; the stack finishes it in the background, behind what is being sent.
    fn end(&mut self, channel: &mut Channel, slot: Slot) {
        let Some(connection) = self.connections.remove(slot) else {
            return;
        };
        self.counters.connections_ended += 1;
        if channel.unregister(connection.handle).is_err() {
            self.counters.commands_refused += 1;
        }
    }
}
