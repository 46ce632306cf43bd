//! Connections in TIME_WAIT (RFC 9293 §3.3.2), which cost a small entry and no connection slot: a
//! ring in the order of their ends, and a table by flow. The oldest is forgotten when there is no
//! room for another.
//!
//! An entry answers what the peer sends again (its FIN) with an ACK and starts over, ignores RST
//! (RFC 1337), and gives way to a SYN with a sequence number beyond the old connection's
//! (RFC 9293 §3.10.7.4, RFC 6191 without timestamps, which are not negotiated).

use crate::flow::{FlowHasher, FlowKey};
use crate::flow_table::FlowTable;
use crate::limits::TIME_WAIT;
use alloc::boxed::Box;
use alloc::vec;
use core::net::Ipv4Addr;
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
}

#[derive(Clone, Copy)]
struct Entry {
    remains: Remains,
    expires: Instant,
    is_live: bool,
}

/// Bytes of the packet that [`Remains::emit_ack`] writes.
pub(crate) const ACK_BYTES: usize = 40;

impl TimeWaitTable {
    /// Makes a table for `capacity` entries.
    pub(crate) fn new(capacity: usize, hasher: FlowHasher) -> Self {
        let nobody = Entry {
            remains: Remains {
                key: FlowKey {
                    remote: Ipv4Addr::UNSPECIFIED,
                    local: Ipv4Addr::UNSPECIFIED,
                    remote_port: 0,
                    local_port: 0,
                },
                hash: 0,
                next_to_send: 0,
                next_to_receive: 0,
            },
            expires: Instant::ZERO,
            is_live: false,
        };
        TimeWaitTable {
            ring: vec![nobody; capacity.max(1)].into_boxed_slice(),
            oldest: 0,
            newest: 0,
            by_flow: FlowTable::new(capacity, hasher),
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
        self.by_flow.insert(remains.hash, remains.key, place as u32);
        evicted
    }

    /// Looks a flow up.
    pub(crate) fn find(&self, hash: u64, key: &FlowKey) -> Option<Remains> {
        if self.by_flow.is_empty() {
            return None;
        }
        let place = self.by_flow.find(hash, key)?;
        Some(self.ring[place as usize].remains)
    }

    /// Forgets a flow.
    pub(crate) fn remove(&mut self, hash: u64, key: &FlowKey) {
        if let Some(place) = self.by_flow.remove(hash, key) {
            self.ring[place as usize].is_live = false;
        }
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
            self.by_flow.remove(entry.remains.hash, &entry.remains.key);
            self.ring[place].is_live = false;
        }
        self.oldest += 1;
    }
}

impl Remains {
    /// Whether a SYN with this sequence number is of a new connection: beyond the old one's.
    pub(crate) fn gives_way_to(&self, sequence: u32) -> bool {
        (sequence.wrapping_sub(self.next_to_receive) as i32) > 0
    }

    /// Writes the IPv4 packet of an ACK, [`ACK_BYTES`] long; the checksums are left to the
    /// output.
    pub(crate) fn emit_ack(&self, packet: &mut [u8]) {
        let [a, b] = (ACK_BYTES as u16).to_be_bytes();
        packet[..12].copy_from_slice(&[0x45, 0, a, b, 0, 0, 0x40, 0, 64, 6, 0, 0]);
        packet[12..16].copy_from_slice(&self.key.local.octets());
        packet[16..20].copy_from_slice(&self.key.remote.octets());
        packet[20..22].copy_from_slice(&self.key.local_port.to_be_bytes());
        packet[22..24].copy_from_slice(&self.key.remote_port.to_be_bytes());
        packet[24..28].copy_from_slice(&self.next_to_send.to_be_bytes());
        packet[28..32].copy_from_slice(&self.next_to_receive.to_be_bytes());
        // Header of five words, ACK, no window: nothing more can come.
        packet[32..40].copy_from_slice(&[0x50, 0x10, 0, 0, 0, 0, 0, 0]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;

    fn remains(number: u16) -> Remains {
        let key = FlowKey {
            remote: Ipv4Addr::new(10, 0, 0, 2),
            local: Ipv4Addr::new(10, 0, 0, 1),
            remote_port: number,
            local_port: 80,
        };
        Remains {
            key,
            hash: FlowHasher::new([0; 16]).hash(&key),
            next_to_send: 1,
            next_to_receive: u32::MAX - 5,
        }
    }

    fn find(table: &TimeWaitTable, number: u16) -> bool {
        table
            .find(remains(number).hash, &remains(number).key)
            .is_some()
    }

    #[test]
    fn entries_expire_in_order_and_the_oldest_gives_way() {
        let mut table = TimeWaitTable::new(3, FlowHasher::new([0; 16]));
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
        let mut table = TimeWaitTable::new(4, FlowHasher::new([0; 16]));
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
        let next = old.next_to_receive;
        assert!(!old.gives_way_to(next) && !old.gives_way_to(next.wrapping_sub(1)));
        assert!(
            old.gives_way_to(next.wrapping_add(1)),
            "also across the wrap"
        );
        assert!(old.gives_way_to(next.wrapping_add(1 << 30)));
        assert!(!old.gives_way_to(next.wrapping_sub(1 << 30)));
    }
}
