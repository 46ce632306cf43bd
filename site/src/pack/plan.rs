//! From a folder to what is to be written: which paths answer, and with which responses.
//!
//! A file answers under its path; `dir/index.html` also under `dir/`, with a redirect from `dir`;
//! `a.html` also under `a`. What is there under its own name comes first. Then `_redirects` is
//! worked in: a rule for one path becomes a page, and rules that come before pages (`!`) are
//! resolved for every page now, so that the server tries rules only where no page is.

use super::fields::FieldSet;
use super::folder::SourceFile;
use super::head::{self, Location};
use super::policy::Policy;
use super::redirects::Redirect;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// What a body is made of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Source {
    /// The file of this number.
    File(usize),
    /// Text made by the packer, and its type.
    Text(Vec<u8>, &'static str),
    /// Nothing, and no type.
    Nothing,
}

/// A response to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Output {
    pub(super) status: u16,
    pub(super) fields: Arc<FieldSet>,
    pub(super) location: Option<Location>,
}

/// A body and the responses that have it.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) source: Source,
    pub(super) outputs: Vec<Output>,
}

/// A response by its job and its place there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Response {
    pub(super) job: usize,
    pub(super) output: usize,
}

/// What a host's image is to have.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) jobs: Vec<Job>,
    pub(super) pages: BTreeMap<Vec<u8>, Response>,
    /// Those of `pages` that rules have made.
    pub(super) by_rule: HashSet<Vec<u8>>,
    jobs_of_texts: HashMap<Source, usize>,
}

impl Plan {
    /// Plans the pages of files, without rules.
    pub(super) fn of_files(
        files: &[SourceFile],
        has_clean_urls: bool,
        policy: &mut Policy<'_>,
    ) -> Plan {
        let mut plan = Plan::default();
        for (number, file) in files.iter().enumerate() {
            let response = plan.add(Source::File(number), page(policy, &file.path));
            plan.pages.insert(file.path.clone(), response);
        }
        for (number, file) in files.iter().enumerate() {
            if let Some(dir) = folder_of_index(&file.path) {
                let response = plan.add(Source::File(number), page(policy, dir));
                plan.pages.insert(dir.to_vec(), response);
            } else if has_clean_urls
                && let Some(clean) = file.path.strip_suffix(b".html")
                && !clean.ends_with(b"/")
                && !plan.pages.contains_key(clean)
            {
                let response = plan.add(Source::File(number), page(policy, clean));
                plan.pages.insert(clean.to_vec(), response);
            }
        }
        for file in files {
            if let Some(dir) = folder_of_index(&file.path) {
                plan.add_slash_redirect(dir, policy);
            }
        }
        plan
    }

    /// Puts a page that a rule makes under `path`.
    pub(super) fn insert_by_rule(&mut self, path: Vec<u8>, response: Response) {
        self.by_rule.insert(path.clone());
        self.pages.insert(path, response);
    }

    /// Adds the redirect from a folder's name to the folder, unless something has that name.
    pub(super) fn add_slash_redirect(&mut self, dir: &[u8], policy: &mut Policy<'_>) {
        let Some(bare) = dir.strip_suffix(b"/").filter(|bare| !bare.is_empty()) else {
            return;
        };
        if !self.pages.contains_key(bare) {
            let location = Location {
                before: head::percent_encode(dir),
                after: Vec::new(),
                is_open: true,
            };
            let response = self.add_redirect(301, location, policy);
            self.pages.insert(bare.to_vec(), response);
        }
    }

    /// Adds a redirect that has no path yet.
    pub(super) fn add_redirect(
        &mut self,
        status: u16,
        location: Location,
        policy: &mut Policy<'_>,
    ) -> Response {
        let output = Output {
            status,
            fields: policy.redirect(),
            location: Some(location),
        };
        self.add(plain_text(status), output)
    }

    /// Adds a response; one that is there already is not written twice.
    pub(super) fn add(&mut self, source: Source, output: Output) -> Response {
        let job = match (&source, self.jobs_of_texts.get(&source)) {
            (_, Some(job)) => *job,
            (_, None) => {
                let job = self.jobs.len();
                self.jobs_of_texts.insert(source.clone(), job);
                self.jobs.push(Job {
                    source,
                    outputs: Vec::new(),
                });
                job
            }
        };
        let outputs = &mut self.jobs[job].outputs;
        // Redirects by the thousand share a body; none is there twice.
        let known = match output.location {
            None => outputs.iter().position(|known| *known == output),
            Some(_) => None,
        };
        let output = known.unwrap_or_else(|| {
            outputs.push(output);
            outputs.len() - 1
        });
        Response { job, output }
    }

    /// Adds the page for a status from the folder's own file for it, or a plain one.
    pub(super) fn add_error_page(
        &mut self,
        status: u16,
        path: &[u8],
        files: &[SourceFile],
        policy: &mut Policy<'_>,
    ) -> Response {
        let own = files.binary_search_by(|file| file.path.as_slice().cmp(path));
        let source = own.map_or_else(|_| plain_text(status), Source::File);
        let output = Output {
            status,
            fields: policy.error_page(path),
            location: None,
        };
        self.add(source, output)
    }
}

/// Returns the text that says a status in words.
fn plain_text(status: u16) -> Source {
    let text = format!("{status} {}\n", head::reason(status));
    Source::Text(text.into_bytes(), "text/plain; charset=utf-8")
}

/// Returns the output of a page at `path`.
pub(super) fn page(policy: &mut Policy<'_>, path: &[u8]) -> Output {
    Output {
        status: 200,
        fields: policy.page(path),
        location: None,
    }
}

/// Returns the path of the folder whose index the file is.
fn folder_of_index(path: &[u8]) -> Option<&[u8]> {
    path.strip_suffix(b"index.html")
        .filter(|dir| dir.ends_with(b"/"))
}

/// Rules, to be asked which one is the first for a path.
pub(super) struct FirstMatch<'r> {
    pub(super) rules: &'r [Redirect],
    by_path: HashMap<&'r [u8], usize>,
    patterns: Vec<usize>,
}

impl<'r> FirstMatch<'r> {
    pub(super) fn new(rules: &'r [Redirect]) -> Self {
        let mut by_path = HashMap::new();
        let mut patterns = Vec::new();
        for (number, rule) in rules.iter().enumerate() {
            match &rule.path {
                Some(path) => {
                    by_path.entry(path.as_slice()).or_insert(number);
                }
                None => patterns.push(number),
            }
        }
        FirstMatch {
            rules,
            by_path,
            patterns,
        }
    }

    /// Returns the number of the first rule that matches.
    pub(super) fn of(&self, path: &[u8]) -> Option<usize> {
        let bare = match path.strip_suffix(b"/") {
            Some(bare) if !bare.is_empty() => bare,
            _ => path,
        };
        let exact = self.by_path.get(bare).copied();
        let before = exact.unwrap_or(usize::MAX);
        let pattern = self
            .patterns
            .iter()
            .take_while(|number| **number < before)
            .find(|number| self.rules[**number].compiled.matches(path));
        pattern.copied().or(exact)
    }
}
