//! The `run`, `example` and `gdb` commands: folder or name in, running appliance out.
//!
//! The steps are in the order in which they can refuse: what can be seen at once (the folder, the
//! port, the tap), then what is to be installed, packed, built, probed, and booted.

use crate::build::{self, Image, Recipe};
use crate::crash::Annotator;
use crate::guest::{Exit, Guest, NotReady};
use crate::limits::{APPLIANCE_MEMORY_MIB, SPARE_MEMORY_MIB};
use crate::machine::{Accel, Machine, Net, Transport};
use crate::options::{AccelChoice, NetChoice, RunOptions};
use crate::pack::{self, Keep, PackedSite, Transient};
use crate::prerequisites::{self, QEMU};
use crate::{Failure, accel, backend, workspace};
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often the wait for the guest's next line looks whether it is asked to stop.
const LOOK_AROUND: Duration = Duration::from_millis(100);

/// How long to wait before asking again a guest that says it is ready and does not answer.
const ASK_AGAIN: Duration = Duration::from_millis(5);

/// Builds, packs, boots and serves until the guest ends or a signal comes.
///
/// # Errors
/// Wrong use, a failed guest, or something missing.
pub fn run(options: &RunOptions) -> Result<(), Failure> {
    boot(&prepare(options, None)?, options)
}

/// The same for an example appliance.
///
/// # Errors
/// Wrong use, a failed guest, or something missing.
pub fn example(name: &str, options: &RunOptions) -> Result<(), Failure> {
    boot(&prepare_example(name, options)?, options)
}

fn boot(prepared: &Prepared, options: &RunOptions) -> Result<(), Failure> {
    if options.is_dry_run {
        println!("{}", prepared.machine.shell_line());
        return Ok(());
    }
    let stop = stop_flag()?;
    let mut guest = start(prepared, options)?;
    let ready = wait_ready(&mut guest, prepared, options, &stop)?;
    let Some((address, cores, waited)) = ready else {
        return stopped(&mut guest);
    };
    say(&format!(
        "serving {} at {address} (ready in {} ms, {cores} cores, {}, {})",
        prepared.subject,
        waited.as_millis(),
        prepared.machine.accel.name(),
        prepared.machine.kind.name()
    ));
    follow(&mut guest, &prepared.image, &stop)
}

/// The same, stopped before the guest's first instruction, with a gdb server.
///
/// # Errors
/// Wrong use, a failed guest, or something missing.
pub fn gdb(options: &RunOptions) -> Result<(), Failure> {
    let port = backend::free_port()?;
    let mut options = options.clone();
    if options.accel == AccelChoice::Auto {
        // Breakpoints before paging is on need no help there.
        options.accel = AccelChoice::Tcg;
    }
    let prepared = prepare(&options, Some(port))?;
    if options.is_dry_run {
        println!("{}", prepared.machine.shell_line());
        return Ok(());
    }
    let stop = stop_flag()?;
    let mut guest = start(&prepared, &options)?;
    say(&format!(
        "gdb {} -ex 'target remote 127.0.0.1:{port}'",
        prepared.image.debug_elf.display()
    ));
    say("the guest waits: set breakpoints (hbreak before paging is on), then `continue`");
    follow(&mut guest, &prepared.image, &stop)
}

/// Everything there is before QEMU starts.
struct Prepared {
    /// What is served: a folder, or the name of an example.
    subject: String,
    image: Image,
    machine: Machine,
    _site: Option<Transient>,
}

fn prepare(options: &RunOptions, gdb_port: Option<u16>) -> Result<Prepared, Failure> {
    let folder = options.site.clone().unwrap_or_else(workspace::default_site);
    look_at(&folder)?;
    let net = network(options)?;
    prerequisites::ensure(&[QEMU])?;
    // A dry run's command is to work afterwards too.
    let keep = match options.is_dry_run {
        true => Keep::ForLater,
        false => Keep::WhileRunning,
    };
    let site = pack::pack_to_out(&folder, keep)?;
    let transient = (keep == Keep::WhileRunning).then(|| Transient(site.file.clone()));
    if options.is_verbose {
        eprintln!("sluice: {}", site.describe());
    }
    let memory_mib = fit_memory(&site, options.memory_mib)?;
    let image = build::image(&Recipe::sluice(), options.is_verbose)?;
    let machine = Machine {
        memory_mib,
        net,
        site: Some(site.file),
        gdb_port,
        ..machine(options, &image)?
    };
    Ok(Prepared {
        subject: folder.display().to_string(),
        image,
        machine,
        _site: transient,
    })
}

