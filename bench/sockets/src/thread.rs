//! The calls, as the one thread of a core makes them: accept, watch, receive, send, shut down, close,
//! wait. Each enters the kernel once (one crossing), takes the locks that it needs, and is done when
//! it returns: what was sent is in the transmit queue.

use crate::files::Place;
use crate::limits::EVENTS_PER_WAIT;
use crate::system::{AWAKE, Kernel, System};
use kernel::{CoreMask, Instant, Processor};
use net::stack::ConnectionError;
use net::{Lent, Nic};

/// A processor that can be crossed on into the supervisor.
pub trait Cpu: Processor {
    /// Crosses into the supervisor and back, for nothing: what entering a kernel costs.
    fn cross(&self);
}

/// A socket: a descriptor, or the place of its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Socket(u32);

/// Something that `wait` tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Connections wait to be accepted.
    Listener,
    /// Something can be received or sent on the socket that is watched with this token, or it has
    /// ended.
    Socket(u64),
}

/// Events of one `wait`.
pub type Events = heapless::Vec<Event, EVENTS_PER_WAIT>;

/// Why a call did nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketError {
    /// Nothing is there, or there is no room: wait for an event (`EAGAIN`).
    WouldBlock,
    /// The connection is over (`ECONNRESET`, `EPIPE`).
    Closed,
    /// No such socket (`EBADF`).
    Unknown,
}

/// Calls made, by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Calls {
    /// Connections accepted.
    pub accepts: u64,
    /// Receives that brought bytes or the end.
    pub receives: u64,
    /// Sends that took bytes.
    pub sends: u64,
    /// Sockets closed.
    pub closes: u64,
    /// Waits.
    pub waits: u64,
    /// Calls that had to be made again: nothing was there, or there was no room.
    pub would_block: u64,
    /// Crossings into the supervisor, those to sleep left out.
    pub crossings: u64,
    /// Calls on a connection of another core's stack.
    pub remote: u64,
}

/// The thread of one core.
pub struct Thread<'a, N: Nic, C: Cpu> {
    system: &'a System<N>,
    cpu: &'a C,
    is_in_batch: bool,
    /// Stacks with something to send when the batch is over.
    touched: CoreMask,
    calls: Calls,
}

impl<'a, N: Nic, C: Cpu> Thread<'a, N, C> {
    /// Makes the thread of the core that runs the caller.
    pub fn new(system: &'a System<N>, cpu: &'a C) -> Self {
        Thread {
            system,
            cpu,
            is_in_batch: false,
            touched: CoreMask::EMPTY,
            calls: Calls::default(),
        }
    }

    /// Returns the calls made so far.
    pub fn calls(&self) -> Calls {
        self.calls
    }

    /// Returns the most connections that there can be.
    pub fn connections(&self) -> usize {
        self.system.files.len()
    }

    /// Makes the calls of `calls` as one batch if batches are on: they enter the kernel once, and
    /// what they send goes out at the end, together.
    pub fn batch<R>(&mut self, calls: impl FnOnce(&mut Self) -> R) -> R {
        if !self.system.switches.batch || self.is_in_batch {
            return calls(self);
        }
        self.enter();
        self.is_in_batch = true;
        let result = calls(self);
        self.is_in_batch = false;
        for core in core::mem::take(&mut self.touched).iter() {
            self.with_stack(core.index(), |_, _| ());
        }
        result
    }

    /// Takes a connection from the accept queue and opens a descriptor for it (`accept`).
    pub fn accept(&mut self) -> Option<Socket> {
        self.enter();
        let file = self
            .system
            .accept_queue(self.cpu.core())
            .lock()
            .pop_front()?;
        self.calls.accepts += 1;
        if self.system.switches.lwsocket {
            return Some(Socket(file));
        }
        let descriptor = self.system.descriptors.open(file);
        if descriptor.is_none() {
            self.put(file);
        }
        descriptor.map(Socket)
    }

    /// Lets `wait` tell this core of the socket, by `token` (`epoll_ctl`).
    ///
    /// # Errors
    /// [`SocketError::Unknown`].
    pub fn watch(&mut self, socket: Socket, token: u64) -> Result<(), SocketError> {
        self.enter();
        let file = self.get(socket)?;
        // Its own list: nobody is to be woken.
        self.system.files.watch(file, self.cpu.core(), token);
        self.put_back(file);
        Ok(())
    }

