//! The last report: what went wrong, where, and how it came there.
//!
//! Upstream: the supervisor, which hands over the frame of any exception at CPL 3 on a stack of its
//! own; and panics. Downstream: the serial port, then exit with failure. The block begins with
//! `sluice: CRASH` and ends with `sluice: END`; `  #N 0x…` are return addresses for the host to
//! name; behind them is what each core did last. A fault in here is ended by the supervisor.

use super::console::Serial;
use super::exit::{ExitStatus, exit, fatal};
use super::limits::{MAX_BACKTRACE_FRAMES, REPORT_STACK_BYTES};
use super::supervisor::{self, Frame};
use super::{ports, processors, protection};
use crate::backtrace::return_addresses;
use crate::limits::MAX_CORES;
use crate::{CoreMask, trace};
use core::arch::asm;
use core::fmt::Write;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicUsize, Ordering};

/// Who writes the report, a core counted from 1; 0 while nobody does. The first is the one that
/// counts.
static REPORTER: AtomicUsize = AtomicUsize::new(0);
/// A reporter that runs on no core's stack: one before there are stacks.
const NO_CORE: usize = usize::MAX;

/// Begins the report of `core`, or ends here: when another core is at it, which will end the machine,
/// this one sleeps; a report that goes wrong itself ends the machine.
fn begin(core: Option<usize>) -> Serial {
    let this = core.map_or(NO_CORE, |core| core + 1);
    let first = REPORTER.compare_exchange(0, this, Ordering::Relaxed, Ordering::Relaxed);
    match (first, core) {
        (Ok(_), _) => {}
        (Err(reporter), Some(core)) if reporter != this && reporter != NO_CORE => {
            processors::rest(core)
        }
        // A panic on no core's stack is one on the report's own.
        (Err(_), _) => exit(ExitStatus::Failure),
    }
    let mut serial = Serial::for_last_words();
    say(&mut serial, format_args!("\nsluice: CRASH\n"));
    serial
}

fn end(mut serial: Serial) -> ! {
    last_events(&mut serial);
    say(&mut serial, format_args!("sluice: END\n"));
    serial.flush();
    exit(ExitStatus::Failure)
}

/// Tells what each core did last.
fn last_events(out: &mut Serial) {
    for core in CoreMask::first(MAX_CORES).iter() {
        for event in trace::events(core) {
            say(out, format_args!("  core {} {event}\n", core.index()));
        }
    }
}

fn say(serial: &mut Serial, text: core::fmt::Arguments<'_>) {
    // Serial never fails.
    let _ = serial.write_fmt(text);
}

/// Where the supervisor continues after an exception at CPL 3.
#[unsafe(no_mangle)]
extern "C" fn sluice_report_fault(frame: &Frame, core: u32) -> ! {
    let mut serial = begin(Some(core as usize));
    let out = &mut serial;
    let (rip, cr2, error) = (frame.rip, frame.cr2, frame.error);
    match frame.vector {
        14 => {
            let access = match (error >> 4 & 1, error >> 1 & 1) {
                (1, _) => "execution of",
                (_, 1) => "write to",
                _ => "read of",
            };
            let kind = if is_guard(cr2, core) {
                "stack overflow"
            } else {
                "page fault"
            };
            let why = if error & 1 == 1 {
                "protected"
            } else {
                "not mapped"
            };
            say(
                out,
                format_args!("fault: {kind} ({access} {cr2:#x}, {why})"),
            );
        }
        vector => say(
            out,
            format_args!("fault: {} (error {error:#x})", name(vector)),
        ),
    }
    say(out, format_args!(" at rip {rip:#x} core {core}\n"));
    registers(out, frame);
    say(out, format_args!("  #0 {rip:#x}\n"));
    let stack = processors::stack(core as usize);
    // A jump to nowhere left its return address on top of the stack.
    let top = frame.rsp as usize;
    let called_from =
        (!protection::text().contains(&rip) && stack.contains(&top) && top.is_multiple_of(8))
            // SAFETY: 8 bytes of the core's own stack, aligned; the core stands still.
            .then(|| unsafe { (top as *const u64).read() })
            .filter(|address| protection::text().contains(address));
    if let Some(address) = called_from {
        say(out, format_args!("  #1 {address:#x}\n"));
    }
    backtrace(
        out,
        frame.rbp as usize,
        core as usize,
        1 + usize::from(called_from.is_some()),
    );
    end(serial)
}

