//! The channel: an application's one door to the network, per core.
//!
//! This is the application's side: commands go into the submission ring, completions come out of
//! the completion ring. The stack's side is the module `exchange`. Upstream: the stack's
//! events. Downstream: the application. Semantics: MegaPipe (OSDI 2012), section 3 and table 1.
//!
//! Invariants: no memory is taken after [`Channel::create`]; no completion is lost (the completion
//! ring holds *which* handle has results, once, and the results wait in the handle, so it has room
//! for all); nothing is told of a handle that was unregistered.

pub use crate::buffer::Buffer;
pub use crate::completion::{Completion, Cookie, IoError, Refused, SubmitError};
pub use crate::counters::ChannelCounters;
pub use crate::lwsocket::{Handle, ListenHandle, Lwsocket};
pub use crate::writes::{IoSlice, IoVec};

use crate::buffer::Home;
use crate::handle_table::{HandleTable, Operation, Phase, Sending, Slot};
use crate::limits;
use crate::listener::{AcceptedSocket, Listener};
use crate::lwsocket::Orphans;
use crate::ring::Ring;
use crate::submissions::{Command, Submissions};
use crate::writes::WriteTable;
use alloc::rc::Rc;
use core::time::Duration;
use kernel::Instant;

/// What a channel is made with.
#[derive(Debug, Clone)]
pub struct ChannelConfig {
    /// Handles at once; as many as the stack has connections.
    pub handles: usize,
    /// Commands that are collected before they are flushed (0 counts as 1); the paper's 32.
    pub batch: usize,
    /// Chunks of receive memory that the stack has.
    pub chunks: usize,
    /// Buffers of the channel's own, for what is larger than a chunk.
    pub buffers: usize,
    /// Bytes of each of these.
    pub buffer_bytes: usize,
}

/// What is in use of a channel at a moment; all zero but the buffers when it is idle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ChannelUse {
    /// Accepted connections that are not registered.
    pub lwsockets: usize,
    /// Registered handles.
    pub handles: usize,
    /// Writes under way.
    pub writes: usize,
    /// Buffers of the channel's own that are free.
    pub free_buffers: usize,
}

/// An entry of the completion ring.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ready {
    /// The handle at this index has results. Each index is in the ring at most once.
    Handle(u32),
    /// The oldest accepted connection; as many entries as there are of those.
    Accept,
    /// There is something to tell of the listener at this index. Each is in the ring at most once.
    Listener(u8),
}

/// A channel: the submission ring, the completion ring, and the handles between them.
///
/// **Batching.** Commands collect, and the core flushes them to the stack when the application
/// returns to it, which it does whenever [`dispatch`](Self::dispatch) says `None`: (1) when
/// `batch` commands have collected, (2) when no completion is pending any more, (3) when the
/// application has asked for it with [`flush`](Self::flush). The application is called again at
/// once when completions are left or came of the flush.
///
/// A channel belongs to one core: it is neither `Send` nor `Sync`, and is made on the core that
/// uses it.
pub struct Channel {
    pub(crate) table: HandleTable,
    pub(crate) writes: WriteTable,
    pub(crate) commands: Submissions,
    pub(crate) ready: Ring<Ready>,
    pub(crate) accepts: Ring<AcceptedSocket>,
    /// Connections wait in the stack because the accept ring was full.
    pub(crate) is_accept_blocked: bool,
    pub(crate) listeners: heapless::Vec<Listener, { limits::LISTENERS }>,
    pub(crate) home: Home,
    pub(crate) orphans: Rc<Orphans>,
    pub(crate) counters: ChannelCounters,
    pub(crate) handles: usize,
    /// Completions handed out before this run of the application.
    pub(crate) dispatched_before: u64,
    pub(crate) now: Instant,
    /// When the application is to run even if nothing completes.
    pub(crate) deadline: Option<Instant>,
}

impl Channel {
    /// Commands that are sure to fit while one completion is being handled.
    pub const COMMANDS_PER_COMPLETION: usize = limits::COMMANDS_PER_COMPLETION;

    /// Creates a channel (`mp_create`) and takes all the memory it will ever use.
    pub fn create(config: ChannelConfig) -> Self {
        let handles = config.handles;
        Channel {
            table: HandleTable::new(handles),
            writes: WriteTable::new(handles),
            commands: Submissions::new(config.batch),
            ready: Ring::new(handles + limits::ACCEPTS_WAITING + limits::LISTENERS),
            accepts: Ring::new(limits::ACCEPTS_WAITING),
            is_accept_blocked: false,
            listeners: heapless::Vec::new(),
            home: Home::new(config.buffers, config.buffer_bytes, config.chunks),
            orphans: Orphans::new(handles),
            counters: ChannelCounters::default(),
            handles,
            dispatched_before: 0,
            now: Instant::ZERO,
            // The application runs once at the start, to listen.
            deadline: Some(Instant::ZERO),
        }
    }

