//! Listeners of a channel: the calls `listen`, `change_mask`, `set_stealing` and `unregister_listener`, and what
//! comes of them on the stack's side. What they accept is in `accepting`.
//!
//! Upstream: the stack. Downstream: the completion ring. A place of the table is used again when its listener is
//! unregistered; its generation makes the old handle a stale one.

use crate::channel::{Channel, Completion, Cookie, ListenHandle, SubmitError};
use crate::connections::Connections;
use crate::limits;
use crate::ready::Ready;
use crate::submissions::Command;
use kernel::CoreMask;
use net::stack::{ListenError, ListenerId};

/// How far a listener has come.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Listening {
    /// The command is in the submission ring.
    Asked,
    /// The stack listens.
    Open(ListenerId),
    /// The stack refused, which is to be told.
    Failed(ListenError),
    /// The stack refused, and the application knows.
    FailedTold,
    /// Unregistered; the command is in the submission ring, and the stack may still listen.
    Closing(Option<ListenerId>),
    /// Nobody's: the place is free.
    Free,
}

/// A registered listener, or the place of one.
pub(crate) struct Listener {
    port: u16,
    cores: CoreMask,
    pub(crate) cookie: Cookie,
    pub(crate) generation: u32,
    /// Connections that the application has asked for and not got, or `ENDLESS`.
    pub(crate) credit: u32,
    pub(crate) state: Listening,
    mask: MaskChange,
    /// What [`Channel::set_stealing`] was last told.
    steals: bool,
    /// In the completion ring.
    is_queued: bool,
}

/// A change of a listener's mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MaskChange {
    None,
    /// The command is in the submission ring.
    Asked(CoreMask),
    /// To be told.
    Done(Result<(), ListenError>),
}

impl Listener {
    fn is_free(&self) -> bool {
        matches!(self.state, Listening::Free)
    }

    fn is_live(&self) -> bool {
        !matches!(self.state, Listening::Free | Listening::Closing(_))
    }

    /// Takes the next thing to tell of it.
    fn take_news(&mut self) -> Option<Completion> {
        let cookie = self.cookie;
        if let Listening::Failed(error) = self.state {
            self.state = Listening::FailedTold;
            return Some(Completion::ListenFailed { cookie, error });
        }
        let MaskChange::Done(result) = self.mask else {
            return None;
        };
        self.mask = MaskChange::None;
        Some(Completion::MaskChanged { cookie, result })
    }

    fn has_news(&self) -> bool {
        let is_done = matches!(self.mask, MaskChange::Done(_));
        self.is_live() && (is_done || matches!(self.state, Listening::Failed(_)))
    }
}

/// The application's side.
impl Channel {
    /// Registers a listener on `port` for the cores of `cpu_mask` (`mp_register` of a listening
    /// socket): this core's own accept queue among those of the mask's cores, which answer the
    /// port together. Its completions carry `cookie`. Connections wait in the stack until
    /// [`accept`](Self::accept) asks for them.
    ///
    /// # Errors
    /// [`SubmitError::BadMask`], [`SubmitError::PortInUse`], [`SubmitError::RingFull`],
    /// [`SubmitError::TooManyListeners`]; what only the stack knows comes as
    /// [`Completion::ListenFailed`].
    pub fn listen(
        &mut self,
        port: u16,
        cookie: Cookie,
        cpu_mask: CoreMask,
    ) -> Result<ListenHandle, SubmitError> {
        if cpu_mask.is_empty() {
            return Err(SubmitError::BadMask);
        }
        let is_its_port = |listener: &Listener| listener.is_live() && listener.port == port;
        if self.listeners.iter().any(is_its_port) {
            return Err(SubmitError::PortInUse);
        }
        let mut places = self.listeners.iter();
        let index = match places.position(Listener::is_free) {
            Some(index) => index,
            None if self.listeners.is_full() => return Err(SubmitError::TooManyListeners),
            None => self.listeners.len(),
        };
        self.commands.push(Command::Listen(index as u8))?;
        let before = self.listeners.get(index);
        let listener = Listener {
            port,
            cores: cpu_mask,
            cookie,
            generation: before.map_or(0, |before| before.generation),
            credit: 0,
            state: Listening::Asked,
            mask: MaskChange::None,
            steals: false,
            is_queued: before.is_some_and(|before| before.is_queued),
        };
        let handle = ListenHandle {
            index: index as u8,
            generation: listener.generation,
            channel: self.table.tag(),
        };
        match self.listeners.get_mut(index) {
            Some(place) => *place = listener,
            None => self
                .listeners
                .push(listener)
                .map_err(|_| SubmitError::TooManyListeners)?,
        }
        Ok(handle)
    }

