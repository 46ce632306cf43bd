//! Time: the TSC as nanoseconds since boot, the local timer's ticks, and the wall clock.
//!
//! Upstream: CPUID, the local APIC timer, the clock chip. Downstream: `ThisCore`. Calibrated once,
//! at boot, without a PIT: the TSC's rate comes from CPUID where it is said, else from the local
//! timer ([`calibration`]), which QEMU and KVM run at 1 GHz. Intel SDM vol. 2 CPUID 15H.

use super::exit::fatal;
use super::{clock_chip, local_apic};
use crate::Instant;
use crate::calibration::{self, Reading, rates};
use crate::wall_clock::{ClockRegisters, WallClock, correction};
use core::arch::x86_64::{__cpuid, _rdtsc};
use core::sync::atomic::{AtomicU64, Ordering};

/// Readings of the local timer of which the quickest begins the calibration.
const FIRST_READINGS: usize = 5;
/// Cycles after which the calibration ends whatever the timer says: a second and more.
const MAX_CALIBRATION_CYCLES: u64 = 1 << 33;
/// Leaf in which VMware-compatible hypervisors (QEMU among them) say the TSC's rate in kHz.
const HYPERVISOR_TIMING_LEAF: u32 = 0x4000_0010;

/// TSC at boot.
static START: AtomicU64 = AtomicU64::new(0);
/// Nanoseconds per TSC cycle, times 2^32.
static NS_PER_CYCLE: AtomicU64 = AtomicU64::new(1 << 32);
/// Local timer ticks per nanosecond, times 2^16.
static TICKS_PER_NS: AtomicU64 = AtomicU64::new(1 << 16);
/// Wall clock at boot, in seconds since 1970; 0 when there is no clock chip. The boot core corrects it.
static UNIX_START: AtomicU64 = AtomicU64::new(0);

fn cycles() -> u64 {
    // SAFETY: every x86-64 processor has it, and CR4.TSD is off.
    unsafe { _rdtsc() }
}

/// Reads the monotonic clock.
pub(super) fn now() -> Instant {
    let cycles = cycles().wrapping_sub(START.load(Ordering::Relaxed));
    let ns_per_cycle = NS_PER_CYCLE.load(Ordering::Relaxed);
    Instant::from_nanos(calibration::nanoseconds(cycles, ns_per_cycle))
}

/// Returns the wall clock, which shows 1970 and later where there is no clock chip.
pub(super) fn wall_clock() -> WallClock {
    WallClock::corrected_at(&UNIX_START)
}

/// Returns whether there is a clock chip to set the wall clock by.
pub(super) fn has_wall_clock() -> bool {
    UNIX_START.load(Ordering::Relaxed) != 0
}

/// Corrects the wall clock, if the clock chip's time is another.
pub(super) fn correct(chip_seconds: u64) {
    let shown = wall_clock().unix_seconds(now());
    if let Some(seconds) = correction(shown, chip_seconds) {
        UNIX_START.fetch_add(seconds as u64, Ordering::Relaxed);
        log::info!("wall clock set by {seconds} s");
    }
}

/// Converts a time to ticks of the local timer, at least 1 and as many as it can count.
pub(super) fn ticks(ns: u64) -> u32 {
    calibration::ticks(ns, TICKS_PER_NS.load(Ordering::Relaxed))
}

/// Starts the clock at 0.
pub(super) fn start() {
    START.store(cycles(), Ordering::Relaxed);
}

/// Calibrates the clock, and reads the wall clock.
///
/// # Safety
/// The local APIC is enabled, and its registers mapped for the data plane.
pub(super) unsafe fn calibrate() {
    // SAFETY: the caller says that the registers can be used; no interrupt comes of it, for the count is
    // ended far from its end.
    let (first, last) = unsafe {
        local_apic::write(0x380, u32::MAX);
        let readings = measure();
        local_apic::write(0x380, 0);
        readings
    };
    let Some(rates) = rates(&first, &last, stated_tsc_hz()) else {
        fatal(format_args!("the local timer does not count"));
    };
    NS_PER_CYCLE.store(rates.ns_per_cycle, Ordering::Relaxed);
    TICKS_PER_NS.store(rates.ticks_per_ns, Ordering::Relaxed);
    match clock_chip::read().and_then(ClockRegisters::unix_seconds) {
        Some(seconds) => {
            let elapsed = now().as_nanos() / 1_000_000_000;
            UNIX_START.store(seconds.saturating_sub(elapsed), Ordering::Relaxed);
        }
        None => log::warn!("no clock chip: the wall clock starts at 1970 (microvm: rtc=on)"),
    }
}

/// Returns the rate of the TSC, in kHz.
pub(super) fn tsc_khz() -> u64 {
    (1_000_000 << 32) / NS_PER_CYCLE.load(Ordering::Relaxed)
}

/// Reads the local timer, which counts, at the calibration's begin and end. Whatever the hypervisor does
/// meanwhile, both readings were quick, if any were.
///
/// # Safety
/// As for [`calibrate`].
unsafe fn measure() -> (Reading, Reading) {
    let read = || {
        let before = cycles();
        // SAFETY: the caller's.
        let ticks_left = unsafe { local_apic::read(0x390) };
        Reading {
            before,
            ticks_left,
            after: cycles(),
        }
    };
    let mut first = read();
    for _ in 1..FIRST_READINGS {
        let again = read();
        if again.gap() < first.gap() {
            first = again;
        }
    }
    loop {
        let last = read();
        // A timer that stands still is found out by the rates.
        if last.ends(&first) || last.after.wrapping_sub(first.before) > MAX_CALIBRATION_CYCLES {
            return (first, last);
        }
    }
}

/// Returns the TSC's rate where CPUID says it.
fn stated_tsc_hz() -> Option<u64> {
    let last_hypervisor_leaf = match __cpuid(1).ecx >> 31 {
        1 => __cpuid(0x4000_0000).eax,
        _ => 0,
    };
    if (HYPERVISOR_TIMING_LEAF..0x4000_1000).contains(&last_hypervisor_leaf) {
        let khz = u64::from(__cpuid(HYPERVISOR_TIMING_LEAF).eax);
        if khz != 0 {
            return Some(khz * 1000);
        }
    }
    if __cpuid(0).eax < 0x15 {
        return None;
    }
    let leaf = __cpuid(0x15);
    let (denominator, numerator) = (u64::from(leaf.eax), u64::from(leaf.ebx));
    let hz = u64::from(leaf.ecx) * numerator / denominator.max(1);
    (hz != 0 && denominator != 0).then_some(hz)
}
