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
