//! Which core answers which port, shared by all cores: read without a lock on every core, changed
//! when a listener begins, changes its mask, or ends.
//!
//! **The map.** A port has one *slot* per core of its listeners' masks. A flow's slot is the one
//! whose keyed weight is highest (rendezvous hashing: Thaler and Ravishankar, 1998), and the slot
//! says which core answers: the one whose listener has it in its mask. Where the device scales
//! (see [`rss`](crate::rss)), the slot of the core to whose queue it brings the flow comes first. So
//! listeners with the masks
//! {0} and {1} share a port evenly, one with {0, 1} answers alone, and when a slot comes or goes,
//! only the flows of that slot move.
//!
//! **What moves are new flows.** A connection stays on the core that began it. Cores that may have
//! flows which the map gives to another are the port's *strays*, and a segment that no core has
//! claimed yet visits them before the owner decides what it is. A change marks as strays all cores
//! that answered before it, *before* it is made; a core takes its mark away when it has seen the
//! change and has no such flow (any more). A flow is begun only by a core that is the owner by the map
//! it reads at that moment, and only after every stray has been asked: so no SYN is answered twice,
//! whatever order the cores see a change in, and none is lost (see the test under loom).
//!
//! Invariants: slots of a port are disjoint between listeners; a port is given back when it has
//! neither slots nor strays; writers exclude each other, and no reader waits.

use crate::bids::Bids;
use crate::limits::PORTS;
use kernel::limits::MAX_CORES;
use kernel::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use kernel::sync::{OwnLines, spin};
use kernel::{CoreId, CoreMask};

/// The table.
pub(crate) struct PortTable {
    /// Twice the number of changes; odd while one is made.
    version: AtomicU32,
    ports: [Port; PORTS],
}

struct Port {
    /// The port, 0 while free.
    port: AtomicU32,
    /// Slots that some listener has in its mask.
    slots: AtomicU64,
    /// Which core answers for each of those.
    answers: [AtomicU8; MAX_CORES],
    /// Cores that may have flows which the map gives to another.
    strays: AtomicU64,
    /// Of its listeners that [steal](crate::stealing).
    bids: OwnLines<Bids>,
}

/// Why a claim failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClaimError {
    /// One of the slots has a listener already.
    Taken,
    /// Every port of the table is in use.
    Full,
}

/// Cores that have been asked for the flow of a segment and do not have it; travels with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Asked {
    cores: CoreMask,
    /// Of the map that they were asked under; another may have given them the flow since.
    version: u32,
}

/// What says which slot of a port a flow has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FlowPlace {
    /// Its keyed hash.
    pub(crate) hash: u64,
    /// The core to whose queue the device brings it, where that can be known.
    pub(crate) home: Option<CoreId>,
}

impl From<u64> for FlowPlace {
    /// The place of a flow that the device may bring to any queue.
    fn from(hash: u64) -> Self {
        FlowPlace { hash, home: None }
    }
}

/// The right to change the table.
struct Change<'a> {
    table: &'a PortTable,
    /// The version when it is over.
    next: u32,
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        self.table.version.store(self.next, Ordering::Release);
    }
}

impl PortTable {
    pub(crate) fn new() -> Self {
        PortTable {
            version: AtomicU32::new(0),
            ports: core::array::from_fn(|_| Port {
                port: AtomicU32::new(0),
                slots: AtomicU64::new(0),
                answers: core::array::from_fn(|_| AtomicU8::new(0)),
                strays: AtomicU64::new(0),
                bids: OwnLines(Bids::new()),
            }),
        }
    }

    /// Lets `core` answer the slots in `mask` of `port`.
    pub(crate) fn claim(&self, port: u16, mask: CoreMask, core: CoreId) -> Result<(), ClaimError> {
        self.change_mask(port, CoreMask::EMPTY, mask, core)
    }

    /// Lets `core` answer the slots in `to` of `port` instead of those in `from`, which are its own.
    pub(crate) fn change_mask(
        &self,
        port: u16,
        from: CoreMask,
        to: CoreMask,
        core: CoreId,
    ) -> Result<(), ClaimError> {
        let _change = self.change();
        let known = self.entry(port);
        if known.is_none() && to.is_empty() {
            return Ok(());
        }
        let entry = known.or_else(|| self.entry(0)).ok_or(ClaimError::Full)?;
        entry.change_slots(from, to, core)?;
        entry.port.store(u32::from(port), Ordering::Release);
        Ok(())
    }

    /// Takes the slots in `mask` of `port` from `core`, which has them.
    pub(crate) fn release(&self, port: u16, mask: CoreMask, core: CoreId) {
        // Only to claim more can fail.
        let _ = self.change_mask(port, mask, CoreMask::EMPTY, core);
    }

    /// Returns where a segment goes that `here` has no flow for: to a core that has not been asked
    /// for it and may have it, else to the owner of the flow, which is `opener`'s to say when nobody
    /// listens; `None` when it is for `here` to say what it is.
    #[inline]
    pub(crate) fn steer(
        &self,
        port: u16,
        place: FlowPlace,
        here: CoreId,
        asked: &mut Asked,
        opener: impl FnOnce() -> Option<CoreId>,
    ) -> Option<CoreId> {
        let version = self.version.load(Ordering::Acquire);
        if asked.version != version {
            *asked = Asked {
                cores: CoreMask::EMPTY,
                version,
            };
        }
        asked.cores.insert(here);
        let Some(entry) = self.entry(port) else {
            return opener().filter(|core| *core != here);
        };
        // In this order: whoever sees a changed map sees the strays that were marked before it.
        let owner = entry.owner(place).or_else(opener);
        let strays = entry.strays.load(Ordering::Acquire);
        let unasked = CoreMask::from_bits(strays & !asked.cores.bits());
        unasked.iter().next().or(owner).filter(|core| *core != here)
    }

