//! From a flow to a number (a connection's slot, a TIME_WAIT entry): open addressing with linear
//! probing, at most half full, never growing. Removal shifts the cluster back, so that there are
//! no tombstones and a lookup that misses stays short.
//!
//! Upstream: [`flow`](crate::flow) for key and hash. Downstream: the stack's connection table and
//! `time_wait`.

use crate::flow::{FlowHasher, FlowKey};
use alloc::boxed::Box;
use alloc::vec;

/// A bounded map from flows to numbers below [`u32::MAX`].
pub struct FlowTable {
    entries: Box<[Entry]>,
    mask: usize,
    len: usize,
    hasher: FlowHasher,
}

#[derive(Clone, Copy)]
struct Entry {
    key: FlowKey,
    /// The number, or [`EMPTY`].
    value: u32,
}

const EMPTY: u32 = u32::MAX;

const NO_FLOW: FlowKey = FlowKey {
    remote: core::net::Ipv4Addr::UNSPECIFIED,
    local: core::net::Ipv4Addr::UNSPECIFIED,
    remote_port: 0,
    local_port: 0,
};

impl FlowTable {
    /// Makes a table for `capacity` flows and takes its memory: 16 bytes times the next power of
    /// two above twice the capacity.
    pub fn new(capacity: usize, hasher: FlowHasher) -> Self {
        let slots = (capacity.max(1) * 2).next_power_of_two();
        FlowTable {
            entries: vec![
                Entry {
                    key: NO_FLOW,
                    value: EMPTY
                };
                slots
            ]
            .into_boxed_slice(),
            mask: slots - 1,
            len: 0,
            hasher,
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

    /// Yields every flow, in no order; looks at the whole table.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &FlowKey> {
        let entries = if self.is_empty() {
            &[][..]
        } else {
            &self.entries
        };
        let used = entries.iter().filter(|entry| entry.value != EMPTY);
        used.map(|entry| &entry.key)
    }

    /// Looks a flow up. `hash` is its [`FlowHasher::hash`], which the caller has anyway.
    #[inline]
    pub fn find(&self, hash: u64, key: &FlowKey) -> Option<u32> {
        let mut slot = hash as usize & self.mask;
        loop {
            let entry = &self.entries[slot];
            if entry.value == EMPTY {
                return None;
            }
            if entry.key == *key {
                return Some(entry.value);
            }
            slot = (slot + 1) & self.mask;
        }
    }

    /// Adds a flow, or gives a known one a new number. Returns whether there was room: always
    /// within the capacity the table was made with.
    pub fn insert(&mut self, hash: u64, key: FlowKey, value: u32) -> bool {
        let mut slot = hash as usize & self.mask;
        while self.entries[slot].value != EMPTY {
            if self.entries[slot].key == key {
                self.entries[slot].value = value;
                return true;
            }
            slot = (slot + 1) & self.mask;
        }
        // At most half full: the loops above end.
        if self.len * 2 > self.mask || value == EMPTY {
            return false;
        }
        self.entries[slot] = Entry { key, value };
        self.len += 1;
        true
    }

    /// Removes a flow and returns its number.
    pub fn remove(&mut self, hash: u64, key: &FlowKey) -> Option<u32> {
        let mut hole = hash as usize & self.mask;
        while self.entries[hole].key != *key || self.entries[hole].value == EMPTY {
            if self.entries[hole].value == EMPTY {
                return None;
            }
            hole = (hole + 1) & self.mask;
        }
        let value = self.entries[hole].value;
        let mut next = (hole + 1) & self.mask;
        while self.entries[next].value != EMPTY {
            let home = self.hasher.hash(&self.entries[next].key) as usize & self.mask;
            // The entry may move into the hole unless its home lies after it.
            if (next.wrapping_sub(home) & self.mask) >= (next.wrapping_sub(hole) & self.mask) {
                self.entries[hole] = self.entries[next];
                hole = next;
            }
            next = (next + 1) & self.mask;
        }
        self.entries[hole].value = EMPTY;
        self.len -= 1;
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;
    use core::net::Ipv4Addr;
    use std::collections::HashMap;

    fn flow(number: u64) -> FlowKey {
        FlowKey {
            remote: Ipv4Addr::from_bits(number as u32 / 7),
            local: Ipv4Addr::new(10, 0, 0, 1),
            remote_port: (number % 7) as u16,
            local_port: 80,
        }
    }

    #[test]
    fn behaves_like_a_map_over_random_steps() {
        for seed in 0..50 {
            let mut random = Random::new(seed);
            let hasher = FlowHasher::new([seed as u8; 16]);
            let mut table = FlowTable::new(64, hasher);
            let mut model = HashMap::new();
            for step in 0..4000u32 {
                let key = flow(random.below(200));
                let hash = hasher.hash(&key);
                match random.below(3) {
                    0 if model.len() < 64 => {
                        assert!(table.insert(hash, key, step));
                        model.insert(key, step);
                    }
                    1 => assert_eq!(table.remove(hash, &key), model.remove(&key)),
                    _ => assert_eq!(table.find(hash, &key), model.get(&key).copied()),
                }
                assert_eq!(table.len(), model.len());
            }
            for (key, value) in model {
                assert_eq!(table.find(hasher.hash(&key), &key), Some(value));
            }
        }
    }

    #[test]
    fn refuses_more_than_half_of_its_slots() {
        let hasher = FlowHasher::new([1; 16]);
        let mut table = FlowTable::new(4, hasher);
        let taken = (0..100).filter(|number| {
            let key = flow(*number);
            table.insert(hasher.hash(&key), key, 1)
        });
        assert_eq!(taken.count(), 4);
    }
}
