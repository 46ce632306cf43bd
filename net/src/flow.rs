//! Which connection a segment belongs to ([`FlowKey`]), its keyed hash ([`FlowHasher`]), and a
//! pseudo-random function of it ([`FlowPrf`]). Neither is predictable from outside: their key comes
//! from the machine's entropy.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A TCP connection's addresses and ports, as this side sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FlowKey {
    /// The peer's and this side's.
    pub addresses: AddressPair,
    /// The peer's port.
    pub remote_port: u16,
    /// This side's port.
    pub local_port: u16,
}

/// Two addresses of one family: what a segment's way has to know of the family is decided here,
/// once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AddressPair {
    /// Over IPv4.
    V4 {
        /// The peer.
        remote: Ipv4Addr,
        /// This side.
        local: Ipv4Addr,
    },
    /// Over IPv6.
    V6 {
        /// The peer.
        remote: Ipv6Addr,
        /// This side.
        local: Ipv6Addr,
    },
}

impl AddressPair {
    /// Joins two addresses; `None` when they are of different families.
    pub fn new(remote: IpAddr, local: IpAddr) -> Option<Self> {
        match (remote, local) {
            (IpAddr::V4(remote), IpAddr::V4(local)) => Some(AddressPair::V4 { remote, local }),
            (IpAddr::V6(remote), IpAddr::V6(local)) => Some(AddressPair::V6 { remote, local }),
            _ => None,
        }
    }

    /// Returns the peer's.
    pub fn remote(&self) -> IpAddr {
        match *self {
            AddressPair::V4 { remote, .. } => remote.into(),
            AddressPair::V6 { remote, .. } => remote.into(),
        }
    }

    /// Returns this side's.
    pub fn local(&self) -> IpAddr {
        match *self {
            AddressPair::V4 { local, .. } => local.into(),
            AddressPair::V6 { local, .. } => local.into(),
        }
    }

    /// Whether they are IPv6 addresses.
    #[inline]
    pub fn is_ipv6(&self) -> bool {
        matches!(self, AddressPair::V6 { .. })
    }
}

impl FlowKey {
    /// Returns both ports in a word.
    #[inline(always)]
    fn ports(&self) -> u64 {
        u64::from(self.remote_port) | u64::from(self.local_port) << 16
    }

    /// No flow: what a place holds that is not in use.
    pub(crate) const NONE: FlowKey =
        FlowKey::v4((Ipv4Addr::UNSPECIFIED, 0), (Ipv4Addr::UNSPECIFIED, 0));

    /// Makes the key of a flow over IPv4 from the peer's address and port, and this side's.
    pub const fn v4(remote: (Ipv4Addr, u16), local: (Ipv4Addr, u16)) -> Self {
        FlowKey {
            addresses: AddressPair::V4 {
                remote: remote.0,
                local: local.0,
            },
            remote_port: remote.1,
            local_port: local.1,
        }
    }

    /// Makes the key of a flow over IPv6 from the peer's address and port, and this side's.
    pub const fn v6(remote: (Ipv6Addr, u16), local: (Ipv6Addr, u16)) -> Self {
        FlowKey {
            addresses: AddressPair::V6 {
                remote: remote.0,
                local: local.0,
            },
            remote_port: remote.1,
            local_port: local.1,
        }
    }
}

/// The keyed hash of flows, the same on every core: it decides both the core that owns a flow and its
/// place in that core's table.
///
/// Two steps. The sum of a flow's words times secret multipliers, of which the upper half is taken,
/// is strongly universal (Lemire and Kaser, "Strongly universal string hashing is fast", 2013): two
/// flows meet with probability 2^-64, whoever chose them. Since such sums are linear, so that the
/// low bits of a row of flows could still fall into step, its halves are mixed, and those of its
/// product with one more secret folded into each other. Much shorter than [`FlowPrf`], and not one: who sees hashes can
/// find the key out, so they never leave the machine.
#[derive(Clone)]
pub struct FlowHasher {
    prf: FlowPrf,
    /// For IPv4: what is added, and one for each word.
    v4: [u128; 3],
    /// For IPv6.
    v6: [u128; 6],
    fold: u64,
}

impl FlowHasher {
    /// Makes the hash of a secret key.
    pub fn new(key: [u8; 16]) -> Self {
        let prf = FlowPrf::new(key);
        let mut number = 0;
        let mut next = || {
            number += 1;
            u128::from(prf.part(number)) << 64 | u128::from(prf.part(!number))
        };
        FlowHasher {
            prf,
            v4: core::array::from_fn(|_| next()),
            v6: core::array::from_fn(|_| next()),
            // Odd, so that no hash is lost.
            fold: next() as u64 | 1,
        }
    }

