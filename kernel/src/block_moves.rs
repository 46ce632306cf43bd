//! Copy, fill and compare: the bodies of `memcpy`, `memmove`, `memset` and `memcmp`.
//!
//! The image has no C library; `machine::symbols` exports these under the C names. Written with
//! 16-byte moves, as `rep movs` costs one translated block per element under TCG. Small sizes, the
//! most frequent, take a few instructions: two moves that overlap in the middle.
//!
//! Invariant: every loop moves 16 bytes with an intrinsic, so that the compiler does not make a
//! call to memcpy (that is, to itself) out of it.

use core::arch::x86_64::{
    __m128i, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_set1_epi8, _mm_storeu_si128,
};

/// Loads 16 bytes.
///
/// # Safety
/// 16 bytes at `from` are readable.
#[inline(always)]
unsafe fn load(from: *const u8) -> __m128i {
    // SAFETY: the caller's.
    unsafe { _mm_loadu_si128(from.cast()) }
}

/// Stores 16 bytes.
///
/// # Safety
/// 16 bytes at `to` are writable.
#[inline(always)]
unsafe fn store(to: *mut u8, value: __m128i) {
    // SAFETY: the caller's.
    unsafe { _mm_storeu_si128(to.cast(), value) }
}

/// Copies fewer than 17 bytes; all are read before the first is written, so overlap is no matter.
///
/// # Safety
/// `len` bytes are readable at `from` and writable at `to`.
#[inline(always)]
unsafe fn copy_small(to: *mut u8, from: *const u8, len: usize) {
    // SAFETY: each arm stays in the first or the last bytes of `len`, at least as many as it moves.
    unsafe {
        if len >= 8 {
            let first = from.cast::<u64>().read_unaligned();
            let last = from.add(len - 8).cast::<u64>().read_unaligned();
            to.cast::<u64>().write_unaligned(first);
            to.add(len - 8).cast::<u64>().write_unaligned(last);
        } else if len >= 4 {
            let first = from.cast::<u32>().read_unaligned();
            let last = from.add(len - 4).cast::<u32>().read_unaligned();
            to.cast::<u32>().write_unaligned(first);
            to.add(len - 4).cast::<u32>().write_unaligned(last);
        } else if len >= 2 {
            let first = from.cast::<u16>().read_unaligned();
            let last = from.add(len - 2).cast::<u16>().read_unaligned();
            to.cast::<u16>().write_unaligned(first);
            to.add(len - 2).cast::<u16>().write_unaligned(last);
        } else if len == 1 {
            to.write(from.read());
        }
    }
}

/// Copies `BLOCKS` times 16 bytes, each read before any that lies above it is written.
///
/// # Safety
/// As many bytes are readable at `from` and writable at `to`.
#[inline(always)]
unsafe fn copy_blocks<const BLOCKS: usize>(to: *mut u8, from: *const u8) {
    for block in 0..BLOCKS {
        // SAFETY: inside of what the caller says.
        unsafe { store(to.add(16 * block), load(from.add(16 * block))) };
    }
}

/// Copies `len` bytes upwards: right when `to` is not inside of `from..from + len`.
///
/// # Safety
/// `len` bytes are readable at `from` and writable at `to`; no overlap, or `to` below `from`.
#[inline(always)]
pub(crate) unsafe fn copy(to: *mut u8, from: *const u8, len: usize) {
    // SAFETY: at each step `left` bytes or more are there, from `at` on. The last 16 bytes are read
    // before anything is written over them, and each block before the stores that may reach it from
    // below.
    unsafe {
        if len <= 16 {
            return copy_small(to, from, len);
        }
        let last = load(from.add(len - 16));
        if len <= 32 {
            let first = load(from);
            store(to, first);
            return store(to.add(len - 16), last);
        }
        let (mut at, mut left) = (0, len);
        while left >= 128 {
            copy_blocks::<8>(to.add(at), from.add(at));
            at += 128;
            left -= 128;
        }
        if left & 64 != 0 {
            copy_blocks::<4>(to.add(at), from.add(at));
            at += 64;
        }
        if left & 32 != 0 {
            copy_blocks::<2>(to.add(at), from.add(at));
            at += 32;
        }
        if left & 16 != 0 {
            copy_blocks::<1>(to.add(at), from.add(at));
        }
        store(to.add(len - 16), last);
    }
}

