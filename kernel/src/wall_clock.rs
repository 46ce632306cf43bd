//! The wall clock: what the PC's clock chip says as seconds since 1970, and the time that goes on from
//! there with the monotonic clock. The ports are the machine's.
//!
//! Upstream: registers of the MC146818 (CMOS). Downstream: [`Processor::unix_seconds`], and whoever
//! writes dates.
//! Motorola MC146818A, "Time, calendar and alarm locations", register B.
//!
//! [`Processor::unix_seconds`]: crate::Processor::unix_seconds

use crate::Instant;
use core::sync::atomic::{AtomicU64, Ordering};

/// The wall clock: seconds since 1970 when the monotonic clock was zero, and that clock. Copies are the
/// same clock.
#[derive(Debug, Clone, Copy)]
pub struct WallClock(Start);

#[derive(Debug, Clone, Copy)]
enum Start {
    Fixed(u64),
    Corrected(&'static AtomicU64),
}

impl WallClock {
    /// Makes a clock that showed `unix_seconds` when the monotonic clock was zero, for tests and tools.
    pub const fn fixed_at(unix_seconds: u64) -> Self {
        WallClock(Start::Fixed(unix_seconds))
    }

    /// Makes a clock whose start may be corrected while it runs.
    pub const fn corrected_at(unix_seconds: &'static AtomicU64) -> Self {
        WallClock(Start::Corrected(unix_seconds))
    }

    /// Returns what it shows at `now`, in seconds since 1970-01-01T00:00:00Z.
    pub fn unix_seconds(&self, now: Instant) -> u64 {
        let start = match self.0 {
            Start::Fixed(start) => start,
            Start::Corrected(start) => start.load(Ordering::Relaxed),
        };
        start.saturating_add(now.as_nanos() / 1_000_000_000)
    }
}

impl From<u64> for WallClock {
    fn from(unix_seconds: u64) -> Self {
        WallClock::fixed_at(unix_seconds)
    }
}

/// Returns by how many seconds a clock that shows `shown` is to be moved when the chip says `chip`:
/// `None` for a second, by which they differ as soon as they do not tick together.
pub fn correction(shown: u64, chip: u64) -> Option<i64> {
    (shown.abs_diff(chip) > 1).then(|| chip.wrapping_sub(shown) as i64)
}

/// The registers that hold a time; `century` is 0 where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields of a date")]
pub struct ClockRegisters {
    pub second: u8,
    pub minute: u8,
    pub hour: u8,
    pub day: u8,
    pub month: u8,
    pub year: u8,
    pub century: u8,
    /// Register B: bit 1 = 24 hours, bit 2 = binary.
    pub status_b: u8,
}

impl ClockRegisters {
    /// Returns seconds since 1970-01-01T00:00:00Z, `None` when this is no date (no chip: all ones).
    pub fn unix_seconds(self) -> Option<u64> {
        let is_binary = self.status_b & 4 != 0;
        let number = |raw: u8| {
            if is_binary {
                return Some(u64::from(raw));
            }
            let (tens, ones) = (raw >> 4, raw & 15);
            (tens < 10 && ones < 10).then(|| u64::from(tens * 10 + ones))
        };
        let is_afternoon = self.status_b & 2 == 0 && self.hour & 0x80 != 0;
        let mut hour = number(if self.status_b & 2 == 0 {
            self.hour & 0x7f
        } else {
            self.hour
        })?;
        if self.status_b & 2 == 0 {
            hour = hour % 12 + if is_afternoon { 12 } else { 0 };
        }
        let (second, minute) = (number(self.second)?, number(self.minute)?);
        let (day, month) = (number(self.day)?, number(self.month)?);
        let century = number(self.century).filter(|century| (19..=29).contains(century));
        let year = century.unwrap_or(20) * 100 + number(self.year)?;
        let is_date = second < 61
            && minute < 60
            && hour < 24
            && (1..=31).contains(&day)
            && (1..=12).contains(&month)
            && year >= 1970;
        let days = is_date.then(|| days_since_1970(year, month, day))?;
        Some(((days * 24 + hour) * 60 + minute) * 60 + second)
    }
}

/// Counts the days from 1970-01-01 in the Gregorian calendar; years begin in March here, so that
/// the leap day is the last.
fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let leap_days = year / 4 - year / 100 + year / 400;
    // 719,468 days from 0000-03-01 to 1970-01-01.
    year * 365 + leap_days + (month * 153 + 2) / 5 + (day - 1) - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_correction_is_shown_by_every_copy_and_a_second_is_none() {
        static START: AtomicU64 = AtomicU64::new(1_000_000);
        let clock = WallClock::corrected_at(&START);
        let (copy, now) = (clock, Instant::from_nanos(5_999_999_999));
        assert_eq!(clock.unix_seconds(now), 1_000_005);
        for chip in [1_000_004, 1_000_005, 1_000_006] {
            assert_eq!(correction(clock.unix_seconds(now), chip), None);
        }
        // Resumed a day later; then the host's clock is set back.
        for chip in [1_086_405, 1_086_403, 500_000] {
            let seconds = correction(clock.unix_seconds(now), chip).unwrap();
            START.fetch_add(seconds as u64, Ordering::Relaxed);
            assert_eq!(copy.unix_seconds(now), chip);
        }
        assert_eq!(WallClock::fixed_at(9).unix_seconds(now), 14);
    }

    fn bcd(number: u64) -> u8 {
        (number / 10 * 16 + number % 10) as u8
    }

    #[test]
    fn every_day_of_two_centuries_in_both_codes() {
        let lengths = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let mut expected = 0;
        for year in 1970..2170_u64 {
            let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year == 2000);
            for month in 1..=12_u64 {
                let extra = u64::from(is_leap && month == 2);
                for day in 1..=lengths[month as usize - 1] + extra {
                    let at = |code: fn(u64) -> u8, status_b| ClockRegisters {
                        second: code(59),
                        minute: code(34),
                        hour: code(23),
                        day: code(day),
                        month: code(month),
                        year: code(year % 100),
                        century: code(year / 100),
                        status_b,
                    };
                    let seconds = Some(expected * 86_400 + 23 * 3600 + 34 * 60 + 59);
                    assert_eq!(at(bcd, 2).unix_seconds(), seconds, "{year}-{month}-{day}");
                    assert_eq!(at(|n| n as u8, 6).unix_seconds(), seconds);
                    expected += 1;
                }
            }
        }
    }

    #[test]
    fn twelve_hour_clocks() {
        let at = |hour| {
            let registers = ClockRegisters {
                second: 0,
                minute: 0,
                hour,
                day: 1,
                month: 1,
                year: 0x70,
                century: 0x19,
                status_b: 0,
            };
            registers.unix_seconds().unwrap() / 3600
        };
        assert_eq!([at(0x12), at(0x01), at(0x11)], [0, 1, 11]);
        assert_eq!([at(0x92), at(0x81), at(0x91)], [12, 13, 23]);
    }

    #[test]
    fn no_chip_is_no_time() {
        for (fill, status_b) in [(0xff, 0xff), (0, 0), (0xaa, 2)] {
            let registers = ClockRegisters {
                second: fill,
                minute: fill,
                hour: fill,
                day: fill,
                month: fill,
                year: fill,
                century: fill,
                status_b,
            };
            assert_eq!(registers.unix_seconds(), None);
        }
    }
}
