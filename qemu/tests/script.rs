//! `run.sh` itself, what it does when something is missing, and what is run for every change.
//!
//! Cargo and the rest are shell scripts here, on a `PATH` of their own.
#![forbid(unsafe_code)]

use std::env;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output};
use tempfile::TempDir;

/// What `run.sh` needs of every machine.
const TOOLS: [&str; 8] = [
    "bash", "sh", "dirname", "readlink", "id", "sed", "env", "mkdir",
];

/// A machine's programs.
struct Machine {
    place: TempDir,
}

impl Machine {
    /// One with the usual tools and nothing else.
    fn bare() -> Self {
        let machine = Machine {
            place: tempfile::tempdir().unwrap(),
        };
        fs::create_dir(machine.place.path().join("bin")).unwrap();
        for tool in TOOLS {
            let found = qemu::prerequisites::find(tool).unwrap_or_else(|| panic!("no {tool}"));
            symlink(found, machine.place.path().join("bin").join(tool)).unwrap();
        }
        machine
    }

    /// Adds a program.
    fn with(self, name: &str, script: &str) -> Self {
        let file = self.place.path().join("bin").join(name);
        fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    /// A command that finds these programs only, and no build of before.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env("PATH", self.place.path().join("bin"))
            .env("HOME", self.place.path())
            .env("CARGO_TARGET_DIR", self.place.path().join("target"))
            .env_remove("CARGO")
            .env_remove("CARGO_HOME")
            .current_dir(self.place.path());
        command
    }

    fn run(&self, words: &[&str]) -> Output {
        let script = root().join("run.sh");
        self.command(&script).args(words).output().unwrap()
    }

    /// Returns what a program has written into a file of the machine's own.
    fn note(&self, name: &str) -> String {
        fs::read_to_string(self.place.path().join(name)).unwrap_or_default()
    }
}

fn root() -> &'static Path {
    qemu::workspace::root()
}

/// Asserts exit code 3 and returns the last line on stderr.
fn missing(output: &Output) -> String {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(output.stdout.is_empty());
    text.lines().next_back().unwrap_or_default().to_owned()
}

/// Answers like a cargo of this version, and "builds" a command that tells how it was called.
fn cargo(version: &str) -> String {
    format!(
        r#"case $1 in
        --version) echo "cargo {version} (0123456 2026-01-01)" ;;
        build)
            echo "$PWD: $*" >>"$HOME/built"
            mkdir -p "$CARGO_TARGET_DIR/debug"
            printf '#!/bin/sh\necho "$PWD: $*"\nexit 42\n' >"$CARGO_TARGET_DIR/debug/sluice"
            /bin/chmod +x "$CARGO_TARGET_DIR/debug/sluice" ;;
        esac"#
    )
}

#[test]
fn a_missing_cargo_is_exit_three_with_the_command_that_installs_it() {
    let first = "sudo apt-get update && sudo apt-get install -y curl && ";
    for (client, install) in [
        ("curl", "curl -sSf https://sh.rustup.rs".to_owned()),
        ("wget", "wget -qO- https://sh.rustup.rs".to_owned()),
        // What is not there cannot be used.
        ("cc", format!("{first}curl -sSf https://sh.rustup.rs")),
    ] {
        let machine = Machine::bare().with("cc", "").with(client, "");
        assert_eq!(
            missing(&machine.run(&["site/"])),
            format!(
                "sluice: missing: cargo (stable Rust 1.95 or newer); install with: \
                 {install} | sh -s -- -y"
            )
        );
    }
}

#[test]
fn rustups_cargo_comes_before_a_distributions() {
    let machine = Machine::bare()
        .with("cc", "")
        .with("cargo", &cargo("1.75.0"));
    let own = machine.place.path().join(".cargo/bin");
    fs::create_dir_all(&own).unwrap();
    fs::copy(machine.place.path().join("bin/cargo"), own.join("cargo")).unwrap();
    fs::write(
        own.join("cargo"),
        format!("#!/bin/sh\n{}\n", cargo("1.95.0")),
    )
    .unwrap();
    assert_eq!(machine.run(&[]).status.code(), Some(42));
}

#[test]
fn it_finds_its_checkout_through_a_link_and_past_cdpath() {
    let machine = Machine::bare()
        .with("cc", "")
        .with("cargo", &cargo("1.95.0"));
    let link = machine.place.path().join("serve");
    symlink(root().join("run.sh"), &link).unwrap();
    let output = machine.command(&link).env("CDPATH", "/").output().unwrap();
    assert_eq!(output.status.code(), Some(42), "{output:?}");
    let built = machine.note("built");
    assert!(
        built.starts_with(&format!("{}: ", root().display())),
        "{built}"
    );
}

#[test]
fn an_old_cargo_is_exit_three_with_its_version_and_the_command_that_updates_it() {
    for version in ["1.94.0", "1.9.0", "1.80.1-beta"] {
        let machine = Machine::bare()
            .with("cc", "")
            .with("cargo", &cargo(version));
        let line = missing(&machine.run(&[]));
        assert!(line.contains("missing: cargo 1.95 or newer"), "{line}");
        assert!(
            line.contains(&format!("(here: cargo {version} (")),
            "{line}"
        );
        assert!(
            line.contains("install with: rustup update stable"),
            "{line}"
        );
        assert_eq!(machine.note("built"), "", "nothing is built");
    }
    for version in ["1.95.0", "1.100.2", "1.96.0-nightly"] {
        let machine = Machine::bare()
            .with("cc", "")
            .with("cargo", &cargo(version));
        assert_eq!(machine.run(&[]).status.code(), Some(42), "{version}");
    }
}

