//! Looking for bytes, sixteen at a time.
//!
//! A class of bytes is a function from a block to a block whose bytes are all ones where the byte is
//! in the class; a bit mask of these then tells places. Upstream: the parsers of this crate.
//! Nothing here knows HTTP.

use wide::u8x16;

/// Bytes that are looked at together.
pub const BLOCK_BYTES: usize = 16;

/// Bytes that one mask of [`Controls`] tells of.
const WINDOW_BYTES: usize = 64;

/// The control characters of some bytes: what is below the blank, and DEL.
pub struct Controls<'a> {
    bytes: &'a [u8],
    /// Where the window of `mask` starts.
    base: usize,
    /// Bits of the window's control characters.
    mask: u64,
    /// The first byte behind the window.
    unknown: usize,
}

impl<'a> Controls<'a> {
    /// Begins at `start`.
    #[inline(always)]
    pub fn new(bytes: &'a [u8], start: usize) -> Self {
        Controls {
            bytes,
            base: start,
            mask: 0,
            unknown: start,
        }
    }

    /// Returns the place of the first one from `start` on, which is not before any earlier start.
    #[inline(always)]
    pub fn first_from(&mut self, start: usize) -> Option<usize> {
        let mask = self.mask_from(start);
        if mask != 0 {
            return Some(start + mask.trailing_zeros() as usize);
        }
        self.search(start)
    }

    /// Looks at one window after the other.
    #[inline(never)]
    fn search(&mut self, start: usize) -> Option<usize> {
        let mut at = start.max(self.unknown);
        while at < self.bytes.len() {
            (self.base, self.mask) = window(self.bytes, at);
            self.unknown = self.base + WINDOW_BYTES;
            let mask = self.mask_from(at);
            if mask != 0 {
                return Some(at + mask.trailing_zeros() as usize);
            }
            at = self.unknown;
        }
        None
    }

    /// Returns what is known of the bytes from `start` on.
    #[inline(always)]
    fn mask_from(&self, start: usize) -> u64 {
        let offset = start - self.base;
        if offset < WINDOW_BYTES {
            self.mask >> offset
        } else {
            0
        }
    }
}

/// Returns the place and the mask of a window that tells of the byte at `start` and of as many behind
/// it as it can.
#[inline(always)]
fn window(bytes: &[u8], start: usize) -> (usize, u64) {
    let found = match bytes.get(start..).and_then(<[u8]>::first_chunk) {
        Some(window) => Some((start, window)),
        None => bytes
            .last_chunk()
            .map(|window| (bytes.len() - WINDOW_BYTES, window)),
    };
    match found {
        Some((base, window)) => (base, window_mask(window)),
        None => (0, mask_of_fewer(bytes)),
    }
}

/// Returns the mask of fewer bytes than a window has.
#[inline(never)]
fn mask_of_fewer(bytes: &[u8]) -> u64 {
    let (blocks, rest) = bytes.as_chunks();
    let whole = blocks.iter().rev().fold(0, |behind, block| {
        behind << BLOCK_BYTES | u64::from(mask(block, controls))
    });
    if rest.is_empty() {
        return whole;
    }
    // The last whole block tells of the rest, and again of what is before it.
    let (base, last) = mask_of_last(bytes, bytes.len() - rest.len(), controls);
    whole | u64::from(last) << base
}

#[inline(always)]
fn window_mask(window: &[u8; WINDOW_BYTES]) -> u64 {
    let (blocks, _) = window.as_chunks();
    blocks.iter().rev().fold(0, |behind, block| {
        behind << BLOCK_BYTES | u64::from(mask(block, controls))
    })
}

