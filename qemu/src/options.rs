//! The command line: flags and words in, a [`Command`] out.
//!
//! Upstream: the shell. Downstream: every command. Pure: nothing here looks at files, ports or
//! devices, so whatever is refused here is refused at once.

use crate::limits::{MAX_CORES, MAX_MEMORY_MIB, MAX_QUEUES, MAX_TIMEOUT_S, READY_TIMEOUT};
use crate::pack_flags::{self, inspect_words, pack_flag, pack_words};
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
    let mut parser = lexopt::Parser::from_args(words);
    let mut options = RunOptions::default();
    let command = match parser.next().map_err(explain)? {
        None => Command::Run(options),
        Some(Short('h') | Long("help")) => Command::Help,
        Some(Value(word)) => match word.to_str() {
            Some("run") => Command::Run(run_flags(&mut parser, options)?),
            Some("gdb") => Command::Gdb(run_flags(&mut parser, options)?),
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

/// Reads what is left of a `run` or `gdb` command.
fn run_flags(parser: &mut lexopt::Parser, mut options: RunOptions) -> Result<RunOptions, String> {
    while let Some(argument) = parser.next().map_err(explain)? {
        match argument {
            Value(word) if options.site.is_none() => options.site = Some(word.into()),
            Value(word) => return Err(surplus(&word)),
            flag => {
                let name = written(&flag);
                run_flag(parser, &name, &mut options)?;
            }
        }
    }
    Ok(options)
}

/// Reads one flag's value.
fn run_flag(
    parser: &mut lexopt::Parser,
    name: &str,
    options: &mut RunOptions,
) -> Result<(), String> {
    match name {
        "--port" => options.port = Some(number(parser, name, 0..=u16::MAX)?),
        "--bind" => {
            let text = text(parser, name)?;
            let address = text.parse().map_err(|_| {
                format!("--bind {text}: give an IPv4 address of this machine, such as 127.0.0.1")
            })?;
            options.bind = Some(address);
        }
        "--cores" => options.cores = number(parser, name, 1..=MAX_CORES)?,
        "--memory" => options.memory_mib = Some(number(parser, name, 1..=MAX_MEMORY_MIB)?),
        "--accel" => {
            options.accel = match text(parser, name)?.as_str() {
                "auto" => AccelChoice::Auto,
                "kvm" => AccelChoice::Kvm,
                "tcg" => AccelChoice::Tcg,
                other => return Err(format!("--accel {other}: give auto, kvm or tcg")),
            }
        }
        "--machine" => {
            options.machine = match text(parser, name)?.as_str() {
                "microvm" => MachineKind::Microvm,
                "q35" => MachineKind::Q35,
                other => return Err(format!("--machine {other}: give microvm or q35")),
            }
        }
        "--net" => {
            let text = text(parser, name)?;
            options.net = match text.split_once('=') {
                None if text == "user" => NetChoice::User,
                Some(("tap", interface)) if is_interface_name(interface) => {
                    NetChoice::Tap(interface.to_owned())
                }
                _ => return Err(format!("--net {text}: give user, or tap=IFNAME")),
            }
        }
        "--queues" => options.queues = Some(number(parser, name, 1..=MAX_QUEUES)?),
        "--rss" => options.has_rss = true,
        "--pcap" => options.pcap = Some(parser.value().map_err(explain)?.into()),
        "--append" => options.append = text(parser, name)?,
        "--dry-run" => options.is_dry_run = true,
        "--timeout" => {
            options.timeout = Duration::from_secs(number(parser, name, 1..=MAX_TIMEOUT_S)?)
        }
        "--watch" => options.is_watching = true,
        "--verbose" => options.is_verbose = true,
        _ if pack_flag(parser, name, &mut options.pack)? => {}
        _ => return Err(unknown(name)),
    }
    Ok(())
}

/// Refuses flags that contradict each other.
fn fit_together(options: &RunOptions) -> Result<(), String> {
    match &options.net {
        NetChoice::User if options.queues.is_some_and(|queues| queues > 1) => Err(
            "--queues: user networking has one queue; use --net tap=IFNAME for more".to_owned(),
        ),
        NetChoice::User if options.has_rss => {
            Err("--rss: it needs several queues, and they a tap: --net tap=IFNAME".to_owned())
        }
        NetChoice::Tap(_) if options.port.is_some() || options.bind.is_some() => Err(
            "--port, --bind: they go with --net user; on a tap the guest has an address of its own \
             (--append \"ip=ADDR/PREFIX port=P\")"
                .to_owned(),
        ),
        _ => Ok(()),
    }
}

/// Reads what is left of an `example` command: the name stands where `run` has the folder.
fn example_words(parser: &mut lexopt::Parser, options: RunOptions) -> Result<Command, String> {
    let mut options = run_flags(parser, options)?;
    let Some(name) = options.site.take() else {
        return Err("example needs a name: ./run.sh example NAME [FLAGS]".to_owned());
    };
    let name = utf8(name.into_os_string())?;
    Ok(Command::Example { name, options })
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

fn utf8(word: OsString) -> Result<String, String> {
    word.into_string()
        .map_err(|word| format!("{}: not UTF-8", word.display()))
}

/// Returns whether QEMU's `ifname=` can carry the name (Linux: at most 15 bytes, no slash).
fn is_interface_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 15
        && name
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b",/=".contains(&byte))
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
