//! The index by host and path: a perfect hash, so that every look-up is one probe, found or not.
//!
//! Hash and displace: the high bits of a path's hash choose a *bucket*, the bucket's *seed* and
//! the hash choose a *slot*, and the slot holds a page number. The packer picks each seed so that
//! no two pages share a slot; the reader compares the whole path of the one page it finds.
//! Read first: Belazzougui, Botelho, Dietzfelbinger, "Hash, displace, and compress", ESA 2009.

use xxhash_rust::xxh3::xxh3_64;

/// Spreads a seed over all bits; 2^64 divided by the golden ratio, made odd.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Mixes hash and seed so that the high bits depend on all of both; a large odd number.
const MIX: u64 = 0xd6e8_feb8_6659_fd93;

/// Returns the hash of a host's path.
#[inline]
pub fn hash(host: u16, path: &[u8]) -> u64 {
    xxh3_64(path) ^ u64::from(host).wrapping_mul(SPREAD)
}

/// Returns the bucket of a hash among `1 << bits` buckets; `bits` is below 32.
#[inline]
pub fn bucket(hash: u64, bits: u32) -> usize {
    // Shifted in two steps: 0 bits shift by 64.
    (hash >> 1 >> (63 - bits)) as usize
}

/// Returns the slot of a hash among `1 << bits` slots, under its bucket's seed; `bits` is below
/// 32.
#[inline]
pub fn slot(hash: u64, seed: u32, bits: u32) -> usize {
    let mixed = (hash ^ u64::from(seed).wrapping_mul(SPREAD)).wrapping_mul(MIX);
    (mixed >> 1 >> (63 - bits)) as usize
}

#[cfg(feature = "pack")]
pub(crate) mod build {
    //! Choosing the seeds; the packer's side.

    use crate::format::NO_PAGE;

    /// Seeds tried for a bucket. With four slots for every three pages and four pages to a
    /// bucket, a few hundred are enough but for equal hashes.
    const SEEDS_PER_BUCKET: u32 = 1 << 20;

    /// The two arrays of the index.
    pub(crate) struct Index {
        pub(crate) seeds: Vec<u32>,
        pub(crate) slots: Vec<u32>,
    }

    /// Two pages cannot be told apart by their hashes.
    #[derive(Debug, PartialEq, Eq)]
    pub(crate) struct SameHash {
        pub(crate) first: u32,
        pub(crate) second: u32,
    }

    /// Builds the index of `entries`: the hash of each path and its page number.
    pub(crate) fn index(entries: &[(u64, u32)]) -> Result<Index, SameHash> {
        let bucket_bits = (entries.len() / 4).next_power_of_two().ilog2();
        let slot_bits = (entries.len() + entries.len() / 3 + 1)
            .next_power_of_two()
            .ilog2();
        let mut seeds = vec![0; 1 << bucket_bits];
        let mut slots = vec![NO_PAGE; 1 << slot_bits];

        let mut sorted = entries.to_vec();
        sorted.sort_unstable();
        let mut buckets: Vec<&[(u64, u32)]> = sorted
            .chunk_by(|a, b| super::bucket(a.0, bucket_bits) == super::bucket(b.0, bucket_bits))
            .collect();
        // Large buckets first, while there is room; a stable sort keeps the image reproducible.
        buckets.sort_by_key(|bucket| core::cmp::Reverse(bucket.len()));
        for bucket in buckets {
            if let Some(pair) = bucket.windows(2).find(|pair| pair[0].0 == pair[1].0) {
                return Err(SameHash {
                    first: pair[0].1,
                    second: pair[1].1,
                });
            }
            let seed = (0..SEEDS_PER_BUCKET)
                .find(|seed| place(bucket, *seed, slot_bits, &mut slots))
                .ok_or(SameHash {
                    first: bucket[0].1,
                    second: bucket[bucket.len() - 1].1,
                })?;
            seeds[super::bucket(bucket[0].0, bucket_bits)] = seed;
        }
        Ok(Index { seeds, slots })
    }

    /// Puts a bucket's pages into free slots, all or none.
    fn place(bucket: &[(u64, u32)], seed: u32, slot_bits: u32, slots: &mut [u32]) -> bool {
        for (done, (hash, page)) in bucket.iter().enumerate() {
            let slot = super::slot(*hash, seed, slot_bits);
            if slots[slot] != NO_PAGE {
                for (hash, _) in &bucket[..done] {
                    slots[super::slot(*hash, seed, slot_bits)] = NO_PAGE;
                }
                return false;
            }
            slots[slot] = *page;
        }
        true
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        fn find(index: &Index, hash: u64) -> u32 {
            let seed = index.seeds[crate::index::bucket(hash, index.seeds.len().ilog2())];
            index.slots[crate::index::slot(hash, seed, index.slots.len().ilog2())]
        }

        #[test]
        fn every_page_has_a_slot_of_its_own_at_every_size() {
            for count in (0..70).chain([1_000, 4_095, 4_097, 50_000]) {
                let entries: Vec<(u64, u32)> = (0..count)
                    .map(|page| {
                        (
                            crate::index::hash(page as u16 % 3, format!("/{page}").as_bytes()),
                            page,
                        )
                    })
                    .collect();
                let index = index(&entries).unwrap();
                assert!(
                    entries
                        .iter()
                        .all(|(hash, page)| find(&index, *hash) == *page)
                );
            }
        }

        #[test]
        fn equal_hashes_are_refused() {
            let result = index(&[(5, 1), (7, 2), (5, 3)]);
            assert_eq!(
                result.err(),
                Some(SameHash {
                    first: 1,
                    second: 3
                })
            );
        }
    }
}
