//! End-to-end tests: the real image in QEMU, spoken to by real clients.
//!
//! One test at a time has the machine (see [`guest::turn`]), because each starts a guest of one or
//! two processors. Those that need a tap run in a network namespace of their own; where that is
//! not allowed they are skipped, which is said and counted, except under `CI=true`.
#![forbid(unsafe_code)]

mod access_log;
mod boot;
mod browser;
mod browser_page;
mod bulk;
mod by_hand;
mod client;
mod command;
mod crowd;
mod dhcp;
mod download;
mod examples;
mod failures;
mod files;
mod folder;
mod guest;
mod hostile;
mod ipv6;
mod load;
mod machines;
mod mirror_and_load;
mod namespace;
mod operations;
mod ping;
mod proxy;
mod run;
mod runner;
mod siege;
mod signals;
mod sizes;
mod skip;
