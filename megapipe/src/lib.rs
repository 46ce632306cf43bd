//! MegaPipe (OSDI 2012): channels, handles, lwsockets, partitioned listeners and batching.
//!
//! An application owns one [`Channel`] per core. It submits commands, which collect in the
//! submission ring, and dispatches completions, which the stack has collected in the completion
//! ring. [`Core::turn`] is the way of every request.
//!
//! Reading order: [`channel`], [`core`].
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

extern crate alloc;

pub mod channel;
pub mod core;

pub use crate::core::{Application, Core};
pub use channel::{Channel, Completion, Cookie, Handle, Lwsocket};
