//! What the ways to some peers take, where that is less than the link: a small table, so that the next
//! connection to such a peer begins with segments that fit (RFC 8201 §5.2).
//!
//! Upstream: [`control`](crate::control), for connections that were found to be ours. Downstream: the
//! segment size of new connections. An entry is forgotten after a while: ways change, and then the full
//! size is tried again (RFC 1191 §6.3).

use crate::limits::{PATH_MTU_LIFE, PATH_MTUS};
use core::net::IpAddr;
use heapless::Vec;
use kernel::Instant;

/// The ways of one core's peers.
#[derive(Default)]
pub(crate) struct PathMtus {
    entries: Vec<Entry, PATH_MTUS>,
}

struct Entry {
    peer: IpAddr,
    mtu: u16,
    at: Instant,
}

impl PathMtus {
    /// Notes what the way to a peer takes, in bytes, in the place of the oldest without room.
    pub(crate) fn note(&mut self, peer: IpAddr, mtu: u16, now: Instant) {
        if let Some(known) = self.entries.iter_mut().find(|entry| entry.peer == peer) {
            (known.mtu, known.at) = (mtu, now);
            return;
        }
        if self.entries.is_full() {
            let entries = self.entries.iter().enumerate();
            if let Some((oldest, _)) = entries.min_by_key(|(_, entry)| entry.at) {
                self.entries.swap_remove(oldest);
            }
        }
        let at = now;
        // There is room now.
        let _ = self.entries.push(Entry { peer, mtu, at });
    }

    /// Returns what the way to a peer takes, if that is known to be less than the link.
    pub(crate) fn find(&self, peer: IpAddr, now: Instant) -> Option<u16> {
        let mut entries = self.entries.iter();
        let entry = entries.find(|entry| entry.peer == peer)?;
        (now.saturating_since(entry.at) < PATH_MTU_LIFE).then_some(entry.mtu)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use core::time::Duration;

    #[test]
    fn what_a_way_takes_is_known_for_a_while_and_the_oldest_gives_way() {
        let mut ways = PathMtus::default();
        let peer = |number: usize| IpAddr::from([10, 0, 0, number as u8]);
        let at = |seconds: usize| Instant::ZERO + Duration::from_secs(seconds as u64);
        for number in 0..=PATH_MTUS {
            ways.note(peer(number), 1300, at(number));
        }
        let now = at(PATH_MTUS);
        assert_eq!(ways.find(peer(0), now), None, "the oldest");
        assert_eq!(ways.find(peer(1), now), Some(1300));
        ways.note(peer(1), 1280, now);
        assert_eq!(ways.find(peer(1), now), Some(1280));
        assert_eq!(
            ways.find(peer(1), now + PATH_MTU_LIFE),
            None,
            "too long ago"
        );
    }
}
