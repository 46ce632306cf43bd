//! Notices: a bit per core, by which one core has another look what it wants.
//!
//! Upstream: a stack's [`notify`](crate::Stack::notify). Downstream: the other's
//! [`take_notice`](crate::Stack::take_notice), when it has nothing else to do. What is wanted lies
//! elsewhere, and was put there before. Invariants: a notice is taken once; several that were not
//! taken yet are one; no core sleeps over its own.

use crate::questions::Questions;
use kernel::sync::atomic::{AtomicU64, Ordering};
use kernel::{CoreId, CoreMask};

/// The notices of all cores that were not taken yet, and what they have asked on the link.
pub(crate) struct Notices {
    left: AtomicU64,
    pub(crate) questions: Questions,
}

impl Notices {
    pub(crate) fn new() -> Self {
        Notices {
            left: AtomicU64::new(0),
            questions: Questions::new(),
        }
    }

    /// Leaves a notice for each of `cores`.
    pub(crate) fn leave(&self, cores: CoreMask) {
        // Release: what a core is to find is there when it sees the notice.
        self.left.fetch_or(cores.bits(), Ordering::AcqRel);
    }

    /// Returns whether there is one for `core`.
    pub(crate) fn has(&self, core: CoreId) -> bool {
        self.left.load(Ordering::Relaxed) & CoreMask::only(core).bits() != 0
    }

    /// Takes the notice of `core`, if there is one.
    pub(crate) fn take(&self, core: CoreId) -> bool {
        let own = CoreMask::only(core).bits();
        // A look first: the line stays shared as long as nobody leaves anything.
        self.has(core) && self.left.fetch_and(!own, Ordering::AcqRel) & own != 0
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_notice_is_taken_once_by_each_core_it_is_for() {
        let notices = Notices::new();
        let core = |index| CoreId::new(index).unwrap();
        let (one, two) = (CoreMask::only(core(1)), CoreMask::only(core(2)));
        notices.leave(one.or(two));
        assert!(!notices.has(core(0)) && !notices.take(core(0)));
        assert!(notices.has(core(1)));
        assert!(notices.take(core(1)) && !notices.take(core(1)));
        notices.leave(two);
        assert!(
            notices.take(core(2)) && !notices.take(core(2)),
            "two are one"
        );
        assert!(!notices.take(core(1)));
    }
}
