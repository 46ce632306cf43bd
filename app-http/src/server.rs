//! The server: one core's application, carrying requests and answers over its channel.
//!
//! Upstream: completions of the core's [`Channel`]. Downstream: `exchange`, which carries one
//! connection's requests and answers, and commands to the channel. A connection reads, answers, and reads again when the channel has taken the whole answer: a client that does
//! not read is not served faster than it does. Requests that came together are answered in order.
//! What takes too long is ended by `deadlines`, and all of it by `stopping`.
//!
//! Invariants: a connection has at most one read or one write under way; it holds a buffer only
//! while requests or parts of one wait in it; it always has a deadline; nothing is allocated after
//! [`Server::new`].

use crate::access_log::{AccessLog, LogConfig, LogSink};
use crate::admin::{Admin, AdminConfig};
use crate::connections::{Connection, Connections, Slot, State};
use crate::control::Control;
use crate::counters::ServerCounters;
use crate::deadlines::Look;
use crate::engine::{Engine, Rest};
use crate::limits::{ACCEPT_CREDIT, HeadLimits};
use crate::peers::Peers;
use crate::settings::Settings;
use crate::trace;
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::net::IpAddr;
use core::time::Duration;
use kernel::wall_clock::WallClock;
use kernel::{CoreMask, Instant};
use megapipe::channel::ListenHandle;
use megapipe::{Application, Channel, Completion, Cookie, Lwsocket};
use site::Site;

/// The listener's cookie; connections have theirs from 0 up.
const LISTENER: Cookie = Cookie(u64::MAX);
/// Cookies of timers: to look at deadlines, and to cut off what has not finished when the server stops.
pub(crate) const LOOK: Cookie = Cookie(u64::MAX - 1);
pub(crate) const CUT_OFF: Cookie = Cookie(u64::MAX - 2);

/// What a server is made with.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Port to listen on.
    pub port: u16,
    /// Cores whose connections come to this server; masks of one port must not overlap.
    pub cores: CoreMask,
    /// Connections at once; as many as the channel has handles.
    pub connections: u32,
    /// Bytes of the channel's own buffers; no head may be longer.
    pub buffer_bytes: usize,
    /// What tells the time of day.
    pub wall_clock: WallClock,
    /// What clients may do.
    pub settings: Settings,
    /// A secret that the places of addresses are hashed with.
    pub key: [u8; 16],
    /// What is told of each answer.
    pub log: Option<LogConfig>,
    /// Where the end is asked for and told.
    pub control: Arc<Control>,
}

impl ServerConfig {
    /// Returns the configuration of a server that runs alone, with the default settings; the rest is
    /// for the caller to change.
    pub fn alone(port: u16, connections: u32) -> Self {
        ServerConfig {
            port,
            cores: CoreMask::first(1),
            connections,
            buffer_bytes: HeadLimits::default().head_bytes,
            wall_clock: WallClock::fixed_at(0),
            settings: Settings::default(),
            key: [0; 16],
            log: None,
            control: Arc::new(Control::new(1)),
        }
    }
}

/// One core's server.
pub struct Server {
    pub(crate) config: ServerConfig,
    pub(crate) listening: Listening,
    pub(crate) connections: Connections,
    peers: Peers,
    admin: Option<Admin>,
    sink: Option<Box<dyn LogSink>>,
    pub(crate) engine: Engine,
    /// When the run under way began.
    pub(crate) now: Instant,
    pub(crate) stopping: Stopping,
    pub(crate) look: Look,
}

/// How far the end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stopping {
    /// Nobody has asked for it.
    No,
    /// Connections may finish until this moment.
    Until(Instant),
    /// Those that are left are being cut off.
    CutOff,
    /// There is no connection any more, and the others know.
    Done,
}

pub(crate) enum Listening {
    NotYet,
    /// `asked`: connections asked for that have not come.
    Yes {
        listener: ListenHandle,
        asked: u32,
    },
    Refused,
    /// No more: the server is stopping, and has still to say so, as the submission ring was full.
    Closing(ListenHandle),
    /// No more, as it said.
    Over,
}

impl Application for Server {
    fn run(&mut self, channel: &mut Channel, now: Instant) {
        self.now = now;
        self.engine.date.handle_time(now);
        if let Listening::NotYet = self.listening {
            self.listen(channel);
        }
        if self.connections.quiet_until() <= now {
            self.expire(channel);
        }
        while let Some(completion) = channel.dispatch(None) {
            self.handle_completion(channel, completion);
        }
        self.ask_for_connections(channel);
        if let Some(admin) = &mut self.admin
            && !admin.is_quiet()
        {
            admin.run(channel);
        }
        if let Some(sink) = &mut self.sink {
            let now = self.engine.date.unix_seconds();
            if self.engine.log.drain(sink.as_mut(), now, channel) {
                // In the next turn: what was answered in this one goes first.
                channel.run_within(Duration::from_nanos(1));
            }
        }
        if self.config.control.is_stopping() {
            self.stop(channel);
        }
        if self.connections.quiet_until() < self.look.covers {
            self.look_later(channel);
        }
    }

