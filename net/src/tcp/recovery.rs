//! Loss: when segments count as lost, what is sent again, and how many bytes are in flight.
//!
//! With selective acknowledgements RFC 6675, without them RFC 6582 (NewReno); after a timeout all
//! that is not acknowledged is sent again from the first byte on (RFC 5681 §3.1). The end of a
//! flight is probed before the timeout (RFC 8985 §7), and fewer duplicates are enough when fewer
//! can come (RFC 5827).

use super::control::Tcb;
use super::scoreboard::DUPLICATES;
use super::send_queue::Lent;
use super::seq::Seq;
use core::ops::Range;

/// How far the repair of a loss is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recovery {
    /// Nothing is known to be lost.
    None,
    /// Fast recovery, until `point` is acknowledged.
    Fast {
        point: Seq,
        /// After the last byte that was sent again.
        resent: Seq,
        /// The first segment is sent again next, whatever the window says.
        is_first: bool,
        /// What was sent from here on was sent after the first segment was sent again.
        since: Seq,
    },
    /// After a timeout, until `point` is acknowledged.
    Timeout { point: Seq },
}

impl<P: Lent> Tcb<P> {
    /// Returns the bytes that are on their way, as far as is known.
    #[inline]
    pub(super) fn in_flight(&self) -> u32 {
        let sent = self.nxt - self.una;
        if self.scoreboard.is_empty() && self.duplicates == 0 {
            return sent;
        }
        if !self.has_sack {
            return sent.saturating_sub(self.duplicates.saturating_mul(self.mss));
        }
        let mut gone = self.scoreboard.bytes_below(self.nxt);
        if let Recovery::Fast { resent, .. } = self.recovery {
            let lost_below = self.lost_below();
            // What was sent again is on its way, what is lost beyond that is not.
            gone += self.scoreboard.missing(resent.max(self.una)..lost_below);
        }
        sent.saturating_sub(gone)
    }

    fn lost_below(&self) -> Seq {
        self.scoreboard
            .lost_below(self.una, self.mss, self.duplicate_threshold())
    }

    /// How many segments must have overtaken one that counts as lost.
    fn duplicate_threshold(&self) -> u32 {
        if self.tail_is_probed {
            return 1;
        }
        let segments = (self.max - self.una).div_ceil(self.mss.max(1));
        DUPLICATES.min(segments.saturating_sub(1)).max(1)
    }

    /// Looks whether the acknowledgement that was just taken in shows a loss, and begins to repair
    /// it.
    pub(super) fn detect_loss(&mut self) {
        if self.una == self.max {
            return;
        }
        if self.recovery != Recovery::None {
            return self.detect_loss_again();
        }
        let is_lost = if self.has_sack {
            !self.scoreboard.is_empty() && self.lost_below().is_after(self.una)
        } else {
            self.duplicates >= self.duplicate_threshold().max(2)
        };
        if is_lost {
            self.recovery = Recovery::Fast {
                point: self.max,
                resent: self.una,
                is_first: true,
                since: self.max,
            };
            self.cubic.on_loss(self.mss);
            self.timed = None;
        }
    }

    /// Looks in fast recovery whether the first segment, sent again, was lost again: three that were
    /// sent after it have arrived before it (RFC 8985 §6.2, by order instead of time).
    #[cold]
    fn detect_loss_again(&mut self) {
        let Recovery::Fast { resent, since, .. } = self.recovery else {
            return;
        };
        let later = self.scoreboard.bytes_below(self.max) - self.scoreboard.bytes_below(since);
        if resent.is_after(self.una)
            && later > (DUPLICATES - 1) * self.mss
            && let Recovery::Fast { is_first, .. } = &mut self.recovery
        {
            *is_first = true;
        }
    }

    /// Takes in that everything before `una`, which has grown, is acknowledged.
    pub(super) fn continue_recovery(&mut self) {
        self.tail_is_probed = false;
        match &mut self.recovery {
            Recovery::None => {}
            Recovery::Fast { point, .. } | Recovery::Timeout { point }
                if !self.una.is_before(*point) =>
            {
                self.recovery = Recovery::None;
            }
            // A partial acknowledgement: the segment behind it is lost too (RFC 6582 §3.2).
            Recovery::Fast {
                resent, is_first, ..
            } if !self.has_sack => {
                *resent = self.una;
                *is_first = true;
            }
            // The next may have been sent again as late as now.
            Recovery::Fast { since, .. } => *since = self.max,
            Recovery::Timeout { .. } => {}
        }
        self.duplicates = 0;
    }

    /// Begins to send everything again that is not acknowledged.
    pub(super) fn begin_timeout_recovery(&mut self) {
        let is_repeated = self.rtt.backoffs() > 0;
        if is_repeated {
            // The peer may have dropped what it had acknowledged selectively (RFC 2018 §8).
            self.scoreboard.clear();
        }
        if self.window > 0 {
            let in_flight = self.max - self.una;
            self.cubic.on_timeout(in_flight, self.mss, !is_repeated);
        }
        self.recovery = Recovery::Timeout { point: self.max };
        self.nxt = self.una;
        self.duplicates = 0;
        self.tail_is_probed = false;
    }

    /// Returns what is to be sent again now in fast recovery; it counts as sent.
    pub(super) fn next_retransmission(&mut self) -> Option<Range<Seq>> {
        let Recovery::Fast {
            resent, is_first, ..
        } = self.recovery
        else {
            return None;
        };
        let from = if is_first {
            self.una
        } else {
            resent.max(self.una)
        };
        let hole = if !self.has_sack {
            is_first.then_some(self.una..self.max)
        } else {
            // (1) what is lost; RFC 6675 §5, NextSeg.
            self.scoreboard.first_hole(from, self.lost_below())
        }?;
        let room = self.cubic.window().saturating_sub(self.in_flight());
        if !is_first && room < self.mss {
            return None;
        }
        let end = hole.end.min(hole.start + self.mss);
        if let Recovery::Fast {
            resent,
            is_first,
            since,
            ..
        } = &mut self.recovery
        {
            *resent = end.max(*resent);
            if core::mem::take(is_first) {
                *since = self.max;
            }
        }
        Some(hole.start..end)
    }
}