    /// Returns the core that answers a flow of this place on `port`, if any does.
    pub(crate) fn owner(&self, port: u16, place: FlowPlace) -> Option<CoreId> {
        self.entry(port)?.owner(place)
    }

    /// Returns the bids for connections of `port`, which some core answers.
    pub(crate) fn bids(&self, port: u16) -> Option<&Bids> {
        Some(&self.entry(port)?.bids.0)
    }

    /// Returns a number that differs after every change.
    #[inline]
    pub(crate) fn version(&self) -> u32 {
        self.version.load(Ordering::Acquire)
    }

    /// Takes `core`'s mark away from the ports of which it has no stray flow, as `has_strays` says,
    /// and returns whether none is left that it has, or could not be looked at because of a change.
    pub(crate) fn settle(&self, core: CoreId, mut has_strays: impl FnMut(u16) -> bool) -> bool {
        let version = self.version();
        if version % 2 == 1 {
            return false;
        }
        let mut is_settled = true;
        for entry in &self.ports {
            let strays = CoreMask::from_bits(entry.strays.load(Ordering::Acquire));
            if strays.contains(core) {
                let port = entry.port.load(Ordering::Acquire) as u16;
                is_settled &= !has_strays(port) && self.unmark(entry, core, version);
            }
        }
        is_settled
    }

    /// Takes a core's mark away, unless the map has changed since `version`; gives a port back that
    /// nobody needs any more.
    fn unmark(&self, entry: &Port, core: CoreId, version: u32) -> bool {
        let locked = version.wrapping_add(1);
        let taken =
            self.version
                .compare_exchange(version, locked, Ordering::Acquire, Ordering::Relaxed);
        if taken.is_err() {
            return false;
        }
        // Not a change of the map: nobody has to look again.
        let _change = Change {
            table: self,
            next: version,
        };
        let mark = CoreMask::only(core).bits();
        let before = entry.strays.fetch_and(!mark, Ordering::AcqRel);
        if before & !mark == 0 && entry.slots.load(Ordering::Relaxed) == 0 {
            entry.port.store(0, Ordering::Release);
        }
        true
    }

    /// Waits until no other core changes the table, and keeps them from it.
    fn change(&self) -> Change<'_> {
        loop {
            let version = self.version.load(Ordering::Relaxed) & !1;
            let locked = version.wrapping_add(1);
            let taken = self.version.compare_exchange(
                version,
                locked,
                Ordering::Acquire,
                Ordering::Relaxed,
            );
            if taken.is_ok() {
                return Change {
                    table: self,
                    next: version.wrapping_add(2),
                };
            }
            spin();
        }
    }

    #[inline]
    fn entry(&self, port: u16) -> Option<&Port> {
        self.ports.iter().find(|entry| entry.is_of(port))
    }
}

impl Port {
    #[inline]
    fn is_of(&self, port: u16) -> bool {
        self.port.load(Ordering::Acquire) == u32::from(port)
    }

    /// Gives `core` the slots in `to` in the place of those in `from`. To be called by whoever may
    /// change the table.
    fn change_slots(&self, from: CoreMask, to: CoreMask, core: CoreId) -> Result<(), ClaimError> {
        let before = CoreMask::from_bits(self.slots.load(Ordering::Relaxed));
        let others = CoreMask::from_bits(before.bits() & !from.bits());
        if !others.and(to).is_empty() {
            return Err(ClaimError::Taken);
        }
        // Whoever has answered may have flows that move away: marked first.
        let answering = before
            .iter()
            .filter_map(|slot| self.answering(slot.index()));
        let marks = answering.fold(CoreMask::EMPTY, |mut marks, core| {
            marks.insert(core);
            marks
        });
        self.strays.fetch_or(marks.bits(), Ordering::AcqRel);
        for slot in to.iter() {
            self.answers[slot.index()].store(core.index() as u8, Ordering::Release);
        }
        self.slots.store(others.or(to).bits(), Ordering::Release);
        Ok(())
    }

    #[inline]
    fn owner(&self, place: FlowPlace) -> Option<CoreId> {
        let slots = self.slots.load(Ordering::Acquire);
        let is_slot = |home: &CoreId| CoreMask::from_bits(slots).contains(*home);
        let home = place.home.filter(is_slot).map(CoreId::index);
        self.answering(home.or_else(|| heaviest(slots, place.hash))?)
    }

    #[inline]
    fn answering(&self, slot: usize) -> Option<CoreId> {
        CoreId::new(usize::from(self.answers[slot].load(Ordering::Acquire)))
    }
}

/// Returns the slot that weighs most for a flow.
#[inline]
pub(crate) fn heaviest(slots: u64, hash: u64) -> Option<usize> {
    if slots & slots.wrapping_sub(1) == 0 {
        return (slots != 0).then(|| slots.trailing_zeros() as usize);
    }
    let slots = CoreMask::from_bits(slots).iter().map(CoreId::index);
    slots.max_by_key(|slot| weight(hash, *slot))
}

/// Mixes a flow's hash, which is keyed, with a slot (the finaliser of SplitMix64).
#[inline]
fn weight(hash: u64, slot: usize) -> u64 {
    let mut word = hash ^ (slot as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}

#[cfg(all(test, not(loom)))]
#[path = "port_table_tests.rs"]
mod tests;
