//! A TCP load balancer: every connection that is accepted gets one to a backend, and what comes on
//! the one goes out on the other, both ways, finish by finish.
//!
//! Upstream: completions. Downstream: commands. A session is two connections. Each direction has one
//! read or one write under way: a side that does not read stops the other one. A side that finishes
//! sending finishes the sending to the other; when both have, the session is over. A side that breaks
//! breaks the other, so that nobody takes a part for the whole; a session on which nothing moves ends.

use crate::backends::{Backends, CONNECT_TIMEOUT};
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;
use megapipe::channel::CloseReason;
use megapipe::{
    Application, Buffer, Channel, Completion, ConnectFailure, ConnectHandle, Cookie, Handle,
    Instant, IoError, Lwsocket, SubmitError, TimerHandle,
};

/// The listener's cookie.
pub const LISTENER: Cookie = Cookie(u64::MAX);

/// Cookies of checks begin here; those of sessions are below.
const CHECKS: u64 = 1 << 40;

/// A session on which nothing was passed on for this long is ended, twice as long at most.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);

/// The two ends of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Client,
    Backend,
}

impl Side {
    fn other(self) -> Self {
        match self {
            Side::Client => Side::Backend,
            Side::Backend => Side::Client,
        }
    }
}

/// One session.
#[derive(Debug)]
struct Session {
    client: Option<Handle>,
    backend: Option<Handle>,
    /// While there is no backend: the connect, and the number of its backend.
    connect: Option<(ConnectHandle, usize)>,
    /// The connect's deadline, then when to look whether something has moved.
    deadline: Option<TimerHandle>,
    has_moved: bool,
    /// Backends tried.
    tries: usize,
}

impl Session {
    fn side(&mut self, side: Side) -> &mut Option<Handle> {
        match side {
            Side::Client => &mut self.client,
            Side::Backend => &mut self.backend,
        }
    }
}

/// What a proxy counts.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    sessions: u64,
    refused_full: u64,
    refused_no_backend: u64,
    connects_failed: u64,
    broken: u64,
    timed_out: u64,
    bytes: u64,
}

/// One core's proxy.
pub struct Proxy {
    backends: Backends,
    sessions: Vec<Option<Session>>,
    free: Vec<u32>,
    counts: Counts,
    is_checking: bool,
}

impl Proxy {
    /// Makes a proxy for so many connections, half of them to backends.
    pub fn new(backends: &[SocketAddr], connections: usize) -> Self {
        // A check of each backend takes one now and then.
        let sessions = connections.saturating_sub(backends.len()) / 2;
        let mut free = Vec::with_capacity(sessions);
        free.extend((0..sessions as u32).rev());
        Proxy {
            backends: Backends::new(backends, CHECKS),
            sessions: (0..sessions).map(|_| None).collect(),
            free,
            counts: Counts::default(),
            is_checking: false,
        }
    }

    fn handle(&mut self, channel: &mut Channel, completion: Completion) {
        let cookie = completion.cookie().0;
        let (index, side) = session_of(cookie);
        match completion {
            Completion::Accept { socket, .. } => self.begin(channel, socket),
            Completion::Connect { result, .. } if cookie >= CHECKS => {
                self.backends
                    .handle_check((cookie - CHECKS) as usize, result);
            }
            Completion::Connect { result, .. } => self.handle_connect(channel, index, result),
            Completion::Timer { .. } if cookie >= CHECKS => {
                self.backends
                    .handle_timer(channel, (cookie - CHECKS) as usize);
            }
            Completion::Timer { .. } => self.handle_deadline(channel, index),
            Completion::Read { buffer, result, .. } => {
                self.handle_read(channel, index, side, buffer, result);
            }
            // What has gone out on one side makes room for more from the other.
            Completion::Write {
                result: Ok(bytes), ..
            } => {
                self.counts.bytes += bytes as u64;
                if let Some(Some(session)) = self.sessions.get_mut(index as usize) {
                    session.has_moved = true;
                }
                self.read(channel, index, side.other());
            }
            Completion::Disconnect { reason, .. } => self.handle_end(channel, index, side, reason),
            // A write that failed: the end of its connection follows.
            _ => {}
        }
    }

    /// Begins a session with a client.
    fn begin(&mut self, channel: &mut Channel, socket: Lwsocket) {
        let Some(index) = self.free.pop() else {
            // Dropped, and so finished.
            self.counts.refused_full += 1;
            return;
        };
        self.counts.sessions += 1;
        let client = channel.register(socket, cookie_of(index, Side::Client));
        self.sessions[index as usize] = Some(Session {
            client: Some(client),
            backend: None,
            connect: None,
            deadline: None,
            has_moved: false,
            tries: 0,
        });
        self.connect(channel, index);
    }

    /// Connects a session to the next backend.
    fn connect(&mut self, channel: &mut Channel, index: u32) {
        let Some(Some(session)) = self.sessions.get_mut(index as usize) else {
            return;
        };
        let is_hopeless = session.tries == self.backends.count();
        let chosen = self.backends.choose().filter(|_| !is_hopeless);
        let Some((number, address)) = chosen else {
            self.counts.refused_no_backend += 1;
            return self.end(channel, index);
        };
        session.tries += 1;
        let cookie = cookie_of(index, Side::Backend);
        match channel.connect(address, cookie) {
            Ok(connect) => {
                session.connect = Some((connect, number));
                session.deadline = channel.timer(CONNECT_TIMEOUT, cookie).ok();
            }
            // As many connects are under way as there can be.
            Err(_) => {
                self.counts.refused_full += 1;
                self.end(channel, index);
            }
        }
    }

