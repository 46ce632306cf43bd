//! One host written into the image: planned, made ready, and put down in order.

use super::compress::{Body, PassError};
use super::control::ControlFile;
use super::folder::{Folder, SourceFile};
use super::head::{self, HeadSpec};
use super::image::{ImageWriter, NewPage, VariantSet, WriteError};
use super::make::{Made, MadeBody, Maker, not_read};
use super::pipeline::Step;
use super::plan::{self, Job, Output, Plan, Response, Source};
use super::policy::Policy;
use super::rewrite::{self, PlannedRule};
use super::{PackError, PackOptions, Progress, Summary, Warning};
use super::{headers, listing, pipeline, redirects};
use crate::coding::Coding;
use crate::records::{HostRecord, LITERAL, PartRecord, RuleRecord};
use std::collections::HashMap;
use std::io::{Seek, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// A file of this size is worth a word, in bytes.
const LARGE_FILE_BYTES: u64 = 100 << 20;

/// A host to be packed.
#[derive(Debug)]
pub(super) struct HostFolder {
    pub(super) dir: PathBuf,
    pub(super) names: Vec<String>,
    pub(super) folder: Folder,
}

/// Everything that writing a host changes.
pub(super) struct Writing<'w, W> {
    pub(super) image: ImageWriter<W>,
    /// The image's name, for errors.
    pub(super) name: &'w Path,
    pub(super) summary: Summary,
    pub(super) progress: Progress,
    pub(super) show: &'w mut dyn FnMut(&Progress) -> ControlFlow<()>,
}

/// Responses that have no path.
struct Fixed {
    not_found: Response,
    unavailable: Response,
    options: Response,
}

/// Writes a host.
pub(super) fn write_host<W: Write + Seek>(
    number: u16,
    host: &HostFolder,
    maker: &Maker<'_>,
    writing: &mut Writing<'_, W>,
) -> Result<(), PackError> {
    let files = &host.folder.files;
    let options = maker.options;
    let header_rules = match ControlFile::read(&host.dir, "_headers")? {
        Some(file) => headers::parse(&file)?,
        None => headers::HeaderRules::default(),
    };
    let mut policy = Policy::new(options, header_rules);
    let mut plan = Plan::of_files(files, options.has_clean_urls, &mut policy);
    if options.has_listing {
        add_listing(&mut plan, files, options, &mut policy);
    }
    let mut rules = Vec::new();
    if let Some(file) = ControlFile::read(&host.dir, "_redirects")? {
        let parsed = redirects::parse(&file)?;
        let warnings = &mut writing.summary.warnings;
        rules = rewrite::apply(&mut plan, &parsed, &file, files, &mut policy, warnings)?;
    }
    let fixed = Fixed {
        not_found: plan.add_error_page(404, b"/404.html", files, &mut policy),
        unavailable: plan.add_error_page(503, b"/50x.html", files, &mut policy),
        options: plan.add(
            Source::Nothing,
            Output {
                status: 204,
                fields: policy.options(),
                location: None,
            },
        ),
    };
    warn_of_files(host, &mut writing.summary.warnings);
    let written = writing.write_jobs(&plan, &rules, maker)?;
    writing
        .add_host(number, host, &plan, &rules, &fixed, &written)
        .map_err(|error| writing.explain(error))
}

fn add_listing(
    plan: &mut Plan,
    files: &[SourceFile],
    options: &PackOptions,
    policy: &mut Policy<'_>,
) {
    for (dir, entries) in listing::folders(files) {
        if !plan.pages.contains_key(&dir) {
            let html = listing::page(&dir, &entries, options.last_modified);
            let source = Source::Text(html, "text/html; charset=utf-8");
            let response = plan.add(source, plan::page(policy, &dir));
            plan.pages.insert(dir.clone(), response);
            plan.add_slash_redirect(&dir, policy);
        }
    }
}

