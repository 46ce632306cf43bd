//! The clock chip on the bare machine: read once at boot for the wall clock, and now and then by the
//! boot core, to correct it.
//!
//! The monotonic clock drifts a little, and stands still while a hypervisor keeps the machine stopped or
//! in a snapshot; the chip goes on, or is set anew.
//!
//! Upstream: the MC146818's ports. Downstream: [`clock`], whose wall clock is corrected and whose
//! monotonic clock never is.

use super::{Machine, clock, ports};
use crate::wall_clock::ClockRegisters;

/// Port of the chip's index register; its data register is the next.
const INDEX: u16 = 0x70;
const DATA: u16 = 0x71;
/// How long the chip is looked at for a time that holds still, in nanoseconds: an update takes 2 ms.
const PATIENCE_NS: u64 = 10_000_000;

/// The chip, in reach of the boot core for good.
#[derive(Debug)]
pub struct ClockChip(());

impl Machine {
    /// Keeps the clock chip in reach; for the boot core. `None` on a machine that has none.
    pub fn clock_chip(&mut self) -> Option<ClockChip> {
        if !clock::has_wall_clock() {
            return None;
        }
        self.open_ports.extend_from_slice(&[INDEX, DATA]).ok()?;
        Some(ClockChip(()))
    }
}

impl ClockChip {
    /// Corrects the wall clock by the chip, unless that is just changing. Reads device registers: some
    /// twenty port accesses.
    pub fn correct(&mut self) {
        if let Some(seconds) = read_once().and_then(ClockRegisters::unix_seconds) {
            clock::correct(seconds);
        }
    }
}

/// Reads the chip at boot; `None` when it never stops updating (no chip).
pub(super) fn read() -> Option<ClockRegisters> {
    let patience = clock::now().as_nanos() + PATIENCE_NS;
    while clock::now().as_nanos() < patience {
        let registers = read_once();
        if registers.is_some() {
            return registers;
        }
    }
    None
}

/// Reads the chip; `None` when it updates meanwhile: the same seconds after as before mean that it did
/// not.
fn read_once() -> Option<ClockRegisters> {
    let register = |number| {
        // SAFETY: the chip's index and data ports change no memory.
        unsafe {
            ports::write_u8(INDEX, number);
            ports::read_u8(DATA)
        }
    };
    if register(0x0a) & 0x80 != 0 {
        return None;
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
    (register(0) == registers.second).then_some(registers)
}
