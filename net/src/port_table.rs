//! Which core answers which port, shared by all cores: written at `listen`, read without a lock.
//!
//! A port has one slot per core of its listeners' masks. A flow's slot is chosen by its hash, and
//! the slot says which core answers: the one whose listener has the slot in its mask. So listeners
//! with the masks {0} and {1} share a port evenly, and one with the mask {0, 1} answers alone.
//! Ports are never given back. A listener that joins a port late takes over its share of new
//! flows, and of segments of old flows that arrive on a core that does not have them: let all
//! listeners of a port begin before its traffic.

use crate::limits::PORTS;
use kernel::limits::MAX_CORES;
use kernel::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use kernel::{CoreId, CoreMask};

/// The table.
pub(crate) struct PortTable {
    ports: [Port; PORTS],
}

struct Port {
    /// The port, 0 while free.
    port: AtomicU32,
    /// Slots that some listener has claimed; makes masks disjoint.
    claimed: AtomicU64,
    /// Claimed slots whose `answers` is written.
    ready: AtomicU64,
    /// Which core answers for each slot.
    answers: [AtomicU8; MAX_CORES],
}

/// Why a claim failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClaimError {
    /// One of the slots has a listener already.
    Taken,
    /// Every port of the table is in use.
    Full,
}

impl PortTable {
    pub(crate) fn new() -> Self {
        PortTable {
            ports: core::array::from_fn(|_| Port {
                port: AtomicU32::new(0),
                claimed: AtomicU64::new(0),
                ready: AtomicU64::new(0),
                answers: core::array::from_fn(|_| AtomicU8::new(0)),
            }),
        }
    }

    /// Lets `core` answer the slots in `mask` of `port`.
    pub(crate) fn claim(&self, port: u16, mask: CoreMask, core: CoreId) -> Result<(), ClaimError> {
        let entry = self.entry(port).ok_or(ClaimError::Full)?;
        let before = entry.claimed.fetch_or(mask.bits(), Ordering::AcqRel);
        if before & mask.bits() != 0 {
            // Give back what was free; nobody else can have got it in between.
            entry
                .claimed
                .fetch_and(!(mask.bits() & !before), Ordering::AcqRel);
            return Err(ClaimError::Taken);
        }
        for slot in mask.iter() {
            entry.answers[slot.index()].store(core.index() as u8, Ordering::Relaxed);
        }
        entry.ready.fetch_or(mask.bits(), Ordering::Release);
        Ok(())
    }

    /// Returns the core that answers a flow with this hash on `port`, if any does.
    pub(crate) fn owner(&self, port: u16, hash: u64) -> Option<CoreId> {
        let mut used = self.ports.iter();
        let entry = used.find(|entry| entry.port.load(Ordering::Acquire) == u32::from(port))?;
        let ready = entry.ready.load(Ordering::Acquire);
        let count = u64::from(ready.count_ones());
        // The high half of the hash: the low half chooses places in tables.
        let rank = ((hash >> 32) * count) >> 32;
        let slot = nth_set_bit(ready, rank as u32)?;
        CoreId::new(usize::from(entry.answers[slot].load(Ordering::Relaxed)))
    }

    /// Finds the entry of a port, or takes the first free one. Entries are never given back, and
    /// all cores look in the same order, so one port cannot get two.
    fn entry(&self, port: u16) -> Option<&Port> {
        let wanted = u32::from(port);
        self.ports.iter().find(|entry| {
            let taken = entry
                .port
                .compare_exchange(0, wanted, Ordering::AcqRel, Ordering::Acquire);
            taken.is_ok() || taken == Err(wanted)
        })
    }
}

/// Returns the index of the set bit of rank `rank`, counted from the lowest.
fn nth_set_bit(mut bits: u64, rank: u32) -> Option<usize> {
    for _ in 0..rank {
        bits &= bits.wrapping_sub(1);
    }
    (bits != 0).then(|| bits.trailing_zeros() as usize)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const ONE: CoreId = CoreId::new(1).unwrap();
    const THREE: CoreId = CoreId::new(3).unwrap();

    #[test]
    fn masks_of_a_port_are_disjoint() {
        let table = PortTable::new();
        let first = CoreMask::from_bits(0b0011);
        assert_eq!(table.claim(80, first, CoreId::BOOT), Ok(()));
        let overlapping = CoreMask::from_bits(0b0110);
        assert_eq!(table.claim(80, overlapping, ONE), Err(ClaimError::Taken));
        let rest = CoreMask::from_bits(0b0100);
        assert_eq!(
            table.claim(80, rest, ONE),
            Ok(()),
            "what was free was given back"
        );
        assert_eq!(table.claim(81, overlapping, ONE), Ok(()), "another port");
    }

    #[test]
    fn flows_spread_over_the_slots_of_the_port() {
        let table = PortTable::new();
        assert_eq!(table.owner(80, 7), None);
        table
            .claim(80, CoreMask::from_bits(0b0101), CoreId::BOOT)
            .unwrap();
        table.claim(80, CoreMask::from_bits(0b1000), THREE).unwrap();
        let mut counts = [0; 4];
        for flow in 0..3000u64 {
            let hash = flow.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            counts[table.owner(80, hash).unwrap().index()] += 1;
        }
        assert!((1900..2100).contains(&counts[0]), "{counts:?}");
        assert!((900..1100).contains(&counts[3]), "{counts:?}");
        assert_eq!(table.owner(8080, 7), None);
    }

    #[test]
    fn a_full_table_says_so() {
        let table = PortTable::new();
        let mask = CoreMask::only(ONE);
        for port in 1..=PORTS as u16 {
            assert_eq!(table.claim(port, mask, ONE), Ok(()));
        }
        assert_eq!(table.claim(999, mask, ONE), Err(ClaimError::Full));
    }
}
