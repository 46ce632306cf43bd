//! Frames to connections and back.
//!
//! `net` owns Ethernet, ARP, the flow table, the hand-over of frames between cores, listeners with
//! their backlogs, TCP, TIME_WAIT and the timers; smoltcp gives the wire formats and DHCP.
//! It is sans-IO: it never reads a clock (`now` is a parameter) and sees the device only through
//! [`Nic`]. The stack of one core is a plain value, never shared; what crosses cores is a frame in
//! a ring, or a word in [`fabric`].
//!
//! Methods are of four kinds, and their names say which: `handle_*` (something came in), commands
//! (the application asks), `poll_*` (something is to go out or be told), and getters.
//!
//! Upstream: [`kernel`]. Downstream: `megapipe`.
//!
//! Reading order: [`nic`], [`stack`], `ingress`, `opening`, `commands`, [`connect`] with
//! `neighbours`, `egress`, `demux`, `connection`,
//! `listener`, `listening`, `time_wait`, `tcp` with [`chunk`], `output`, then [`fabric`] with
//! `port_table`, [`rss`] and [`address`], and `stealing` with `backlog`, `bids` and `moves`; the rest
//! are tables. [`limits`] and [`counters`] say what is bounded and what is counted.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(any(test, feature = "testing"))]
extern crate std;

extern crate alloc;

pub mod address;
mod arp;
mod backlog;
mod bids;
mod checksum;
pub mod chunk;
mod commands;
pub mod connect;
mod connection;
mod cookie;
pub mod counters;
pub mod datagram;
mod demux;
mod egress;
mod event;
pub mod fabric;
pub mod flow;
pub mod flow_table;
mod icmp;
mod ingress;
mod isn;
pub mod limits;
mod listener;
mod listening;
#[cfg(all(test, loom))]
mod loom_tests;
mod moves;
mod neighbours;
pub mod nic;
mod notices;
mod opening;
mod output;
mod port_table;
pub mod rss;
pub mod stack;
mod stealing;
mod tcp;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod time_wait;
pub mod timers;
pub mod virtio_net;

pub use address::{Address, AddressConfig};
pub use nic::Nic;
pub use stack::Stack;
pub use tcp::Lent;
