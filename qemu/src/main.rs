//! The command behind `run.sh`.
#![forbid(unsafe_code)]

use qemu::build::{self, Recipe};
use qemu::console::{complain, say};
use qemu::options::{self, Command, USAGE};
use qemu::{Failure, check, inspect, pack, pack_report, serve, stop, suite, workspace};
use std::env;
use std::ffi::OsString;
use std::process::ExitCode;

/// What the `bench` crate can measure.
const BENCHES: [&str; 9] = [
    "quick",
    "requests",
    "connections",
    "cores",
    "channel",
    "bulk",
    "netem",
    "pack",
    "profile",
];

fn main() -> ExitCode {
    match obey() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            complain(&failure.to_string());
            failure.into()
        }
    }
}

fn obey() -> Result<(), Failure> {
    match options::parse(env::args_os().skip(1)).map_err(Failure::Usage)? {
        Command::Help => say(USAGE),
        Command::Run(options) => serve::run(&options)?,
        Command::Example { name, options } => serve::example(&name, &options)?,
        Command::Gdb(options) => serve::gdb(&options)?,
        Command::Build => {
            let image = build::image(&Recipe::sluice(), true)?;
            say(&image.elf.display().to_string());
        }
        Command::Pack {
            site,
            output,
            options,
            is_verbose,
        } => {
            stop::install()?;
            let packed = pack::pack(&site, &output, &options)?;
            pack_report::show_warnings(&packed.summary, is_verbose);
            say(&pack_report::describe(&packed));
        }
        Command::Inspect { file } => inspect::inspect(&file)?,
        Command::Test { filter } => suite::test(filter.as_deref())?,
        Command::Check => check::check()?,
        Command::Bench(words) => bench(&words)?,
    }
    Ok(())
}

/// Hands the words to the `bench` crate.
fn bench(words: &[OsString]) -> Result<(), Failure> {
    let is_known = |word: &OsString| BENCHES.iter().any(|known| word == known);
    // What it does with more words is its own business.
    if !words.first().is_some_and(is_known) {
        return Err(Failure::Usage(format!(
            "bench needs a name: {}",
            BENCHES.join(", ")
        )));
    }
    // Some measure an example.
    let recipe = match words.first().and_then(|word| word.to_str()) {
        Some("bulk" | "netem") => Recipe::example("throughput")?,
        _ => Recipe::sluice(),
    };
    let image = build::image(&recipe, false)?;
    let mut cargo = workspace::cargo();
    cargo
        .args(["run", "--quiet", "--release", "-p", "bench", "--target-dir"])
        .arg(workspace::target_dir())
        .arg("--")
        .args(words)
        .args([&image.elf, &image.debug_elf]);
    build::run(&mut cargo, "the measurement failed; see above")
}
