//! The admin port: health, metrics, traces, and the wish to stop, for the appliance's operator.
//!
//! A second listener in the boot core's channel, with a few connections of its own that no client of
//! the site can take. Each request is answered on a connection of its own, whose end is the end of
//! the answer, so that a long one needs no length before it is written (RFC 9112 §6.3). Upstream:
//! [`server`](crate::server), which hands completions over. Downstream: [`metrics`](crate::metrics),
//! [`trace`](crate::trace) and [`control`](crate::control). What is asked for is in `admin_pages`.

use crate::admin_pages::{Answer, Text, answer};
use crate::control::Control;
use crate::limits::{ADMIN_CONNECTIONS, ADMIN_TIMEOUT, PUBLISH_LOOK, PUBLISH_PATIENCE};
use crate::metrics::Metrics;
use crate::trace::Traces;
use alloc::sync::Arc;
use kernel::{CoreMask, Instant};
use megapipe::channel::{Buffer, IoSlice, IoVec, ListenHandle, SubmitError, TimerHandle};
use megapipe::{Channel, Completion, Cookie, Handle, Lwsocket};

/// Cookies of the admin port have this bit, and those of its connections their place.
const ADMIN: u64 = 1 << 62;
const LISTENER: Cookie = Cookie(ADMIN | u32::MAX as u64);
/// Beside it, of the timer that ends a connection, and of the one that looks for counters.
const DEADLINE: u64 = ADMIN | 1 << 61;
const LOOK: u64 = ADMIN | 1 << 60;

/// What an admin port is made with.
#[derive(Debug, Clone)]
pub struct AdminConfig {
    /// The port.
    pub port: u16,
    /// The core that serves it.
    pub cores: CoreMask,
    /// What it shows.
    pub metrics: Arc<Metrics>,
    /// And this.
    pub traces: Arc<Traces>,
}

/// The admin port.
#[derive(Debug)]
pub struct Admin {
    config: AdminConfig,
    control: Arc<Control>,
    listener: Option<ListenHandle>,
    connections: [Option<Connection>; ADMIN_CONNECTIONS],
    /// Connections asked for that have not come.
    asked: u32,
}

#[derive(Debug)]
struct Connection {
    handle: Handle,
    state: State,
    deadline: TimerHandle,
}

#[derive(Debug)]
enum State {
    /// Waits for a whole request.
    Reading,
    /// Waits for every core's answer to this question, until then at most.
    Asking {
        asked: u64,
        until: Instant,
        timer: TimerHandle,
        text: Text,
    },
    /// Writes; then what is left of this.
    Writing(Option<Text>),
    /// This side has finished, and reads until the other has.
    Closing,
}

impl Admin {
    /// Makes an admin port; it listens from the first run on.
    pub fn new(config: AdminConfig, control: Arc<Control>) -> Self {
        Admin {
            config,
            control,
            listener: None,
            connections: [const { None }; ADMIN_CONNECTIONS],
            asked: 0,
        }
    }

    /// Tells whether a completion with this cookie is the admin port's.
    #[inline(always)]
    pub(crate) fn has(cookie: Cookie) -> bool {
        cookie.0 & ADMIN != 0 && cookie.0 >> 63 == 0
    }

    /// Returns whether [`run`](Self::run) has nothing to do: it waits for a connection already.
    #[inline(always)]
    pub(crate) fn is_quiet(&self) -> bool {
        self.asked > 0
    }

    /// Listens, and asks for a connection when there is room for one.
    #[cold]
    pub(crate) fn run(&mut self, channel: &mut Channel) {
        if self.listener.is_none() {
            match channel.listen(self.config.port, LISTENER, self.config.cores) {
                Ok(listener) => self.listener = Some(listener),
                Err(error) => return log::error!("admin port: cannot listen: {error}"),
            }
        }
        let has_room = self.connections.iter().any(Option::is_none);
        if let Some(listener) = self.listener
            && self.asked == 0
            && has_room
            && channel.accept(listener, 1).is_ok()
        {
            self.asked = 1;
        }
    }

