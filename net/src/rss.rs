//! Receive-side scaling: the device hashes each TCP segment and looks up in a table which queue it
//! goes to (VirtIO 1.2 §5.1.6.5.7). Here are the hash and the table, so that the stack knows the
//! same: a flow is owned by the core to whose queue the device brings it, and nothing is handed over.
//!
//! The hash is Toeplitz's with a key of our own. It only says where a flow lives; tables are
//! searched by [`FlowHasher`](crate::flow::FlowHasher), because Toeplitz's hash is linear.
//!
//! Upstream: `virtio_net`, which tells the device. Downstream: the fabric, which asks for a flow's
//! home.

use crate::flow::{AddressPair, FlowKey};
use kernel::CoreId;

/// Bytes of the key: what hashes IPv6 addresses and ports, too.
pub const KEY_BYTES: usize = 40;

/// Places of the table, a power of two: every device has so many (VirtIO 1.2 §5.1.4).
pub const BUCKETS: usize = 128;

/// How the device spreads flows over the cores.
#[derive(Clone, PartialEq, Eq)]
pub struct Rss {
    key: [u8; KEY_BYTES],
    cores: usize,
}

impl Rss {
    /// Spreads over `cores` cores, with a key that nobody outside may guess.
    pub fn new(key: [u8; KEY_BYTES], cores: usize) -> Self {
        let cores = cores.max(1);
        Rss { key, cores }
    }

    /// Returns the key.
    pub(crate) fn key(&self) -> &[u8; KEY_BYTES] {
        &self.key
    }

    /// Returns the queue pair of each place of the table, when the device has `pairs`: the flow's
    /// home's own, or one of the others if that has none.
    pub(crate) fn table(&self, pairs: usize) -> [u16; BUCKETS] {
        core::array::from_fn(|bucket| ((bucket % self.cores) % pairs.max(1)) as u16)
    }

    /// Returns the core that a flow is at home on.
    pub(crate) fn home(&self, flow: &FlowKey) -> Option<CoreId> {
        CoreId::new(self.bucket(flow) % self.cores)
    }

    /// Returns a flow's place in the table.
    pub(crate) fn bucket(&self, flow: &FlowKey) -> usize {
        let [a, b] = flow.remote_port.to_be_bytes();
        let [c, d] = flow.local_port.to_be_bytes();
        let hash = match flow.addresses {
            AddressPair::V4 { remote, local } => {
                let mut input = [0; 12];
                input[..4].copy_from_slice(&remote.octets());
                input[4..8].copy_from_slice(&local.octets());
                input[8..].copy_from_slice(&[a, b, c, d]);
                toeplitz(&self.key, &input)
            }
            AddressPair::V6 { remote, local } => {
                let mut input = [0; 36];
                input[..16].copy_from_slice(&remote.octets());
                input[16..32].copy_from_slice(&local.octets());
                input[32..].copy_from_slice(&[a, b, c, d]);
                toeplitz(&self.key, &input)
            }
        };
        hash as usize % BUCKETS
    }
}

/// Toeplitz's hash of at most 36 bytes: for each bit that is set, the 32 bits of the key from there
/// on, added without carry (Microsoft, "RSS hashing functions").
fn toeplitz(key: &[u8; KEY_BYTES], input: &[u8]) -> u32 {
    let mut hash = 0;
    for (byte, window) in input.iter().zip(key.windows(5)) {
        let window = window
            .iter()
            .fold(0, |word, byte| word << 8 | u64::from(*byte));
        for bit in 0..8 {
            let is_set = byte >> (7 - bit) & 1 == 1;
            hash ^= if is_set {
                (window >> (8 - bit)) as u32
            } else {
                0
            };
        }
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;
    use std::vec::Vec;

    /// The key of Microsoft's examples.
    const KEY: [u8; KEY_BYTES] = [
        0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f,
        0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30,
        0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
    ];

    fn flow(from: ([u8; 4], u16), to: ([u8; 4], u16)) -> FlowKey {
        FlowKey::v4((from.0.into(), from.1), (to.0.into(), to.1))
    }

    #[test]
    fn hash_is_that_of_microsofts_examples() {
        let rss = Rss::new(KEY, BUCKETS);
        for (from, to, hash) in [
            (
                ([66, 9, 149, 187], 2794_u16),
                ([161, 142, 100, 80], 1766_u16),
                0x51cc_c178_u32,
            ),
            (
                ([199, 92, 111, 2], 14230),
                ([65, 69, 140, 83], 4739),
                0xc626_b0ea,
            ),
            (
                ([24, 19, 198, 95], 12898),
                ([12, 22, 207, 184], 38024),
                0x5c2b_394a,
            ),
            (
                ([38, 27, 205, 30], 48228),
                ([209, 142, 163, 6], 2217),
                0xafc7_327f,
            ),
            (
                ([153, 39, 163, 191], 44251),
                ([202, 188, 127, 2], 1303),
                0x10e8_28a2,
            ),
        ] {
            let mut input = Vec::from(from.0);
            input.extend(to.0);
            input.extend(from.1.to_be_bytes());
            input.extend(to.1.to_be_bytes());
            assert_eq!(toeplitz(&KEY, &input), hash);
            let cores = kernel::limits::MAX_CORES;
            let home = CoreId::new(hash as usize % BUCKETS % cores);
            assert_eq!(Rss::new(KEY, cores).home(&flow(from, to)), home);
            assert_eq!(
                rss.table(BUCKETS)[hash as usize % BUCKETS],
                (hash % 128) as u16
            );
        }
    }

    #[test]
    fn hash_of_ipv6_is_that_of_microsofts_examples() {
        let address = |text: &str| text.parse().unwrap();
        for (from, to, hash) in [
            (
                ("3ffe:2501:200:1fff::7", 2794),
                ("3ffe:2501:200:3::1", 1766),
                0x4020_7d3d_u32,
            ),
            (
                ("3ffe:501:8::260:97ff:fe40:efab", 14_230),
                ("ff02::1", 4739),
                0xdde5_1bbf,
            ),
            (
                ("3ffe:1900:4545:3:200:f8ff:fe21:67cf", 44_251),
                ("fe80::200:f8ff:fe21:67cf", 38_024),
                0x02d1_feef,
            ),
        ] {
            let flow = FlowKey::v6((address(from.0), from.1), (address(to.0), to.1));
            let bucket = Rss::new(KEY, BUCKETS).bucket(&flow);
            assert_eq!(bucket, hash as usize % BUCKETS, "{from:?}");
        }
    }

    #[test]
    fn the_table_leads_home_or_to_a_core_that_has_a_pair() {
        for cores in 1..=kernel::limits::MAX_CORES {
            for pairs in 1..=cores {
                let table = Rss::new(KEY, cores).table(pairs);
                for (bucket, queue) in table.into_iter().enumerate() {
                    let (queue, home) = (usize::from(queue), bucket % cores);
                    assert!(queue < pairs && (queue == home || home >= pairs));
                }
            }
        }
    }

    #[test]
    fn homes_are_shared_evenly() {
        let rss = Rss::new(KEY, 2);
        let peer = Ipv4Addr::new(10, 0, 0, 2).octets();
        let first = (0..10_000).filter(|port| {
            let flow = flow((peer, 20_000 + port), ([10, 0, 0, 1], 80));
            rss.home(&flow) == Some(CoreId::BOOT)
        });
        assert!((4_500..5_500).contains(&first.count()));
    }
}
