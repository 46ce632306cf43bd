//! The `check` command: formatting, lints, docs, and the house rules (`tests/tidy.rs`).

use crate::build::run;
use crate::console::{complain, say};
use crate::prerequisites::answers;
use crate::{Failure, workspace};

/// What is run, in order: cargo's words, and what a failure means.
const STEPS: [(&[&str], &str); 6] = [
    (
        &["fmt", "--all", "--", "--check"],
        "formatting differs; run: cargo fmt --all",
    ),
    (
        &[
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ],
        "clippy has something to say; see above",
    ),
    (
        &[
            "clippy",
            "-p",
            "app-http",
            "-p",
            "examples",
            "--features",
            "app-http/image,examples/image",
            "--",
            "-D",
            "warnings",
        ],
        "clippy has something to say about an image; see above",
    ),
    (
        &["doc", "--workspace", "--no-deps"],
        "the documentation has warnings; see above",
    ),
    (
        &[
            "doc",
            "-p",
            "kernel",
            "-p",
            "megapipe",
            "--features",
            "kernel/machine,megapipe/appliance",
            "--no-deps",
        ],
        "the documentation of what is the image's alone has warnings; see above",
    ),
    (
        &["test", "-p", "qemu", "--test", "tidy"],
        "a house rule is broken; see above",
    ),
];

/// Runs every check, the first failure ends it.
///
/// # Errors
/// What a check found, or a missing component of the toolchain.
pub fn check() -> Result<(), Failure> {
    for tool in ["fmt", "clippy"] {
        if !answers("cargo", &[tool, "--version"]) {
            return Err(Failure::Missing(format!(
                "missing: cargo {tool}; install with: rustup component add rustfmt clippy"
            )));
        }
    }
    for (words, explanation) in STEPS {
        complain(&format!("cargo {}", words.join(" ")));
        let (before, behind) = match words.iter().position(|word| *word == "--") {
            Some(at) => words.split_at(at),
            None => (words, &[][..]),
        };
        let mut cargo = workspace::cargo();
        cargo.args(before);
        if words[0] != "fmt" {
            cargo.arg("--quiet");
            cargo.arg("--target-dir").arg(workspace::target_dir());
        }
        cargo.args(behind).env("RUSTDOCFLAGS", "-D warnings");
        run(&mut cargo, explanation)?;
    }
    say("sluice: formatting, lints, docs and house rules hold");
    Ok(())
}
