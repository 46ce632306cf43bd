//! An appliance: one image that boots into one application per core.
//!
//! What an author writes is a `main.rs` that says what runs on each core (an
//! [`Application`](crate::Application), built there); everything else is here: the words of the
//! kernel command line, devices, entropy, the plan of memory, the network, a seat for each core,
//! the ready line, the counters on the console.
//!
//! The whole of one, `examples/src/bin/ping-pong.rs` as it is:
//!
//! ```ignore
#![doc = include_str!("../../../examples/src/bin/ping-pong.rs")]
//! ```
//!
//! The crate of an image sets `#![no_std]`, `#![no_main]`, depends on `kernel` with the feature
//! `machine` and on megapipe with the feature `appliance`, and its build script hands the linker
//! what `kernel`'s says (`DEP_SLUICE_KERNEL_LINK_ARGS`); `examples/` of the repository has both.
//!
//! Upstream: `kernel`'s machine and `net`'s stack. Downstream: an image's `main`.
//! Invariants: every word on the command line is somebody's, or the appliance does not boot; a core
//! serves only when every core listens.
//!
//! Reading order: `boot` (in the image only, feature `appliance`), [`command_line`], [`settings`],
//! [`memory_plan`], and `monitor`.

pub mod command_line;
pub mod memory_plan;
pub mod settings;

#[cfg(feature = "appliance")]
mod boot;
#[cfg(feature = "appliance")]
mod monitor;

pub use memory_plan::Footprint;

#[cfg(feature = "appliance")]
pub use boot::{Appliance, Place, Seated, Service, or_fatal};
#[cfg(feature = "appliance")]
pub use kernel::entry;
#[cfg(feature = "appliance")]
pub use kernel::machine::{Machine, fatal};
#[cfg(feature = "appliance")]
pub use monitor::{Monitor, Tell, power_off};
