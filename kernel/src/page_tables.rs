//! Page tables as a plan: rights for ranges of addresses, each mapped to itself.
//!
//! Upstream: boot, which says what lies where. Downstream: the supervisor, which installs them.
//! A later range overrides an earlier one; pages are as large as the range allows (2 MiB), and a
//! large page is split where a smaller range needs it. Works over any frames, so it is tested on
//! the host. Intel SDM vol. 3 §4.5 (4-level paging).

use crate::limits::PAGE_BYTES;
use alloc::vec::Vec;
use core::ops::Range;
use memory_addresses::PhysAddr;

/// Entries of one table.
pub const ENTRIES: usize = 512;

const PRESENT: u64 = 1;
const WRITABLE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const UNCACHED: u64 = 1 << 4 | 1 << 3;
const LARGE: u64 = 1 << 7;
const NO_EXECUTE: u64 = 1 << 63;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
const LARGE_PAGE_BYTES: u64 = 2 << 20;

/// What a page may be used for, and by whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    /// Not mapped.
    None,
    /// The supervisor's code.
    SupervisorText,
    /// The supervisor's data.
    SupervisorData,
    /// Device registers for the supervisor.
    SupervisorDevice,
    /// Code.
    Text,
    /// Data that does not change.
    ReadOnly,
    /// Data.
    Data,
    /// Device registers: uncached.
    Device,
}

impl Rights {
    /// Returns the bits of a leaf entry; none is both writable and executable.
    const fn bits(self) -> u64 {
        match self {
            Rights::None => 0,
            Rights::SupervisorText => PRESENT,
            Rights::SupervisorData => PRESENT | WRITABLE | NO_EXECUTE,
            Rights::SupervisorDevice => PRESENT | WRITABLE | UNCACHED | NO_EXECUTE,
            Rights::Text => PRESENT | USER,
            Rights::ReadOnly => PRESENT | USER | NO_EXECUTE,
            Rights::Data => PRESENT | USER | WRITABLE | NO_EXECUTE,
            Rights::Device => PRESENT | USER | WRITABLE | UNCACHED | NO_EXECUTE,
        }
    }
}

/// Memory for tables.
pub trait TableMemory {
    /// Takes a zeroed frame, `None` when there is none left.
    fn take(&mut self) -> Option<PhysAddr>;

    /// Returns the table in a frame that [`take`](Self::take) returned.
    fn table(&mut self, frame: PhysAddr) -> &mut [u64; ENTRIES];
}

/// There was no frame left for a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfTables;

/// A tree of tables.
#[derive(Debug)]
pub struct PageTables<M> {
    memory: M,
    root: PhysAddr,
}

impl<M: TableMemory> PageTables<M> {
    /// Begins with nothing mapped.
    ///
    /// # Errors
    /// [`OutOfTables`].
    pub fn new(mut memory: M) -> Result<Self, OutOfTables> {
        let root = memory.take().ok_or(OutOfTables)?;
        Ok(PageTables { memory, root })
    }

    /// Returns the address of the topmost table, for CR3.
    pub fn root(&self) -> PhysAddr {
        self.root
    }

    /// Gives `rights` to every page that `range` touches, below 2^47.
    ///
    /// # Errors
    /// [`OutOfTables`]; part of the range may then have its rights already.
    pub fn set(&mut self, range: Range<u64>, rights: Rights) -> Result<(), OutOfTables> {
        let mut address = range.start & !(PAGE_BYTES - 1);
        let end = range.end.min(1 << 47).next_multiple_of(PAGE_BYTES);
        while address < end {
            let pages = self.lower(self.root, address >> 39)?;
            let pages = self.lower(pages, address >> 30)?;
            let index = (address >> 21) as usize % ENTRIES;
            // A block that was split stays so: there is no way to give its table back.
            let is_split = self.memory.table(pages)[index] & (PRESENT | LARGE) == PRESENT;
            let is_block =
                address.is_multiple_of(LARGE_PAGE_BYTES) && end - address >= LARGE_PAGE_BYTES;
            if is_block && !is_split {
                let large = if rights == Rights::None {
                    0
                } else {
                    address | LARGE
                };
                self.memory.table(pages)[index] = large | rights.bits();
                address += LARGE_PAGE_BYTES;
                continue;
            }
            let table = self.lower(pages, address >> 21)?;
            let block_end = (address + 1).next_multiple_of(LARGE_PAGE_BYTES).min(end);
            let entries = self.memory.table(table);
            while address < block_end {
                let page = if rights == Rights::None { 0 } else { address };
                entries[(address / PAGE_BYTES) as usize % ENTRIES] = page | rights.bits();
                address += PAGE_BYTES;
            }
        }
        Ok(())
    }

