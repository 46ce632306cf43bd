//! Appliances besides HTTP, to read and to start from: each file in `src/bin/` is a bootable image,
//! run by `./run.sh example NAME`.
//!
//! - `ping-pong`: the paper's listing; sends back what it receives.
//!
//! The command gives each the word `port=`, and takes the line `sluice: ready` for a promise that
//! connections are answered there.
#![no_std]
#![forbid(unsafe_code)]
