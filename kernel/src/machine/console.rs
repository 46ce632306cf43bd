//! The serial console: `log` records as timestamped lines, plain lines as they are.
//!
//! Downstream: COM1, a 16550 with a FIFO of 16 bytes. Each port access can cost 80 µs, so bytes go
//! out in runs of 16 with one look at the line status before each; the wait is bounded, and a
//! missing port reads as ready. Never used on the way of a request.

use super::limits::SERIAL_POLLS;
use super::{clock, ports};
use core::fmt::{self, Arguments, Write};
use spin::Mutex;

const DATA: u16 = 0x3f8;
const FIFO_CONTROL: u16 = DATA + 2;
const LINE_CONTROL: u16 = DATA + 3;
const LINE_STATUS: u16 = DATA + 5;
const FIFO_BYTES: usize = 16;

/// One writer at a time, so that lines of two cores do not mix.
static LINE: Mutex<()> = Mutex::new(());

struct Console;

impl log::Log for Console {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &log::Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let micros = clock::now().as_micros();
        let (seconds, rest) = (micros / 1_000_000, micros % 1_000_000);
        let level = record.level();
        print(format_args!(
            "[{seconds:4}.{rest:06}] {level:5} {}\n",
            record.args()
        ));
    }

    fn flush(&self) {}
}

/// Sets up the port (FIFO, 8N1) and makes it the logger, at level `Info`.
pub(super) fn start() {
    // SAFETY: COM1's registers, or no device's.
    unsafe {
        ports::write_u8(LINE_CONTROL, 3);
        ports::write_u8(FIFO_CONTROL, 7);
    }
    static CONSOLE: Console = Console;
    // Fails only when called twice, and then the logger is this one.
    let _ = log::set_logger(&CONSOLE);
    set_level(log::LevelFilter::Info);
}

/// Sets which records are written.
pub fn set_level(level: log::LevelFilter) {
    log::set_max_level(level);
}

/// Writes text as it is; a whole line in one call stays whole.
pub fn print(text: Arguments<'_>) {
    let _line = LINE.lock();
    let mut serial = Serial::new();
    // Serial never fails.
    let _ = serial.write_fmt(text);
    serial.flush();
}

/// The port without the lock, for last words.
pub(super) struct Serial {
    pending: [u8; FIFO_BYTES],
    len: usize,
}

impl Serial {
    pub(super) fn new() -> Self {
        Serial {
            pending: [0; FIFO_BYTES],
            len: 0,
        }
    }

    /// Sends what is pending.
    pub(super) fn flush(&mut self) {
        if self.len == 0 {
            return;
        }
        for _ in 0..SERIAL_POLLS {
            // SAFETY: reading the line status changes no memory. Bit 5: the FIFO is empty.
            if unsafe { ports::read_u8(LINE_STATUS) } & 0x20 != 0 {
                break;
            }
        }
        // SAFETY: COM1's data register, or no device's.
        unsafe { ports::write_bytes(DATA, &self.pending[..self.len]) };
        self.len = 0;
    }
}

impl Write for Serial {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.pending[self.len] = byte;
            self.len += 1;
            if self.len == FIFO_BYTES {
                self.flush();
            }
        }
        Ok(())
    }
}
