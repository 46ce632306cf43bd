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
    batch: usize,
    /// With so many commands a flush is due: `batch`, or 0 when the application has asked for one or
    /// was refused a command for want of room.
    due_at: usize,
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
            batch,
            due_at: batch,
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

    /// Counts a command that there is no room for; the application is called again after the flush.
    #[cold]
    fn refuse(&mut self) -> SubmitError {
        self.refused += 1;
        self.ask_flush();
        SubmitError::RingFull
    }

    /// Takes the youngest command back, which was just put in.
    #[cold]
    pub(crate) fn take_back(&mut self) {
        self.len -= 1;
    }

    /// Asks for a flush, however few commands there are.
    pub(crate) fn ask_flush(&mut self) {
        self.due_at = 0;
    }

    /// Returns whether a flush was asked for.
    #[inline]
    pub(crate) fn is_flush_asked(&self) -> bool {
        self.due_at == 0
    }

    /// Forgets that a flush was asked for.
    #[inline]
    pub(crate) fn begin_batch(&mut self) {
        self.due_at = self.batch;
    }

    /// Returns whether a batch has collected, or a flush was asked for.
    #[inline]
    pub(crate) fn is_flush_due(&self) -> bool {
        self.len >= self.due_at
    }

    /// Returns the command at a place, which is below [`len`](Self::len).
    #[inline]
    pub(crate) fn at(&self, place: usize) -> Command {
        self.places[place]
    }

    /// Empties the ring, when all has been run.
    #[inline]
    pub(crate) fn clear(&mut self) {
        self.taken += self.len as u64;
        self.len = 0;
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
