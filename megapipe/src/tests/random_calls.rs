//! What the application of the model calls, and which outcomes of a call there may be.

use super::random_model::{Known, Model, OUT, Reading, TIMERS, Target, UNKNOWN, Writing, choose};
use super::world::World;
use crate::channel::{Cookie, Handle, IoSlice, IoVec, SubmitError};
use core::time::Duration;
use std::vec::Vec;

impl Model {
    /// The handle of a target, and what is known of it; nobody knows those that must be refused.
    fn target(&mut self, target: Target) -> Option<(Handle, Option<&mut Known>)> {
        match target {
            Target::Foreign => Some((self.foreign.handle, None)),
            Target::Stale(number) => {
                let number = number.checked_rem(self.stale.len())?;
                Some((self.stale[number], None))
            }
            Target::Live(number) => {
                let cookie = choose(&self.handles, number)?;
                let known = self.handles.get_mut(&cookie)?;
                Some((known.handle, Some(known)))
            }
        }
    }

    /// Whether a refusal is one that there may be.
    fn check_refusal(error: SubmitError, known: Option<&Known>, is_over: bool, is_busy: bool) {
        match error {
            SubmitError::UnknownHandle => assert!(known.is_none()),
            SubmitError::Busy => assert!(known.is_some() && is_busy),
            SubmitError::Closed(_) => assert!(known.is_some() && is_over),
            SubmitError::RingFull => assert!(known.is_some()),
            other => panic!("{other:?}"),
        }
    }

    fn is_over(world: &mut World, known: Option<&Known>) -> bool {
        known.is_some_and(|known| world.peer(known.id).over.is_some())
    }

    pub(super) fn read(&mut self, target: Target, how: Reading) {
        let buffer = match how {
            Reading::Into => self.bench.channel.buffer(),
            _ => None,
        };
        let Some((handle, _)) = self.target(target) else {
            return;
        };
        let channel = &mut self.bench.channel;
        let result = match (how, buffer) {
            (Reading::Into, Some(buffer)) => {
                let refused = channel.read_into(handle, buffer);
                refused.map_err(|refused| refused.error)
            }
            (Reading::Into, None) => return,
            (Reading::Multishot, _) => channel.read_multishot(handle),
            _ => channel.read(handle),
        };
        let known = self
            .handles
            .values_mut()
            .find(|known| known.handle == handle);
        let is_over = Self::is_over(&mut self.bench.world, known.as_deref());
        match (result, known) {
            (Ok(()), Some(known)) => {
                assert!(matches!(known.reading, None | Some(Reading::Ending)));
                known.reading = Some(how);
            }
            (Ok(()), None) => panic!("a handle nobody knows was taken"),
            (Err(error), known) => {
                let is_busy = known.as_ref().is_some_and(|known| known.reading.is_some());
                Self::check_refusal(error, known.as_deref(), is_over, is_busy);
            }
        }
    }

    pub(super) fn cancel_read(&mut self, target: Target) {
        let Some((handle, _)) = self.target(target) else {
            return;
        };
        let result = self.bench.channel.cancel_read(handle);
        let known = self
            .handles
            .values_mut()
            .find(|known| known.handle == handle);
        match (result, known) {
            (Ok(buffer), Some(known)) => {
                known.reading = match known.reading {
                    Some(Reading::Into) => {
                        assert!(buffer.is_some());
                        None
                    }
                    Some(Reading::Single) => None,
                    Some(Reading::Multishot) => Some(Reading::Ending),
                    other => panic!("{other:?} cannot be cancelled"),
                };
            }
            // None is under way, or its completion is.
            (Err(SubmitError::Empty), Some(known)) => {
                // A multishot read ends with its connection.
                let is_multishot = known.reading == Some(Reading::Multishot);
                assert!(!is_multishot || self.bench.world.peer(known.id).over.is_some());
            }
            (Err(UNKNOWN), None) => {}
            (result, known) => panic!("{result:?}, known: {}", known.is_some()),
        }
    }

