//! Physical memory by the page: what is usable, less what is taken.
//!
//! Upstream: the loader's memory map. Downstream: boot, which gives what is free to the heap (and
//! takes stacks, page tables and DMA buffers from there). The lists are Hermit's `free-list`.

use crate::limits::{MAX_RAM_RANGES, PAGE_BYTES};
use core::ops::Range;
use free_list::{FreeList, PageRange};
use heapless::Vec;

/// Memory below this is left alone: firmware, the loader's structures, the trampoline.
pub const LOW_MEMORY_END: u64 = 0x10_0000;

/// The memory map is unusable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FramesError {
    /// More than [`MAX_RAM_RANGES`] ranges of memory.
    TooManyRanges,
    /// Two ranges of memory overlap.
    Overlap,
}

impl core::fmt::Display for FramesError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            FramesError::TooManyRanges => "the memory map has too many ranges",
            FramesError::Overlap => "ranges of the memory map overlap",
        })
    }
}

/// The machine's memory, and which of it is free.
#[derive(Debug)]
pub struct Frames {
    ram: Vec<Range<u64>, MAX_RAM_RANGES>,
    free: FreeList<MAX_RAM_RANGES>,
}

impl Frames {
    /// Takes stock of `ram`: whole pages from [`LOW_MEMORY_END`] up.
    ///
    /// # Errors
    /// [`FramesError::TooManyRanges`], [`FramesError::Overlap`].
    pub fn new(ram: impl Iterator<Item = Range<u64>>) -> Result<Self, FramesError> {
        let mut frames = Frames {
            ram: Vec::new(),
            free: FreeList::new(),
        };
        for range in ram {
            let start = range.start.max(LOW_MEMORY_END);
            // Memory at the end of the address space is none.
            let Some(start) = start.checked_next_multiple_of(PAGE_BYTES) else {
                continue;
            };
            let end = range.end & !(PAGE_BYTES - 1);
            let Ok(pages) = PageRange::new(start as usize, end as usize) else {
                continue;
            };
            frames
                .ram
                .push(start..end)
                .map_err(|_| FramesError::TooManyRanges)?;
            // SAFETY: a list of numbers; the memory itself is not touched.
            let added = unsafe { frames.free.deallocate(pages) };
            added.map_err(|_| FramesError::Overlap)?;
        }
        Ok(frames)
    }

    /// Takes every page that `range` touches out of the free memory; what is not free stays so.
    pub fn reserve(&mut self, range: Range<u64>) {
        let Ok(wanted) = PageRange::containing(range.start as usize, range.end as usize) else {
            return;
        };
        let overlaps =
            |free: &FreeList<MAX_RAM_RANGES>| free.iter().find_map(|entry| entry.and(wanted));
        while let Some(part) = overlaps(&self.free) {
            if self.free.allocate_at(part).is_err() {
                return;
            }
        }
    }

    /// Returns whether all of `range` is usable memory, free or not.
    pub fn holds(&self, range: &Range<u64>) -> bool {
        let mut next = range.start;
        // Ranges that touch are one memory; they are in no order.
        while next < range.end {
            let Some(part) = self.ram.iter().find(|part| part.contains(&next)) else {
                return false;
            };
            next = part.end;
        }
        true
    }

    /// Returns all usable memory from [`LOW_MEMORY_END`] up, free or not.
    pub fn ram(&self) -> &[Range<u64>] {
        &self.ram
    }

    /// Returns the bytes of all usable memory.
    pub fn total_bytes(&self) -> u64 {
        self.ram.iter().map(|range| range.end - range.start).sum()
    }

    /// Returns what is free.
    pub fn free(&self) -> impl Iterator<Item = Range<u64>> {
        self.free
            .iter()
            .map(|range| range.start() as u64..range.end() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec as StdVec;

    fn microvm() -> Frames {
        let ram = [
            0..0x9_fc00,
            0x10_0000..0x8000_0000,
            0x1_0000_0000..0x1_4000_0000,
        ];
        Frames::new(ram.into_iter()).unwrap()
    }

    fn free(frames: &Frames) -> StdVec<Range<u64>> {
        frames.free().collect()
    }

    #[test]
    fn leaves_low_memory_and_broken_pages_alone() {
        let frames = Frames::new([0..0x9_fc00, 0x10_0800..0x20_0801].into_iter()).unwrap();
        assert_eq!(free(&frames).first(), Some(&(0x10_1000..0x20_0000)));
        assert_eq!(free(&frames).len(), 1);
        assert_eq!(frames.total_bytes(), 0xf_f000);
    }

    #[test]
    fn reserves_across_holes_and_twice() {
        let mut frames = microvm();
        frames.reserve(0x10_0000..0x30_0001);
        frames.reserve(0x7fff_f000..0x1_0000_1000);
        frames.reserve(0x10_0000..0x30_0001);
        assert_eq!(
            free(&frames),
            [0x30_1000..0x7fff_f000, 0x1_0000_1000..0x1_4000_0000]
        );
        frames.reserve(0..0);
        assert_eq!(free(&frames).len(), 2);
    }

    #[test]
    fn memory_is_held_across_ranges_that_touch_and_not_across_holes() {
        let ram = [
            0x30_0000..0x40_0000,
            0x10_0000..0x20_0000,
            0x20_0000..0x30_0000,
        ];
        let mut frames = Frames::new(ram.into_iter()).unwrap();
        frames.reserve(0x18_0000..0x19_0000);
        assert!(frames.holds(&(0x10_0000..0x40_0000)));
        assert!(frames.holds(&(0x18_0001..0x18_0002)));
        for outside in [
            0xf_ffff..0x10_0001,
            0x3f_ffff..0x40_0001,
            0..u64::MAX,
            u64::MAX - 1..u64::MAX,
        ] {
            assert!(!frames.holds(&outside), "{outside:x?}");
        }
        assert!(!microvm().holds(&(0x7fff_f000..0x1_0000_1000)));
    }

    #[test]
    fn memory_at_the_end_of_the_address_space_is_left_out() {
        let ram = [0x10_0000..0x20_0000, u64::MAX - 0x100..u64::MAX];
        let frames = Frames::new(ram.into_iter()).unwrap();
        assert_eq!(frames.total_bytes(), 0x10_0000);
    }

    #[test]
    fn refuses_overlap() {
        let ram = [0x10_0000..0x20_0000, 0x1f_f000..0x30_0000];
        assert_eq!(
            Frames::new(ram.into_iter()).unwrap_err(),
            FramesError::Overlap
        );
    }
}
