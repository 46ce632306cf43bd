//! Packing a folder: `site`'s packer, with its errors as wrong use and a word when it takes long.

use crate::{Failure, workspace};
use site::pack::{PackError, PackOptions, Summary, pack_to_file};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

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

    /// Says in one line what was packed.
    pub fn describe(&self) -> String {
        let summary = &self.summary;
        format!(
            "packed {} files, {} bytes, into {} ({} bytes)",
            summary.files,
            summary.content_bytes,
            self.file.display(),
            summary.image_bytes
        )
    }
}

/// Packs `folder` into `file`.
///
/// # Errors
/// [`Failure::Usage`] when the folder cannot be served as it is, [`Failure::Failed`] when the
/// image cannot be written.
pub fn pack(folder: &Path, file: &Path) -> Result<PackedSite, Failure> {
    let result = with_progress(&format!("packing {}", folder.display()), || {
        pack_to_file(folder, file, &PackOptions::default())
    });
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
pub fn pack_to_out(folder: &Path, keep: Keep) -> Result<PackedSite, Failure> {
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
    pack(folder, &workspace::out_dir()?.join(file))
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

/// Runs `work`, and says on stderr that it is still going on when it takes long.
fn with_progress<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let (done, is_done) = channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut waited = Duration::ZERO;
            let step = Duration::from_secs(2);
            while is_done.recv_timeout(step) == Err(RecvTimeoutError::Timeout) {
                waited += step;
                eprintln!("sluice: {what} ({} s)", waited.as_secs());
            }
        });
        let result = work();
        drop(done);
        result
    })
}
