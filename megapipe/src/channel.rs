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
pub use crate::completion::{Completion, ConnectFailure, Cookie, IoError, Refused, SubmitError};
pub use crate::counters::ChannelCounters;
pub use crate::lwsocket::{ConnectHandle, Handle, ListenHandle, Lwsocket, TimerHandle};
pub use crate::versions::{Version, Versions};
pub use crate::writes::{IoSlice, IoVec};
pub use net::stack::CloseReason;

use crate::accepting::AcceptedSocket;
use crate::buffer::Buffers;
use crate::connects::ConnectTable;
use crate::datagrams::Outbox;
use crate::handle_table::{HandleTable, NO_CONNECTION, Operation, Pending, Phase, Sending, Slot};
use crate::limits;
use crate::listener::Listener;
use crate::lwsocket::Orphans;
use crate::reading::go_on_reading;
use crate::ready::{Ready, ReadyRing, announce, leave_if_done};
use crate::receipts::Receipts;
use crate::submissions::{Command, Submissions};
use crate::timed::TimerTable;
use crate::trace::{EventKind, Trace};
use crate::writes::WriteTable;
use alloc::collections::VecDeque;
use alloc::rc::Rc;
use core::time::Duration;
use kernel::{CoreMask, Instant};

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
    /// Timers that can be set at once.
    pub timers: usize,
}