/// Warns of what can be seen without reading the files.
fn warn_of_files(host: &HostFolder, warnings: &mut Vec<Warning>) {
    let mut by_lower: HashMap<Vec<u8>, &SourceFile> = HashMap::new();
    for file in &host.folder.files {
        let path = file.file.clone();
        if file.bytes >= LARGE_FILE_BYTES {
            warnings.push(Warning::Large {
                file: path.clone(),
                bytes: file.bytes,
            });
        }
        if super::content_type::known_content_type(&file.path).is_none() {
            warnings.push(Warning::UnknownType { file: path.clone() });
        }
        let lower = String::from_utf8_lossy(&file.path).to_lowercase();
        if let Some(other) = by_lower.insert(lower.into_bytes(), file) {
            warnings.push(Warning::SameButCase {
                file: other.file.clone(),
                other: path,
            });
        }
    }
}

fn go_on(flow: ControlFlow<()>) -> Result<(), PackError> {
    match flow {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(PackError::Stopped),
    }
}

impl<W: Write + Seek> Writing<'_, W> {
    fn explain(&self, error: WriteError) -> PackError {
        error.explain(self.name)
    }

    /// Writes every response; returns them by job and output.
    fn write_jobs(
        &mut self,
        plan: &Plan,
        rules: &[PlannedRule],
        maker: &Maker<'_>,
    ) -> Result<Vec<Vec<NewPage>>, PackError> {
        let costs: Vec<u64> = plan.jobs.iter().map(|job| maker.cost(job)).collect();
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let mut written = Vec::with_capacity(plan.jobs.len());
        pipeline::run(
            &costs,
            threads,
            |number, is_over| maker.make(&plan.jobs[number], is_over),
            |step| {
                let Step::Made(number, mut made) = step else {
                    return self.show();
                };
                let job = &plan.jobs[number];
                let pages = job
                    .outputs
                    .iter()
                    .map(|output| self.write_output(job, output, &mut made, maker))
                    .collect::<Result<_, _>>()?;
                written.push(pages);
                self.count(job, &made, plan, rules, maker);
                self.show()
            },
        )?;
        Ok(written)
    }

    /// Writes one response in all its codings.
    fn write_output(
        &mut self,
        job: &Job,
        output: &Output,
        made: &mut Made,
        maker: &Maker<'_>,
    ) -> Result<NewPage, PackError> {
        let is_page = output.status == 200;
        let modified = match &job.source {
            Source::File(number) if is_page => {
                let own = maker.files[*number].modified;
                Some(maker.options.last_modified.unwrap_or(own))
            }
            _ => None,
        };
        let varies = made.bodies.len() > 1;
        let mut variants = Vec::with_capacity(made.bodies.len());
        for made_body in &mut made.bodies {
            let body_bytes = made_body.body.len();
            let head = head::compose(&HeadSpec {
                status: output.status,
                body_bytes: (output.status != 204).then_some(body_bytes),
                content_type: made.content_type.as_deref(),
                coding: made_body.coding,
                etag: is_page.then_some(made_body.tag.as_str()),
                modified,
                location: output.location.as_ref(),
                fields: &output.fields,
                varies,
            });
            let head = head.map_err(|error| self.explain(error.into()))?;
            let record = self
                .image
                .start_response(&head, body_bytes)
                .map_err(|error| self.explain(error))?;
            self.copy_body(job, made_body, maker)?;
            variants.push(record);
        }
        let variants = self.add_variants(&variants)?;
        Ok(NewPage {
            status: output.status,
            modified,
            variants,
        })
    }

    /// Copies a body, which must still be what was hashed.
    fn copy_body(
        &mut self,
        job: &Job,
        made: &mut MadeBody,
        maker: &Maker<'_>,
    ) -> Result<(), PackError> {
        let Writing {
            image,
            name,
            progress,
            show,
            ..
        } = self;
        let mut hasher = match made.body {
            Body::Memory(_) => None,
            // It is read a second time here.
            Body::File(..) => Some(blake3::Hasher::new()),
        };
        let copied = made.body.read(|piece| {
            if let Some(hasher) = &mut hasher {
                hasher.update(piece);
                go_on(show(progress))?;
            }
            image.write_body(piece).map_err(|error| error.explain(name))
        });
        match (copied, &job.source) {
            (Ok(()), _) => {}
            (Err(PassError::Sink(error)), _) => return Err(error),
            (Err(PassError::Source(error)), Source::File(number))
                if made.coding == Coding::Identity =>
            {
                return Err(not_read(&maker.files[*number], error));
            }
            (Err(PassError::Source(error)), _) => {
                return Err(self.explain(error.into()));
            }
        }
        let is_same = hasher.is_none_or(|hasher| hasher.finalize() == made.digest);
        match is_same && maker.is_unchanged(job, made) {
            true => Ok(()),
            false => Err(self.changed(job, maker)),
        }
    }

    /// Shows how far it is.
    fn show(&mut self) -> Result<(), PackError> {
        go_on((self.show)(&self.progress))
    }

    fn add_variants(
        &mut self,
        variants: &[crate::records::VariantRecord],
    ) -> Result<VariantSet, PackError> {
        let added = self.image.add_variants(variants);
        added.map_err(|error| self.explain(error))
    }

    fn changed(&self, job: &Job, maker: &Maker<'_>) -> PackError {
        let path = match &job.source {
            Source::File(number) => maker.files[*number].file.clone(),
            Source::Text(..) | Source::Nothing => self.name.to_owned(),
        };
        PackError::Changed { path }
    }

    /// Counts a job that is written, and warns of links that lead nowhere.
    fn count(
        &mut self,
        job: &Job,
        made: &Made,
        plan: &Plan,
        rules: &[PlannedRule],
        maker: &Maker<'_>,
    ) {
        let Source::File(number) = &job.source else {
            return;
        };
        let file = &maker.files[*number].file;
        let identity = made.bodies.first().map_or(0, |made| made.body.len());
        self.summary.files += 1;
        self.summary.content_bytes += identity;
        for coded in made
            .bodies
            .iter()
            .filter(|made| made.coding != Coding::Identity)
        {
            self.summary
                .count_coding(coded.coding, identity, coded.body.len());
        }
        self.summary.count_time(file.clone(), made.took);
        for (path, link) in &made.links {
            let path = path.as_bytes();
            let is_known = plan.pages.contains_key(path)
                || rules.iter().any(|rule| rule.compiled.matches(path));
            if !is_known {
                self.summary.warnings.push(Warning::BrokenLink {
                    file: file.clone(),
                    link: link.clone(),
                });
            }
        }
        self.progress.files += 1;
        self.progress.bytes += identity;
    }

    /// Adds pages, rules and the host's record.
    fn add_host(
        &mut self,
        number: u16,
        host: &HostFolder,
        plan: &Plan,
        rules: &[PlannedRule],
        fixed: &Fixed,
        written: &[Vec<NewPage>],
    ) -> Result<(), WriteError> {
        let page_of = |response: &Response| &written[response.job][response.output];
        let image = &mut self.image;
        for (path, response) in &plan.pages {
            let is_by_rule = plan.by_rule.contains(path);
            image.add_page(number, path, page_of(response), is_by_rule)?;
        }
        let mut fixed_page =
            |response: &Response| image.add_page(number, b"", page_of(response), false);
        let not_found = fixed_page(&fixed.not_found)?;
        let record = HostRecord {
            not_found,
            unavailable: fixed_page(&fixed.unavailable)?,
            options: fixed_page(&fixed.options)?,
            first_rule: image.rule_count(),
            rule_count: rules.len() as u32,
        };
        for rule in rules {
            let page = match &rule.page {
                Some(response) => image.add_page(number, b"", page_of(response), false)?,
                None => not_found,
            };
            let mut parts = Vec::new();
            for (part, text) in rule.compiled.parts() {
                let at = match part.kind {
                    LITERAL => image.add_text(text),
                    _ => part.at,
                };
                parts.push(PartRecord { at, ..part });
            }
            let first_part = image.add_parts(&parts);
            image.add_rule(RuleRecord {
                first_part,
                page,
                ..rule.compiled.rule
            });
        }
        image.add_host(record, &host.names);
        let summary = &mut self.summary;
        summary.hosts += 1;
        summary.rules += rules.len() as u64;
        summary.hidden_names += host.folder.hidden_names;
        let has_front_page = plan.pages.contains_key(&b"/"[..]);
        if number == 0 {
            summary.has_front_page = has_front_page;
        }
        if !has_front_page {
            summary.warnings.push(Warning::NoFrontPage {
                dir: host.dir.clone(),
            });
        }
        Ok(())
    }
}
