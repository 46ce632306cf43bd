//! MegaPipe (OSDI 2012): channels, handles, lwsockets, partitioned listeners and batching.
//!
//! ```text
//!   application      register  accept  read  writev  disconnect        dispatch
//!        │               │                                                ▲
//!  ┌─────┼───────────────▼── one channel per core ────────────────────────┼──────┐
//!  │     │        submission ring                                 completion ring│
//!  │     │        (32 commands, then a flush)            (handles with results)  │
//!  │     │               │             ┌──────────────┐                   ▲      │
//!  │     └── cookies ────┼─────────────┤ handle table ├───────────────────┤      │
//!  │                     │             └──────────────┘                   │      │
//!  └─────────────────────▼────────────────────────────────────────────────┼──────┘
//!   net's stack      send  receive  shutdown  release                   events
//! ```
//!
//! A **channel** ([`Channel`]) is an application's one door to the network. Every core has its
//! own, with its own stack below and its own application above; cores share nothing here.
//! Listeners are *partitioned*: each core registers its own, with the mask of the cores that
//! answer, and gets the connections of its own accept queue.
//!
//! A **lwsocket** ([`Lwsocket`]) is an accepted connection: an index and a generation inside one
//! channel, nothing more. Registered with a **cookie**, it becomes a [`Handle`]; every completion
//! of that handle carries the cookie.
//!
//! **Batching** goes both ways and unseen. Commands collect in the submission ring and run
//! together; completions are made together and handed out one by one. A command that can
//! complete at once does so when it is flushed.
//!
//! The paper's ping-pong server:
//!
//! ```
//! use megapipe::{Application, Channel, Completion, Cookie, CoreMask, Handle, Instant};
//!
//! const LISTENER: Cookie = Cookie(u64::MAX);
//!
//! /// Sends back whatever it receives. `handles` is indexed by the cookie.
//! struct PingPong {
//!     handles: Vec<Option<Handle>>,
//!     is_listening: bool,
//! }
//!
//! impl Application for PingPong {
//!     fn run(&mut self, channel: &mut Channel, _now: Instant) {
//!         self.serve(channel).expect("commands of one completion fit");
//!     }
//! }
//!
//! impl PingPong {
//!     fn serve(&mut self, channel: &mut Channel) -> Result<(), megapipe::SubmitError> {
//!         if !self.is_listening {
//!             let listener = channel.listen(7, LISTENER, CoreMask::first(1))?;
//!             channel.accept_multishot(listener)?;
//!             self.is_listening = true;
//!         }
//!         while let Some(completion) = channel.dispatch(None) {
//!             let handle = self.handles.get(completion.cookie().0 as usize).copied().flatten();
//!             match (completion, handle) {
//!                 (Completion::Accept { socket, .. }, _) => {
//!                     let index = socket.index();
//!                     let handle = channel.register(socket, Cookie(index as u64));
//!                     self.handles[index] = Some(handle);
//!                     // A command is refused when the connection is over: `Disconnect` says so.
//!                     let _ = channel.read(handle);
//!                 }
//!                 (Completion::Read { buffer: Some(bytes), .. }, Some(handle)) => {
//!                     let _ = channel.write(handle, bytes);
//!                 }
//!                 (Completion::Write { .. }, Some(handle)) => {
//!                     let _ = channel.read(handle);
//!                 }
//!                 // The peer has finished sending: so does this side.
//!                 (Completion::Read { result: Ok(0), .. }, Some(handle)) => {
//!                     let _ = channel.disconnect(handle);
//!                 }
//!                 (Completion::Disconnect { cookie, .. }, Some(handle)) => {
//!                     self.handles[cookie.0 as usize] = None;
//!                     channel.unregister(handle)?;
//!                 }
//!                 _ => {}
//!             }
//!         }
//!         Ok(())
//!     }
//! }
//! ```
//!
//! # The paper's calls
//!
//! | paper (table 1) | here | what is different, and why |
//! |---|---|---|
//! | `mp_create` | [`Channel::create`] | takes all the memory it will ever use; the appliance makes one per core |
//! | `mp_destroy` | drop | a channel is a value that its core owns, with the stack: all three go together |
//! | `mp_register`, of a listening socket | [`Channel::listen`] | socket, bind and listen in one: there is no other kind of socket |
//! | `mp_register`, of a connection | [`Channel::register`] | takes the [`Lwsocket`] by value, so that it is registered once; cannot fail |
//! | `cpu_mask` | [`CoreMask`] | disjoint masks of a port are enforced by the stack: [`Completion::ListenFailed`] says `CoreTaken` |
//! | `mp_unregister` | [`Channel::unregister`], [`Channel::unregister_listener`] | cancels what is pending; also finishes the connection in the background |
//! | `mp_accept`, `count` | [`Channel::accept`], [`Channel::accept_multishot`] | [`Completion::Accept`] brings one connection each, with the number still pending; `is_lwsocket` is always true |
//! | `mp_read` | [`Channel::read`], [`Channel::read_into`], [`Channel::read_multishot`] | the buffer is the stack's own, so nothing is copied; or one that the channel lends |
//! | `mp_write`, `mp_writev` | [`Channel::write`], [`Channel::writev`], [`Channel::writev_with`] | lends instead of copying; complete when the send queue has it, of any size; [`Channel::receipt`] tells when it is acknowledged; [`IoVec::set_quiet`](channel::IoVec::set_quiet) leaves out the completion of a write that need not wait |
//! | `mp_disconnect` | [`Channel::disconnect`] | also waits for the write under way; [`Completion::Disconnect`] comes when both sides have finished |
//! | `mp_dispatch`, `timeout` | [`Channel::dispatch`] | `None` means: back to the core, which waits at most `timeout` and calls again; an application never blocks |
//! | flush | [`Channel::flush`] | also at the threshold ([`ChannelConfig::batch`], 32), and when nothing is pending |
//! | convert | – | there are no descriptors to convert a lwsocket to |
//! | – | [`Channel::connect`], [`Channel::timer`], [`Channel::abort`], [`Channel::change_mask`], [`Channel::set_stealing`], `cancel_*` | left open by the paper |
//! | – | [`Channel::send_datagram`] | UDP, one way: for log servers and the like |
//! | – | [`Channel::notify`] | cores share nothing; this says to another one's application that there is something to look at, and wakes it |
//!
//! The results of the paper are [`IoError`] (reset, timed out, broken pipe), `Ok(0)` for a peer that
//! has finished, and [`ConnectFailure::OutOfMemory`]; a read or write never runs out of memory, because
//! all of it is taken at start-up, and what has none to go to is refused when it is submitted.
//!
//! # What is wrong with a call
//!
//! is told at once, by [`SubmitError`]; then nothing was queued, nothing will complete, and what was to
//! be written or read into is the caller's again. Nothing panics.
//!
//! | the call | is refused with |
//! |---|---|
//! | a handle that is stale, or of another channel | [`UnknownHandle`](SubmitError::UnknownHandle) |
//! | a second read or write while one is under way or not told (so the order of bytes is never in doubt) | [`Busy`](SubmitError::Busy) |
//! | a write of no bytes, a read into a full buffer, an accept of 0, cancelling nothing | [`Empty`](SubmitError::Empty) |
//! | a write or a second disconnect after [`disconnect`](Channel::disconnect) | [`BrokenPipe`](SubmitError::BrokenPipe) |
//! | anything on a connection that is over | [`Closed`](SubmitError::Closed), with who ended it |
//! | a buffer of another channel | [`ForeignBuffer`](SubmitError::ForeignBuffer); a [`Lwsocket`] of another is dropped, and its handle a stale one |
//! | an empty core mask | [`BadMask`](SubmitError::BadMask) |
//! | a second listener on a port | [`PortInUse`](SubmitError::PortInUse) |
//! | a mask that names a core that does not run, or one that another core's listener has | [`Completion::ListenFailed`], [`Completion::MaskChanged`]: only the stack knows |
//! | more than fits into the submission ring | [`RingFull`](SubmitError::RingFull); what answers a completion always fits |
//! | one too many of what is bounded | `TooMany…` |
//! | a call from another core | does not compile: |
//!
//! ```compile_fail,E0277
//! fn must_be_send<T: Send>() {}
//! must_be_send::<megapipe::Channel>();
//! ```
//!
//! `docs/megapipe.md` is a guide to writing an appliance, and a map from the paper to the files.
//!
//! Upstream: `net`, one stack per core. Downstream: the application (`app-http`). megapipe never
//! sees a frame, and the application never sees a connection of the stack.
//!
//! Reading order: [`core`], [`channel`], [`completion`], [`lwsocket`], [`buffer`], [`writes`] with
//! [`versions`], then the calls (`listener`, `accepting`, `connects`, `reading`, `writing`, `timed`), `exchange`
//! and `handle_table`, which are the inside; [`appliance`] boots all of it.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

extern crate alloc;

mod accepting;
pub mod appliance;
pub mod buffer;
pub mod channel;
pub mod completion;
mod connections;
mod connects;
pub mod core;
pub mod counters;
mod datagrams;
mod exchange;
mod handle_table;
pub mod idle;
pub mod limits;
mod listener;
pub mod lwsocket;
mod polling;
mod reading;
mod ready;
mod receipts;
mod submissions;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(test)]
mod tests;
mod timed;
pub mod trace;
pub mod versions;
pub mod writes;
mod writing;

pub use crate::core::{Application, Core, CoreCounters, Turn};
pub use buffer::Buffer;
pub use channel::{Channel, ChannelConfig};
pub use completion::{Completion, ConnectFailure, Cookie, IoError, Refused, SubmitError};
pub use counters::ChannelCounters;
pub use idle::{Every, IdlePolicy, Observer};
pub use kernel::{CoreId, CoreMask, Instant};
pub use lwsocket::{ConnectHandle, Handle, ListenHandle, Lwsocket, TimerHandle};
pub use versions::Versions;
pub use writes::{IoSlice, IoVec};
