//! What the layer above asks of one connection: receive, send, shut down, abort, release. Each acts
//! on the socket at once; what follows from it goes out at the next
//! [`poll_transmit`](Stack::poll_transmit).
//!
//! Upstream: `megapipe`. Downstream: [`tcp`](crate::tcp), and `egress` by the dirty list.

use crate::connection::{Connection, ConnectionId, Role};
use crate::event::Pending;
use crate::nic::Nic;
use crate::stack::{ConnectionError, Stack};
use crate::tcp::Received;

impl<N: Nic> Stack<N> {
    /// Copies received bytes into `buf` and returns how many; `Ok(Some(0))` means that the peer
    /// has finished sending, and `Ok(None)` that nothing is there yet, or that `buf` is empty.
    ///
    /// # Errors
    /// [`ConnectionError`]; bytes that came before the connection broke are received first.
    #[inline]
    pub fn receive(
        &mut self,
        connection: ConnectionId,
        buf: &mut [u8],
    ) -> Result<Option<usize>, ConnectionError> {
        let (index, slot) = self.owned(connection)?;
        if buf.is_empty() {
            return Ok(None);
        }
        let (received, unread) = slot.socket.receive(buf);
        slot.unread_seen = unread;
        match received {
            Received::Bytes(bytes) => {
                // The window has grown, and the peer may have to be told.
                self.mark_dirty(index);
                Ok(Some(bytes))
            }
            Received::Nothing => Ok(None),
            Received::Finished => Ok(Some(0)),
            Received::Broken => Err(ConnectionError::Closed),
        }
    }

    /// Returns whether [`receive`](Self::receive) would have something: bytes, or the peer's finish.
    /// If not, [`Event::Readable`] follows when it has.
    ///
    /// [`Event::Readable`]: crate::stack::Event::Readable
    #[inline]
    pub fn is_readable(&mut self, connection: ConnectionId) -> bool {
        self.owned(connection).is_ok_and(|(_, slot)| {
            slot.socket.unread_bytes() > 0 || slot.socket.peer_has_finished()
        })
    }

    /// Copies as much of `data` as fits into the send buffer and returns how much, 0 when it is
    /// full. After less than all, [`Event::Writable`] follows when there is room.
    ///
    /// # Errors
    /// [`ConnectionError`].
    ///
    /// [`Event::Writable`]: crate::stack::Event::Writable
    pub fn send(
        &mut self,
        connection: ConnectionId,
        data: &[u8],
    ) -> Result<usize, ConnectionError> {
        let mut rest = data;
        self.send_with(connection, |room| {
            let count = rest.len().min(room.len());
            let (now, later) = rest.split_at(count);
            room[..count].copy_from_slice(now);
            rest = later;
            count
        })
    }

    /// Lets `fill` write straight into the free room of the send buffer, again and again until it
    /// writes less than it is offered (it has no more) or no room is left, and returns how many
    /// bytes it wrote. When it was offered all the room there is, [`Event::Writable`] follows when
    /// there is more.
    ///
    /// # Errors
    /// [`ConnectionError`].
    ///
    /// [`Event::Writable`]: crate::stack::Event::Writable
    #[inline]
    pub fn send_with(
        &mut self,
        connection: ConnectionId,
        fill: impl FnMut(&mut [u8]) -> usize,
    ) -> Result<usize, ConnectionError> {
        let (index, slot) = self.owned(connection)?;
        let (sent, has_room) = slot.socket.send_with(fill).ok_or(ConnectionError::Closed)?;
        slot.sequence_end = slot.sequence_end.wrapping_add(sent as u32);
        slot.wants_room |= !has_room;
        self.mark_dirty(index);
        Ok(sent)
    }

    /// Finishes sending: FIN after what is in the send buffer. Receiving goes on, for at most
    /// [`Self::LINGER`] after the peer has acknowledged the FIN.
    ///
    /// # Errors
    /// [`ConnectionError`].
    pub fn shutdown(&mut self, connection: ConnectionId) -> Result<(), ConnectionError> {
        let (index, slot) = self.owned(connection)?;
        if slot.end.is_some() {
            return Err(ConnectionError::Closed);
        }
        slot.close();
        self.mark_dirty(index);
        Ok(())
    }

    /// Ends the connection at once with RST.
    ///
    /// # Errors
    /// [`ConnectionError`].
    pub fn abort(&mut self, connection: ConnectionId) -> Result<(), ConnectionError> {
        let (index, slot) = self.owned(connection)?;
        if slot.end.is_some() {
            return Err(ConnectionError::Closed);
        }
        self.reset(index);
        Ok(())
    }

    /// Gives the connection back: the id is stale from now on, no event of it follows, and the
    /// slot is used again. One that is still open is finished in the background: FIN after its
    /// send buffer when nothing unread waits, else RST (RFC 2525 §2.17), within
    /// [`Self::LINGER`].
    ///
    /// # Errors
    /// [`ConnectionError::Unknown`].
    pub fn release(&mut self, connection: ConnectionId) -> Result<(), ConnectionError> {
        let linger = self.now + Self::LINGER;
        let (index, slot) = self.owned(connection)?;
        slot.role = Role::Released;
        slot.pending = Pending::default();
        if slot.end.is_some() {
            self.free_if_done(index);
        } else if slot.socket.unread_bytes() > 0 {
            self.output.counters.linger_resets += 1;
            self.reset(index);
        } else {
            slot.close();
            slot.linger = Some(linger);
            self.mark_dirty(index);
        }
        Ok(())
    }

    fn owned(
        &mut self,
        connection: ConnectionId,
    ) -> Result<(u32, &mut Connection), ConnectionError> {
        let found = self.connections.owned(connection);
        found.ok_or(ConnectionError::Unknown)
    }
}
