//! Crash reports made readable: the backtrace's addresses get names and lines from the image's
//! debug ELF.
//!
//! The guest knows only addresses (its symbols would not fit into its size); see
//! [`serial`] for the form of a report.

use crate::serial::{self, CRASH_END, CRASH_START};
use addr2line::Loader;
use std::path::Path;

/// Names for the addresses of one image.
pub struct Symbols {
    loader: Option<Loader>,
}

impl Symbols {
    /// Reads the debug ELF; without a readable one, nothing has a name.
    pub fn read(debug_elf: &Path) -> Self {
        Symbols {
            loader: Loader::new(debug_elf).ok(),
        }
    }

    /// Names the code at `address`: innermost function first, those it was inlined into behind.
    pub fn describe(&self, address: u64) -> Vec<String> {
        let Some(loader) = &self.loader else {
            return Vec::new();
        };
        let mut names = Vec::new();
        if let Ok(mut frames) = loader.find_frames(address) {
            while let Ok(Some(frame)) = frames.next() {
                let function = frame
                    .function
                    .as_ref()
                    .and_then(|function| function.demangle().ok())
                    .map_or("?".to_owned(), |name| name.into_owned());
                names.push(match frame.location {
                    Some(location) => format!(
                        "{function} ({}:{})",
                        location.file.map_or("?", short_path),
                        location.line.unwrap_or(0)
                    ),
                    None => function,
                });
            }
        }
        if names.is_empty() {
            names.extend(loader.find_symbol(address).map(demangled));
        }
        names
    }
}

/// Adds names to the crash reports in a stream of serial lines.
pub struct Annotator<'a> {
    debug_elf: &'a Path,
    symbols: Option<Symbols>,
    is_in_report: bool,
}

impl<'a> Annotator<'a> {
    /// Makes one for the image with this debug ELF, which is read when the first report comes.
    pub fn new(debug_elf: &'a Path) -> Self {
        Annotator {
            debug_elf,
            symbols: None,
            is_in_report: false,
        }
    }

    /// Returns the line, with names behind it if it is part of a backtrace.
    pub fn line(&mut self, line: &str) -> String {
        if line.starts_with(CRASH_START) {
            self.is_in_report = true;
        } else if line.starts_with(CRASH_END) {
            self.is_in_report = false;
        }
        let Some((frame, address)) = serial::backtrace(line).filter(|_| self.is_in_report) else {
            return line.to_owned();
        };
        let symbols = self
            .symbols
            .get_or_insert_with(|| Symbols::read(self.debug_elf));
        // Every frame but the innermost holds the address behind its call.
        let names = symbols.describe(if frame == 0 {
            address
        } else {
            address.saturating_sub(1)
        });
        let mut text = line.to_owned();
        for (depth, name) in names.iter().enumerate() {
            text.push_str(if depth == 0 { "  " } else { "\n        in  " });
            text.push_str(name);
        }
        text
    }
}

/// Cuts the folders of the compiling machine off a path.
fn short_path(path: &str) -> &str {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/");
    let top = root.strip_suffix("qemu/").unwrap_or(root);
    path.strip_prefix(top)
        .or_else(|| path.find("/library/").map(|at| &path[at + 1..]))
        .unwrap_or(path)
}

fn demangled(symbol: &str) -> String {
    addr2line::demangle_auto(symbol.into(), None).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backtrace_gets_names_inside_a_report_only() {
        let debug_elf = std::env::current_exe().unwrap();
        let symbols = Symbols::read(&debug_elf);
        let main = symbols
            .loader
            .as_ref()
            .and_then(|loader| loader.find_symbol_info(entry_point(&debug_elf)))
            .map(|symbol| symbol.name().to_owned());
        assert_eq!(main.as_deref(), Some("_start"));

        let frame = format!("  #0 {:#x}", entry_point(&debug_elf));
        let mut annotator = Annotator::new(&debug_elf);
        assert_eq!(annotator.line(&frame), frame);
        assert_eq!(
            annotator.line("sluice: CRASH core 0"),
            "sluice: CRASH core 0"
        );
        assert!(annotator.line(&frame).contains("_start"));
        annotator.line("sluice: END");
        assert_eq!(annotator.line(&frame), frame);
    }

    #[test]
    fn without_symbols_a_report_stays_as_it_is() {
        let mut annotator = Annotator::new(Path::new("/nonexistent"));
        annotator.line("sluice: CRASH");
        assert_eq!(annotator.line("  #1 0x0"), "  #1 0x0");
        assert_eq!(annotator.line("  #1 0x100000"), "  #1 0x100000");
    }

    #[test]
    fn paths_lose_the_folders_of_the_machine_that_compiled() {
        assert_eq!(
            short_path("/rustc/abc/library/core/src/panic.rs"),
            "library/core/src/panic.rs"
        );
        let own = concat!(env!("CARGO_MANIFEST_DIR"), "/src/crash.rs");
        assert_eq!(short_path(own), "qemu/src/crash.rs");
    }

    /// Reads `e_entry` of an ELF64 file.
    fn entry_point(file: &Path) -> u64 {
        let bytes = std::fs::read(file).unwrap();
        u64::from_le_bytes(bytes[24..32].try_into().unwrap())
    }
}
