//! One job made ready: its body read, hashed and coded.

use super::PackError;
use super::PackOptions;
use super::cache::Cache;
use super::compress::{self, Body, LARGE_BYTES};
use super::content_type::content_type;
use super::folder::SourceFile;
use super::head::entity_tag;
use super::links;
use super::plan::{Job, Source};
use crate::coding::Coding;
use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
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

    /// Makes a job ready.
    pub(super) fn make(&self, job: &Job) -> Result<Made, PackError> {
        let started = Instant::now();
        let (mut body, content_type) = match &job.source {
            Source::File(number) => {
                let file = &self.files[*number];
                let body = read(file).map_err(|error| PackError::Unreadable {
                    path: file.file.clone(),
                    error,
                })?;
                (body, Some(content_type(&file.path)))
            }
            Source::Text(text, kind) => (Body::Memory(text.clone()), Some(Cow::Borrowed(*kind))),
            Source::Nothing => (Body::Memory(Vec::new()), None),
        };
        let failed = |error| self.failed(job, error);
        let digest = digest(&mut body).map_err(failed)?;
        let is_compressible = content_type
            .as_deref()
            .is_some_and(compress::is_compressible);
        let mut coded = Vec::new();
        if is_compressible {
            let effort = self.options.compression;
            coded = compress::codings(&mut body, &digest, effort, self.cache, self.scratch_dir)
                .map_err(failed)?;
        }
        let links = self.links(job, &body);
        let mut bodies = vec![made_body(Coding::Identity, body, digest)];
        for (coding, mut body) in coded {
            let digest = self::digest(&mut body).map_err(failed)?;
            bodies.push(made_body(coding, body, digest));
        }
        Ok(Made {
            content_type,
            bodies,
            links,
            took: started.elapsed(),
        })
    }

    fn failed(&self, job: &Job, error: io::Error) -> PackError {
        match &job.source {
            Source::File(number) => PackError::Unreadable {
                path: self.files[*number].file.clone(),
                error,
            },
            Source::Text(..) | Source::Nothing => PackError::Output {
                path: self.scratch_dir.to_owned(),
                error,
            },
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
fn read(source: &SourceFile) -> io::Result<Body> {
    let mut file = File::open(&source.file)?;
    let bytes = file.metadata()?.len();
    if bytes >= LARGE_BYTES {
        return Ok(Body::File(file, bytes));
    }
    let mut content = Vec::with_capacity(bytes as usize);
    // A file that grows meanwhile must not take all memory.
    file.by_ref().take(LARGE_BYTES).read_to_end(&mut content)?;
    Ok(Body::Memory(content))
}

fn digest(body: &mut Body) -> io::Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    body.read(|chunk| {
        hasher.update(chunk);
        io::Result::Ok(())
    })?;
    Ok(hasher.finalize())
}
