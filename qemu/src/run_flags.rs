//! The flags of `run`, `gdb` and `example`, and which of them contradict each other.
//!
//! Upstream: [`options`](crate::options), with the words of a command line.

use crate::limits::{MAX_CORES, MAX_MEMORY_MIB, MAX_QUEUES, MAX_TIMEOUT_S};
use crate::options::{
    AccelChoice, Command, MachineKind, NetChoice, RunOptions, explain, number, surplus, text,
    unknown, utf8, written,
};
use crate::pack_flags::pack_flag;
use lexopt::prelude::Value;
use std::time::Duration;

/// Reads what is left of a `run` or `gdb` command.
pub(crate) fn run_flags(
    parser: &mut lexopt::Parser,
    mut options: RunOptions,
) -> Result<RunOptions, String> {
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
pub(crate) fn run_flag(
    parser: &mut lexopt::Parser,
    name: &str,
    options: &mut RunOptions,
) -> Result<(), String> {
    match name {
        "--port" => options.port = Some(number(parser, name, 0..=u16::MAX)?),
        "--admin-port" => options.admin_port = Some(number(parser, name, 0..=u16::MAX)?),
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
        // Given again, it adds.
        "--append" => {
            let words = format!("{} {}", options.append, text(parser, name)?);
            options.append = words.trim().to_owned();
        }
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
pub(crate) fn fit_together(options: &RunOptions) -> Result<(), String> {
    match &options.net {
        NetChoice::User if options.queues.is_some_and(|queues| queues > 1) => Err(
            "--queues: user networking has one queue; use --net tap=IFNAME for more".to_owned(),
        ),
        NetChoice::User if options.has_rss => {
            Err("--rss: it needs several queues, and they a tap: --net tap=IFNAME".to_owned())
        }
        NetChoice::Tap(_) if options.admin_port.is_some() => Err(
            "--admin-port: it goes with --net user; on a tap the admin port is at the guest's own \
             address"
                .to_owned(),
        ),
        NetChoice::Tap(_) if options.port.is_some() || options.bind.is_some() => Err(
            "--port, --bind: they go with --net user; on a tap the guest has an address of its own \
             (--append \"ip=ADDR/PREFIX port=P\")"
                .to_owned(),
        ),
        _ if options.pcap.is_some() && options.is_watching => Err(
            "--pcap, --watch: each new boot would write the capture anew; leave one of them out"
                .to_owned(),
        ),
        _ => Ok(()),
    }
}

/// Refuses what goes with a site that is served.
fn without_site(command: &str, options: &RunOptions) -> Result<(), String> {
    let flag = match () {
        () if options.is_watching => "--watch",
        () if options.admin_port.is_some() => "--admin-port",
        () if options.pack != RunOptions::default().pack => "flags of packing",
        () => return Ok(()),
    };
    Err(format!("{flag}: {command} serves no folder; leave it out"))
}

/// Reads what is left of an `example` command: the name stands where `run` has the folder.
pub(crate) fn example_words(
    parser: &mut lexopt::Parser,
    options: RunOptions,
) -> Result<Command, String> {
    let mut options = run_flags(parser, options)?;
    let Some(name) = options.site.take() else {
        return Err("example needs a name: ./run.sh example NAME [FLAGS]".to_owned());
    };
    without_site("an example", &options)?;
    let name = utf8(name.into_os_string())?;
    Ok(Command::Example { name, options })
}

/// Reads what is left of a `gdb` command.
pub(crate) fn gdb_words(
    parser: &mut lexopt::Parser,
    options: RunOptions,
) -> Result<Command, String> {
    let options = run_flags(parser, options)?;
    match options.is_watching {
        true => Err("--watch: it goes with run; leave it out".to_owned()),
        false => Ok(Command::Gdb(options)),
    }
}

/// Returns whether QEMU's `ifname=` can carry the name (Linux: at most 15 bytes, no slash).
fn is_interface_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 15
        && name
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b",/=".contains(&byte))
}