    /// Changes the cores whose new connections the listener gets; connections that have begun stay
    /// where they are. [`Completion::MaskChanged`] follows. To move a share from one core to
    /// another, the one gives it up before the other takes it: masks of a port are disjoint at every
    /// moment. With an empty mask no connection begins any more, and those that have are still
    /// handed out: so a listener is ended without losing any.
    ///
    /// # Errors
    /// [`SubmitError::Busy`] while another change is under way, [`SubmitError::RingFull`],
    /// [`SubmitError::UnknownHandle`].
    pub fn change_mask(
        &mut self,
        listener: ListenHandle,
        cpu_mask: CoreMask,
    ) -> Result<(), SubmitError> {
        if self.live(listener)?.mask != MaskChange::None {
            return Err(SubmitError::Busy);
        }
        self.commands.push(Command::ChangeMask(listener.index))?;
        self.live(listener)?.mask = MaskChange::Asked(cpu_mask);
        Ok(())
    }

    /// Lets load move between the listeners of a port that are told so, off for each at first: a core
    /// that is about to sleep, and has asked for connections that do not come, takes some of those
    /// that wait for another core's listener because nobody there asks for them. A connection moves
    /// whole, with what was received on it, and none moves that was handed out.
    ///
    /// # Errors
    /// [`SubmitError::RingFull`], [`SubmitError::UnknownHandle`].
    pub fn set_stealing(&mut self, listener: ListenHandle, is_on: bool) -> Result<(), SubmitError> {
        self.live(listener)?;
        self.commands.push(Command::SetStealing(listener.index))?;
        self.live(listener)?.steals = is_on;
        Ok(())
    }

    /// Ends a listener (`mp_unregister` of one): its cores answer the port no more, connections that
    /// were not handed out are ended, and nothing more is told of it. Handed-out ones go on.
    ///
    /// # Errors
    /// [`SubmitError::RingFull`], [`SubmitError::UnknownHandle`].
    pub fn unregister_listener(&mut self, listener: ListenHandle) -> Result<(), SubmitError> {
        self.live(listener)?;
        self.commands.push(Command::Unlisten(listener.index))?;
        let entry = self.live(listener)?;
        let open = match entry.state {
            Listening::Open(id) => Some(id),
            _ => None,
        };
        let news = u64::from(matches!(entry.state, Listening::Failed(_)))
            + u64::from(matches!(entry.mask, MaskChange::Done(_)));
        entry.state = Listening::Closing(open);
        entry.generation = entry.generation.wrapping_add(1);
        self.counters.completions_cancelled += news;
        Ok(())
    }

    /// Returns the listener of a handle, counting stale ones.
    pub(crate) fn live(&mut self, handle: ListenHandle) -> Result<&mut Listener, SubmitError> {
        let is_own = handle.channel == self.table.tag();
        let place = self.listeners.get_mut(usize::from(handle.index));
        let live = place
            .filter(|place| is_own && place.is_live() && place.generation == handle.generation);
        if live.is_none() {
            self.counters.commands_refused_stale += 1;
        }
        live.ok_or(SubmitError::UnknownHandle)
    }

