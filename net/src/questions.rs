//! Which cores have asked who is at an address and not heard: the answer comes to any core, and is
//! handed to those that wait for it, so that answers that nobody asked for stay where they come.
//!
//! Upstream: `ask_for` of [`addressing`](crate::addressing). Downstream: [`control`](crate::control).
//! Invariants: a core's bit is set and cleared by that core alone; addresses share places by a keyed
//! hash, so that nobody can aim at one; a core that waits in vain costs a frame for each answer that
//! comes for its place.

use crate::fabric::FabricPort;
use crate::flow::FlowKey;
use crate::limits::QUESTION_PLACES;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use kernel::sync::atomic::{AtomicU64, Ordering};
use kernel::{CoreId, CoreMask};

/// The questions of all cores, by place a bit for each core.
pub(crate) struct Questions([AtomicU64; QUESTION_PLACES]);

impl Questions {
    pub(crate) fn new() -> Self {
        Questions(core::array::from_fn(|_| AtomicU64::new(0)))
    }

    /// `core` waits for an answer.
    pub(crate) fn ask(&self, place: usize, core: CoreId) {
        self.0[place].fetch_or(CoreMask::only(core).bits(), Ordering::Relaxed);
    }

    /// `core` has got it.
    pub(crate) fn hear(&self, place: usize, core: CoreId) {
        let own = CoreMask::only(core).bits();
        // A look first: nearly nobody waits.
        if self.0[place].load(Ordering::Relaxed) & own != 0 {
            self.0[place].fetch_and(!own, Ordering::Relaxed);
        }
    }

    /// Returns the cores that wait.
    pub(crate) fn waiting(&self, place: usize) -> CoreMask {
        CoreMask::from_bits(self.0[place].load(Ordering::Relaxed))
    }
}

/// Returns the place of an address.
pub(crate) fn place(port: &FabricPort, address: IpAddr) -> usize {
    let key = match address {
        IpAddr::V4(address) => FlowKey::v4((address, 0), (Ipv4Addr::UNSPECIFIED, 0)),
        IpAddr::V6(address) => FlowKey::v6((address, 0), (Ipv6Addr::UNSPECIFIED, 0)),
    };
    (port.hasher().hash(&key) % QUESTION_PLACES as u64) as usize
}
