//! Who may do what with which memory: the two sets of page tables.
//!
//! Upstream: the linker script, the memory map, the cores' stacks, the devices. Downstream: the
//! supervisor's `install`. While the machine is **open** (boot, discovery) everything below 4 GiB
//! can be reached, but W^X, the guard pages and page zero hold already. Once **sealed** only what
//! was asked for is mapped, and the supervisor's memory and the tables themselves are out of the
//! data plane's reach.

use super::limits::AREA_BYTES;
use super::local_apic::LAPIC;
use super::memory::page_aligned;
use super::supervisor::{self, AREA_GUARDS};
use crate::limits::PAGE_BYTES;
use crate::page_tables::{ENTRIES, OutOfTables, PageTables, Rights, TableMemory, tables_needed};
use alloc::vec::Vec;
use core::arch::x86_64::{__cpuid, __cpuid_count};
use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};
use memory_addresses::PhysAddr;

/// Which of the two sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Boot and discovery.
    Open,
    /// For good.
    Sealed,
}

/// What lies where.
#[derive(Debug, Default)]
pub(super) struct Layout {
    /// Usable memory.
    pub(super) ram: Vec<Range<u64>>,
    /// The site module.
    pub(super) site: Option<Range<u64>>,
    /// Supervisor areas, one per core.
    pub(super) areas: Vec<u64>,
    /// Guard pages of data-plane stacks, by address.
    pub(super) guards: Vec<u64>,
    /// Device registers that stay mapped.
    pub(super) devices: Vec<Range<u64>>,
}

unsafe extern "C" {
    static supervisor_text_start: u8;
    static supervisor_text_end: u8;
    static text_start: u8;
    static text_end: u8;
    static rodata_end: u8;
    static supervisor_data_start: u8;
    static supervisor_data_end: u8;
    static supervisor_bss_start: u8;
    static supervisor_bss_end: u8;
    static boot_stack_guard: u8;
    static image_start: u8;
    static image_end: u8;
}

/// Returns the addresses of the whole image, page-aligned.
pub(super) fn image() -> Range<u64> {
    &raw const image_start as u64..&raw const image_end as u64
}

/// Returns the addresses of the data plane's code.
pub(super) fn text() -> Range<u64> {
    &raw const text_start as u64..&raw const text_end as u64
}

/// Returns the boot core's data-plane stack, without its guard page.
pub(super) fn boot_stack() -> Range<u64> {
    // As in the linker script: the stack ends the image.
    &raw const boot_stack_guard as u64 + PAGE_BYTES..&raw const image_end as u64
}

impl Layout {
    /// Lists every range with its rights; a later one overrides.
    fn plan(&self, stage: Stage, tables: Range<u64>) -> Vec<(Range<u64>, Rights)> {
        let mut plan = Vec::new();
        if stage == Stage::Open {
            plan.push((PAGE_BYTES..1 << 32, Rights::Device));
        }
        plan.extend(self.ram.iter().map(|range| (range.clone(), Rights::Data)));
        plan.extend(
            self.devices
                .iter()
                .map(|range| (range.clone(), Rights::Device)),
        );
        plan.push((LAPIC..LAPIC + PAGE_BYTES, Rights::SupervisorDevice));
        plan.extend(self.site.clone().map(|range| (range, Rights::ReadOnly)));
        self.plan_image(&mut plan);
        for area in &self.areas {
            plan.push((*area..area + AREA_BYTES as u64, Rights::SupervisorData));
            let guards = AREA_GUARDS.map(|offset| area + offset as u64);
            plan.extend(guards.map(|guard| (guard..guard + PAGE_BYTES, Rights::None)));
        }
        plan.extend(
            self.guards
                .iter()
                .map(|page| (*page..page + PAGE_BYTES, Rights::None)),
        );
        plan.push((tables, Rights::SupervisorData));
        if stage == Stage::Open {
            for (_, rights) in &mut plan {
                *rights = match *rights {
                    Rights::SupervisorText => Rights::Text,
                    Rights::SupervisorData => Rights::Data,
                    Rights::SupervisorDevice => Rights::Device,
                    other => other,
                };
            }
        }
        plan
    }

