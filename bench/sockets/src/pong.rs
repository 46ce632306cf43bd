//! The ping-pong server over these sockets: sends back what it receives, as a program with one thread
//! per core and an event loop is written. The counterpart of the example `ping-pong`.

use crate::limits::{ACCEPTS_PER_EVENT, SEND_PAGE_BYTES};
use crate::thread::{Cpu, Event, Events, Socket, SocketError, Thread};
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use kernel::Instant;
use net::Nic;

/// Bytes of a connection's buffer.
pub const BUFFER_BYTES: usize = SEND_PAGE_BYTES;

/// The connections of one core, by token.
pub struct Pong {
    places: Box<[Option<Connection>]>,
    free: Vec<u32>,
    /// One buffer per connection.
    buffers: Box<[u8]>,
    events: Events,
}

/// One connection: what is in its buffer and not sent back yet.
#[derive(Debug, Clone, Copy)]
struct Connection {
    socket: Socket,
    start: usize,
    end: usize,
}

impl Pong {
    /// Makes room for so many connections.
    pub fn new(connections: usize) -> Self {
        Pong {
            places: vec![None; connections].into_boxed_slice(),
            free: (0..connections as u32).rev().collect(),
            buffers: vec![0; connections * BUFFER_BYTES].into_boxed_slice(),
            events: Events::new(),
        }
    }

    /// Waits for events, until `deadline`, and sees to them as one batch.
    pub fn run<N: Nic, C: Cpu>(
        &mut self,
        thread: &mut Thread<'_, N, C>,
        deadline: Option<Instant>,
    ) {
        let mut events = core::mem::take(&mut self.events);
        thread.wait(&mut events, deadline);
        if !events.is_empty() {
            thread.batch(|thread| {
                for event in &events {
                    match *event {
                        Event::Listener => self.accept(thread),
                        Event::Socket(token) => self.serve(thread, token),
                    }
                }
            });
        }
        self.events = events;
    }

    /// Takes connections in, not all at once: the other cores have a share in them.
    fn accept<N: Nic, C: Cpu>(&mut self, thread: &mut Thread<'_, N, C>) {
        for _ in 0..ACCEPTS_PER_EVENT {
            let Some(socket) = thread.accept() else {
                return;
            };
            let Some(place) = self.free.pop() else {
                // More than this program has room for.
                let _ = thread.close(socket);
                return;
            };
            self.places[place as usize] = Some(Connection {
                socket,
                start: 0,
                end: 0,
            });
            if thread.watch(socket, u64::from(place)).is_err() {
                self.end(thread, place);
            }
        }
    }

    /// Sends back what has come.
    fn serve<N: Nic, C: Cpu>(&mut self, thread: &mut Thread<'_, N, C>, token: u64) {
        let place = token as usize;
        let Some(connection) = self.places.get_mut(place).and_then(Option::as_mut) else {
            return;
        };
        let buffer = &mut self.buffers[place * BUFFER_BYTES..][..BUFFER_BYTES];
        // One that had to wait for room may have been told of what came meanwhile.
        let mut rounds = if connection.start < connection.end {
            2
        } else {
            1
        };
        let outcome = loop {
            if connection.start == connection.end {
                if rounds == 0 {
                    return;
                }
                match thread.receive(connection.socket, buffer) {
                    Ok(0) => break Err(SocketError::Closed),
                    Ok(count) => (connection.start, connection.end) = (0, count),
                    Err(error) => break Err(error),
                }
            }
            rounds -= 1;
            match thread.send(connection.socket, &buffer[connection.start..connection.end]) {
                Ok(count) => connection.start += count,
                Err(error) => break Err(error),
            }
            if connection.start < connection.end {
                break Ok(());
            }
        };
        match outcome {
            Ok(()) | Err(SocketError::WouldBlock) => {}
            Err(SocketError::Closed | SocketError::Unknown) => self.end(thread, place as u32),
        }
    }

    fn end<N: Nic, C: Cpu>(&mut self, thread: &mut Thread<'_, N, C>, place: u32) {
        if let Some(connection) = self.places[place as usize].take() {
            self.free.push(place);
            // Known: it was accepted here, and is closed once.
            let _ = thread.close(connection.socket);
        }
    }
}
