//! The machine: everything below a frame.
//!
//! `kernel` boots the image, owns memory, traps, cores, time, entropy and device discovery, and
//! offers virtio rings as a safe API. It is the only crate that contains unsafe code. Its
//! bare-metal half is behind the feature `machine`; the rest (rings, memory map, start-info
//! parsing, time arithmetic) builds on the host, so that every crate above runs in ordinary tests.
//!
//! Upstream: the boot protocol and the devices. Downstream: `net`, and
//! through it everything else. `kernel` calls nothing above it.
//!
//! Reading order: [`limits`], [`time`], [`cores`], [`processor`], [`virtio`].
#![no_std]

#[cfg(any(test, feature = "fake"))]
extern crate std;

extern crate alloc;

pub mod cores;
pub mod limits;
#[cfg(any(test, feature = "machine"))]
mod pci;
pub mod processor;
pub mod time;
pub mod virtio;

pub use cores::{CoreId, CoreMask};
pub use processor::Processor;
pub use time::Instant;
