//! The packer: folders become an image.
//!
//! Upstream: folders of static files. Downstream: an image that [`Site::parse`](crate::Site) reads.
//! Several threads read, hash and code files; what they have made goes to the output in the order
//! of the paths. Memory holds the tables (about 500 bytes a page), at most 128 MiB of bodies, and
//! the encoders (about 100 MiB a thread at the best effort), however large the site is: files of
//! 8 MiB and more are never held whole. Equal paths, contents, times and options give equal images.
//!
//! What becomes a page is told in `plan`; Last-Modified is the file's time of change in whole
//! seconds, or one time for all. Names that start with a dot are left out, except `.well-known`.
//!
//! Reading order: this file, `folder`, `plan`, `policy`, `pattern`, `redirects`, `rewrite`,
//! `headers`, `write`, `make`, `compress`, `head`, `image`, `target`.

mod cache;
mod compress;
mod content_type;
mod control;
mod error;
mod fields;
mod folder;
mod head;
mod headers;
mod image;
mod links;
mod listing;
mod make;
mod names;
mod output;
mod pattern;
mod pipeline;
mod plan;
mod policy;
mod redirects;
mod report;
mod rewrite;
mod shown;
mod target;
mod verify;
mod write;

pub use compress::Compression;
pub use error::PackError;
pub use report::{CodingSummary, Progress, Summary, Warning};
pub use target::is_partial_image;
pub use verify::{NotVerified, location, rule_lines, verify};

use image::ImageWriter;
use make::Maker;
use std::io::{BufWriter, Cursor, Seek, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use target::Target;
use write::{HostFolder, Writing};

/// How folders are packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackOptions {
    /// Unix time in seconds to be shown as every page's Last-Modified, `None` for each file's own
    /// time. Copies of a folder give equal images only with a time given.
    pub last_modified: Option<u64>,
    /// More sites: the names of hosts and their folders. Requests for other names go to the folder
    /// that is packed first.
    pub hosts: Vec<(String, PathBuf)>,
    /// How much effort goes into codings.
    pub compression: Compression,
    /// Where coded bodies are kept between packs.
    pub cache_dir: Option<PathBuf>,
    /// Whether `/a` answers with a.html.
    pub has_clean_urls: bool,
    /// Whether folders without index.html get a page that lists them.
    pub has_listing: bool,
    /// Whether names that start with a dot are packed.
    pub has_hidden: bool,
    /// Whether fields that restrict what other sites may do with the pages are added.
    pub has_security_headers: bool,
    /// The origin whose pages may read this site's, `*` for all.
    pub cors: Option<String>,
}

impl Default for PackOptions {
    fn default() -> Self {
        PackOptions {
            last_modified: None,
            hosts: Vec::new(),
            compression: Compression::default(),
            cache_dir: None,
            has_clean_urls: true,
            has_listing: false,
            has_hidden: false,
            has_security_headers: false,
            cors: None,
        }
    }
}

/// Packs the folder `dir` into the file `image`. The file appears whole or not at all; links are
/// followed to it, and what is there and is no image is left as it is.
///
/// # Errors
/// See [`PackError`].
pub fn pack_to_file(dir: &Path, image: &Path, options: &PackOptions) -> Result<Summary, PackError> {
    pack_with_progress(dir, image, options, &mut |_| ControlFlow::Continue(()))
}

/// The same, with `show` called after every file and now and then while one is made ready. When it
/// breaks, the pack ends with [`PackError::Stopped`] and leaves nothing.
///
/// # Errors
/// See [`PackError`].
pub fn pack_with_progress(
    dir: &Path,
    image: &Path,
    options: &PackOptions,
    show: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
) -> Result<Summary, PackError> {
    let output_error = |error| PackError::Output {
        path: image.to_owned(),
        error,
    };
    let target = Target::of(image)?;
    // The folders first: without them there is nothing to write.
    let hosts = read_folders(dir, Some(&target.file), options)?;
    let file = target.create().map_err(output_error)?;
    let output = BufWriter::with_capacity(1 << 20, file);
    let summary = pack_into(&hosts, options, output, (image, target.folder()), show)?;
    target.publish().map_err(output_error)?;
    Ok(summary)
}