/// What is in use of a channel at a moment; all zero but the buffers when it is idle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ChannelUse {
    /// Accepted connections that are not registered.
    pub lwsockets: usize,
    /// Registered handles.
    pub handles: usize,
    /// Writes under way, or done and not told.
    pub writes: usize,
    /// Buffers of the channel's own that are free.
    pub free_buffers: usize,
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
    pub(crate) ready: ReadyRing,
    /// At most `ACCEPTS_WAITING`.
    pub(crate) accepts: VecDeque<AcceptedSocket>,
    /// Connections wait in the stack because the accept ring was full.
    pub(crate) is_accept_blocked: bool,
    pub(crate) listeners: heapless::Vec<Listener, { limits::LISTENERS }>,
    pub(crate) connects: ConnectTable,
    pub(crate) timers: TimerTable,
    pub(crate) receipts: Receipts,
    pub(crate) buffers: Buffers,
    pub(crate) orphans: Rc<Orphans>,
    /// Cores that the next flush leaves a notice for.
    pub(crate) notified: CoreMask,
    pub(crate) trace: Trace,
    pub(crate) outbox: Outbox,
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
            ready: ReadyRing::new(
                handles
                    + limits::ACCEPTS_WAITING
                    + limits::LISTENERS
                    + limits::CONNECTS
                    + config.timers,
            ),
            accepts: VecDeque::with_capacity(limits::ACCEPTS_WAITING),
            is_accept_blocked: false,
            listeners: heapless::Vec::new(),
            connects: ConnectTable::new(),
            timers: TimerTable::new(config.timers),
            receipts: Receipts::new(),
            buffers: Buffers::new(config.buffers, config.buffer_bytes),
            orphans: Orphans::new(handles),
            notified: CoreMask::EMPTY,
            trace: Trace::new(),
            outbox: Outbox::new(),
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
        let channel = self.table.tag();
        let slot = self
            .table
            .of(connection)
            .filter(|slot| is_own && slot.phase == Phase::Accepted);
        let Some(slot) = slot else {
            return Handle {
                connection: NO_CONNECTION,
                channel,
            };
        };
        slot.phase = Phase::Registered;
        slot.cookie = cookie;
        self.counters.registered += 1;
        if slot.closed.is_some() && !slot.is_draining {
            slot.pending.add(Pending::END);
            announce(slot, &mut self.ready);
        }
        socket.into_handle(channel)
    }

    /// Forgets the handle, cancels what is under way on it, and frees the lwsocket; the connection
    /// is finished in the background (`mp_unregister`). Completions that were ready are not handed
    /// out any more, and buffers return to the pool.
    ///
    /// # Errors
    /// [`SubmitError::UnknownHandle`], [`SubmitError::RingFull`].
    pub fn unregister(&mut self, handle: Handle) -> Result<(), SubmitError> {
        let slot = registered(&mut self.table, &mut self.counters, handle)?;
        self.commands.push(Command::Release(handle.connection))?;
        if slot.write != Operation::Idle {
            self.writes.end(slot.place);
        }
        if let Some(chunk) = slot.chunk.take() {
            drop(self.buffers.lend(chunk, slot.chunk_owner));
        }
        self.counters.unregistered += 1;
        self.counters.completions_cancelled += slot.ready_count() as u64;
        slot.begin(handle.connection);
        Ok(())
    }

    /// Finishes sending after what is under way (`mp_disconnect`); reads go on until the peer
    /// finishes too. Neither frees nor unregisters the handle.
    ///
    /// # Errors
    /// [`SubmitError`]; [`SubmitError::BrokenPipe`] the second time.
    pub fn disconnect(&mut self, handle: Handle) -> Result<(), SubmitError> {
        let slot = registered(&mut self.table, &mut self.counters, handle)?;
        slot.check_sending()?;
        self.commands.push(Command::Disconnect(handle.connection))?;
        slot.sending = Sending::Finishing;
        Ok(())
    }

    /// Ends the connection at once with RST, and what is under way on it with
    /// [`IoError::BrokenPipe`]; nothing that is queued goes out any more. [`Completion::Disconnect`]
    /// follows, as for every other end. For a peer that must not take what it has for the whole.
    ///
    /// # Errors
    /// [`SubmitError::Closed`], [`SubmitError::RingFull`], [`SubmitError::UnknownHandle`].
    pub fn abort(&mut self, handle: Handle) -> Result<(), SubmitError> {
        let slot = registered(&mut self.table, &mut self.counters, handle)?;
        if let Some(reason) = slot.closed {
            return Err(SubmitError::Closed(reason));
        }
        self.commands.push(Command::Abort(handle.connection))
    }

    /// Takes an empty buffer of the channel's own, `None` when all are out.
    pub fn buffer(&mut self) -> Option<Buffer> {
        self.buffers.take()
    }

    /// Asks for the commands so far to be flushed now: the next [`dispatch`](Self::dispatch) says
    /// `None`, and the core calls the application again at once after the flush.
    pub fn flush(&mut self) {
        self.counters.flushes_requested += 1;
        self.commands.ask_flush();
    }

    /// Has the applications of `cores` run once more, this one's too if it is among them: there is
    /// something for them to look at that no completion tells of. One that sleeps is woken; one that
    /// is busy runs anyway, and at the latest before it sleeps. Several notices may be one run.
    ///
    /// # Errors
    /// [`SubmitError::RingFull`].
    pub fn notify(&mut self, cores: CoreMask) -> Result<(), SubmitError> {
        self.commands.push(Command::Notify)?;
        self.notified = self.notified.or(cores);
        Ok(())
    }

    /// Notes an event of the application's own in the core's [`Trace`], if there is one: of this kind,
    /// below 64, that has lasted since `since` and is about `subject`, below 2^24.
    #[inline]
    pub fn trace(&mut self, kind: u8, since: Instant, subject: u32) {
        if self.trace.is_on() {
            let duration = self.now.saturating_since(since);
            let kind = EventKind::Application(kind);
            self.trace.push(since, kind, duration, subject);
        }
    }

    /// Hands out the next completion (`mp_dispatch`). `None`: there is none now, or the batch of
    /// commands is full (a flush makes room, and at least [`Self::COMMANDS_PER_COMPLETION`]
    /// commands fit after every completion), or [`flush`](Self::flush) was called; the application
    /// returns to the core, which flushes, waits at most `timeout` (for ever when `None`) when no
    /// completion is left, and runs it again.
    pub fn dispatch(&mut self, timeout: Option<Duration>) -> Option<Completion> {
        if !self.commands.is_flush_due() {
            while let Some(ready) = self.ready.front() {
                if let Some(index) = ready.handle() {
                    let slot = self.table.at(index);
                    if let Some(slot) = slot.filter(|slot| slot.is_ready()) {
                        self.counters.completions += 1;
                        let (buffers, commands) = (&self.buffers, &mut self.commands);
                        return take_completion(
                            slot,
                            &mut self.ready,
                            &mut self.writes,
                            commands,
                            buffers,
                        );
                    }
                    self.leave(index);
                } else if let completion @ Some(_) = self.next_of_others(ready.into()) {
                    self.counters.completions += 1;
                    return completion;
                }
            }
            self.ready.rewind();
        }
        self.deadline = timeout.map(|timeout| self.now + timeout);
        None
    }

    /// Bounds the wait that [`dispatch`](Self::dispatch) has begun with its `None`: the application
    /// runs again after `timeout`, or sooner.
    pub fn run_within(&mut self, timeout: Duration) {
        let at = self.now + timeout;
        self.deadline = Some(self.deadline.map_or(at, |deadline| deadline.min(at)));
    }

    /// Takes a handle at the front that has nothing to tell any more out of the ring.
    #[cold]
    fn leave(&mut self, index: usize) {
        if let Some(slot) = self.table.at(index) {
            slot.is_queued = false;
        }
        self.ready.pop();
    }

    /// Takes the completion at the front of the ring, which is not of a handle.
    #[inline(never)]
    fn next_of_others(&mut self, ready: Ready) -> Option<Completion> {
        match ready {
            Ready::Handle(_) => None,
            Ready::Accept => self.next_accept(),
            Ready::Listener(index) => self.next_of_listener(index),
            Ready::Connect(index) => self.next_of_connect(index),
            Ready::Timer(index) => self.next_of_timer(index),
        }
    }

    /// Returns the counters, and what is in use at this moment.
    pub fn counters(&self) -> ChannelCounters {
        ChannelCounters {
            commands: self.commands.taken(),
            commands_refused_ring_full: self.commands.refused,
            handles_now: self.counters.registered - self.counters.unregistered,
            writes_now: self.writes.len() as u64,
            accepts_waiting_now: self.accepts.len() as u64,
            connects_now: self.connects.in_use() as u64,
            timers_now: self.timers.in_use() as u64,
            receipts_now: self.receipts.count() as u64,
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
            free_buffers: self.buffers.free(),
        }
    }
}

