//! The submission ring: commands on their way from the application to the stack.
//!
//! Upstream: the application's calls. Downstream: the flush. It takes `batch` commands before the
//! channel asks for a flush, and [`COMMANDS_PER_COMPLETION`](limits::COMMANDS_PER_COMPLETION) more,
//! so that whatever is dispatched can be answered.

use crate::completion::SubmitError;
use crate::limits;
use crate::ring::Ring;
use net::stack::ConnectionId;

/// A command in the submission ring. What it is to read into or write waits in the handle.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Command {
    /// Those on a listener name its place, which is not used again before the last of them.
    Listen(u8),
    Accept(u8),
    ChangeMask(u8),
    Unlisten(u8),
    Connect(u16),
    Read(ConnectionId),
    Write(ConnectionId),
    Disconnect(ConnectionId),
    /// Gives a connection back whose handle is gone already.
    Release(ConnectionId),
}

/// The submission ring and what asks for its flush.
pub(crate) struct Submissions {
    ring: Ring<Command>,
    batch: usize,
    /// The application has asked for a flush, or was refused a command for want of room.
    pub(crate) is_flush_wanted: bool,
    /// Commands taken in.
    pub(crate) taken: u64,
    /// Commands refused because the ring was full.
    pub(crate) refused: u64,
}

impl Submissions {
    /// Makes a ring for batches of `batch` commands, at least 1.
    pub(crate) fn new(batch: usize) -> Self {
        let batch = batch.max(1);
        Submissions {
            ring: Ring::new(batch + limits::COMMANDS_PER_COMPLETION),
            batch,
            is_flush_wanted: false,
            taken: 0,
            refused: 0,
        }
    }

    /// Takes in a command.
    ///
    /// # Errors
    /// [`SubmitError::RingFull`]; then the application is called again after the flush.
    #[inline]
    pub(crate) fn push(&mut self, command: Command) -> Result<(), SubmitError> {
        self.check_room()?;
        // There is room.
        let _ = self.ring.push(command);
        self.taken += 1;
        Ok(())
    }

    /// Refuses a command if there is no room for it.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    #[inline]
    pub(crate) fn check_room(&mut self) -> Result<(), SubmitError> {
        if self.ring.is_full() {
            self.refused += 1;
            self.is_flush_wanted = true;
            return Err(SubmitError::RingFull);
        }
        Ok(())
    }

    /// Takes the oldest command out.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<Command> {
        self.ring.pop()
    }

    /// Returns the commands in the ring.
    pub(crate) fn len(&self) -> usize {
        self.ring.len()
    }

    /// Returns whether there is no command.
    pub(crate) fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    /// Returns whether a batch has collected.
    pub(crate) fn is_batch_full(&self) -> bool {
        self.ring.len() >= self.batch
    }
}
