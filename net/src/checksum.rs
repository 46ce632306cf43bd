//! The Internet checksum (RFC 1071), summed eight bytes at a time.
//!
//! Sums are kept in native byte order and folded at the end: the ones'-complement sum does not
//! care which (RFC 1071 §2 (B)).

use crate::flow::AddressPair;
use core::net::Ipv6Addr;

/// An unfolded ones'-complement sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Sum(u64);

impl Sum {
    /// Adds bytes that start at an even offset of what is summed; an odd last one counts as
    /// followed by zero. `bytes` is at most 2^32 long.
    #[inline]
    pub(crate) fn add(mut self, bytes: &[u8]) -> Self {
        let (words, rest) = bytes.as_chunks::<4>();
        // Four independent accumulators let the compiler use vector additions.
        let (blocks, singles) = words.as_chunks::<4>();
        let mut lanes = [0u64; 4];
        for block in blocks {
            for (lane, word) in lanes.iter_mut().zip(block) {
                *lane += u64::from(u32::from_ne_bytes(*word));
            }
        }
        for word in singles {
            lanes[0] += u64::from(u32::from_ne_bytes(*word));
        }
        let mut last = [0; 4];
        last[..rest.len()].copy_from_slice(rest);
        lanes[1] += u64::from(u32::from_ne_bytes(last));
        for lane in lanes {
            self = self.add_word(lane);
        }
        self
    }

    /// Adds bytes that come behind `before` others, which may be an odd number: then what is summed is
    /// in the other byte of each word (RFC 1071 §2 (B)).
    pub(crate) fn add_behind(self, before: usize, bytes: &[u8]) -> Self {
        if before.is_multiple_of(2) {
            return self.add(bytes);
        }
        let [even, odd] = Sum::default().add(bytes).fold();
        self.add_word(u64::from(u16::from_ne_bytes([odd, even])))
    }

    /// Adds the pseudo-header of RFC 9293 §3.1: addresses, protocol and length in bytes.
    #[inline]
    pub(crate) fn add_pseudo_header(
        self,
        addresses: &AddressPair,
        protocol: u8,
        length: u16,
    ) -> Self {
        let [high, low] = length.to_be_bytes();
        // IPv6 has both in words of 32 bits (RFC 8200 §8.1), which sum to the same.
        let rest = u64::from(u32::from_ne_bytes([0, protocol, high, low]));
        match addresses {
            AddressPair::V4 { remote, local } => self
                .add_word(u64::from(u32::from_ne_bytes(local.octets())))
                .add_word(u64::from(u32::from_ne_bytes(remote.octets()))),
            AddressPair::V6 { remote, local } => self.add_wide(local).add_wide(remote),
        }
        .add_word(rest)
    }

    #[inline]
    fn add_wide(self, address: &Ipv6Addr) -> Self {
        let bits = u128::from_ne_bytes(address.octets());
        self.add_word(bits as u64).add_word((bits >> 64) as u64)
    }

    #[inline]
    fn add_word(self, word: u64) -> Self {
        let (sum, carry) = self.0.overflowing_add(word);
        Sum(sum + u64::from(carry))
    }

    /// Returns the 16-bit sum, in the order in which it lies in memory.
    #[inline]
    pub(crate) fn fold(self) -> [u8; 2] {
        let (sum, carry) = (self.0 as u32).overflowing_add((self.0 >> 32) as u32);
        let sum = sum.wrapping_add(u32::from(carry));
        // The upper half becomes both halves' sum and the carry of the lower half's.
        let sum = sum.wrapping_add(sum.rotate_left(16));
        ((sum >> 16) as u16).to_ne_bytes()
    }

    /// Returns the checksum, which is the complement of the sum.
    #[inline]
    pub(crate) fn complement(self) -> [u8; 2] {
        self.fold().map(|byte| !byte)
    }

    /// Returns whether what was summed, its checksum included, is intact.
    #[inline]
    pub(crate) fn is_intact(self) -> bool {
        self.fold() == [0xff, 0xff]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;
    use core::net::Ipv4Addr;
    use smoltcp::wire::checksum;
    use std::vec::Vec;

    #[test]
    fn agrees_with_the_codecs_sum() {
        let mut random = Random::new(3);
        for len in (0..300).chain([1460, 65_535]) {
            let bytes: Vec<u8> = (0..len).map(|_| random.below(256) as u8).collect();
            let expected = checksum::data(&bytes).to_be_bytes();
            assert_eq!(Sum::default().add(&bytes).fold(), expected, "length {len}");
        }
        let ones = [0xff; 4096];
        let expected = checksum::data(&ones).to_be_bytes();
        assert_eq!(Sum::default().add(&ones).fold(), expected);
    }

    #[test]
    fn bytes_in_pieces_of_any_length_sum_to_the_same() {
        let mut random = Random::new(4);
        for _ in 0..200 {
            let bytes: Vec<u8> = (0..1 + random.below(400))
                .map(|_| random.below(256) as u8)
                .collect();
            let (mut sum, mut at) = (Sum::default(), 0);
            while at < bytes.len() {
                let end = (at + 1 + random.below(99) as usize).min(bytes.len());
                sum = sum.add_behind(at, &bytes[at..end]);
                at = end;
            }
            assert_eq!(sum.fold(), Sum::default().add(&bytes).fold());
        }
    }

    #[test]
    fn pseudo_header_agrees_with_the_codecs() {
        let protocol = smoltcp::wire::IpProtocol::Tcp;
        let (local, remote) = (Ipv4Addr::new(192, 168, 7, 1), Ipv4Addr::new(10, 200, 0, 9));
        let pair = AddressPair::V4 { remote, local };
        let sum = Sum::default().add_pseudo_header(&pair, 6, 40_001);
        let expected = checksum::pseudo_header_v4(&local, &remote, protocol, 40_001);
        assert_eq!(sum.fold(), expected.to_be_bytes());
        let (local, remote) = (
            Ipv6Addr::new(0x2001, 0xdb8, 7, 0xffff, 1, 2, 3, 4),
            Ipv6Addr::new(0xfe80, 0, 0, 0, 0xfedc, 0xba98, 0x7654, 0x3210),
        );
        let pair = AddressPair::V6 { remote, local };
        let sum = Sum::default().add_pseudo_header(&pair, 6, 40_001);
        let expected = checksum::pseudo_header_v6(&local, &remote, protocol, 40_001);
        assert_eq!(sum.fold(), expected.to_be_bytes());
    }
}
