//! Physical memory as the loader left it: reads by address, each checked.
//!
//! Upstream: the machine's identity mapping, or bytes made up by a test. Downstream: [`start_info`],
//! [`acpi`]. Nothing here is believed to exist until it has been read through [`PhysicalMemory`].
//!
//! [`start_info`]: crate::start_info
//! [`acpi`]: crate::acpi

/// Memory by physical address.
pub trait PhysicalMemory {
    /// Returns `len` bytes at `address`, `None` where they cannot be read.
    fn bytes(&self, address: u64, len: usize) -> Option<&[u8]>;

    /// Reads a little-endian 32-bit number.
    fn u32_at(&self, address: u64) -> Option<u32> {
        Some(u32::from_le_bytes(self.bytes(address, 4)?.try_into().ok()?))
    }

    /// Reads a little-endian 64-bit number.
    fn u64_at(&self, address: u64) -> Option<u64> {
        Some(u64::from_le_bytes(self.bytes(address, 8)?.try_into().ok()?))
    }

    /// Returns the bytes from `address` up to the first 0, at most `max_bytes` of them.
    fn text_at(&self, address: u64, max_bytes: usize) -> Option<&[u8]> {
        let mut len = 0;
        while len < max_bytes && self.bytes(address.checked_add(len as u64)?, 1)? != [0] {
            len += 1;
        }
        self.bytes(address, len)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::PhysicalMemory;
    use std::collections::BTreeMap;
    use std::vec::Vec;

    /// Blocks of memory at chosen addresses.
    #[derive(Debug, Default)]
    pub(crate) struct Blocks(BTreeMap<u64, Vec<u8>>);

    impl Blocks {
        pub(crate) fn put(&mut self, address: u64, bytes: impl Into<Vec<u8>>) {
            self.0.insert(address, bytes.into());
        }
    }

    impl PhysicalMemory for Blocks {
        fn bytes(&self, address: u64, len: usize) -> Option<&[u8]> {
            let (start, block) = self.0.range(..=address).next_back()?;
            let offset = usize::try_from(address - start).ok()?;
            block.get(offset..offset.checked_add(len)?)
        }
    }

    #[test]
    fn text_ends_at_zero_at_the_bound_and_with_the_memory() {
        let mut memory = Blocks::default();
        memory.put(0x100, *b"abc\0def");
        assert_eq!(memory.text_at(0x100, 10), Some(&b"abc"[..]));
        assert_eq!(memory.text_at(0x100, 2), Some(&b"ab"[..]));
        assert_eq!(memory.text_at(0x104, 10), None);
        assert_eq!(memory.text_at(u64::MAX, 10), None);
    }
}
