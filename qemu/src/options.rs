//! The command line: flags and words in, a [`Command`] out.
//!
//! Upstream: the shell. Downstream: every command. Pure: nothing here looks at files, ports or
//! devices, so whatever is refused here is refused at once.

use crate::limits::READY_TIMEOUT;
use crate::pack_flags::{self, inspect_words, pack_words};
use crate::run_flags::{example_words, fit_together, gdb_words, run_flag, run_flags};
pub use crate::usage::USAGE;
use lexopt::prelude::{Long, Short, Value};
use site::pack::PackOptions;
use std::ffi::OsString;
use std::fmt::Display;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Print the help text.
    Help,
    /// Build, pack, boot, serve.
    Run(RunOptions),
    /// Build and boot an example appliance.
    Example {
        /// Its name.
        name: String,
        /// The flags of `run`; no folder.
        options: RunOptions,
    },
    /// Like `run`, stopped before the first instruction for a debugger.
    Gdb(RunOptions),
    /// Build the image.
    Build,
    /// Pack a folder into a file.
    Pack {
        /// The folder.
        site: PathBuf,
        /// The image file.
        output: PathBuf,
        /// How it is packed.
        options: PackOptions,
        /// Show every warning.
        is_verbose: bool,
    },
    /// List and verify a packed site.
    Inspect {
        /// The image file.
        file: PathBuf,
    },
    /// Run the tests whose names contain the filter.
    Test {
        /// Part of a test's name.
        filter: Option<String>,
    },
    /// Check formatting, lints, docs and house rules.
    Check,
    /// Run measurements, with these words.
    Bench(Vec<OsString>),
}

/// How QEMU runs the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccelChoice {
    /// KVM when it works, else TCG.
    Auto,
    /// KVM or nothing.
    Kvm,
    /// Translation, on any machine.
    Tcg,
}

/// What QEMU builds around the processors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MachineKind {
    /// No firmware to speak of; virtio over MMIO, or over PCI where queues need it.
    Microvm,
    /// An ordinary PC with PCI.
    Q35,
}

/// What the guest's network device is connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetChoice {
    /// QEMU's own NAT, with one forwarded port; needs no privilege.
    User,
    /// A tap interface that exists.
    Tap(String),
}

/// The flags of `run` and `gdb`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunOptions {
    /// The folder to serve; `None` for the project's own.
    pub site: Option<PathBuf>,
    /// How it is packed.
    pub pack: PackOptions,
    /// Pack and boot again when the folder changes.
    pub is_watching: bool,
    /// Port on this machine, 0 for any free one; `None` when not given.
    pub port: Option<u16>,
    /// Port of this machine's loopback address that leads to the guest's admin port, 0 for any free
    /// one.
    pub admin_port: Option<u16>,
    /// Address on this machine; `None` when not given.
    pub bind: Option<Ipv4Addr>,
    /// Processors of the guest.
    pub cores: u32,
    /// Memory of the guest in MiB; `None` to fit the site.
    pub memory_mib: Option<u64>,
    /// How QEMU runs the guest.
    pub accel: AccelChoice,
    /// What QEMU builds.
    pub machine: MachineKind,
    /// What the network device is connected to.
    pub net: NetChoice,
    /// Queue pairs; `None` to take what the backend has.
    pub queues: Option<u32>,
    /// Have the device spread connections over its queues.
    pub has_rss: bool,
    /// Where every frame to and from the guest is written.
    pub pcap: Option<PathBuf>,
    /// More words for the kernel command line.
    pub append: String,
    /// Print the QEMU command instead of running it.
    pub is_dry_run: bool,
    /// How long the guest may take to be ready.
    pub timeout: Duration,
    /// Show every step.
    pub is_verbose: bool,
}

impl Default for RunOptions {
    fn default() -> Self {
        RunOptions {
            site: None,
            pack: pack_flags::for_trying_out(),
            is_watching: false,
            port: None,
            admin_port: None,
            bind: None,
            cores: 1,
            memory_mib: None,
            accel: AccelChoice::Auto,
            machine: MachineKind::Microvm,
            net: NetChoice::User,
            queues: None,
            has_rss: false,
            pcap: None,
            append: String::new(),
            is_dry_run: false,
            timeout: READY_TIMEOUT,
            is_verbose: false,
        }
    }
}