    /// Copies received bytes into `buf` and returns how many (`recv`); 0: the peer has finished.
    ///
    /// # Errors
    /// [`SocketError`].
    pub fn receive(&mut self, socket: Socket, buf: &mut [u8]) -> Result<usize, SocketError> {
        self.enter();
        let file = self.get(socket)?;
        let (core, index) = self.system.place(file);
        let system = self.system;
        let result = self.with_stack(core, |kernel, _| {
            let id = kernel.ids[index].ok_or(SocketError::Unknown)?;
            let received = kernel.stack.receive(id, buf);
            if matches!(received, Ok(Some(1..))) && kernel.stack.is_readable(id) {
                // Told again as long as there is something, as a level-triggered `epoll` does.
                system.files.announce(file);
            }
            received?.ok_or(SocketError::WouldBlock)
        });
        self.put_back(file);
        self.count(result, |calls| &mut calls.receives)
    }

    /// Copies the start of `data` into memory of the kernel and returns how much (`send`); the rest
    /// is to be sent after an event.
    ///
    /// # Errors
    /// [`SocketError`].
    pub fn send(&mut self, socket: Socket, data: &[u8]) -> Result<usize, SocketError> {
        self.enter();
        let file = self.get(socket)?;
        let (core, index) = self.system.place(file);
        let result = self.with_stack(core, |kernel, _| {
            let id = kernel.ids[index].ok_or(SocketError::Unknown)?;
            let (pages, mut is_short) = (kernel.pages.clone(), false);
            let mut rest = data;
            let loan = kernel.stack.lend(id, || {
                if rest.is_empty() {
                    return None;
                }
                let page = pages.take(rest);
                is_short = page.is_none();
                let taken = page.as_ref().map_or(0, |page| page.bytes().len());
                rest = &rest[taken..];
                page
            })?;
            if is_short {
                kernel.starved.push_back(index as u32);
            }
            match loan.bytes {
                0 if !data.is_empty() => Err(SocketError::WouldBlock),
                bytes => Ok(bytes),
            }
        });
        self.put_back(file);
        self.count(result, |calls| &mut calls.sends)
    }

    /// Closes a socket (`close`); the connection is finished in the background.
    ///
    /// # Errors
    /// [`SocketError::Unknown`].
    pub fn close(&mut self, socket: Socket) -> Result<(), SocketError> {
        self.enter();
        let file = match self.system.switches.lwsocket {
            true => Some(socket.0),
            false => self.system.descriptors.close(socket.0),
        };
        let file = file.ok_or(SocketError::Unknown)?;
        self.calls.closes += 1;
        self.put(file);
        Ok(())
    }

    /// Collects what there is to tell into `events` (`epoll_wait`), which it empties first: lets the
    /// core's own stack take frames in, and sleeps while there is nothing, until `deadline`.
    pub fn wait(&mut self, events: &mut Events, deadline: Option<Instant>) {
        self.enter();
        self.calls.waits += 1;
        events.clear();
        let own = self.cpu.core().index();
        loop {
            let now = self.cpu.now();
            let is_busy = self.with_stack(own, |kernel, now| {
                kernel.stack.handle_timers(now);
                kernel.stack.handle_frames(now) > 0
            });
            self.collect(events);
            if !events.is_empty() || deadline.is_some_and(|deadline| deadline <= now) {
                return;
            }
            if !is_busy {
                self.sleep(deadline);
            }
        }
    }

    /// Sleeps until something happens, unless it has.
    fn sleep(&mut self, deadline: Option<Instant>) {
        self.cpu.clear_wake();
        let core = self.cpu.core();
        let own = &self.system.cores[core.index()];
        let (mut is_busy, mut until) = (false, deadline);
        if let Some(kernel) = own.kernel.lock().as_mut() {
            is_busy = kernel.stack.arm();
            let deadlines = [deadline, kernel.stack.next_deadline()];
            until = deadlines.into_iter().flatten().min();
            kernel.sleeps_until = until.unwrap_or(Instant::from_nanos(u64::MAX));
        }
        let queue = self.system.accept_queue(core);
        if !is_busy && self.system.files.is_quiet(core) && queue.lock().is_empty() {
            self.cpu.sleep_until(until);
        }
        if let Some(kernel) = own.kernel.lock().as_mut() {
            kernel.sleeps_until = AWAKE;
            kernel.stack.disarm();
        }
    }

