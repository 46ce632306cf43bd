//! `bench cores`: what a second core brings. The same load on a guest of one core with one queue pair
//! and on one of two with a pair each, in guest instructions of each core: where two cores share the
//! work evenly and none of it is new, each has half of what the one had.
//!
//! `gain` is bound by the core that happens to have more connections, `if even` by the work alone.
//! Times are not looked at: the processors here are shared with QEMU's own threads and the clients.
//! The requests are marginal as in `quick`: a long run less a short one, idle instructions off.

use crate::Error;
use crate::appliance;
use crate::load::{CLOSE, KEEP_ALIVE, Load, first_answer};
use crate::namespace::Namespace;
use crate::vm::{Image, Vm};
use crate::work::{COUNTER, PAGE_BYTES, Work};
use std::path::Path;
use std::time::{Duration, Instant};

/// Connections: so many that chance gives both cores nearly as many.
const CONNECTIONS: u64 = 512;
const LOADS: [(&str, Load); 2] = [
    (
        "keep-alive request",
        Load {
            connections: CONNECTIONS,
            short: 2_000,
            long: 12_000,
            ..KEEP_ALIVE
        },
    ),
    (
        "connection + request",
        Load {
            connections: CONNECTIONS,
            short: 2_000,
            long: 8_000,
            ..CLOSE
        },
    ),
];

/// Measures and prints the table.
pub(crate) fn run(elf: &Path) -> Result<(), Error> {
    let work = Work::create()?;
    let pages = work.make_site()?;
    let packed = work.pack(&pages)?;
    let plugin = work.build_plugin(COUNTER)?;
    let append = appliance::words();
    let measured = |cores: u32| -> Result<Vec<Vec<f64>>, Error> {
        println!("{cores} cores ...");
        let namespace = Namespace::create(cores)?;
        let image = Image {
            machine: "microvm,pcie=on",
            memory_mib: 128,
            device: "virtio-net-pci",
            cores,
            ..appliance::image(elf, &packed, &append)
        };
        let vm = Vm::boot(&image, &namespace, &work.0, Some(&plugin))?;
        first_answer(&vm, &namespace, 60)?;
        LOADS
            .iter()
            .map(|(_, load)| measure(&vm, &namespace, load))
            .collect()
    };
    let (one, two) = (measured(1)?, measured(2)?);

    println!("TCG, tap, PCI, {PAGE_BYTES}-byte page, {CONNECTIONS} connections");
    println!(
        "{:28} {:>10} {:>10} {:>10} {:>8} {:>12}",
        "guest instructions", "one core", "core 0/2", "core 1/2", "gain", "if even"
    );
    for (((name, _), one), two) in LOADS.iter().zip(&one).zip(&two) {
        let (busiest, sum) = (two[0].max(two[1]), two[0] + two[1]);
        println!(
            "{name:28} {:10.0} {:10.0} {:10.0} {:7.2}x {:11.2}x",
            one[0],
            two[0],
            two[1],
            one[0] / busiest,
            2.0 * one[0] / sum
        );
    }
    Ok(())
}

/// Returns what one more request costs each core, of all requests.
fn measure(vm: &Vm, namespace: &Namespace, load: &Load) -> Result<Vec<f64>, Error> {
    load.run(namespace, load.short)?;
    std::thread::sleep(Duration::from_secs(5));
    let idle = {
        let (before, start) = (vm.instructions_by_core()?, Instant::now());
        std::thread::sleep(Duration::from_secs(2));
        rate(&before, &vm.instructions_by_core()?, start.elapsed())
    };
    let cost = |requests: u64| -> Result<Vec<f64>, Error> {
        let (before, start) = (vm.instructions_by_core()?, Instant::now());
        load.run(namespace, requests)?;
        std::thread::sleep(Duration::from_millis(500));
        let seconds = start.elapsed().as_secs_f64();
        let spent = vm.instructions_by_core()?;
        let spent = spent.iter().zip(&before).zip(&idle);
        Ok(spent
            .map(|((after, before), idle)| (after - before) as f64 - idle * seconds)
            .collect())
    };
    let (long, short) = (cost(load.long)?, cost(load.short)?);
    let requests = (load.long - load.short) as f64;
    let pairs = long.into_iter().zip(short);
    Ok(pairs
        .map(|(long, short)| (long - short) / requests)
        .collect())
}

fn rate(before: &[u64], after: &[u64], elapsed: Duration) -> Vec<f64> {
    let pairs = after.iter().zip(before);
    pairs
        .map(|(after, before)| (after - before) as f64 / elapsed.as_secs_f64())
        .collect()
}
