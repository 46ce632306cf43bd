//! Sequence numbers (RFC 9293 §3.4): 32 bits that wrap, compared by their distance.

use core::ops::{Add, Sub};

/// A TCP sequence number. Order is by signed distance and so means something only between numbers
/// less than 2^31 apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub(crate) struct Seq(pub(crate) u32);

impl Seq {
    /// Whether this number comes before `other`.
    #[inline]
    pub(crate) fn is_before(self, other: Seq) -> bool {
        (self.0.wrapping_sub(other.0) as i32) < 0
    }

    /// Whether this number comes after `other`.
    #[inline]
    pub(crate) fn is_after(self, other: Seq) -> bool {
        other.is_before(self)
    }

    /// Returns the later of two numbers.
    #[inline]
    pub(crate) fn max(self, other: Seq) -> Seq {
        if self.is_before(other) { other } else { self }
    }

    /// Returns the earlier of two numbers.
    #[inline]
    pub(crate) fn min(self, other: Seq) -> Seq {
        if self.is_before(other) { self } else { other }
    }

    /// Returns how far this number is beyond `other`, 0 when it is not.
    #[inline]
    pub(crate) fn beyond(self, other: Seq) -> u32 {
        if self.is_before(other) {
            0
        } else {
            self - other
        }
    }
}

impl Add<u32> for Seq {
    type Output = Seq;
    #[inline]
    fn add(self, rhs: u32) -> Seq {
        Seq(self.0.wrapping_add(rhs))
    }
}

impl Sub<u32> for Seq {
    type Output = Seq;
    #[inline]
    fn sub(self, rhs: u32) -> Seq {
        Seq(self.0.wrapping_sub(rhs))
    }
}

/// The distance from `rhs` on to `self`.
impl Sub<Seq> for Seq {
    type Output = u32;
    #[inline]
    fn sub(self, rhs: Seq) -> u32 {
        self.0.wrapping_sub(rhs.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Seq;

    #[test]
    fn order_goes_by_distance_across_the_wrap() {
        for base in [0, 1, 5, 0x7fff_ffff, 0x8000_0000, u32::MAX - 1, u32::MAX] {
            let base = Seq(base);
            for ahead in [1, 2, 1000, 0x7fff_fffe, 0x7fff_ffff] {
                assert!(base.is_before(base + ahead) && !(base + ahead).is_before(base));
                assert!((base + ahead).is_after(base));
                assert_eq!((base + ahead) - base, ahead);
                assert_eq!((base + ahead).max(base), base + ahead);
                assert_eq!((base + ahead).min(base), base);
                assert_eq!((base + ahead).beyond(base), ahead);
                assert_eq!(base.beyond(base + ahead), 0);
            }
            assert!(!base.is_before(base) && !base.is_after(base));
        }
    }
}
