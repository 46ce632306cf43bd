//! Lines that a process wrote, with the time of each, shared between the thread that reads its
//! pipe and those that wait for something in it. Bounded: the oldest lines are forgotten.

use crate::limits::{SERIAL_LINE_BYTES, SERIAL_LINES};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Lines by number, from 0 in the order they came.
#[derive(Debug, Default)]
pub struct Transcript {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<(Instant, String)>,
    /// The number of the oldest line that is remembered.
    first: u64,
    is_closed: bool,
}

impl State {
    fn end(&self) -> u64 {
        self.first + self.lines.len() as u64
    }

    fn from(&self, number: u64) -> impl Iterator<Item = &(Instant, String)> {
        self.lines
            .iter()
            .skip(number.saturating_sub(self.first) as usize)
    }
}

impl Transcript {
    /// Reads a pipe to its end.
    pub(crate) fn record(&self, pipe: impl Read) {
        let mut pipe = BufReader::new(pipe);
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            let piece = pipe
                .by_ref()
                .take(SERIAL_LINE_BYTES as u64)
                .read_until(b'\n', &mut bytes);
            if !matches!(piece, Ok(1..)) {
                break;
            }
            let line = String::from_utf8_lossy(&bytes);
            self.push(line.trim_end_matches(['\r', '\n']).to_owned());
        }
        self.state().is_closed = true;
        self.changed.notify_all();
    }

    fn push(&self, line: String) {
        let mut state = self.state();
        if state.lines.len() == SERIAL_LINES {
            state.lines.pop_front();
            state.first += 1;
        }
        state.lines.push_back((Instant::now(), line));
        drop(state);
        self.changed.notify_all();
    }

    /// Returns all lines that are remembered.
    pub fn lines(&self) -> Vec<String> {
        self.lines_from(0).0
    }

    /// Returns the lines from number `from` on, and the number of the next one to come.
    pub fn lines_from(&self, from: u64) -> (Vec<String>, u64) {
        let state = self.state();
        let lines = state.from(from).map(|(_, line)| line.clone()).collect();
        (lines, state.end())
    }

    /// Returns whether nothing more will come.
    pub fn is_closed(&self) -> bool {
        self.state().is_closed
    }

    /// Waits until there is a line with number `number`, the end, or `deadline`.
    pub fn wait_line(&self, number: u64, deadline: Instant) {
        self.wait_until(deadline, |state| state.end() > number || state.is_closed);
    }

    /// Waits until nothing more will come, or `deadline`.
    pub(crate) fn wait_closed(&self, deadline: Instant) {
        self.wait_until(deadline, |state| state.is_closed);
    }

    /// Waits for the first line, past ones too, for which `find` returns something, and returns
    /// that with the time the line came; `None` at the end or at `deadline`.
    pub fn wait_for<T>(
        &self,
        deadline: Instant,
        mut find: impl FnMut(&str) -> Option<T>,
    ) -> Option<(T, Instant)> {
        let mut next = 0;
        let mut found = None;
        self.wait_until(deadline, |state| {
            found = state
                .from(next)
                .find_map(|(at, line)| find(line).map(|value| (value, *at)));
            next = state.end();
            found.is_some() || state.is_closed
        });
        found
    }

    fn wait_until(&self, deadline: Instant, mut is_done: impl FnMut(&State) -> bool) {
        let mut state = self.state();
        while !is_done(&state) {
            let now = Instant::now();
            if now >= deadline {
                return;
            }
            state = self
                .changed
                .wait_timeout(state, deadline - now)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A reader that panicked left whole lines behind.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(20)
    }

    #[test]
    fn lines_come_back_without_their_ends() {
        let transcript = Transcript::default();
        transcript.record(&b"one\r\ntwo\n\xffthree"[..]);
        assert_eq!(transcript.lines(), ["one", "two", "\u{fffd}three"]);
        assert_eq!(transcript.lines_from(1).0.len(), 2);
        assert_eq!(transcript.lines_from(7), (vec![], 3));
        assert!(transcript.is_closed());
    }

    #[test]
    fn a_line_without_an_end_is_cut() {
        let transcript = Transcript::default();
        transcript.record(&vec![b'x'; SERIAL_LINE_BYTES + 1][..]);
        assert_eq!(transcript.lines().len(), 2);
    }

    #[test]
    fn the_oldest_lines_are_forgotten() {
        let transcript = Transcript::default();
        for number in 0..SERIAL_LINES + 2 {
            transcript.push(number.to_string());
        }
        assert_eq!(transcript.lines()[0], "2");
        let (last, end) = transcript.lines_from(SERIAL_LINES as u64 + 1);
        assert_eq!(last, [(SERIAL_LINES + 1).to_string()]);
        assert_eq!(end, SERIAL_LINES as u64 + 2);
    }

    #[test]
    fn a_wait_ends_with_the_line_the_end_or_the_deadline() {
        let transcript = Transcript::default();
        let find = |line: &str| line.strip_prefix("b").map(str::to_owned);
        assert!(transcript.wait_for(soon(), find).is_none());
        transcript.push("a1".to_owned());
        transcript.push("b2".to_owned());
        let found = transcript.wait_for(soon(), find).unwrap();
        assert_eq!(found.0, "2");
        transcript.record(&b""[..]);
        let far = Instant::now() + Duration::from_secs(60);
        assert!(transcript.wait_for(far, |_| None::<()>).is_none());
    }
}
