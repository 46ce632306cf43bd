//! What the cores share: every core's stack behind a lock, the accept queues, the files, the table
//! of descriptors, and per core a list of the sockets that have something to tell (its `epoll`).

use crate::descriptors::DescriptorTable;
use crate::limits::SEND_PAGE_BYTES;
use crate::memory::{Page, Pool};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use kernel::{CoreId, CoreMask, Instant};
use net::stack::{ConnectionId, Event, ListenError, ListenerId};
use net::{Nic, Stack};
use spin::Mutex;

/// Which of the paper's ideas are on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Switches {
    /// +P: an accept queue per core, for the connections of its own stack.
    pub partition: bool,
    /// +B: one crossing and one transmission for all calls of a batch.
    pub batch: bool,
    /// +L: sockets are named by their place; no descriptor, no reference count.
    pub lwsocket: bool,
}

/// All of it, one for the appliance.
pub struct System<N: Nic> {
    pub(crate) switches: Switches,
    /// Connections of each core.
    pub(crate) per_core: usize,
    pub(crate) cores: Box<[Core<N>]>,
    /// By core and connection: a file is part of its connection, as is its lightweight name.
    pub(crate) files: Box<[File]>,
    pub(crate) descriptors: DescriptorTable,
}

/// What one core has.
pub(crate) struct Core<N: Nic> {
    /// The stack; any core may take it. `None` until the core has joined.
    pub(crate) kernel: Mutex<Option<Kernel<N>>>,
    /// Files of connections that wait to be accepted. Without partitioning only the first core's.
    pub(crate) accepting: Mutex<VecDeque<u32>>,
    /// Files that have something to tell to this core; each file is in one such list at most, once.
    pub(crate) ready: Mutex<VecDeque<u32>>,
}

/// A stack and what its sockets need beside it.
pub(crate) struct Kernel<N: Nic> {
    pub(crate) core: CoreId,
    pub(crate) stack: Stack<N, Page>,
    pub(crate) ids: Box<[Option<ConnectionId>]>,
    pub(crate) pages: Arc<Pool>,
    /// Connections whose `send` found no page.
    pub(crate) starved: VecDeque<u32>,
    /// Until when its core sleeps at most; [`AWAKE`] while it does not.
    pub(crate) sleeps_until: Instant,
}

/// Before every deadline.
pub(crate) const AWAKE: Instant = Instant::ZERO;

/// A socket, as far as it is not the connection's.
#[derive(Default)]
pub(crate) struct File {
    /// Descriptors, and calls under way.
    references: AtomicU32,
    /// The core that watches it, plus one; 0 for none.
    watcher: AtomicU32,
    pub(crate) token: AtomicU64,
    /// [`File::NEWS`], [`File::QUEUED`].
    state: AtomicU32,
}

impl File {
    /// There is something to receive, to send into, or to be told of its end.
    const NEWS: u32 = 1;
    /// In the ready list of some core.
    const QUEUED: u32 = 2;

    /// Begins to be a connection's. It may be in a list still, from the last one.
    fn begin(&self) {
        self.watcher.store(0, Ordering::SeqCst);
        self.state.fetch_and(File::QUEUED, Ordering::SeqCst);
        self.references.store(1, Ordering::Release);
    }

    /// Counts one more reference, unless there is none any more.
    pub(crate) fn take(&self) -> bool {
        let more = |count: u32| (count > 0).then_some(count + 1);
        self.references
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, more)
            .is_ok()
    }

    /// Gives a reference back; true for the last one.
    pub(crate) fn give_back(&self) -> bool {
        self.references.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// Nobody watches it any more.
    pub(crate) fn forget_watcher(&self) {
        self.watcher.store(0, Ordering::SeqCst);
    }

    /// Leaves the ready list of `core`; returns whether there is something to tell there.
    pub(crate) fn leave_list(&self, core: CoreId) -> bool {
        // The news is taken in one step with the place: what comes after it makes a new place.
        let is_watched_here = self.watcher() == Some(core);
        let news = if is_watched_here { File::NEWS } else { 0 };
        let state = self
            .state
            .fetch_and(!(File::QUEUED | news), Ordering::SeqCst);
        state & news != 0
    }

    pub(crate) fn watcher(&self) -> Option<CoreId> {
        let watcher = self.watcher.load(Ordering::SeqCst).checked_sub(1)?;
        CoreId::new(watcher as usize)
    }

    /// Returns whether there is something to tell.
    pub(crate) fn has_news(&self) -> bool {
        self.state.load(Ordering::SeqCst) & File::NEWS != 0
    }
}

impl<N: Nic> System<N> {
    /// Makes a system of `cores` cores with so many connections each.
    pub fn new(switches: Switches, cores: usize, connections: usize) -> Self {
        let files = cores * connections;
        let core = |_| Core {
            kernel: Mutex::new(None),
            accepting: Mutex::new(VecDeque::with_capacity(files)),
            ready: Mutex::new(VecDeque::with_capacity(files)),
        };
        System {
            switches,
            per_core: connections,
            cores: (0..cores).map(core).collect(),
            files: (0..files).map(|_| File::default()).collect(),
            descriptors: DescriptorTable::new(if switches.lwsocket { 0 } else { files }),
        }
    }