    fn plan_image(&self, plan: &mut Vec<(Range<u64>, Rights)>) {
        let range = |start: *const u8, end: *const u8| start as u64..end as u64;
        let head = image().start..&raw const supervisor_text_start as u64;
        plan.push((head, Rights::ReadOnly));
        plan.push((
            range(
                &raw const supervisor_text_start,
                &raw const supervisor_text_end,
            ),
            Rights::SupervisorText,
        ));
        plan.push((text(), Rights::Text));
        plan.push((
            range(&raw const text_end, &raw const rodata_end),
            Rights::ReadOnly,
        ));
        plan.push((
            range(
                &raw const supervisor_data_start,
                &raw const supervisor_data_end,
            ),
            Rights::SupervisorData,
        ));
        plan.push((
            range(
                &raw const supervisor_bss_start,
                &raw const supervisor_bss_end,
            ),
            Rights::SupervisorData,
        ));
        let guard = &raw const boot_stack_guard as u64;
        plan.push((guard..guard + PAGE_BYTES, Rights::None));
    }

    /// Builds the tables of `stage`.
    pub(super) fn tables(&self, stage: Stage) -> Result<PageTables<Arena>, OutOfTables> {
        let ranges: Vec<_> = self
            .plan(stage, 0..0)
            .into_iter()
            .map(|(range, _)| range)
            .collect();
        // Two more for the tables' own range; the open ones also grow with devices above 4 GiB.
        let count = tables_needed(&ranges) + if stage == Stage::Open { 16 } else { 4 };
        let arena = Arena::new(count).ok_or(OutOfTables)?;
        let own = arena.range();
        let mut tables = PageTables::new(arena)?;
        for (range, rights) in self.plan(stage, own) {
            tables.set(range, rights)?;
        }
        Ok(tables)
    }
}

/// A block of frames for the tables of one set.
#[derive(Debug)]
pub(super) struct Arena {
    start: u64,
    count: usize,
    taken: usize,
}

impl Arena {
    fn new(count: usize) -> Option<Self> {
        let start = page_aligned(count as u64 * PAGE_BYTES, PAGE_BYTES)?;
        Some(Arena {
            start,
            count,
            taken: 0,
        })
    }

    fn range(&self) -> Range<u64> {
        self.start..self.start + self.count as u64 * PAGE_BYTES
    }
}

impl TableMemory for Arena {
    fn take(&mut self) -> Option<PhysAddr> {
        if self.taken == self.count {
            return None;
        }
        self.taken += 1;
        Some(PhysAddr::new(
            self.start + (self.taken as u64 - 1) * PAGE_BYTES,
        ))
    }

    fn table(&mut self, frame: PhysAddr) -> &mut [u64; ENTRIES] {
        assert!(
            self.range().contains(&frame.as_u64()),
            "a table outside of its arena"
        );
        // SAFETY: a frame of the arena, which was allocated zeroed, is mapped one to one, and is
        // reached only through this value; the processor writes accessed and dirty bits into
        // leaf entries, which are read for nothing else.
        unsafe { &mut *(frame.as_u64() as *mut [u64; ENTRIES]) }
    }
}

/// The tables in use.
static INSTALLED: AtomicU64 = AtomicU64::new(0);

/// Returns the address of the topmost table in use.
pub(super) fn installed_tables() -> u64 {
    INSTALLED.load(Ordering::Relaxed)
}

/// Installs `tables`; sealed ones for good, with SMEP and UMIP where the processor has them.
///
/// # Safety
/// They map all that is in use, one to one.
pub(super) unsafe fn install(tables: &PageTables<Arena>, stage: Stage) {
    let has_features = __cpuid(0).eax >= 7;
    let features = __cpuid_count(7, 0);
    let smep = u64::from(has_features && features.ebx >> 7 & 1 == 1) << 20;
    let umip = u64::from(has_features && features.ecx >> 2 & 1 == 1) << 11;
    INSTALLED.store(tables.root().as_u64(), Ordering::Relaxed);
    let bits = if stage == Stage::Sealed {
        smep | umip
    } else {
        0
    };
    let seal = stage == Stage::Sealed;
    // SAFETY: the caller vouches for the tables.
    if unsafe { supervisor::install(tables.root().as_u64(), bits, seal) }.is_err() {
        super::exit::fatal(format_args!("the page tables are sealed already"));
    }
}
