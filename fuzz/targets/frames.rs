//! Any bytes as a story of frames, time and commands: the stack neither panics nor keeps anything.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| net::testing::play(input));
