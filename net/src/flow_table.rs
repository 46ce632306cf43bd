//! From a flow to a number (a connection's slot, a TIME_WAIT entry): open addressing with linear
//! probing, at most half full, never growing. Removal shifts the cluster back, so that there are
//! no tombstones and a lookup that misses stays short.
//!
//! An entry holds the low half of the flow's hash and the number; the flow itself lies where the
//! number leads, and whoever looks one up compares it there. So an entry is 8 bytes whatever the
//! family of the addresses, and eight of them share a cache line.
//!
//! Upstream: [`flow`](crate::flow) for the hash. Downstream: the stack's connection table and
//! `time_wait`.

use alloc::boxed::Box;
use alloc::vec;

/// A bounded map from flows to numbers below [`u32::MAX`].
pub struct FlowTable {
    entries: Box<[Entry]>,
    mask: usize,
    len: usize,
}

#[derive(Clone, Copy)]
struct Entry {
    /// The low half of the hash.
    tag: u32,
    /// The number, or [`EMPTY`].
    value: u32,
}

const EMPTY: u32 = u32::MAX;

impl FlowTable {
    /// Makes a table for `capacity` flows and takes its memory: 8 bytes times the next power of
    /// two from twice the capacity on.
    pub fn new(capacity: usize) -> Self {
        let slots = (capacity.max(1) * 2).next_power_of_two();
        let empty = Entry {
            tag: 0,
            value: EMPTY,
        };
        FlowTable {
            entries: vec![empty; slots].into_boxed_slice(),
            mask: slots - 1,
            len: 0,
        }
    }

    /// Returns how many flows are in the table.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns whether the table is empty.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Yields every number, in no order; looks at the whole table.
    pub(crate) fn values(&self) -> impl Iterator<Item = u32> {
        let entries = if self.is_empty() {
            &[][..]
        } else {
            &self.entries
        };
        let values = entries.iter().map(|entry| entry.value);
        values.filter(|value| *value != EMPTY)
    }

    /// Looks a flow up by its hash; `is_it` says whether a number is that flow's.
    #[inline]
    pub fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let mut slot = hash as usize & self.mask;
        loop {
            let entry = self.entries[slot];
            if entry.value == EMPTY {
                return None;
            }
            if entry.tag == hash as u32 && is_it(entry.value) {
                return Some(entry.value);
            }
            slot = (slot + 1) & self.mask;
        }
    }

    /// Adds a flow that is not in the table. Returns whether there was room: always within the
    /// capacity the table was made with.
    pub fn insert(&mut self, hash: u64, value: u32) -> bool {
        if self.len * 2 > self.mask || value == EMPTY {
            return false;
        }
        let mut slot = hash as usize & self.mask;
        // At most half full: the loop ends.
        while self.entries[slot].value != EMPTY {
            slot = (slot + 1) & self.mask;
        }
        self.entries[slot] = Entry {
            tag: hash as u32,
            value,
        };
        self.len += 1;
        true
    }

    /// Removes a flow by its hash and its number; returns whether it was there.
    pub fn remove(&mut self, hash: u64, value: u32) -> bool {
        let mut hole = hash as usize & self.mask;
        while self.entries[hole].value != value {
            if self.entries[hole].value == EMPTY {
                return false;
            }
            hole = (hole + 1) & self.mask;
        }
        let mut next = (hole + 1) & self.mask;
        while self.entries[next].value != EMPTY {
            // The table is smaller than what a tag can tell.
            let home = self.entries[next].tag as usize & self.mask;
            // The entry may move into the hole unless its home lies after it.
            if (next.wrapping_sub(home) & self.mask) >= (next.wrapping_sub(hole) & self.mask) {
                self.entries[hole] = self.entries[next];
                hole = next;
            }
            next = (next + 1) & self.mask;
        }
        self.entries[hole].value = EMPTY;
        self.len -= 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;
    use std::collections::HashMap;
    use std::vec::Vec;

    /// Hashes that meet often, in a table of a small range of slots, and some that are equal.
    fn hash_of(flow: u64) -> u64 {
        (flow / 2 % 16) | (flow / 2) << 40
    }

    #[test]
    fn behaves_like_a_map_over_random_steps() {
        for seed in 0..50 {
            let mut random = Random::new(seed);
            let mut table = FlowTable::new(64);
            let mut model = HashMap::new();
            // By number: whose it is.
            let mut flows = [u64::MAX; 4000];
            for step in 0..4000u32 {
                let flow = random.below(200);
                let hash = hash_of(flow);
                let found = table.find(hash, |value| flows[value as usize] == flow);
                assert_eq!(found, model.get(&flow).copied());
                match (found, random.below(3)) {
                    (None, 0) if model.len() < 64 => {
                        assert!(table.insert(hash, step));
                        flows[step as usize] = flow;
                        model.insert(flow, step);
                    }
                    (Some(value), 1) => {
                        assert!(table.remove(hash, value));
                        model.remove(&flow);
                        assert!(!table.remove(hash, value));
                    }
                    _ => {}
                }
                assert_eq!(table.len(), model.len());
            }
            let mut values: Vec<u32> = table.values().collect();
            let mut expected: Vec<u32> = model.into_values().collect();
            values.sort_unstable();
            expected.sort_unstable();
            assert_eq!(values, expected);
        }
    }

    #[test]
    fn refuses_more_than_half_of_its_slots() {
        let mut table = FlowTable::new(4);
        let taken = (0..100).filter(|number| table.insert(hash_of(*number), *number as u32));
        assert_eq!(taken.count(), 4);
    }
}
