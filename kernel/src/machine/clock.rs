//! Time: the TSC as nanoseconds since boot, the local timer's ticks, and the wall clock.
//!
//! Upstream: CPUID, the local APIC timer, the clock chip. Downstream: `ThisCore`. Calibrated once,
//! at boot, without a PIT: the TSC's rate comes from CPUID where it is said, else from the local
//! timer, which QEMU and KVM run at 1 GHz. Intel SDM vol. 3 §18.7.3; vol. 2 CPUID 15H.

use super::{ports, supervisor};
use crate::Instant;
use crate::wall_clock::ClockRegisters;
use core::arch::x86_64::{__cpuid, _rdtsc};
use core::sync::atomic::{AtomicU64, Ordering};

/// Rate of the local timer under QEMU and KVM, in Hz.
const LOCAL_TIMER_HZ: u64 = 1_000_000_000;
/// How long the calibration counts, in ticks of the local timer.
const CALIBRATION_TICKS: u32 = 1_000_000;
/// Leaf in which VMware-compatible hypervisors (QEMU among them) say the TSC's rate in kHz.
const HYPERVISOR_TIMING_LEAF: u32 = 0x4000_0010;

/// TSC at boot.
static START: AtomicU64 = AtomicU64::new(0);
/// Nanoseconds per TSC cycle, times 2^32.
static NS_PER_CYCLE: AtomicU64 = AtomicU64::new(1 << 32);
/// Local timer ticks per nanosecond, times 2^16.
static TICKS_PER_NS: AtomicU64 = AtomicU64::new(1 << 16);
/// Wall clock at boot, in seconds since 1970; 0 when there is no clock chip.
static UNIX_START: AtomicU64 = AtomicU64::new(0);

fn cycles() -> u64 {
    // SAFETY: every x86-64 processor has it, and CR4.TSD is off.
    unsafe { _rdtsc() }
}

/// Reads the monotonic clock.
pub(super) fn now() -> Instant {
    let cycles = cycles().wrapping_sub(START.load(Ordering::Relaxed));
    let ns = (u128::from(cycles) * u128::from(NS_PER_CYCLE.load(Ordering::Relaxed))) >> 32;
    Instant::from_nanos(ns as u64)
}

/// Reads the wall clock.
pub(super) fn unix_seconds() -> u64 {
    UNIX_START.load(Ordering::Relaxed) + now().as_nanos() / 1_000_000_000
}

/// Converts a time to ticks of the local timer, at least 1 and as many as it can count.
pub(super) fn ticks(ns: u64) -> u32 {
    let ticks = (u128::from(ns) * u128::from(TICKS_PER_NS.load(Ordering::Relaxed))) >> 16;
    u32::try_from(ticks).unwrap_or(u32::MAX).max(1)
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
    // SAFETY: the caller says that the registers can be used; the timer is masked meanwhile by
    // counting far longer than this takes.
    let (ticks, cycles) = unsafe {
        supervisor::write_local_apic(0x380, u32::MAX);
        let (ticks_before, cycles_before) = (supervisor::read_local_apic(0x390), cycles());
        let mut ticks_after = ticks_before;
        while ticks_before.wrapping_sub(ticks_after) < CALIBRATION_TICKS {
            ticks_after = supervisor::read_local_apic(0x390);
        }
        let cycles = cycles().wrapping_sub(cycles_before);
        supervisor::write_local_apic(0x380, 0);
        (u64::from(ticks_before.wrapping_sub(ticks_after)), cycles)
    };
    let measured_hz = cycles * LOCAL_TIMER_HZ / ticks;
    let hz = stated_tsc_hz().unwrap_or(measured_hz).max(1_000_000);
    let ns_per_cycle = (1_000_000_000_u128 << 32) / u128::from(hz);
    NS_PER_CYCLE.store(ns_per_cycle as u64, Ordering::Relaxed);
    // With a stated rate the same measurement tells the local timer's.
    let ticks_per_ns =
        ((u128::from(ticks) * u128::from(hz)) << 16) / (u128::from(cycles.max(1)) * 1_000_000_000);
    TICKS_PER_NS.store((ticks_per_ns as u64).max(1), Ordering::Relaxed);
    match read_clock_chip().and_then(ClockRegisters::unix_seconds) {
        Some(seconds) => {
            let elapsed = now().as_nanos() / 1_000_000_000;
            UNIX_START.store(seconds.saturating_sub(elapsed), Ordering::Relaxed);
        }
        None => log::warn!("no clock chip: the wall clock starts at 1970 (microvm: rtc=on)"),
    }
    log::debug!("TSC at {} kHz", hz / 1000);
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

/// Reads the clock chip between two updates; `None` when it never stops updating (no chip).
fn read_clock_chip() -> Option<ClockRegisters> {
    let register = |number| {
        // SAFETY: the CMOS index and data ports change no memory.
        unsafe {
            ports::write_u8(0x70, number);
            ports::read_u8(0x71)
        }
    };
    // An update lasts 2 ms, and the same seconds after as before mean that none came in between.
    let patience = now().as_nanos() + 10_000_000;
    while now().as_nanos() < patience {
        if register(0x0a) & 0x80 != 0 {
            continue;
        }
        let registers = ClockRegisters {
            second: register(0),
            minute: register(2),
            hour: register(4),
            day: register(7),
            month: register(8),
            year: register(9),
            century: register(0x32),
            status_b: register(0x0b),
        };
        if register(0) == registers.second {
            return Some(registers);
        }
    }
    None
}