#[test]
fn a_missing_compiler_is_installed_where_that_is_allowed_and_else_named_with_the_command() {
    // Whoever runs this may be root or not.
    let sudo = r#"shift; exec "$@""#;
    let allowed = Machine::bare()
        .with("cargo", &cargo("1.95.0"))
        .with("sudo", sudo)
        .with(
            "apt-get",
            r#"echo "$*" >>"$HOME/apt"; [ "$1" = install ] && : >"$HOME/bin/cc""#,
        );
    let output = allowed.run(&[]);
    assert_eq!(output.status.code(), Some(42), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("sluice: installing gcc, libc6-dev"), "{said}");
    let install = "install -y --no-install-recommends gcc libc6-dev\n";
    assert_eq!(allowed.note("apt"), install);

    let refused = Machine::bare()
        .with("cargo", &cargo("1.95.0"))
        .with("sudo", sudo)
        .with("apt-get", r#"echo "$1" >>"$HOME/apt"; exit 100"#);
    let line = missing(&refused.run(&[]));
    assert!(line.starts_with("sluice: missing: cc; install with: sudo apt-get update && sudo "));
    assert!(line.ends_with(install.trim_end()), "{line}");
    assert_eq!(refused.note("apt"), "install\nupdate\n");
    assert_eq!(refused.note("built"), "", "nothing is built");
}

#[test]
fn it_builds_at_the_top_and_runs_where_the_caller_is_with_every_word_and_the_exit_code() {
    let machine = Machine::bare()
        .with("cc", "")
        .with("cargo", &cargo("1.95.0"));
    for _ in 0..2 {
        let output = machine.run(&["pack", "my site", "-o", "x"]);
        assert_eq!(output.status.code(), Some(42), "{output:?}");
        let said = String::from_utf8(output.stdout).unwrap();
        let here = machine.place.path().canonicalize().unwrap();
        assert_eq!(said, format!("{}: pack my site -o x\n", here.display()));
    }
    let top = root().canonicalize().unwrap();
    let built = machine.note("built");
    let lines: Vec<&str> = built.lines().collect();
    assert_eq!(
        lines[0],
        format!("{}: build -p qemu --bin sluice", top.display())
    );
    assert_eq!(
        lines[1],
        format!("{}: build --quiet -p qemu --bin sluice", top.display())
    );
}

#[test]
fn the_real_one_packs_a_folder_that_is_named_from_another_folder() {
    let place = tempfile::tempdir().unwrap();
    fs::create_dir(place.path().join("my site")).unwrap();
    fs::write(place.path().join("my site/index.html"), "<!doctype html>").unwrap();
    let output = Command::new(root().join("run.sh"))
        .args(["pack", "my site", "-o", "my.img"])
        .current_dir(place.path())
        // A relative one would be another one from there.
        .env("CARGO_TARGET_DIR", target_dir())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.starts_with("packed 1 files, 15 bytes, into my.img ("),
        "{text}"
    );
    assert!(place.path().join("my.img").exists());
}

/// The build folder that this test was built into.
fn target_dir() -> &'static Path {
    // TARGET/debug/sluice
    Path::new(env!("CARGO_BIN_EXE_sluice"))
        .ancestors()
        .nth(2)
        .unwrap()
}

/// Notes how it was called, and fails where it is told to.
fn noting_cargo(failing: &str) -> String {
    format!(r#"echo "$*" >>"$HOME/cargo-calls"; case "$*" in {failing}) exit 101 ;; esac"#)
}

#[test]
fn check_is_formatting_lints_docs_and_house_rules_and_ends_at_the_first_failure() {
    let command = Path::new(env!("CARGO_BIN_EXE_sluice"));
    let good = Machine::bare().with("cargo", &noting_cargo("nothing"));
    let output = good.command(command).arg("check").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let calls = good.note("cargo-calls");
    for part in [
        "fmt --all -- --check\n",
        "clippy --workspace --all-targets ",
        " -- -D warnings\n",
        "doc --workspace --no-deps ",
        "test -p qemu --test tidy ",
    ] {
        assert!(calls.contains(part), "{part} is missing:\n{calls}");
    }
    for (failing, said) in [
        ("*--check", "formatting differs; run: cargo fmt --all"),
        ("*warnings", "clippy has something to say; see above"),
        ("doc*", "the documentation has warnings; see above"),
        ("*tidy*", "a house rule is broken; see above"),
    ] {
        let bad = Machine::bare().with("cargo", &noting_cargo(failing));
        let output = bad.command(command).arg("check").output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{failing}");
        let text = String::from_utf8(output.stderr).unwrap();
        let last = text.lines().next_back().unwrap();
        assert_eq!(last, format!("sluice: {said}"));
    }
    let without = Machine::bare().with("cargo", &noting_cargo("fmt*|clippy*"));
    let output = without.command(command).arg("check").output().unwrap();
    let line = missing(&output);
    assert!(
        line.ends_with("rustup component add rustfmt clippy"),
        "{line}"
    );
}

#[test]
fn every_change_is_checked_and_tested_and_a_skipped_test_is_a_failure_there() {
    let ci = fs::read_to_string(root().join(".ci/run")).unwrap();
    let position = |line: &str| {
        let at = ci.lines().position(|other| other == line);
        at.unwrap_or_else(|| panic!("{line} is missing:\n{ci}"))
    };
    let places = [
        "set -euo pipefail",
        "export CI=true",
        "./run.sh check",
        "./run.sh test",
    ];
    assert!(places.map(position).is_sorted());
}
