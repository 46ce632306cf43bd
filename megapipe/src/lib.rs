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
//! use kernel::{CoreMask, Instant};
//! use megapipe::channel::{Completion, Cookie, Handle, IoSlice, IoVec};
//! use megapipe::{Application, Channel};
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
//!             channel.accept(listener, u32::MAX)?;
//!             self.is_listening = true;
//!         }
//!         while let Some(completion) = channel.dispatch(None) {
//!             match completion {
//!                 Completion::Accept { socket, .. } => {
//!                     let index = socket.index();
//!                     let handle = channel.register(socket, Cookie(index as u64));
//!                     self.handles[index] = Some(handle);
//!                     channel.read(handle)?;
//!                 }
//!                 Completion::Read { cookie, buffer: Some(bytes), .. } => {
//!                     if let Some(handle) = self.handles[cookie.0 as usize] {
//!                         let mut pieces = IoVec::from_iter([IoSlice::Buffer(bytes)]);
//!                         let _ = channel.writev(handle, &mut pieces);
//!                     }
//!                 }
//!                 Completion::Write { cookie, result: Ok(_) } => {
//!                     if let Some(handle) = self.handles[cookie.0 as usize] {
//!                         let _ = channel.read(handle);
//!                     }
//!                 }
//!                 Completion::Read { cookie, .. } | Completion::Disconnect { cookie, .. } => {
//!                     if let Some(handle) = self.handles[cookie.0 as usize].take() {
//!                         channel.unregister(handle)?;
//!                     }
//!                 }
//!                 Completion::Write { .. }
//!                 | Completion::MaskChanged { .. }
//!                 | Completion::ListenFailed { .. } => {}
//!             }
//!         }
//!         Ok(())
//!     }
//! }
//! ```
//!
//! Upstream: `net`, one stack per core. Downstream: the application (`app-http`). megapipe never
//! sees a frame, and the application never sees a connection of the stack.
//!
//! Reading order: [`core`], [`channel`], [`completion`], [`lwsocket`], [`writes`], then `exchange`
//! and `handle_table`, which are the inside; [`appliance`] boots all of it.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

extern crate alloc;

pub mod appliance;
pub mod buffer;
pub mod channel;
pub mod completion;
mod connections;
pub mod core;
pub mod counters;
mod exchange;
mod handle_table;
pub mod idle;
pub mod limits;
mod listener;
pub mod lwsocket;
mod ring;
mod submissions;
#[cfg(test)]
mod tests;
pub mod writes;

pub use crate::core::{Application, Core, CoreCounters, Turn};
pub use buffer::Buffer;
pub use channel::{Channel, ChannelConfig};
pub use completion::{Completion, Cookie, IoError, Refused, SubmitError};
pub use counters::ChannelCounters;
pub use idle::{Every, IdlePolicy, Observer};
pub use kernel::{CoreId, CoreMask, Instant};
pub use lwsocket::{Handle, ListenHandle, Lwsocket};
pub use writes::{IoSlice, IoVec};
