//! The `run`, `example` and `gdb` commands: folder or name in, running appliance out.
//!
//! The steps are in the order in which they can refuse: what can be seen at once (the folder, the
//! port, the tap), then what is to be installed, packed, built, probed, and booted.

use crate::boot::{Followed, follow, say, start, stop_flag, wait_ready};
use crate::build::{self, Image, Recipe};
use crate::limits::{APPLIANCE_MEMORY_MIB, MICROVM_SITE_MIB, Q35_SITE_MIB, SPARE_MEMORY_MIB};
use crate::machine::{Accel, Machine, Net, Transport};
use crate::options::{AccelChoice, MachineKind, NetChoice, RunOptions};
use crate::pack::{self, Keep, PackedSite, Transient};
use crate::prerequisites::{self, QEMU};
use crate::watch::Watch;
use crate::{Failure, accel, backend, pack_flags, pack_report, workspace};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Instant;

/// Builds, packs, boots and serves until the guest ends or a signal comes.
///
/// # Errors
/// Wrong use, a failed guest, or something missing.
pub fn run(options: &RunOptions) -> Result<(), Failure> {
    boot(&mut prepare(options, None)?, options)
}

/// The same for an example appliance.
///
/// # Errors
/// Wrong use, a failed guest, or something missing.
pub fn example(name: &str, options: &RunOptions) -> Result<(), Failure> {
    boot(&mut prepare_example(name, options)?, options)
}

fn boot(prepared: &mut Prepared, options: &RunOptions) -> Result<(), Failure> {
    if options.is_dry_run {
        println!("{}", prepared.machine.shell_line());
        return Ok(());
    }
    let stop = stop_flag()?;
    let mut watch = match options.is_watching {
        true => Some(Watch::new(folders(options), options.pack.has_hidden)),
        false => None,
    };
    loop {
        let mut guest = start(prepared, options)?;
        let Some(ready) = wait_ready(&mut guest, prepared, options, &stop)? else {
            guest.stop();
            return Ok(());
        };
        say(&format!(
            "serving {} at {} (ready in {} ms, {} cores, {}, {})",
            prepared.subject,
            ready.address,
            ready.waited.as_millis(),
            ready.cores,
            prepared.machine.accel.name(),
            prepared.machine.kind.name()
        ));
        let mut shown = 0;
        while let Followed::Changed =
            follow(&mut guest, prepared, &stop, watch.as_mut(), &mut shown)?
        {
            // The old pages are served until the new ones are packed.
            match pack_again(prepared, options) {
                Ok(()) => break,
                Err(failure) => eprintln!("sluice: {failure} (serving what was there before)"),
            }
        }
        if guest.try_exit().is_some() || stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        guest.stop();
    }
}

/// Packs the folder that has changed.
fn pack_again(prepared: &mut Prepared, options: &RunOptions) -> Result<(), Failure> {
    let started = Instant::now();
    let site = pack::pack_to_out(&folder(options), &options.pack, Keep::WhileRunning)?;
    prepared.machine.memory_mib = fit_memory(&site, options, machine_memory_mib())?;
    pack_report::show_warnings(&site.summary, options.is_verbose);
    say(&format!(
        "packed again in {} ms",
        started.elapsed().as_millis()
    ));
    Ok(())
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
    follow(&mut guest, &prepared, &stop, None, &mut 0).map(|_| ())
}

/// Everything there is before QEMU starts.
pub(crate) struct Prepared {
    /// What is served: a folder, or the name of an example.
    subject: String,
    pub(crate) image: Image,
    pub(crate) machine: Machine,
    _site: Option<Transient>,
}

impl Prepared {
    /// Returns whether it finishes its answers when its power button is pressed: the server does, and
    /// examples just end.
    pub(crate) fn drains(&self) -> bool {
        self.machine.site.is_some() && self.machine.gdb_port.is_none()
    }
}

fn prepare(options: &RunOptions, gdb_port: Option<u16>) -> Result<Prepared, Failure> {
    let folder = folder(options);
    look_at(&folder)?;
    let net = network(options)?;
    prerequisites::ensure(&[QEMU])?;
    // A dry run's command is to work afterwards too.
    let keep = match options.is_dry_run {
        true => Keep::ForLater,
        false => Keep::WhileRunning,
    };
    let site = pack::pack_to_out(&folder, &options.pack, keep)?;
    pack_report::show_warnings(&site.summary, options.is_verbose);
    let transient = (keep == Keep::WhileRunning).then(|| Transient(site.file.clone()));
    if options.is_verbose {
        eprint!("sluice: {}", pack_report::describe(&site));
    }
    let memory_mib = fit_memory(&site, options, machine_memory_mib())?;
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
    let net = match &options.net {
        NetChoice::User => backend::user(options),
        NetChoice::Tap(interface) => backend::tap(interface, options),
    }?;
    if options.pcap.is_some() && net.queues() > 1 {
        return Err(Failure::Usage(
            "--pcap: QEMU captures one queue only; use a tap made without multi_queue, or capture \
             the tap itself (tcpdump -i TAP -w FILE)"
                .to_owned(),
        ));
    }
    Ok(net)
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
        has_rss: options.has_rss,
        pcap: options.pcap.clone(),
        append: options.append.clone(),
        ..Machine::new(&image.elf)
    })
}