    fn handle_connect(
        &mut self,
        channel: &mut Channel,
        index: u32,
        result: Result<Lwsocket, ConnectFailure>,
    ) {
        let Some(Some(session)) = self.sessions.get_mut(index as usize) else {
            return;
        };
        let number = session.connect.take().map(|(_, number)| number);
        if let Some(deadline) = session.deadline.take() {
            let _ = channel.cancel_timer(deadline);
        }
        match (result, number) {
            (Ok(socket), _) => {
                let cookie = cookie_of(index, Side::Backend);
                let backend = channel.register(socket, cookie);
                session.backend = Some(backend);
                session.deadline = channel.timer(IDLE_TIMEOUT, cookie).ok();
                self.read(channel, index, Side::Client);
                self.read(channel, index, Side::Backend);
            }
            (Err(_), Some(number)) => {
                self.counts.connects_failed += 1;
                self.backends.note_failure(number);
                self.connect(channel, index);
            }
            (Err(_), None) => {}
        }
    }

    /// A backend has not answered in time, or it is time to see whether the session is idle.
    fn handle_deadline(&mut self, channel: &mut Channel, index: u32) {
        let Some(Some(session)) = self.sessions.get_mut(index as usize) else {
            return;
        };
        session.deadline = None;
        if let Some((connect, number)) = session.connect.take() {
            let _ = channel.cancel_connect(connect);
            self.counts.connects_failed += 1;
            self.backends.note_failure(number);
            self.connect(channel, index);
        } else if core::mem::take(&mut session.has_moved) {
            let cookie = cookie_of(index, Side::Backend);
            session.deadline = channel.timer(IDLE_TIMEOUT, cookie).ok();
        } else {
            self.counts.timed_out += 1;
            self.end(channel, index);
        }
    }

    /// Passes on what came, or the finish.
    fn handle_read(
        &mut self,
        channel: &mut Channel,
        index: u32,
        side: Side,
        buffer: Option<Buffer>,
        result: Result<usize, IoError>,
    ) {
        let Some(to) = self.handle_of(index, side.other()) else {
            return;
        };
        let passed = match (result, buffer) {
            (Ok(1..), Some(buffer)) => channel.write(to, buffer),
            (Ok(_), _) => channel.disconnect(to),
            // The end of the connection follows.
            (Err(_), _) => Ok(()),
        };
        match passed {
            // The other side has finished, or is over: its end is on its way.
            Ok(()) | Err(SubmitError::BrokenPipe | SubmitError::Closed(_)) => {}
            Err(_) => self.end(channel, index),
        }
    }

    /// A connection is over.
    fn handle_end(&mut self, channel: &mut Channel, index: u32, side: Side, reason: CloseReason) {
        if reason != CloseReason::Finished {
            self.counts.broken += 1;
            if let Some(other) = self.handle_of(index, side.other()) {
                // Over as well by now, or about to be.
                let _ = channel.abort(other);
            }
            return self.end(channel, index);
        }
        let Some(Some(session)) = self.sessions.get_mut(index as usize) else {
            return;
        };
        if let Some(handle) = session.side(side).take() {
            let _ = channel.unregister(handle);
        }
        match *session.side(side.other()) {
            // All that came has been passed on; nothing more will.
            Some(other) => {
                let _ = channel.disconnect(other);
            }
            None => self.end(channel, index),
        }
    }

    fn read(&mut self, channel: &mut Channel, index: u32, side: Side) {
        if let Some(handle) = self.handle_of(index, side) {
            // One that is over says so by its end.
            let _ = channel.read(handle);
        }
    }

    fn handle_of(&mut self, index: u32, side: Side) -> Option<Handle> {
        let session = self.sessions.get_mut(index as usize)?.as_mut()?;
        *session.side(side)
    }

    /// Ends a session with whatever it has.
    fn end(&mut self, channel: &mut Channel, index: u32) {
        let Some(session) = self.sessions.get_mut(index as usize).and_then(Option::take) else {
            return;
        };
        if let Some((connect, _)) = session.connect {
            let _ = channel.cancel_connect(connect);
        }
        if let Some(deadline) = session.deadline {
            let _ = channel.cancel_timer(deadline);
        }
        for handle in [session.client, session.backend].into_iter().flatten() {
            let _ = channel.unregister(handle);
        }
        self.free.push(index);
    }
}

impl Application for Proxy {
    fn run(&mut self, channel: &mut Channel, _now: Instant) {
        if !self.is_checking {
            self.is_checking = true;
            if let Err(error) = self.backends.begin(channel) {
                log::error!("backends are not checked: {error}");
            }
        }
        while let Some(completion) = channel.dispatch(None) {
            self.handle(channel, completion);
        }
    }

    fn tell_counters(&self, tell: &mut dyn FnMut(&'static str, u64)) {
        let counts = &self.counts;
        tell("sessions", counts.sessions);
        tell("sessions_refused_full", counts.refused_full);
        tell("sessions_refused_no_backend", counts.refused_no_backend);
        tell("backend_connects_failed", counts.connects_failed);
        tell("checks_failed", self.backends.checks_failed);
        tell("sessions_broken", counts.broken);
        tell("sessions_timed_out", counts.timed_out);
        tell("bytes_passed_on", counts.bytes);
        let in_use = self.sessions.len() - self.free.len();
        tell("sessions_now", in_use as u64);
        tell("backends_well_now", self.backends.well() as u64);
    }
}

fn cookie_of(index: u32, side: Side) -> Cookie {
    Cookie(u64::from(index) << 1 | u64::from(side == Side::Backend))
}

fn session_of(cookie: u64) -> (u32, Side) {
    let side = match cookie & 1 {
        0 => Side::Client,
        _ => Side::Backend,
    };
    ((cookie >> 1) as u32, side)
}
