//! Tests that cannot be run here.

use std::io::{self, Write};

/// Says that the test that calls this does nothing here for want of a privilege or a program. Under
/// `CI=true` it is a failure.
pub(crate) fn skip(reason: &str) {
    let is_ci = std::env::var_os("CI").is_some_and(|ci| ci == "true");
    assert!(!is_ci, "{reason}");
    tell_skipped(reason);
}

/// Says the same of a test for want of hardware, which nobody can install: past the test runner,
/// which shows no words of tests that pass; `./run.sh test` counts these lines.
pub(crate) fn tell_skipped(reason: &str) {
    // Without an output there is nobody to be told.
    let _ = writeln!(io::stdout(), "skipped: {reason}");
}
