//! The packer: a folder becomes an image.
//!
//! Upstream: a folder of static files. Downstream: an image that [`Site::parse`](crate::Site)
//! reads. Files are read once, in the order of their paths, and go straight to the output, so
//! that a site may be larger than memory. Equal paths, contents and times give equal images.
//!
//! What becomes a page: every file under its path; `dir/index.html` also under `dir/`, with a
//! redirect from `dir`; `404.html` of the top folder also as the answer for paths not found.
//! Names that start with a dot are left out, except `.well-known`.
//!
//! Reading order: this file, `folder`, `image`, `head`, `content_type`.

mod content_type;
mod folder;
mod head;
mod image;

use crate::format::Section;
use folder::{Folder, SourceFile};
use image::{ImageWriter, NewPage, WriteError};
use std::fs::File;
use std::io::{self, BufWriter, Cursor, Read, Seek, Write};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// How a folder is packed.
#[derive(Debug, Clone, Copy, Default)]
pub struct PackOptions {
    /// Unix time in seconds to be shown as every page's Last-Modified, `None` for each file's own
    /// time. Copies of a folder give equal images only with a time given.
    pub last_modified: Option<u64>,
}

/// What was packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// Files packed.
    pub files: u64,
    /// Bytes of these files.
    pub content_bytes: u64,
    /// Paths that answer, redirects and folders with an index.html counted too.
    pub pages: u64,
    /// Names left out because they start with a dot.
    pub hidden_names: u64,
    /// Bytes of the image.
    pub image_bytes: u64,
    /// Whether `/` answers: the top folder has an index.html.
    pub has_front_page: bool,
}

