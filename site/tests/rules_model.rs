//! `_redirects` beside a model that goes through the lines one by one with regular expressions.

mod support;

use regex::Regex;
use site::Site;
use site::pack::pack_to_vec;
use std::collections::BTreeMap;
use support::{answer, fixed, folder};

const FILES: [(&str, &[u8]); 6] = [
    ("index.html", b"front"),
    ("a.html", b"a"),
    ("404.html", b"lost"),
    ("d/index.html", b"d"),
    ("d/b.html", b"d/b"),
    ("x/a", b"x/a"),
];

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % bound
    }

    fn pick<'t>(&mut self, choices: &[&'t str]) -> &'t str {
        choices[self.below(choices.len())]
    }
}

/// What every path answers without rules.
fn pages() -> BTreeMap<String, String> {
    let mut pages = BTreeMap::new();
    for (name, content) in FILES {
        let page = format!("200 {}", String::from_utf8_lossy(content));
        pages.insert(format!("/{name}"), page.clone());
        if let Some(dir) = name.strip_suffix("index.html") {
            pages.insert(format!("/{dir}"), page);
            if let Some(bare) = dir.strip_suffix('/') {
                pages.insert(format!("/{bare}"), format!("301 /{dir}"));
            }
        } else if let Some(clean) = name.strip_suffix(".html") {
            pages.insert(format!("/{clean}"), page);
        }
    }
    pages
}

struct Rule {
    line: String,
    expression: Regex,
    /// What the groups of the expression are called.
    names: Vec<String>,
    target: String,
    status: u16,
    is_forced: bool,
}

impl Rule {
    fn random(random: &mut Random) -> Rule {
        let (mut from, mut expression, mut names) = (String::new(), "^".to_owned(), Vec::new());
        for number in 0..random.below(4) {
            if random.below(3) == 0 {
                names.push(format!("p{number}"));
                from.push_str(&format!("/:p{number}"));
                expression.push_str("/([^/]+)");
            } else {
                let name = random.pick(&["a", "d", "x", "old", "b"]);
                from.push_str(&format!("/{name}"));
                expression.push_str(&format!("/{name}"));
            }
        }
        if random.below(3) == 0 {
            names.push("splat".to_owned());
            from.push_str("/*");
            expression.push_str("(?:/(.*)|())$");
        } else if from.is_empty() {
            from.push('/');
            expression.push_str("/$");
        } else {
            expression.push_str("/?$");
        }
        let status = [200, 301, 302, 307][random.below(4)];
        let mut target = String::new();
        for _ in 0..=random.below(2) {
            target.push('/');
            match names.is_empty() || random.below(2) == 0 {
                true => target.push_str(random.pick(&["a", "d", "x", "b", "new"])),
                false => {
                    target.push(':');
                    target.push_str(&names[random.below(names.len())]);
                }
            }
        }
        if status == 200 && !target.contains(':') {
            // A page that is there, or the file is refused.
            target = random
                .pick(&["/a", "/d/", "/index.html", "/x/a"])
                .to_owned();
        }
        let is_forced = random.below(3) == 0;
        let mark = if is_forced { "!" } else { "" };
        Rule {
            line: format!("{from} {target} {status}{mark}"),
            expression: Regex::new(&expression).unwrap(),
            names,
            target,
            status,
            is_forced,
        }
    }

    /// Returns the target for a path that matches.
    fn target_of(&self, path: &str) -> String {
        let groups = self.expression.captures(path).unwrap();
        let groups: Vec<&str> = groups
            .iter()
            .skip(1)
            .flatten()
            .map(|g| g.as_str())
            .collect();
        let mut target = String::new();
        for segment in self.target.split('/').skip(1) {
            target.push('/');
            match segment.strip_prefix(':') {
                Some(name) => {
                    let group = self.names.iter().position(|known| known == name);
                    target.push_str(groups[group.unwrap()]);
                }
                None => target.push_str(segment),
            }
        }
        if self.status != 200 {
            // No other server.
            target = format!("/{}", target.trim_start_matches('/'));
        }
        target
    }
}

fn first<'r>(rules: &'r [Rule], path: &str) -> Option<&'r Rule> {
    rules.iter().find(|rule| rule.expression.is_match(path))
}

fn expected(rules: &[Rule], pages: &BTreeMap<String, String>, path: &str) -> String {
    let page = pages.get(path).cloned();
    let lost = || "404 lost".to_owned();
    let Some(rule) = first(rules, path).filter(|rule| page.is_none() || rule.is_forced) else {
        return page.unwrap_or_else(lost);
    };
    let target = rule.target_of(path);
    if rule.status != 200 {
        return format!("{} {target}", rule.status);
    }
    // Rules do not lead to what rules hide, unless they name it.
    let is_named = !rule.target.contains(':');
    let is_hidden = first(rules, &target).is_some_and(|rule| rule.is_forced);
    match pages.get(&target) {
        Some(page) if is_named || !is_hidden => page.clone(),
        _ => lost(),
    }
}

#[test]
fn what_answers_is_what_the_first_line_that_matches_says() {
    let pages = pages();
    let mut random = Random(17);
    let (mut by_rule, mut asked) = (0, 0);
    for _ in 0..400 {
        let rules: Vec<Rule> = (0..1 + random.below(6))
            .map(|_| Rule::random(&mut random))
            // A rule that leads to itself is refused.
            .filter(|rule| rule.line.split(' ').next() != Some(rule.target.as_str()))
            .collect();
        let text: String = rules
            .iter()
            .map(|rule| format!("{}\n", rule.line))
            .collect();
        let dir = folder(&[&FILES[..], &[("_redirects", text.as_bytes())]].concat());
        let (image, _) = pack_to_vec(dir.path(), &fixed()).unwrap();
        let site = Site::parse(&image).unwrap();
        let host = site.default_host();
        let mut paths: Vec<String> = pages.keys().cloned().collect();
        for _ in 0..40 {
            let mut path = String::new();
            for _ in 0..=random.below(3) {
                path.push('/');
                path.push_str(random.pick(&["a", "d", "x", "old", "b", "new"]));
            }
            if random.below(3) == 0 {
                path.push('/');
            }
            paths.push(path);
        }
        for path in paths {
            let found = answer(&host, &path, None);
            assert_eq!(found, expected(&rules, &pages, &path), "{path} of\n{text}");
            by_rule += usize::from(first(&rules, &path).is_some());
            asked += 1;
        }
    }
    assert!(by_rule > asked / 5, "{by_rule} of {asked}");
}
