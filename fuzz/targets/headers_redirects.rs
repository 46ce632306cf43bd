//! `cargo +nightly fuzz run --fuzz-dir fuzz headers_redirects`: see `site/tests/support/hostile.rs`.
#![no_main]

#[path = "../../site/tests/support/hostile.rs"]
mod hostile;

libfuzzer_sys::fuzz_target!(|data: &[u8]| hostile::headers_redirects(data));
