//! The `test` command: host tests first, then those that boot the image.

use crate::build::{self, Recipe};
use crate::console::{complain, say};
use crate::prerequisites::{self, CHROMIUM, CURL, H2LOAD, IP, Program, WGET, WRK};
use crate::{Failure, workspace};
use std::env;
use std::fmt;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Command, Stdio};

/// Where the tests find the image; without it they build one.
pub const IMAGE_VARIABLE: &str = "SLUICE_ELF";
/// Where the tests find the image's symbols.
pub const DEBUG_IMAGE_VARIABLE: &str = "SLUICE_DEBUG_ELF";

/// Programs without which some tests are left out, but for `CI=true`: clients that are not ours, and
/// what makes taps.
const CLIENTS: [Program; 6] = [IP, CURL, CHROMIUM, WGET, H2LOAD, WRK];

/// What a test writes, past the runner, when it can do nothing on this machine, and why. The runner
/// takes it for one that passed.
const SKIPPED: &str = "skipped: ";

/// Counts of one or several test runners.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Tally {
    /// Those that said that they did nothing are counted here, too.
    passed: u64,
    failed: u64,
    ignored: u64,
    skipped: u64,
}

impl Tally {
    /// Reads the closing line of libtest, `None` for any other line.
    fn parse(line: &str) -> Option<Self> {
        let rest = line.strip_prefix("test result: ")?;
        let count = |name: &str| {
            let (before, _) = rest.split_once(name)?;
            before.split_whitespace().next_back()?.parse().ok()
        };
        Some(Tally {
            passed: count(" passed")?,
            failed: count(" failed")?,
            ignored: count(" ignored")?,
            skipped: 0,
        })
    }

    /// Counts what a line of a test runner's output tells.
    fn read(&mut self, line: &str) {
        // Behind `test NAME ... ` where tests run one at a time, on a line of its own elsewhere.
        let is_skip = line.starts_with(SKIPPED)
            || line.starts_with("test ") && line.contains(&format!(" ... {SKIPPED}"));
        if let Some(counts) = Tally::parse(line) {
            self.add(counts);
        } else if is_skip {
            self.skipped += 1;
        }
    }

    fn add(&mut self, other: Tally) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally {
            passed,
            failed,
            ignored,
            skipped,
        } = self;
        let passed = passed.saturating_sub(*skipped);
        write!(
            f,
            "{passed} tests passed, {failed} failed, {ignored} ignored"
        )?;
        match skipped {
            0 => Ok(()),
            _ => write!(f, ", {skipped} skipped (see above for what they need)"),
        }
    }
}

/// Runs the tests whose names contain `filter`.
///
/// # Errors
/// A test failed, nothing matched the filter, or something is missing.
pub fn test(filter: Option<&str>) -> Result<(), Failure> {
    prerequisites::ensure_qemu()?;
    ensure_clients()?;
    let image = build::image(&Recipe::sluice(), false)?;
    let mut tally = Tally::default();
    let mut is_good = true;
    // The tests that boot guests one at a time: a guest or two fill a small machine.
    let passes = [
        (&["--workspace", "--exclude", "qemu"][..], None),
        (&["-p", "qemu"], Some("--test-threads=1")),
    ];
    for (packages, threads) in passes {
        let mut cargo = workspace::cargo();
        cargo
            .args(["test", "--no-fail-fast"])
            .args(packages)
            .arg("--target-dir")
            .arg(workspace::target_dir())
            .arg("--")
            .args(threads)
            .args(filter)
            .env(IMAGE_VARIABLE, &image.elf)
            .env(DEBUG_IMAGE_VARIABLE, &image.debug_elf);
        is_good &= run(&mut cargo, &mut tally)?;
    }
    if filter.is_none() {
        is_good &= run_under_loom(&mut tally)?;
        is_good &= run_under_miri(&mut tally)?;
    }
    say(&format!("sluice: {tally}"));
    match (is_good, tally.passed, filter) {
        (false, _, _) => Err(Failure::Failed("tests failed; see above".to_owned())),
        (true, 0, Some(filter)) => Err(Failure::Usage(format!(
            "no test's name contains {filter}; see: cargo test --workspace -- --list"
        ))),
        _ => Ok(()),
    }
}

/// Installs the clients that are missing; those that cannot be had are told, and refused only under
/// `CI=true`.
fn ensure_clients() -> Result<(), Failure> {
    let Err(missing) = prerequisites::ensure(&CLIENTS) else {
        return Ok(());
    };
    if env::var_os("CI").is_some_and(|ci| ci == "true") {
        return Err(missing);
    }
    // A package that is not known here must not keep the others away.
    for client in CLIENTS {
        if let Err(missing) = prerequisites::ensure(&[client]) {
            complain(&format!("{missing} (the tests that need it are left out)"));
        }
    }
    Ok(())
}

