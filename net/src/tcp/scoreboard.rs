//! What the peer has received out of order, by its selective acknowledgements (RFC 2018), and what
//! follows from it for retransmission (RFC 6675): which bytes are lost, and how many are in flight.
//!
//! Invariants: ranges are disjoint, ascending, not empty, and above the cumulative
//! acknowledgement. A full board forgets its highest range: then more is sent again than need be,
//! never less.

use super::seq::Seq;
use crate::limits::SACK_RANGES;
use core::ops::Range;
use heapless::Vec;

/// Duplicate acknowledgements that show a loss (RFC 5681 §3.2).
pub(crate) const DUPLICATES: u32 = 3;

/// The ranges selectively acknowledged.
pub(crate) struct Scoreboard {
    ranges: Vec<Range<Seq>, SACK_RANGES>,
}

impl Scoreboard {
    pub(crate) const fn new() -> Self {
        Scoreboard { ranges: Vec::new() }
    }

    pub(crate) fn clear(&mut self) {
        self.ranges.clear();
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Adds a range that the peer has received, and returns whether that was news.
    pub(crate) fn insert(&mut self, range: Range<Seq>) -> bool {
        let mut at = 0;
        while at < self.ranges.len() && self.ranges[at].end.is_before(range.start) {
            at += 1;
        }
        let mut merged = range;
        // Everything from here on that touches it becomes part of it.
        while let Some(other) = self.ranges.get(at)
            && !other.start.is_after(merged.end)
        {
            if !other.start.is_after(merged.start) && !other.end.is_before(merged.end) {
                return false;
            }
            merged = other.start.min(merged.start)..other.end.max(merged.end);
            self.ranges.remove(at);
        }
        if self.ranges.is_full() && at < self.ranges.len() {
            self.ranges.pop();
        }
        self.ranges.insert(at, merged).is_ok()
    }

    /// Forgets what lies below the cumulative acknowledgement.
    #[inline]
    pub(crate) fn acknowledge(&mut self, una: Seq) {
        while let Some(first) = self.ranges.first_mut() {
            if first.end.is_after(una) {
                first.start = first.start.max(una);
                return;
            }
            self.ranges.remove(0);
        }
    }

    /// Returns the range that `at` lies in.
    pub(crate) fn covering(&self, at: Seq) -> Option<&Range<Seq>> {
        self.ranges
            .iter()
            .find(|range| !range.start.is_after(at) && range.end.is_after(at))
    }

    /// Returns the start of the first range above `at`.
    pub(crate) fn next_start(&self, at: Seq) -> Option<Seq> {
        let mut starts = self.ranges.iter().map(|range| range.start);
        starts.find(|start| start.is_after(at))
    }

    /// Returns how many bytes below `end` are selectively acknowledged.
    pub(crate) fn bytes_below(&self, end: Seq) -> u32 {
        let below = |range: &Range<Seq>| range.end.min(end).beyond(range.start);
        self.ranges.iter().map(below).sum()
    }

    /// Returns the end of what is lost: bytes below it that are not acknowledged have `threshold`
    /// ranges or more than `threshold - 1` segments acknowledged above them (RFC 6675 §4,
    /// IsLost). `una` when nothing is.
    pub(crate) fn lost_below(&self, una: Seq, mss: u32, threshold: u32) -> Seq {
        let (mut ranges, mut bytes) = (0, 0);
        for range in self.ranges.iter().rev() {
            ranges += 1;
            bytes += range.end - range.start;
            if ranges >= threshold || bytes > (threshold - 1) * mss {
                return range.start;
            }
        }
        una
    }

    /// Returns how many bytes of `part` are not acknowledged.
    pub(crate) fn missing(&self, part: Range<Seq>) -> u32 {
        if !part.start.is_before(part.end) {
            return 0;
        }
        let acknowledged = self.bytes_below(part.end) - self.bytes_below(part.start);
        part.end - part.start - acknowledged
    }

    /// Returns the first bytes at or above `from` and below `end` that are not acknowledged, as
    /// far as they are in one piece.
    pub(crate) fn first_hole(&self, from: Seq, end: Seq) -> Option<Range<Seq>> {
        let mut start = from;
        for range in &self.ranges {
            if range.start.is_after(start) {
                break;
            }
            start = start.max(range.end);
        }
        if !start.is_before(end) {
            return None;
        }
        let hole_end = self.next_start(start).map_or(end, |next| next.min(end));
        Some(start..hole_end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn range(start: u32, end: u32) -> Range<Seq> {
        Seq(start)..Seq(end)
    }

    #[test]
    fn ranges_merge_and_say_what_is_missing() {
        let mut board = Scoreboard::new();
        assert!(board.insert(range(20, 30)) && board.insert(range(40, 50)));
        assert!(!board.insert(range(22, 28)), "known");
        assert!(board.insert(range(28, 41)));
        assert_eq!(board.ranges.as_slice(), [range(20, 50)]);
        assert!(board.insert(range(60, 70)));
        assert_eq!(board.first_hole(Seq(10), Seq(70)), Some(range(10, 20)));
        assert_eq!(board.first_hole(Seq(25), Seq(70)), Some(range(50, 60)));
        assert_eq!(board.first_hole(Seq(60), Seq(70)), None);
        assert_eq!(board.missing(range(10, 70)), 20);
        assert_eq!(board.missing(range(15, 55)), 10);
        assert_eq!(board.missing(range(70, 10)), 0);
        assert_eq!(board.bytes_below(Seq(65)), 35);
        board.acknowledge(Seq(45));
        assert_eq!(board.ranges.as_slice(), [range(45, 50), range(60, 70)]);
        assert_eq!(board.next_start(Seq(50)), Some(Seq(60)));
        board.acknowledge(Seq(70));
        assert!(board.is_empty());
    }

    #[test]
    fn what_has_enough_above_it_is_lost() {
        let mut board = Scoreboard::new();
        let una = Seq(0);
        board.insert(range(100, 200));
        board.insert(range(300, 400));
        assert_eq!(
            board.lost_below(una, 100, 3),
            una,
            "two segments above may be reordering"
        );
        board.insert(range(500, 501));
        assert_eq!(board.lost_below(una, 100, 3), Seq(100), "three ranges");
        board.clear();
        board.insert(range(100, 301));
        assert_eq!(
            board.lost_below(una, 100, 3),
            Seq(100),
            "more than two segments"
        );
    }

    #[test]
    fn any_ranges_read_like_a_set_as_long_as_they_fit() {
        let mut random = 7u64;
        let mut next = |bound: u64| {
            random = random
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (random >> 33) % bound
        };
        for _ in 0..2000 {
            let mut board = Scoreboard::new();
            let mut set = BTreeSet::new();
            // As many disjoint ranges as the board holds at most.
            for _ in 0..SACK_RANGES {
                let start = next(60) as u32;
                let end = start + 1 + next(8) as u32;
                // Start close below the wrap.
                let base = Seq(u32::MAX - 30);
                board.insert(base + start..base + end);
                set.extend(start..end);
                for at in 0..70 {
                    assert_eq!(board.covering(base + at).is_some(), set.contains(&at));
                    assert_eq!(board.bytes_below(base + at), set.range(..at).count() as u32);
                    let hole = board.first_hole(base + at, base + 70);
                    let first = (at..70).find(|at| !set.contains(at));
                    assert_eq!(hole.map(|hole| hole.start - base), first);
                }
            }
        }
    }

    #[test]
    fn a_full_board_forgets_its_highest_range() {
        let mut board = Scoreboard::new();
        for number in (0..SACK_RANGES as u32 + 3).rev() {
            board.insert(range(10 * number, 10 * number + 5));
        }
        assert_eq!(board.ranges.len(), SACK_RANGES);
        assert!(board.covering(Seq(0)).is_some());
        assert!(
            !board.insert(range(10_000, 10_001)),
            "higher than all: not kept"
        );
    }
}
