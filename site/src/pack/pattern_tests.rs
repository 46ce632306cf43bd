//! Patterns beside regular expressions that say the same, and how wrong ones are refused.

use super::*;
use regex::bytes::Regex;

/// The pattern as a regular expression, with a group for each capture.
fn model(text: &str) -> Regex {
    let mut expression = "^".to_owned();
    let text = match text {
        "/" => text,
        _ => text.strip_suffix('/').unwrap_or(text),
    };
    let below = text.strip_suffix("/*");
    for (place, segment) in below.unwrap_or(text).split('/').enumerate() {
        if place > 0 {
            expression.push('/');
        }
        match segment.strip_prefix(':') {
            Some(_) => expression.push_str("([^/]+)"),
            None => {
                let pieces: Vec<String> = segment.split('*').map(regex::escape).collect();
                expression.push_str(&pieces.join("(.*)"));
            }
        }
    }
    expression.push_str(match (below, text.contains('*')) {
        (Some(_), _) => "(?:/(.*)|())$",
        (None, true) => "$",
        (None, false) if text == "/" => "$",
        (None, false) => "/?$",
    });
    // Paths are bytes, and a dot is any of them.
    Regex::new(&format!("(?s-u){expression}")).unwrap()
}

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

#[test]
fn patterns_match_and_capture_what_regular_expressions_do() {
    let mut random = Random(11);
    let (mut matched, mut checked) = (0, 0);
    for _ in 0..6_000 {
        let mut text = String::new();
        let mut has_splat = false;
        for number in 0..random.below(5) {
            let piece = match random.below(7) {
                0 | 1 => format!(":p{number}"),
                2 if !has_splat => random.pick(&["*", "a*", "*b", "a*b"]).to_owned(),
                _ => random.pick(&["a", "b", "ab", "a.b"]).to_owned(),
            };
            has_splat |= piece.contains('*');
            text.push('/');
            text.push_str(&piece);
        }
        if text.is_empty() || !text.ends_with('*') && random.below(4) == 0 {
            text.push('/');
        }
        let pattern = Pattern::parse(&text).unwrap();
        let captures = pattern.names.len() as u32;
        let target: Vec<Part> = (0..captures)
            .flat_map(|number| [Part::Literal(b"|".to_vec()), Part::Capture(number)])
            .collect();
        let compiled = Compiled::new(&pattern, &target, crate::records::ACTION_LOOKUP);
        let model = model(&text);
        for _ in 0..30 {
            let mut path = String::new();
            for _ in 0..=random.below(5) {
                path.push('/');
                path.push_str(random.pick(&["a", "b", "ab", "a.b", "aab", "axb", ""]));
            }
            // Paths are normal when rules are asked; empty segments must do no harm, though.
            let expected = model.captures(path.as_bytes()).map(|groups| {
                let groups = groups.iter().skip(1).flatten();
                groups.fold(Vec::new(), |mut all, group| {
                    all.push(b'|');
                    all.extend_from_slice(group.as_bytes());
                    all
                })
            });
            let found = compiled.target(path.as_bytes(), false);
            assert_eq!(found, expected, "{text} {path}");
            assert_eq!(compiled.matches(path.as_bytes()), found.is_some());
            matched += usize::from(found.is_some());
            checked += 1;
        }
    }
    assert!(matched > checked / 50, "{matched} of {checked}");
}

#[test]
fn escapes_are_the_bytes_that_they_stand_for() {
    let matches = |text: &str, path: &[u8]| {
        let pattern = Pattern::parse(text).unwrap();
        Compiled::new(&pattern, &[], crate::records::ACTION_PAGE).matches(path)
    };
    assert!(matches("/a%20b", b"/a b"));
    assert!(matches("/a b".replace(' ', "%20").as_str(), b"/a b"));
    assert!(matches("/\u{e4}", "/\u{e4}".as_bytes()));
    assert!(matches("/%C3%A4/*", "/\u{e4}/x".as_bytes()));
    assert!(matches("/100%25", b"/100%"));
    assert!(matches("/a:b/x:1", b"/a:b/x:1"));
    assert!(!matches("/a%20b", b"/a%20b"));
}

#[test]
fn wrong_patterns_are_refused_with_a_fix() {
    for (text, part) in [
        ("a", "start with /"),
        ("*", "start with /"),
        ("https://example.org/a", "--host NAME=DIR"),
        ("/a?b=c", "without ? and #"),
        ("/a#b", "without ? and #"),
        ("//a", "without //"),
        ("/a//b", "without //"),
        ("/a/../b", "without //"),
        ("/./a", "without //"),
        ("/*/*", "one * at most"),
        ("/**", "one * at most"),
        ("/:a/:a", ":a stands there twice"),
        ("/:splat", "stands for the *"),
        ("/:name.html", "a whole segment: /:name/"),
        ("/%", "two hex digits"),
        ("/%4", "two hex digits"),
        ("/%zz", "two hex digits"),
        ("/%00", "two hex digits"),
        ("/%2f", "two hex digits"),
    ] {
        let problem = Pattern::parse(text).unwrap_err();
        assert!(problem.contains(part), "{text}: {problem}");
    }
    let many = (0..17).map(|n| format!("/:p{n}")).collect::<String>();
    assert!(
        Pattern::parse(&many)
            .unwrap_err()
            .contains("16 placeholders")
    );
    assert!(Pattern::parse(&format!("/{}", "a".repeat(9000))).is_err());
}
