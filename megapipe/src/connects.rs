//! Connections that the application begins: the calls `connect` and `cancel_connect`, and what comes
//! of them on the stack's side.
//!
//! A connect has a place of its own until it is told, so that its outcome never waits for room.
//! Upstream: the stack's events. Downstream: the completion ring. Invariant: a connection that nobody
//! was told of is given back.

use crate::channel::Channel;
use crate::completion::{Completion, ConnectFailure, Cookie, SubmitError};
use crate::connections::Connections;
use crate::handle_table::Phase;
use crate::limits::CONNECTS;
use crate::lwsocket::{ConnectHandle, Lwsocket};
use crate::ready::Ready;
use crate::submissions::Command;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::SocketAddr;
use net::stack::{CloseReason, ConnectionId};

/// The connects of one channel.
pub(crate) struct ConnectTable {
    places: Box<[Place]>,
    free: Vec<u16>,
}

struct Place {
    cookie: Cookie,
    generation: u32,
    state: State,
    /// In the completion ring.
    is_queued: bool,
}

enum State {
    Free,
    /// The command is in the submission ring.
    Asked(SocketAddr),
    /// The stack shakes hands.
    UnderWay(ConnectionId),
    /// To be told.
    Done(Result<Lwsocket, ConnectFailure>),
}

impl ConnectTable {
    pub(crate) fn new() -> Self {
        let place = |_| Place {
            cookie: Cookie::default(),
            generation: 0,
            state: State::Free,
            is_queued: false,
        };
        let mut free = Vec::with_capacity(CONNECTS);
        free.extend((0..CONNECTS as u16).rev());
        ConnectTable {
            places: (0..CONNECTS).map(place).collect(),
            free,
        }
    }

    /// Returns how many are asked for and not told.
    pub(crate) fn in_use(&self) -> usize {
        self.places.len() - self.free.len()
    }

    fn release(&mut self, index: u16) -> State {
        let place = &mut self.places[usize::from(index)];
        place.generation = place.generation.wrapping_add(1);
        self.free.push(index);
        core::mem::replace(&mut place.state, State::Free)
    }
}

/// The application's side.
impl Channel {
    /// Begins a connection to `remote`. [`Completion::Connect`] with `cookie` brings it, to be
    /// registered, or says why it came to nothing.
    ///
    /// # Errors
    /// [`SubmitError::RingFull`], [`SubmitError::TooManyConnects`].
    pub fn connect(
        &mut self,
        remote: SocketAddr,
        cookie: Cookie,
    ) -> Result<ConnectHandle, SubmitError> {
        let &index = self
            .connects
            .free
            .last()
            .ok_or(SubmitError::TooManyConnects)?;
        self.commands.push(Command::Connect(index))?;
        self.connects.free.pop();
        let place = &mut self.connects.places[usize::from(index)];
        place.cookie = cookie;
        place.state = State::Asked(remote);
        Ok(ConnectHandle {
            index,
            generation: place.generation,
            channel: self.table.tag(),
        })
    }

    /// Gives a connect up: nothing is told of it any more, and a connection that it has led to is
    /// ended.
    ///
    /// # Errors
    /// [`SubmitError::UnknownHandle`], also when it was told; [`SubmitError::RingFull`].
    pub fn cancel_connect(&mut self, connect: ConnectHandle) -> Result<(), SubmitError> {
        let place = self.connects.places.get(usize::from(connect.index));
        let place = place.filter(|place| {
            place.generation == connect.generation && connect.channel == self.table.tag()
        });
        match place.map(|place| &place.state) {
            None | Some(State::Free) => {
                self.counters.commands_refused_stale += 1;
                return Err(SubmitError::UnknownHandle);
            }
            Some(State::Asked(_)) => {}
            Some(&State::UnderWay(connection)) => {
                self.commands.push(Command::Release(connection))?;
                if let Some(slot) = self.table.of(connection) {
                    slot.begin(connection);
                }
            }
            Some(State::Done(_)) => self.counters.completions_cancelled += 1,
        }
        // A lwsocket in it is dropped, and so given back.
        self.connects.release(connect.index);
        Ok(())
    }

    /// Takes the connect at the front of the ring.
    pub(crate) fn next_of_connect(&mut self, index: u16) -> Option<Completion> {
        self.ready.pop();
        let place = self.connects.places.get_mut(usize::from(index))?;
        place.is_queued = false;
        let State::Done(_) = place.state else {
            // It was given up, and perhaps its place is another's by now.
            return None;
        };
        let cookie = place.cookie;
        match self.connects.release(index) {
            State::Done(result) => Some(Completion::Connect { cookie, result }),
            _ => None,
        }
    }
}

/// The stack's side.
impl Channel {
    pub(crate) fn begin_connect(&mut self, index: u16, stack: &mut impl Connections) {
        let place = &mut self.connects.places[usize::from(index)];
        let State::Asked(remote) = place.state else {
            // It was given up before the flush.
            return;
        };
        let connection = match stack.connect(remote, self.now) {
            Ok(connection) => connection,
            Err(error) => return self.end_connect(index, Err(error.into())),
        };
        let Some(slot) = self.table.at(connection.index()) else {
            // More connections than handles: a wrong configuration, not a leak.
            let _ = stack.release(connection);
            return self.end_connect(index, Err(ConnectFailure::OutOfMemory));
        };
        slot.begin(connection);
        slot.phase = Phase::Connecting;
        slot.cookie = Cookie(index.into());
        place.state = State::UnderWay(connection);
    }

    /// A connection of ours is open.
    pub(crate) fn on_connected(&mut self, connection: ConnectionId) {
        let slot = self.table.of(connection);
        let Some(slot) = slot.filter(|slot| slot.phase == Phase::Connecting) else {
            self.counters.events_unknown += 1;
            return;
        };
        slot.phase = Phase::Accepted;
        slot.is_readable = true;
        let index = slot.cookie.0 as u16;
        let socket = Lwsocket::new(connection, &self.orphans);
        self.counters.connected += 1;
        self.end_connect(index, Ok(socket));
    }

    /// A connection of ours came to nothing; returns whether it is one.
    pub(crate) fn on_connect_failed(
        &mut self,
        connection: ConnectionId,
        reason: CloseReason,
        stack: &mut impl Connections,
    ) -> bool {
        let slot = self.table.of(connection);
        let Some(slot) = slot.filter(|slot| slot.phase == Phase::Connecting) else {
            return false;
        };
        let index = slot.cookie.0 as u16;
        slot.begin(connection);
        // It is over: nothing is left but to give the place back.
        let _ = stack.release(connection);
        self.end_connect(index, Err(ConnectFailure::from_close(reason)));
        true
    }

    fn end_connect(&mut self, index: u16, result: Result<Lwsocket, ConnectFailure>) {
        self.counters.connects_failed += u64::from(result.is_err());
        let place = &mut self.connects.places[usize::from(index)];
        place.state = State::Done(result);
        if !place.is_queued {
            place.is_queued = true;
            self.ready.push(Ready::Connect(index));
        }
    }
}
