//! The supervisor: all that runs at CPL 0, in assembly, and the data it works on.
//!
//! Upstream: the loader and the processor (`supervisor/boot.s`, `trampoline.s`, `traps.s`).
//! Downstream: the data plane's few crossings ([`sleep`], [`wake`], [`install`], [`exit`];
//! `crossing.s`). Until the page tables are sealed Rust at CPL 3 fills in the descriptor tables and
//! the per-core areas; from then on nothing at CPL 3 can reach them.
//!
//! Invariants: no compiled Rust runs at CPL 0; no entry touches a vector register; an entry finds
//! its core's [`Area`] by masking the stack pointer. Intel SDM vol. 3 §6.14 (IDT), §8.7 (TSS).

use super::interrupts::POWER_VECTOR;
use super::limits::AREA_BYTES;
use super::local_apic::{LAPIC, SPURIOUS_VECTOR, TIMER_VECTOR};
use crate::limits::{MAX_CORES, OPEN_PORTS};
use core::arch::{asm, global_asm};
use core::mem::offset_of;
use core::sync::atomic::{AtomicU32, Ordering};

/// Vector by which a core wakes another.
const WAKE_VECTOR: u8 = 0x21;
/// Port of QEMU's `isa-debug-exit`.
pub(super) const EXIT_PORT: u16 = 0xf4;
/// Page to which the trampoline is copied; the SIPI vector is its page number.
pub(super) const TRAMPOLINE: u64 = 0x8000;

/// Bytes of the I/O permission map: one bit for each of the ports that can be opened.
const IO_MAP_BYTES: usize = OPEN_PORTS / 8;
/// Pages of an area that are never mapped: one below each of its stacks.
pub(super) const AREA_GUARDS: [usize; 2] = [0, 0x2000];
/// Offset of the supervisor stack's end in an area.
const STACK_TOP: usize = 0x2000;
/// Offset of the fault stack's end (double fault, NMI, machine check).
const FAULT_STACK_TOP: usize = 0x3c00;

/// How the image was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// PVH: `hvm_start_info`.
    Pvh,
    /// Hermit: `RawBootInfo`.
    Hermit,
}

impl Protocol {
    /// Reads the number that the entry code passes.
    pub(super) fn from_number(number: u32) -> Self {
        if number == 1 {
            Protocol::Hermit
        } else {
            Protocol::Pvh
        }
    }
}

/// Task state segment, of which only stacks and port rights are used (Intel SDM vol. 3 §8.7).
#[repr(C, packed(4))]
struct TaskState {
    reserved0: u32,
    rsp: [u64; 3],
    reserved1: u64,
    ist: [u64; 7],
    reserved2: u64,
    reserved3: u16,
    io_map: u16,
}

/// What the supervisor keeps for one core: an area of 16 KiB with both its stacks, each of which
/// grows down to a guard page, and its data in the last page, behind the fault stack.
#[repr(C, align(16384))]
pub(super) struct Area {
    stacks: [u8; FAULT_STACK_TOP],
    task: TaskState,
    io_map: [u8; IO_MAP_BYTES + 1],
    index: u32,
    wake: *const AtomicU32,
    frame: u64,
    report_stack: u64,
    entry_stack: u64,
    is_reporting: u32,
    apic_id: u32,
    is_started: AtomicU32,
}

const _: () = assert!(size_of::<Area>() == AREA_BYTES);
/// Offset of the I/O permission map in the TSS, and the TSS's last byte.
const IO_MAP_BASE: usize = offset_of!(Area, io_map) - offset_of!(Area, task);
const TSS_LIMIT: usize = IO_MAP_BASE + IO_MAP_BYTES;
const _: () = assert!(size_of::<TaskState>() == 104);

