//! What the application of the model asks of listeners, which outcomes there may be, and what the
//! listeners of other cores do meanwhile.

use super::ports::{Listening, RUNNING};
use super::random_model::{Model, Target, UNKNOWN, choose};
use crate::Lwsocket;
use crate::channel::{Cookie, ListenHandle, SubmitError};
use crate::limits::LISTENERS;
use kernel::CoreMask;
use net::stack::ListenError;

/// Ports that the model listens on begin here.
const FIRST_PORT: u16 = 80;
/// More than a channel has listeners.
pub(super) const PORTS: u16 = LISTENERS as u16 + 2;

/// What is known of one listener.
pub(super) struct KnownListener {
    pub(super) handle: ListenHandle,
    port: u16,
    mask: CoreMask,
    /// Connections asked for, with those that came; `None` for all that come.
    granted: Option<usize>,
    /// Connections that were handed out.
    told: usize,
    /// The change of the mask that is under way.
    change: Option<CoreMask>,
    /// The refusal was told.
    has_failed: bool,
}

impl Model {
    /// The listener of a target; only a live one has a cookie.
    fn listener(&mut self, target: Target) -> Option<(ListenHandle, Option<u64>)> {
        match target {
            Target::Foreign => Some((self.foreign.listener, None)),
            Target::Stale(number) => {
                let number = number.checked_rem(self.stale_listeners.len())?;
                Some((self.stale_listeners[number], None))
            }
            Target::Live(number) => {
                let cookie = choose(&self.listeners, number)?;
                Some((self.listeners[&cookie].handle, Some(cookie)))
            }
        }
    }

    /// The stack's listener of a live one, if it was not refused.
    fn opened(&self, cookie: u64) -> Option<&Listening> {
        let port = self.listeners[&cookie].port;
        let open = self.bench.world.ports.at_port(port);
        // The one before it on this port may still be there until the flush.
        open.filter(|_| !self.is_asked(cookie))
    }

    /// Whether its command has not been flushed.
    fn is_asked(&self, cookie: u64) -> bool {
        self.unflushed_listeners.contains(&cookie)
    }

    /// Connections that the stack has given it.
    fn accepted(&self, cookie: u64) -> usize {
        let is_live = !self.listeners[&cookie].has_failed;
        let open = self.opened(cookie).filter(|_| is_live);
        open.map_or(0, |listening| listening.accepted.len())
    }

    /// Connections that were asked for and have not come.
    fn credit(&self, cookie: u64) -> Option<usize> {
        let granted = self.listeners[&cookie].granted?;
        Some(granted - self.accepted(cookie))
    }

    pub(super) fn listen(&mut self, number: u16, mask: CoreMask) {
        let (cookie, port) = (self.cookie(), FIRST_PORT + number);
        let has_port = self.listeners.values().any(|known| known.port == port);
        match self.bench.channel.listen(port, Cookie(cookie), mask) {
            Ok(handle) => {
                assert!(!mask.is_empty() && !has_port && self.listeners.len() < LISTENERS);
                let known = KnownListener {
                    handle,
                    port,
                    mask,
                    granted: Some(0),
                    told: 0,
                    change: None,
                    has_failed: false,
                };
                self.listeners.insert(cookie, known);
                self.unflushed_listeners.insert(cookie);
            }
            Err(SubmitError::BadMask) => assert!(mask.is_empty()),
            Err(SubmitError::PortInUse) => assert!(has_port),
            // The places of those that were unregistered are free after the flush.
            Err(SubmitError::TooManyListeners) => {
                assert!(self.listeners.len() + self.unflushed_unlistens >= LISTENERS);
            }
            Err(error) => assert_eq!(error, SubmitError::RingFull),
        }
    }

    /// Asks for so many connections, `None` for all that come.
    pub(super) fn accept(&mut self, target: Target, count: Option<u32>) {
        let Some((handle, cookie)) = self.listener(target) else {
            return;
        };
        let channel = &mut self.bench.channel;
        let result = match count {
            Some(count) => channel.accept(handle, count),
            None => channel.accept_multishot(handle),
        };
        match (result, cookie) {
            (Ok(()), Some(cookie)) => {
                assert_ne!(count, Some(0));
                let known = self.listeners.get_mut(&cookie).unwrap();
                let more = known.granted.zip(count);
                known.granted = more.map(|(granted, count)| granted + count as usize);
            }
            (Err(SubmitError::Empty), _) => assert_eq!(count, Some(0)),
            (Err(SubmitError::RingFull), Some(_)) => {}
            (result, cookie) => assert!(result == Err(UNKNOWN) && cookie.is_none()),
        }
    }

    pub(super) fn cancel_accept(&mut self, target: Target) {
        let Some((handle, cookie)) = self.listener(target) else {
            return;
        };
        let result = self.bench.channel.cancel_accept(handle);
        let Some(cookie) = cookie else {
            return assert_eq!(result, Err(UNKNOWN));
        };
        match self.credit(cookie) {
            Some(0) => assert_eq!(result, Err(SubmitError::Empty)),
            _ => assert_eq!(result, Ok(())),
        }
        let accepted = self.accepted(cookie);
        self.listeners.get_mut(&cookie).unwrap().granted = Some(accepted);
    }