    /// Takes what is to be told of the listener at the front of the ring, which leaves it with the
    /// last.
    pub(crate) fn next_of_listener(&mut self, index: u8) -> Option<Completion> {
        let listener = self.listeners.get_mut(usize::from(index))?;
        let news = listener.has_news().then(|| listener.take_news()).flatten();
        listener.is_queued = listener.has_news();
        if !listener.is_queued {
            self.ready.pop();
        }
        news
    }
}

/// The stack's side.
impl Channel {
    /// Connections wait in the accept queue of one of the stack's listeners.
    pub(crate) fn on_incoming(&mut self, id: ListenerId, stack: &mut impl Connections) {
        let is_it =
            |listener: &Listener| matches!(listener.state, Listening::Open(open) if open == id);
        if let Some(index) = self.listeners.iter().position(is_it) {
            self.take_connections(index as u8, stack);
        }
    }

    pub(crate) fn open_listener(&mut self, index: u8, stack: &mut impl Connections) {
        let backlog = limits::BACKLOG_CONNECTIONS.min(self.handles);
        let Some(listener) = self.listeners.get_mut(usize::from(index)) else {
            return;
        };
        let result = stack.listen(listener.port, listener.cores, backlog);
        match (result, listener.state) {
            // Unregistered before the flush: the next command but one ends it.
            (Ok(id), Listening::Closing(_)) => listener.state = Listening::Closing(Some(id)),
            (Err(_), Listening::Closing(_)) => {}
            (Ok(id), _) => listener.state = Listening::Open(id),
            (Err(error), _) => {
                listener.state = Listening::Failed(error);
                self.counters.listens_failed += 1;
                self.announce_listener(index);
            }
        }
    }

    pub(crate) fn change_listener(&mut self, index: u8, stack: &mut impl Connections) {
        let Some(listener) = self.listeners.get_mut(usize::from(index)) else {
            return;
        };
        let MaskChange::Asked(cores) = listener.mask else {
            return;
        };
        let result = match listener.state {
            Listening::Open(id) => stack.change_mask(id, cores),
            _ => Err(ListenError::Unknown),
        };
        if result.is_ok() {
            listener.cores = cores;
        }
        listener.mask = MaskChange::Done(result);
        self.announce_listener(index);
    }

    pub(crate) fn set_stealing_of(&mut self, index: u8, stack: &mut impl Connections) {
        let listener = self.listeners.get(usize::from(index));
        if let Some(listener) = listener
            && let Listening::Open(id) = listener.state
        {
            // The channel's listeners are the stack's: it knows this one.
            let _ = stack.set_stealing(id, listener.steals);
        }
    }

    /// Bids for other cores' waiting connections for each listener that steals and has asked for more
    /// than have come; returns the cores that have some, and are to be woken. For a core that is
    /// about to sleep.
    pub(crate) fn bid(&mut self, stack: &mut impl Connections) -> CoreMask {
        let wanting = self
            .listeners
            .iter()
            .filter(|listener| listener.steals && listener.credit > 0);
        wanting.fold(CoreMask::EMPTY, |wake, listener| match listener.state {
            Listening::Open(id) => wake.or(stack.bid(id, listener.credit)),
            _ => wake,
        })
    }

    pub(crate) fn close_listener(&mut self, index: u8, stack: &mut impl Connections) {
        let Some(listener) = self.listeners.get_mut(usize::from(index)) else {
            return;
        };
        if let Listening::Closing(Some(id)) = listener.state {
            // The channel's listeners are the stack's: it knows this one.
            let _ = stack.close_listener(id);
        }
        listener.state = Listening::Free;
        listener.mask = MaskChange::None;
    }

    /// Puts a listener into the completion ring, unless it is there: there is room for each.
    fn announce_listener(&mut self, index: u8) {
        if let Some(listener) = self.listeners.get_mut(usize::from(index))
            && !listener.is_queued
        {
            listener.is_queued = true;
            self.ready.push(Ready::Listener(index));
        }
    }
}