/// Returns whether `address` is in the guard page of the core's stack.
fn is_guard(address: u64, core: u32) -> bool {
    let bottom = processors::stack(core as usize).start as u64;
    (bottom.saturating_sub(crate::limits::PAGE_BYTES)..bottom).contains(&address)
}

/// Names an exception (Intel SDM vol. 3 §6.3.1).
fn name(vector: u64) -> &'static str {
    match vector {
        0 => "division by zero",
        1 => "debug exception",
        2 => "non-maskable interrupt",
        3 => "breakpoint",
        6 => "invalid instruction",
        7 => "no floating-point unit",
        8 => "double fault",
        11 => "segment not present",
        12 => "stack segment fault",
        13 => "general protection fault",
        16 => "floating-point error",
        17 => "misaligned access",
        18 => "machine check",
        19 => "vector arithmetic error",
        21 => "control protection fault",
        _ => "exception",
    }
}

fn registers(out: &mut Serial, f: &Frame) {
    let rows = [
        [
            ("rax", f.rax),
            ("rbx", f.rbx),
            ("rcx", f.rcx),
            ("rdx", f.rdx),
        ],
        [
            ("rsi", f.rsi),
            ("rdi", f.rdi),
            ("rbp", f.rbp),
            ("rsp", f.rsp),
        ],
        [("r8 ", f.r8), ("r9 ", f.r9), ("r10", f.r10), ("r11", f.r11)],
        [
            ("r12", f.r12),
            ("r13", f.r13),
            ("r14", f.r14),
            ("r15", f.r15),
        ],
        [
            ("rip", f.rip),
            ("cs ", f.cs),
            ("ss ", f.ss),
            ("flg", f.rflags),
        ],
    ];
    for row in rows {
        for (name, value) in row {
            say(out, format_args!(" {name} {value:016x}"));
        }
        say(out, format_args!("\n"));
    }
}

/// Walks frame pointers as long as they go up inside of the core's stack.
fn backtrace(out: &mut Serial, frame_pointer: usize, core: usize, first: usize) {
    // SAFETY: two aligned words inside of the core's own stack, as `return_addresses` promises.
    let read = |frame: usize| unsafe { *(frame as *const [usize; 2]) };
    let addresses = return_addresses(frame_pointer, processors::stack(core), read)
        .take_while(|address| protection::text().contains(&(*address as u64)));
    for (number, address) in (first..MAX_BACKTRACE_FRAMES).zip(addresses) {
        say(out, format_args!("  #{number} {address:#x}\n"));
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let frame_pointer: usize;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, rbp", out(reg) frame_pointer, options(nomem, nostack)) };
    let core = processors::core_of_stack(frame_pointer);
    let mut serial = begin(core);
    let out = &mut serial;
    match (info.location(), core) {
        (Some(place), Some(core)) => {
            say(
                out,
                format_args!("panic: {} at {place} core {core}\n", info.message()),
            );
        }
        _ => say(out, format_args!("panic: {}\n", info.message())),
    }
    backtrace(out, frame_pointer, core.unwrap_or(0), 0);
    end(serial)
}

/// Ways to crash on purpose, so that the report can be tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A panic.
    Panic,
    /// A write to page zero.
    PageFault,
    /// Recursion without end.
    StackOverflow,
    /// A write to code.
    WriteText,
    /// A jump into data.
    ExecuteData,
    /// A write to the page tables: forbidden once the machine is sealed.
    SupervisorWrite,
    /// A write to the interrupt table: forbidden once the machine is sealed.
    WriteIdt,
    /// A write to the segment table: forbidden once the machine is sealed.
    WriteGdt,
    /// A write to the boot core's TSS and port rights: forbidden once the machine is sealed.
    WriteTss,
    /// A write to a constant that holds a pointer, as a vtable does.
    WriteConstant,
    /// A read of PCI's port: forbidden once the machine is sealed.
    ClosedPort,
    /// Page tables of one's own: refused once the machine is sealed.
    InstallTables,
    /// An allocation: forbidden once the heap is sealed.
    Allocate,
}

