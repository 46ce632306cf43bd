//! The host side of Sluice: the command behind `run.sh`, and guests for tests.
//!
//! Everything here runs on the developer's machine. It builds the image with cargo, packs a folder
//! with `site`, starts QEMU and watches the guest's serial line; it knows nothing of the image's
//! inside, so it imports none of `kernel`, `net` and `megapipe`. What passes between the two is
//! text: the kernel command line one way, the lines listed in [`serial`] the other.
//!
//! Reading order: [`options`] (what was asked), [`machine`] (the QEMU command it means),
//! [`guest`] (a running QEMU), [`serial`] (what the guest says), [`serve`] (the `run` command) with
//! `boot`, then the steps it takes: [`prerequisites`], [`build`], [`pack`], [`accel`], [`crash`]. The other
//! commands: [`suite`] (`test`), [`inspect`], [`check`]. All speak through [`console`], and end early
//! when [`stop`] says so.
#![forbid(unsafe_code)]

pub mod accel;
pub mod backend;
mod boot;
pub mod build;
pub mod check;
pub mod console;
pub mod crash;
pub mod failure;
pub mod guest;
pub mod inspect;
pub mod limits;
pub mod machine;
mod memory;
pub mod options;
pub mod pack;
pub mod pack_flags;
pub mod pack_report;
pub mod prerequisites;
mod repack;
mod run_flags;
pub mod serial;
pub mod serve;
pub mod stop;
pub mod suite;
pub mod transcript;
pub mod usage;
pub mod watch;
pub mod workspace;

pub use failure::Failure;