/// What an exception leaves behind, in the order of the pushes in `traps.s`.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(super) struct Frame {
    pub(super) cr2: u64,
    pub(super) r15: u64,
    pub(super) r14: u64,
    pub(super) r13: u64,
    pub(super) r12: u64,
    pub(super) r11: u64,
    pub(super) r10: u64,
    pub(super) r9: u64,
    pub(super) r8: u64,
    pub(super) rbp: u64,
    pub(super) rdi: u64,
    pub(super) rsi: u64,
    pub(super) rdx: u64,
    pub(super) rcx: u64,
    pub(super) rbx: u64,
    pub(super) rax: u64,
    pub(super) vector: u64,
    pub(super) error: u64,
    pub(super) rip: u64,
    pub(super) cs: u64,
    pub(super) rflags: u64,
    pub(super) rsp: u64,
    pub(super) ss: u64,
}

/// Calls over the crossing, as `crossing.s` knows them.
const CALL_SLEEP: u32 = 0;
const CALL_WAKE: u32 = 1;
const CALL_INSTALL: u32 = 2;
const CALL_EXIT: u32 = 3;
const CALL_NOTHING: u32 = 4;

global_asm!(
    include_str!("supervisor/boot.s"),
    include_str!("supervisor/traps.s"),
    include_str!("supervisor/crossing.s"),
    include_str!("supervisor/trampoline.s"),
    PROTOCOL_PVH = const 0,
    PROTOCOL_HERMIT = const 1,
    MAX_CORES = const MAX_CORES,
    LAPIC = const LAPIC,
    TRAMPOLINE = const TRAMPOLINE,
    TIMER_VECTOR = const TIMER_VECTOR,
    WAKE_VECTOR = const WAKE_VECTOR,
    EXIT_PORT = const EXIT_PORT,
    EXIT_FAILURE = const super::exit::ExitStatus::Failure as u32,
    CALL_WAKE = const CALL_WAKE,
    CALL_INSTALL = const CALL_INSTALL,
    CALL_NOTHING = const CALL_NOTHING,
    STACK_TOP = const STACK_TOP,
    AREA_BYTES = const AREA_BYTES,
    TSS = const offset_of!(Area, task),
    TSS_RSP0 = const offset_of!(Area, task.rsp),
    TSS_IO_MAP = const offset_of!(Area, task.io_map),
    TSS_IO_MAP_BASE = const IO_MAP_BASE,
    TSS_LIMIT = const TSS_LIMIT,
    IO_MAP_LAST = const offset_of!(Area, io_map) + IO_MAP_BYTES,
    AREA_INDEX = const offset_of!(Area, index),
    AREA_WAKE = const offset_of!(Area, wake),
    AREA_FRAME = const offset_of!(Area, frame),
    AREA_REPORT_STACK = const offset_of!(Area, report_stack),
    AREA_ENTRY_STACK = const offset_of!(Area, entry_stack),
    AREA_IS_REPORTING = const offset_of!(Area, is_reporting),
    AREA_APIC_ID = const offset_of!(Area, apic_id),
    AREA_IS_STARTED = const offset_of!(Area, is_started),
    FRAME_CS = const offset_of!(Frame, cs),
    FRAME_VECTOR = const offset_of!(Frame, vector),
    FRAME_WORDS = const size_of::<Frame>() / 8,
    options(att_syntax)
);

unsafe extern "C" {
    static sluice_exceptions: u8;
    static sluice_interrupt: u8;
    static sluice_power_interrupt: u8;
    static sluice_spurious: u8;
    static sluice_trampoline: u8;
    static sluice_trampoline_end: u8;
    static mut sluice_idt: [[u64; 2]; 256];
    static mut sluice_gdt: [u64; 5 + 2 * MAX_CORES];
    static mut sluice_areas: [u64; 2];
    static mut boot_area: Area;
}

/// The stacks and the flag that an area points to, all of them the data plane's.
pub(super) struct AreaLinks {
    /// Set by every interrupt of the core.
    pub(super) wake: &'static AtomicU32,
    /// Where the supervisor leaves the frame of a fault; room for a [`Frame`], 8-byte aligned.
    pub(super) frame: u64,
    /// End of the fault reporter's stack.
    pub(super) report_stack_top: u64,
    /// End of the stack on which the core begins at CPL 3.
    pub(super) entry_stack_top: u64,
}

