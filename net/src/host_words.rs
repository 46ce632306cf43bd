//! The words by which all cores learn what this host is: one core writes, every core reads, and
//! nobody waits. A reader that comes while they are being written finds nothing and comes again.
//!
//! Upstream: [`autoconf`](crate::autoconf), on one core. Downstream: every stack, once per turn.
//! A sequence lock (Lameter 2005; the version is odd while words change): every word is an atomic,
//! written with release and read with acquire, so that a reader that has seen a new word sees the
//! version that was written before it.

use crate::address::{AddressState, Cidr, Host, HostAddress, Route};
use crate::limits::{ADDRESSES, ROUTES};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use kernel::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The shared words. One writer.
pub(crate) struct HostWords {
    /// Odd while words change.
    version: AtomicU32,
    words: [AtomicU64; WORDS],
}

/// What [`HostWords`] held at one moment; differs after every change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HostSeen(u32);

impl HostSeen {
    /// What a core has seen that has not looked yet.
    pub(crate) const NOTHING: HostSeen = HostSeen(u32::MAX);
}

/// An address, its prefix, its state.
const ADDRESS_WORDS: usize = 3;
/// A network, its prefix, and a gateway.
const ROUTE_WORDS: usize = 5;
/// Counts and packet sizes first. Under loom there is little: it tries every order.
const WORDS: usize = if cfg!(loom) {
    1 + ADDRESS_WORDS
} else {
    1 + ADDRESSES * ADDRESS_WORDS + ROUTES * ROUTE_WORDS
};

impl HostWords {
    pub(crate) fn new() -> Self {
        HostWords {
            version: AtomicU32::new(0),
            words: core::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// Makes what this host is known to all cores.
    pub(crate) fn publish(&self, host: &Host) {
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version | 1, Ordering::Relaxed);
        let mut words = self.words.iter();
        // There are as many words as there can be addresses and routes.
        let mut put = |word: u64| {
            if let Some(place) = words.next() {
                place.store(word, Ordering::Release);
            }
        };
        let mtu = |mtu: Option<u16>| u64::from(mtu.unwrap_or(0));
        put(host.addresses.len() as u64
            | (host.routes.len() as u64) << 8
            | mtu(host.mtu_v4) << 16
            | mtu(host.mtu_v6) << 32);
        for ours in &host.addresses {
            let (kind, [high, low]) = encode(Some(ours.cidr.address));
            let state = match ours.state {
                AddressState::Optimistic => 0,
                AddressState::Preferred => 1,
                AddressState::Deprecated => 2,
                AddressState::Tentative => 3,
            };
            put(kind | u64::from(ours.cidr.prefix) << 8 | state << 16);
            put(high);
            put(low);
        }
        for route in &host.routes {
            let (kind, [high, low]) = encode(Some(route.destination.address));
            let (gateway_kind, gateway) = encode(route.gateway);
            put(kind | u64::from(route.destination.prefix) << 8 | gateway_kind << 16);
            put(high);
            put(low);
            gateway.into_iter().for_each(&mut put);
        }
        let next = (version | 1).wrapping_add(1);
        self.version.store(next, Ordering::Release);
    }

    /// Returns what is published, to be compared with what was seen before.
    #[inline]
    pub(crate) fn look(&self) -> HostSeen {
        HostSeen(self.version.load(Ordering::Acquire))
    }

    /// Returns what belongs to `seen`; `None` while it is being changed, or when it has been.
    pub(crate) fn read(&self, seen: HostSeen) -> Option<Host> {
        let words: [u64; WORDS] =
            core::array::from_fn(|place| self.words[place].load(Ordering::Acquire));
        let is_whole = seen.0 & 1 == 0 && self.version.load(Ordering::Relaxed) == seen.0;
        is_whole.then(|| decode(&words))
    }
}

fn decode(words: &[u64]) -> Host {
    let mut words = words.iter().copied();
    let mut next = || words.next().unwrap_or(0);
    let counts = next();
    let mtu = |word: u64| Some(word as u16).filter(|mtu| *mtu != 0);
    let mut host = Host {
        mtu_v4: mtu(counts >> 16),
        mtu_v6: mtu(counts >> 32),
        ..Host::default()
    };
    for _ in 0..counts & 0xff {
        let (head, bits) = (next(), [next(), next()]);
        let Some(address) = address(head, bits) else {
            continue;
        };
        let state = match head >> 16 & 0xff {
            0 => AddressState::Optimistic,
            1 => AddressState::Preferred,
            2 => AddressState::Deprecated,
            _ => AddressState::Tentative,
        };
        let prefix = (head >> 8) as u8;
        // There is room: they come from such a list.
        let _ = host.addresses.push(HostAddress {
            cidr: Cidr { address, prefix },
            state,
        });
    }
    for _ in 0..counts >> 8 & 0xff {
        let (head, bits, gateway) = (next(), [next(), next()], [next(), next()]);
        if let Some(destination) = address(head, bits) {
            let prefix = (head >> 8) as u8;
            let _ = host.routes.push(Route {
                destination: Cidr {
                    address: destination,
                    prefix,
                },
                gateway: address(head >> 16, gateway),
            });
        }
    }
    host
}

/// The family (0 for no address) and the bits, upper half first.
fn encode(address: Option<IpAddr>) -> (u64, [u64; 2]) {
    match address {
        None => (0, [0, 0]),
        Some(IpAddr::V4(address)) => (4, [0, address.to_bits().into()]),
        Some(IpAddr::V6(address)) => {
            let bits = address.to_bits();
            (6, [(bits >> 64) as u64, bits as u64])
        }
    }
}

fn address(kind: u64, [high, low]: [u64; 2]) -> Option<IpAddr> {
    match kind & 0xff {
        4 => Some(Ipv4Addr::from_bits(low as u32).into()),
        6 => Some(Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(low)).into()),
        _ => None,
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn full() -> Host {
        let v4 = |number: usize| IpAddr::from([10, 0, 0, number as u8]);
        let v6 = |number: usize| IpAddr::from([0xfd00, 0, 0, 0, 0x8000, 0, 7, number as u16]);
        let both = |number: usize| {
            if number.is_multiple_of(2) {
                v4(number)
            } else {
                v6(number)
            }
        };
        let cidr = |number: usize| Cidr {
            address: both(number),
            prefix: number as u8,
        };
        let states = [
            AddressState::Optimistic,
            AddressState::Preferred,
            AddressState::Deprecated,
            AddressState::Tentative,
        ];
        Host {
            addresses: (0..ADDRESSES)
                .map(|number| HostAddress {
                    cidr: cidr(number),
                    state: states[number % 4],
                })
                .collect(),
            routes: (0..ROUTES)
                .map(|number| Route {
                    destination: cidr(number),
                    gateway: (number % 3 > 0).then(|| both(number)),
                })
                .collect(),
            mtu_v4: Some(1400),
            mtu_v6: None,
        }
    }

    #[test]
    fn what_is_published_is_read() {
        let words = HostWords::new();
        assert_eq!(words.read(words.look()), Some(Host::default()));
        words.publish(&full());
        let seen = words.look();
        assert_eq!(words.read(seen), Some(full()));
        words.publish(&full());
        assert_ne!(words.look(), seen, "every publication is a change");
        assert_eq!(words.read(seen), None, "what was seen is gone");
        words.publish(&Host::default());
        assert_eq!(words.read(words.look()), Some(Host::default()));
    }
}