/// Reads the command line, without the program's name.
///
/// # Errors
/// One line that says what is wrong and what to write instead.
pub fn parse<I>(words: I) -> Result<Command, String>
where
    I: IntoIterator<Item: Into<OsString>>,
{
    let words: Vec<OsString> = words.into_iter().map(Into::into).collect();
    if asks_for_help(&words) {
        return Ok(Command::Help);
    }
    let mut parser = lexopt::Parser::from_args(words);
    let mut options = RunOptions::default();
    let command = match parser.next().map_err(explain)? {
        None => Command::Run(options),
        Some(Value(word)) => match word.to_str() {
            Some("run") => Command::Run(run_flags(&mut parser, options)?),
            Some("gdb") => gdb_words(&mut parser, options)?,
            Some("example") => example_words(&mut parser, options)?,
            Some("build") => finish(parser, Command::Build)?,
            Some("check") => finish(parser, Command::Check)?,
            Some("test") => test_words(&mut parser)?,
            Some("pack") => pack_words(&mut parser)?,
            Some("inspect") => inspect_words(&mut parser)?,
            Some("bench") => Command::Bench(parser.raw_args().map_err(explain)?.collect()),
            Some("help") => Command::Help,
            _ => {
                options.site = Some(word.into());
                Command::Run(run_flags(&mut parser, options)?)
            }
        },
        Some(flag) => {
            let name = written(&flag);
            run_flag(&mut parser, &name, &mut options)?;
            Command::Run(run_flags(&mut parser, options)?)
        }
    };
    if let Command::Run(options) | Command::Gdb(options) | Command::Example { options, .. } =
        &command
    {
        fit_together(options)?;
    }
    Ok(command)
}

/// Returns whether a word, of any command, asks for the help text.
fn asks_for_help(words: &[OsString]) -> bool {
    let flags = words.iter().take_while(|word| *word != "--");
    flags
        .into_iter()
        .any(|word| word == "--help" || word == "-h")
}

fn test_words(parser: &mut lexopt::Parser) -> Result<Command, String> {
    let mut filter = None;
    while let Some(argument) = parser.next().map_err(explain)? {
        match argument {
            Value(word) if filter.is_none() => filter = Some(utf8(word)?),
            Value(word) => return Err(surplus(&word)),
            flag => return Err(unknown(&written(&flag))),
        }
    }
    Ok(Command::Test { filter })
}

/// Refuses words behind a command that takes none.
fn finish(mut parser: lexopt::Parser, command: Command) -> Result<Command, String> {
    match parser.next().map_err(explain)? {
        None => Ok(command),
        Some(Value(word)) => Err(surplus(&word)),
        Some(flag) => Err(unknown(&written(&flag))),
    }
}

pub(crate) fn number<T>(
    parser: &mut lexopt::Parser,
    name: &str,
    range: RangeInclusive<T>,
) -> Result<T, String>
where
    T: FromStr + PartialOrd + Display,
{
    let text = text(parser, name)?;
    text.parse()
        .ok()
        .filter(|value| range.contains(value))
        .ok_or_else(|| {
            let (low, high) = range.into_inner();
            format!("{name} {text}: give a number from {low} to {high}")
        })
}

pub(crate) fn text(parser: &mut lexopt::Parser, name: &str) -> Result<String, String> {
    match parser.value() {
        Ok(value) => utf8(value),
        Err(_) => Err(format!("{name} needs a value; see ./run.sh --help")),
    }
}

pub(crate) fn utf8(word: OsString) -> Result<String, String> {
    word.into_string()
        .map_err(|word| format!("{}: not UTF-8", word.display()))
}

/// Writes a flag the way it was given.
pub(crate) fn written(argument: &lexopt::Arg<'_>) -> String {
    match argument {
        Long(name) => format!("--{name}"),
        Short(letter) => format!("-{letter}"),
        Value(word) => word.display().to_string(),
    }
}

pub(crate) fn unknown(flag: &str) -> String {
    format!("unknown flag {flag}; see ./run.sh --help")
}

pub(crate) fn surplus(word: &std::ffi::OsStr) -> String {
    format!("one word too many: {}; see ./run.sh --help", word.display())
}

pub(crate) fn explain(error: lexopt::Error) -> String {
    format!("{error}; see ./run.sh --help")
}

#[cfg(test)]
#[path = "options_tests.rs"]
mod tests;
