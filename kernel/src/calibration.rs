//! The rates of two counters, from readings of both: the TSC, and the local APIC's timer, which counts
//! down at a rate that is known.
//!
//! A reading takes time, and a hypervisor may take the processor away in the middle of it. So the timer
//! is read between two looks at the TSC, which bound the moment, and a reading that took long is not
//! used. Arithmetic only: the machine's clock reads the counters.
//!
//! Downstream: `machine`'s clock. Intel SDM vol. 3 §18.7.3 (TSC), §11.5.4 (timer).

/// Rate of the local timer under QEMU and KVM, in Hz.
const LOCAL_TIMER_HZ: u64 = 1_000_000_000;
/// How long the calibration counts at least, in ticks of the local timer: 1 ms.
const MIN_TICKS: u32 = 1_000_000;
/// How long it waits for a reading as quick as the first.
const MAX_TICKS: u32 = 50 * MIN_TICKS;
/// A processor slower than this is none.
const MIN_TSC_HZ: u64 = 1_000_000;

/// One reading of the local timer, and the TSC before and after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The TSC before.
    pub before: u64,
    /// Ticks that the timer had left.
    pub ticks_left: u32,
    /// The TSC after.
    pub after: u64,
}

impl Reading {
    /// Returns how many cycles the reading took.
    pub fn gap(&self) -> u64 {
        self.after.wrapping_sub(self.before)
    }

    /// Returns the ticks since an earlier reading.
    fn ticks_since(&self, first: &Reading) -> u32 {
        first.ticks_left.wrapping_sub(self.ticks_left)
    }

    /// Returns the cycles since an earlier reading, from the middle of one to that of the other.
    fn cycles_since(&self, first: &Reading) -> u64 {
        let middle = |reading: &Reading| reading.before.wrapping_add(reading.gap() / 2);
        middle(self).wrapping_sub(middle(first))
    }

    /// Returns whether this reading can end the calibration that began with `first`: it is late enough,
    /// and was as quick, or nothing quick has come for long.
    pub fn ends(&self, first: &Reading) -> bool {
        let ticks = self.ticks_since(first);
        let is_quick = self.gap() <= first.gap().saturating_mul(2);
        ticks >= MAX_TICKS || ticks >= MIN_TICKS && is_quick
    }
}

/// What the clock computes with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// Rate of the TSC, in Hz.
    pub tsc_hz: u64,
    /// Nanoseconds per TSC cycle, times 2^32.
    pub ns_per_cycle: u64,
    /// Local timer ticks per nanosecond, times 2^16.
    pub ticks_per_ns: u64,
}

/// Works out the rates from the calibration's first and last reading. With a rate of the TSC that is
/// stated elsewhere, the same readings tell the timer's. `None` when a counter stood still.
pub fn rates(first: &Reading, last: &Reading, stated_tsc_hz: Option<u64>) -> Option<Rates> {
    let (ticks, cycles) = (last.ticks_since(first), last.cycles_since(first));
    if ticks == 0 || cycles == 0 {
        return None;
    }
    let (ticks, cycles) = (u128::from(ticks), u128::from(cycles));
    let measured_hz = cycles * u128::from(LOCAL_TIMER_HZ) / ticks;
    let hz = stated_tsc_hz.map_or(measured_hz, u128::from);
    let hz = hz.clamp(MIN_TSC_HZ.into(), u64::MAX.into());
    let ticks_per_ns = ((ticks * hz) << 16) / (cycles * 1_000_000_000);
    Some(Rates {
        tsc_hz: hz as u64,
        ns_per_cycle: ((1_000_000_000 << 32) / hz) as u64,
        ticks_per_ns: u64::try_from(ticks_per_ns).unwrap_or(u64::MAX).max(1),
    })
}

/// Converts cycles to nanoseconds.
#[inline]
pub fn nanoseconds(cycles: u64, ns_per_cycle: u64) -> u64 {
    ((u128::from(cycles) * u128::from(ns_per_cycle)) >> 32) as u64
}