/// Copies `len` bytes that may overlap in any way.
///
/// # Safety
/// `len` bytes are readable at `from` and writable at `to`.
#[inline(always)]
pub(crate) unsafe fn copy_overlapping(to: *mut u8, from: *const u8, len: usize) {
    if (to as usize).wrapping_sub(from as usize) >= len {
        // SAFETY: `to` is not inside of the source, the rest is the caller's.
        return unsafe { copy(to, from, len) };
    }
    // SAFETY: downwards, each block is read before the stores that may reach it from above; the
    // first 16 bytes are kept for last.
    unsafe {
        if len <= 16 {
            return copy_small(to, from, len);
        }
        let first = load(from);
        let mut left = len;
        while left > 16 {
            left -= 16;
            store(to.add(left), load(from.add(left)));
        }
        store(to, first);
    }
}

/// Fills `len` bytes.
///
/// # Safety
/// `len` bytes are writable at `to`.
#[inline(always)]
pub(crate) unsafe fn fill(to: *mut u8, byte: u8, len: usize) {
    let word = u64::from(byte) * 0x0101_0101_0101_0101;
    // SAFETY: each store stays in the first or the last bytes of `len`, at least as many as it
    // writes; SSE2 is part of x86-64.
    unsafe {
        if len > 16 {
            let block = _mm_set1_epi8(byte as i8);
            let mut at = 0;
            while at + 16 < len {
                store(to.add(at), block);
                at += 16;
            }
            store(to.add(len - 16), block);
        } else if len >= 8 {
            to.cast::<u64>().write_unaligned(word);
            to.add(len - 8).cast::<u64>().write_unaligned(word);
        } else if len >= 4 {
            to.cast::<u32>().write_unaligned(word as u32);
            to.add(len - 4).cast::<u32>().write_unaligned(word as u32);
        } else if len >= 2 {
            to.cast::<u16>().write_unaligned(word as u16);
            to.add(len - 2).cast::<u16>().write_unaligned(word as u16);
        } else if len == 1 {
            to.write(byte);
        }
    }
}

/// Compares `len` bytes: the difference of the first two that differ, else 0.
///
/// # Safety
/// `len` bytes are readable at both.
#[inline(always)]
pub(crate) unsafe fn compare(left: *const u8, right: *const u8, len: usize) -> i32 {
    let mut at = 0;
    // SAFETY: `at` stays below `len`, and 16 bytes are only read where 16 are left; SSE2 is part
    // of x86-64. Volatile reads keep the compiler from making a call to memcmp of the last loop.
    unsafe {
        while at + 16 <= len {
            let equal = _mm_cmpeq_epi8(load(left.add(at)), load(right.add(at)));
            let differing = !_mm_movemask_epi8(equal) as u32 & 0xffff;
            if differing != 0 {
                at += differing.trailing_zeros() as usize;
                return i32::from(left.add(at).read()) - i32::from(right.add(at).read());
            }
            at += 16;
        }
        while at < len {
            let (a, b) = (left.add(at).read_volatile(), right.add(at).read_volatile());
            if a != b {
                return i32::from(a) - i32::from(b);
            }
            at += 1;
        }
    }
    0
}