/// Packs the folder `dir` into memory.
///
/// # Errors
/// See [`PackError`].
pub fn pack_to_vec(dir: &Path, options: &PackOptions) -> Result<(Vec<u8>, Summary), PackError> {
    let mut output = Cursor::new(Vec::new());
    let hosts = read_folders(dir, None, options)?;
    let places = (Path::new("memory"), std::env::temp_dir());
    let places = (places.0, places.1.as_path());
    let summary = pack_into(&hosts, options, &mut output, places, &mut |_| {
        ControlFlow::Continue(())
    })?;
    Ok((output.into_inner(), summary))
}

/// Reads the folders of all hosts, the default one first.
fn read_folders(
    dir: &Path,
    image: Option<&Path>,
    options: &PackOptions,
) -> Result<Vec<HostFolder>, PackError> {
    let mut by_folder: Vec<(&Path, Vec<String>)> = vec![(dir, Vec::new())];
    let mut known: Vec<String> = Vec::new();
    for (given, folder) in &options.hosts {
        let name = names::image_form(given)?;
        if known.contains(&name) {
            return Err(PackError::HostName {
                name: given.clone(),
                problem: "given twice: leave one out",
            });
        }
        known.push(name.clone());
        match by_folder.iter_mut().find(|(known, _)| known == folder) {
            Some((_, names)) => names.push(name),
            None => by_folder.push((folder, vec![name])),
        }
    }
    if by_folder.len() > crate::limits::MAX_HOSTS || known.len() > crate::limits::MAX_NAMES {
        return Err(PackError::TooLarge {
            what: "more hosts than fit",
            limit: crate::limits::MAX_HOSTS,
        });
    }
    by_folder
        .into_iter()
        .map(|(dir, names)| {
            let folder = folder::read(dir, options.has_hidden, image)?;
            Ok(HostFolder {
                dir: dir.to_owned(),
                names,
                folder,
            })
        })
        .collect()
}

/// Writes the image of folders; `name` is the output's, for errors.
fn pack_into<W: Write + Seek>(
    hosts: &[HostFolder],
    options: &PackOptions,
    output: W,
    (name, scratch_dir): (&Path, &Path),
    show: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
) -> Result<Summary, PackError> {
    let all_files = || hosts.iter().flat_map(|host| &host.folder.files);
    let cache = options.cache_dir.as_deref().map(cache::Cache::new);
    let image = ImageWriter::new(output).map_err(|error| error.explain(name))?;
    let mut writing = Writing {
        image,
        name,
        summary: Summary::default(),
        progress: Progress {
            all_files: all_files().count() as u64,
            all_bytes: all_files().map(|file| file.bytes).sum(),
            ..Progress::default()
        },
        show,
    };
    for (number, host) in hosts.iter().enumerate() {
        let maker = Maker {
            files: &host.folder.files,
            options,
            cache: cache.as_ref(),
            scratch_dir,
        };
        write::write_host(number as u16, host, &maker, &mut writing)?;
    }
    if let Some(cache) = &cache {
        cache.trim();
    }
    let mut summary = writing.summary;
    summary.pages = writing.image.page_count();
    summary.image_bytes = writing
        .image
        .finish()
        .map_err(|error| error.explain(name))?;
    summary.warnings.sort();
    summary.warnings.dedup();
    Ok(summary)
}

/// Reads the text of a `_headers` and of a `_redirects` file and asks both about a path, as packing
/// and serving would. Returns how many rules of `_redirects` match it.
///
/// # Errors
/// [`PackError::Control`] with the line that is wrong.
pub fn check_control_files(
    headers: &str,
    redirects: &str,
    path: &[u8],
) -> Result<usize, PackError> {
    let rules = headers::parse(&control::ControlFile::of_text("_headers", headers))?;
    rules.apply(path, &mut fields::FieldSet::default());
    let rules = redirects::parse(&control::ControlFile::of_text("_redirects", redirects))?;
    let matching = rules.iter().filter(|rule| {
        let [location, page] = [true, false].map(|kind| rule.compiled.target(path, kind));
        location.is_some() && page.is_some()
    });
    Ok(matching.count())
}
