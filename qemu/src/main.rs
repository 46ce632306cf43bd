//! The command behind `run.sh`.
#![forbid(unsafe_code)]

fn main() {}