    /// Registers a lwsocket (`mp_register`). One of another channel is dropped, and the handle
    /// is a stale one.
    pub fn register(&mut self, socket: Lwsocket, cookie: Cookie) -> Handle {
        let connection = socket.connection();
        let is_own = socket.is_of(&self.orphans);
        let slot = self
            .table
            .of(connection)
            .filter(|slot| is_own && slot.phase == Phase::Accepted);
        let Some(slot) = slot else {
            return Handle(connection);
        };
        slot.phase = Phase::Registered;
        slot.cookie = cookie;
        self.counters.registered += 1;
        if slot.closed.is_some() {
            announce(slot, &mut self.ready);
        }
        socket.into_handle()
    }

    /// Forgets the handle, cancels what is under way on it, and frees the lwsocket; the connection
    /// is finished in the background (`mp_unregister`). Completions that were ready are not handed
    /// out any more, and buffers return to the pool.
    ///
    /// # Errors
    /// [`SubmitError::UnknownHandle`], [`SubmitError::RingFull`].
    pub fn unregister(&mut self, handle: Handle) -> Result<(), SubmitError> {
        let slot = registered(&mut self.table, &mut self.counters, handle)?;
        self.commands.push(Command::Release(handle.0))?;
        if slot.write == Operation::UnderWay {
            self.writes.remove(slot.pieces);
        }
        self.counters.unregistered += 1;
        self.counters.completions_cancelled += slot.ready_count() as u64;
        slot.begin(handle.0);
        Ok(())
    }

    /// Reads what comes next (`mp_read`): the completion brings a buffer of the stack's, in which
    /// the bytes lie already.
    ///
    /// # Errors
    /// [`SubmitError`].
    pub fn read(&mut self, handle: Handle) -> Result<(), SubmitError> {
        self.begin_read(handle)?;
        Ok(())
    }

    /// Reads into the spare room of `buffer`, behind what it holds already (`mp_read`).
    ///
    /// # Errors
    /// [`SubmitError`], with the buffer.
    pub fn read_into(&mut self, handle: Handle, buffer: Buffer) -> Result<(), Refused<Buffer>> {
        let begun = if buffer.spare() == 0 {
            Err(SubmitError::Empty)
        } else {
            self.begin_read(handle)
        };
        match begun {
            Ok(slot) => {
                slot.buffer = Some(buffer);
                Ok(())
            }
            Err(error) => Err(Refused {
                error,
                payload: buffer,
            }),
        }
    }

    /// Checks a read and submits it.
    #[inline]
    fn begin_read(&mut self, handle: Handle) -> Result<&mut Slot, SubmitError> {
        let slot = registered(&mut self.table, &mut self.counters, handle)?;
        if slot.closed.is_some() {
            return Err(SubmitError::BrokenPipe);
        }
        if slot.read != Operation::Idle {
            return Err(SubmitError::Busy);
        }
        self.commands.push(Command::Read(handle))?;
        slot.read = Operation::UnderWay;
        Ok(slot)
    }

    /// Writes the pieces in order (`mp_write`, `mp_writev`) and takes them out of `pieces`.
    /// Completes when all is in the send queue, not when it is acknowledged. Nothing is copied: the
    /// pieces are sent from where they are, and dropped when they are acknowledged.
    ///
    /// # Errors
    /// [`SubmitError`]; then the pieces stay where they are, unless they hold no bytes.
    pub fn writev(&mut self, handle: Handle, pieces: &mut IoVec) -> Result<(), SubmitError> {
        self.writev_with(handle, |place| core::mem::swap(place, pieces))
    }

    /// Writes like [`writev`](Self::writev) the pieces that `build` puts into an empty list: where
    /// the write keeps them, so that they are not moved again.
    ///
    /// # Errors
    /// [`SubmitError`]; `build` was not called unless it is [`SubmitError::Empty`], which says that
    /// it made no bytes.
    #[inline]
    pub fn writev_with<R>(
        &mut self,
        handle: Handle,
        build: impl FnOnce(&mut IoVec) -> R,
    ) -> Result<R, SubmitError> {
        let slot = registered(&mut self.table, &mut self.counters, handle)?;
        if slot.sending != Sending::Open || slot.closed.is_some() {
            return Err(SubmitError::BrokenPipe);
        }
        if slot.write != Operation::Idle {
            return Err(SubmitError::Busy);
        }
        self.commands.check_room()?;
        // There is a place per handle, and this handle has none: the table cannot be full.
        let (id, pieces) = self.writes.begin().ok_or(SubmitError::RingFull)?;
        let built = build(pieces);
        if pieces.iter().all(|piece| piece.bytes().is_empty()) {
            self.writes.remove(id);
            return Err(SubmitError::Empty);
        }
        self.commands.push(Command::Write(handle))?;
        slot.pieces = id;
        slot.written = 0;
        slot.write = Operation::UnderWay;
        Ok(built)
    }

