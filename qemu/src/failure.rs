//! How a command fails, as the caller's shell sees it.

use std::fmt;
use std::process::ExitCode;

/// Why a command ended without doing what was asked. Each text is one line and says what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The guest, the build or a test failed; exit code 1.
    Failed(String),
    /// The command was used wrongly; exit code 2.
    Usage(String),
    /// A program is missing and could not be installed; exit code 3.
    Missing(String),
    /// This signal stopped it before it was done; exit code 128 and the signal, as shells have it.
    Stopped(u8),
}

impl Failure {
    /// Returns the process exit code.
    pub fn code(&self) -> u8 {
        match self {
            Failure::Failed(_) => 1,
            Failure::Usage(_) => 2,
            Failure::Missing(_) => 3,
            Failure::Stopped(signal) => signal.saturating_add(128),
        }
    }
}

impl From<Failure> for ExitCode {
    fn from(failure: Failure) -> Self {
        ExitCode::from(failure.code())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Failed(text) | Failure::Usage(text) | Failure::Missing(text) => {
                f.write_str(text)
            }
            Failure::Stopped(_) => f.write_str("stopped before it was done"),
        }
    }
}

impl std::error::Error for Failure {}
