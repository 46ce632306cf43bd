//! `_headers`: field lines for paths, in the form of Netlify and Cloudflare Pages.
//!
//! ```text
//! /assets/*
//!   Cache-Control: public, max-age=31536000, immutable
//! /*
//!   X-Frame-Options: DENY
//!   ! Access-Control-Allow-Origin
//! ```
//!
//! Every rule that matches a page's path applies, in order. A value takes the place of ours and is
//! joined to that of an earlier rule with a comma; `! Name` takes a field out.

use super::PackError;
use super::control::ControlFile;
use super::fields::FieldSet;
use super::pattern::{Compiled, Pattern};
use crate::limits::MAX_HEAD_BYTES;
use crate::records::ACTION_PAGE;

/// Rules of one file, at most.
const MAX_HEADER_RULES: usize = 1000;

/// Fields that describe the message and that only the packer or the server can know.
const OURS: [&str; 15] = [
    "accept-ranges",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "date",
    "etag",
    "keep-alive",
    "last-modified",
    "location",
    "server",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

#[derive(Debug, Clone, PartialEq, Eq)]
enum Change {
    Add(String, String),
    Remove(String),
}

/// A rule of `_headers`.
#[derive(Debug, Clone)]
struct HeaderRule {
    line: usize,
    pattern: Compiled,
    changes: Vec<Change>,
}

/// The rules of a `_headers` file.
#[derive(Debug, Clone, Default)]
pub(super) struct HeaderRules {
    rules: Vec<HeaderRule>,
}

impl HeaderRules {
    /// Changes the fields of the page at `path`.
    pub(super) fn apply(&self, path: &[u8], fields: &mut FieldSet) {
        let mut is_set: Vec<&str> = Vec::new();
        for rule in self.rules.iter().filter(|rule| rule.pattern.matches(path)) {
            for change in &rule.changes {
                match change {
                    Change::Remove(name) => {
                        fields.remove(name);
                        is_set.retain(|known| !known.eq_ignore_ascii_case(name));
                    }
                    Change::Add(name, value) => {
                        if !is_set.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                            fields.remove(name);
                            is_set.push(name);
                        }
                        fields.add(name, value);
                    }
                }
            }
        }
    }
}

/// Reads the rules, in order.
pub(super) fn parse(file: &ControlFile) -> Result<HeaderRules, PackError> {
    let mut rules: Vec<HeaderRule> = Vec::new();
    for (number, line) in file.lines() {
        file.check_line(number, line)?;
        if !line.starts_with([' ', '\t']) {
            check_last(file, &rules)?;
            if rules.len() == MAX_HEADER_RULES {
                let problem = format!("more than {MAX_HEADER_RULES} rules: join some");
                return Err(file.error(number, problem));
            }
            let text = line.trim_end();
            if text.contains(char::is_whitespace) || text.ends_with(':') {
                let problem = format!("{text}: a path, and fields indented below it");
                return Err(file.error(number, problem));
            }
            let pattern = Pattern::parse(text).map_err(|problem| file.error(number, problem))?;
            rules.push(HeaderRule {
                line: number,
                pattern: Compiled::new(&pattern, &[], ACTION_PAGE),
                changes: Vec::new(),
            });
        } else {
            let change = change(line.trim()).map_err(|problem| file.error(number, problem))?;
            match rules.last_mut() {
                Some(rule) => rule.changes.push(change),
                None => {
                    let problem = "a field without a path above it: start with a line like /*";
                    return Err(file.error(number, problem));
                }
            }
        }
    }
    check_last(file, &rules)?;
    Ok(HeaderRules { rules })
}

/// Refuses a path without fields.
fn check_last(file: &ControlFile, rules: &[HeaderRule]) -> Result<(), PackError> {
    match rules.last() {
        Some(rule) if rule.changes.is_empty() => Err(file.error(
            rule.line,
            "no fields for this path: indent them on the lines below it",
        )),
        _ => Ok(()),
    }
}

fn change(text: &str) -> Result<Change, String> {
    if let Some(name) = text.strip_prefix('!') {
        let name = name.trim();
        check_name(name)?;
        return Ok(Change::Remove(name.to_owned()));
    }
    let Some((name, value)) = text.split_once(':') else {
        return Err(format!(
            "{text}: write NAME: VALUE, or ! NAME to take a field out"
        ));
    };
    let (name, value) = (name.trim_end(), value.trim());
    check_name(name)?;
    if value.is_empty() {
        return Err(format!(
            "{name} has no value: write one, or ! {name} to take it out"
        ));
    }
    if !value.is_ascii() {
        return Err(format!("{name}: letters of ASCII only (RFC 9110 §5.5)"));
    }
    if value.len() > MAX_HEAD_BYTES / 4 {
        return Err(format!("{name}: the value is too long: shorten it"));
    }
    Ok(Change::Add(name.to_owned(), value.to_owned()))
}

fn check_name(name: &str) -> Result<(), String> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(format!(
            "{name:?} is no name of a field: letters, digits and hyphens"
        ));
    }
    match OURS.iter().find(|ours| name.eq_ignore_ascii_case(ours)) {
        Some(_) => Err(format!(
            "{name} is written by the server itself: take the line out"
        )),
        None => Ok(()),
    }
}
