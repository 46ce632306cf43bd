//! The content codings that an image may hold a page in (RFC 9110 §8.4.1, RFC 7932, RFC 8878).

/// A content coding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Coding {
    /// The content as it is.
    Identity = 0,
    /// `gzip`.
    Gzip = 1,
    /// `br`.
    Brotli = 2,
    /// `zstd`.
    Zstd = 3,
}

impl Coding {
    /// Every coding, in the order of their numbers.
    pub const ALL: [Coding; 4] = [Coding::Identity, Coding::Gzip, Coding::Brotli, Coding::Zstd];

    /// Returns the name in Accept-Encoding and Content-Encoding.
    pub const fn name(self) -> &'static str {
        match self {
            Coding::Identity => "identity",
            Coding::Gzip => "gzip",
            Coding::Brotli => "br",
            Coding::Zstd => "zstd",
        }
    }

    /// Returns the coding of this number's lowest two bits.
    #[inline]
    pub const fn from_bits(bits: u8) -> Coding {
        Self::ALL[(bits & 3) as usize]
    }

    /// Returns the bit that stands for the coding in a set of them.
    #[inline]
    pub const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// A set of codings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Codings(u8);

impl Codings {
    /// The set of the lowest four bits, see [`Coding::bit`].
    #[inline]
    pub const fn from_bits(bits: u8) -> Self {
        Codings(bits & 0xf)
    }

    /// Returns the bits of the set.
    #[inline]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Returns whether the coding is in the set.
    #[inline]
    pub const fn contains(self, coding: Coding) -> bool {
        self.0 & coding.bit() != 0
    }

    /// Returns the set with the coding in it.
    #[must_use]
    pub const fn with(self, coding: Coding) -> Self {
        Codings(self.0 | coding.bit())
    }

    /// Returns how many codings are in the set.
    #[inline]
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Returns whether no coding is in the set.
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns how many codings of the set have a lower number: the coding's place among them.
    #[inline]
    pub(crate) const fn place(self, coding: Coding) -> usize {
        (self.0 & (coding.bit() - 1)).count_ones() as usize
    }
}

/// What a client takes: sets of codings, the most welcome first; those of one set are equally
/// welcome (RFC 9110 §12.4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted([Codings; Coding::ALL.len()]);

impl Wanted {
    /// The content as it is, and nothing else.
    pub const IDENTITY: Wanted = {
        let mut sets = [Codings::from_bits(0); Coding::ALL.len()];
        sets[0] = Codings::from_bits(Coding::Identity.bit());
        Wanted(sets)
    };

    /// Makes the order of these sets; empty ones stand for nothing.
    pub const fn new(sets: [Codings; Coding::ALL.len()]) -> Self {
        Wanted(sets)
    }

    /// Returns what is most welcome of `codings`, and of what is equally welcome the first in
    /// `by_size`, the order of the bodies' sizes with two bits each; identity, when nothing is.
    #[inline(always)]
    pub(crate) fn best_of(self, codings: Codings, by_size: u8) -> Coding {
        for set in self.0 {
            let welcome = codings.bits() & set.bits();
            if welcome != 0 {
                return first_of(welcome, by_size);
            }
        }
        Coding::Identity
    }
}

/// Returns the first coding of an order that is in a set.
#[inline(always)]
fn first_of(set: u8, mut order: u8) -> Coding {
    // Most sites are asked by clients that take all codings.
    while order != 0 && set & Coding::from_bits(order).bit() == 0 {
        order >>= 2;
    }
    Coding::from_bits(order)
}