/// Converts nanoseconds to ticks of the local timer, at least 1 and as many as it can count.
#[inline]
pub fn ticks(ns: u64, ticks_per_ns: u64) -> u32 {
    let ticks = (u128::from(ns) * u128::from(ticks_per_ns)) >> 16;
    u32::try_from(ticks).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GHZ: u64 = 1_000_000_000;

    /// A reading at `ns` that took `gap` cycles on a TSC of `hz`, which read `start` at 0.
    fn reading(hz: u64, start: u64, ns: u64, gap: u64) -> Reading {
        let at = (u128::from(ns) * u128::from(hz) / u128::from(GHZ)) as u64;
        let before = start.wrapping_add(at).wrapping_sub(gap / 2);
        Reading {
            before,
            ticks_left: u32::MAX - ns as u32,
            after: before.wrapping_add(gap),
        }
    }

    #[test]
    fn the_rate_is_measured_to_a_few_parts_in_a_million() {
        for hz in [GHZ, 2_399_987_654, 5 * GHZ] {
            // The TSC may pass its end meanwhile.
            for start in [0, 1 << 40, u64::MAX - 1000] {
                let first = reading(hz, start, 700, 2000);
                let last = reading(hz, start, 1_000_900, 2100);
                let rates = rates(&first, &last, None).unwrap();
                assert!(rates.tsc_hz.abs_diff(hz) < hz / 100_000, "{rates:?}");
                assert!(rates.ticks_per_ns.abs_diff(1 << 16) <= 1, "{rates:?}");
                let hour = 3600 * GHZ;
                let shown = nanoseconds(3600 * hz, rates.ns_per_cycle);
                assert!(shown.abs_diff(hour) < hour / 100_000, "{shown}");
            }
        }
    }

    #[test]
    fn a_stated_rate_is_taken_and_tells_that_of_the_timer() {
        // The timer counts at 250 MHz, which a measured TSC would hide.
        let first = reading(2 * GHZ, 0, 0, 100);
        let mut last = reading(2 * GHZ, 0, 4_000_000, 100);
        last.ticks_left = first.ticks_left - 1_000_000;
        let rates = rates(&first, &last, Some(2 * GHZ)).unwrap();
        assert_eq!((rates.tsc_hz, rates.ticks_per_ns), (2 * GHZ, 1 << 14));
        assert_eq!(ticks(1_000_000, rates.ticks_per_ns), 250_000);
    }

    #[test]
    fn a_reading_that_was_interrupted_does_not_end_the_calibration() {
        let first = reading(3 * GHZ, 0, 0, 3000);
        assert!(!reading(3 * GHZ, 0, 999_999, 3000).ends(&first));
        assert!(reading(3 * GHZ, 0, 1_000_000, 6000).ends(&first));
        for gap in [6001, 3_000_000, u64::MAX] {
            assert!(!reading(3 * GHZ, 0, 2_000_000, gap).ends(&first));
            assert!(
                reading(3 * GHZ, 0, 50_000_000, gap).ends(&first),
                "for ever"
            );
        }
    }

    #[test]
    fn counters_that_stand_still_have_no_rate_and_none_overflows() {
        let first = reading(GHZ, 5, 0, 100);
        let same_ticks = Reading {
            ticks_left: first.ticks_left,
            ..reading(GHZ, 5, 1_000_000, 100)
        };
        assert_eq!(rates(&first, &same_ticks, None), None);
        let same_cycles = Reading {
            ticks_left: 0,
            ..first
        };
        assert_eq!(rates(&first, &same_cycles, Some(GHZ)), None);
        for stated in [None, Some(0), Some(u64::MAX)] {
            let last = Reading {
                before: u64::MAX - 100,
                ticks_left: first.ticks_left - 1,
                after: u64::MAX - 50,
            };
            let rates = rates(&first, &last, stated).unwrap();
            assert!(ticks(u64::MAX, rates.ticks_per_ns) >= 1);
            nanoseconds(u64::MAX, rates.ns_per_cycle);
        }
        assert_eq!(ticks(0, 1 << 16), 1);
        assert_eq!(ticks(u64::MAX, 1 << 16), u32::MAX);
    }
}
