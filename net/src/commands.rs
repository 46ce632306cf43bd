//! What the layer above asks of one connection: receive, send, shut down, abort, release. Each acts
//! on the connection at once; what follows from it goes out at the next
//! [`poll_transmit`](Stack::poll_transmit).
//!
//! Upstream: `megapipe`. Downstream: [`tcp`](crate::tcp), and `egress` by the dirty list.

use crate::chunk::Chunk;
use crate::connection::{Connection, ConnectionId, Role};
use crate::event::Pending;
use crate::limits;
use crate::nic::Nic;
use crate::stack::{ConnectionError, Loan, ReceiveError, Stack};
use crate::tcp::{Lent, Tcb};
use alloc::boxed::Box;

impl<N: Nic, P: Lent> Stack<N, P> {
    /// Takes the oldest chunk of received bytes, without a copy; it is to be
    /// [given back](Self::give_back). `Ok(None)` means that nothing is there yet, an empty chunk
    /// never comes.
    ///
    /// # Errors
    /// [`ReceiveError`]; bytes that came before the end are received first.
    #[inline]
    pub fn take(&mut self, connection: ConnectionId) -> Result<Option<Box<Chunk>>, ReceiveError> {
        let (index, slot) = self.owned(connection).map_err(ReceiveError::from)?;
        let Some(chunk) = slot.tcb.receive_queue().take() else {
            return nothing(&slot.tcb).map(|()| None);
        };
        if slot.tcb.has_read() {
            self.mark_dirty(index);
        }
        Ok(Some(chunk))
    }

