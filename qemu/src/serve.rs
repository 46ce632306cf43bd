//! The `run`, `example` and `gdb` commands: folder or name in, running appliance out.
//!
//! The steps are in the order in which they can refuse: what can be seen at once (the folder, the
//! port, the tap), then what is to be installed, packed, built, probed, and booted.

use crate::boot::{follow, start, wait_ready};
use crate::build::{self, Image, Recipe};
use crate::console::{complain, say};
use crate::limits::SPARE_MEMORY_MIB;
use crate::machine::{Accel, Machine, Net, Transport, quoted};
use crate::memory::{fit_memory, machine_memory_mib};
use crate::options::{AccelChoice, NetChoice, RunOptions};
use crate::pack::{self, Keep, Transient};
use crate::repack::Repack;
use crate::watch::Watch;
use crate::{Failure, accel, backend, pack_flags, pack_report, prerequisites, stop, workspace};
use std::fs;
use std::path::{Path, PathBuf};

/// Builds, packs, boots and serves until the guest ends or a signal comes.
///
/// # Errors
/// Wrong use, a failed guest, or something missing.
pub fn run(options: &RunOptions) -> Result<(), Failure> {
    stop::install()?;
    // Before the first pack, so that what changes from then on is seen.
    let repack = options.is_watching.then(|| {
        let watch = Watch::new(folders(options), options.pack.has_hidden);
        Repack::new(watch, options)
    });
    boot(&mut prepare(options, None)?, options, repack)
}

/// The same for an example appliance.
///
/// # Errors
/// Wrong use, a failed guest, or something missing.
pub fn example(name: &str, options: &RunOptions) -> Result<(), Failure> {
    stop::install()?;
    boot(&mut prepare_example(name, options)?, options, None)
}

fn boot(
    prepared: &mut Prepared,
    options: &RunOptions,
    mut repack: Option<Repack>,
) -> Result<(), Failure> {
    if options.is_dry_run {
        say(&prepared.machine.shell_line());
        return Ok(());
    }
    stop::check()?;
    let mut has_served = false;
    loop {
        let mut guest = start(prepared, options)?;
        let ready = match wait_ready(&mut guest, prepared, options) {
            // It is between two boots that it was stopped.
            Err(Failure::Stopped(_)) if has_served => return Ok(()),
            ready => ready?,
        };
        has_served = true;
        say(&format!(
            "serving {} at {} (ready in {} ms, {} cores, {}, {})",
            prepared.subject,
            ready.address,
            ready.waited.as_millis(),
            ready.cores,
            prepared.machine.accel.name(),
            prepared.machine.kind.name()
        ));
        if let Some(admin) = &prepared.machine.admin {
            say(&format!("admin port at http://{}", admin.host));
        }
        let Some(packed) = follow(&mut guest, prepared, repack.as_mut())? else {
            return Ok(());
        };
        pack_report::show_warnings(&packed.site.summary, options.is_verbose);
        say(&format!("packed again in {} ms", packed.took.as_millis()));
        prepared.machine.site = Some(packed.site.file);
        prepared.machine.memory_mib = packed.memory_mib;
    }
}

/// The same, stopped before the guest's first instruction, with a gdb server.
///
/// # Errors
/// Wrong use, a failed guest, or something missing.
pub fn gdb(options: &RunOptions) -> Result<(), Failure> {
    stop::install()?;
    let port = backend::free_port()?;
    let mut options = options.clone();
    if options.accel == AccelChoice::Auto {
        // Breakpoints before paging is on need no help there.
        options.accel = AccelChoice::Tcg;
    }
    let prepared = prepare(&options, Some(port))?;
    if options.is_dry_run {
        say(&prepared.machine.shell_line());
        return Ok(());
    }
    stop::check()?;
    let mut guest = start(&prepared, &options)?;
    say(&format!(
        "gdb {} -ex 'target remote 127.0.0.1:{port}'",
        quoted(prepared.image.debug_elf.as_os_str())
    ));
    say("the guest waits: set breakpoints (hbreak before paging is on), then `continue`");
    follow(&mut guest, &prepared, None).map(|_| ())
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
    let admin = backend::admin(options)?;
    prerequisites::ensure_qemu()?;
    pack::remove_abandoned();
    // A dry run's command is to work afterwards too.
    let keep = match options.is_dry_run {
        true => Keep::ForLater,
        false => Keep::WhileRunning,
    };
    let site = pack::pack_to_out(&folder, &options.pack, keep)?;
    pack_report::show_warnings(&site.summary, options.is_verbose);
    let transient = (keep == Keep::WhileRunning).then(|| Transient(site.file.clone()));
    if options.is_verbose {
        complain(&pack_report::describe(&site));
    }
    let memory_mib = fit_memory(&site, options, machine_memory_mib())?;
    let image = build::image(&Recipe::sluice(), options.is_verbose)?;
    let machine = Machine {
        memory_mib,
        net,
        site: Some(site.file),
        admin,
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
    prerequisites::ensure_qemu()?;
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
pub(crate) fn folder(options: &RunOptions) -> PathBuf {
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

    #[test]
    fn a_folder_that_is_not_there_is_wrong_use() {
        let error = look_at(Path::new("/nonexistent")).unwrap_err();
        assert_eq!(error.code(), 2);
        assert!(error.to_string().starts_with("/nonexistent: "), "{error}");
    }
}