    fn collect(&mut self, events: &mut Events) {
        let own = self.cpu.core();
        if !self.system.accept_queue(own).lock().is_empty() {
            // Empty before: there is room.
            let _ = events.push(Event::Listener);
        }
        while !events.is_full() {
            match self.system.files.next(own) {
                Some(Place::News(token)) => {
                    let _ = events.push(Event::Socket(token));
                }
                Some(Place::Moved(core)) => self.cpu.wake(core),
                Some(Place::Stale) => {}
                None => return,
            }
        }
    }

    /// Enters the kernel for a call.
    fn enter(&mut self) {
        if !self.is_in_batch {
            self.calls.crossings += 1;
            self.cpu.cross();
        }
    }

    /// Takes the stack of a core, and afterwards sends what `call` has left to be sent, unless that
    /// is for the end of the batch.
    fn with_stack<R>(&mut self, core: usize, call: impl FnOnce(&mut Kernel<N>, Instant) -> R) -> R {
        self.calls.remote += u64::from(core != self.cpu.core().index());
        let now = self.cpu.now();
        let mut guard = self.system.cores[core].kernel.lock();
        let Some(kernel) = guard.as_mut() else {
            unreachable!("a connection's core has joined")
        };
        let result = call(kernel, now);
        if self.is_in_batch {
            self.touched.insert(kernel.core);
            return result;
        }
        let mut wake = kernel.finish(now, self.system);
        drop(guard);
        let own = CoreMask::only(self.cpu.core());
        wake = CoreMask::from_bits(wake.bits() & !own.bits());
        wake.iter().for_each(|core| self.cpu.wake(core));
        result
    }

    /// Finds the file of a socket, and keeps it while the call is under way.
    fn get(&mut self, socket: Socket) -> Result<u32, SocketError> {
        let System {
            switches,
            descriptors,
            files,
            ..
        } = self.system;
        if switches.lwsocket {
            return Ok(socket.0);
        }
        let file = descriptors.file(socket.0).ok_or(SocketError::Unknown)?;
        if !files.take(file) {
            return Err(SocketError::Unknown);
        }
        if descriptors.file(socket.0) != Some(file) {
            // Closed in between, and perhaps another connection's by now.
            self.put(file);
            return Err(SocketError::Unknown);
        }
        Ok(file)
    }

    /// Ends what [`get`](Self::get) began.
    fn put_back(&mut self, file: u32) {
        if !self.system.switches.lwsocket {
            self.put(file);
        }
    }

    /// Gives a reference back; the last one ends the connection.
    fn put(&mut self, file: u32) {
        if !self.system.files.give_back(file) {
            return;
        }
        let (core, index) = self.system.place(file);
        self.with_stack(core, |kernel, _| {
            if let Some(id) = kernel.ids[index].take() {
                // The stack knows it: it was accepted, and is released once.
                let _ = kernel.stack.release(id);
            }
        });
    }

    fn count(
        &mut self,
        result: Result<usize, SocketError>,
        counter: impl FnOnce(&mut Calls) -> &mut u64,
    ) -> Result<usize, SocketError> {
        match result {
            Ok(_) => *counter(&mut self.calls) += 1,
            Err(SocketError::WouldBlock) => self.calls.would_block += 1,
            Err(_) => {}
        }
        result
    }
}

impl From<ConnectionError> for SocketError {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::Closed => SocketError::Closed,
            ConnectionError::Unknown => SocketError::Unknown,
        }
    }
}

impl Calls {
    /// Yields every counter with its name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        [
            ("calls_accept", self.accepts),
            ("calls_receive", self.receives),
            ("calls_send", self.sends),
            ("calls_close", self.closes),
            ("calls_wait", self.waits),
            ("calls_would_block", self.would_block),
            ("crossings", self.crossings),
            ("calls_remote", self.remote),
        ]
        .into_iter()
    }
}
