//! An image of the machine layer alone: says what it finds, sleeps, wakes the other cores, and stops.
//!
//! Kernel options: `crash=KIND` (before the seal), `crash-sealed=KIND` (after it), `cores=N`.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;
use kernel::machine::{ExitStatus, Machine, Seat, ThisCore, crash, exit};
use kernel::{CoreId, Processor};

kernel::entry!(main);

fn main(mut machine: Machine) -> ! {
    kernel::machine::console::set_level(log::LevelFilter::Debug);
    log::info!("command line: {:?}", machine.command_line());
    log::info!("cores: {}, {:?}", machine.cores(), machine.memory());
    if let Some(site) = machine.site() {
        let sum = site.iter().fold(0_u64, |sum, byte| sum + u64::from(*byte));
        log::info!("site: {} bytes, sum {sum}", site.len());
    }
    let mut random = [0; 16];
    log::info!("entropy: {:?} {random:02x?}", machine.entropy(&mut random));
    if let Some(kind) = option(machine.command_line(), "crash=") {
        crash::provoke(kind);
    }
    let last = machine.cores() - 1;
    let line = machine.command_line();
    let seat = |index| Box::new(move |core| run(core, index, last, line)) as Seat;
    let seats: Vec<Seat> = (0..machine.cores()).map(seat).collect();
    machine.run(seats)
}

fn option(line: &str, name: &str) -> Option<crash::Kind> {
    line.split(' ')
        .find_map(|word| crash::Kind::from_name(word.strip_prefix(name)?))
}

fn run(core: ThisCore, index: usize, last: usize, line: &str) {
    core.start_barrier();
    log::info!("core {index} of {}: unix {}", last + 1, core.unix_seconds());
    if index == last {
        if let Some(kind) = option(line, "crash-sealed=") {
            crash::provoke(kind);
        }
        sleep_and_stop(core);
    }
    // Passes the baton: woken by the last core, wakes the one before.
    core.clear_wake();
    core.sleep_until(None);
    log::info!("core {index} woken");
    core.wake(CoreId::new(last).unwrap_or(CoreId::BOOT));
    loop {
        core.clear_wake();
        core.sleep_until(None);
    }
}

fn sleep_and_stop(core: ThisCore) -> ! {
    for ms in [1, 10, 100] {
        let start = core.now();
        let end = start + Duration::from_millis(ms);
        let mut turns = 0;
        while core.now() < end {
            core.clear_wake();
            core.sleep_until(Some(end));
            turns += 1;
        }
        log::info!("slept {ms} ms: {:?} in {turns} turns", core.now() - start);
    }
    for index in 0..core.core().index() {
        let start = core.now();
        core.clear_wake();
        core.wake(CoreId::new(index).unwrap_or(CoreId::BOOT));
        core.sleep_until(Some(core.now() + Duration::from_secs(1)));
        log::info!("core {index} answered after {:?}", core.now() - start);
    }
    log::info!("done");
    exit(ExitStatus::Success)
}