fn prepare_example(name: &str, options: &RunOptions) -> Result<Prepared, Failure> {
    let recipe = Recipe::example(name)?;
    let net = network(options)?;
    prerequisites::ensure(&[QEMU])?;
    let image = build::image(&recipe, options.is_verbose)?;
    let mut machine = Machine {
        memory_mib: options.memory_mib.unwrap_or(SPARE_MEMORY_MIB),
        net,
        ..machine(options, &image)?
    };
    if let Net::User { guest_port, .. } = machine.net {
        // Each has a port of its own otherwise; the last word counts.
        let words = format!("{} port={guest_port}", machine.append);
        machine.append = words.trim_start().to_owned();
    }
    Ok(Prepared {
        subject: name.to_owned(),
        image,
        machine,
        _site: None,
    })
}

fn network(options: &RunOptions) -> Result<Net, Failure> {
    match &options.net {
        NetChoice::User => backend::user(options),
        NetChoice::Tap(interface) => backend::tap(interface, options),
    }
}

/// Returns the machine as far as the flags alone say what it is.
fn machine(options: &RunOptions, image: &Image) -> Result<Machine, Failure> {
    let accel = accel::choose(options.accel, image)?;
    Ok(Machine {
        kind: options.machine,
        transport: Transport::Mmio,
        accel,
        cores: options.cores,
        has_entropy_device: accel == Accel::Kvm && !has_rdrand(),
        append: options.append.clone(),
        ..Machine::new(&image.elf)
    })
}

/// Refuses a folder that is not one, before anything is built.
fn look_at(folder: &Path) -> Result<(), Failure> {
    let mut names = fs::read_dir(folder).map_err(|error| {
        Failure::Usage(format!(
            "{}: {error}: name a folder that holds the site",
            folder.display()
        ))
    })?;
    match names.next() {
        Some(_) => Ok(()),
        None => Err(Failure::Usage(format!(
            "{}: no files to serve: put an index.html there",
            folder.display()
        ))),
    }
}

/// Returns the guest's memory in MiB: what was asked for if the site fits in, else what it needs.
fn fit_memory(site: &PackedSite, given_mib: Option<u64>) -> Result<u64, Failure> {
    let site_mib = site.size_mib();
    let needed_mib = site_mib + APPLIANCE_MEMORY_MIB;
    match given_mib {
        None => Ok(site_mib + SPARE_MEMORY_MIB),
        Some(given_mib) if given_mib >= needed_mib => Ok(given_mib),
        Some(given_mib) => Err(Failure::Usage(format!(
            "the packed site takes {site_mib} MiB and the appliance {APPLIANCE_MEMORY_MIB} MiB, \
             more than --memory {given_mib}: give --memory {needed_mib} or more"
        ))),
    }
}

/// Returns whether this processor has RDRAND, which a KVM guest then has too.
fn has_rdrand() -> bool {
    fs::read_to_string("/proc/cpuinfo").is_ok_and(|text| {
        text.lines()
            .find(|line| line.starts_with("flags"))
            .is_some_and(|line| line.split_whitespace().any(|flag| flag == "rdrand"))
    })
}

/// Returns a flag that a signal to stop sets.
fn stop_flag() -> Result<Arc<AtomicBool>, Failure> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, flag.clone())
            .map_err(|error| Failure::Failed(format!("cannot catch signals: {error}")))?;
    }
    Ok(flag)
}

fn start(prepared: &Prepared, options: &RunOptions) -> Result<Guest, Failure> {
    if options.is_verbose {
        eprintln!("sluice: {}", prepared.machine.shell_line());
    }
    Guest::start(&prepared.machine)
        .map_err(|error| Failure::Failed(format!("cannot start {}: {error}", QEMU.name)))
}