impl Kind {
    /// What the kernel option `crash=` may say.
    pub const NAMES: &str = "one of panic, page-fault, stack-overflow, write-text, execute-data, \
        supervisor-write, write-idt, write-gdt, write-tss, write-constant, closed-port, \
        install-tables, allocate";

    /// Reads a kind as the kernel option `crash=` has it.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "panic" => Kind::Panic,
            "page-fault" => Kind::PageFault,
            "stack-overflow" => Kind::StackOverflow,
            "write-text" => Kind::WriteText,
            "execute-data" => Kind::ExecuteData,
            "supervisor-write" => Kind::SupervisorWrite,
            "write-idt" => Kind::WriteIdt,
            "write-gdt" => Kind::WriteGdt,
            "write-tss" => Kind::WriteTss,
            "write-constant" => Kind::WriteConstant,
            "closed-port" => Kind::ClosedPort,
            "install-tables" => Kind::InstallTables,
            "allocate" => Kind::Allocate,
            _ => return None,
        })
    }
}

/// Crashes on purpose. Comes back only where what should be forbidden is not.
pub fn provoke(kind: Kind) {
    static mut DATA: [u8; 16] = [0xc3; 16];
    match kind {
        Kind::Panic => panic!("asked for by crash=panic"),
        Kind::Allocate => {
            core::hint::black_box(alloc::boxed::Box::new(kind));
        }
        Kind::StackOverflow => {
            core::hint::black_box(descend(1));
        }
        // SAFETY: meant to fault; where it does not, page zero is nobody's.
        Kind::PageFault => unsafe {
            asm!("mov qword ptr [{}], rax", in(reg) 8_usize, options(nostack));
        },
        // SAFETY: meant to fault; where it does not, the code is as before.
        Kind::WriteText => unsafe {
            let code = sleep_address();
            asm!("mov al, [{0}]", "mov [{0}], al", in(reg) code, out("al") _, options(nostack));
        },
        // SAFETY: meant to fault; where it does not, the data is a `ret`.
        Kind::ExecuteData => unsafe {
            asm!("call {}", in(reg) &raw const DATA, clobber_abi("C"));
        },
        Kind::SupervisorWrite => write(protection::installed_tables()),
        Kind::WriteIdt => write(supervisor::interrupt_table_address()),
        Kind::WriteGdt => write(supervisor::segment_table_address()),
        Kind::WriteTss => write(supervisor::boot_tss_address()),
        Kind::WriteConstant => {
            static CONSTANT: &str = Kind::NAMES;
            write(&raw const CONSTANT as u64);
        }
        // SAFETY: meant to fault; where it does not, the register is read and no more.
        Kind::ClosedPort => unsafe {
            ports::read_u8(0xcf8);
        },
        Kind::InstallTables => {
            // SAFETY: meant to be refused; where it is not, they are those in use.
            let installed =
                unsafe { supervisor::install(protection::installed_tables(), 0, false) };
            fatal(format_args!("page tables of one's own: {installed:?}"));
        }
    }
}

/// Writes what is there already to memory that is out of reach.
fn write(address: u64) {
    // SAFETY: meant to fault; where it does not, the word is as before.
    unsafe { asm!("lock or qword ptr [{}], 0", in(reg) address, options(nostack)) };
}

/// An address in the data plane's code.
fn sleep_address() -> usize {
    supervisor::sleep as fn(u32) as usize
}

#[inline(never)]
fn descend(depth: u64) -> u64 {
    let frame = core::hint::black_box([depth; 64]);
    if frame[0] == u64::MAX {
        return 0;
    }
    descend(depth + 1) + frame[depth as usize % 64]
}

const _: () = assert!(size_of::<Frame>() as u64 * 8 < REPORT_STACK_BYTES);