    /// Handles a completion of the admin port.
    #[cold]
    pub(crate) fn handle(&mut self, channel: &mut Channel, completion: Completion, now: Instant) {
        match completion {
            Completion::Accept { socket, .. } => self.handle_accept(channel, socket),
            Completion::Read {
                cookie,
                buffer,
                result,
            } => match (buffer, result) {
                (Some(buffer), Ok(1..)) => {
                    self.handle_read(channel, place_of(cookie), buffer, now);
                }
                _ => self.end(channel, place_of(cookie)),
            },
            Completion::Write { cookie, result } => match result {
                Ok(_) => self.handle_write(channel, place_of(cookie)),
                Err(_) => self.end(channel, place_of(cookie)),
            },
            Completion::Disconnect { cookie, .. } => self.end(channel, place_of(cookie)),
            Completion::Timer { cookie } if cookie.0 & DEADLINE == DEADLINE => {
                self.end(channel, place_of(cookie));
            }
            Completion::Timer { cookie } => self.look(channel, place_of(cookie), now),
            Completion::ListenFailed { error, .. } => {
                log::error!("admin port: cannot listen: {error:?}");
            }
            _ => {}
        }
    }

    fn handle_accept(&mut self, channel: &mut Channel, socket: Lwsocket) {
        self.asked = 0;
        // Without room the connection is finished by dropping it.
        let Some(place) = self.connections.iter().position(Option::is_none) else {
            return;
        };
        // Without a timer neither: it could stay for ever.
        let Ok(deadline) = channel.timer(ADMIN_TIMEOUT, Cookie(DEADLINE | place as u64)) else {
            return;
        };
        let handle = channel.register(socket, Cookie(ADMIN | place as u64));
        self.connections[place] = Some(Connection {
            handle,
            state: State::Reading,
            deadline,
        });
        let result = channel.read(handle);
        self.check(channel, place, result);
    }

    fn handle_read(&mut self, channel: &mut Channel, place: usize, buffer: Buffer, now: Instant) {
        let Some(Some(connection)) = self.connections.get_mut(place) else {
            return;
        };
        let handle = connection.handle;
        let result = match connection.state {
            // What comes behind the request is thrown away.
            State::Closing => channel.read(handle),
            State::Writing(_) | State::Asking { .. } => Ok(()),
            State::Reading => match answer(buffer.filled(), &self.control) {
                None if buffer.spare() > 0 => {
                    let read = channel.read_into(handle, buffer);
                    read.map_err(|refused| refused.error)
                }
                answer => {
                    drop(buffer);
                    let answer = answer.unwrap_or(Answer::BAD_REQUEST);
                    return self.begin(channel, place, answer, now);
                }
            },
        };
        self.check(channel, place, result);
    }

    fn begin(&mut self, channel: &mut Channel, place: usize, answer: Answer, now: Instant) {
        match answer {
            Answer::Page(page) => {
                let mut pieces = IoVec::from_iter([IoSlice::from_static(page.0)]);
                self.write(channel, place, &mut pieces, None);
            }
            Answer::Stop => {
                self.control.stop();
                self.begin(channel, place, Answer::WILL_STOP, now);
                let told = channel.notify(self.all_cores());
                self.check(channel, place, told);
            }
            Answer::Trace(is_on) => {
                self.config.traces.switch(is_on);
                self.control.ask();
                let text = if is_on {
                    Answer::TRACING
                } else {
                    Answer::TRACED
                };
                self.begin(channel, place, text, now);
                let told = channel.notify(self.all_cores());
                self.check(channel, place, told);
            }
            Answer::Text(text) => {
                let asked = self.control.ask();
                let told = channel.notify(self.all_cores());
                self.check(channel, place, told);
                self.wait(channel, place, (asked, now + PUBLISH_PATIENCE), text);
            }
        }
    }

