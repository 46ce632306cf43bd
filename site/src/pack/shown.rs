//! Paths as errors and warnings show them.

use std::fmt::{self, Write};
use std::path::Path;

/// A path on one line: control characters, which a file's name may have and a terminal would obey,
/// are escaped.
pub(super) struct Shown<'p>(pub(super) &'p Path);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in self.0.to_string_lossy().chars() {
            match letter.is_control() {
                true => write!(f, "{}", letter.escape_default())?,
                false => f.write_char(letter)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped_and_letters_are_not() {
        let shown = Shown(Path::new("/a\u{1b}[2J\n/\u{e4} \\b")).to_string();
        assert_eq!(shown, "/a\\u{1b}[2J\\n/\u{e4} \\b");
    }
}
