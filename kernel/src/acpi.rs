//! The few ACPI tables that matter here: where they are, and what MADT and MCFG say.
//!
//! Upstream: [`PhysicalMemory`]. Downstream: boot (how many cores), interrupts (I/O APICs), discovery
//! (where PCI's configuration space is). No AML is read. ACPI 6.5 §5.2.5 (RSDP), §5.2.7 (RSDT), §5.2.8
//! (XSDT), §5.2.12 (MADT); PCI Firmware 3.0 §4.1.2 (MCFG).

use crate::limits::MAX_CORES;
use crate::physical_memory::PhysicalMemory;
use heapless::Vec;

/// Bytes of a table's header.
const HEADER_BYTES: u64 = 36;
/// Tables listed by the root table that are looked at.
const MAX_TABLES: u64 = 64;
/// Bytes of a table that are read.
const MAX_TABLE_BYTES: usize = 64 << 10;
/// I/O APICs that are kept.
pub const MAX_IO_APICS: usize = 4;

/// An I/O APIC and the first interrupt of the platform that is one of its pins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IoApic {
    /// Physical address of its registers.
    pub address: u64,
    /// Global system interrupt of its pin 0.
    pub first_gsi: u32,
}

/// What the MADT says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Madt {
    /// Processors that can be used.
    pub cores: usize,
    /// I/O APICs, at most [`MAX_IO_APICS`].
    pub io_apics: Vec<IoApic, MAX_IO_APICS>,
}

/// Returns the table with `signature` under the root pointer at `rsdp`, header included.
pub fn find_table<'a>(
    memory: &'a impl PhysicalMemory,
    rsdp: u64,
    signature: &[u8; 4],
) -> Option<&'a [u8]> {
    if memory.bytes(rsdp, 8)? != b"RSD PTR " {
        return None;
    }
    let revision = memory.bytes(rsdp.checked_add(15)?, 1)?[0];
    let extended = if revision >= 2 {
        memory.u64_at(rsdp.checked_add(24)?)?
    } else {
        0
    };
    let (root, entry_bytes) = match extended {
        0 => (u64::from(memory.u32_at(rsdp.checked_add(16)?)?), 4),
        address => (address, 8),
    };
    let root_bytes = u64::from(memory.u32_at(root.checked_add(4)?)?);
    let entries = (root_bytes.checked_sub(HEADER_BYTES)? / entry_bytes).min(MAX_TABLES);
    (0..entries).find_map(|index| {
        let entry = root.checked_add(HEADER_BYTES + index * entry_bytes)?;
        let table = match entry_bytes {
            4 => u64::from(memory.u32_at(entry)?),
            _ => memory.u64_at(entry)?,
        };
        if memory.bytes(table, 4)? != signature {
            return None;
        }
        let bytes = memory.u32_at(table.checked_add(4)?)? as usize;
        memory.bytes(table, bytes.min(MAX_TABLE_BYTES))
    })
}

/// Reads a MADT.
pub fn read_madt(table: &[u8]) -> Madt {
    let mut madt = Madt::default();
    let mut rest = table.get(HEADER_BYTES as usize + 8..).unwrap_or_default();
    while let [kind, bytes, ..] = *rest {
        let Some(entry) = rest
            .get(..usize::from(bytes))
            .filter(|entry| entry.len() >= 2)
        else {
            break;
        };
        let u32_at = |offset: usize| {
            let bytes = entry.get(offset..offset + 4)?;
            bytes.try_into().ok().map(u32::from_le_bytes)
        };
        let is_enabled = |flags: Option<u32>| flags.is_some_and(|flags| flags & 1 == 1);
        match kind {
            // Local APIC.
            0 if is_enabled(u32_at(4)) => madt.cores += 1,
            // Local x2APIC: of those only with an id that fits the older kind, which is the one in use.
            9 if is_enabled(u32_at(8)) && u32_at(4).is_some_and(|id| id < 255) => madt.cores += 1,
            1 => {
                if let (Some(address), Some(first_gsi)) = (u32_at(4), u32_at(8)) {
                    let io_apic = IoApic {
                        address: u64::from(address),
                        first_gsi,
                    };
                    // More than MAX_IO_APICS: the rest is of no use to anyone here.
                    let _ = madt.io_apics.push(io_apic);
                }
            }
            _ => {}
        }
        rest = &rest[usize::from(bytes)..];
    }
    madt.cores = madt.cores.min(MAX_CORES);
    madt
}

/// Returns the global system interrupt of an ISA interrupt: the MADT says where it differs (§5.2.12.5).
pub fn global_interrupt(madt: &[u8], isa_irq: u16) -> u32 {
    let mut rest = madt.get(HEADER_BYTES as usize + 8..).unwrap_or_default();
    while let [kind, bytes, ..] = *rest
        && bytes >= 2
    {
        if let (2, Some([_, _, 0, source, gsi @ ..])) = (kind, rest.get(..8))
            && u16::from(*source) == isa_irq
        {
            return gsi.try_into().map_or(isa_irq.into(), u32::from_le_bytes);
        }
        rest = rest.get(usize::from(bytes)..).unwrap_or_default();
    }
    isa_irq.into()
}

/// Where PCI's configuration space is as memory (ECAM).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ecam {
    /// Physical address of bus 0's part.
    pub address: u64,
    /// Buses, from 0 up.
    pub buses: u16,
}

