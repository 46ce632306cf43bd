//! Who is at which address on the link, for connections that this side opens: a small table of what
//! ARP (RFC 826) or neighbour discovery (RFC 4861) was asked. Connections that peers open need none: they are answered at the station
//! their frames came from.
//!
//! Upstream: [`connect`](crate::connect), and who answers. Downstream: the station of a connection.
//! Only what was asked for is learnt, so that nobody can fill the table.

use crate::limits::{NEIGHBOUR_LIFE, NEIGHBOUR_NEWS, NEIGHBOURS};
use core::net::IpAddr;
use heapless::Vec;
use kernel::Instant;

/// The neighbours of one core.
#[derive(Default)]
pub(crate) struct Neighbours {
    entries: Vec<Neighbour, NEIGHBOURS>,
    /// When the other cores were last told what nobody had asked.
    told_at: Option<Instant>,
}

struct Neighbour {
    address: IpAddr,
    /// Known since the answer came.
    mac: Option<[u8; 6]>,
    /// When it was asked for or answered last.
    at: Instant,
}

impl Neighbours {
    /// Returns the station of an address. `None`: it is to be asked for, and its answer will be
    /// learnt.
    pub(crate) fn find(&mut self, address: IpAddr, now: Instant) -> Option<[u8; 6]> {
        let found = self
            .entries
            .iter_mut()
            .find(|entry| entry.address == address);
        if let Some(entry) = found {
            let is_fresh = now.saturating_since(entry.at) < NEIGHBOUR_LIFE;
            let known = entry.mac.filter(|_| is_fresh);
            if known.is_none() {
                entry.at = now;
            }
            return known;
        }
        if self.entries.is_full() {
            // The one that was of use longest ago.
            let entries = self.entries.iter().enumerate();
            let oldest = entries.min_by_key(|(_, entry)| entry.at);
            if let Some((oldest, _)) = oldest {
                self.entries.swap_remove(oldest);
            }
        }
        // There is room now.
        let _ = self.entries.push(Neighbour {
            address,
            mac: None,
            at: now,
        });
        None
    }

    /// Takes in an answer; false when nobody asked.
    pub(crate) fn learn(&mut self, address: IpAddr, mac: [u8; 6], now: Instant) -> bool {
        let found = self
            .entries
            .iter_mut()
            .find(|entry| entry.address == address);
        found.is_some_and(|entry| {
            entry.mac = Some(mac);
            entry.at = now;
            true
        })
    }

    /// Whether the other cores are to be told what none of them has asked: now and then, so that
    /// whoever sends such answers keeps only this core busy.
    pub(crate) fn may_tell(&mut self, now: Instant) -> bool {
        let is_recent = |at: Instant| now.saturating_since(at) < NEIGHBOUR_NEWS;
        let may_tell = !self.told_at.is_some_and(is_recent);
        if may_tell {
            self.told_at = Some(now);
        }
        may_tell
    }

    /// Forgets everything: the address has changed, and so perhaps the link.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;

    fn address(number: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, number])
    }

    #[test]
    fn only_what_was_asked_for_is_learnt_and_not_for_ever() {
        let mut neighbours = Neighbours::default();
        let now = Instant::ZERO;
        assert!(!neighbours.learn(address(1), [1; 6], now));
        assert_eq!(neighbours.find(address(1), now), None);
        assert!(neighbours.learn(address(1), [1; 6], now));
        assert_eq!(neighbours.find(address(1), now), Some([1; 6]));
        let later = now + NEIGHBOUR_LIFE;
        assert_eq!(neighbours.find(address(1), later), None, "asked again");
        neighbours.clear();
        assert!(!neighbours.learn(address(1), [1; 6], later));
    }

    #[test]
    fn the_oldest_gives_way() {
        let mut neighbours = Neighbours::default();
        for number in 0..=NEIGHBOURS as u8 {
            let now = Instant::ZERO + Duration::from_secs(number.into());
            assert_eq!(neighbours.find(address(number), now), None);
            assert!(neighbours.learn(address(number), [number; 6], now));
        }
        let now = Instant::ZERO + Duration::from_secs(40);
        assert_eq!(neighbours.find(address(1), now), Some([1; 6]));
        assert_eq!(neighbours.find(address(0), now), None);
    }
}
