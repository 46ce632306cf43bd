//! The layout of an image, version 1. Everything is little endian.
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
//! [`Section::Pages`] is an array of records, [`PAGE_BYTES`] each:
//!
//! ```text
//!     0     4      path: offset in Paths
//!     4     4      path: length
//!     8     4      head: offset in Heads; the head of the 304 answer follows it
//!    12     2      head: length
//!    14     2      head of the 304 answer: length, 0 for none
//!    16     8      body: offset in Bodies
//!    24     8      body: length
//!    32     2      ETag with its quotes: offset in the head
//!    34     2      ETag: length, 0 for none
//!    36     2      status
//!    38     2      flags: PLAIN_PATH
//! ```
//!
//! Page 0 is the answer to paths that are not found; it has no path and is not in the index.
//! [`Section::Seeds`] and [`Section::Slots`] are arrays of `u32`, explained in
//! [`index`](crate::index).

/// The first bytes of every image. The high bit and the line feed show damage by text transfer.
pub const MAGIC: [u8; 8] = *b"\x89SLUICE\n";

/// The version that this build reads and writes.
pub const VERSION: u32 = 1;

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

/// Bytes of one page record.
pub const PAGE_BYTES: usize = 40;

/// The page number that means "no page" in [`Section::Slots`].
pub const NO_PAGE: u32 = u32::MAX;

/// The page that answers for paths that are not found.
pub const NOT_FOUND_PAGE: u32 = 0;

/// The sections of version 1; each must be there exactly once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Section {
    /// The bodies.
    Bodies = 1,
    /// The page records.
    Pages = 2,
    /// The paths, percent-decoded, each starting with `/`.
    Paths = 3,
    /// The response heads: status line and header lines, without Date, without the blank line.
    Heads = 4,
    /// The index's seed of each bucket.
    Seeds = 5,
    /// The index's page number in each slot.
    Slots = 6,
}

impl Section {
    /// Every section, in the order of the image.
    pub const ALL: [Section; 6] = [
        Section::Bodies,
        Section::Pages,
        Section::Paths,
        Section::Heads,
        Section::Seeds,
        Section::Slots,
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

/// Flag of a page: in a URI, its path stands for itself; decoding and normalising change nothing.
pub const PLAIN_PATH: u16 = 1;

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

/// One page record, decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PageRecord {
    /// Offset in [`Section::Paths`], in bytes.
    pub path_at: u32,
    /// Bytes of the path.
    pub path_bytes: u32,
    /// Offset in [`Section::Heads`], in bytes.
    pub head_at: u32,
    /// Bytes of the head.
    pub head_bytes: u16,
    /// Bytes of the 304 answer's head, which follows the head.
    pub not_modified_bytes: u16,
    /// Offset in [`Section::Bodies`], in bytes.
    pub body_at: u64,
    /// Bytes of the body.
    pub body_bytes: u64,
    /// Offset of the ETag in the head, in bytes.
    pub etag_at: u16,
    /// Bytes of the ETag with its quotes.
    pub etag_bytes: u16,
    /// Status code of the answer.
    pub status: u16,
    /// [`PLAIN_PATH`] or 0; other bits are for later.
    pub flags: u16,
}

impl PageRecord {
    /// Reads a record.
    #[inline]
    pub fn decode(bytes: &[u8; PAGE_BYTES]) -> Self {
        PageRecord {
            path_at: u32::from_le_bytes(field(bytes, 0)),
            path_bytes: u32::from_le_bytes(field(bytes, 4)),
            head_at: u32::from_le_bytes(field(bytes, 8)),
            head_bytes: u16::from_le_bytes(field(bytes, 12)),
            not_modified_bytes: u16::from_le_bytes(field(bytes, 14)),
            body_at: u64::from_le_bytes(field(bytes, 16)),
            body_bytes: u64::from_le_bytes(field(bytes, 24)),
            etag_at: u16::from_le_bytes(field(bytes, 32)),
            etag_bytes: u16::from_le_bytes(field(bytes, 34)),
            status: u16::from_le_bytes(field(bytes, 36)),
            flags: u16::from_le_bytes(field(bytes, 38)),
        }
    }

    /// Writes a record.
    pub fn encode(&self) -> [u8; PAGE_BYTES] {
        let mut bytes = [0; PAGE_BYTES];
        bytes[0..4].copy_from_slice(&self.path_at.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.path_bytes.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.head_at.to_le_bytes());
        bytes[12..14].copy_from_slice(&self.head_bytes.to_le_bytes());
        bytes[14..16].copy_from_slice(&self.not_modified_bytes.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.body_at.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.body_bytes.to_le_bytes());
        bytes[32..34].copy_from_slice(&self.etag_at.to_le_bytes());
        bytes[34..36].copy_from_slice(&self.etag_bytes.to_le_bytes());
        bytes[36..38].copy_from_slice(&self.status.to_le_bytes());
        bytes[38..40].copy_from_slice(&self.flags.to_le_bytes());
        bytes
    }
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
    fn a_record_survives_encoding_and_decoding() {
        let record = PageRecord {
            path_at: 0x0102_0304,
            path_bytes: 0x0506_0708,
            head_at: 0x090a_0b0c,
            head_bytes: 0x0d0e,
            not_modified_bytes: 0x0f10,
            body_at: 0x1112_1314_1516_1718,
            body_bytes: 0x191a_1b1c_1d1e_1f20,
            etag_at: 0x2122,
            etag_bytes: 0x2324,
            status: 0x2526,
            flags: 0x2728,
        };
        assert_eq!(PageRecord::decode(&record.encode()), record);
    }

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
        assert_eq!(Section::from_kind(7), None);
    }
}
