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
mod fields;
mod fixed;
mod folder;
mod head;
mod image;
mod names;
mod output;

use crate::coding::Coding;
use crate::records::HostRecord;
use content_type::content_type;
use folder::{Folder, SourceFile};
use head::HeadSpec;
use image::{ImageWriter, NewPage, WriteError};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Cursor, Seek, Write};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// How folders are packed.
#[derive(Debug, Clone, Default)]
pub struct PackOptions {
    /// Unix time in seconds to be shown as every page's Last-Modified, `None` for each file's own
    /// time. Copies of a folder give equal images only with a time given.
    pub last_modified: Option<u64>,
    /// More sites: the names of a host and its folder. Requests for other names go to the folder
    /// that is packed first.
    pub hosts: Vec<(String, PathBuf)>,
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
pub fn pack_to_file(dir: &Path, image: &Path, options: &PackOptions) -> Result<Summary, PackError> {
    let output_error = |error| PackError::Output {
        path: image.to_owned(),
        error,
    };
    let mut partial_name = image.as_os_str().to_owned();
    partial_name.push(format!(".{}.partial", std::process::id()));
    let partial = PathBuf::from(partial_name);
    // The folders first: without them there is nothing to write.
    let folders = read_folders(dir, options)?;
    let result = File::create(&partial)
        .map_err(output_error)
        .and_then(|file| {
            let output = BufWriter::with_capacity(1 << 20, file);
            let summary = pack_into(&folders, options, output, image)?;
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
pub fn pack_to_vec(dir: &Path, options: &PackOptions) -> Result<(Vec<u8>, Summary), PackError> {
    let mut output = Cursor::new(Vec::new());
    let folders = read_folders(dir, options)?;
    let summary = pack_into(&folders, options, &mut output, Path::new("memory"))?;
    Ok((output.into_inner(), summary))
}

/// A host to be packed: its names and what is in its folder.
struct HostFolder {
    names: Vec<String>,
    folder: Folder,
}

/// Reads the folders of all hosts, the default one first.
fn read_folders(dir: &Path, options: &PackOptions) -> Result<Vec<HostFolder>, PackError> {
    let mut by_folder: Vec<(&Path, Vec<String>)> = vec![(dir, Vec::new())];
    for (name, folder) in &options.hosts {
        let name = names::image_form(name)?;
        match by_folder.iter_mut().find(|(known, _)| known == folder) {
            Some((_, names)) => names.push(name),
            None => by_folder.push((folder, vec![name])),
        }
    }
    by_folder
        .into_iter()
        .map(|(dir, names)| {
            let folder = folder::read(dir)?;
            Ok(HostFolder { names, folder })
        })
        .collect()
}

/// Writes the image of folders; `name` is the output's, for errors.
fn pack_into<W: Write + Seek>(
    hosts: &[HostFolder],
    options: &PackOptions,
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
    let mut summary = Summary::default();
    for (number, host) in hosts.iter().enumerate() {
        pack_host(number as u16, host, options, &mut image, &mut summary).map_err(|error| {
            match error {
                FileError::Read(path, error) => PackError::Unreadable { path, error },
                FileError::Write(error) => explain(error),
            }
        })?;
    }
    summary.pages = image.page_count();
    summary.image_bytes = image.finish().map_err(explain)?;
    Ok(summary)
}

enum FileError {
    Read(PathBuf, io::Error),
    Write(WriteError),
}

impl From<WriteError> for FileError {
    fn from(error: WriteError) -> Self {
        FileError::Write(error)
    }
}

fn pack_host<W: Write + Seek>(
    number: u16,
    host: &HostFolder,
    options: &PackOptions,
    image: &mut ImageWriter<W>,
    summary: &mut Summary,
) -> Result<(), FileError> {
    let mut paths: BTreeMap<Vec<u8>, NewPage> = BTreeMap::new();
    let mut aliases: Vec<(Vec<u8>, NewPage)> = Vec::new();
    let mut fixed = fixed::FixedPages::default();
    for source in &host.folder.files {
        let content = std::fs::read(&source.file)
            .map_err(|error| FileError::Read(source.file.clone(), error))?;
        let page = file_page(source, &content, options, image)?;
        summary.files += 1;
        summary.content_bytes += content.len() as u64;
        if source.path == b"/404.html" {
            fixed.not_found = Some(fixed::error_page(404, &source.path, &content, image)?);
        }
        if source.path == b"/50x.html" {
            fixed.unavailable = Some(fixed::error_page(503, &source.path, &content, image)?);
        }
        if let Some(dir) = folder_of_index(&source.path) {
            paths.insert(dir.to_vec(), page);
            if let Some(bare) = dir.strip_suffix(b"/").filter(|bare| !bare.is_empty()) {
                aliases.push((
                    bare.to_vec(),
                    fixed::redirect(301, &fixed::to_folder(dir), image)?,
                ));
            }
        } else if let Some(clean) = source.path.strip_suffix(b".html") {
            aliases.push((clean.to_vec(), page));
        }
        paths.insert(source.path.clone(), page);
    }
    for (path, page) in aliases {
        paths.entry(path).or_insert(page);
    }
    summary.hidden_names += host.folder.hidden_names;
    summary.has_front_page |= number == 0 && paths.contains_key(&b"/"[..]);
    for (path, page) in &paths {
        image.add_page(number, path, page)?;
    }
    let record = HostRecord {
        first_rule: image.rule_count(),
        rule_count: 0,
        ..fixed.add(number, image)?
    };
    image.add_host(record, &host.names);
    Ok(())
}

/// Returns the path of the folder whose index the file is.
fn folder_of_index(path: &[u8]) -> Option<&[u8]> {
    path.strip_suffix(b"index.html")
        .filter(|dir| dir.ends_with(b"/"))
}

/// Writes the response of a file.
fn file_page<W: Write + Seek>(
    source: &SourceFile,
    content: &[u8],
    options: &PackOptions,
    image: &mut ImageWriter<W>,
) -> Result<NewPage, FileError> {
    let modified = options.last_modified.unwrap_or(source.modified);
    let tag = head::entity_tag(&blake3::hash(content));
    let head = head::compose(&HeadSpec {
        status: 200,
        body_bytes: Some(content.len() as u64),
        content_type: Some(content_type(&source.path)),
        coding: Coding::Identity,
        etag: Some(&tag),
        modified: Some(modified),
        location: None,
        fields: &fixed::default_fields(),
        varies: false,
    })
    .map_err(WriteError::from)?;
    let variant = image.write_response(&head, content)?;
    Ok(NewPage {
        status: 200,
        modified: Some(modified),
        variants: image.add_variants(&[variant])?,
    })
}
