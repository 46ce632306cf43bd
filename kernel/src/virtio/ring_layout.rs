//! How a split ring lies in memory (VirtIO 1.2 §2.7.5, §2.7.6, §2.7.8).

/// Offset of the index in both rings, in bytes.
pub(super) const INDEX: usize = 2;
/// Offset of the first entry in both rings, in bytes.
pub(super) const ENTRIES: usize = 4;

/// A descriptor as the device reads it.
#[repr(C)]
pub(super) struct Descriptor {
    pub(super) address: u64,
    pub(super) len_bytes: u32,
    pub(super) flags: u16,
    pub(super) next: u16,
}

/// An entry of the used ring as the device writes it.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct UsedEntry {
    pub(super) id: u32,
    pub(super) len_bytes: u32,
}

/// Where the three parts lie in one block of memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RingLayout {
    pub(super) available: usize,
    pub(super) used: usize,
    pub(super) end: usize,
}

impl RingLayout {
    /// Lays out a ring of `size` descriptors. The used ring starts a cache line of its own, since
    /// the other side writes it.
    pub(super) const fn new(size: u16) -> Self {
        let size = size as usize;
        let available = size_of::<Descriptor>() * size;
        let used = (available + ENTRIES + 2 * size + 2).next_multiple_of(64);
        RingLayout {
            available,
            used,
            end: used + ENTRIES + size_of::<UsedEntry>() * size + 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_aligned_and_do_not_overlap() {
        for size in (2..=8).map(|power| 1 << power) {
            let layout = RingLayout::new(size);
            let size = usize::from(size);
            assert!(layout.available.is_multiple_of(2) && layout.used.is_multiple_of(4));
            assert_eq!(layout.available, 16 * size);
            assert!(layout.used >= layout.available + 6 + 2 * size);
            assert_eq!(layout.end, layout.used + 6 + 8 * size);
        }
    }
}