/// Returns the boot core's area.
pub(super) fn boot_area_address() -> u64 {
    &raw const boot_area as u64
}

/// Returns the address of the interrupt table.
pub(super) fn interrupt_table_address() -> u64 {
    &raw const sluice_idt as u64
}

/// Returns the address of the segment table.
pub(super) fn segment_table_address() -> u64 {
    &raw const sluice_gdt as u64
}

/// Returns the address of the boot core's TSS, behind which is the map of its ports.
pub(super) fn boot_tss_address() -> u64 {
    &raw const boot_area as u64 + offset_of!(Area, task) as u64
}

/// Fills in the area at `area` for core `index`, and the core's TSS descriptor.
///
/// # Safety
/// `area` is the boot core's, or 16 KiB of aligned, zeroed memory that nothing else uses; before
/// the page tables are sealed; `index` is below [`MAX_CORES`] and belongs to one area only.
pub(super) unsafe fn prepare_area(area: u64, index: usize, links: &AreaLinks) {
    let place = area as *mut Area;
    // SAFETY: the caller gives memory of an area's size and alignment for this use alone; only raw
    // places are written, as the core (or its interrupts) may read them meanwhile.
    unsafe {
        (&raw mut (*place).task.rsp[0]).write_unaligned(area + STACK_TOP as u64);
        (&raw mut (*place).task.ist[0]).write_unaligned(area + FAULT_STACK_TOP as u64);
        (&raw mut (*place).task.io_map).write_unaligned(IO_MAP_BASE as u16);
        (&raw mut (*place).io_map[IO_MAP_BYTES]).write(0xff);
        (&raw mut (*place).index).write(index as u32);
        (&raw mut (*place).frame).write(links.frame);
        // As after a call: 8 below a multiple of 16.
        (&raw mut (*place).report_stack).write(links.report_stack_top - 8);
        (&raw mut (*place).entry_stack).write(links.entry_stack_top - 8);
        (&raw mut (*place).wake).write(links.wake);
    }
    if index > 0 {
        let task = area + offset_of!(Area, task) as u64;
        let low =
            TSS_LIMIT as u64 | (task & 0xff_ffff) << 16 | 0x89 << 40 | (task >> 24 & 0xff) << 56;
        // SAFETY: the descriptor of a core that has not been started yet.
        unsafe {
            sluice_gdt[5 + 2 * index] = low;
            sluice_gdt[5 + 2 * index + 1] = task >> 32;
        }
    }
}

/// Closes every port to the core of `area` but those in `allowed`.
///
/// # Safety
/// `area` has been through [`prepare_area`], and the page tables are not sealed yet.
pub(super) unsafe fn restrict_ports<'a>(area: u64, allowed: impl Iterator<Item = &'a u16>) {
    let mut map = [0xff_u8; IO_MAP_BYTES + 1];
    for port in allowed {
        if usize::from(*port) < OPEN_PORTS {
            map[usize::from(*port) / 8] &= !(1 << (port % 8));
        }
    }
    // SAFETY: the caller gives an area; its core reads the map only when it uses a port.
    unsafe { (&raw mut (*(area as *mut Area)).io_map).write(map) };
}

/// Returns the local APIC id of the core of `area`, once it has started.
///
/// # Safety
/// `area` has been through [`prepare_area`], and the page tables are not sealed yet.
pub(super) unsafe fn started_apic_id(area: u64) -> Option<u32> {
    let area = area as *const Area;
    // SAFETY: the caller gives an area; the core stores its id before it sets the flag.
    unsafe {
        let is_started = (*area).is_started.load(Ordering::Acquire) == 1;
        is_started.then(|| (&raw const (*area).apic_id).read_volatile())
    }
}

/// Tells the trampoline where the areas of cores 1 and up are, and how many.
///
/// # Safety
/// Each has been through [`prepare_area`], in order; no other core has been started yet.
pub(super) unsafe fn offer_areas(first: u64, count: usize) {
    // SAFETY: nothing reads it before the first start-up IPI.
    unsafe { sluice_areas = [count as u64, first] };
}

