//! House rules that no compiler knows: who imports whom, where unsafe code is, how long files
//! are, and that each says what it is.
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};

/// Lines of a source file, at most. A folder of tests may hold longer tables.
const MAX_LINES: usize = 400;
/// Lines between a function's first and last, at most; tables of cases in tests aside.
const MAX_FUNCTION_LINES: usize = 70;

/// Crates and what they may import of ours, downwards only.
const IMPORTS: [(&str, &[&str]); 10] = [
    ("kernel", &[]),
    ("net", &["kernel"]),
    ("megapipe", &["kernel", "net"]),
    ("site", &[]),
    ("app-http", &["kernel", "net", "megapipe", "site"]),
    ("bench/sockets", &["kernel", "net"]),
    ("examples", &["kernel", "megapipe"]),
    ("bench/traffic", &[]),
    ("qemu", &["site", "traffic"]),
    ("bench", &["site", "traffic"]),
];

/// Names that say nothing about what is in a file.
const EMPTY_NAMES: [&str; 6] = ["utils", "util", "manager", "helper", "helpers", "common"];

struct Source {
    /// From the top of the checkout.
    path: String,
    text: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()
        .unwrap()
}

/// Reads the sources of our crates with this ending, except built ones.
fn sources(crates: &[&str], ending: &str) -> Vec<Source> {
    let root = root();
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = crates.iter().map(|name| root.join(name)).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path
                .extension()
                .is_some_and(|extension| extension == ending)
            {
                let text = fs::read_to_string(&path).unwrap();
                let path = path.strip_prefix(&root).unwrap().display().to_string();
                found.push(Source { path, text });
            }
        }
    }
    assert!(!found.is_empty());
    found
}

fn all_crates() -> Vec<&'static str> {
    IMPORTS.iter().map(|(name, _)| *name).collect()
}

