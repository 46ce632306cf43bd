//! The channel against a model of a stack: every rule by name, and random sequences of calls.

mod batching;
mod closing;
mod connecting;
mod idle;
mod listening;
mod random;
mod reading;
mod timing;
mod world;
mod writing;
