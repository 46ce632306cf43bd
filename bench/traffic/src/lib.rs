//! What guests are tried with: bulk transfers of which every byte is checked, and a wire that loses
//! and delays frames.
//!
//! - [`bulk`]: the client of the example appliance `throughput`, and a plain server that speaks the
//!   same, to run on Linux and compare with.
//! - [`wire`]: two taps, and [`conditions`] between them.
//!
//! Downstream: the end-to-end tests and `bench`. Only host sockets and taps: nothing of the image.
#![forbid(unsafe_code)]

pub mod bulk;
pub mod conditions;
pub mod wire;
