//! Connections in TIME_WAIT (RFC 9293 §3.3.2), which cost a small entry and no connection slot: a
//! ring in the order of their ends, and a table by flow. The oldest is forgotten when there is no
//! room for another.
//!
//! An entry answers what the peer sends again (its FIN) with an ACK and starts over, ignores RST
//! (RFC 1337), and gives way to a SYN that is later than the old connection by its timestamp or,
//! without one, by its sequence number (RFC 9293 §3.10.7.4, RFC 6191).

use crate::demux::Flags;
use crate::flow::FlowKey;
use crate::flow_table::FlowTable;
use crate::limits::TIME_WAIT;
use crate::tcp::{Departure, OptionBytes, Seq, timestamp};
use alloc::boxed::Box;
use alloc::vec;
use kernel::Instant;

/// The connections of one core in TIME_WAIT.
pub(crate) struct TimeWaitTable {
    ring: Box<[Entry]>,
    /// Count of entries ever taken out at the old end, and put in at the new end.
    oldest: u64,
    newest: u64,
    by_flow: FlowTable,
}

/// What is left of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Remains {
    pub(crate) key: FlowKey,
    pub(crate) hash: u64,
    /// Our next sequence number.
    pub(crate) next_to_send: u32,
    /// The peer's next sequence number: after its FIN.
    pub(crate) next_to_receive: u32,
    /// The peer's last timestamp and the offset of ours, where they are in use.
    pub(crate) timestamps: Option<(u32, u32)>,
}

#[derive(Clone, Copy)]
struct Entry {
    remains: Remains,
    expires: Instant,
    is_live: bool,
}

impl TimeWaitTable {
    /// Makes a table for `capacity` entries.
    pub(crate) fn new(capacity: usize) -> Self {
        let nobody = Entry {
            remains: Remains {
                key: FlowKey::NONE,
                hash: 0,
                next_to_send: 0,
                next_to_receive: 0,
                timestamps: None,
            },
            expires: Instant::ZERO,
            is_live: false,
        };
        TimeWaitTable {
            ring: vec![nobody; capacity.max(1)].into_boxed_slice(),
            oldest: 0,
            newest: 0,
            by_flow: FlowTable::new(capacity),
        }
    }

    /// Entries held.
    pub(crate) fn len(&self) -> usize {
        self.by_flow.len()
    }

    fn place(&self, count: u64) -> usize {
        (count % self.ring.len() as u64) as usize
    }

    /// Adds what is left of a connection, in the place of an older entry of the same flow.
    /// Returns whether the oldest entry had to be forgotten for it.
    pub(crate) fn insert(&mut self, remains: Remains, now: Instant) -> bool {
        self.remove(remains.hash, &remains.key);
        let mut evicted = false;
        if self.newest - self.oldest == self.ring.len() as u64 {
            evicted = self.ring[self.place(self.oldest)].is_live;
            self.drop_oldest();
        }
        let place = self.place(self.newest);
        self.newest += 1;
        self.ring[place] = Entry {
            remains,
            expires: now + TIME_WAIT,
            is_live: true,
        };
        self.by_flow.insert(remains.hash, place as u32);
        evicted
    }

    /// Yields every flow that has an entry; looks at the whole table.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &FlowKey> {
        let places = self.by_flow.values();
        places.map(|place| &self.ring[place as usize].remains.key)
    }

    /// Looks a flow up.
    pub(crate) fn find(&self, hash: u64, key: &FlowKey) -> Option<Remains> {
        if self.by_flow.is_empty() {
            return None;
        }
        let place = self.place_of(hash, key)?;
        Some(self.ring[place as usize].remains)
    }

    /// Forgets a flow.
    pub(crate) fn remove(&mut self, hash: u64, key: &FlowKey) {
        if let Some(place) = self.place_of(hash, key) {
            self.by_flow.remove(hash, place);
            self.ring[place as usize].is_live = false;
        }
    }

    fn place_of(&self, hash: u64, key: &FlowKey) -> Option<u32> {
        let is_it = |place: u32| self.ring[place as usize].remains.key == *key;
        self.by_flow.find(hash, is_it)
    }

    /// Forgets what has waited long enough, and returns when to come again.
    pub(crate) fn expire(&mut self, now: Instant) -> Option<Instant> {
        while self.oldest < self.newest {
            let entry = &self.ring[self.place(self.oldest)];
            if entry.is_live && entry.expires > now {
                return Some(entry.expires);
            }
            self.drop_oldest();
        }
        None
    }

    fn drop_oldest(&mut self) {
        let place = self.place(self.oldest);
        let entry = self.ring[place];
        if entry.is_live {
            self.by_flow.remove(entry.remains.hash, place as u32);
            self.ring[place].is_live = false;
        }
        self.oldest += 1;
    }
}