    pub(super) fn change_mask(&mut self, target: Target, mask: CoreMask) {
        let Some((handle, cookie)) = self.listener(target) else {
            return;
        };
        let result = self.bench.channel.change_mask(handle, mask);
        let known = cookie.map(|cookie| self.listeners.get_mut(&cookie).unwrap());
        match (result, known) {
            (Ok(()), Some(known)) => assert!(known.change.replace(mask).is_none()),
            (Err(SubmitError::Busy), Some(known)) => assert!(known.change.is_some()),
            (Err(SubmitError::RingFull), Some(_)) => {}
            (result, known) => assert!(result == Err(UNKNOWN) && known.is_none()),
        }
    }

    pub(super) fn set_stealing(&mut self, target: Target, is_on: bool) {
        if let Some((handle, cookie)) = self.listener(target) {
            match self.bench.channel.set_stealing(handle, is_on) {
                Ok(()) | Err(SubmitError::RingFull) => assert!(cookie.is_some()),
                Err(error) => assert!(error == UNKNOWN && cookie.is_none()),
            }
        }
    }

    pub(super) fn unlisten(&mut self, target: Target) {
        let Some((handle, cookie)) = self.listener(target) else {
            return;
        };
        match (self.bench.channel.unregister_listener(handle), cookie) {
            (Ok(()), Some(cookie)) => {
                self.listeners.remove(&cookie);
                self.unflushed_listeners.remove(&cookie);
                self.unflushed_unlistens += 1;
                self.stale_listeners.push(handle);
            }
            (Err(SubmitError::RingFull), Some(_)) => {}
            (result, cookie) => assert!(result == Err(UNKNOWN) && cookie.is_none()),
        }
    }

    /// Other cores' listeners of a port have these cores from now on, as far as they may.
    pub(super) fn others_take(&mut self, number: u16, mask: CoreMask) {
        let port = FIRST_PORT + number;
        let ports = &mut self.bench.world.ports;
        let ours = ports.at_port(port);
        let ours = ours.map_or(CoreMask::EMPTY, |listening| listening.mask);
        if mask.and(ours).is_empty() {
            ports.taken.insert(port, mask);
        }
    }

    /// A connection was handed out.
    pub(super) fn check_accept(&mut self, cookie: u64, socket: &Lwsocket, pending: usize) {
        let (id, waited) = {
            let listening = self.opened(cookie).expect("an open listener");
            listening.accepted[self.listeners[&cookie].told]
        };
        assert_eq!((socket.index(), pending), (id.index(), waited), "in order");
        let known = self.listeners.get_mut(&cookie).unwrap();
        known.told += 1;
        let is_asked_for = known.granted.is_none_or(|granted| known.told <= granted);
        assert!(is_asked_for && !known.has_failed);
    }

    pub(super) fn check_listen_failed(&mut self, cookie: u64, error: ListenError) {
        let known = self.listeners.get_mut(&cookie).expect("a live listener");
        assert!(!known.has_failed, "once");
        known.has_failed = true;
        assert_eq!(self.bench.world.ports.outcomes[&known.port], Err(error));
        let running = CoreMask::first(RUNNING);
        assert_eq!(
            error == ListenError::BadMask,
            known.mask.and(running) != known.mask
        );
    }

    pub(super) fn check_mask_changed(&mut self, cookie: u64, result: Result<(), ListenError>) {
        let known = self.listeners.get_mut(&cookie).expect("a live listener");
        let mask = known.change.take().expect("a change was asked for");
        if known.has_failed {
            return assert_eq!(result, Err(ListenError::Unknown));
        }
        assert_eq!(self.bench.world.ports.outcomes[&known.port], result);
        if result.is_ok() {
            known.mask = mask;
        }
        let open = self.bench.world.ports.at_port(known.port).unwrap();
        assert_eq!(open.mask, known.mask);
    }

    /// Checks that no connection waits that was asked for, and ends all listeners.
    pub(super) fn end_listeners(&mut self) {
        for known in self.listeners.values() {
            assert!(known.change.is_none(), "a change was not told");
        }
        let cookies = self.listeners.keys().copied();
        for cookie in cookies.collect::<std::vec::Vec<_>>() {
            let has_failed = self.listeners[&cookie].has_failed;
            if let Some(open) = self.opened(cookie).filter(|_| !has_failed) {
                let is_satisfied = self.credit(cookie) == Some(0) || open.waiting.is_empty();
                assert!(is_satisfied, "a connection waits");
                assert_eq!(self.listeners[&cookie].told, open.accepted.len());
            }
            self.unlisten(Target::Live(0));
            self.run(0);
        }
        assert!(self.listeners.is_empty() && self.bench.world.ports.open.is_empty());
    }
}