    fn tell_counters(&self, tell: &mut dyn FnMut(&'static str, u64)) {
        let counters = self.engine.counters.iter();
        counters.for_each(|(name, value)| tell(name, value));
    }
}

impl Server {
    /// Makes a server and takes all the memory it will ever use. It listens from the first
    /// [`Application::run`] on.
    pub fn new(site: Site<'static>, config: ServerConfig) -> Self {
        let settings = &config.settings;
        let connections = match settings.connections {
            0 => config.connections,
            limit => limit.min(config.connections),
        };
        Server {
            listening: Listening::NotYet,
            connections: Connections::new(connections),
            peers: Peers::new(connections, settings.connections_per_address, config.key),
            engine: Engine::new(
                site,
                settings.head.within(config.buffer_bytes),
                config.wall_clock,
                AccessLog::new(config.log),
            ),
            admin: None,
            sink: None,
            now: Instant::ZERO,
            stopping: Stopping::No,
            look: Look::NOT_SET,
            config,
        }
    }

    /// Serves an admin port too, with connections of its own: the channel has handles for them.
    #[must_use]
    pub fn with_admin(mut self, config: AdminConfig) -> Self {
        let control = Arc::clone(&self.config.control);
        self.admin = Some(Admin::new(config, control));
        self
    }

    /// Gives the lines of the access log to `sink`, a few in each run.
    #[must_use]
    pub fn with_log_sink(mut self, sink: Box<dyn LogSink>) -> Self {
        self.sink = Some(sink);
        self
    }

    /// Returns the counters.
    pub fn counters(&self) -> &ServerCounters {
        &self.engine.counters
    }

    /// Returns the access log, to take its lines out.
    pub fn log(&mut self) -> &mut AccessLog {
        &mut self.engine.log
    }

    /// Returns whether the server listens: false before its first run, when it has stopped, and for
    /// ever when the channel refused.
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
            Err(_) => self.engine.counters.commands_refused += 1,
        }
    }

    #[inline]
    fn handle_completion(&mut self, channel: &mut Channel, completion: Completion) {
        if let Some(admin) = &mut self.admin
            && Admin::has(completion.cookie())
        {
            return admin.handle(channel, completion, self.now);
        }
        match completion {
            Completion::Accept { socket, peer, .. } => {
                self.handle_accept(channel, socket, peer.ip());
            }
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
            Completion::Timer { cookie: LOOK } => self.look = Look::NOT_SET,
            // Each run looks whether it is time to cut off.
            Completion::Timer { .. } => {}
            // This server asks for none of these.
            Completion::MaskChanged { .. }
            | Completion::Acknowledged { .. }
            | Completion::Connect { .. } => {}
            Completion::ListenFailed { error, .. } => {
                log::error!("port {}: cannot listen: {error:?}", self.config.port);
                self.listening = Listening::Refused;
            }
        }
    }

    /// Takes a connection in. One that is not wanted is finished by dropping its socket.
    fn handle_accept(&mut self, channel: &mut Channel, socket: Lwsocket, peer: IpAddr) {
        match &mut self.listening {
            Listening::Yes { asked, .. } => *asked = asked.saturating_sub(1),
            _ => {
                self.engine.counters.refused_while_stopping += 1;
                return;
            }
        }
        if !self.peers.enter(peer) {
            self.engine.counters.address_limit_exceeded += 1;
            return;
        }
        self.engine.counters.connections += 1;
        // There is a free slot for every connection asked for.
        let slot = self.connections.insert(|slot| Connection {
            handle: channel.register(socket, Cookie(slot.to_word())),
            state: State::Idle,
            held: None,
            rest: Rest::None,
            deadline: self.now + self.config.settings.timeouts.header,
            since: self.now,
            requests_left: self.config.settings.requests_per_connection,
            answered: 0,
            peer,
        });
        if let Some(slot) = slot {
            channel.trace(trace::ACCEPTED, self.now, slot.to_word() as u32);
            self.read(channel, slot);
        }
    }

    /// Forgets a connection; the stack finishes it in the background, behind what is being sent.
    pub(crate) fn end(&mut self, channel: &mut Channel, slot: Slot) {
        let Some(connection) = self.connections.remove(slot) else {
            return;
        };
        channel.trace(trace::ENDED, self.now, slot.to_word() as u32);
        self.engine.forget(connection.rest);
        self.peers.leave(connection.peer);
        self.engine.counters.connections_ended += 1;
        if channel.unregister(connection.handle).is_err() {
            self.engine.counters.commands_refused += 1;
        }
    }
}