    fn all_cores(&self) -> CoreMask {
        CoreMask::first(self.config.metrics.cores())
    }

    /// Waits for the answers of all cores to a question, until then at most.
    fn wait(
        &mut self,
        channel: &mut Channel,
        place: usize,
        (asked, until): (u64, Instant),
        text: Text,
    ) {
        let Some(Some(connection)) = self.connections.get_mut(place) else {
            return;
        };
        let timer = channel.timer(PUBLISH_LOOK, Cookie(LOOK | place as u64));
        let result = timer.map(|timer| {
            connection.state = State::Asking {
                asked,
                until,
                timer,
                text,
            };
        });
        self.check(channel, place, result);
    }

    /// Answers when every core has published, or has had time enough for it.
    fn look(&mut self, channel: &mut Channel, place: usize, now: Instant) {
        let Some(Some(connection)) = self.connections.get(place) else {
            return;
        };
        let State::Asking {
            asked, until, text, ..
        } = connection.state
        else {
            return;
        };
        let is_complete = self.config.metrics.is_answered(asked);
        if !is_complete && now < until {
            return self.wait(channel, place, (asked, until), text);
        }
        let mut pieces = IoVec::from_iter([IoSlice::from_static(text.head(is_complete))]);
        self.write(channel, place, &mut pieces, Some(text));
    }

    fn handle_write(&mut self, channel: &mut Channel, place: usize) {
        let Some(Some(connection)) = self.connections.get_mut(place) else {
            return;
        };
        let State::Writing(text) = &mut connection.state else {
            return;
        };
        let Some(mut text) = text.take() else {
            return self.close(channel, place);
        };
        let Some(mut buffer) = channel.buffer() else {
            // The client sees an answer that was cut off.
            return self.end(channel, place);
        };
        let put =
            |lines: &[u8]| lines.len() <= buffer.spare() && buffer.append(lines) == lines.len();
        let is_done = match &mut text {
            Text::Metrics(cursor) => cursor.write(&self.config.metrics, put),
            Text::Trace(cursor) => cursor.write(&self.config.traces, put),
        };
        let mut pieces = IoVec::from_iter([buffer]);
        self.write(channel, place, &mut pieces, (!is_done).then_some(text));
    }

    fn write(
        &mut self,
        channel: &mut Channel,
        place: usize,
        pieces: &mut IoVec,
        text: Option<Text>,
    ) {
        let Some(Some(connection)) = self.connections.get_mut(place) else {
            return;
        };
        connection.state = State::Writing(text);
        let result = channel.writev(connection.handle, pieces);
        self.check(channel, place, result);
    }

    /// Finishes this side; the connection goes when the other has finished too.
    fn close(&mut self, channel: &mut Channel, place: usize) {
        let Some(Some(connection)) = self.connections.get_mut(place) else {
            return;
        };
        connection.state = State::Closing;
        let handle = connection.handle;
        let result = channel
            .disconnect(handle)
            .and_then(|()| channel.read(handle));
        self.check(channel, place, result);
    }

    fn check(&mut self, channel: &mut Channel, place: usize, result: Result<(), SubmitError>) {
        if result.is_err() {
            self.end(channel, place);
        }
    }

    fn end(&mut self, channel: &mut Channel, place: usize) {
        let connection = self.connections.get_mut(place).and_then(Option::take);
        if let Some(connection) = connection {
            // A timer whose time has come is not told any more.
            let _ = channel.cancel_timer(connection.deadline);
            if let State::Asking { timer, .. } = connection.state {
                let _ = channel.cancel_timer(timer);
            }
            // A handle that could not be given back goes with its connection.
            let _ = channel.unregister(connection.handle);
        }
    }
}

fn place_of(cookie: Cookie) -> usize {
    (cookie.0 & u64::from(u32::MAX)) as usize
}
