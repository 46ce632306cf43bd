//! The cores: their stacks, their start, and each as its own code sees it ([`ThisCore`]).
//!
//! Upstream: the supervisor. Downstream: every crate above, through [`Processor`]. A core never
//! touches another's stack; what crosses cores is one wake flag and one sleep flag for each.

use super::limits::{AREA_BYTES, CORE_START_US, REPORT_STACK_BYTES, STACK_BYTES, UNKNOWN_CORES_US};
use super::protection::{self, Layout};
use super::supervisor::{self, AreaLinks};
use super::{clock, heap, local_apic, memory};
use crate::limits::{MAX_CORES, PAGE_BYTES};
use crate::wake::WakeFlags;
use crate::{CoreId, Instant, Processor};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering, fence};
use spin::Mutex;

/// What one core runs once the machine is sealed.
pub type Seat = Box<dyn FnOnce(ThisCore) + Send>;

/// The flags of every core.
static FLAGS: [WakeFlags; MAX_CORES] = [const { WakeFlags::new() }; MAX_CORES];
/// The cores' local APIC ids.
static APIC_IDS: [AtomicU32; MAX_CORES] = [const { AtomicU32::new(0) }; MAX_CORES];

/// What the cores will run, taken by each as soon as it is there.
static SEATS: [Mutex<Option<Seat>>; MAX_CORES] = [const { Mutex::new(None) }; MAX_CORES];
/// Cores that run.
static CORES: AtomicUsize = AtomicUsize::new(1);
/// Cores that have reached the start barrier.
static AT_BARRIER: AtomicUsize = AtomicUsize::new(0);
/// Ends of the data-plane stacks, for backtraces; 0 for a core without one.
static STACK_ENDS: [[AtomicUsize; 2]; MAX_CORES] =
    [const { [AtomicUsize::new(0), AtomicUsize::new(0)] }; MAX_CORES];

/// There is no memory for the stacks of the cores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoStacks;

/// Prepares areas and stacks for `count` cores, the boot core among them.
pub(super) fn prepare(count: usize, layout: &mut Layout) -> Result<(), NoStacks> {
    let area_bytes = AREA_BYTES as u64;
    layout.areas.push(supervisor::boot_area_address());
    let others = count as u64 - 1;
    if others > 0 {
        let first = memory::page_aligned(others * area_bytes, area_bytes).ok_or(NoStacks)?;
        layout
            .areas
            .extend((0..others).map(|index| first + index * area_bytes));
    }
    for (index, flags) in FLAGS.iter().enumerate().take(count) {
        let report = guarded_stack(REPORT_STACK_BYTES, layout)?;
        let stack = match index {
            0 => protection::boot_stack(),
            _ => guarded_stack(STACK_BYTES, layout)?,
        };
        STACK_ENDS[index][0].store(stack.start as usize, Ordering::Relaxed);
        STACK_ENDS[index][1].store(stack.end as usize, Ordering::Relaxed);
        let links = AreaLinks {
            wake: flags.wake_word(),
            // The lowest bytes of the report stack, which it never reaches.
            frame: report.start,
            report_stack_top: report.end,
            entry_stack_top: stack.end,
        };
        // SAFETY: the boot core's own area, or zeroed memory taken above for this; nothing is
        // sealed yet, and each index is used once.
        unsafe { supervisor::prepare_area(layout.areas[index], index, &links) };
    }
    if others > 0 {
        // SAFETY: prepared just now, and no core has been started.
        unsafe { supervisor::offer_areas(layout.areas[1], others as usize) };
    }
    Ok(())
}

/// Takes memory for a stack with a guard page below it.
fn guarded_stack(bytes: u64, layout: &mut Layout) -> Result<Range<u64>, NoStacks> {
    let guard = memory::uncleared(PAGE_BYTES + bytes, PAGE_BYTES).ok_or(NoStacks)?;
    layout.guards.push(guard);
    Ok(guard + PAGE_BYTES..guard + PAGE_BYTES + bytes)
}

/// Starts the other cores, `expected` of all if that is known, and returns the local APIC ids of
/// those that came, the boot core's first. They sleep in the supervisor until the seal.
///
/// # Safety
/// Local APIC enabled, tables open, areas prepared for `areas.len()` cores.
pub(super) unsafe fn start(areas: &[u64], expected: Option<usize>) -> Vec<u32> {
    // SAFETY: the caller's.
    let mut apic_ids = Vec::from([unsafe { local_apic::read(0x20) } >> 24]);
    if areas.len() > 1 {
        // SAFETY: the page of the trampoline is low memory, which is nobody's; the commands are
        // INIT and start-up at the trampoline, for all but this core.
        unsafe {
            supervisor::place_trampoline();
            local_apic::write(0x300, 0xc_4500);
            wait(200, || false);
            let page = (supervisor::TRAMPOLINE >> 12) as u32;
            local_apic::write(0x300, 0xc_4600 | page);
        }
        // SAFETY: prepared areas, not sealed.
        let is_started = |area: &u64| unsafe { supervisor::started_apic_id(*area) };
        let patience = if expected.is_some() {
            CORE_START_US
        } else {
            UNKNOWN_CORES_US
        };
        wait(patience, || {
            areas[1..].iter().all(|area| is_started(area).is_some())
        });
        apic_ids.extend(areas[1..].iter().map_while(is_started));
    }
    for (place, apic_id) in APIC_IDS.iter().zip(&apic_ids) {
        place.store(*apic_id, Ordering::Relaxed);
    }
    CORES.store(apic_ids.len(), Ordering::Relaxed);
    apic_ids
}

