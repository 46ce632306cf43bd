//! From bytes that have come to one write: the answers to as many requests as fit.

use crate::counters::ServerCounters;
use crate::request::{Answer, Next, Step, answer};
use crate::response::{self, DateLine};
use crate::target::Scratch;
use megapipe::channel::IoVec;
use site::Site;

/// What answering requests that follow each other on a connection came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    /// Bytes of the input that are done with: heads, and content that was skipped.
    pub consumed: usize,
    /// What becomes of the connection after the write.
    pub next: Next,
}

/// What answering needs besides the bytes.
pub struct Answering<'a> {
    /// The pages.
    pub site: &'a Site<'static>,
    /// The Date line.
    pub date: &'a DateLine,
    /// Room for targets.
    pub scratch: &'a mut Scratch,
    /// Where answers are counted.
    pub counters: &'a mut ServerCounters,
}

impl Answering<'_> {
    /// Answers the requests at the front of `input`, in order, as far as they are complete and
    /// their answers fit into `pieces`, which stays empty when the first one is not complete.
    #[inline]
    pub fn answer_all(&mut self, input: &[u8], pieces: &mut IoVec) -> Batch {
        let mut batch = Batch {
            consumed: 0,
            next: Next::Request { skip: 0 },
        };
        while let Next::Request { skip: 0 } = batch.next
            && batch.consumed < input.len()
            && has_room(pieces)
            && let Step::Answer(answer) = answer(&input[batch.consumed..], self.site, self.scratch)
            && self.push(&answer, pieces)
        {
            batch.consumed += answer.consumed;
            batch.next = answer.next;
            batch.skip_content(input.len());
        }
        batch
    }

    /// Adds an answer to `pieces` and counts it; `false`, and nothing is done, when it does not
    /// fit.
    #[inline]
    pub fn push(&mut self, answer: &Answer<'static>, pieces: &mut IoVec) -> bool {
        if !response::push(&answer.response, self.date, pieces) {
            return false;
        }
        self.counters
            .count_answer(answer.response.status, answer.refusal);
        true
    }
}

impl Batch {
    /// Steps over the content of the request just answered, as much of it as has come.
    fn skip_content(&mut self, input_bytes: usize) {
        match &mut self.next {
            Next::Request { skip } => {
                let here = (*skip).min((input_bytes - self.consumed) as u32);
                *skip -= here;
                self.consumed += here as usize;
            }
            // Something came behind the last request: it must not be answered by a reset.
            next @ Next::Close if self.consumed < input_bytes => *next = Next::Linger,
            Next::Close | Next::Linger => {}
        }
    }
}

/// Returns whether the shortest response would fit.
fn has_room(pieces: &IoVec) -> bool {
    pieces.len() + 2 <= pieces.capacity()
}
