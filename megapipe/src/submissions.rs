//! The submission ring: commands on their way from the application to the stack.
//!
//! Upstream: the application's calls. Downstream: the flush. It takes `batch` commands before the
//! channel asks for a flush, and [`COMMANDS_PER_COMPLETION`](limits::COMMANDS_PER_COMPLETION) more,
//! so that whatever is dispatched can be answered.

use crate::completion::SubmitError;
use crate::limits;
use alloc::boxed::Box;
use net::stack::ConnectionId;

/// A command in the submission ring. What it is to read into or write waits in the handle.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Command {
    /// Those on a listener name its place, which is not used again before the last of them.
    Listen(u8),
    Accept(u8),
    ChangeMask(u8),
    SetStealing(u8),
    Unlisten(u8),
    Connect(u16),
    Read(ConnectionId),
    Write(ConnectionId),
    Disconnect(ConnectionId),
    Abort(ConnectionId),
    /// Gives a connection back whose handle is gone already.
    Release(ConnectionId),
    /// Begins with what is in the outbox.
    SendDatagrams,
    /// Tells the cores that the channel has collected.
    Notify,
}

/// The submission ring and what asks for its flush. It is filled, and then emptied as a whole.
pub(crate) struct Submissions {
    /// As many as there is room for; the first `len` are commands.
    places: Box<[Command]>,
    len: usize,
    /// How many of these have been run in this flush.
    run: usize,
    batch: usize,
    /// The application has asked for a flush, or was refused a command for want of room.
    pub(crate) is_flush_wanted: bool,
    /// Commands taken in before the last flush.
    taken: u64,
    /// Commands refused because the ring was full.
    pub(crate) refused: u64,
}

impl Submissions {
    /// Makes a ring for batches of `batch` commands, at least 1.
    pub(crate) fn new(batch: usize) -> Self {
        let batch = batch.max(1);
        let room = batch + limits::COMMANDS_PER_COMPLETION;
        Submissions {
            places: (0..room).map(|_| Command::Listen(0)).collect(),
            len: 0,
            run: 0,
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
        let Some(place) = self.places.get_mut(self.len) else {
            return Err(self.refuse());
        };
        *place = command;
        self.len += 1;
        Ok(())
    }

    /// Refuses a command if there is no room for it.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    #[inline]
    pub(crate) fn check_room(&mut self) -> Result<(), SubmitError> {
        if self.len == self.places.len() {
            return Err(self.refuse());
        }
        Ok(())
    }

    /// Counts a command that there is no room for; the application is called again after the flush.
    #[cold]
    fn refuse(&mut self) -> SubmitError {
        self.refused += 1;
        self.is_flush_wanted = true;
        SubmitError::RingFull
    }

    /// Takes the oldest command out; after the last one, there is room for all again.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<Command> {
        if self.run == self.len {
            self.taken += self.len as u64;
            (self.len, self.run) = (0, 0);
            return None;
        }
        let command = self.places.get(self.run).copied();
        self.run += 1;
        command
    }

    /// Returns the commands in the ring.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Returns whether a batch has collected.
    #[inline]
    pub(crate) fn is_batch_full(&self) -> bool {
        self.len >= self.batch
    }

    /// Returns how many commands were ever taken in.
    pub(crate) fn taken(&self) -> u64 {
        self.taken + self.len as u64
    }
}
