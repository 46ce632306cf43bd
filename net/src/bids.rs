//! Where idle cores and cores with a backlog find each other, per port: an idle core *bids* for so
//! many connections, and a core whose accept queue is not empty takes bids, one for each connection
//! that it gives.
//!
//! Neither waits for the other. An idle core places its bid and then looks who has a backlog, to wake
//! it; a core with a backlog says so and then looks for bids. Each writes before it reads, with a full
//! fence between, so that one of them sees the other. A bid is taken by whoever takes it first, or
//! withdrawn by its core: what was not withdrawn is on its way. Upstream and downstream:
//! [`stealing`](crate::stealing), on different cores.

use kernel::limits::MAX_CORES;
use kernel::sync::atomic::{AtomicU8, AtomicU64, Ordering, fence};
use kernel::{CoreId, CoreMask};

/// The bids of all cores for the connections of one port.
pub(crate) struct Bids {
    /// By core: how many connections it would still take.
    counts: [AtomicU8; MAX_CORES],
    /// Cores that have connections waiting.
    backlogs: AtomicU64,
}

impl Bids {
    pub(crate) fn new() -> Self {
        Bids {
            counts: core::array::from_fn(|_| AtomicU8::new(0)),
            backlogs: AtomicU64::new(0),
        }
    }

    /// Places the bid of a core that has none, and returns who has a backlog and is to be woken.
    pub(crate) fn place(&self, core: CoreId, count: u8) -> CoreMask {
        self.counts[core.index()].store(count, Ordering::Release);
        fence(Ordering::SeqCst);
        let backlogs = self.backlogs.load(Ordering::Acquire);
        CoreMask::from_bits(backlogs & !CoreMask::only(core).bits())
    }

    /// Takes a core's own bid back, and returns what is left of it.
    pub(crate) fn withdraw(&self, core: CoreId) -> u8 {
        self.counts[core.index()].swap(0, Ordering::AcqRel)
    }

    /// Says whether a core has a backlog; it looks for bids after that.
    pub(crate) fn tell_backlog(&self, core: CoreId, has_backlog: bool) {
        let bit = CoreMask::only(core).bits();
        if has_backlog {
            self.backlogs.fetch_or(bit, Ordering::AcqRel);
            fence(Ordering::SeqCst);
        } else {
            self.backlogs.fetch_and(!bit, Ordering::AcqRel);
        }
    }

    /// Returns whether one of these cores bids: what a core with a backlog looks at once more before it
    /// sleeps, since it may have been woken for this before.
    pub(crate) fn has_any(&self, mut cores: impl Iterator<Item = CoreId>) -> bool {
        cores.any(|core| self.counts[core.index()].load(Ordering::Acquire) > 0)
    }

    /// Takes one connection's worth of a bid of these cores, and returns whose.
    pub(crate) fn take(&self, cores: impl Iterator<Item = CoreId>) -> Option<CoreId> {
        for core in cores {
            let count = &self.counts[core.index()];
            let mut seen = count.load(Ordering::Acquire);
            while seen > 0 {
                let taken =
                    count.compare_exchange(seen, seen - 1, Ordering::AcqRel, Ordering::Acquire);
                match taken {
                    Ok(_) => return Some(core),
                    Err(now) => seen = now,
                }
            }
        }
        None
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_bid_is_taken_as_often_as_it_says_or_withdrawn() {
        let bids = Bids::new();
        let (one, all) = (CoreId::new(1).unwrap(), CoreMask::first(3));
        assert_eq!(bids.take(all.iter()), None);
        assert_eq!(bids.place(one, 3), CoreMask::EMPTY);
        assert_eq!(bids.take(CoreMask::only(CoreId::BOOT).iter()), None);
        assert!(bids.has_any(all.iter()) && !bids.has_any([CoreId::BOOT].into_iter()));
        assert_eq!(bids.take(all.iter()), Some(one));
        assert_eq!(bids.withdraw(one), 2);
        assert_eq!((bids.take(all.iter()), bids.withdraw(one)), (None, 0));
    }

    #[test]
    fn who_bids_is_told_of_the_backlogs_of_others() {
        let bids = Bids::new();
        let [boot, one] = [CoreId::BOOT, CoreId::new(1).unwrap()];
        bids.tell_backlog(boot, true);
        assert_eq!(bids.place(one, 1), CoreMask::only(boot));
        assert_eq!(bids.place(boot, 1), CoreMask::EMPTY, "its own");
        bids.tell_backlog(boot, false);
        assert_eq!(bids.place(one, 1), CoreMask::EMPTY);
    }
}
