//! Frames to connections and back.
//!
//! `net` owns Ethernet, ARP, the flow table, the hand-over of frames between cores, listeners with
//! their backlogs, TIME_WAIT and the timers; smoltcp is the connection engine and the wire codec.
//! It is sans-IO: it never reads a clock (`now` is a parameter) and sees the device only through
//! [`Nic`]. The stack of one core is a plain value, never shared; what crosses cores is a frame in
//! a ring, or a word in [`fabric`].
//!
//! Methods are of four kinds, and their names say which: `handle_*` (something came in), commands
//! (the application asks), `poll_*` (something is to go out or be told), and getters.
//!
//! Upstream: [`kernel`]. Downstream: `megapipe`.
//!
//! Reading order: [`nic`], [`stack`].
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

extern crate alloc;

pub mod fabric;
pub mod nic;
pub mod stack;

pub use nic::Nic;
pub use stack::Stack;
