//! The layout of an image, version 2. Everything is little endian.
//!
//! ```text
//! 0                header, HEADER_BYTES
//!     0     8      magic
//!     8     4      version
//!    12     4      number of sections, at most limits::MAX_SECTIONS
//!    16     8      length of the image in bytes; what follows it is ignored
//!    24     8      xxh3-64 of the image behind the header
//!    32   N × 24   sections: kind u32, 0 u32, offset u64, length u64
//!         …        zeros
//!   504     8      xxh3-64 of the header before it
//! HEADER_BYTES     the sections, each at a multiple of ALIGNMENT
//! ```
//!
//! A reader skips sections of kinds that it does not know, so an addition that old readers may
//! ignore is a new section; anything else is a new version.
//!
//! [`Section::Responses`] holds every response whole, one behind the other, its body at a multiple
//! of [`ALIGNMENT`]:
//!
//! ```text
//! HTTP/1.1 200 OK                  status line
//! Server: sluice                   fields_at      what other answers replace
//! Content-Length: 612
//! Content-Type: text/html; …       type_at
//! Accept-Ranges: bytes             rest_at        what a partial answer has, and a 304 has not
//! Last-Modified: …
//! Cache-Control: …                 kept_at        what a 304 has too (RFC 9110 §15.4.5)
//! ETag: "…"
//! Vary: Accept-Encoding
//!                                  end_at         the blank line
//! the body
//! ```
//!
//! So 200 is one piece from `fields_at` on, an answer to HEAD and a 304 are pieces of the same
//! head, and nothing but Date (and Connection, rarely) is missing. The tables are arrays of the
//! records in [`records`](crate::records); [`Section::Seeds`] and [`Section::Slots`] are arrays of
//! `u32`, explained in [`index`](crate::index).

/// The first bytes of every image. The high bit and the line feed show damage by text transfer.
pub const MAGIC: [u8; 8] = *b"\x89SLUICE\n";

/// The version that this build reads and writes.
pub const VERSION: u32 = 2;

/// Bytes of the header.
pub const HEADER_BYTES: usize = 512;

/// Where the header's fields are, in bytes from the start of the image.
pub const VERSION_AT: usize = 8;
/// See [`VERSION_AT`].
pub const SECTION_COUNT_AT: usize = 12;
/// See [`VERSION_AT`].
pub const LENGTH_AT: usize = 16;
/// See [`VERSION_AT`].
pub const CHECKSUM_AT: usize = 24;
/// See [`VERSION_AT`].
pub const SECTION_TABLE_AT: usize = 32;
/// See [`VERSION_AT`].
pub const HEADER_CHECKSUM_AT: usize = HEADER_BYTES - 8;

/// Bytes of one entry of the section table.
pub const SECTION_BYTES: usize = 24;

/// Sections and bodies start at multiples of this many bytes.
pub const ALIGNMENT: usize = 16;

/// The page number that means "no page" in [`Section::Slots`].
pub const NO_PAGE: u32 = u32::MAX;

/// The host that requests for unknown names go to.
pub const DEFAULT_HOST: u16 = 0;

/// The sections of version 2; each must be there exactly once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Section {
    /// The responses.
    Responses = 1,
    /// The pages.
    Pages = 2,
    /// The pages' paths, percent-decoded, each starting with `/`.
    Paths = 3,
    /// The variants of the pages.
    Variants = 4,
    /// The index's seed of each bucket.
    Seeds = 5,
    /// The index's page number in each slot.
    Slots = 6,
    /// The hosts.
    Hosts = 7,
    /// The hosts' names, sorted.
    Names = 8,
    /// The rules for paths that no page has.
    Rules = 9,
    /// The parts of the rules' patterns and targets.
    Parts = 10,
    /// The bytes of names and parts.
    Text = 11,
}

impl Section {
    /// Every section, in the order of the image.
    pub const ALL: [Section; 11] = [
        Section::Responses,
        Section::Pages,
        Section::Paths,
        Section::Variants,
        Section::Seeds,
        Section::Slots,
        Section::Hosts,
        Section::Names,
        Section::Rules,
        Section::Parts,
        Section::Text,
    ];

    /// Returns the section of this kind, `None` for a kind that this version does not know.
    pub fn from_kind(kind: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|section| section.kind() == kind)
    }

    /// Returns the number that stands for the section in the image.
    pub const fn kind(self) -> u32 {
        self as u32
    }

    /// Returns the place of the section in [`Self::ALL`].
    pub const fn place(self) -> usize {
        self as usize - 1
    }
}

/// Returns whether a path stands for itself in a URI: it starts with a slash, has no byte that is
/// written in another way or ends a path there, and no segment that normalising removes.
pub fn is_plain_path(path: &[u8]) -> bool {
    let mut segments = path.split(|byte| *byte == b'/');
    let is_rooted = segments.next() == Some(b"") && !path.is_empty();
    let is_literal = path
        .iter()
        .all(|byte| byte.is_ascii_graphic() && !b"%?#".contains(byte));
    let count = segments.clone().count();
    let is_normal = segments.enumerate().all(|(place, segment)| match segment {
        b"." | b".." => false,
        b"" => place + 1 == count,
        _ => true,
    });
    is_rooted && is_literal && is_normal
}

/// Returns the `N` bytes at `at`, which must lie inside.
#[inline]
pub(crate) fn field<const N: usize, const BYTES: usize>(bytes: &[u8; BYTES], at: usize) -> [u8; N] {
    bytes[at..].first_chunk().map_or([0; N], |field| *field)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_paths_are_those_that_a_uri_holds_unchanged() {
        for path in ["/", "/a", "/a/", "/.a/..b/a.", "/a-_~!$&'()*+,;=:@"] {
            assert!(is_plain_path(path.as_bytes()), "{path}");
        }
        for path in [
            "", "a", "//", "/a//b", "/.", "/../a", "/a/./b", "/a b", "/a%41", "/?", "/#",
        ] {
            assert!(!is_plain_path(path.as_bytes()), "{path}");
        }
        assert!(!is_plain_path("/ä".as_bytes()));
        assert!(!is_plain_path(b"/\0"));
    }

    #[test]
    fn every_kind_names_its_own_section() {
        for (place, section) in Section::ALL.into_iter().enumerate() {
            assert_eq!(Section::from_kind(section.kind()), Some(section));
            assert_eq!(section.place(), place);
        }
        assert_eq!(Section::from_kind(0), None);
        assert_eq!(Section::from_kind(12), None);
    }
}
