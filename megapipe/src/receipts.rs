//! Receipts: how the application learns that the peer has acknowledged what was lent, so that it
//! may be used again (two-phase completion).
//!
//! A receipt is a piece without bytes. The send queue keeps it in its place and drops it when all
//! before it is acknowledged, or when the connection broke: the same rule that gives memory back.
//! Dropping it puts its handle on this list, which the channel turns into completions. Upstream:
//! whoever drops a piece. Downstream: the channel. Invariant: receipts given out and not yet on
//! their way to a completion are at most [`RECEIPTS`](crate::limits::RECEIPTS), so the list has room
//! for all.

use crate::limits::RECEIPTS;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use kernel::LentBytes;
use net::stack::ConnectionId;

/// What a receipt is for.
struct Receipt {
    connection: ConnectionId,
    list: Receipts,
}

impl AsRef<[u8]> for Receipt {
    fn as_ref(&self) -> &[u8] {
        &[]
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        let Lists {
            dropped, to_tell, ..
        } = &*self.list.0;
        dropped.borrow_mut().push(self.connection);
        to_tell.set(to_tell.get() + 1);
    }
}

/// The receipts of one channel. Clones are the same ones.
#[derive(Clone)]
pub(crate) struct Receipts(Rc<Lists>);

struct Lists {
    /// Connections whose receipts were dropped, in that order.
    dropped: RefCell<Vec<ConnectionId>>,
    /// How many these are: all that a turn looks at.
    to_tell: Cell<usize>,
    /// Receipts that exist or are in `dropped`.
    count: Cell<usize>,
}

impl Receipts {
    pub(crate) fn new() -> Self {
        Receipts(Rc::new(Lists {
            dropped: RefCell::new(Vec::with_capacity(RECEIPTS)),
            to_tell: Cell::new(0),
            count: Cell::new(0),
        }))
    }

    /// Makes a receipt, `None` when too many are out.
    pub(crate) fn give(&self, connection: ConnectionId) -> Option<LentBytes> {
        let count = &self.0.count;
        if count.get() >= RECEIPTS {
            return None;
        }
        count.set(count.get() + 1);
        Some(LentBytes::from_owner(Receipt {
            connection,
            list: self.clone(),
        }))
    }

    /// Returns whether receipts were dropped.
    #[inline]
    pub(crate) fn has_dropped(&self) -> bool {
        self.0.to_tell.get() > 0
    }

    /// Takes a connection one of whose receipts was dropped.
    pub(crate) fn take(&self) -> Option<ConnectionId> {
        let connection = self.0.dropped.borrow_mut().pop()?;
        self.0.to_tell.set(self.0.to_tell.get() - 1);
        self.0.count.set(self.0.count.get() - 1);
        Some(connection)
    }

    /// Returns the receipts that somebody has or that are to be told.
    pub(crate) fn count(&self) -> usize {
        self.0.count.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receipts_are_counted_until_they_are_taken() {
        let receipts = Receipts::new();
        let connection = ConnectionId::new(3, 1);
        let given: Vec<LentBytes> = core::iter::from_fn(|| receipts.give(connection)).collect();
        assert_eq!((given.len(), receipts.count()), (RECEIPTS, RECEIPTS));
        assert!(receipts.take().is_none());
        drop(given);
        assert!(receipts.give(connection).is_none(), "not told yet");
        for _ in 0..RECEIPTS {
            assert_eq!(receipts.take(), Some(connection));
        }
        assert!(receipts.take().is_none() && receipts.give(connection).is_some());
    }
}
