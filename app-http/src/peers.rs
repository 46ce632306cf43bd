//! How many connections each peer has: a hash table of a fixed size. A peer is an IPv4 address, or a
//! network of 64 bits over IPv6: whoever has one of its addresses has them all (RFC 6177 §2).
//!
//! Open addressing with linear probing (Knuth, volume 3, §6.4, algorithm L), and deletion by moving
//! back (algorithm R), so that a table that is used for years stays as fast as a new one. Never more
//! than half full: each connection takes at most one place. The hash is keyed, so that nobody can
//! choose addresses that meet.

use alloc::boxed::Box;
use core::hash::{Hash, Hasher};
use core::net::{IpAddr, Ipv6Addr};
use siphasher::sip::SipHasher13;

/// The table.
#[derive(Debug)]
pub(crate) struct Peers {
    places: Box<[Option<(IpAddr, u32)>]>,
    limit: u32,
    hasher: SipHasher13,
}

impl Peers {
    /// Makes a table for `connections` connections, of which one address may have `limit`; without a
    /// limit (0) it takes no memory and lets everyone in.
    pub(crate) fn new(connections: u32, limit: u32, key: [u8; 16]) -> Self {
        let places = match limit {
            0 => 0,
            _ => (2 * connections as usize).max(2).next_power_of_two(),
        };
        Peers {
            places: alloc::vec![None; places].into_boxed_slice(),
            limit,
            hasher: SipHasher13::new_with_key(&key),
        }
    }

    /// Counts a connection of an address in; `false` when its peer has as many as it may.
    pub(crate) fn enter(&mut self, address: IpAddr) -> bool {
        if self.limit == 0 {
            return true;
        }
        let address = peer_of(address);
        let Some(place) = self.find(address) else {
            return false;
        };
        match &mut self.places[place] {
            Some((_, count)) if *count >= self.limit => false,
            Some((_, count)) => {
                *count += 1;
                true
            }
            empty => {
                *empty = Some((address, 1));
                true
            }
        }
    }

    /// Counts a connection out.
    pub(crate) fn leave(&mut self, address: IpAddr) {
        if self.limit == 0 {
            return;
        }
        let address = peer_of(address);
        let Some(place) = self.find(address) else {
            return;
        };
        match &mut self.places[place] {
            Some((_, count)) if *count > 1 => *count -= 1,
            Some(_) => self.remove(place),
            None => {}
        }
    }

    /// Returns the place of an address, or an empty one for it.
    fn find(&self, address: IpAddr) -> Option<usize> {
        let home = self.home(address);
        (0..self.places.len())
            .map(|step| (home + step) & (self.places.len() - 1))
            .find(|place| self.places[*place].is_none_or(|(known, _)| known == address))
    }

    /// Empties a place and closes the gap.
    fn remove(&mut self, place: usize) {
        let mask = self.places.len() - 1;
        let (mut gap, mut at) = (place, place);
        loop {
            at = (at + 1) & mask;
            let Some((address, _)) = self.places[at] else {
                break;
            };
            // It may move when the gap lies between its home and where it is.
            let from_home = at.wrapping_sub(self.home(address)) & mask;
            if from_home >= at.wrapping_sub(gap) & mask {
                self.places[gap] = self.places[at];
                gap = at;
            }
        }
        self.places[gap] = None;
    }

    fn home(&self, address: IpAddr) -> usize {
        let mut hasher = self.hasher;
        address.hash(&mut hasher);
        hasher.finish() as usize & (self.places.len() - 1)
    }
}

/// The address that stands for whoever has this one.
fn peer_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;
    use std::collections::HashMap;

    fn address(number: u32) -> IpAddr {
        Ipv4Addr::from_bits(0x0a00_0000 + number).into()
    }

    #[test]
    fn an_address_gets_as_many_as_it_may_and_again_when_one_leaves() {
        let mut peers = Peers::new(8, 2, [1; 16]);
        assert!(peers.enter(address(1)) && peers.enter(address(1)));
        assert!(!peers.enter(address(1)));
        assert!(peers.enter(address(2)));
        peers.leave(address(1));
        assert!(peers.enter(address(1)) && !peers.enter(address(1)));
    }

    #[test]
    fn a_network_of_64_bits_is_one_peer() {
        let mut peers = Peers::new(8, 2, [1; 16]);
        let address = |text: &str| text.parse().unwrap();
        assert!(peers.enter(address("2001:db8::1")) && peers.enter(address("2001:db8::2:1")));
        assert!(!peers.enter(address("2001:db8::3:0:0:1")));
        assert!(peers.enter(address("2001:db8:0:1::1")), "another network");
        peers.leave(address("2001:db8::ffff"));
        assert!(peers.enter(address("2001:db8::4")));
    }

    #[test]
    fn without_a_limit_everyone_enters() {
        let mut peers = Peers::new(2, 0, [1; 16]);
        assert!((0..100).all(|number| peers.enter(address(number % 3))));
        peers.leave(address(0));
    }

    #[test]
    fn any_coming_and_going_counts_like_a_map() {
        let mut peers = Peers::new(64, 3, [9; 16]);
        let mut model: HashMap<u32, u32> = HashMap::new();
        let mut connections = 0;
        let mut state = 5u32;
        for _ in 0..100_000 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let number = state >> 24 & 0x7f;
            let count = model.entry(number).or_default();
            if state >> 31 == 0 && connections < 64 {
                assert_eq!(peers.enter(address(number)), *count < 3);
                if *count < 3 {
                    *count += 1;
                    connections += 1;
                }
            } else if *count > 0 {
                peers.leave(address(number));
                *count -= 1;
                connections -= 1;
            }
        }
        let taken = peers.places.iter().flatten().count();
        assert_eq!(taken, model.values().filter(|count| **count > 0).count());
    }
}
