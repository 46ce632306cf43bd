//! Bounds of the image format, with units.

/// Sections that the header has room for.
pub const MAX_SECTIONS: usize = 16;

/// Pages of one image. Page numbers are `u32`, and one value means "no page".
pub const MAX_PAGES: usize = 1 << 24;

/// Bytes of a page's path; more than any request line that the server accepts.
pub const MAX_PATH_BYTES: usize = 8 * 1024;

/// Bytes of a response head; its length is stored in a `u16`.
pub const MAX_HEAD_BYTES: usize = u16::MAX as usize;

/// Bytes of all paths together, and of all heads together; their offsets are `u32`.
pub const MAX_TABLE_BYTES: usize = u32::MAX as usize;

const _: () = assert!(MAX_PAGES < u32::MAX as usize);
const _: () = assert!(
    crate::format::SECTION_TABLE_AT + MAX_SECTIONS * crate::format::SECTION_BYTES
        <= crate::format::HEADER_CHECKSUM_AT
);
