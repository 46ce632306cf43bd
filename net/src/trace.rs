//! Events of the stack for the trace of its core, beside drops, which
//! [`counters`](crate::counters) names.
//!
//! Upstream: ingress, opening, egress. Downstream: [`kernel::trace`].

use crate::event::CloseReason;
use crate::nic::Nic;
use crate::stack::Stack;
use kernel::trace::{self, Kind};

/// A frame was given to another core.
pub(crate) static HANDED_OVER: Kind = Kind::new("handed_over", ["core", "bytes"]);
/// A handshake is complete.
pub(crate) static ESTABLISHED: Kind = Kind::new("established", ["slot", "peer_port"]);

static FINISHED: Kind = Kind::new("finished", ["slot", ""]);
static RESET: Kind = Kind::new("reset", ["slot", ""]);
static TIMED_OUT: Kind = Kind::new("timed_out", ["slot", ""]);
static ABORTED: Kind = Kind::new("aborted", ["slot", ""]);

/// Returns the event of a connection that ended so.
pub(crate) fn ended(reason: CloseReason) -> &'static Kind {
    match reason {
        CloseReason::Finished => &FINISHED,
        CloseReason::Reset => &RESET,
        CloseReason::TimedOut => &TIMED_OUT,
        CloseReason::Aborted => &ABORTED,
    }
}

impl<N: Nic, P> Stack<N, P> {
    /// Records an event of this core.
    #[inline]
    pub(crate) fn record(&self, kind: &'static Kind, values: [u64; 2]) {
        trace::record(self.output.port.core(), self.now, kind, values);
    }
}
