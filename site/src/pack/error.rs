//! Why a folder was not packed.

use super::shown::Shown;
use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// Why a folder was not packed. Each text is one line and says what to do.
#[derive(Debug, Error)]
pub enum PackError {
    /// The folder is not there or is not a folder.
    #[error("{}: {error}: name a folder that holds the site", Shown(.path))]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why it cannot be read.
        error: io::Error,
    },
    /// The folder holds no file that can be packed.
    #[error("{}: no files to serve: put an index.html there", Shown(.path))]
    Empty {
        /// The folder.
        path: PathBuf,
    },
    /// A file or folder inside cannot be read.
    #[error("{}: {error}: make it readable or take it out of the folder", Shown(.path))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A symbolic link leads to nothing.
    #[error("{}: link to {}, which is not there: remove the link", Shown(.path), Shown(.target))]
    LinkDangling {
        /// The link.
        path: PathBuf,
        /// What it names.
        target: PathBuf,
    },
    /// A symbolic link leads out of the folder.
    #[error(
        "{}: link to {} leads out of the folder: copy the file in, or remove the link",
        Shown(.path), Shown(.target)
    )]
    LinkOutside {
        /// The link.
        path: PathBuf,
        /// Where it leads.
        target: PathBuf,
    },
    /// A symbolic link leads to a folder that contains it.
    #[error("{}: link to a folder that contains it: remove the link", Shown(.path))]
    LinkLoop {
        /// The link.
        path: PathBuf,
    },
    /// A device, socket or pipe.
    #[error("{}: neither file nor folder: take it out of the folder", Shown(.path))]
    Special {
        /// The file.
        path: PathBuf,
    },
    /// A line of `_headers` or `_redirects` is wrong.
    #[error("{}:{line}: {problem}", Shown(.path))]
    Control {
        /// The file.
        path: PathBuf,
        /// The line, from 1 up.
        line: usize,
        /// What is wrong and what to write.
        problem: String,
    },
    /// A file is not the same as when it was first read.
    #[error("{}: changed while it was packed: pack again", Shown(.path))]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// A host's name is not one.
    #[error("--host {name}: {problem}")]
    HostName {
        /// The name as given.
        name: String,
        /// What is wrong and what to write.
        problem: &'static str,
    },
    /// A bound of the format is passed.
    #[error("{what} ({limit} at most): serve less from one site")]
    TooLarge {
        /// What is too much.
        what: &'static str,
        /// The bound.
        limit: usize,
    },
    /// Two paths have the same hash, which does not happen by chance.
    #[error("{first} and {second} have the same hash: rename one of them")]
    SameHash {
        /// One path.
        first: String,
        /// The other.
        second: String,
    },
    /// The image's place is taken by something else.
    #[error("{}: {problem}", Shown(.path))]
    Target {
        /// The place.
        path: PathBuf,
        /// What is there and what to do.
        problem: &'static str,
    },
    /// Whoever watched the progress ended it.
    #[error("stopped before it was packed")]
    Stopped,
    /// The image cannot be written.
    #[error("{}: {error}: cannot write the image there", Shown(.path))]
    Output {
        /// The image file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}
