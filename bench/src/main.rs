//! Measurements of Sluice against what its users would otherwise run, in ratios within one run
//! and in guest instructions.
//!
//! `sluice-bench quick ELF` is what `./run.sh bench quick` runs, and `connections`, `cores` and `channel`
//! its neighbours;
//! `client` is the load generator, run by them inside the network namespace.
#![forbid(unsafe_code)]

mod channel;
mod client;
mod connections;
mod cores;
mod crowd;
mod linux_guest;
mod load;
mod namespace;
mod quick;
mod vm;
mod work;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["quick", elf] => quick::run(std::path::Path::new(elf)),
        ["connections", elf] => connections::run(std::path::Path::new(elf)),
        ["cores", elf] => cores::run(std::path::Path::new(elf)),
        ["channel", _] => channel::run(),
        ["client", "crowd", rest @ ..] => crowd::run(rest),
        ["client", rest @ ..] => client::run(rest),
        _ => {
            eprintln!("usage: sluice-bench quick|connections|cores|channel ELF");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What can go wrong in a measurement: told to the person who runs it, and the run ends.
type Error = Box<dyn std::error::Error>;
