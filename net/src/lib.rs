//! Frames to connections and back.
//!
//! `net` owns Ethernet, IPv4 and IPv6 with ARP and neighbour discovery, the flow table, the hand-over of frames between cores, listeners with
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
//! Reading order: [`nic`], [`stack`], `ingress`, `demux` with `ipv4`, `ipv6` and `segment`, `large_receive`, `opening`,
//! `commands`, [`connect`] with `neighbours`, `egress`, `connection`, `listener`, `listening`,
//! `time_wait`, `tcp` with [`chunk`], `output`, then [`fabric`] with `port_table`, [`rss`] and
//! `host_words`; for
//! all that is not TCP [`address`], `addressing`, `control` with `arp`, `icmp`, `ndp` and `mld`, `autoconf`, `fragments`;
//! then `stealing` with `backlog`, `bids` and `moves`; the rest are tables. [`limits`] and [`counters`] say what is bounded and what is counted.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(any(test, feature = "testing"))]
extern crate std;

extern crate alloc;

pub mod address;
mod addressing;
mod arp;
mod autoconf;
mod backlog;
mod bids;
mod checksum;
pub mod chunk;
mod commands;
pub mod connect;
mod connection;
mod control;
mod cookie;
pub mod counters;
pub mod datagram;
mod demux;
mod egress;
mod event;
pub mod fabric;
pub mod flow;
pub mod flow_table;
mod fragments;
mod host_words;
mod icmp;
mod ingress;
mod ipv4;
mod ipv6;
mod isn;
mod large_receive;
pub mod limits;
mod listener;
mod listening;
#[cfg(all(test, loom))]
mod loom_tests;
mod mld;
mod moved_flows;
mod moves;
mod ndp;
mod neighbours;
pub mod nic;
mod notices;
mod opening;
mod output;
mod path_mtus;
mod port_table;
mod questions;
pub mod rss;
mod segment;
pub mod stack;
mod stealing;
mod tcp;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod time_wait;
pub mod timers;
mod trace;
pub mod virtio_net;

pub use address::{AddressConfig, Host};
pub use nic::Nic;
pub use stack::Stack;
pub use tcp::Lent;
