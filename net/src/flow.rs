//! Which connection a segment belongs to ([`FlowKey`]), and its keyed hash ([`FlowHasher`]).
//!
//! The hash decides both the owning core and the place in that core's table, so it must not be
//! predictable from outside: SipHash-1-3 with a key from the machine's entropy
//! (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012; Linux uses the same for its
//! tables).

use core::net::Ipv4Addr;

/// A TCP connection's addresses and ports, as this side sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FlowKey {
    /// The peer.
    pub remote: Ipv4Addr,
    /// This side.
    pub local: Ipv4Addr,
    /// The peer's port.
    pub remote_port: u16,
    /// This side's port.
    pub local_port: u16,
}

/// The keyed hash of flows, the same on every core.
#[derive(Clone, Copy)]
pub struct FlowHasher {
    k0: u64,
    k1: u64,
}

impl FlowHasher {
    /// Makes the hash from a secret key.
    pub fn new(key: [u8; 16]) -> Self {
        let key = u128::from_le_bytes(key);
        FlowHasher {
            k0: key as u64,
            k1: (key >> 64) as u64,
        }
    }

    /// Returns the hash of a flow.
    pub fn hash(&self, key: &FlowKey) -> u64 {
        let addresses = u64::from(key.remote.to_bits()) | u64::from(key.local.to_bits()) << 32;
        let ports = u64::from(key.remote_port) | u64::from(key.local_port) << 16;
        self.sip13(addresses, ports)
    }

    /// SipHash-1-3 of the 12 bytes of `first` and the low half of `rest`; the length goes into
    /// the last word's top byte as the algorithm has it.
    fn sip13(&self, first: u64, rest: u64) -> u64 {
        let mut state = [
            self.k0 ^ 0x736f_6d65_7073_6575,
            self.k1 ^ 0x646f_7261_6e64_6f6d,
            self.k0 ^ 0x6c79_6765_6e65_7261,
            self.k1 ^ 0x7465_6462_7974_6573,
        ];
        for word in [first, rest | 12 << 56] {
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

    #[test]
    #[allow(deprecated)]
    fn hash_is_siphash_1_3() {
        // The standard library's deprecated SipHasher is 2-4; its DefaultHasher is 1-3 with a
        // zero key, which is what there is to compare with.
        for seed in 0..1000u32 {
            let key = FlowKey {
                remote: Ipv4Addr::from_bits(seed.wrapping_mul(0x9e37_79b9)),
                local: Ipv4Addr::from_bits(!seed),
                remote_port: seed as u16,
                local_port: 80,
            };
            let mut reference = std::collections::hash_map::DefaultHasher::new();
            let addresses = u64::from(key.remote.to_bits()) | u64::from(key.local.to_bits()) << 32;
            reference.write(&addresses.to_le_bytes());
            reference.write(&key.remote_port.to_le_bytes());
            reference.write(&key.local_port.to_le_bytes());
            assert_eq!(
                FlowHasher::new([0; 16]).hash(&key),
                reference.finish(),
                "seed {seed}"
            );
        }
    }

    #[test]
    fn another_key_gives_another_hash() {
        let key = FlowKey {
            remote: Ipv4Addr::new(10, 0, 0, 2),
            local: Ipv4Addr::new(10, 0, 0, 1),
            remote_port: 40_000,
            local_port: 80,
        };
        let other = FlowHasher::new([7; 16]).hash(&key);
        assert_ne!(FlowHasher::new([0; 16]).hash(&key), other);
    }
}
