//! The serial console: `log` records as timestamped lines, plain lines as they are.
//!
//! Downstream: COM1, a 16550 with a FIFO of 16 bytes. Each port access can cost 80 µs, so bytes go
//! out in runs of 16 with one look at the line status before each. A missing port reads as ready. A
//! reader that stalls holds a core up once, and for a bounded time: from then on bytes that the port
//! does not take at once are dropped, and how many is said when it takes some again. Never used on the
//! way of a request.

use super::limits::{LAST_WORDS_POLLS, SERIAL_POLLS};
use super::{clock, ports};
use core::fmt::{self, Arguments, Write};
use core::sync::atomic::{AtomicU32, Ordering};
use spin::Mutex;

const DATA: u16 = 0x3f8;
const FIFO_CONTROL: u16 = DATA + 2;
const LINE_CONTROL: u16 = DATA + 3;
const LINE_STATUS: u16 = DATA + 5;
const FIFO_BYTES: usize = 16;

/// One writer at a time, so that lines of two cores do not mix.
static LINE: Mutex<()> = Mutex::new(());
/// Bytes dropped since the port last took a whole line.
static DROPPED_BYTES: AtomicU32 = AtomicU32::new(0);

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
    let dropped_bytes = DROPPED_BYTES.load(Ordering::Relaxed);
    let mut serial = Serial::new(if dropped_bytes == 0 { SERIAL_POLLS } else { 0 });
    // Serial never fails.
    if dropped_bytes != 0 {
        let _ = writeln!(serial, "\nsluice: serial: {dropped_bytes} bytes dropped");
    }
    let _ = serial.write_fmt(text);
    serial.flush();
    DROPPED_BYTES.store(
        match serial.dropped_bytes {
            0 => 0,
            more => dropped_bytes.saturating_add(more),
        },
        Ordering::Relaxed,
    );
}

/// The port without the lock, for one line or for last words.
pub(super) struct Serial {
    pending: [u8; FIFO_BYTES],
    len: usize,
    /// Looks at the line status that are left to be waited for.
    polls_left: u32,
    dropped_bytes: u32,
}

impl Serial {
    fn new(polls_left: u32) -> Self {
        Serial {
            pending: [0; FIFO_BYTES],
            len: 0,
            polls_left,
            dropped_bytes: 0,
        }
    }

    /// Returns the port with the patience for what is said last.
    pub(super) fn for_last_words() -> Self {
        Serial::new(LAST_WORDS_POLLS)
    }

    /// Sends what is pending, or drops it.
    pub(super) fn flush(&mut self) {
        if self.len == 0 {
            return;
        }
        let mut is_ready = is_empty();
        while !is_ready && self.polls_left > 0 {
            self.polls_left -= 1;
            is_ready = is_empty();
        }
        if is_ready {
            // SAFETY: COM1's data register, or no device's.
            unsafe { ports::write_bytes(DATA, &self.pending[..self.len]) };
        } else {
            self.dropped_bytes += self.len as u32;
        }
        self.len = 0;
    }
}

/// Returns whether the port's FIFO is empty, or there is no port.
fn is_empty() -> bool {
    // SAFETY: reading the line status changes no memory. Bit 5: the FIFO is empty.
    unsafe { ports::read_u8(LINE_STATUS) & 0x20 != 0 }
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