/// Takes a completion of the handle at the front, which leaves the ring with its last one. Each is
/// made where it is returned to: it is not small.
#[inline]
fn take_completion(
    slot: &mut Slot,
    ready: &mut ReadyRing,
    writes: &mut WriteTable,
    commands: &mut Submissions,
    buffers: &Buffers,
) -> Option<Completion> {
    let cookie = slot.cookie;
    if slot.has_read_to_tell() {
        let result = slot.take_read();
        let owner = slot.chunk_owner;
        let buffer = slot.chunk.take().map(|chunk| buffers.lend(chunk, owner));
        if slot.is_multishot {
            go_on_reading(slot, result, commands);
        }
        leave_if_done(slot, ready);
        return Some(Completion::Read {
            cookie,
            buffer,
            result,
        });
    }
    if slot.has_write_to_tell() {
        let result = slot.take_write(writes.end(slot.place));
        leave_if_done(slot, ready);
        return Some(Completion::Write { cookie, result });
    }
    take_rare_completion(slot, ready)
}

#[cold]
fn take_rare_completion(slot: &mut Slot, ready: &mut ReadyRing) -> Option<Completion> {
    let completion = slot.take_rare();
    leave_if_done(slot, ready);
    completion
}

/// Returns the slot of a registered handle, counting stale ones.
#[inline]
pub(crate) fn registered<'table>(
    table: &'table mut HandleTable,
    counters: &mut ChannelCounters,
    handle: Handle,
) -> Result<&'table mut Slot, SubmitError> {
    let slot = table.registered(handle);
    slot.inspect_err(|_| counters.commands_refused_stale += 1)
}