impl Remains {
    /// Whether a SYN is of a new connection: by its timestamp beyond the old one's, or by its
    /// sequence number where timestamps do not tell (RFC 6191 §2).
    pub(crate) fn gives_way_to(&self, sequence: Seq, timestamp: Option<u32>) -> bool {
        let is_beyond = sequence.is_after(Seq(self.next_to_receive));
        match (self.timestamps, timestamp) {
            (Some((last, _)), Some(now)) if now != last => Seq(now).is_after(Seq(last)),
            // The old connection had none, so none of its segments has one.
            (None, Some(_)) => true,
            _ => is_beyond,
        }
    }

    /// Returns the acknowledgement of all that the peer sent.
    pub(crate) fn acknowledgement(&self, now: Instant) -> Departure {
        let mut options = OptionBytes::NONE;
        if let Some((recent, offset)) = self.timestamps {
            options.push_timestamps(timestamp(offset, now), recent);
        }
        Departure {
            options,
            // No window: nothing more can come.
            ..Departure::bare(Flags::ACK, self.next_to_send, self.next_to_receive)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::FlowHasher;
    use core::net::Ipv4Addr;
    use core::time::Duration;

    fn remains(number: u16) -> Remains {
        let local = (Ipv4Addr::new(10, 0, 0, 1), 80);
        let key = FlowKey::v4((Ipv4Addr::new(10, 0, 0, 2), number), local);
        Remains {
            key,
            hash: FlowHasher::new([0; 16]).hash(&key),
            next_to_send: 1,
            next_to_receive: u32::MAX - 5,
            timestamps: None,
        }
    }

    fn find(table: &TimeWaitTable, number: u16) -> bool {
        table
            .find(remains(number).hash, &remains(number).key)
            .is_some()
    }

    #[test]
    fn entries_expire_in_order_and_the_oldest_gives_way() {
        let mut table = TimeWaitTable::new(3);
        let second = Duration::from_secs(1);
        let mut now = Instant::ZERO;
        for number in 0..3 {
            assert!(!table.insert(remains(number), now));
            now = now + second;
        }
        assert!(table.insert(remains(3), now), "the oldest is evicted");
        assert!(!find(&table, 0) && find(&table, 1) && table.len() == 3);
        assert_eq!(table.expire(now), Some(Instant::ZERO + second + TIME_WAIT));
        assert_eq!(
            table.expire(Instant::ZERO + second * 2 + TIME_WAIT),
            Some(now + TIME_WAIT)
        );
        assert!(!find(&table, 2) && find(&table, 3));
        assert_eq!(table.expire(now + TIME_WAIT), None);
        assert_eq!(table.len(), 0);
    }

    #[test]
    fn inserting_again_starts_over() {
        let mut table = TimeWaitTable::new(4);
        table.insert(remains(1), Instant::ZERO);
        let later = Instant::ZERO + Duration::from_secs(5);
        table.insert(remains(1), later);
        assert_eq!(table.len(), 1);
        assert_eq!(table.expire(later), Some(later + TIME_WAIT));
        table.remove(remains(1).hash, &remains(1).key);
        assert_eq!(table.expire(later), None);
    }

    #[test]
    fn a_syn_beyond_the_old_connection_gets_through() {
        let old = remains(1);
        let next = Seq(old.next_to_receive);
        assert!(!old.gives_way_to(next, None) && !old.gives_way_to(next - 1, None));
        assert!(old.gives_way_to(next + 1, None), "also across the wrap");
        assert!(old.gives_way_to(next + (1 << 30), None));
        assert!(!old.gives_way_to(next - (1 << 30), None));
        assert!(
            old.gives_way_to(next - 1, Some(7)),
            "the old one had no timestamps"
        );
    }

    #[test]
    fn timestamps_decide_where_they_differ() {
        let old = Remains {
            timestamps: Some((1000, 0)),
            ..remains(1)
        };
        let next = Seq(old.next_to_receive);
        assert!(old.gives_way_to(next - 500, Some(1001)));
        assert!(!old.gives_way_to(next + 500, Some(999)));
        assert!(old.gives_way_to(next + 1, Some(1000)) && !old.gives_way_to(next, Some(1000)));
        assert!(old.gives_way_to(next + 1, None) && !old.gives_way_to(next, None));
    }
}
