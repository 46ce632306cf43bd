//! What the command says: lines on stdout and on stderr, and one line that changes.
//!
//! Everything in this crate speaks through here. Whoever stops reading (`| head -1`, a terminal that
//! is closed, a pipe whose reader died of the same Ctrl-C) neither stops the guest nor crashes the
//! command, as `println!` and `eprintln!` would. Control characters, which the name of a file or a
//! line of the guest may have, are escaped: a terminal would obey them.

use std::borrow::Cow;
use std::io::{self, Write};

/// Writes lines to stdout.
pub fn say(text: &str) {
    write_lines(&mut io::stdout().lock(), "", text);
}

/// Writes lines to stderr, the first with our name before it.
pub fn complain(text: &str) {
    write_lines(&mut io::stderr().lock(), "sluice: ", text);
}

/// Writes lines that others said to stderr, as they are.
pub fn pass_on(text: &str) {
    write_lines(&mut io::stderr().lock(), "", text);
}

/// Writes a line to stderr, on a terminal, in place of the one written so before.
pub(crate) fn show_progress(text: &str) {
    write_whole(
        &mut io::stderr().lock(),
        &format!("\r{}\x1b[K", shown(text)),
    );
}

/// Takes that line away.
pub(crate) fn clear_progress() {
    write_whole(&mut io::stderr().lock(), "\r\x1b[K");
}

fn write_lines(out: &mut impl Write, prefix: &str, text: &str) {
    let mut lines = prefix.to_owned();
    for line in text.lines() {
        lines.push_str(&shown(line));
        lines.push('\n');
    }
    write_whole(out, &lines);
}

fn write_whole(out: &mut impl Write, text: &str) {
    // Nobody is left to be told when this fails.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Returns the line with its control characters escaped, but for tabs.
fn shown(line: &str) -> Cow<'_, str> {
    let is_harmless = |letter: char| !letter.is_control() || letter == '\t';
    if line.chars().all(is_harmless) {
        return Cow::Borrowed(line);
    }
    let mut shown = String::new();
    for letter in line.chars() {
        match is_harmless(letter) {
            true => shown.push(letter),
            false => shown.extend(letter.escape_default()),
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reader that is gone.
    struct Gone;

    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }

    #[test]
    fn lines_come_whole_and_a_terminal_has_nothing_to_obey() {
        let mut out = Vec::new();
        write_lines(&mut out, "sluice: ", "a\x1b[2J\tb\n  \u{e4}\u{9b}\r");
        let expected = "sluice: a\\u{1b}[2J\tb\n  \u{e4}\\u{9b}\\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_reader_that_is_gone_is_no_crash() {
        write_lines(&mut Gone, "sluice: ", "a");
    }
}
