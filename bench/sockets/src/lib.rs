//! BSD-style sockets on the same stack and cores, to compare MegaPipe with: one accept queue that all
//! cores share behind a lock, a table of descriptors that all cores share, with the lowest free
//! number and reference counts, and one crossing into the supervisor for each call.
//!
//! [`Switches`] turn the three ideas of the paper on one by one, as its table 3 does: partitioned
//! accept queues, batched calls, sockets without descriptors. What is and is not modelled, and why it
//! is fair, is in `docs/decisions/sockets-baseline.md`.
//!
//! Upstream: `net`, one stack per core, each behind a lock that any core may take. Downstream: the
//! example `sockets`, and whoever measures.
//! Invariants: nothing is allocated after [`System::new`] and [`System::join`]; locks are taken in the
//! order stack, accept queue, ready list, and no core holds two stacks.
//!
//! Reading order: [`system`], [`thread`] (the calls), [`descriptors`], `files`, [`memory`], [`pong`] (a program
//! that uses them).
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

extern crate alloc;

pub mod descriptors;
mod files;
pub mod limits;
#[cfg(all(test, loom))]
mod loom_tests;
pub mod memory;
pub mod pong;
mod sync;
pub mod system;
pub mod thread;

pub use system::{Switches, System};
pub use thread::{Calls, Cpu, Event, SocketError, Thread};
