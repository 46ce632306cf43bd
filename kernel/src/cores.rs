//! Names for cores: one core ([`CoreId`]) and a set of them ([`CoreMask`], the paper's `cpu_mask`).

use crate::limits::MAX_CORES;

/// A core by its index, `0..MAX_CORES`, in the order the image started them (not the APIC id).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CoreId(u8);

impl CoreId {
    /// The core that boots.
    pub const BOOT: CoreId = CoreId(0);

    /// Makes a core id, `None` when `index` is not below [`MAX_CORES`].
    pub const fn new(index: usize) -> Option<Self> {
        if index < MAX_CORES {
            Some(CoreId(index as u8))
        } else {
            None
        }
    }

    /// Returns the index, always below [`MAX_CORES`].
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A set of cores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CoreMask(u64);

impl CoreMask {
    /// No core.
    pub const EMPTY: CoreMask = CoreMask(0);

    /// Returns the set of the first `count` cores, at most [`MAX_CORES`].
    pub const fn first(count: usize) -> Self {
        if count >= MAX_CORES {
            CoreMask((1u64 << MAX_CORES) - 1)
        } else {
            CoreMask((1u64 << count) - 1)
        }
    }

    /// Returns the set of one core.
    pub const fn only(core: CoreId) -> Self {
        CoreMask(1u64 << core.0)
    }

    /// Makes a set from one bit per core; bits from [`MAX_CORES`] up are dropped.
    pub const fn from_bits(bits: u64) -> Self {
        CoreMask(bits & Self::first(MAX_CORES).0)
    }

    /// Returns one bit per core.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Returns whether no core is in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns whether `core` is in the set.
    pub const fn contains(self, core: CoreId) -> bool {
        self.0 >> core.0 & 1 == 1
    }

    /// Returns the number of cores in the set.
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Adds a core.
    pub const fn insert(&mut self, core: CoreId) {
        self.0 |= 1u64 << core.0;
    }

    /// Returns the cores that are in both sets.
    pub const fn and(self, other: CoreMask) -> CoreMask {
        CoreMask(self.0 & other.0)
    }

    /// Returns the cores of either set.
    pub const fn or(self, other: CoreMask) -> CoreMask {
        CoreMask(self.0 | other.0)
    }

    /// Returns the cores of the set, lowest first.
    pub fn iter(self) -> impl Iterator<Item = CoreId> {
        (0..MAX_CORES as u8)
            .map(CoreId)
            .filter(move |core| self.contains(*core))
    }
}
