//! `cargo +nightly fuzz run --fuzz-dir fuzz site_image`: see `site/tests/support/hostile.rs`.
#![no_main]

#[path = "../../site/tests/support/hostile.rs"]
mod hostile;

libfuzzer_sys::fuzz_target!(|data: &[u8]| hostile::site_image(data));
