//! Whether a segment is in place: in the window (RFC 9293 §3.4), not older than its timestamp says
//! (RFC 7323 §5), and no blind guess (RFC 5961).
//!
//! Upstream: [`input`](super::input). Downstream: an answer that says what would be in place.
//! Invariant: nothing of a segment is taken in, its options included, before it is known to be in
//! place.

use super::control::{AckOwed, State, Tcb};
use super::input::Arrived;
use super::news::News;
use super::options::{Options, timestamps_alone};
use super::send_queue::Lent;
use super::seq::Seq;
use crate::event::CloseReason;
use crate::limits::{CHALLENGE_INTERVAL, TIMESTAMP_LIFE};
use kernel::Instant;

impl<P: Lent> Tcb<P> {
    /// Handles RST (RFC 5961 §3.2): exactly in order it ends the connection, elsewhere in the
    /// window it is challenged.
    pub(super) fn process_reset(&mut self, arrived: &Arrived<'_>) -> News {
        let sequence = arrived.segment.sequence;
        if sequence == self.rcv_nxt {
            self.finish(State::Closed, CloseReason::Reset);
            return News::OVER;
        }
        if self.is_in_window(sequence) {
            self.challenge(arrived.now);
        }
        News::OUT_OF_PLACE
    }

    /// Looks whether a segment of a synchronized connection is in place and not older than what came
    /// before (RFC 7323 §5.3, PAWS), and takes its options in if it is.
    #[inline]
    pub(super) fn take_if_in_place(&mut self, arrived: &Arrived<'_>) -> bool {
        if arrived.options.is_empty() {
            return self.is_acceptable(arrived);
        }
        match timestamps_alone(arrived.options) {
            Some((value, _)) => {
                let is_taken = self.is_timely(value, arrived.now) && self.is_acceptable(arrived);
                if is_taken {
                    self.take_timestamp(value, arrived);
                }
                is_taken
            }
            None => self.take_other_options(arrived),
        }
    }

    #[cold]
    fn take_other_options(&mut self, arrived: &Arrived<'_>) -> bool {
        let options = Options::parse(arrived.options);
        let value = options.timestamps.map(|(value, _)| value);
        let is_timely = value.is_none_or(|value| self.is_timely(value, arrived.now));
        if !is_timely || !self.is_acceptable(arrived) {
            return false;
        }
        if let Some(value) = value {
            self.take_timestamp(value, arrived);
        }
        if self.has_sack {
            for range in options.sack {
                let is_ours = range.start.is_after(self.una) && !range.end.is_after(self.max);
                if is_ours && self.scoreboard.insert(range) {
                    self.duplicates += 1;
                }
            }
        }
        true
    }

    /// Whether a timestamp is not before the last; after weeks of silence that says nothing.
    #[inline]
    fn is_timely(&self, value: u32, now: Instant) -> bool {
        self.timestamps.is_none_or(|timestamps| {
            !Seq(value).is_before(Seq(timestamps.recent))
                || now.saturating_since(timestamps.recent_at) > TIMESTAMP_LIFE
        })
    }

    #[inline]
    fn take_timestamp(&mut self, value: u32, arrived: &Arrived<'_>) {
        // RFC 7323 §4.3: not from a segment beyond what was acknowledged last.
        if let Some(timestamps) = &mut self.timestamps
            && !arrived.segment.sequence.is_after(self.ack_sent)
        {
            timestamps.recent = value;
            timestamps.recent_at = arrived.now;
        }
    }

    /// Whether a sequence number lies in the receive window.
    #[inline]
    fn is_in_window(&self, sequence: Seq) -> bool {
        !sequence.is_before(self.rcv_nxt) && sequence.is_before(self.rcv_edge)
    }

    /// RFC 9293 §3.4, table 6. A segment that begins where it should is taken even without a
    /// window: its acknowledgement counts (§3.10.7.4, "special allowance"); and so does that of one
    /// just behind the window, whose sender has filled it.
    #[inline]
    fn is_acceptable(&self, arrived: &Arrived<'_>) -> bool {
        let start = arrived.segment.sequence;
        let controls = u32::from(arrived.segment.flags.has_fin());
        let bytes = arrived.payload_bytes + controls;
        start == self.rcv_nxt
            || self.is_in_window(start)
            || start == self.rcv_edge
            || (bytes > 0
                && start.is_before(self.rcv_nxt)
                && (start + bytes).is_after(self.rcv_nxt))
    }

    /// Answers a segment that has no place here with what would be in place. Without payload at
    /// most one at a time, so that two ends that disagree do not go on for ever.
    #[cold]
    pub(super) fn answer_out_of_place(&mut self, arrived: &Arrived<'_>) -> News {
        if arrived.payload_bytes > 0 {
            self.ack = AckOwed::Now;
        } else {
            self.challenge(arrived.now);
        }
        News::OUT_OF_PLACE
    }

    /// Answers with what would be in place, unless that was done a moment ago (RFC 5961 §7).
    fn challenge(&mut self, now: Instant) {
        let may_answer = |at: Instant| now.saturating_since(at) >= CHALLENGE_INTERVAL;
        if self.challenged.is_none_or(may_answer) {
            self.challenged = Some(now);
            self.ack = AckOwed::Now;
        }
    }
}