/// Returns the place of the first byte from `start` on that is in `class`.
#[inline(always)]
pub fn find(bytes: &[u8], start: usize, class: impl Fn(u8x16) -> u8x16 + Copy) -> Option<usize> {
    let mut rest = bytes.get(start..)?;
    let mut at = start;
    while let Some((block, behind)) = rest.split_first_chunk() {
        let mask = mask(block, class);
        if mask != 0 {
            return Some(at + mask.trailing_zeros() as usize);
        }
        at += BLOCK_BYTES;
        rest = behind;
    }
    let (base, mask) = mask_of_last(bytes, at, class);
    (mask != 0).then(|| base + mask.trailing_zeros() as usize)
}

/// Bytes to compare others with: at least a block of them, and at most as many as `BLOCKS` have.
#[derive(Debug, Clone, Copy)]
pub struct Pattern<const BLOCKS: usize> {
    /// Whole blocks from the start on.
    blocks: [u8x16; BLOCKS],
    /// The last block, which may overlap.
    last: u8x16,
    /// More than there is of anything, when nothing is like it.
    length: usize,
}

impl<const BLOCKS: usize> Pattern<BLOCKS> {
    /// Makes a pattern that nothing is like.
    pub const fn none() -> Self {
        Pattern {
            blocks: [u8x16::ZERO; BLOCKS],
            last: u8x16::ZERO,
            length: usize::MAX,
        }
    }

    /// Becomes these bytes; returns false, and stays as it was, when they are too few or too many.
    pub fn set(&mut self, bytes: &[u8]) -> bool {
        let (blocks, rest) = bytes.as_chunks();
        let is_short = blocks.len() + usize::from(!rest.is_empty()) <= BLOCKS;
        let Some(last) = bytes.last_chunk().filter(|_| is_short) else {
            return false;
        };
        for (place, block) in self.blocks.iter_mut().zip(blocks) {
            *place = u8x16::from(*block);
        }
        self.last = u8x16::from(*last);
        self.length = bytes.len();
        true
    }

    /// Returns how many bytes there are.
    #[inline(always)]
    pub fn bytes(&self) -> usize {
        self.length
    }

    /// Returns whether these bytes are at the front of `input`, in a time that depends on their
    /// number alone.
    #[inline(always)]
    pub fn is_at_front(&self, input: &[u8]) -> bool {
        let Some(bytes) = input.get(..self.bytes()) else {
            return false;
        };
        let Some(last) = bytes.last_chunk() else {
            return false;
        };
        let start = self.last ^ u8x16::from(*last);
        let pairs = bytes.as_chunks().0.iter().zip(&self.blocks);
        let difference = pairs.fold(start, |sum, (block, own)| {
            sum | (*own ^ u8x16::from(*block))
        });
        difference.simd_eq(u8x16::ZERO).to_bitmask() == 0xffff
    }
}

#[inline(always)]
fn mask(block: &[u8; BLOCK_BYTES], class: impl Fn(u8x16) -> u8x16) -> u32 {
    class(u8x16::from(*block)).to_bitmask()
}

/// Returns the mask of the bytes from `start` to the end, which are less than a block, and the
/// place of its first bit.
#[inline(always)]
fn mask_of_last(bytes: &[u8], start: usize, class: impl Fn(u8x16) -> u8x16) -> (usize, u32) {
    match bytes.last_chunk() {
        // The last whole block, without what is known of it.
        Some(block) => {
            let base = bytes.len() - BLOCK_BYTES;
            (base, mask(block, class) & u32::MAX << (start - base))
        }
        None => mask_of_few(bytes, start, class),
    }
}

#[cold]
fn mask_of_few(bytes: &[u8], start: usize, class: impl Fn(u8x16) -> u8x16) -> (usize, u32) {
    let mut block = [0; BLOCK_BYTES];
    block[..bytes.len()].copy_from_slice(bytes);
    let known = u32::MAX << start & !(u32::MAX << bytes.len());
    (0, mask(&block, class) & known)
}

/// Control characters.
#[inline(always)]
fn controls(block: u8x16) -> u8x16 {
    between(block, 0, 0x1f) | block.simd_eq(u8x16::splat(0x7f))
}

