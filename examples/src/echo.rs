//! Connections that send back what they receive, for examples that are about something else.

use alloc::{vec, vec::Vec};
use megapipe::completion::Completion::{self, Accept, Disconnect, Read, Write};
use megapipe::{Channel, Cookie, Handle, IoVec};

/// The connections of one core, by cookie.
#[derive(Debug)]
pub struct Echo(Vec<Option<Handle>>);

impl Echo {
    /// Makes room for the connections of a channel.
    pub fn new(connections: usize) -> Self {
        Echo(vec![None; connections])
    }

    /// Sees to a completion of one of them, or of a connection that was accepted; the example
    /// `ping-pong` says why.
    pub fn handle(&mut self, channel: &mut Channel, event: Completion) {
        let index = event.cookie().0 as usize;
        let conn = self.0.get(index).copied().flatten();
        let _ = match (event, conn) {
            (Accept { socket, .. }, _) => {
                let index = socket.index();
                let conn = channel.register(socket, Cookie(index as u64));
                self.0[index] = Some(conn);
                channel.read(conn)
            }
            (Read { result: Ok(0), .. }, Some(conn)) => channel.disconnect(conn),
            (Read { buffer, .. }, Some(conn)) => {
                let mut pieces = IoVec::from_iter(buffer);
                channel.writev(conn, &mut pieces)
            }
            (Write { .. }, Some(conn)) => channel.read(conn),
            (Disconnect { .. }, Some(conn)) => channel.unregister(conn),
            _ => Ok(()),
        };
    }
}