    /// Returns a pseudo-random function of the same key.
    pub(crate) fn prf(&self) -> FlowPrf {
        self.prf
    }

    /// Returns the hash of a flow.
    #[inline(always)]
    pub fn hash(&self, key: &FlowKey) -> u64 {
        match key.addresses {
            AddressPair::V4 { remote, local } => {
                self.fold(sum(&self.v4, [word_v4(remote, local), key.ports()]))
            }
            AddressPair::V6 { remote, local } => self.hash_v6(remote, local, key.ports()),
        }
    }

    #[inline(never)]
    fn hash_v6(&self, remote: Ipv6Addr, local: Ipv6Addr, ports: u64) -> u64 {
        let [a, b, c, d] = words_v6(remote, local);
        self.fold(sum(&self.v6, [a, b, c, d, ports]))
    }

    #[inline(always)]
    fn fold(&self, hash: u64) -> u64 {
        let product = u128::from(hash ^ hash >> 32) * u128::from(self.fold);
        product as u64 ^ (product >> 64) as u64
    }
}

/// Returns the addresses of a flow over IPv4 in a word.
#[inline(always)]
fn word_v4(remote: Ipv4Addr, local: Ipv4Addr) -> u64 {
    u64::from(remote.to_bits()) | u64::from(local.to_bits()) << 32
}

/// Returns the addresses of a flow over IPv6 in words.
#[inline(always)]
fn words_v6(remote: Ipv6Addr, local: Ipv6Addr) -> [u64; 4] {
    let (remote, local) = (remote.to_bits(), local.to_bits());
    let high = |address: u128| (address >> 64) as u64;
    [high(remote), remote as u64, high(local), local as u64]
}

/// Returns the upper half of the first of `secrets` and each word times its own.
#[inline(always)]
fn sum<const WORDS: usize>(secrets: &[u128], words: [u64; WORDS]) -> u64 {
    let mut sum = secrets[0];
    for (word, secret) in words.into_iter().zip(&secrets[1..]) {
        sum = sum.wrapping_add(secret.wrapping_mul(word.into()));
    }
    (sum >> 64) as u64
}

/// A pseudo-random function of flows: SipHash-1-3 (Aumasson and Bernstein, "SipHash: a fast
/// short-input PRF", 2012), for what nobody may guess: initial numbers, cookies, identifications of
/// fragments, identifiers of addresses.
#[derive(Clone, Copy)]
pub struct FlowPrf {
    k0: u64,
    k1: u64,
}

impl FlowPrf {
    /// Makes the function of a secret key.
    pub fn new(key: [u8; 16]) -> Self {
        let key = u128::from_le_bytes(key);
        FlowPrf {
            k0: key as u64,
            k1: (key >> 64) as u64,
        }
    }

    /// Returns its value for a flow.
    #[inline]
    pub fn hash(&self, key: &FlowKey) -> u64 {
        match key.addresses {
            AddressPair::V4 { remote, local } => {
                self.sip13([word_v4(remote, local), key.ports() | 12 << 56])
            }
            AddressPair::V6 { remote, local } => {
                let [a, b, c, d] = words_v6(remote, local);
                self.sip13([a, b, c, d, key.ports() | 36 << 56])
            }
        }
    }

    /// Returns its value for a number: a key of its own for each use.
    pub(crate) fn part(&self, number: u64) -> u64 {
        self.sip13([number, 8 << 56])
    }

    /// SipHash-1-3 of these words, the last of which has the bytes' count in its top byte, as the
    /// algorithm has it.
    #[inline(always)]
    fn sip13<const WORDS: usize>(&self, words: [u64; WORDS]) -> u64 {
        let mut state = [
            self.k0 ^ 0x736f_6d65_7073_6575,
            self.k1 ^ 0x646f_7261_6e64_6f6d,
            self.k0 ^ 0x6c79_6765_6e65_7261,
            self.k1 ^ 0x7465_6462_7974_6573,
        ];
        for word in words {
            state[3] ^= word;
            round(&mut state);
            state[0] ^= word;
        }
        state[2] ^= 0xff;
        round(&mut state);
        round(&mut state);
        round(&mut state);
        state[0] ^ state[1] ^ state[2] ^ state[3]
    }
}

