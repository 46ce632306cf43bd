//! Measurements of Sluice against what its users would otherwise run, in ratios within one run
//! and in guest instructions.
//!
//! `sluice-bench quick ELF DEBUG_ELF` is what `./run.sh bench quick` runs, and the others its
//! neighbours; `client` is the load generator, run by them inside the network namespace, as `wire` is;
//! `serve` is what the Linux guest runs beside nginx.
#![forbid(unsafe_code)]

mod appliance;
mod bulk;
mod channel;
mod client;
mod connections;
mod cores;
mod crowd;
mod linux_guest;
mod load;
mod namespace;
mod netem;
mod pack;
mod profile;
mod quick;
mod requests;
mod symbols;
mod vm;
mod wire;
mod work;

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["quick", elf, _] => quick::run(Path::new(elf)),
        ["connections", elf, _] => connections::run(Path::new(elf)),
        ["cores", elf, _] => cores::run(Path::new(elf)),
        ["requests", elf, _] => requests::run(Path::new(elf)),
        ["channel", ..] => channel::run(),
        // Of the packer alone: no guest.
        ["pack", ..] => pack::run(),
        ["bulk", elf, _] => bulk::run(Path::new(elf)),
        ["netem", words @ .., elf, _] => netem::run(words, Path::new(elf)),
        ["profile", options @ .., elf, debug_elf] => {
            profile::run(options, Path::new(elf), Path::new(debug_elf))
        }
        ["serve", port] => bulk::serve(port),
        ["wire", rest @ ..] => wire::run(rest),
        ["client", "crowd", rest @ ..] => crowd::run(rest),
        ["client", "reach", address, seconds] => bulk::reach(address, seconds),
        ["client", "bulk", rest @ ..] => bulk::run_client(rest),
        ["client", rest @ ..] => client::run(rest),
        _ => {
            eprintln!(
                "usage: sluice-bench quick|requests|connections|cores|channel|bulk|netem|pack|profile ELF DEBUG_ELF"
            );
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
