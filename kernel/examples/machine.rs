//! An image of the machine layer alone: says what it finds, sleeps, wakes the other cores, and stops.
//!
//! Kernel options: `crash=KIND` (before the seal), `crash-sealed=KIND` (after it), `cores=N`.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;
use kernel::limits::MAX_CORES;
use kernel::machine::{ExitStatus, Machine, Seat, ThisCore, crash, exit, fatal};
use kernel::{CoreId, Processor};

kernel::entry!(main);

/// Calls to each of the other cores, both of which sleep between them.
const CALLS: u32 = 2_000;
static CALL: [AtomicU32; MAX_CORES] = [const { AtomicU32::new(0) }; MAX_CORES];
static ANSWER: [AtomicU32; MAX_CORES] = [const { AtomicU32::new(0) }; MAX_CORES];

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
    // Answers each call once, however often it is woken.
    loop {
        core.clear_wake();
        let call = CALL[index].load(Ordering::Acquire);
        if ANSWER[index].swap(call, Ordering::AcqRel) == call {
            core.sleep_until(None);
        } else {
            core.wake(CoreId::new(last).unwrap_or(CoreId::BOOT));
        }
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
        let slowest = (1..=CALLS).map(|call| time_call(&core, index, call)).max();
        let each = (core.now() - start) / CALLS;
        log::info!("core {index} answered {CALLS} calls: {each:?} each, {slowest:?} at most");
        if slowest >= Some(Duration::from_secs(1)) {
            fatal(format_args!("a wake-up was lost"));
        }
    }
    log::info!("done");
    exit(ExitStatus::Success)
}

/// Calls a core and sleeps until it has answered; a second means that a wake-up was lost.
fn time_call(core: &ThisCore, index: usize, call: u32) -> Duration {
    let start = core.now();
    let patience = start + Duration::from_secs(1);
    CALL[index].store(call, Ordering::Release);
    core.wake(CoreId::new(index).unwrap_or(CoreId::BOOT));
    loop {
        core.clear_wake();
        if ANSWER[index].load(Ordering::Acquire) == call || core.now() >= patience {
            return core.now() - start;
        }
        core.sleep_until(Some(patience));
    }
}
