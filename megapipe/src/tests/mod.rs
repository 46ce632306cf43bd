//! The channel against a model of a stack: every rule by name, and random sequences of calls.

mod batching;
mod closing;
mod connecting;
mod datagrams;
mod idle;
mod listening;
mod ports;
mod random;
mod random_calls;
mod random_listeners;
mod random_model;
mod reading;
mod timing;
mod world;
mod writing;
