//! The channel against a model of a stack: every rule by name, and random sequences of calls.

#![expect(
    clippy::result_large_err,
    reason = "a refused write gives its pieces back"
)]

mod batching;
mod closing;
mod idle;
mod listening;
mod random;
mod reading;
mod world;
mod writing;
