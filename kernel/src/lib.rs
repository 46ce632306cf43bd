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
//! Reading order: [`limits`], [`time`], [`cores`], [`processor`], [`trace`], [`mod@uncleared`], [`lent`]; between
//! cores: [`sync`], [`spsc`], [`wake`]; then what boot works with:
//! [`physical_memory`], [`start_info`], [`frames`], [`page_tables`], [`acpi`], [`power_button`],
//! [`calibration`], [`wall_clock`]; then
//! `machine` itself (in the image), and [`virtio`].
#![no_std]

#[cfg(any(test, feature = "fake"))]
extern crate std;

extern crate alloc;

pub mod acpi;
#[cfg(any(test, feature = "machine"))]
mod backtrace;
#[cfg(any(test, feature = "machine"))]
mod block_moves;
pub mod calibration;
pub mod cores;
pub mod frames;
pub mod lent;
pub mod limits;
#[cfg(all(feature = "machine", not(test)))]
pub mod machine;
pub mod page_tables;
#[cfg(any(test, feature = "machine"))]
mod pci;
pub mod physical_memory;
pub mod power_button;
pub mod processor;
pub mod spsc;
pub mod start_info;
pub mod sync;
pub mod time;
pub mod trace;
pub mod uncleared;
pub mod virtio;
pub mod wake;
pub mod wall_clock;

pub use cores::{CoreId, CoreMask};
pub use lent::LentBytes;
pub use processor::Processor;
pub use time::Instant;
pub use uncleared::uncleared;
