//! Working `_redirects` into a plan.

use super::PackError;
use super::Warning;
use super::control::ControlFile;
use super::folder::SourceFile;
use super::head::Location;
use super::pattern::Compiled;
use super::plan::{self, FirstMatch, Output, Plan, Response, Source};
use super::policy::Policy;
use super::redirects::{Redirect, Target};
use std::collections::BTreeMap;

/// A rule that the server is to try.
#[derive(Debug)]
pub(super) struct PlannedRule {
    pub(super) compiled: Compiled,
    /// The page it leads to; `None` when the path decides.
    pub(super) page: Option<Response>,
}

/// Works the rules into `plan`; returns those that are left for the server.
pub(super) fn apply(
    plan: &mut Plan,
    rules: &[Redirect],
    file: &ControlFile,
    files: &[SourceFile],
    policy: &mut Policy<'_>,
    warnings: &mut Vec<Warning>,
) -> Result<Vec<PlannedRule>, PackError> {
    let first = FirstMatch::new(rules);
    let mut work = Work {
        first: &first,
        pages: plan.pages.clone(),
        plan,
        file,
        files,
        policy,
    };
    if rules.iter().any(|rule| rule.is_forced) {
        work.resolve_forced(rules)?;
    }
    work.add_paths(rules, warnings)?;
    let mut planned = Vec::new();
    for rule in rules.iter().filter(|rule| rule.path.is_none()) {
        let page = work.rule_page(rule)?;
        planned.push(PlannedRule {
            compiled: rule.compiled.clone(),
            page,
        });
    }
    Ok(planned)
}

struct Work<'p, 'o> {
    first: &'p FirstMatch<'p>,
    /// The pages that are there without rules: rules lead to these, never to each other.
    pages: BTreeMap<Vec<u8>, Response>,
    plan: &'p mut Plan,
    file: &'p ControlFile,
    files: &'p [SourceFile],
    policy: &'p mut Policy<'o>,
}

impl Work<'_, '_> {
    /// Puts rules with an exclamation mark in the place of pages.
    fn resolve_forced(&mut self, rules: &[Redirect]) -> Result<(), PackError> {
        let paths: Vec<Vec<u8>> = self.pages.keys().cloned().collect();
        for path in paths {
            let rule = self.first.of(&path).map(|number| &rules[number]);
            if let Some(rule) = rule.filter(|rule| rule.is_forced) {
                let response = self.resolve(rule, &path)?;
                self.plan.insert_by_rule(path, response);
            }
        }
        Ok(())
    }

    /// Makes pages of the rules for one path.
    fn add_paths(
        &mut self,
        rules: &[Redirect],
        warnings: &mut Vec<Warning>,
    ) -> Result<(), PackError> {
        for (number, rule) in rules.iter().enumerate() {
            let Some(path) = &rule.path else { continue };
            let winner = self.first.of(path).unwrap_or(number);
            if winner != number {
                warnings.push(Warning::RuleNeverApplies {
                    file: self.file.path.clone(),
                    line: rule.line,
                    from: rule.from.clone(),
                    before: rules[winner].line,
                });
                continue;
            }
            if self.pages.contains_key(path) && !rule.is_forced {
                warnings.push(Warning::RuleBehindPage {
                    file: self.file.path.clone(),
                    line: rule.line,
                    from: rule.from.clone(),
                });
            }
            let mut with_slash = path.clone();
            with_slash.push(b'/');
            for path in [path, &with_slash] {
                let is_free = !self.pages.contains_key(path) && self.first.of(path) == Some(number);
                if is_free && !path.starts_with(b"//") {
                    let response = self.resolve(rule, path)?;
                    self.plan.insert_by_rule(path.clone(), response);
                }
            }
        }
        Ok(())
    }

    /// Returns what a rule is for one path.
    fn resolve(&mut self, rule: &Redirect, path: &[u8]) -> Result<Response, PackError> {
        match &rule.target {
            Target::Moved { status, location } => {
                Ok(self
                    .plan
                    .add_redirect(*status, location.clone(), self.policy))
            }
            Target::MovedByPath { status } => {
                let mut before = rule.compiled.target(path, true).unwrap_or_default();
                let fragment = before.iter().position(|byte| *byte == b'#');
                let after = before.split_off(fragment.unwrap_or(before.len()));
                let location = Location {
                    is_open: !before.contains(&b'?'),
                    before,
                    after,
                };
                Ok(self.plan.add_redirect(*status, location, self.policy))
            }
            Target::Page { status, path: to } => match *status {
                200 => {
                    let source = self.source(rule, to)?;
                    Ok(self.plan.add(source, plan::page(self.policy, path)))
                }
                _ => self.error_page(rule, to),
            },
            Target::PageByPath => {
                let to = rule.compiled.target(path, false).unwrap_or_default();
                // As the server would do it: pages that rules hide are not there for rules.
                let is_hidden = self
                    .first
                    .of(&to)
                    .is_some_and(|number| self.first.rules[number].is_forced);
                match self.pages.get(&to) {
                    Some(response) if !is_hidden => Ok(*response),
                    _ => Ok(self
                        .plan
                        .add_error_page(404, b"/404.html", self.files, self.policy)),
                }
            }
        }
    }

    /// Returns the page of a rule that the server tries.
    fn rule_page(&mut self, rule: &Redirect) -> Result<Option<Response>, PackError> {
        match &rule.target {
            Target::Moved { status, location } => {
                let response = self
                    .plan
                    .add_redirect(*status, location.clone(), self.policy);
                Ok(Some(response))
            }
            Target::MovedByPath { status } => {
                let open = Location {
                    is_open: true,
                    ..Location::default()
                };
                let response = self.plan.add_redirect(*status, open, self.policy);
                Ok(Some(response))
            }
            Target::Page { status: 200, path } => {
                let source = self.source(rule, path)?;
                Ok(Some(self.plan.add(source, plan::page(self.policy, path))))
            }
            Target::Page { path, .. } => Ok(Some(self.error_page(rule, path)?)),
            Target::PageByPath => Ok(None),
        }
    }

    fn error_page(&mut self, rule: &Redirect, to: &[u8]) -> Result<Response, PackError> {
        let source = self.source(rule, to)?;
        let output = Output {
            status: 404,
            fields: self.policy.error_page(to),
            location: None,
        };
        Ok(self.plan.add(source, output))
    }

    /// Returns what the page at `to` is made of.
    fn source(&self, rule: &Redirect, to: &[u8]) -> Result<Source, PackError> {
        let page = self.pages.get(to).map(|page| &self.plan.jobs[page.job]);
        let is_page = |job: &&plan::Job| job.outputs.iter().any(|output| output.status == 200);
        match page.filter(is_page) {
            Some(job) => Ok(job.source.clone()),
            None => Err(self.file.error(
                rule.line,
                format!(
                    "{} leads to {}, which is no page of this folder: write the path of a file",
                    rule.from,
                    String::from_utf8_lossy(to)
                ),
            )),
        }
    }
}