    pub(super) fn write(
        &mut self,
        target: Target,
        bytes: usize,
        has_receipt: bool,
        is_quiet: bool,
    ) {
        let Some((handle, _)) = self.target(target) else {
            return;
        };
        let channel = &mut self.bench.channel;
        let mut pieces = IoVec::new();
        let half = bytes / 2;
        let _ = pieces.push(IoSlice::from_static(&OUT[..half]));
        if let Some(mut buffer) = channel.buffer() {
            buffer.append(&OUT[..bytes.min(6)]);
            let _ = pieces.push(buffer);
        }
        let _ = pieces.push(IoSlice::from_static(&OUT[half..bytes]));
        let receipt = has_receipt.then(|| channel.receipt(handle));
        let has_receipt = matches!(receipt, Some(Ok(_)));
        if let Some(Ok(receipt)) = receipt {
            let _ = pieces.push(receipt);
        }
        pieces.set_quiet(is_quiet);
        let all: Vec<u8> = pieces.iter().flat_map(IoSlice::bytes).copied().collect();
        let result = channel.writev(handle, &mut pieces);
        let known = self
            .handles
            .values_mut()
            .find(|known| known.handle == handle);
        let is_over = Self::is_over(&mut self.bench.world, known.as_deref());
        let is_shut = known.as_ref().is_some_and(|known| known.writing.is_none());
        match (result, known) {
            (Ok(()), Some(known)) => {
                assert!(known.writing.is_none() && !all.is_empty());
                known.writing = Some(Writing {
                    bytes: all.len(),
                    is_quiet,
                    lends: self.bench.world.peer(known.id).lends,
                });
                known.written.extend(all);
                known.receipts += usize::from(has_receipt);
            }
            (Ok(()), None) => panic!("a handle nobody knows was taken"),
            // It is dropped with the pieces here, and told.
            (Err(error), Some(known)) => {
                known.receipts += usize::from(has_receipt);
                match error {
                    SubmitError::Empty => assert!(all.is_empty()),
                    // After a disconnect.
                    SubmitError::BrokenPipe => {
                        assert!(is_shut || !known.written.is_empty())
                    }
                    error => {
                        let is_busy = known.writing.is_some();
                        Self::check_refusal(error, Some(known), is_over, is_busy);
                    }
                }
            }
            (Err(error), None) => assert_eq!(error, UNKNOWN),
        }
    }

    pub(super) fn disconnect(&mut self, target: Target) {
        if let Some((handle, known)) = self.target(target) {
            let is_known = known.is_some();
            let result = self.bench.channel.disconnect(handle);
            assert_eq!(result == Err(UNKNOWN), !is_known);
        }
    }

    pub(super) fn abort(&mut self, target: Target) {
        if let Some((handle, known)) = self.target(target) {
            let is_known = known.is_some();
            let result = self.bench.channel.abort(handle);
            assert_eq!(result == Err(UNKNOWN), !is_known);
        }
    }

    pub(super) fn unregister(&mut self, target: Target) {
        let Some((handle, known)) = self.target(target) else {
            return;
        };
        let is_known = known.is_some();
        match self.bench.channel.unregister(handle) {
            Ok(()) => {
                assert!(is_known);
                self.handles.retain(|_, known| known.handle != handle);
                self.stale.push(handle);
            }
            Err(SubmitError::RingFull) => assert!(is_known),
            Err(error) => assert!(!is_known && error == UNKNOWN),
        }
    }

    pub(super) fn connect(&mut self) {
        let cookie = self.cookie();
        let remote = "10.0.0.9:80".parse().unwrap();
        match self.bench.channel.connect(remote, Cookie(cookie)) {
            Ok(connect) => drop(self.connects.insert(cookie, connect)),
            Err(error) => assert_eq!(error, SubmitError::RingFull),
        }
    }

    pub(super) fn cancel_connect(&mut self, target: Target) {
        let live = match target {
            Target::Live(number) => choose(&self.connects, number),
            _ => None,
        };
        let connect = match (target, live) {
            (Target::Foreign, _) => self.foreign.connect,
            (Target::Stale(number), _) => {
                let Some(number) = number.checked_rem(self.stale_connects.len()) else {
                    return;
                };
                self.stale_connects[number]
            }
            (Target::Live(_), Some(cookie)) => self.connects[&cookie],
            (Target::Live(_), None) => return,
        };
        match (self.bench.channel.cancel_connect(connect), live) {
            (Ok(()), Some(cookie)) => {
                self.connects.remove(&cookie);
                self.stale_connects.push(connect);
            }
            (Err(SubmitError::RingFull), Some(_)) => {}
            (result, live) => assert!(result == Err(UNKNOWN) && live.is_none()),
        }
    }

    pub(super) fn timer(&mut self, after: Duration) {
        let cookie = self.cookie();
        match self.bench.channel.timer(after, Cookie(cookie)) {
            // Its time runs from the last run on.
            Ok(timer) => drop(
                self.timers
                    .insert(cookie, (timer, self.bench.channel.now + after)),
            ),
            Err(error) => {
                assert_eq!(error, SubmitError::TooManyTimers);
                assert_eq!(self.timers.len(), TIMERS);
            }
        }
    }

    pub(super) fn cancel_timer(&mut self, target: Target) {
        let live = match target {
            Target::Live(number) => choose(&self.timers, number),
            _ => None,
        };
        let timer = match (target, live) {
            (Target::Foreign, _) => self.foreign.timer,
            (Target::Stale(number), _) => {
                let Some(number) = number.checked_rem(self.stale_timers.len()) else {
                    return;
                };
                self.stale_timers[number]
            }
            (Target::Live(_), Some(cookie)) => self.timers[&cookie].0,
            (Target::Live(_), None) => return,
        };
        let result = self.bench.channel.cancel_timer(timer);
        assert_eq!(result.is_ok(), live.is_some());
        if let Some(cookie) = live {
            self.timers.remove(&cookie);
            self.stale_timers.push(timer);
        } else {
            assert_eq!(result, Err(UNKNOWN));
        }
    }
}