/// Control characters and the blank: what ends a target.
#[inline(always)]
pub fn no_target(block: u8x16) -> u8x16 {
    between(block, 0, b' ') | block.simd_eq(u8x16::splat(0x7f))
}

/// All but ASCII letters, digits and hyphens.
#[inline(always)]
pub fn not_name(block: u8x16) -> u8x16 {
    !(letters(block) | between(block, b'0', b'9') | block.simd_eq(u8x16::splat(b'-')))
}

/// All but ASCII letters, digits, hyphens and dots.
#[inline(always)]
pub fn not_host(block: u8x16) -> u8x16 {
    !(letters(block) | between(block, b'0', b'9') | between(block, b'-', b'.'))
}

#[inline(always)]
fn letters(block: u8x16) -> u8x16 {
    between(block | u8x16::splat(0x20), b'a', b'z')
}

#[inline(always)]
fn between(block: u8x16, low: u8, high: u8) -> u8x16 {
    let above = block - u8x16::splat(low);
    above.min(u8x16::splat(high - low)).simd_eq(above)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;
    use std::vec::Vec;

    #[test]
    fn controls_are_found_in_order_wherever_they_are() {
        for length in 0..200 {
            for start in 0..=length {
                let mut bytes = vec![b'x'; length];
                for place in [
                    start,
                    start + 1,
                    start + 17,
                    start + 90,
                    length.wrapping_sub(1),
                ] {
                    if let Some(byte) = bytes.get_mut(place) {
                        *byte = b'\r';
                    }
                }
                let expected: Vec<usize> = (start..length)
                    .filter(|place| bytes[*place] == b'\r')
                    .collect();
                let mut controls = Controls::new(&bytes, start);
                let mut next = start;
                let found: Vec<usize> = core::iter::from_fn(|| {
                    let place = controls.first_from(next)?;
                    next = place + 1;
                    Some(place)
                })
                .collect();
                assert_eq!(found, expected, "{length} bytes from {start}");
                assert_eq!(find(&bytes, start, not_name), expected.first().copied());
            }
        }
        assert_eq!(find(b"abc", 4, not_name), None);
    }

    #[test]
    fn a_pattern_is_only_at_the_front_of_its_own_bytes() {
        let mut pattern = Pattern::<6>::none();
        assert!(!pattern.is_at_front(&vec![0; usize::from(u16::MAX)]));
        for length in 16..=96 {
            let bytes: Vec<u8> = (0..length).collect();
            assert!(pattern.set(&bytes));
            assert!(!pattern.set(&[0; 15]) && !pattern.set(&[0; 97]));
            assert_eq!(pattern.bytes(), bytes.len());
            assert!(pattern.is_at_front(&bytes));
            assert!(pattern.is_at_front(&[&bytes[..], b"more"].concat()));
            assert!(!pattern.is_at_front(&bytes[..bytes.len() - 1]));
            for place in 0..bytes.len() {
                for bit in 0..8 {
                    let mut other = bytes.clone();
                    other[place] ^= 1 << bit;
                    assert!(!pattern.is_at_front(&other), "{length} {place} {bit}");
                }
            }
        }
    }

    #[test]
    fn classes_hold_over_the_whole_range_of_bytes() {
        for byte in 0..=255u8 {
            let is_in = |class: fn(u8x16) -> u8x16| {
                let mut block = [b'a'; BLOCK_BYTES];
                block[5] = byte;
                mask(&block, class) & 1 << 5 != 0
            };
            assert_eq!(is_in(controls), byte.is_ascii_control(), "{byte}");
            let ends_target = byte == b' ' || byte.is_ascii_control();
            assert_eq!(is_in(no_target), ends_target, "{byte}");
            let is_name = byte.is_ascii_alphanumeric() || byte == b'-';
            assert_eq!(is_in(not_name), !is_name, "{byte}");
            assert_eq!(is_in(not_host), !is_name && byte != b'.', "{byte}");
        }
    }
}
