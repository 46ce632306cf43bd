//! Packing a folder: `site`'s packer, with its errors as wrong use and its progress on stderr.

use crate::{Failure, workspace};
use site::pack::{PackError, PackOptions, Progress, Summary, pack_with_progress};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often progress is shown on a terminal.
const SHOW_ON_TERMINAL: Duration = Duration::from_millis(100);

/// How often progress is shown elsewhere, where every line stays.
const SHOW_IN_LOG: Duration = Duration::from_secs(5);

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
    });
    display.end();
    let summary = result.map_err(|error| match error {
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
    let whole = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let name = whole.file_name().unwrap_or_default().to_string_lossy();
    let file = match keep {
        Keep::WhileRunning => format!("{name}-{}.img", std::process::id()),
        Keep::ForLater => {
            let mut hasher = DefaultHasher::new();
            whole.hash(&mut hasher);
            format!("{name}-{:08x}.img", hasher.finish() as u32)
        }
    };
    pack(folder, &workspace::out_dir()?.join(file), options)
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
            "sluice: packing {}: {} of {} files, {} of {} MiB",
            self.folder,
            progress.files,
            progress.all_files,
            progress.bytes >> 20,
            progress.all_bytes.div_ceil(1 << 20)
        );
        match self.is_terminal {
            true => eprint!("\r{text}\x1b[K"),
            false => eprintln!("{text}"),
        }
        self.is_line_open = self.is_terminal;
    }

    /// Takes the line that changes away.
    fn end(&mut self) {
        if self.is_line_open {
            eprint!("\r\x1b[K");
        }
    }
}