/// Returns whether any of `len` bytes differ.
///
/// # Safety
/// `len` bytes are readable at both.
#[inline(always)]
pub(crate) unsafe fn differ(left: *const u8, right: *const u8, len: usize) -> bool {
    // SAFETY: each arm stays in the first or the last bytes of `len`, at least as many as it reads;
    // `at` stays below `len - 16`; SSE2 is part of x86-64.
    unsafe {
        if len >= 16 {
            let differ_at = |at| {
                let equal = _mm_cmpeq_epi8(load(left.add(at)), load(right.add(at)));
                _mm_movemask_epi8(equal) != 0xffff
            };
            let mut at = 0;
            while at + 16 < len {
                if differ_at(at) {
                    return true;
                }
                at += 16;
            }
            differ_at(len - 16)
        } else if len >= 8 {
            let word = |at| {
                let [left, right] = [left, right].map(|from| from.add(at).cast::<u64>());
                left.read_unaligned() ^ right.read_unaligned()
            };
            word(0) | word(len - 8) != 0
        } else if len >= 4 {
            let word = |at| {
                let [left, right] = [left, right].map(|from| from.add(at).cast::<u32>());
                left.read_unaligned() ^ right.read_unaligned()
            };
            word(0) | word(len - 4) != 0
        } else {
            (0..len).any(|at| left.add(at).read_volatile() != right.add(at).read_volatile())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    /// Every size; a sample of them under Miri, which is slow.
    const STEP: usize = if cfg!(miri) { 29 } else { 1 };

    fn pattern(len: usize) -> Vec<u8> {
        (0..len)
            .map(|index| (index * 131 + index / 256 * 7) as u8)
            .collect()
    }

    #[test]
    fn copies_every_size_at_every_alignment() {
        let source = pattern(410);
        for len in (0..300).chain(380..390).step_by(STEP) {
            for (to, from) in (0..17).flat_map(|to| [0, 1, 7, 15].map(|from| (to, from))) {
                let mut target = std::vec![0xee; 420];
                // SAFETY: both are long enough.
                unsafe { copy(target.as_mut_ptr().add(to), source.as_ptr().add(from), len) };
                assert_eq!(&target[to..to + len], &source[from..from + len]);
                assert!(
                    target[..to]
                        .iter()
                        .chain(&target[to + len..])
                        .all(|b| *b == 0xee)
                );
            }
        }
    }

    #[test]
    fn copies_every_overlap() {
        for len in (0..300).step_by(STEP) {
            for (to, from) in (0..80).map(|distance| (distance, 40)) {
                let mut bytes = pattern(400);
                let expected = bytes[from..from + len].to_vec();
                let mut whole = bytes.clone();
                whole[to..to + len].copy_from_slice(&expected);
                let start = bytes.as_mut_ptr();
                // SAFETY: both lie inside of the buffer.
                unsafe { copy_overlapping(start.add(to), start.add(from), len) };
                assert_eq!(bytes, whole, "{len} bytes from {from} to {to}");
            }
        }
    }

    #[test]
    fn fills_exactly() {
        for len in (0..150).step_by(STEP) {
            for start in 0..17 {
                let mut bytes = std::vec![1; 180];
                // SAFETY: inside of the buffer.
                unsafe { fill(bytes.as_mut_ptr().add(start), 0xa5, len) };
                assert!(bytes[start..start + len].iter().all(|byte| *byte == 0xa5));
                assert!(
                    bytes[..start]
                        .iter()
                        .chain(&bytes[start + len..])
                        .all(|b| *b == 1)
                );
            }
        }
    }

    #[test]
    fn compares_at_every_difference() {
        for len in (0..80).step_by(STEP) {
            let left = pattern(len);
            let same = left.clone();
            // SAFETY: both have `len` bytes.
            let order = unsafe { compare(left.as_ptr(), same.as_ptr(), len) };
            assert_eq!(order, 0);
            // SAFETY: both have `len` bytes.
            assert!(!unsafe { differ(left.as_ptr(), same.as_ptr(), len) });
            for at in 0..len {
                let mut right = left.clone();
                right[at] ^= 0x80;
                // SAFETY: both have `len` bytes.
                let order = unsafe { compare(left.as_ptr(), right.as_ptr(), len) };
                assert_eq!(order.signum(), if left[at] > right[at] { 1 } else { -1 });
                // SAFETY: both have `len` bytes.
                assert!(unsafe { differ(left.as_ptr(), right.as_ptr(), len) });
            }
        }
    }
}
