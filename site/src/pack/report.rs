//! What a pack came to: the summary, and what may not be as it was meant.

use super::shown::Shown;
use crate::coding::Coding;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// What was packed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    /// Files packed.
    pub files: u64,
    /// Bytes of these files.
    pub content_bytes: u64,
    /// Paths that answer, redirects and folders with an index.html counted too.
    pub pages: u64,
    /// Rules that are left for the server to try.
    pub rules: u64,
    /// Hosts.
    pub hosts: u64,
    /// Names left out because they start with a dot.
    pub hidden_names: u64,
    /// Bytes of the image.
    pub image_bytes: u64,
    /// Whether `/` answers: the top folder has an index.html.
    pub has_front_page: bool,
    /// What each coding came to, in the order gzip, br, zstd.
    pub codings: [CodingSummary; 3],
    /// The files that took longest, the slowest first.
    pub slowest: Vec<(PathBuf, Duration)>,
    /// What may not be as it was meant.
    pub warnings: Vec<Warning>,
}

/// What a coding came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CodingSummary {
    /// Files that have it.
    pub files: u64,
    /// Bytes of these files as they are.
    pub content_bytes: u64,
    /// Bytes of them in the coding.
    pub coded_bytes: u64,
}

impl Summary {
    /// Counts a file's coding.
    pub(super) fn count_coding(&mut self, coding: Coding, content_bytes: u64, coded_bytes: u64) {
        let place = (coding as usize).saturating_sub(1).min(2);
        let counted = &mut self.codings[place];
        counted.files += 1;
        counted.content_bytes += content_bytes;
        counted.coded_bytes += coded_bytes;
    }

    /// Counts how long a file took.
    pub(super) fn count_time(&mut self, file: PathBuf, took: Duration) {
        const SLOWEST: usize = 5;
        let place = self.slowest.partition_point(|(_, other)| *other >= took);
        if place < SLOWEST {
            self.slowest.insert(place, (file, took));
            self.slowest.truncate(SLOWEST);
        }
    }
}

/// How far a pack is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Files done.
    pub files: u64,
    /// Files to be done.
    pub all_files: u64,
    /// Bytes of files done.
    pub bytes: u64,
    /// Bytes of files to be done.
    pub all_bytes: u64,
}

/// Something that may not be as it was meant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Warning {
    /// A rule comes behind one that matches the same.
    RuleNeverApplies {
        /// The file of rules.
        file: PathBuf,
        /// The rule's line.
        line: usize,
        /// What it is for.
        from: String,
        /// The line of the rule before it.
        before: usize,
    },
    /// A rule is for a page that is there.
    RuleBehindPage {
        /// The file of rules.
        file: PathBuf,
        /// The rule's line.
        line: usize,
        /// What it is for.
        from: String,
    },
    /// A link leads to no page.
    BrokenLink {
        /// The file that has it.
        file: PathBuf,
        /// The link as it is written.
        link: String,
    },
    /// Two names differ in the case of letters only.
    SameButCase {
        /// One file.
        file: PathBuf,
        /// The other.
        other: PathBuf,
    },
    /// A file is very large.
    Large {
        /// The file.
        file: PathBuf,
        /// Its length.
        bytes: u64,
    },
    /// A file's type is not known.
    UnknownType {
        /// The file.
        file: PathBuf,
    },
    /// The top folder has no index.html.
    NoFrontPage {
        /// The folder.
        dir: PathBuf,
    },
}

impl Warning {
    /// Returns a word for warnings of this kind, to show a few of each.
    pub fn kind(&self) -> &'static str {
        match self {
            Warning::RuleNeverApplies { .. } => "rules that never apply",
            Warning::RuleBehindPage { .. } => "rules behind pages",
            Warning::BrokenLink { .. } => "broken links",
            Warning::SameButCase { .. } => "names that differ in case only",
            Warning::Large { .. } => "very large files",
            Warning::UnknownType { .. } => "files of unknown type",
            Warning::NoFrontPage { .. } => "folders without front page",
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::RuleNeverApplies {
                file,
                line,
                from,
                before,
            } => write!(
                f,
                "{}:{line}: {from} never applies: line {before} matches it first; move it up, or \
                 take it out",
                Shown(file)
            ),
            Warning::RuleBehindPage { file, line, from } => write!(
                f,
                "{}:{line}: {from} is there as a page and comes first; write ! behind the status \
                 to let the rule come first",
                Shown(file)
            ),
            Warning::BrokenLink { file, link } => {
                write!(f, "{}: {link} leads to no page", Shown(file))
            }
            Warning::SameButCase { file, other } => write!(
                f,
                "{} and {} differ in the case of letters only: here they are two paths, elsewhere they \
                 may be one file",
                Shown(file),
                Shown(other)
            ),
            Warning::Large { file, bytes } => write!(
                f,
                "{}: {} MiB, held in the guest's memory as long as it runs",
                Shown(file),
                bytes >> 20
            ),
            Warning::UnknownType { file } => write!(
                f,
                "{}: type not known, served as application/octet-stream; _headers can set \
                 Content-Type",
                Shown(file)
            ),
            Warning::NoFrontPage { dir } => {
                write!(f, "{}: no index.html, so / is not found", Shown(dir))
            }
        }
    }
}
