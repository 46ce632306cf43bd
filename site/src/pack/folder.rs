//! Reading the folder: which files there are, and under which paths.
//!
//! Links inside the folder are followed; whatever leads out of it, or cannot be packed, is an
//! error that names the file.

use super::PackError;
use super::target::is_partial_image;
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// A file to be packed.
#[derive(Debug)]
pub(super) struct SourceFile {
    /// The path it is served under, starting with `/`.
    pub(super) path: Vec<u8>,
    /// Where it is.
    pub(super) file: PathBuf,
    /// Unix time of its last change, in seconds.
    pub(super) modified: u64,
    /// Its length.
    pub(super) bytes: u64,
    /// What changes when it is written.
    pub(super) stamp: Stamp,
}

/// Length and time of change of a file: equal ones, and it is what it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Stamp {
    bytes: u64,
    seconds: i64,
    nanoseconds: i64,
}

impl Stamp {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Stamp {
            bytes: metadata.len(),
            seconds: metadata.mtime(),
            nanoseconds: metadata.mtime_nsec(),
        }
    }
}

/// Files of the top folder that say how it is to be served, and are not served themselves.
const CONTROL_FILES: [&[u8]; 2] = [b"/_headers", b"/_redirects"];

/// The files of a folder, sorted by path.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) files: Vec<SourceFile>,
    /// Names left out because they start with a dot.
    pub(super) hidden_names: u64,
}

/// Reads the folder `dir` and everything below it, without names that start with a dot unless they
/// are asked for, and without the file `image`.
pub(super) fn read(
    dir: &Path,
    has_hidden: bool,
    image: Option<&Path>,
) -> Result<Folder, PackError> {
    let folder_error = |error| PackError::Folder {
        path: dir.to_owned(),
        error,
    };
    let root = fs::canonicalize(dir).map_err(folder_error)?;
    if !root.is_dir() {
        return Err(folder_error(io::ErrorKind::NotADirectory.into()));
    }
    let mut walk = Walk {
        folder: Folder {
            files: Vec::new(),
            hidden_names: 0,
        },
        above: vec![root.clone()],
        root,
        has_rules: false,
        has_hidden,
        image: image.and_then(|image| fs::canonicalize(image).ok()),
    };
    walk.visit(dir, b"/")?;
    let mut folder = walk.folder;
    // Rules alone are a site too, one that leads elsewhere.
    if folder.files.is_empty() && !walk.has_rules {
        return Err(PackError::Empty {
            path: dir.to_owned(),
        });
    }
    folder.files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok(folder)
}

struct Walk {
    folder: Folder,
    root: PathBuf,
    /// The folders being read, from the root down, without links.
    above: Vec<PathBuf>,
    /// There is a `_redirects` file.
    has_rules: bool,
    has_hidden: bool,
    /// What is written now is not read.
    image: Option<PathBuf>,
}

impl Walk {
    /// Reads one folder; `path` is what it is served under, with a slash at its end.
    fn visit(&mut self, dir: &Path, path: &[u8]) -> Result<(), PackError> {
        let unreadable = |error| PackError::Unreadable {
            path: dir.to_owned(),
            error,
        };
        for entry in fs::read_dir(dir).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let name = entry.file_name();
            if is_partial_image(&name) {
                continue;
            }
            if !self.has_hidden && is_hidden(&name) {
                self.folder.hidden_names += 1;
                continue;
            }
            let mut path = path.to_vec();
            path.extend_from_slice(name.as_bytes());
            self.visit_entry(&entry.path(), path)?;
        }
        Ok(())
    }

    fn visit_entry(&mut self, file: &Path, mut path: Vec<u8>) -> Result<(), PackError> {
        let unreadable = |error| PackError::Unreadable {
            path: file.to_owned(),
            error,
        };
        let found = match fs::symlink_metadata(file) {
            // Its folder has just named it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(PackError::Changed {
                    path: file.to_owned(),
                });
            }
            found => found.map_err(unreadable)?,
        };
        let real = match fs::canonicalize(file) {
            Err(error) if found.is_symlink() && error.kind() == io::ErrorKind::NotFound => {
                return Err(PackError::LinkDangling {
                    path: file.to_owned(),
                    target: fs::read_link(file).map_err(unreadable)?,
                });
            }
            real => real.map_err(unreadable)?,
        };
        if found.is_symlink() && !real.starts_with(&self.root) {
            return Err(PackError::LinkOutside {
                path: file.to_owned(),
                target: real,
            });
        }
        let metadata = fs::metadata(&real).map_err(unreadable)?;
        if metadata.is_dir() {
            if self.above.contains(&real) {
                return Err(PackError::LinkLoop {
                    path: file.to_owned(),
                });
            }
            path.push(b'/');
            self.above.push(real);
            self.visit(file, &path)?;
            self.above.pop();
        } else if metadata.is_file() {
            self.has_rules |= path == b"/_redirects";
            let is_control = CONTROL_FILES.contains(&path.as_slice());
            if is_control || self.image.as_ref() == Some(&real) {
                return Ok(());
            }
            self.folder.files.push(SourceFile {
                path,
                file: file.to_owned(),
                modified: modified(&metadata),
                bytes: metadata.len(),
                stamp: Stamp::of(&metadata),
            });
        } else {
            return Err(PackError::Special {
                path: file.to_owned(),
            });
        }
        Ok(())
    }
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b".") && name != ".well-known"
}

/// Returns the Unix time of the last change in seconds, 0 when it is unknown or before 1970.
fn modified(metadata: &Metadata) -> u64 {
    metadata
        .modified()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .map_or(0, |since| since.as_secs())
}