#[inline(always)]
fn round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[2] = v[2].wrapping_add(v[3]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[1]);
    v[0] = v[0].wrapping_add(v[3]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].rotate_left(32);
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::hash::Hasher;

    /// The standard library's deprecated SipHasher is 2-4; its DefaultHasher is 1-3 with a zero key,
    /// which is what there is to compare with.
    fn reference(words: &[u64], key: &FlowKey) -> u64 {
        let mut reference = std::collections::hash_map::DefaultHasher::new();
        for word in words {
            reference.write(&word.to_le_bytes());
        }
        reference.write(&key.remote_port.to_le_bytes());
        reference.write(&key.local_port.to_le_bytes());
        reference.finish()
    }

    #[test]
    fn the_function_is_siphash_1_3() {
        let hasher = FlowPrf::new([0; 16]);
        for seed in 0..1000u32 {
            let (remote, local) = (seed.wrapping_mul(0x9e37_79b9), !seed);
            let key = FlowKey::v4(
                (Ipv4Addr::from_bits(remote), seed as u16),
                (Ipv4Addr::from_bits(local), 80),
            );
            let addresses = u64::from(remote) | u64::from(local) << 32;
            assert_eq!(hasher.hash(&key), reference(&[addresses], &key), "{seed}");
            let wide = |low: u32| u128::from(low) << 97 | u128::from(low) << 13 | 1;
            let (remote, local) = (wide(remote), wide(local));
            let key = FlowKey::v6(
                (Ipv6Addr::from_bits(remote), seed as u16),
                (Ipv6Addr::from_bits(local), 80),
            );
            let words = [
                (remote >> 64) as u64,
                remote as u64,
                (local >> 64) as u64,
                local as u64,
            ];
            assert_eq!(hasher.hash(&key), reference(&words, &key), "{seed}");
        }
    }

    #[test]
    fn another_key_gives_another_hash() {
        let local = Ipv4Addr::new(10, 0, 0, 1);
        let key = FlowKey::v4((Ipv4Addr::new(10, 0, 0, 2), 40_000), (local, 80));
        let other = FlowHasher::new([7; 16]).hash(&key);
        assert_ne!(FlowHasher::new([0; 16]).hash(&key), other);
        let other = FlowPrf::new([7; 16]).hash(&key);
        assert_ne!(FlowPrf::new([0; 16]).hash(&key), other);
    }

    /// The most that share one of 2^12 places, of 2^12 flows.
    fn crowd(hasher: &FlowHasher, flow: impl Fn(u32) -> FlowKey, shift: u32) -> usize {
        let mut places = std::vec![0; 1 << 12];
        for number in 0..1 << 12 {
            let place = hasher.hash(&flow(number)) >> shift;
            places[place as usize & 0xfff] += 1;
        }
        places.into_iter().max().unwrap_or_default()
    }

    #[test]
    fn rows_of_flows_are_spread_by_the_low_bits_and_by_the_high_ones() {
        let local = (Ipv4Addr::new(10, 0, 0, 1), 80);
        let local_v6 = (Ipv6Addr::LOCALHOST, 80);
        for key in 0..50 {
            let hasher = FlowHasher::new([key; 16]);
            for step in [1, 2, 3, 16, 256, 4096, 65_536, 1 << 20] {
                for shift in [0, 20, 52] {
                    let by_address = |number: u32| {
                        FlowKey::v4(
                            (Ipv4Addr::from_bits(number.wrapping_mul(step)), 4000),
                            local,
                        )
                    };
                    let by_port = |number: u32| {
                        FlowKey::v4(
                            (Ipv4Addr::LOCALHOST, (number * (step & 15).max(1)) as u16),
                            local,
                        )
                    };
                    let by_address_v6 = |number: u32| {
                        let remote = (u128::from(number) * u128::from(step)) << 40;
                        FlowKey::v6((Ipv6Addr::from_bits(remote), 4000), local_v6)
                    };
                    // Thrown at random, the fullest place has about 7.
                    for most in [
                        crowd(&hasher, by_address, shift),
                        crowd(&hasher, by_port, shift),
                        crowd(&hasher, by_address_v6, shift),
                    ] {
                        assert!(most < 16, "{most} in one place: key {key}, step {step}");
                    }
                }
            }
        }
    }

    #[test]
    fn families_do_not_mix() {
        let (v4, v6) = (Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into());
        assert_eq!(AddressPair::new(v4, v6), None);
        let pair = AddressPair::new(v6, v6).unwrap();
        assert!(pair.is_ipv6() && pair.remote() == v6 && pair.local() == v6);
    }
}