    /// Adds a core's stack, which begins to listen on `port` for the flows of its own core.
    ///
    /// # Errors
    /// See [`ListenError`].
    pub fn join(&self, mut stack: Stack<N, Page>, port: u16) -> Result<ListenerId, ListenError> {
        let core = stack.port().core();
        let listener = stack.listen(port, CoreMask::only(core), self.per_core)?;
        *self.cores[core.index()].kernel.lock() = Some(Kernel {
            core,
            stack,
            ids: vec![None; self.per_core].into_boxed_slice(),
            pages: Pool::new(self.per_core, SEND_PAGE_BYTES),
            starved: VecDeque::with_capacity(self.per_core),
            sleeps_until: AWAKE,
        });
        Ok(listener)
    }

    /// Lends a core's stack, once it has joined.
    pub fn with_stack<R>(
        &self,
        core: CoreId,
        look: impl FnOnce(&Stack<N, Page>) -> R,
    ) -> Option<R> {
        let kernel = self.cores[core.index()].kernel.lock();
        kernel.as_ref().map(|kernel| look(&kernel.stack))
    }

    /// Returns how many descriptors are in use.
    pub fn descriptors_in_use(&self) -> usize {
        self.descriptors.in_use()
    }

    /// Returns the accept queue that `core` takes from, and its stack puts into.
    pub(crate) fn accept_queue(&self, core: CoreId) -> &Mutex<VecDeque<u32>> {
        let index = if self.switches.partition {
            core.index()
        } else {
            0
        };
        &self.cores[index].accepting
    }

    /// Returns the core and the connection of a file.
    pub(crate) fn place(&self, file: u32) -> (usize, usize) {
        let file = file as usize;
        (file / self.per_core, file % self.per_core)
    }

    /// Lets a core watch a file: what there is to tell already is told.
    pub(crate) fn watch(&self, file: u32, core: CoreId, token: u64) {
        let entry = &self.files[file as usize];
        entry.token.store(token, Ordering::Relaxed);
        let watcher = core.index() as u32 + 1;
        entry.watcher.store(watcher, Ordering::SeqCst);
        if entry.has_news() {
            self.announce(file);
        }
    }

    /// There is something to tell of a file. Returns the core that is to be woken for it.
    pub(crate) fn announce(&self, file: u32) -> Option<CoreId> {
        let entry = &self.files[file as usize];
        entry.state.fetch_or(File::NEWS, Ordering::SeqCst);
        let watcher = entry.watcher()?;
        let before = entry.state.fetch_or(File::QUEUED, Ordering::SeqCst);
        if before & File::QUEUED != 0 {
            return None;
        }
        self.cores[watcher.index()].ready.lock().push_back(file);
        Some(watcher)
    }
}

impl<N: Nic> Kernel<N> {
    /// Turns the stack's events into accepted connections and news of files, and returns the cores
    /// to be woken for them.
    pub(crate) fn follow_events(&mut self, system: &System<N>) -> CoreMask {
        let mut wake = CoreMask::EMPTY;
        while let Some(event) = self.stack.poll_event() {
            match event {
                Event::Incoming(listener) => wake = wake.or(self.enqueue(listener, system)),
                Event::Readable(id) | Event::Writable(id) | Event::Closed(id, _) => {
                    if self.ids[id.index()] == Some(id) {
                        let woken = system.announce(self.file(id.index()));
                        woken.into_iter().for_each(|core| wake.insert(core));
                    }
                }
                // These sockets connect to nobody.
                Event::Connected(_) => {}
            }
        }
        // A page has come back: those that waited for one try again.
        while self.pages.free() > 0
            && let Some(index) = self.starved.pop_front()
        {
            let woken = system.announce(self.file(index as usize));
            woken.into_iter().for_each(|core| wake.insert(core));
        }
        wake
    }

    /// Moves connections whose handshake is complete to the accept queue.
    fn enqueue(&mut self, listener: ListenerId, system: &System<N>) -> CoreMask {
        let mut wake = CoreMask::EMPTY;
        while let Some(accepted) = self.stack.accept(listener) {
            let index = accepted.connection.index();
            self.ids[index] = Some(accepted.connection);
            let file = self.file(index);
            system.files[file as usize].begin();
            let mut queue = system.accept_queue(self.core).lock();
            queue.push_back(file);
            if !system.switches.partition && queue.len() > 1 {
                // One more core may help itself: exclusive wake-ups, in turn.
                let next = (index + queue.len()) % system.cores.len();
                CoreId::new(next)
                    .into_iter()
                    .for_each(|core| wake.insert(core));
            }
        }
        wake
    }

    pub(crate) fn file(&self, index: usize) -> u32 {
        (self.core.index() * self.ids.len() + index) as u32
    }

    /// Sends what there is to send, and returns the cores to be woken: for frames, for news, and
    /// this stack's own if it would sleep longer than a timer that another core has set.
    pub(crate) fn finish(&mut self, now: Instant, system: &System<N>) -> CoreMask {
        let mut wake = self.follow_events(system);
        wake = wake.or(self.stack.poll_transmit(now));
        let due = self.stack.next_deadline();
        if due.is_some_and(|due| due < self.sleeps_until) {
            wake.insert(self.core);
        }
        wake
    }
}