/// Why a folder was not packed. Each text is one line and says what to do.
#[derive(Debug, Error)]
pub enum PackError {
    /// The folder is not there or is not a folder.
    #[error("{}: {error}: name a folder that holds the site", .path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why it cannot be read.
        error: io::Error,
    },
    /// The folder holds no file that can be packed.
    #[error("{}: no files to serve: put an index.html there", .path.display())]
    Empty {
        /// The folder.
        path: PathBuf,
    },
    /// A file or folder inside cannot be read.
    #[error("{}: {error}: make it readable or take it out of the folder", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A symbolic link leads out of the folder.
    #[error(
        "{}: link to {} leads out of the folder: copy the file in, or remove the link",
        .path.display(), .target.display()
    )]
    LinkOutside {
        /// The link.
        path: PathBuf,
        /// Where it leads.
        target: PathBuf,
    },
    /// A symbolic link leads to a folder that contains it.
    #[error("{}: link to a folder that contains it: remove the link", .path.display())]
    LinkLoop {
        /// The link.
        path: PathBuf,
    },
    /// A device, socket or pipe.
    #[error("{}: neither file nor folder: take it out of the folder", .path.display())]
    Special {
        /// The file.
        path: PathBuf,
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
    /// The image cannot be written.
    #[error("{}: {error}: cannot write the image there", .path.display())]
    Output {
        /// The image file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// Packs the folder `dir` into the file `image`. The file appears whole or not at all.
///
/// # Errors
/// See [`PackError`].
pub fn pack_to_file(dir: &Path, image: &Path, options: PackOptions) -> Result<Summary, PackError> {
    let output_error = |error| PackError::Output {
        path: image.to_owned(),
        error,
    };
    let mut partial_name = image.as_os_str().to_owned();
    partial_name.push(format!(".{}.partial", std::process::id()));
    let partial = PathBuf::from(partial_name);
    // The folder first: without it there is nothing to write.
    let folder = folder::read(dir)?;
    let result = File::create(&partial)
        .map_err(output_error)
        .and_then(|file| {
            let mut output = BufWriter::with_capacity(1 << 20, file);
            let summary = pack_into(&folder, options, &mut output, image)?;
            output.flush().map_err(output_error)?;
            std::fs::rename(&partial, image).map_err(output_error)?;
            Ok(summary)
        });
    if result.is_err() {
        // Nothing to add when this fails too: the first error is the one to show.
        let _ = std::fs::remove_file(&partial);
    }
    result
}

/// Packs the folder `dir` into memory.
///
/// # Errors
/// See [`PackError`].
pub fn pack_to_vec(dir: &Path, options: PackOptions) -> Result<(Vec<u8>, Summary), PackError> {
    let mut output = Cursor::new(Vec::new());
    let folder = folder::read(dir)?;
    let summary = pack_into(&folder, options, &mut output, Path::new("memory"))?;
    Ok((output.into_inner(), summary))
}

/// Writes the image of a folder; `name` is the output's, for errors.
fn pack_into<W: Write + Seek>(
    folder: &Folder,
    options: PackOptions,
    output: W,
    name: &Path,
) -> Result<Summary, PackError> {
    let explain = |error| match error {
        WriteError::Io(error) => PackError::Output {
            path: name.to_owned(),
            error,
        },
        WriteError::TooLarge(what, limit) => PackError::TooLarge { what, limit },
        WriteError::SameHash(first, second) => PackError::SameHash { first, second },
    };
    let mut image = ImageWriter::new(output).map_err(explain)?;
    let mut summary = Summary {
        hidden_names: folder.hidden_names,
        ..Summary::default()
    };
    let mut chunk = vec![0; 256 * 1024];
    for source in &folder.files {
        let page =
            read_file(source, options, &mut chunk, &mut image).map_err(|error| match error {
                FileError::Read(error) => PackError::Unreadable {
                    path: source.file.clone(),
                    error,
                },
                FileError::Write(error) => explain(error),
            })?;
        summary.files += 1;
        summary.content_bytes += page.body.end - page.body.start;
        if source.path == b"/404.html" {
            image.set_not_found(head::not_found(&source.path, &page));
        }
        add_index(&mut image, &source.path, &page).map_err(explain)?;
        image.add_page(&source.path, page).map_err(explain)?;
    }
    summary.has_front_page = image.has_path(b"/");
    summary.pages = image.page_count();
    summary.image_bytes = image.finish().map_err(explain)?;
    Ok(summary)
}

enum FileError {
    Read(io::Error),
    Write(WriteError),
}

/// Copies a file's content into the image and makes its page.
fn read_file<W: Write + Seek>(
    source: &SourceFile,
    options: PackOptions,
    chunk: &mut [u8],
    image: &mut ImageWriter<W>,
) -> Result<NewPage, FileError> {
    let mut file = File::open(&source.file).map_err(FileError::Read)?;
    let start = image.start_body().map_err(FileError::Write)?;
    let mut digest = blake3::Hasher::new();
    loop {
        let count = match file.read(chunk) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(FileError::Read(error)),
        };
        digest.update(&chunk[..count]);
        image
            .write_body(&chunk[..count])
            .map_err(FileError::Write)?;
    }
    let body = start..image.body_position();
    let modified = options.last_modified.unwrap_or(source.modified);
    Ok(head::file(&source.path, body, &digest.finalize(), modified))
}

/// Adds `dir/` and the redirect from `dir` when `path` is `dir/index.html`.
fn add_index<W: Write + Seek>(
    image: &mut ImageWriter<W>,
    path: &[u8],
    page: &NewPage,
) -> Result<(), WriteError> {
    let Some(dir) = path
        .strip_suffix(b"index.html")
        .filter(|dir| dir.ends_with(b"/"))
    else {
        return Ok(());
    };
    image.add_page(dir, page.clone())?;
    if let Some(without_slash) = dir.strip_suffix(b"/").filter(|dir| !dir.is_empty()) {
        let start = image.start_body()?;
        image.write_body(head::MOVED_BODY)?;
        let body = start..image.body_position();
        image.add_page(without_slash, head::moved(dir, body))?;
    }
    Ok(())
}

impl Section {
    /// Returns what the section holds, in words, for errors.
    fn contents(self) -> &'static str {
        match self {
            Section::Bodies => "more bytes of content than fit",
            Section::Pages => "more pages than fit",
            Section::Paths => "more bytes of paths than fit",
            Section::Heads => "more bytes of response heads than fit",
            Section::Seeds | Section::Slots => "more index than fits",
        }
    }
}