    /// Takes a chunk back that [`take`](Self::take) has given.
    #[inline]
    pub fn give_back(&mut self, chunk: Box<Chunk>) {
        self.chunks.give_back(chunk);
    }

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
        let found = self.connections.owned(connection);
        let (index, slot) = found.ok_or(ConnectionError::Unknown)?;
        if buf.is_empty() {
            return Ok(None);
        }
        let bytes = slot.tcb.receive_queue().copy(buf, &mut self.chunks);
        if bytes == 0 {
            return match nothing(&slot.tcb) {
                Ok(()) => Ok(None),
                Err(ReceiveError::Finished) => Ok(Some(0)),
                Err(_) => Err(ConnectionError::Closed),
            };
        }
        if slot.tcb.has_read() {
            self.mark_dirty(index);
        }
        Ok(Some(bytes))
    }

    /// Returns whether [`receive`](Self::receive) would have something: bytes, or the peer's finish.
    /// If not, [`Event::Readable`] follows when it has.
    ///
    /// [`Event::Readable`]: crate::stack::Event::Readable
    #[inline]
    pub fn is_readable(&mut self, connection: ConnectionId) -> bool {
        self.owned(connection)
            .is_ok_and(|(_, slot)| slot.tcb.is_readable())
    }

    /// Returns the bytes that were received and can still be read, also when the connection is over.
    pub fn unread_bytes(&mut self, connection: ConnectionId) -> usize {
        self.owned(connection)
            .map_or(0, |(_, slot)| slot.tcb.unread_bytes())
    }

    /// Lends pieces to a connection, which sends them in order and drops each when its last byte
    /// is acknowledged. `next` is asked for pieces while there is room for one, until it has no
    /// more. Returns the bytes lent, and whether room was left: if not, [`Event::Writable`]
    /// follows when there is.
    ///
    /// # Errors
    /// [`ConnectionError`].
    ///
    /// [`Event::Writable`]: crate::stack::Event::Writable
    #[inline]
    pub fn lend(
        &mut self,
        connection: ConnectionId,
        mut next: impl FnMut() -> Option<P>,
    ) -> Result<Loan, ConnectionError> {
        let (index, slot) = self.owned(connection)?;
        if !slot.tcb.may_send() {
            return Err(ConnectionError::Closed);
        }
        let queue = slot.tcb.send_queue();
        let before = queue.len();
        let mut has_room = queue.has_room();
        while has_room && let Some(piece) = next() {
            // There is room.
            let _ = queue.push(piece);
            has_room = queue.has_room();
        }
        let bytes = queue.len() - before;
        slot.wants_room |= !has_room;
        self.mark_dirty(index);
        Ok(Loan { bytes, has_room })
    }

    /// Finishes sending: FIN after what is in the send queue. Receiving goes on, until nothing has
    /// come for [`Self::LINGER`] once the peer has acknowledged the FIN.
    ///
    /// # Errors
    /// [`ConnectionError`].
    pub fn shutdown(&mut self, connection: ConnectionId) -> Result<(), ConnectionError> {
        let (index, slot) = self.owned(connection)?;
        if slot.has_ended {
            return Err(ConnectionError::Closed);
        }
        slot.tcb.close();
        self.mark_dirty(index);
        Ok(())
    }

    /// Ends the connection at once with RST.
    ///
    /// # Errors
    /// [`ConnectionError`].
    pub fn abort(&mut self, connection: ConnectionId) -> Result<(), ConnectionError> {
        let (index, slot) = self.owned(connection)?;
        if slot.has_ended {
            return Err(ConnectionError::Closed);
        }
        self.reset(index);
        Ok(())
    }

    /// Gives the connection back: the id is stale from now on, no event of it follows, and the
    /// slot is used again. One that is still open is finished in the background: FIN after its
    /// send queue when nothing unread waits, else RST (RFC 2525 §2.17). A peer that takes nothing
    /// of the queue is given up after [`limits::USER_TIMEOUT`], one that does not finish after
    /// [`Self::LINGER`].
    ///
    /// # Errors
    /// [`ConnectionError::Unknown`].
    pub fn release(&mut self, connection: ConnectionId) -> Result<(), ConnectionError> {
        let linger = self.now + limits::USER_TIMEOUT;
        let (index, slot) = self.owned(connection)?;
        slot.role = Role::Released;
        slot.pending = Pending::default();
        if slot.has_ended {
            self.free_if_done(index);
        } else if slot.tcb.unread_bytes() > 0 {
            self.output.counters.linger_resets += 1;
            self.reset(index);
        } else if !slot.is_established {
            // Nobody waits for the answer to our SYN any more.
            self.reset(index);
        } else {
            slot.tcb.close();
            slot.linger = Some(linger);
            slot.linger_mark = slot.tcb.progress_mark();
            self.mark_dirty(index);
        }
        Ok(())
    }

    fn owned(
        &mut self,
        connection: ConnectionId,
    ) -> Result<(u32, &mut Connection<P>), ConnectionError> {
        let found = self.connections.owned(connection);
        found.ok_or(ConnectionError::Unknown)
    }
}

impl<N: Nic, P: Lent + for<'a> From<&'a [u8]>> Stack<N, P> {
    /// Copies `data` into memory of its own and lends that; returns how many bytes there was room
    /// for: all or none.
    ///
    /// # Errors
    /// [`ConnectionError`].
    pub fn send(
        &mut self,
        connection: ConnectionId,
        data: &[u8],
    ) -> Result<usize, ConnectionError> {
        let mut copy = Some(data);
        let loan = self.lend(connection, || copy.take().map(P::from))?;
        Ok(loan.bytes)
    }
}

/// Says why there is nothing to read.
fn nothing<P: Lent>(tcb: &Tcb<P>) -> Result<(), ReceiveError> {
    if tcb.peer_has_finished() {
        Err(ReceiveError::Finished)
    } else if tcb.end().is_some() {
        Err(ReceiveError::Closed)
    } else {
        Ok(())
    }
}

impl From<ConnectionError> for ReceiveError {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::Unknown => ReceiveError::Unknown,
            ConnectionError::Closed => ReceiveError::Closed,
        }
    }
}
