//! Field sections that were read before, with what they mean.
//!
//! A client sends the same field lines with nearly every request, byte for byte: a browser's are half
//! a kilobyte in a dozen lines, of which the server needs three. What follows a request line is
//! compared with what followed earlier ones, and only parsed when it is new. Upstream:
//! [`engine`](crate::engine), with what is behind a request line. Downstream: what the field lines
//! mean, for [`usual_answer`](crate::usual::usual_answer).
//!
//! Invariants: only whole sections are kept, with the blank line, and only those that were parsed and
//! found usual; so what is found here is what parsing would find. A comparison takes as long however
//! much is equal: what one client sends (a cookie) must not be guessed piece by piece by another.

use crate::limits::{KNOWN_SECTION_BYTES, KNOWN_SECTIONS};
use crate::scan::{BLOCK_BYTES, Pattern};
use crate::usual::{NotModified, UsualFields};
use alloc::boxed::Box;

/// Field sections by their length and their last bytes: a new one takes the place of an older one.
#[derive(Debug)]
pub(crate) struct KnownSections {
    sections: Box<[Section]>,
    /// The place of the one that was found or kept last.
    last: u8,
}

#[derive(Debug, Clone, Copy)]
struct Section {
    lines: Pattern<{ KNOWN_SECTION_BYTES / BLOCK_BYTES }>,
    /// `None` as long as there is no section.
    meaning: Option<UsualFields<'static>>,
}

/// Multiplied by this, all bits of a word count in the highest ones; 2^64 by the golden ratio.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

const _: () = assert!(KNOWN_SECTIONS.is_power_of_two() && KNOWN_SECTIONS <= 1 << u8::BITS);

impl KnownSections {
    /// Takes the memory.
    pub(crate) fn new() -> Self {
        let none = Section {
            lines: Pattern::none(),
            meaning: None,
        };
        KnownSections {
            sections: alloc::vec![none; KNOWN_SECTIONS].into_boxed_slice(),
            last: 0,
        }
    }

    /// Finds the section at the front of `lines`; returns what it means and its length in bytes. One
    /// that more follows is found only if it was the last one, as in a pipeline.
    #[inline(always)]
    pub(crate) fn find(&mut self, lines: &[u8]) -> Option<(UsualFields<'static>, usize)> {
        match self.at_front(self.last, lines) {
            Some(found) => Some(found),
            None => self.find_other(lines),
        }
    }

    #[inline(never)]
    fn find_other(&mut self, lines: &[u8]) -> Option<(UsualFields<'static>, usize)> {
        let place = place_of(lines).filter(|place| *place != self.last)?;
        let found = self.at_front(place, lines)?;
        self.last = place;
        Some(found)
    }

    #[inline(always)]
    fn at_front(&self, place: u8, lines: &[u8]) -> Option<(UsualFields<'static>, usize)> {
        let section = self.sections.get(usize::from(place))?;
        match section.lines.is_at_front(lines) {
            true => Some((section.meaning?, section.lines.bytes())),
            false => None,
        }
    }

    /// Notes that the section that was found last was answered with 304.
    #[inline(always)]
    pub(crate) fn note(&mut self, answer: NotModified<'static>) {
        if let Some(section) = self.sections.get_mut(usize::from(self.last))
            && let Some(meaning) = &mut section.meaning
        {
            meaning.answered = Some(answer);
        }
    }

    /// Keeps a section, if it is not too long.
    #[inline(never)]
    pub(crate) fn insert(&mut self, lines: &[u8], meaning: UsualFields<'static>) {
        let Some(place) = place_of(lines) else {
            return;
        };
        if let Some(section) = self.sections.get_mut(usize::from(place))
            && section.lines.set(lines)
        {
            section.meaning = Some(meaning);
            self.last = place;
        }
    }
}

/// Returns where a section is kept; `None` when it is shorter than any with a Host.
#[inline(always)]
fn place_of(section: &[u8]) -> Option<u8> {
    // The blank line and the line end before it are always the same.
    let [words @ .., _, _, _, _] = section.last_chunk::<20>()?;
    let (words, _) = words.as_chunks();
    let mixed = words.iter().fold(section.len() as u64, |mixed, word| {
        (mixed ^ u64::from_le_bytes(*word)).wrapping_mul(SPREAD)
    });
    Some((mixed >> (64 - KNOWN_SECTIONS.ilog2())) as u8)
}
