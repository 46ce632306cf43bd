//! The control files of a folder, `_headers` and `_redirects`: lines, and what is wrong with them.

use super::PackError;
use std::path::{Path, PathBuf};

/// Bytes of a control file, at most.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Bytes of a line, at most.
const MAX_LINE_BYTES: usize = 4096;

/// A control file.
#[derive(Debug)]
pub(super) struct ControlFile {
    pub(super) path: PathBuf,
    text: String,
}

impl ControlFile {
    /// Reads the file `name` of the folder `dir`, if it is there.
    pub(super) fn read(dir: &Path, name: &str) -> Result<Option<ControlFile>, PackError> {
        let path = dir.join(name);
        let unreadable = |error| PackError::Unreadable {
            path: path.clone(),
            error,
        };
        let bytes = match std::fs::metadata(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(error)),
            Ok(metadata) if metadata.len() > MAX_FILE_BYTES => {
                return Err(PackError::Control {
                    path,
                    line: 1,
                    problem: format!("larger than {MAX_FILE_BYTES} bytes: shorten it"),
                });
            }
            Ok(_) => std::fs::read(&path).map_err(unreadable)?,
        };
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Some(ControlFile { path, text })),
            Err(error) => {
                let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
                let line = 1 + good.iter().filter(|byte| **byte == b'\n').count();
                Err(PackError::Control {
                    path,
                    line,
                    problem: "not UTF-8: save the file as UTF-8".to_owned(),
                })
            }
        }
    }

    /// Makes a file of text, for tests and fuzzing.
    pub(super) fn of_text(name: &str, text: &str) -> ControlFile {
        ControlFile {
            path: name.into(),
            text: text.to_owned(),
        }
    }

    /// Returns the lines that say something, each with its number, from 1 up.
    pub(super) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let text = self.text.strip_prefix('\u{feff}').unwrap_or(&self.text);
        (1..).zip(text.lines()).filter(|(_, line)| {
            let line = line.trim_start();
            !line.is_empty() && !line.starts_with('#')
        })
    }

    /// Refuses lines that no one can have meant.
    pub(super) fn check_line(&self, number: usize, line: &str) -> Result<(), PackError> {
        if line.len() > MAX_LINE_BYTES {
            return Err(self.error(
                number,
                format!("longer than {MAX_LINE_BYTES} bytes: shorten the line"),
            ));
        }
        match line
            .chars()
            .find(|letter| letter.is_control() && *letter != '\t')
        {
            Some(letter) => Err(self.error(
                number,
                format!("control character U+{:04X}: take it out", letter as u32),
            )),
            None => Ok(()),
        }
    }

    /// Makes an error of a line.
    pub(super) fn error(&self, line: usize, problem: impl Into<String>) -> PackError {
        PackError::Control {
            path: self.path.clone(),
            line,
            problem: problem.into(),
        }
    }
}
