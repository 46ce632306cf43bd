//! The sum of POSIX `cksum`: a CRC over the bytes and then over their number.

use crc::{CRC_32_CKSUM, Crc, Digest, Table};

/// Sixteen bytes a step.
static CRC: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_CKSUM);

/// A sum that bytes are added to.
#[derive(Clone)]
pub struct Sum {
    digest: Digest<'static, u32, Table<16>>,
    bytes: u64,
}

impl Sum {
    /// Begins one.
    pub fn new() -> Self {
        Sum {
            digest: CRC.digest(),
            bytes: 0,
        }
    }

    /// Adds bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        self.digest.update(bytes);
        self.bytes += bytes.len() as u64;
    }

    /// Adds the number of bytes, as few bytes of it as it has, the lowest first, and returns the sum.
    pub fn end(mut self) -> u32 {
        let number = self.bytes.to_le_bytes();
        let length = 8 - self.bytes.leading_zeros() as usize / 8;
        self.digest.update(&number[..length]);
        self.digest.finalize()
    }
}

impl Default for Sum {
    fn default() -> Self {
        Sum::new()
    }
}

impl core::fmt::Debug for Sum {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Sum({} of {} bytes)", self.clone().end(), self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_cksum() {
        let of = |parts: &[&[u8]]| {
            let mut sum = Sum::new();
            parts.iter().for_each(|part| sum.add(part));
            sum.end()
        };
        // As `cksum` of GNU coreutils prints them.
        assert_eq!(of(&[]), 4_294_967_295);
        assert_eq!(of(&[b"123456789"]), 930_766_865);
        assert_eq!(of(&[b"1234", b"", b"56789"]), 930_766_865);
        let long = [b'i'; 70_000];
        assert_eq!(of(&[&long[..1], &long[1..]]), 2_887_329_828);
    }
}
