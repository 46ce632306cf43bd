//! Packing a folder: `site`'s packer, with its errors as wrong use and its progress on stderr.

use crate::build::PARTIAL;
use crate::{Failure, console, stop, workspace};
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};
use site::pack::{PackError, PackOptions, Progress, Summary, pack_with_progress};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, IsTerminal};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often progress is shown on a terminal.
const SHOW_ON_TERMINAL: Duration = Duration::from_millis(100);

/// How often progress is shown elsewhere, where every line stays.
const SHOW_IN_LOG: Duration = Duration::from_secs(5);

/// How the names of images begin that are packed for a guest of this process only.
const RUNNING: &str = "running-";

/// How the names of images end.
const IMAGE: &str = ".img";

/// Letters of a folder's name in that of its image: file systems take 255 bytes in all.
const NAME_LETTERS: usize = 40;

/// A packed site in a file.
#[derive(Debug, Clone)]
pub struct PackedSite {
    /// The image file.
    pub file: PathBuf,
    /// What is in it.
    pub summary: Summary,
}

impl PackedSite {
    /// Returns the image's size in MiB, rounded up.
    pub fn size_mib(&self) -> u64 {
        self.summary.image_bytes.div_ceil(1 << 20)
    }
}

/// Packs `folder` into `file`. Coded bodies are kept in the build folder between packs.
///
/// # Errors
/// [`Failure::Usage`] when the folder cannot be served as it is, [`Failure::Failed`] when the
/// image cannot be written.
pub fn pack(folder: &Path, file: &Path, options: &PackOptions) -> Result<PackedSite, Failure> {
    let options = PackOptions {
        cache_dir: Some(workspace::target_dir().join("pack-cache")),
        ..options.clone()
    };
    let mut display = Display::new(folder);
    let result = pack_with_progress(folder, file, &options, &mut |progress| {
        display.show(progress);
        match stop::is_asked() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    });
    display.end();
    let summary = result.map_err(|error| match error {
        PackError::Stopped => stop::failure(),
        PackError::Output { .. } => Failure::Failed(error.to_string()),
        _ => Failure::Usage(error.to_string()),
    })?;
    let file = file.to_owned();
    Ok(PackedSite { file, summary })
}

/// How long an image in `out/` is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Until the next time the same folder is packed.
    ForLater,
    /// As long as this process; see [`Transient`].
    WhileRunning,
}

/// Packs `folder` into a file of its own in `out/`.
///
/// # Errors
/// As [`pack`].
pub fn pack_to_out(
    folder: &Path,
    options: &PackOptions,
    keep: Keep,
) -> Result<PackedSite, Failure> {
    let file = match keep {
        Keep::WhileRunning => format!("{RUNNING}{}{IMAGE}", std::process::id()),
        Keep::ForLater => {
            let whole = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
            let name = whole.file_name().unwrap_or_default().to_string_lossy();
            let start: String = name.chars().take(NAME_LETTERS).collect();
            let mut hasher = DefaultHasher::new();
            whole.hash(&mut hasher);
            format!("{start}-{:08x}{IMAGE}", hasher.finish() as u32)
        }
    };
    pack(folder, &workspace::out_dir()?.join(file), options)
}

/// Removes the files in `out/` that are of no use any more: images for guests of processes that are
/// gone, and what such processes had begun to write.
pub fn remove_abandoned() {
    let Ok(out) = workspace::out_dir() else {
        return;
    };
    for entry in fs::read_dir(&out).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if owner(&name.to_string_lossy()).is_some_and(is_gone) {
            // Another start may have removed it.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Returns the process that a file in `out/` is for, if it is for one.
fn owner(name: &str) -> Option<i32> {
    let running = name
        .strip_prefix(RUNNING)
        .or_else(|| name.strip_prefix('.')?.strip_prefix(RUNNING));
    let number = match running {
        Some(rest) => rest.split('.').next(),
        None => name.strip_suffix(PARTIAL)?.rsplit('.').next(),
    };
    number?.parse().ok()
}

fn is_gone(process: i32) -> bool {
    // Those of other users are there and may not be asked.
    Pid::from_raw(process).is_none_or(|pid| test_kill_process(pid) == Err(Errno::SRCH))
}

/// A file that is removed when this is dropped.
#[derive(Debug)]
pub struct Transient(pub PathBuf);

impl Drop for Transient {
    fn drop(&mut self) {
        // Whoever removed it before did what was to be done.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Progress on stderr: one line that changes on a terminal, a line now and then elsewhere.
struct Display {
    folder: String,
    is_terminal: bool,
    shown: Instant,
    is_line_open: bool,
}

impl Display {
    fn new(folder: &Path) -> Self {
        Display {
            folder: folder.display().to_string(),
            is_terminal: io::stderr().is_terminal(),
            shown: Instant::now(),
            is_line_open: false,
        }
    }

    fn show(&mut self, progress: &Progress) {
        let interval = match self.is_terminal {
            true => SHOW_ON_TERMINAL,
            false => SHOW_IN_LOG,
        };
        if self.shown.elapsed() < interval {
            return;
        }
        self.shown = Instant::now();
        let text = format!(
            "packing {}: {} of {} files, {} of {} MiB",
            self.folder,
            progress.files,
            progress.all_files,
            progress.bytes >> 20,
            progress.all_bytes.div_ceil(1 << 20)
        );
        match self.is_terminal {
            true => console::show_progress(&format!("sluice: {text}")),
            false => console::complain(&text),
        }
        self.is_line_open = self.is_terminal;
    }

    /// Takes the line that changes away.
    fn end(&mut self) {
        if self.is_line_open {
            console::clear_progress();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_one_process_have_an_owner() {
        for (name, process) in [
            ("running-12.img", Some(12)),
            (".running-12.img.12.sluice-partial", Some(12)),
            ("sluice.elf.7.partial", Some(7)),
            ("site-00001234.img", None),
            ("sluice.elf", None),
            ("kvm-probe", None),
            ("running-.img", None),
        ] {
            assert_eq!(owner(name), process, "{name}");
        }
        assert!(!is_gone(std::process::id() as i32) && !is_gone(1));
        assert!(is_gone(4_194_305));
    }

    #[test]
    fn an_image_for_later_has_a_name_that_file_systems_take() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("\u{e4}".repeat(120));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("index.html"), "x").unwrap();
        let packed = pack_to_out(&folder, &PackOptions::default(), Keep::ForLater).unwrap();
        let _remove = Transient(packed.file.clone());
        assert!(packed.file.exists());
    }
}