/// Waits until `is_done`, at most `us` microseconds.
fn wait(us: u64, is_done: impl Fn() -> bool) {
    let until = clock::now().as_micros() + us;
    while !is_done() && clock::now().as_micros() < until {
        core::hint::spin_loop();
    }
}

/// Hands out the seats, wakes the other cores (which the seal has let go), and takes the first.
pub(super) fn run(seats: Vec<Seat>) -> ! {
    let cores = CORES.load(Ordering::Relaxed);
    if seats.len() != cores {
        super::exit::fatal(format_args!("{} seats for {cores} cores", seats.len()));
    }
    for (place, seat) in SEATS.iter().zip(seats) {
        *place.lock() = Some(seat);
    }
    fence(Ordering::SeqCst);
    for apic_id in &APIC_IDS[1..cores] {
        supervisor::wake(apic_id.load(Ordering::Relaxed));
    }
    sit(0)
}

/// Where the other cores begin at CPL 3.
#[unsafe(no_mangle)]
extern "C" fn sluice_core_main(index: u32) -> ! {
    sit(index as usize)
}

/// Runs the core's seat, once there is one: a core that came too late to be counted sleeps for ever.
fn sit(index: usize) -> ! {
    let Some(core) = CoreId::new(index) else {
        super::exit::fatal(format_args!("core {index} is one too many"));
    };
    loop {
        FLAGS[index].clear();
        let seat = SEATS[index].lock().take();
        if let Some(seat) = seat {
            seat(ThisCore { core });
            super::exit::fatal(format_args!("core {index} has nothing left to run"));
        }
        supervisor::sleep(0);
    }
}

/// Lets the core `index` sleep for ever.
pub(super) fn rest(index: usize) -> ! {
    loop {
        FLAGS[index].clear();
        supervisor::sleep(0);
    }
}

/// Returns the stack of `index`, without its guard page; empty when there is no such core.
pub(super) fn stack(index: usize) -> Range<usize> {
    let Some(ends) = STACK_ENDS.get(index) else {
        return 0..0;
    };
    ends[0].load(Ordering::Relaxed)..ends[1].load(Ordering::Relaxed)
}

/// Returns the core on whose stack `address` lies.
pub(super) fn core_of_stack(address: usize) -> Option<usize> {
    (0..MAX_CORES).find(|index| stack(*index).contains(&address))
}

/// The core that runs the caller. Given to its seat, and to nobody else.
#[derive(Debug)]
pub struct ThisCore {
    core: CoreId,
}

impl ThisCore {
    /// Waits until every core is here; then the heap is sealed.
    pub fn start_barrier(&self) {
        let cores = CORES.load(Ordering::Relaxed);
        if AT_BARRIER.fetch_add(1, Ordering::AcqRel) + 1 == cores {
            heap::seal();
            AT_BARRIER.fetch_add(MAX_CORES, Ordering::Release);
        }
        while AT_BARRIER.load(Ordering::Acquire) < cores + MAX_CORES {
            core::hint::spin_loop();
        }
    }

    /// Crosses into the supervisor and back, for nothing: what entering a kernel costs on this
    /// machine. For measurements.
    pub fn cross(&self) {
        supervisor::nothing();
    }

    fn flags(&self) -> &'static WakeFlags {
        &FLAGS[self.core.index()]
    }
}

impl Processor for ThisCore {
    fn core(&self) -> CoreId {
        self.core
    }

    fn now(&self) -> Instant {
        clock::now()
    }

    fn unix_seconds(&self) -> u64 {
        clock::wall_clock().unix_seconds(clock::now())
    }

    fn clear_wake(&self) {
        self.flags().clear();
    }

    fn sleep_until(&self, deadline: Option<Instant>) {
        let flags = self.flags();
        let ticks = match deadline {
            None => 0,
            Some(deadline) => {
                let left = deadline.saturating_since(clock::now()).as_nanos() as u64;
                if left == 0 {
                    return;
                }
                clock::ticks(left)
            }
        };
        if flags.begin_sleep() {
            supervisor::sleep(ticks);
        }
        flags.end_sleep();
    }

    fn wake(&self, core: CoreId) {
        if FLAGS[core.index()].wake() {
            supervisor::wake(APIC_IDS[core.index()].load(Ordering::Relaxed));
        }
    }
}