    /// Finishes sending after what is under way (`mp_disconnect`); reads go on until the peer
    /// finishes too. Neither frees nor unregisters the handle.
    ///
    /// # Errors
    /// [`SubmitError`]; [`SubmitError::BrokenPipe`] the second time.
    pub fn disconnect(&mut self, handle: Handle) -> Result<(), SubmitError> {
        let slot = registered(&mut self.table, &mut self.counters, handle)?;
        if slot.sending != Sending::Open || slot.closed.is_some() {
            return Err(SubmitError::BrokenPipe);
        }
        self.commands.push(Command::Disconnect(handle))?;
        slot.sending = Sending::Finishing;
        Ok(())
    }

    /// Takes an empty buffer of the channel's own, `None` when all are out.
    pub fn buffer(&mut self) -> Option<Buffer> {
        self.home.take()
    }

    /// Asks for the commands so far to be flushed now: the next [`dispatch`](Self::dispatch) says
    /// `None`, and the core calls the application again at once after the flush.
    pub fn flush(&mut self) {
        self.counters.flushes_requested += 1;
        self.commands.is_flush_wanted = true;
    }

    /// Hands out the next completion (`mp_dispatch`). `None`: there is none now, or the batch of
    /// commands is full (a flush makes room, and at least [`Self::COMMANDS_PER_COMPLETION`]
    /// commands fit after every completion), or [`flush`](Self::flush) was called; the application
    /// returns to the core, which flushes, waits at most `timeout` (for ever when `None`) when no
    /// completion is left, and runs it again.
    pub fn dispatch(&mut self, timeout: Option<Duration>) -> Option<Completion> {
        if !self.commands.is_flush_wanted && !self.commands.is_batch_full() {
            while let Some(&ready) = self.ready.front() {
                let completion = match ready {
                    Ready::Handle(index) => self.next_of_handle(index as usize),
                    other => self.next_of_listeners(other),
                };
                if let Some(completion) = completion {
                    self.counters.completions += 1;
                    return Some(completion);
                }
            }
        }
        self.deadline = timeout.map(|timeout| self.now + timeout);
        None
    }

    /// Takes a completion of the handle at the front, which leaves the ring with its last one.
    #[inline]
    fn next_of_handle(&mut self, index: usize) -> Option<Completion> {
        let slot = self.table.at(index)?;
        let completion = slot.take_completion();
        slot.is_queued = completion.is_some() && slot.is_ready();
        if !slot.is_queued {
            self.ready.pop();
        }
        completion
    }

    /// Returns the counters, and what is in use at this moment.
    pub fn counters(&self) -> ChannelCounters {
        ChannelCounters {
            commands: self.commands.taken,
            commands_refused_ring_full: self.commands.refused,
            handles_now: self.counters.registered - self.counters.unregistered,
            writes_now: self.writes.len() as u64,
            accepts_waiting_now: self.accepts.len() as u64,
            ..self.counters
        }
    }

    /// Returns what is in use now; looks at every handle, so not for the way of a request.
    pub fn in_use(&self) -> ChannelUse {
        let (lwsockets, handles) = self.table.in_use();
        ChannelUse {
            lwsockets,
            handles,
            writes: self.writes.len(),
            free_buffers: self.home.free(),
        }
    }
}

/// Puts a registered handle into the completion ring, unless it is there.
#[inline]
pub(crate) fn announce(slot: &mut Slot, ready: &mut Ring<Ready>) {
    if !slot.is_queued && slot.phase == Phase::Registered {
        let index = slot.connection.index() as u32;
        slot.is_queued = ready.push(Ready::Handle(index)).is_ok();
    }
}

/// Returns the slot of a registered handle, counting stale ones.
#[inline]
fn registered<'table>(
    table: &'table mut HandleTable,
    counters: &mut ChannelCounters,
    handle: Handle,
) -> Result<&'table mut Slot, SubmitError> {
    let slot = table.registered(handle);
    slot.inspect_err(|_| counters.commands_refused_stale += 1)
}
