//! `bench quick`: the figures of the README beside a Linux guest with nginx, in one run, on one
//! vCPU under TCG over a tap.
//!
//! Guest instructions per request are marginal: the difference between a short and a long run of
//! the same load, idle instructions taken off, so that set-up and tear-down cancel.

use crate::Error;
use crate::appliance;
use crate::linux_guest;
use crate::load::{CLOSE, KEEP_ALIVE, Load, first_answer};
use crate::namespace::{GUEST, HOST, Namespace};
use crate::vm::{Image, Vm};
use crate::work::{COUNTER, PAGE_BYTES, Work};
use std::path::Path;
use std::time::{Duration, Instant};

/// Bytes of the page `/mebibyte.bin`.
pub(crate) const BODY_BYTES: usize = 1 << 20;
const BOOTS: usize = 5;

/// A mebibyte over connections that are kept.
pub(crate) const BODY: Load = Load {
    path: "/mebibyte.bin",
    connections: 4,
    short: 40,
    long: 240,
    ..KEEP_ALIVE
};

/// Figures of one system.
struct Figures {
    first_answer_ms: Vec<f64>,
    keep_alive: f64,
    close: f64,
    body: f64,
    idle_rate: f64,
    resident_kib: u64,
}

/// Measures both systems and prints the table.
pub(crate) fn run(elf: &Path) -> Result<(), Error> {
    linux_guest::install()?;
    let work = Work::create()?;
    let pages = work.make_site()?;
    std::fs::write(pages.join("mebibyte.bin"), incompressible(BODY_BYTES))?;
    let packed = work.pack(&pages)?;
    let plugin = work.build_plugin(COUNTER)?;
    let linux = linux_guest::build(&work.0, &pages)?;
    let namespace = Namespace::create(1)?;

    let append = appliance::words();
    let sluice = appliance::image(elf, &packed, &append);
    let append = format!("console=ttyS0 quiet sluice.ip={GUEST}/24 sluice.gateway={HOST}");
    let linux = Image {
        machine: "q35",
        memory_mib: 256,
        kernel: &linux.kernel,
        initrd: &linux.initrd,
        append: &append,
        device: "virtio-net-pci",
        cores: 1,
    };
    println!("Linux guest with nginx (q35, 256 MiB) ...");
    let theirs = measure(&linux, &namespace, &work.0, &plugin, 1)?;
    println!("Sluice (microvm, 64 MiB) ...");
    let ours = measure(&sluice, &namespace, &work.0, &plugin, BOOTS)?;
    let small = Image {
        memory_mib: 16,
        ..sluice
    };
    let serves_in_16 = boot_time(&small, &namespace, &work.0).is_ok();

    report(elf, &ours, &theirs, serves_in_16)
}

fn report(elf: &Path, ours: &Figures, theirs: &Figures, serves_in_16: bool) -> Result<(), Error> {
    let connections = KEEP_ALIVE.connections;
    println!("\none vCPU, TCG, tap, {PAGE_BYTES}-byte page, {connections} connections");
    println!(
        "{:44} {:>12} {:>12} {:>8}",
        "", "Sluice", "Linux+nginx", "ratio"
    );
    let row = |name: &str, ours: f64, theirs: f64| {
        println!("{name:44} {ours:12.0} {theirs:12.0} {:7.1}x", theirs / ours);
    };
    row(
        "guest instructions / keep-alive request",
        ours.keep_alive,
        theirs.keep_alive,
    );
    row(
        "guest instructions / connection + request",
        ours.close,
        theirs.close,
    );
    row("guest instructions / 1 MiB body", ours.body, theirs.body);
    row(
        "start of QEMU to first 200, ms (median)",
        median(ours),
        median(theirs),
    );
    row(
        "guest instructions / s, idle",
        ours.idle_rate,
        theirs.idle_rate,
    );
    row(
        "QEMU's resident memory, KiB",
        ours.resident_kib as f64,
        theirs.resident_kib as f64,
    );
    println!(
        "out/sluice.elf, bytes                        {:12}",
        std::fs::metadata(elf)?.len()
    );
    println!(
        "serves in 16 MiB                             {:>12}",
        yes(serves_in_16)
    );
    Ok(())
}

fn yes(is_so: bool) -> &'static str {
    if is_so { "yes" } else { "NO" }
}

fn median(figures: &Figures) -> f64 {
    let mut times = figures.first_answer_ms.clone();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn measure(
    image: &Image<'_>,
    namespace: &Namespace,
    work: &Path,
    plugin: &Path,
    boots: usize,
) -> Result<Figures, Error> {
    let first_answer_ms = (0..boots)
        .map(|_| boot_time(image, namespace, work))
        .collect::<Result<_, _>>()?;
    let vm = Vm::boot(image, namespace, work, Some(plugin))?;
    first_answer(&vm, namespace, 90)?;
    KEEP_ALIVE.run(namespace, KEEP_ALIVE.short)?;
    std::thread::sleep(Duration::from_secs(4));
    let idle_rate = vm.idle_rate()?;
    let keep_alive = marginal(&vm, namespace, &KEEP_ALIVE, idle_rate)?;
    let close = marginal(&vm, namespace, &CLOSE, idle_rate)?;
    let body = marginal(&vm, namespace, &BODY, idle_rate)?;
    Ok(Figures {
        first_answer_ms,
        keep_alive,
        close,
        body,
        idle_rate,
        resident_kib: vm.resident_kib()?,
    })
}

fn boot_time(image: &Image<'_>, namespace: &Namespace, work: &Path) -> Result<f64, Error> {
    let vm = Vm::boot(image, namespace, work, None)?;
    first_answer(&vm, namespace, 60)
}

/// Returns the guest instructions that one more request costs.
pub(crate) fn marginal(
    vm: &Vm,
    namespace: &Namespace,
    kind: &Load,
    idle_rate: f64,
) -> Result<f64, Error> {
    let cost = |requests: u64| -> Result<f64, Error> {
        let (before, start) = (vm.instructions()?, Instant::now());
        kind.run(namespace, requests)?;
        std::thread::sleep(Duration::from_millis(500));
        let spent = (vm.instructions()? - before) as f64;
        Ok(spent - idle_rate * start.elapsed().as_secs_f64())
    };
    Ok((cost(kind.long)? - cost(kind.short)?) / (kind.long - kind.short) as f64)
}

/// Bytes that no encoding makes shorter.
pub(crate) fn incompressible(count: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.flatten().take(count).collect()
}
