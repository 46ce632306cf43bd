//! Flows of this core that another core has: which, and whose they are now. Bounded; a flow stays until
//! its end is told.
//!
//! Upstream: [`backlog`](crate::backlog), which gives connections away. Downstream: segments that are
//! passed on.

use crate::flow::FlowKey;
use crate::flow_table::FlowTable;
use alloc::vec::Vec;
use kernel::CoreId;

pub(crate) struct MovedFlows {
    by_flow: FlowTable,
    /// Where the table's numbers lead.
    places: Vec<(FlowKey, CoreId)>,
    free: Vec<u32>,
}

impl MovedFlows {
    /// Makes room for so many flows.
    pub(crate) fn new(capacity: usize) -> Self {
        MovedFlows {
            by_flow: FlowTable::new(capacity),
            places: Vec::with_capacity(capacity),
            free: Vec::with_capacity(capacity),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.by_flow.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_flow.is_empty()
    }

    /// Returns the core that has a flow.
    pub(crate) fn find(&self, hash: u64, key: &FlowKey) -> Option<CoreId> {
        let place = self.place_of(hash, key)?;
        Some(self.places[place as usize].1)
    }

    /// Notes that a core has a flow from now on. There must be room: less than the capacity are there.
    pub(crate) fn insert(&mut self, hash: u64, key: FlowKey, core: CoreId) {
        self.remove(hash, &key);
        let place = match self.free.pop() {
            Some(place) => {
                self.places[place as usize] = (key, core);
                place
            }
            None => {
                debug_assert!(self.places.len() < self.places.capacity());
                self.places.push((key, core));
                self.places.len() as u32 - 1
            }
        };
        self.by_flow.insert(hash, place);
    }

    /// Forgets a flow.
    pub(crate) fn remove(&mut self, hash: u64, key: &FlowKey) {
        if let Some(place) = self.place_of(hash, key) {
            self.by_flow.remove(hash, place);
            self.free.push(place);
        }
    }

    /// Yields every flow, in no order.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &FlowKey> {
        let places = self.by_flow.values();
        places.map(|place| &self.places[place as usize].0)
    }

    fn place_of(&self, hash: u64, key: &FlowKey) -> Option<u32> {
        let is_it = |place: u32| self.places[place as usize].0 == *key;
        self.by_flow.find(hash, is_it)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;

    #[test]
    fn flows_are_found_until_they_are_removed_and_their_places_are_used_again() {
        let mut flows = MovedFlows::new(4);
        let key = |port| FlowKey::v4((Ipv4Addr::LOCALHOST, port), (Ipv4Addr::LOCALHOST, 80));
        let core = |number| CoreId::new(number).unwrap();
        for round in 0..10u16 {
            for port in 0..4 {
                // All of them meet in the table.
                flows.insert(7, key(round * 4 + port), core(usize::from(port)));
            }
            assert_eq!((flows.len(), flows.places.len()), (4, 4));
            for port in 0..4 {
                let key = key(round * 4 + port);
                assert_eq!(flows.find(7, &key), CoreId::new(usize::from(port)));
                assert!(flows.keys().any(|moved| *moved == key));
                flows.remove(7, &key);
                assert_eq!(flows.find(7, &key), None);
            }
            assert!(flows.is_empty());
        }
    }
}