fn assert_none(broken: &[String]) {
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

#[test]
fn crates_import_downwards_only() {
    let mut broken = Vec::new();
    for (name, allowed) in IMPORTS {
        let manifest = fs::read_to_string(root().join(name).join("Cargo.toml")).unwrap();
        let mut section = "";
        for line in manifest.lines() {
            if line.starts_with('[') {
                section = line;
            }
            let key = line.split(['=', '.', ' ']).next().unwrap();
            let is_ours = IMPORTS.iter().any(|(other, _)| *other == key);
            let is_dependency = section.contains("dependencies");
            // Tests may put together what is below, and ask their own crate for one more feature.
            let is_below = |(other, theirs): &(&str, &[&str])| {
                allowed.contains(other) && theirs.contains(&key)
            };
            let is_for_tests = section.contains("dev-") && IMPORTS.iter().any(is_below);
            let is_allowed = key == name || allowed.contains(&key) || is_for_tests;
            if is_ours && is_dependency && !is_allowed {
                broken.push(format!("{name}/Cargo.toml {section}: {key}"));
            }
        }
    }
    assert_none(&broken);
}

#[test]
fn only_the_kernel_has_unsafe_code() {
    let mut broken = Vec::new();
    for (name, _) in IMPORTS.iter().filter(|(name, _)| *name != "kernel") {
        let roots = ["src/lib.rs", "src/main.rs"].map(|file| root().join(name).join(file));
        for file in roots.iter().filter(|file| file.exists()) {
            if !fs::read_to_string(file)
                .unwrap()
                .contains("#![forbid(unsafe_code)]")
            {
                broken.push(format!("{}: no forbid(unsafe_code)", file.display()));
            }
        }
        for source in sources(&[name], "rs") {
            let is_entry = source.path.starts_with("app-http/src/bin/");
            for (number, line) in source.text.lines().enumerate() {
                let code = line.split("//").next().unwrap();
                // The image's entry is named by an attribute that the kernel's macro writes.
                if !is_entry && (code.contains(&["unsafe", " {"].concat()) || is_unsafe_item(code))
                {
                    broken.push(format!("{}:{}: {line}", source.path, number + 1));
                }
            }
        }
    }
    assert_none(&broken);
}

fn is_unsafe_item(code: &str) -> bool {
    ["fn", "impl", "trait", "extern"]
        .iter()
        .any(|item| code.contains(&["unsafe", " ", item, " "].concat()))
}

#[test]
fn files_are_short() {
    let mut broken = Vec::new();
    for ending in ["rs", "s"] {
        let crates = if ending == "s" {
            vec!["kernel"]
        } else {
            all_crates()
        };
        if ending == "s" && !root().join("kernel/src/machine").exists() {
            continue;
        }
        for source in sources(&crates, ending) {
            let lines = source.text.lines().count();
            if lines > MAX_LINES && !source.path.contains("/tests/") {
                broken.push(format!("{}: {lines} lines", source.path));
            }
        }
    }
    assert_none(&broken);
}

#[test]
fn the_ping_pong_example_is_as_short_as_the_papers_listing_allows() {
    let file = root().join("examples/src/bin/ping-pong.rs");
    let lines = fs::read_to_string(file).unwrap().lines().count();
    assert!(lines < 60, "{lines} lines");
}

#[test]
fn functions_are_short() {
    let mut broken = Vec::new();
    let is_tests = |source: &Source| source.path.contains("tests");
    for source in sources(&all_crates(), "rs")
        .iter()
        .filter(|source| !is_tests(source))
    {
        let lines: Vec<&str> = source.text.lines().collect();
        for (start, line) in lines.iter().enumerate() {
            let code = line.trim_start();
            let indent = line.len() - code.len();
            let words = [
                "pub ",
                "pub(crate) ",
                "pub(super) ",
                "const ",
                "unsafe ",
                "extern \"C\" ",
            ];
            let mut rest = code;
            while let Some(shorter) = words.iter().find_map(|word| rest.strip_prefix(word)) {
                rest = shorter;
            }
            if !rest.starts_with("fn ") {
                continue;
            }
            // rustfmt closes a function where it began.
            let end = lines[start..]
                .iter()
                .position(|line| *line == format!("{}}}", " ".repeat(indent)));
            let length = end.map_or(0, |end| end - 1);
            if length > MAX_FUNCTION_LINES && !line.ends_with(';') {
                let name = rest.split(['(', '<']).next().unwrap();
                broken.push(format!(
                    "{}:{}: {name}: {length} lines",
                    source.path,
                    start + 1
                ));
            }
        }
    }
    assert_none(&broken);
}

#[test]
fn every_file_says_what_it_is() {
    let mut broken = Vec::new();
    for source in sources(&all_crates(), "rs") {
        if !source.text.starts_with("//!") {
            broken.push(format!(
                "{}: no module documentation at the top",
                source.path
            ));
        }
        let name = source.path.rsplit(['/', '\\']).next().unwrap();
        if EMPTY_NAMES.contains(&name.trim_end_matches(".rs")) {
            broken.push(format!("{}: a name that says nothing", source.path));
        }
    }
    assert_none(&broken);
}

#[test]
fn the_command_speaks_where_a_reader_that_is_gone_is_no_crash() {
    let mut broken = Vec::new();
    for source in sources(&["qemu"], "rs") {
        let speaks = |code: &str| {
            let names = ["print", "println", "eprint", "eprintln", "dbg"];
            let is_there = |name: &str| code.contains(&[name, "!("].concat());
            names.into_iter().any(is_there)
        };
        for (number, line) in source.text.lines().enumerate() {
            let code = line.split("//").next().unwrap();
            if source.path.starts_with("qemu/src/") && speaks(code) {
                broken.push(format!("{}:{}: {line}", source.path, number + 1));
            }
        }
    }
    assert_none(&broken);
}

#[test]
fn the_figures_of_the_readme_are_those_that_were_measured_last() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let measured = fs::read_to_string(root().join("docs/decisions/instructions.md")).unwrap();
    let (_, last) = measured.split_once("**What it came to.**").unwrap();
    let ours = |row: &str| {
        let line = readme.lines().find(|line| line.starts_with(row));
        let cell = line.and_then(|line| line.split('|').nth(2));
        cell.unwrap_or_else(|| panic!("no {row}")).trim().to_owned()
    };
    for row in [
        "| request on a kept connection",
        "| connection for each request",
    ] {
        assert!(last.contains(&ours(row)), "{row}: {}", ours(row));
    }
}

#[test]
fn smoltcp_sockets_are_named_in_one_folder() {
    let mut broken = Vec::new();
    for source in sources(&all_crates(), "rs") {
        // Tests play the other side with smoltcp too.
        let homes = [
            "net/src/tcp/",
            "net/src/testing/",
            "net/tests/",
            "qemu/",
            "bench/traffic/",
        ];
        let is_home = homes.iter().any(|home| source.path.starts_with(home));
        for (number, line) in source.text.lines().enumerate() {
            let code = line.split("//").next().unwrap();
            if !is_home && (code.contains("smoltcp::socket") || code.contains("smoltcp::phy")) {
                broken.push(format!("{}:{}: {line}", source.path, number + 1));
            }
        }
    }
    assert_none(&broken);
}