/// Copies the trampoline to [`TRAMPOLINE`].
///
/// # Safety
/// The page there is mapped writable and nothing uses it.
pub(super) unsafe fn place_trampoline() {
    let from = &raw const sluice_trampoline;
    let bytes = &raw const sluice_trampoline_end as usize - from as usize;
    // SAFETY: the caller gives the page; the trampoline is much shorter than a page.
    unsafe { core::ptr::copy_nonoverlapping(from, TRAMPOLINE as *mut u8, bytes) };
}

/// Fills in the interrupt table: exceptions to the reporter, everything else to the wake flag.
///
/// # Safety
/// The page tables are not sealed yet.
pub(super) unsafe fn fill_interrupt_table() {
    let exceptions = &raw const sluice_exceptions as u64;
    let table = &raw mut sluice_idt as *mut [u64; 2];
    for vector in 0..256_u64 {
        let (handler, stack) = match vector {
            // NMI, double fault and machine check come on the fault stack.
            2 | 8 | 18 => (exceptions + 16 * vector, 1),
            0..32 => (exceptions + 16 * vector, 0),
            _ if vector == u64::from(SPURIOUS_VECTOR) => (&raw const sluice_spurious as u64, 0),
            _ if vector == u64::from(POWER_VECTOR) => (&raw const sluice_power_interrupt as u64, 0),
            _ => (&raw const sluice_interrupt as u64, 0),
        };
        let low = handler & 0xffff
            | 0x08 << 16
            | stack << 32
            | 0x8e << 40
            | (handler >> 16 & 0xffff) << 48;
        // SAFETY: 256 entries; the table is the caller's to write before the seal.
        unsafe {
            table
                .add(vector as usize)
                .write_volatile([low, handler >> 32])
        };
    }
}

/// Crosses into the supervisor; returns 0 for done, 1 for refused.
///
/// # Safety
/// As the call says.
unsafe fn cross(call: u32, first: u64, second: u64, third: u32) -> u32 {
    let result;
    // SAFETY: the gate returns with every register but these as it was; what else it does is what
    // the caller asked for. The call pushes to the stack, below any red zone it must not touch.
    unsafe {
        asm!(
            "sub rsp, 128",
            "call sluice_crossing",
            "add rsp, 128",
            inout("eax") call => result,
            inout("rdi") first => _,
            inout("rsi") second => _,
            inout("edx") third => _,
            out("rcx") _,
        );
    }
    result
}

/// Sleeps until an interrupt, at most `ticks` of the local timer (0: without a bound); returns at
/// once when the core's wake flag is set.
pub(super) fn sleep(ticks: u32) {
    // SAFETY: sleeping changes nothing that the data plane can see but time.
    unsafe { cross(CALL_SLEEP, u64::from(ticks), 0, 0) };
}

/// Crosses and comes back.
pub(super) fn nothing() {
    // SAFETY: nothing is asked for.
    unsafe { cross(CALL_NOTHING, 0, 0, 0) };
}

/// Interrupts the core with the given local APIC id.
pub(super) fn wake(apic_id: u32) {
    // SAFETY: the interrupt only sets a flag.
    unsafe { cross(CALL_WAKE, u64::from(apic_id) << 24, 0, 0) };
}

/// The supervisor has installed its last page tables and takes no others.
#[derive(Debug)]
pub(super) struct Sealed;

/// Installs the page tables at `root` on this core; with `seal`, for good and on every core.
///
/// # Safety
/// They map everything that is in use, one to one, and the supervisor's memory.
pub(super) unsafe fn install(root: u64, cr4_bits: u64, seal: bool) -> Result<(), Sealed> {
    // SAFETY: the caller vouches for the tables.
    match unsafe { cross(CALL_INSTALL, root, cr4_bits, u32::from(seal)) } {
        0 => Ok(()),
        _ => Err(Sealed),
    }
}

/// Ends the machine.
pub(super) fn exit(status: u32) -> ! {
    loop {
        // SAFETY: does not return.
        unsafe { cross(CALL_EXIT, u64::from(status), 0, 0) };
    }
}