/// Reads from an MCFG where the buses of the first segment are, from 0 up; `None` when it does not say.
pub fn read_mcfg(table: &[u8]) -> Option<Ecam> {
    let (entries, _) = table.get(HEADER_BYTES as usize + 8..)?.as_chunks::<16>();
    entries.iter().find_map(|entry| {
        let [address @ .., 0, 0, 0, last_bus, _, _, _, _] = entry else {
            return None;
        };
        let address = u64::from_le_bytes(*address);
        (address != 0).then_some(Ecam {
            address,
            buses: u16::from(*last_bus) + 1,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::physical_memory::tests::Blocks;
    use std::vec::Vec as StdVec;

    fn table(signature: &[u8; 4], body: &[u8]) -> StdVec<u8> {
        let mut table = signature.to_vec();
        table.extend((HEADER_BYTES as u32 + body.len() as u32).to_le_bytes());
        table.resize(HEADER_BYTES as usize, 0);
        table.extend(body);
        table
    }

    fn madt() -> StdVec<u8> {
        let mut body = [0; 8].to_vec();
        body.extend([0, 8, 0, 0, 1, 0, 0, 0]);
        body.extend([0, 8, 1, 1, 0, 0, 0, 0]);
        body.extend([2, 10, 0, 0, 2, 0, 0, 0, 0, 0]);
        body.extend([0, 8, 2, 2, 1, 0, 0, 0]);
        body.extend([1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0]);
        body.extend([1, 12, 0, 0, 0, 0, 0xc1, 0xfe, 24, 0, 0, 0]);
        table(b"APIC", &body)
    }

    fn platform(revision: u8) -> Blocks {
        let mut memory = Blocks::default();
        let mut rsdp = b"RSD PTR \0BOCHS ".to_vec();
        rsdp.push(revision);
        rsdp.extend(0x2000_u32.to_le_bytes());
        rsdp.extend([0; 4]);
        rsdp.extend(0x3000_u64.to_le_bytes());
        memory.put(0xf_0000, rsdp);
        memory.put(0x2000, table(b"RSDT", &[0, 0x50, 0, 0, 0, 0x40, 0, 0]));
        memory.put(0x3000, table(b"XSDT", &0x4000_u64.to_le_bytes()));
        memory.put(0x4000, madt());
        memory.put(0x5000, table(b"FACP", &[]));
        memory
    }

    #[test]
    fn finds_tables_in_both_revisions() {
        for revision in [0, 2] {
            let memory = platform(revision);
            assert_eq!(find_table(&memory, 0xf_0000, b"APIC"), Some(&madt()[..]));
            assert_eq!(find_table(&memory, 0xf_0000, b"MCFG"), None);
            assert_eq!(find_table(&memory, 0xf_0001, b"APIC"), None);
        }
    }

    #[test]
    fn reads_cores_and_io_apics() {
        let madt = read_madt(&madt());
        assert_eq!(madt.cores, 2);
        let first = IoApic {
            address: 0xfec0_0000,
            first_gsi: 0,
        };
        let second = IoApic {
            address: 0xfec1_0000,
            first_gsi: 24,
        };
        assert_eq!(madt.io_apics, [first, second]);
    }

    #[test]
    fn an_isa_interrupt_is_global_under_its_own_number_unless_it_is_moved() {
        // The timer is on pin 2, as everywhere.
        assert_eq!(global_interrupt(&madt(), 0), 2);
        assert_eq!(global_interrupt(&madt(), 9), 9);
        assert_eq!(global_interrupt(&[], 9), 9);
    }

    #[test]
    fn cores_are_counted_in_both_forms_as_far_as_they_can_be_reached() {
        let mut body = [0; 8].to_vec();
        for (id, flags) in [(0_u32, 1_u32), (254, 1), (255, 1), (1, 0), (1 << 20, 1)] {
            body.extend([9, 16, 0, 0]);
            body.extend(id.to_le_bytes());
            body.extend(flags.to_le_bytes());
            body.extend([0; 4]);
        }
        assert_eq!(read_madt(&table(b"APIC", &body)).cores, 2);
        body.extend([0, 8, 7, 7, 1, 0, 0, 0]);
        assert_eq!(read_madt(&table(b"APIC", &body)).cores, 3);
        // Too short for its kind.
        body.extend([9, 8, 0, 0, 0, 0, 0, 0]);
        assert_eq!(read_madt(&table(b"APIC", &body)).cores, 3);
    }

    #[test]
    fn configuration_space_is_that_of_the_first_segment_from_bus_0() {
        let entry = |address: u64, segment: u8, first: u8, last: u8| {
            let mut entry = address.to_le_bytes().to_vec();
            entry.extend([segment, 0, first, last, 0, 0, 0, 0]);
            entry
        };
        let mut body = [0; 8].to_vec();
        body.extend(entry(0x1000_0000, 1, 0, 255));
        body.extend(entry(0x2000_0000, 0, 16, 255));
        assert_eq!(read_mcfg(&table(b"MCFG", &body)), None);
        body.extend(entry(0xe000_0000, 0, 0, 255));
        let mcfg = table(b"MCFG", &body);
        let found = Ecam {
            address: 0xe000_0000,
            buses: 256,
        };
        assert_eq!(read_mcfg(&mcfg), Some(found));
        for len in 0..mcfg.len() {
            assert_eq!(read_mcfg(&mcfg[..len]), None, "{len}");
        }
    }

    #[test]
    fn survives_every_cut_and_zero_lengths() {
        let whole = madt();
        for len in 0..whole.len() {
            assert!(read_madt(&whole[..len]).cores <= 2);
        }
        let mut stuck = whole;
        stuck[HEADER_BYTES as usize + 9] = 0;
        assert_eq!(read_madt(&stuck).cores, 0);
    }
}
