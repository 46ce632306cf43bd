//! Traces of all cores, where one of them can read them, and their text: Chrome's trace event format,
//! which Perfetto and chrome://tracing show as a time line.
//!
//! Each core keeps its own ring ([`megapipe::trace`]) and copies it into its row here when it is
//! asked, as it does with its counters. In the text a core is a thread with its turns and sleeps, a
//! connection is an asynchronous event with its requests inside, and a drop is an instant. Upstream:
//! [`publisher`](crate::publisher). Downstream: [`admin`](crate::admin).

use alloc::boxed::Box;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicU64, Ordering};
use megapipe::limits::TRACE_EVENTS;
use megapipe::trace::{Event, EventKind, Trace};
use net::counters::drop_name;

/// The server's own kinds of event: a connection was accepted, requests on it were answered (from
/// their first byte to the end of the last write), it is over.
pub(crate) const ACCEPTED: u8 = 0;
pub(crate) const ANSWERED: u8 = 1;
pub(crate) const ENDED: u8 = 2;

/// The published traces of an appliance.
#[derive(Debug)]
pub struct Traces {
    rows: Box<[Row]>,
    /// How often a trace was begun or ended; odd while one is wanted.
    wish: AtomicU64,
}

#[derive(Debug)]
struct Row {
    events: AtomicU64,
    words: Box<[[AtomicU64; 2]]>,
}

impl Traces {
    /// Makes room for the traces of `cores` cores; with `is_on` they are begun at once.
    pub fn new(cores: usize, is_on: bool) -> Self {
        let row = || Row {
            events: AtomicU64::new(0),
            words: (0..TRACE_EVENTS).map(|_| Default::default()).collect(),
        };
        Traces {
            rows: (0..cores).map(|_| row()).collect(),
            wish: AtomicU64::new(is_on.into()),
        }
    }

    /// Begins a new trace, or ends it. The cores are to be asked.
    pub fn switch(&self, is_on: bool) {
        let wish = self.wish.load(Ordering::Relaxed);
        let step = match (wish % 2 == 1, is_on) {
            (false, false) => 0,
            (true, true) => 2,
            _ => 1,
        };
        // One core alone switches it: the admin port's.
        self.wish.store(wish + step, Ordering::Release);
    }

    /// Returns what is wanted, as a number that changes when it does, odd for on.
    pub(crate) fn wish(&self) -> u64 {
        self.wish.load(Ordering::Acquire)
    }

    /// Publishes the trace of a core.
    pub fn publish(&self, core: usize, trace: &Trace) {
        let Some(row) = self.rows.get(core) else {
            return;
        };
        let mut events = 0;
        for (place, words) in row.words.iter().zip(trace.words()) {
            place[0].store(words[0], Ordering::Relaxed);
            place[1].store(words[1], Ordering::Relaxed);
            events += 1;
        }
        row.events.store(events, Ordering::Relaxed);
    }

    fn event(&self, core: usize, index: usize) -> Option<Event> {
        let row = self.rows.get(core)?;
        if index as u64 >= row.events.load(Ordering::Relaxed) {
            return None;
        }
        let [at, word] = row.words.get(index)?;
        Event::from_words([at.load(Ordering::Relaxed), word.load(Ordering::Relaxed)])
    }
}

/// How far a text has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cursor {
    core: usize,
    /// 0: the core's name; then its events.
    line: usize,
}

/// Bytes of what is written at once.
const LINES_BYTES: usize = 512;

impl Cursor {
    /// Writes as much as `put` takes, which says whether it did; returns whether all is written.
    pub fn write(&mut self, traces: &Traces, mut put: impl FnMut(&[u8]) -> bool) -> bool {
        while self.core < traces.rows.len() {
            let mut lines = heapless::String::<LINES_BYTES>::new();
            let mut next = Cursor {
                line: self.line + 1,
                ..*self
            };
            let written = match self.line.checked_sub(1) {
                None => write_name(&mut lines, self.core),
                Some(index) => match traces.event(self.core, index) {
                    Some(event) => write_event(&mut lines, self.core, event),
                    None => {
                        next = Cursor {
                            core: self.core + 1,
                            line: 0,
                        };
                        if next.core == traces.rows.len() {
                            lines.write_str("\n]}\n")
                        } else {
                            Ok(())
                        }
                    }
                },
            };
            debug_assert!(written.is_ok());
            if !put(lines.as_bytes()) {
                return false;
            }
            *self = next;
        }
        true
    }
}

/// Writes the name of a core, behind the beginning of the text when it is the first.
fn write_name(out: &mut impl Write, core: usize) -> fmt::Result {
    let start = if core == 0 {
        "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n"
    } else {
        ",\n"
    };
    write!(
        out,
        "{start}{{\"ph\":\"M\",\"pid\":1,\"tid\":{core},\"name\":\"thread_name\",\
         \"args\":{{\"name\":\"core {core}\"}}}}"
    )
}

