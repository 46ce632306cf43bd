//! What becomes of a raw request.

use crate::support::{answer_all, engine, reply};
use app_http::request::Next;

/// What is to become of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Answered with this status, and the connection stays.
    Stays(u16),
    /// Answered with this status, and the connection is closed.
    Closes(u16),
    /// Nothing yet: more must come.
    Waits,
}

/// Answers a request with a new engine, and tells what became of it.
pub(crate) fn fate(request: &[u8]) -> Fate {
    let (batch, bytes) = answer_all(&mut engine(), request);
    if batch.requests == 0 {
        assert!(bytes.is_empty());
        return Fate::Waits;
    }
    let status = match batch.requests {
        1 => reply(&batch, &bytes).status,
        // Smuggled: told apart from all that is wanted.
        more => 1000 + more as u16,
    };
    match batch.next {
        Next::Request { .. } => Fate::Stays(status),
        Next::Close | Next::Linger => Fate::Closes(status),
    }
}
