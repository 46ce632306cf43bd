//! The table of descriptors, shared by all cores: the lowest free number is given out (POSIX.1-2017,
//! 2.14), under a lock; looked up without one.
//!
//! The free ones are found as Linux finds them: a bitmap, and a number below which none is free.

use crate::sync::Mutex;
use alloc::boxed::Box;
use alloc::vec;
use kernel::sync::atomic::{AtomicU32, Ordering};

/// The table.
pub struct DescriptorTable {
    /// The file of each descriptor, plus one; 0 for a free one.
    files: Box<[AtomicU32]>,
    used: Mutex<Used>,
}

struct Used {
    /// One bit per descriptor.
    words: Box<[u64]>,
    /// None below it is free.
    next: usize,
}

impl DescriptorTable {
    /// Makes a table of so many descriptors, all free.
    pub fn new(count: usize) -> Self {
        DescriptorTable {
            files: (0..count).map(|_| AtomicU32::new(0)).collect(),
            used: Mutex::new(Used {
                words: vec![0; count.div_ceil(64)].into_boxed_slice(),
                next: 0,
            }),
        }
    }

    /// Gives the lowest free descriptor to a file, `None` when there is none.
    pub fn open(&self, file: u32) -> Option<u32> {
        let mut used = self.used.lock();
        let descriptor = used.lowest_free().filter(|free| *free < self.files.len())?;
        used.words[descriptor / 64] |= 1 << (descriptor % 64);
        used.next = descriptor + 1;
        self.files[descriptor].store(file + 1, Ordering::Release);
        Some(descriptor as u32)
    }

    /// Returns the file of a descriptor, `None` for a free one.
    pub fn file(&self, descriptor: u32) -> Option<u32> {
        let place = self.files.get(descriptor as usize)?;
        place.load(Ordering::Acquire).checked_sub(1)
    }

    /// Frees a descriptor and returns its file, `None` for a free one.
    pub fn close(&self, descriptor: u32) -> Option<u32> {
        let mut used = self.used.lock();
        let place = self.files.get(descriptor as usize)?;
        let file = place.swap(0, Ordering::AcqRel).checked_sub(1)?;
        let descriptor = descriptor as usize;
        used.words[descriptor / 64] &= !(1 << (descriptor % 64));
        used.next = used.next.min(descriptor);
        Some(file)
    }

    /// Returns how many descriptors are in use.
    pub fn in_use(&self) -> usize {
        let used = self.used.lock();
        let ones = used.words.iter().map(|word| word.count_ones() as usize);
        ones.sum()
    }
}

impl Used {
    fn lowest_free(&self) -> Option<usize> {
        let first = self.next / 64;
        let words = self.words.get(first..)?;
        // Below `next` in its own word none is free.
        let place = words.iter().position(|word| *word != u64::MAX)?;
        Some((first + place) * 64 + words[place].trailing_ones() as usize)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn the_lowest_free_number_is_given_out() {
        let table = DescriptorTable::new(130);
        for file in 0..130 {
            assert_eq!(table.open(file), Some(file));
        }
        assert_eq!(table.open(7), None);
        for descriptor in [100, 3, 64] {
            assert_eq!(table.close(descriptor), Some(descriptor));
            assert_eq!(table.close(descriptor), None);
            assert_eq!(table.file(descriptor), None);
        }
        let again: Vec<_> = (0..4).map(|file| table.open(file)).collect();
        assert_eq!(again, [Some(3), Some(64), Some(100), None]);
        assert_eq!((table.file(64), table.in_use()), (Some(1), 130));
        assert_eq!((table.file(130), table.close(130)), (None, None));
    }

    #[test]
    fn two_threads_never_get_the_same_number() {
        let table = DescriptorTable::new(64);
        std::thread::scope(|scope| {
            for file in [1, 2] {
                let table = &table;
                scope.spawn(move || {
                    for _ in 0..2000 {
                        let open: Vec<u32> = (0..32).map(|_| table.open(file).unwrap()).collect();
                        assert!(open.iter().all(|one| table.file(*one) == Some(file)));
                        assert!(open.iter().all(|one| table.close(*one) == Some(file)));
                    }
                });
            }
        });
        assert_eq!(table.in_use(), 0);
    }
}
