//! One job made ready: its body read, hashed and coded.

use super::PackError;
use super::PackOptions;
use super::cache::Cache;
use super::compress::{self, Body, Coder, LARGE_BYTES, PassError, still_wanted};
use super::content_type::content_type;
use super::folder::{SourceFile, Stamp};
use super::head::entity_tag;
use super::links;
use super::plan::{Job, Source};
use crate::coding::Coding;
use std::borrow::Cow;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// A body in one coding.
#[derive(Debug)]
pub(super) struct MadeBody {
    pub(super) coding: Coding,
    pub(super) body: Body,
    pub(super) digest: blake3::Hash,
    pub(super) tag: String,
}

/// A job that is ready to be written.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) content_type: Option<Cow<'static, str>>,
    /// Identity first.
    pub(super) bodies: Vec<MadeBody>,
    /// Paths that its links lead to, each with the link as it is written.
    pub(super) links: Vec<(String, String)>,
    pub(super) took: Duration,
}

/// What making jobs needs.
pub(super) struct Maker<'m> {
    pub(super) files: &'m [SourceFile],
    pub(super) options: &'m PackOptions,
    pub(super) cache: Option<&'m Cache>,
    /// Where bodies are put that are too large for memory.
    pub(super) scratch_dir: &'m Path,
}

impl Maker<'_> {
    /// Returns how many bytes of memory a job needs, about.
    pub(super) fn cost(&self, job: &Job) -> u64 {
        let bytes = match &job.source {
            Source::File(number) if self.files[*number].bytes < LARGE_BYTES => {
                self.files[*number].bytes
            }
            Source::File(_) | Source::Nothing => 0,
            Source::Text(text, _) => text.len() as u64,
        };
        // The content and three codings of it, none of them larger.
        64 * 1024 + 4 * bytes
    }

    /// Makes a job ready; `is_over` says that it is not wanted any more.
    pub(super) fn make(&self, job: &Job, is_over: &AtomicBool) -> Result<Made, PackError> {
        let started = Instant::now();
        let (mut body, content_type) = match &job.source {
            Source::File(number) => {
                let file = &self.files[*number];
                (read(file)?, Some(content_type(&file.path)))
            }
            Source::Text(text, kind) => (Body::Memory(text.clone()), Some(Cow::Borrowed(*kind))),
            Source::Nothing => (Body::Memory(Vec::new()), None),
        };
        let digest = digest(&mut body, is_over).map_err(|error| self.failed(job, error))?;
        let is_compressible = content_type
            .as_deref()
            .is_some_and(compress::is_compressible);
        let mut coded = Vec::new();
        if is_compressible {
            let coder = Coder {
                effort: self.options.compression,
                cache: self.cache,
                scratch_dir: self.scratch_dir,
                is_over,
            };
            coded = compress::codings(&mut body, &digest, &coder)
                .map_err(|error| self.failed(job, error))?;
        }
        let links = self.links(job, &body);
        let mut bodies = vec![made_body(Coding::Identity, body, digest)];
        for (coding, mut body) in coded {
            let digest = self::digest(&mut body, is_over).map_err(|error| match error {
                // What was made is in memory, or in a file of our own.
                PassError::Source(error) | PassError::Sink(error) => self.not_written(error),
            })?;
            bodies.push(made_body(coding, body, digest));
        }
        Ok(Made {
            content_type,
            bodies,
            links,
            took: started.elapsed(),
        })
    }

    fn failed(&self, job: &Job, error: PassError<io::Error>) -> PackError {
        match (&job.source, error) {
            (Source::File(number), PassError::Source(error)) => {
                not_read(&self.files[*number], error)
            }
            (_, PassError::Source(error) | PassError::Sink(error)) => self.not_written(error),
        }
    }

    fn not_written(&self, error: io::Error) -> PackError {
        PackError::Output {
            path: self.scratch_dir.to_owned(),
            error,
        }
    }

    /// Returns whether a body that was read from its file again is still what the folder had.
    pub(super) fn is_unchanged(&self, job: &Job, made: &MadeBody) -> bool {
        match (&job.source, &made.body) {
            (Source::File(number), Body::File(file, _)) if made.coding == Coding::Identity => {
                has_stamp(file, self.files[*number].stamp)
            }
            _ => true,
        }
    }

    /// Returns what the links of a page lead to.
    fn links(&self, job: &Job, body: &Body) -> Vec<(String, String)> {
        let (Source::File(number), Body::Memory(bytes)) = (&job.source, body) else {
            return Vec::new();
        };
        let path = &self.files[*number].path;
        let is_page = path.ends_with(b".html") || path.ends_with(b".htm");
        match (is_page, str::from_utf8(bytes), str::from_utf8(path)) {
            (true, Ok(html), Ok(path)) => links::internal_links(html, path),
            _ => Vec::new(),
        }
    }
}

fn made_body(coding: Coding, body: Body, digest: blake3::Hash) -> MadeBody {
    MadeBody {
        coding,
        body,
        tag: entity_tag(&digest),
        digest,
    }
}

/// Opens a file; small ones are read.
fn read(source: &SourceFile) -> Result<Body, PackError> {
    let failed = |error| not_read(source, error);
    let mut file = File::open(&source.file).map_err(failed)?;
    let mut is_same = has_stamp(&file, source.stamp);
    if is_same && source.bytes >= LARGE_BYTES {
        return Ok(Body::File(file, source.bytes));
    }
    let mut content = Vec::with_capacity(source.bytes.min(LARGE_BYTES) as usize);
    // A file that grows meanwhile must not take all memory.
    let mut start = file.by_ref().take(LARGE_BYTES);
    start.read_to_end(&mut content).map_err(failed)?;
    is_same &= content.len() as u64 == source.bytes && has_stamp(&file, source.stamp);
    match is_same {
        true => Ok(Body::Memory(content)),
        false => Err(changed(source)),
    }
}

fn has_stamp(file: &File, stamp: Stamp) -> bool {
    file.metadata()
        .is_ok_and(|metadata| Stamp::of(&metadata) == stamp)
}

/// Says why a file of the folder cannot be read: it may have changed since the folder was read.
pub(super) fn not_read(source: &SourceFile, error: io::Error) -> PackError {
    match error.kind() {
        ErrorKind::UnexpectedEof | ErrorKind::NotFound => changed(source),
        _ => PackError::Unreadable {
            path: source.file.clone(),
            error,
        },
    }
}

fn changed(source: &SourceFile) -> PackError {
    PackError::Changed {
        path: source.file.clone(),
    }
}

fn digest(body: &mut Body, is_over: &AtomicBool) -> Result<blake3::Hash, PassError<io::Error>> {
    let mut hasher = blake3::Hasher::new();
    body.read(|piece| {
        hasher.update(piece);
        still_wanted(is_over)
    })?;
    Ok(hasher.finalize())
}
