//! What a PVH loader says about the machine: memory map, command line, first module, ACPI.
//!
//! Upstream: [`PhysicalMemory`]. Downstream: the machine's boot. A damaged structure is an error,
//! never a wild read. Source: Xen `public/arch-x86/hvm/start_info.h`, versions 0 and 1.

use crate::limits::{MAX_COMMAND_LINE_BYTES, MAX_MEMORY_MAP_ENTRIES};
use crate::physical_memory::PhysicalMemory;
use core::ops::Range;

/// `XEN_HVM_START_MAGIC_VALUE`.
const MAGIC: u32 = 0x336e_c578;
/// `XEN_HVM_MEMMAP_TYPE_RAM`.
const RAM: u32 = 1;
/// Bytes of a `hvm_memmap_table_entry`.
const MEMORY_MAP_ENTRY_BYTES: u64 = 24;

/// Why a start-info structure cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartInfoError {
    /// It, or something it points to, lies outside of the memory.
    Unreadable,
    /// It does not begin with the magic number.
    NotStartInfo,
    /// It has no memory map (version 0, or an empty one).
    NoMemoryMap,
    /// The memory map has more than [`MAX_MEMORY_MAP_ENTRIES`] entries.
    LongMemoryMap,
}

impl core::fmt::Display for StartInfoError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            StartInfoError::Unreadable => "the loader's start info points outside of memory",
            StartInfoError::NotStartInfo => "the loader left no PVH start info",
            StartInfoError::NoMemoryMap => "the loader gave no memory map",
            StartInfoError::LongMemoryMap => "the loader's memory map is too long",
        })
    }
}

/// A loader's account of the machine, still in the loader's memory.
#[derive(Debug)]
pub struct StartInfo<'a, M> {
    memory: &'a M,
    memory_map: u64,
    memory_map_entries: u32,
    /// The command line, without the closing 0.
    pub command_line: &'a [u8],
    /// Addresses of the first module.
    pub module: Option<Range<u64>>,
    /// Address of the ACPI root pointer.
    pub rsdp: Option<u64>,
}

impl<'a, M: PhysicalMemory> StartInfo<'a, M> {
    /// Reads the structure at `address`.
    ///
    /// # Errors
    /// See [`StartInfoError`].
    pub fn read(memory: &'a M, address: u64) -> Result<Self, StartInfoError> {
        use StartInfoError::Unreadable;
        let u32_at = |offset| {
            memory
                .u32_at(address.wrapping_add(offset))
                .ok_or(Unreadable)
        };
        let u64_at = |offset| {
            memory
                .u64_at(address.wrapping_add(offset))
                .ok_or(Unreadable)
        };
        if u32_at(0)? != MAGIC {
            return Err(StartInfoError::NotStartInfo);
        }
        if u32_at(4)? < 1 {
            return Err(StartInfoError::NoMemoryMap);
        }
        let module = if u32_at(12)? > 0 {
            let list = u64_at(16)?;
            let start = memory.u64_at(list).ok_or(Unreadable)?;
            let len = memory.u64_at(list.wrapping_add(8)).ok_or(Unreadable)?;
            Some(start..start.checked_add(len).ok_or(Unreadable)?)
        } else {
            None
        };
        let command_line = match u64_at(24)? {
            0 => &[],
            text => memory
                .text_at(text, MAX_COMMAND_LINE_BYTES)
                .ok_or(Unreadable)?,
        };
        let rsdp = Some(u64_at(32)?).filter(|rsdp| *rsdp != 0);
        let (memory_map, memory_map_entries) = (u64_at(40)?, u32_at(48)?);
        if memory_map_entries == 0 {
            return Err(StartInfoError::NoMemoryMap);
        }
        if memory_map_entries as usize > MAX_MEMORY_MAP_ENTRIES {
            return Err(StartInfoError::LongMemoryMap);
        }
        let map_bytes = memory_map_entries as usize * MEMORY_MAP_ENTRY_BYTES as usize;
        memory.bytes(memory_map, map_bytes).ok_or(Unreadable)?;
        Ok(StartInfo {
            memory,
            memory_map,
            memory_map_entries,
            command_line,
            module,
            rsdp,
        })
    }

    /// Returns the ranges of usable memory, in the loader's order.
    pub fn ram(&self) -> impl Iterator<Item = Range<u64>> {
        (0..u64::from(self.memory_map_entries)).filter_map(|index| {
            let entry = self.memory_map + index * MEMORY_MAP_ENTRY_BYTES;
            let start = self.memory.u64_at(entry)?;
            let end = start.checked_add(self.memory.u64_at(entry + 8)?)?;
            (self.memory.u32_at(entry + 16)? == RAM).then_some(start..end)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::physical_memory::tests::Blocks;
    use std::vec::Vec;

    fn words(words: &[u64]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    fn loader() -> Blocks {
        let mut memory = Blocks::default();
        let head = u64::from(MAGIC) | 1 << 32;
        memory.put(
            0x6000,
            words(&[head, 1 << 32, 0x7000, 0x8000, 0xf_0000, 0x9000, 3]),
        );
        memory.put(0x7000, words(&[0x100_0000, 0x1234, 0, 0]));
        memory.put(0x8000, *b"port=80 log=info\0");
        memory.put(
            0x9000,
            words(&[
                0, 0x9_fc00, 1, 0xf_0000, 0x1_0000, 2, 0x10_0000, 0x7f0_0000, 1,
            ]),
        );
        memory
    }

    #[test]
    fn reads_all_parts() {
        let memory = loader();
        let info = StartInfo::read(&memory, 0x6000).unwrap();
        assert_eq!(info.command_line, b"port=80 log=info");
        assert_eq!(info.module, Some(0x100_0000..0x100_1234));
        assert_eq!(info.rsdp, Some(0xf_0000));
        let ram: Vec<_> = info.ram().collect();
        assert_eq!(ram, [0..0x9_fc00, 0x10_0000..0x800_0000]);
    }

    #[test]
    fn refuses_damage() {
        let mut memory = loader();
        assert_eq!(
            StartInfo::read(&memory, 0x5000).unwrap_err(),
            StartInfoError::Unreadable
        );
        assert_eq!(
            StartInfo::read(&memory, 0x6008).unwrap_err(),
            StartInfoError::NotStartInfo
        );
        for (field, value, error) in [
            (5, 0x9_9999_0000, StartInfoError::Unreadable),
            (6, 0, StartInfoError::NoMemoryMap),
            (6, 4, StartInfoError::Unreadable),
            (6, 1_000_000, StartInfoError::LongMemoryMap),
            (2, u64::MAX, StartInfoError::Unreadable),
            (3, u64::MAX, StartInfoError::Unreadable),
            (0, u64::from(MAGIC), StartInfoError::NoMemoryMap),
        ] {
            let head = u64::from(MAGIC) | 1 << 32;
            let mut fields = [head, 1 << 32, 0x7000, 0x8000, 0xf_0000, 0x9000, 3];
            fields[field] = value;
            memory.put(0x6000, words(&fields));
            assert_eq!(
                StartInfo::read(&memory, 0x6000).unwrap_err(),
                error,
                "field {field}"
            );
        }
    }
}