/// Waits until the first request would be answered. Returns where, on how many cores and how long
/// after the start of QEMU; `None` when asked to stop meanwhile.
///
/// QEMU's NAT accepts connections long before the guest does, so behind it the ready line alone
/// would promise too much: there the guest is asked until it answers.
fn wait_ready(
    guest: &mut Guest,
    prepared: &Prepared,
    options: &RunOptions,
    stop: &AtomicBool,
) -> Result<Option<(String, u32, Duration)>, Failure> {
    let deadline = guest.started() + options.timeout;
    let (ready, mut waited) = loop {
        let slice = (guest.started().elapsed() + LOOK_AROUND).min(options.timeout);
        match guest.wait_ready(slice) {
            Ok(ready) => break ready,
            Err(_) if stop.load(Ordering::Relaxed) => return Ok(None),
            Err(NotReady::Silent(_)) if Instant::now() < deadline => {}
            Err(reason) => return Err(failed_to_boot(guest, prepared, &reason)),
        }
    };
    let address = match &prepared.machine.net {
        Net::User { host, .. } => {
            let is_there = match ready.is_http {
                true => backend::is_answering,
                false => backend::is_accepting,
            };
            while !is_there(*host) {
                if stop.load(Ordering::Relaxed) {
                    return Ok(None);
                }
                if let Some(exit) = guest.wait_exit(ASK_AGAIN) {
                    show_last_words(guest, &prepared.image);
                    return Err(Failure::Failed(format!("{exit} before it answered")));
                }
                if Instant::now() >= deadline {
                    return Err(Failure::Failed(format!(
                        "the guest says it is ready, but {host} does not answer"
                    )));
                }
            }
            waited = guest.started().elapsed();
            host.to_string()
        }
        Net::Tap { .. } | Net::None => ready.address.to_string(),
    };
    let scheme = if ready.is_http { "http://" } else { "" };
    Ok(Some((format!("{scheme}{address}"), ready.cores, waited)))
}

/// Shows the guest's last words and says in one line why it is not running.
fn failed_to_boot(guest: &mut Guest, prepared: &Prepared, reason: &NotReady) -> Failure {
    let complaints = guest.complaints().lines().join(" ");
    if complaints.contains("Could not set up host forwarding") {
        return Failure::Usage(format!(
            "the port was taken meanwhile ({complaints}); choose another with --port"
        ));
    }
    show_last_words(guest, &prepared.image);
    Failure::Failed(reason.to_string())
}

fn show_last_words(guest: &Guest, image: &Image) {
    let mut annotator = Annotator::new(&image.debug_elf);
    for line in guest.last_words() {
        eprintln!("{}", annotator.line(&line));
    }
}

/// Shows the serial log from its first line until the guest ends or a signal comes.
fn follow(guest: &mut Guest, image: &Image, stop: &AtomicBool) -> Result<(), Failure> {
    let mut annotator = Annotator::new(&image.debug_elf);
    let mut next = 0;
    loop {
        let is_over = guest.serial().is_closed();
        let (lines, end) = guest.serial().lines_from(next);
        next = end;
        for line in lines {
            say(&annotator.line(&line));
        }
        if stop.load(Ordering::Relaxed) {
            return stopped(guest);
        }
        if is_over {
            break;
        }
        guest.serial().wait_line(next, Instant::now() + LOOK_AROUND);
    }
    let exit = guest.wait_exit(Duration::from_secs(1));
    for line in guest.complaints().lines() {
        eprintln!("{line}");
    }
    match exit {
        Some(Exit::Stopped) => Ok(()),
        Some(exit) => Err(Failure::Failed(exit.to_string())),
        None => Err(Failure::Failed("QEMU closed the serial line".to_owned())),
    }
}

fn stopped(guest: &mut Guest) -> Result<(), Failure> {
    guest.stop();
    Ok(())
}

/// Writes a line to stdout. Whoever stops reading it (`| head -1`) does not stop the guest.
fn say(line: &str) {
    let mut stdout = io::stdout().lock();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}

#[cfg(test)]
mod tests {
    use super::*;
    use site::pack::Summary;

    fn site(image_bytes: u64) -> PackedSite {
        PackedSite {
            file: "site.img".into(),
            summary: Summary {
                image_bytes,
                ..Summary::default()
            },
        }
    }

    #[test]
    fn memory_fits_the_site_unless_it_is_given() {
        assert_eq!(fit_memory(&site(1), None), Ok(1 + SPARE_MEMORY_MIB));
        assert_eq!(fit_memory(&site(1 << 20), Some(16)), Ok(16));
        let error = fit_memory(&site(100 << 20), Some(64)).unwrap_err();
        assert_eq!(error.code(), 2);
        let text = error.to_string();
        assert!(
            text.contains("100 MiB") && text.contains("--memory 64"),
            "{text}"
        );
        assert!(text.contains(&format!("--memory {}", 100 + APPLIANCE_MEMORY_MIB)));
    }

    #[test]
    fn a_folder_that_is_not_there_is_wrong_use() {
        let error = look_at(Path::new("/nonexistent")).unwrap_err();
        assert_eq!(error.code(), 2);
        assert!(error.to_string().starts_with("/nonexistent: "), "{error}");
    }
}