    /// Returns the table below entry `number` (of any height, modulo the table) of `table`, made
    /// when missing, split from a large page where there is one.
    fn lower(&mut self, table: PhysAddr, number: u64) -> Result<PhysAddr, OutOfTables> {
        let index = number as usize % ENTRIES;
        let entry = self.memory.table(table)[index];
        if entry & (PRESENT | LARGE) == PRESENT {
            return Ok(PhysAddr::new(entry & ADDRESS));
        }
        let frame = self.memory.take().ok_or(OutOfTables)?;
        if entry & LARGE != 0 {
            for (page, below) in self.memory.table(frame).iter_mut().enumerate() {
                *below = (entry & !LARGE) + page as u64 * PAGE_BYTES;
            }
        }
        self.memory.table(table)[index] = frame.as_u64() | PRESENT | WRITABLE | USER;
        Ok(frame)
    }
}

/// Returns how many tables [`PageTables::set`] takes at most for `ranges` in this order, the root
/// included: one for each 512 GiB and each GiB that is touched, and one for each 2 MiB in which a
/// range begins or ends.
pub fn tables_needed(ranges: &[Range<u64>]) -> usize {
    let mut sorted: Vec<_> = ranges.iter().filter(|range| !range.is_empty()).collect();
    sorted.sort_unstable_by_key(|range| range.start);
    let touched = |shift: u32| {
        let mut next = 0;
        let added = sorted.iter().map(|range| {
            let (first, end) = (range.start >> shift, ((range.end - 1) >> shift) + 1);
            let new = end.saturating_sub(first.max(next));
            next = next.max(end);
            new as usize
        });
        added.sum::<usize>()
    };
    let edges = ranges.iter().flat_map(|range| [range.start, range.end]);
    let split = edges.clone().enumerate().filter(|(position, edge)| {
        let block = edge / LARGE_PAGE_BYTES;
        !edge.is_multiple_of(LARGE_PAGE_BYTES)
            && !edges.clone().take(*position).any(|earlier| {
                !earlier.is_multiple_of(LARGE_PAGE_BYTES) && earlier / LARGE_PAGE_BYTES == block
            })
    });
    1 + touched(39) + touched(30) + split.count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::boxed::Box;

    struct Arena {
        tables: Vec<Box<[u64; ENTRIES]>>,
        left: usize,
    }

    impl TableMemory for Arena {
        fn take(&mut self) -> Option<PhysAddr> {
            self.left = self.left.checked_sub(1)?;
            self.tables.push(Box::new([0; ENTRIES]));
            Some(PhysAddr::new(self.tables.len() as u64 * PAGE_BYTES))
        }

        fn table(&mut self, frame: PhysAddr) -> &mut [u64; ENTRIES] {
            &mut self.tables[(frame.as_u64() / PAGE_BYTES) as usize - 1]
        }
    }

    fn tables(left: usize) -> PageTables<Arena> {
        PageTables::new(Arena {
            tables: Vec::new(),
            left,
        })
        .unwrap()
    }

    /// Walks as the processor does: the leaf's address and bits, and whether it is large.
    fn walk(tables: &mut PageTables<Arena>, address: u64) -> Option<(u64, u64, bool)> {
        let mut table = tables.root;
        for shift in [39, 30, 21, 12] {
            let entry = tables.memory.table(table)[(address >> shift) as usize % ENTRIES];
            if entry & PRESENT == 0 {
                return None;
            }
            let is_leaf = shift == 12 || entry & LARGE != 0;
            if is_leaf {
                let offset = address & ((1 << shift) - 1);
                let bits = entry & !ADDRESS & !if shift > 12 { LARGE } else { 0 };
                return Some(((entry & ADDRESS) + offset, bits, shift > 12));
            }
            table = PhysAddr::new(entry & ADDRESS);
        }
        unreachable!()
    }

    #[test]
    fn every_page_is_itself_and_the_last_range_wins() {
        let mut tables = tables(64);
        let plan = [
            (0x10_0000..0x4000_0000, Rights::Data),
            (0x10_0000..0x14_0000, Rights::Text),
            (0x14_0000..0x14_1000, Rights::None),
            (0x3f_f000..0x40_1000, Rights::ReadOnly),
            (0x80_0000..0xc0_0000, Rights::None),
            (0xfee0_0000..0xfee0_1000, Rights::SupervisorDevice),
            (0x1_0000_0000..0x1_0060_0000, Rights::Data),
            (0x80_0000_0000..0x80_0000_4000, Rights::Device),
        ];
        for (range, rights) in &plan {
            tables.set(range.clone(), *rights).unwrap();
        }
        let edges = plan.iter().flat_map(|(range, _)| [range.start, range.end]);
        for edge in edges {
            for address in [edge.wrapping_sub(1), edge, edge + 1, edge + 0x1f_ffff] {
                let expected = plan
                    .iter()
                    .rev()
                    .find(|(range, _)| range.contains(&address));
                let expected = expected.map_or(Rights::None, |(_, rights)| *rights).bits();
                match walk(&mut tables, address) {
                    None => assert_eq!(expected, 0, "{address:#x}"),
                    Some((to, bits, _)) => {
                        assert_eq!((to, bits), (address, expected), "{address:#x}");
                    }
                }
            }
        }
        assert!(
            walk(&mut tables, 0x2000_0000).unwrap().2,
            "memory lies in large pages"
        );
    }

    #[test]
    fn nothing_is_writable_and_executable() {
        use Rights::*;
        let all = [
            SupervisorText,
            SupervisorData,
            SupervisorDevice,
            Text,
            ReadOnly,
            Data,
            Device,
        ];
        for rights in all {
            let bits = rights.bits();
            assert!(bits & WRITABLE == 0 || bits & NO_EXECUTE != 0, "{rights:?}");
        }
    }

    #[test]
    fn the_estimate_is_enough() {
        let ranges = [
            0x10_0000..0x7fff_f000,
            0x1_0000_0000..0x3_4000_1000,
            0x20_1000..0x20_2000,
            0x7f_ffff_f000..0x80_0000_1000,
            // Over a block that has been split, and splitting it again.
            0x20_0000..0x40_0000,
            0x30_0000..0x30_1000,
            0x7fff_ffff_c000..0x7fff_ffff_f000,
        ];
        let needed = tables_needed(&ranges);
        let mut tables = tables(needed);
        for range in ranges {
            tables.set(range, Rights::Data).unwrap();
        }
        assert!(
            tables.memory.left <= 4,
            "{} of {needed} left",
            tables.memory.left
        );
    }

    #[test]
    fn a_block_over_a_split_one_overrides_every_page_of_it() {
        let mut tables = tables(8);
        tables.set(0x20_1000..0x20_2000, Rights::Text).unwrap();
        let left = tables.memory.left;
        for rights in [Rights::ReadOnly, Rights::None, Rights::Data] {
            tables.set(0x20_0000..0x40_0000, rights).unwrap();
            for address in [0x20_0000, 0x20_1234, 0x3f_ffff] {
                let expected = (rights != Rights::None).then(|| (address, rights.bits(), false));
                assert_eq!(walk(&mut tables, address), expected);
            }
        }
        assert_eq!(tables.memory.left, left);
    }

    #[test]
    fn too_few_tables_is_an_error() {
        assert_eq!(
            tables(3).set(0x1000..0x2000, Rights::Data),
            Err(OutOfTables)
        );
        assert!(
            PageTables::new(Arena {
                tables: Vec::new(),
                left: 0
            })
            .is_err()
        );
    }
}
