//! What the cores share: every core's stack behind a lock, the accept queues, the files, and the table
//! of descriptors.

use crate::descriptors::DescriptorTable;
use crate::files::Files;
use crate::limits::SEND_PAGE_BYTES;
use crate::memory::{Page, Pool};
use crate::sync::Mutex;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec;
use kernel::{CoreId, CoreMask, Instant};
use net::stack::{ConnectionId, Event, ListenError, ListenerId};
use net::{Nic, Stack};

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
    pub(crate) files: Files,
    pub(crate) descriptors: DescriptorTable,
}

/// What one core has.
pub(crate) struct Core<N: Nic> {
    /// The stack; any core may take it. `None` until the core has joined.
    pub(crate) kernel: Mutex<Option<Kernel<N>>>,
    /// Files of connections that wait to be accepted. Without partitioning only the first core's.
    pub(crate) accepting: Mutex<VecDeque<u32>>,
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

impl<N: Nic> System<N> {
    /// Makes a system of `cores` cores with so many connections each.
    pub fn new(switches: Switches, cores: usize, connections: usize) -> Self {
        let files = cores * connections;
        let core = |_| Core {
            kernel: Mutex::new(None),
            accepting: Mutex::new(VecDeque::with_capacity(files)),
        };
        System {
            switches,
            per_core: connections,
            cores: (0..cores).map(core).collect(),
            files: Files::new(cores, connections),
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
                        let woken = system.files.announce(self.file(id.index()));
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
            let woken = system.files.announce(self.file(index as usize));
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
            system.files.begin(file);
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