fn write_event(out: &mut impl Write, core: usize, event: Event) -> fmt::Result {
    let Event {
        at_ns,
        duration_ns,
        subject,
        ..
    } = event;
    let mut line = |phase: &str, name: &str, at_ns: u64, more: fmt::Arguments<'_>| {
        let at = Micros(at_ns);
        write!(
            out,
            ",\n{{\"ph\":\"{phase}\",\"pid\":1,\"tid\":{core},\"ts\":{at},\"name\":\"{name}\"{more}}}"
        )
    };
    let duration = Micros(duration_ns.into());
    // A connection's place is told apart by its core.
    let of_connection = format_args!(",\"cat\":\"http\",\"id\":\"{core}.{subject}\"");
    match event.kind {
        EventKind::Turn => line("X", "turn", at_ns, format_args!(",\"dur\":{duration}")),
        EventKind::Sleep => line("X", "sleep", at_ns, format_args!(",\"dur\":{duration}")),
        EventKind::Drop(reason) => {
            let name = drop_name(reason.into()).unwrap_or("drop");
            let more = format_args!(",\"s\":\"t\",\"args\":{{\"frames\":{subject}}}");
            line("i", name, at_ns, more)
        }
        EventKind::Application(ACCEPTED) => line("b", "connection", at_ns, of_connection),
        EventKind::Application(ENDED) => line("e", "connection", at_ns, of_connection),
        EventKind::Application(_) => {
            line("b", "request", at_ns, of_connection)?;
            let end_ns = at_ns + u64::from(duration_ns);
            line("e", "request", end_ns, of_connection)
        }
    }
}

/// Nanoseconds in microseconds, as the format has them.
struct Micros(u64);

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;
    use std::string::String;
    use std::vec::Vec;

    fn traces(events: &[(EventKind, u32)]) -> Traces {
        let traces = Traces::new(2, true);
        let row = &traces.rows[1];
        for (place, (kind, subject)) in row.words.iter().zip(events) {
            let event = Event {
                at_ns: 1_002_003,
                kind: *kind,
                duration_ns: 4_005,
                subject: *subject,
            };
            for (word, value) in place.iter().zip(event.to_words()) {
                word.store(value, Ordering::Relaxed);
            }
        }
        row.events.store(events.len() as u64, Ordering::Relaxed);
        traces
    }

    /// Renders through buffers of this size.
    fn text(traces: &Traces, bytes: usize) -> String {
        let (mut cursor, mut text) = (Cursor::default(), Vec::new());
        loop {
            let start = text.len();
            let is_done = cursor.write(traces, |lines| {
                let fits = text.len() - start + lines.len() <= bytes;
                text.extend_from_slice(if fits { lines } else { b"" });
                fits
            });
            if is_done {
                return String::from_utf8(text).unwrap();
            }
        }
    }

    #[test]
    fn every_kind_of_event_is_what_a_viewer_knows_and_fits() {
        let traces = traces(&[
            (EventKind::Turn, 0),
            (EventKind::Sleep, 0),
            (EventKind::Drop(0), 7),
            (EventKind::Application(ACCEPTED), 0xff_ffff),
            (EventKind::Application(ANSWERED), 0xff_ffff),
            (EventKind::Application(ENDED), 0xff_ffff),
        ]);
        let text = text(&traces, LINES_BYTES);
        let at = "\"pid\":1,\"tid\":1,\"ts\":1002.003";
        let connection = "\"cat\":\"http\",\"id\":\"1.16777215\"";
        for line in [
            format!("{{\"ph\":\"X\",{at},\"name\":\"turn\",\"dur\":4.005}}"),
            format!("{{\"ph\":\"X\",{at},\"name\":\"sleep\",\"dur\":4.005}}"),
            format!(
                "{{\"ph\":\"i\",{at},\"name\":\"drop_runt\",\"s\":\"t\",\"args\":{{\"frames\":7}}}}"
            ),
            format!("{{\"ph\":\"b\",{at},\"name\":\"connection\",{connection}}}"),
            format!("{{\"ph\":\"b\",{at},\"name\":\"request\",{connection}}}"),
            format!(
                "{{\"ph\":\"e\",\"pid\":1,\"tid\":1,\"ts\":1006.008,\"name\":\"request\",{connection}}}"
            ),
            format!("{{\"ph\":\"e\",{at},\"name\":\"connection\",{connection}}}"),
        ] {
            let is_there = text
                .lines()
                .any(|known| known.trim_end_matches(',') == line);
            assert!(is_there, "{line}\n{text}");
        }
    }

    #[test]
    fn the_text_is_the_same_through_buffers_of_any_size() {
        let events = [(EventKind::Application(ANSWERED), 1); 40];
        let traces = traces(&events);
        let whole = text(&traces, 1 << 20);
        for bytes in [LINES_BYTES, 700, 8192] {
            assert_eq!(text(&traces, bytes), whole, "{bytes}");
        }
        assert!(whole.ends_with("}\n]}\n"), "{whole}");
    }

    #[test]
    fn each_beginning_is_another_wish_and_an_end_is_one_once() {
        let traces = Traces::new(1, false);
        traces.switch(false);
        assert_eq!(traces.wish(), 0);
        traces.switch(true);
        traces.switch(true);
        assert_eq!(traces.wish(), 3);
        traces.switch(false);
        traces.switch(false);
        assert_eq!(traces.wish(), 4);
    }
}
