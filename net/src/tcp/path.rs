//! A way that takes less than the link: segments get smaller (RFC 1191, RFC 8201).
//!
//! Upstream: [`control`](crate::control), which has found the connection that a message speaks of.
//! Nobody signs such messages, so they are believed only as far as they cannot harm: of bytes that are
//! on their way (RFC 5927 §4.1), to less than now, and never below what every way takes.

use super::control::{State, Tcb};
use super::options::TIMESTAMPS_BYTES;
use super::recovery::Recovery;
use super::send_queue::Lent;
use super::seq::Seq;
use crate::limits::MSS_MIN_BYTES;

impl<P: Lent> Tcb<P> {
    /// Takes in that a segment that began at `sequence` was too large for its way, which takes
    /// `mss_bytes` with options. Returns whether anything follows: what is on its way is then sent
    /// again in smaller segments, which is no sign of congestion (RFC 1191 §6.5).
    pub(crate) fn handle_too_big(&mut self, sequence: Seq, mss_bytes: u16) -> bool {
        let option_bytes = match self.timestamps {
            Some(_) => TIMESTAMPS_BYTES as u16,
            None => 0,
        };
        let mss = mss_bytes.saturating_sub(option_bytes).max(MSS_MIN_BYTES);
        let is_open = !matches!(
            self.state,
            State::SynSent | State::SynReceived | State::TimeWait | State::Closed
        );
        let is_on_its_way = !sequence.is_before(self.una) && sequence.is_before(self.max);
        if !is_open || !is_on_its_way || u32::from(mss) >= self.mss {
            return false;
        }
        self.mss = mss.into();
        self.recovery = Recovery::Timeout { point: self.max };
        self.nxt = self.una;
        self.duplicates = 0;
        self.timed = None;
        true
    }
}
