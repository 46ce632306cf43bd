//! Where an image goes: the file it is to be, and the file beside that which becomes it.
//!
//! Only what is no file yet, is empty, or is an image already is replaced: a device, a link's own
//! place or a page of the site is never the price of a slip in a command. The file beside has the
//! process's number in its name, so what a process left that was killed is known and removed.

use super::PackError;
use crate::format;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// How the name of a file ends that becomes an image.
const PARTIAL: &str = ".sluice-partial";

/// Bytes of the image's name in that of the file beside it: file systems take 255 in all.
const MAX_STEM_BYTES: usize = 200;

/// An image's place. The file beside it is removed when this goes, unless it has become the image.
#[derive(Debug)]
pub(super) struct Target {
    /// The file, with links followed.
    pub(super) file: PathBuf,
    /// The file that becomes it.
    partial: PathBuf,
}

impl Target {
    /// Looks at the place, and removes what killed processes left beside it.
    pub(super) fn of(image: &Path) -> Result<Self, PackError> {
        let file = match fs::metadata(image) {
            Ok(found) => {
                let file = fs::canonicalize(image).unwrap_or_else(|_| image.to_owned());
                may_be_replaced(&file, &found)
                    .then_some(file)
                    .ok_or_else(|| refusal(image, &found))?
            }
            Err(_) if image.is_symlink() => {
                return Err(PackError::Target {
                    path: image.to_owned(),
                    problem: "a link that leads nowhere: remove it or name another file",
                });
            }
            // What else is wrong shows when it is written.
            Err(_) => image.to_owned(),
        };
        let stem = stem(&file);
        remove_abandoned(parent(&file), &stem);
        let mut name = stem;
        name.push(format!("{}{PARTIAL}", std::process::id()));
        let partial = parent(&file).join(name);
        Ok(Target { file, partial })
    }

    /// Returns the folder it is in: large bodies fit where it fits.
    pub(super) fn folder(&self) -> &Path {
        parent(&self.file)
    }

    /// Makes the file that becomes the image.
    pub(super) fn create(&self) -> io::Result<File> {
        File::create(&self.partial)
    }

    /// Puts it into the image's place.
    pub(super) fn publish(&self) -> io::Result<()> {
        fs::rename(&self.partial, &self.file)
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // It is not there any more when it has become the image.
        let _ = fs::remove_file(&self.partial);
    }
}

fn may_be_replaced(file: &Path, found: &Metadata) -> bool {
    found.is_file() && (found.len() == 0 || is_image(file).unwrap_or(false))
}

fn is_image(file: &Path) -> io::Result<bool> {
    let mut start = [0; format::MAGIC.len()];
    File::open(file)?.read_exact(&mut start)?;
    Ok(start == format::MAGIC)
}

fn refusal(image: &Path, found: &Metadata) -> PackError {
    PackError::Target {
        path: image.to_owned(),
        problem: match found.is_dir() {
            true => "a folder: name a file in it",
            false => "exists and is no site image: remove it or name another file",
        },
    }
}

fn parent(file: &Path) -> &Path {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Returns how names of files begin that become this image: hidden ones.
fn stem(file: &Path) -> OsString {
    let name = file.file_name().unwrap_or_default().as_bytes();
    let name = &name[..name.len().min(MAX_STEM_BYTES)];
    OsStr::from_bytes(&[b".", name, b"."].concat()).to_owned()
}

/// Returns whether the name is one of a file that becomes an image. They are never packed.
pub fn is_partial_image(name: &OsStr) -> bool {
    process_of(name).is_some()
}

/// Returns the process that writes a file with this name.
fn process_of(name: &OsStr) -> Option<u32> {
    let name = name.as_bytes().strip_suffix(PARTIAL.as_bytes())?;
    let number = name.strip_prefix(b".")?.rsplit(|byte| *byte == b'.').next();
    str::from_utf8(number?).ok()?.parse().ok()
}

/// Removes the files that were to become this image, of processes that are gone.
fn remove_abandoned(folder: &Path, stem: &OsStr) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for name in entries.map(|entry| entry.file_name()) {
        let process = match name.as_bytes().starts_with(stem.as_bytes()) {
            true => process_of(&name),
            false => None,
        };
        if process.is_some_and(is_gone) {
            // Whoever removed it before did what was to be done.
            let _ = fs::remove_file(folder.join(name));
        }
    }
}

/// Returns whether this machine has no such process.
fn is_gone(process: u32) -> bool {
    let found = fs::metadata(format!("/proc/{process}"));
    // Without a process file system nothing is known.
    found.is_err_and(|error| error.kind() == ErrorKind::NotFound)
        && Path::new("/proc/self").exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_partial_files_are_told_by_their_names() {
        for (name, process) in [
            (".site.img.123.sluice-partial", Some(123)),
            (".a.sluice-partial", None),
            ("site.img.123.sluice-partial", None),
            (".site.img.123.partial", None),
            (".sluice-partial", None),
        ] {
            assert_eq!(process_of(name.as_ref()), process, "{name}");
        }
    }

    #[test]
    fn what_a_killed_process_left_beside_the_image_is_removed_and_what_runs_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let own = std::process::id();
        // Above the largest number that Linux gives.
        let gone = 4_194_305;
        let name = |stem: &str, process: u32| format!(".{stem}.{process}{PARTIAL}");
        for (stem, process) in [("a.img", gone), ("b.img", gone), ("a.img", 1)] {
            fs::write(dir.path().join(name(stem, process)), "x").unwrap();
        }
        let target = Target::of(&dir.path().join("a.img")).unwrap();
        target.create().unwrap();
        let left = |stem: &str, process| dir.path().join(name(stem, process)).exists();
        assert!(!left("a.img", gone) && left("b.img", gone) && left("a.img", 1));
        assert!(left("a.img", own));
        drop(target);
        assert!(!left("a.img", own));
    }

    #[test]
    fn a_name_as_long_as_names_get_has_room_for_the_file_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let target = Target::of(&dir.path().join("n".repeat(255))).unwrap();
        target.create().unwrap();
        target.publish().unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