/// Runs the tests of what crosses cores through the orders that the memory model allows. A build of
/// its own: `cfg(loom)` puts loom's atomics into the crates.
fn run_under_loom(tally: &mut Tally) -> Result<bool, Failure> {
    say("sluice: what crosses cores, under loom");
    let mut is_good = true;
    let passes = [
        ["-p", "kernel", "--test", "loom", "--"].as_slice(),
        &["-p", "net", "--lib", "--", "loom_tests"],
        &["-p", "sockets", "--lib", "--", "loom_tests"],
    ];
    for words in passes {
        let mut cargo = workspace::cargo();
        cargo
            .args(["test", "--no-fail-fast", "--target-dir"])
            .arg(workspace::target_dir().join("loom"))
            .args(words)
            .env("RUSTFLAGS", "--cfg loom")
            // More find nothing more in these tests, and take minutes.
            .env("LOOM_MAX_PREEMPTIONS", "3");
        is_good &= run(&mut cargo, tally)?;
    }
    Ok(is_good)
}

/// Runs the tests of what is unsafe and builds on the host under Miri, which only nightly
/// toolchains have: without one they are left out. What is a machine's alone (assembly, ports)
/// cannot be run by it.
fn run_under_miri(tally: &mut Tally) -> Result<bool, Failure> {
    let mut setup = workspace::cargo();
    setup.args(["+nightly", "miri", "setup"]);
    let is_there = setup
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !is_there {
        say("sluice: no Miri, so what is unsafe is not run under it; it comes with");
        say("    rustup toolchain install nightly --component miri,rust-src");
        return Ok(true);
    }
    say("sluice: what is unsafe, under Miri");
    let mut cargo = workspace::cargo();
    cargo
        .args([
            "+nightly",
            "miri",
            "test",
            "-p",
            "kernel",
            "--lib",
            "--target-dir",
        ])
        .arg(workspace::target_dir().join("miri"))
        .args(["--", "virtio", "pci", "block_moves", "uncleared", "spsc"])
        // Addresses of devices and rings are numbers by nature, and their memory is for ever.
        .env(
            "MIRIFLAGS",
            "-Zmiri-permissive-provenance -Zmiri-ignore-leaks",
        )
        .env_remove("RUSTUP_TOOLCHAIN");
    run(&mut cargo, tally)
}

/// Runs test runners, shows and counts what they say, and returns whether all went well.
fn run(cargo: &mut Command, tally: &mut Tally) -> Result<bool, Failure> {
    let mut child = cargo
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| Failure::Failed(format!("cannot run cargo: {error}")))?;
    if let Some(stdout) = child.stdout.take() {
        pass_on(BufReader::new(stdout), io::stdout(), tally);
    }
    Ok(child.wait().is_ok_and(|status| status.success()))
}

/// Shows the runners' output as it comes, and counts.
fn pass_on(mut output: impl BufRead, mut screen: impl Write, tally: &mut Tally) {
    let mut line = Vec::new();
    loop {
        line.clear();
        if !matches!(output.read_until(b'\n', &mut line), Ok(1..)) {
            return;
        }
        // A terminal that is gone must not stop the tests.
        let _ = screen.write_all(&line);
        tally.read(String::from_utf8_lossy(&line).trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns what a runner's output is counted as, and sees that all of it is shown.
    fn tally(output: &str) -> Tally {
        let (mut tally, mut screen) = (Tally::default(), Vec::new());
        pass_on(output.as_bytes(), &mut screen, &mut tally);
        assert_eq!(screen, output.as_bytes());
        tally
    }

    #[test]
    fn closing_lines_are_added_up() {
        let tally = tally(
            "running 3 tests\n\
             test a ... ok\n\
             test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out\n\
             test result: FAILED. 5 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out\n",
        );
        assert_eq!(tally.to_string(), "7 tests passed, 1 failed, 1 ignored");
    }

    #[test]
    fn tests_that_say_that_they_do_nothing_are_no_passed_ones() {
        let tally = tally(
            "test one_at_a_time ... skipped: needs a browser\n\
             ok\n\
             skipped: needs root\n\
             test among_others ... ok\n\
             test other::what_was_skipped_is_named ... ok\n\
             test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n",
        );
        assert_eq!(
            tally.to_string(),
            "1 tests passed, 0 failed, 0 ignored, 2 skipped (see above for what they need)"
        );
    }
}
