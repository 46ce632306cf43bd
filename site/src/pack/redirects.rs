//! `_redirects`: rules that say what answers for a path, in the form of Netlify and Cloudflare
//! Pages.
//!
//! ```text
//! # from          to                  status
//! /old            /new                301
//! /news/*         /blog/:splat        302
//! /u/:name        /users/:name.html   200
//! /app/*          /app/index.html     200
//! ```
//!
//! The first rule that matches is the one. A page that is there comes before it, unless the status
//! has an exclamation mark. Without a status it is 301 (which browsers here ask about each time,
//! so it can be taken back). A request's query goes along, unless the target has one.

use super::PackError;
use super::control::ControlFile;
use super::head::Location;
use super::pattern::{Compiled, Part, Pattern, target_parts, uri_bytes};
use crate::limits::MAX_RULES;
use crate::records::{ACTION_LOOKUP, ACTION_MOVED, ACTION_PAGE};

/// What a rule leads to.
#[derive(Debug, Clone)]
pub(super) enum Target {
    /// A place that is known now.
    Moved { status: u16, location: Location },
    /// A place that the path decides.
    MovedByPath { status: u16 },
    /// This page of the folder, with this status: 200 or 404.
    Page { status: u16, path: Vec<u8> },
    /// A page that the path decides.
    PageByPath,
}

/// A rule of `_redirects`.
#[derive(Debug, Clone)]
pub(super) struct Redirect {
    pub(super) line: usize,
    /// As it is written.
    pub(super) from: String,
    /// The path, if the rule is for one only.
    pub(super) path: Option<Vec<u8>>,
    pub(super) target: Target,
    /// Whether it comes before pages that are there.
    pub(super) is_forced: bool,
    pub(super) compiled: Compiled,
}

/// Reads the rules, in order.
pub(super) fn parse(file: &ControlFile) -> Result<Vec<Redirect>, PackError> {
    let mut rules = Vec::new();
    let mut patterns = 0;
    for (number, line) in file.lines() {
        file.check_line(number, line)?;
        let rule = rule(number, line).map_err(|problem| file.error(number, problem))?;
        patterns += usize::from(rule.path.is_none());
        if patterns > MAX_RULES {
            return Err(file.error(
                number,
                format!("more than {MAX_RULES} rules with * or placeholders: join some"),
            ));
        }
        rules.push(rule);
    }
    Ok(rules)
}

fn rule(line: usize, text: &str) -> Result<Redirect, String> {
    let mut words: Vec<&str> = text.split_whitespace().collect();
    if let Some(comment) = words.iter().position(|word| word.starts_with('#')) {
        words.truncate(comment);
    }
    let mut words = words.into_iter();
    let from = words.next().unwrap_or_default();
    let pattern = Pattern::parse(from)?;
    let Some(to) = words.next() else {
        return Err(format!("{from} has no target: write FROM TO [STATUS]"));
    };
    if to.contains('=') && !to.starts_with('/') && !to.contains("://") {
        return Err(format!(
            "{to}: rules by query are not supported: a query goes along by itself"
        ));
    }
    let (status, is_forced) = match words.next() {
        None => (301, false),
        Some(word) => status(word)?,
    };
    if let Some(word) = words.next() {
        return Err(match word.contains('=') {
            true => format!("{word}: conditions are not supported: take them out"),
            false => format!("{word}: one word too many: write FROM TO [STATUS]"),
        });
    }
    let (target, action, parts) = target(to, status, &pattern)?;
    if let Target::Moved { location, .. } = &target
        && pattern.as_path() == Some(&location.before)
    {
        return Err(format!("{from} leads to itself: take the line out"));
    }
    Ok(Redirect {
        line,
        from: from.to_owned(),
        path: pattern.as_path().map(<[u8]>::to_vec),
        target,
        is_forced,
        compiled: Compiled::new(&pattern, &parts, action),
    })
}

fn status(word: &str) -> Result<(u16, bool), String> {
    let (digits, is_forced) = match word.strip_suffix('!') {
        Some(digits) => (digits, true),
        None => (word, false),
    };
    match digits.parse() {
        Ok(status @ (200 | 301 | 302 | 303 | 307 | 308 | 404)) => Ok((status, is_forced)),
        _ => Err(format!(
            "status {word}: give 200, 301, 302, 303, 307, 308 or 404, with ! to come before pages \
             that are there"
        )),
    }
}

/// Reads a target; returns it with the rule's action and the target's parts.
fn target(to: &str, status: u16, pattern: &Pattern) -> Result<(Target, u8, Vec<Part>), String> {
    let is_elsewhere = to.starts_with("http://") || to.starts_with("https://");
    let is_location = (300..400).contains(&status);
    if !is_location && is_elsewhere {
        return Err(format!(
            "{to}: status {status} is for pages of this folder: give 301 or 302 (nothing is fetched \
             from other servers)"
        ));
    }
    if !is_elsewhere && (!to.starts_with('/') || to.starts_with("//")) {
        return Err(format!("{to}: start with / or https://"));
    }
    if !is_location && to.contains(['?', '#']) {
        return Err(format!("{to}: a path only, without ? and #"));
    }
    let parts = target_parts(to, pattern, is_location)?;
    let is_by_path = parts.iter().any(|part| matches!(part, Part::Capture(_)));
    match (is_location, is_by_path) {
        (true, true) => Ok((Target::MovedByPath { status }, ACTION_MOVED, parts)),
        (true, false) => {
            let (before, after) = to.split_at(to.find('#').unwrap_or(to.len()));
            let location = Location {
                before: uri_bytes(before),
                after: uri_bytes(after),
                is_open: !before.contains('?'),
            };
            Ok((Target::Moved { status, location }, ACTION_PAGE, Vec::new()))
        }
        (false, true) if status == 404 => Err(format!(
            "{to}: status 404 is for one page: take the placeholders out"
        )),
        (false, true) => Ok((Target::PageByPath, ACTION_LOOKUP, parts)),
        (false, false) => {
            let path = match parts.into_iter().next() {
                Some(Part::Literal(path)) => path,
                _ => b"/".to_vec(),
            };
            Ok((Target::Page { status, path }, ACTION_PAGE, Vec::new()))
        }
    }
}