/// Returns the folder that is served, or the first of several.
fn folder(options: &RunOptions) -> PathBuf {
    options
        .site
        .clone()
        .or_else(|| pack_flags::first_host(&options.pack))
        .unwrap_or_else(workspace::default_site)
}

/// Returns every folder that is served.
fn folders(options: &RunOptions) -> Vec<PathBuf> {
    let mut folders = vec![folder(options)];
    folders.extend(options.pack.hosts.iter().map(|(_, dir)| dir.clone()));
    folders
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
/// `machine_mib` is the memory of this machine, if it is known.
fn fit_memory(
    site: &PackedSite,
    options: &RunOptions,
    machine_mib: Option<u64>,
) -> Result<u64, Failure> {
    let site_mib = site.size_mib();
    let needed_mib = site_mib + APPLIANCE_MEMORY_MIB;
    let limit_mib = match options.machine {
        MachineKind::Microvm => MICROVM_SITE_MIB,
        MachineKind::Q35 => Q35_SITE_MIB,
    };
    if site_mib > limit_mib {
        return Err(Failure::Usage(format!(
            "the packed site takes {site_mib} MiB, more than the {limit_mib} MiB that QEMU can hand \
             to a guest on {}: serve less from one site",
            options.machine.name()
        )));
    }
    let memory_mib = match options.memory_mib {
        None => site_mib + SPARE_MEMORY_MIB,
        Some(given_mib) if given_mib >= needed_mib => given_mib,
        Some(given_mib) => {
            return Err(Failure::Usage(format!(
                "the packed site takes {site_mib} MiB and the appliance {APPLIANCE_MEMORY_MIB} \
                 MiB, more than --memory {given_mib}: give --memory {needed_mib} or more"
            )));
        }
    };
    match machine_mib {
        Some(machine_mib) if memory_mib > machine_mib => Err(Failure::Usage(format!(
            "the guest needs {memory_mib} MiB (the packed site {site_mib} MiB), more than this \
             machine has ({machine_mib} MiB): serve less from one site"
        ))),
        _ => Ok(memory_mib),
    }
}

/// Returns the memory of this machine in MiB.
fn machine_memory_mib() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024)
}

/// Returns whether this processor has RDRAND, which a KVM guest then has too.
fn has_rdrand() -> bool {
    fs::read_to_string("/proc/cpuinfo").is_ok_and(|text| {
        text.lines()
            .find(|line| line.starts_with("flags"))
            .is_some_and(|line| line.split_whitespace().any(|flag| flag == "rdrand"))
    })
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

    fn fit(site_mib: u64, memory_mib: Option<u64>, machine: MachineKind) -> Result<u64, String> {
        let options = RunOptions {
            memory_mib,
            machine,
            ..RunOptions::default()
        };
        let fitted = fit_memory(&site(site_mib << 20), &options, Some(2500));
        fitted.map_err(|failure| {
            assert_eq!(failure.code(), 2);
            failure.to_string()
        })
    }

    #[test]
    fn memory_fits_the_site_unless_it_is_given() {
        assert_eq!(fit(1, None, MachineKind::Microvm), Ok(1 + SPARE_MEMORY_MIB));
        assert_eq!(fit(1, Some(16), MachineKind::Microvm), Ok(16));
        let text = fit(100, Some(64), MachineKind::Microvm).unwrap_err();
        assert!(
            text.contains("100 MiB") && text.contains("--memory 64"),
            "{text}"
        );
        assert!(text.contains(&format!("--memory {}", 100 + APPLIANCE_MEMORY_MIB)));
    }

    #[test]
    fn a_site_that_no_guest_can_hold_is_refused_with_what_it_needs() {
        let text = fit(2400, None, MachineKind::Microvm).unwrap_err();
        assert!(
            text.contains("needs 2528 MiB") && text.contains("(2500 MiB)"),
            "{text}"
        );
        let text = fit(2400, None, MachineKind::Q35).unwrap_err();
        assert!(
            text.contains("takes 2400 MiB, more than the 2047 MiB") && text.contains("on q35"),
            "{text}"
        );
        let text = fit(3072, None, MachineKind::Microvm).unwrap_err();
        assert!(text.contains("more than the 3071 MiB"), "{text}");
    }

    #[test]
    fn a_folder_that_is_not_there_is_wrong_use() {
        let error = look_at(Path::new("/nonexistent")).unwrap_err();
        assert_eq!(error.code(), 2);
        assert!(error.to_string().starts_with("/nonexistent: "), "{error}");
    }
}
