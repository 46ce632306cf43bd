//! Bounds of the image format, with units.

/// Sections that the header has room for.
pub const MAX_SECTIONS: usize = 16;

/// Pages of one image. Page numbers are `u32`, and one value means "no page".
pub const MAX_PAGES: usize = 1 << 24;

/// Bytes of a page's path; more than any request line that the server accepts.
pub const MAX_PATH_BYTES: usize = 8 * 1024;

/// Bytes of a response head; offsets into it are `u16`.
pub const MAX_HEAD_BYTES: usize = 32 * 1024;

/// Bytes of all paths together; their offsets are `u32`.
pub const MAX_TABLE_BYTES: usize = u32::MAX as usize;

/// Hosts of one image.
pub const MAX_HOSTS: usize = 1024;

/// Names of all hosts together; one is found with 12 comparisons at most.
pub const MAX_NAMES: usize = 4096;

/// Bytes of a host's name (RFC 1035 §2.3.4); longer ones are of no host.
pub const MAX_NAME_BYTES: usize = 255;

/// Rules with a splat or placeholders of one host. They are tried one after the other, for paths
/// that no page has; rules without are pages and not counted.
pub const MAX_RULES: usize = 500;

/// Parts of a rule's pattern or target.
pub const MAX_PARTS: usize = 48;

/// Captures of a rule: placeholders and the splat.
pub const MAX_CAPTURES: usize = 16;

const _: () = assert!(MAX_PAGES < u32::MAX as usize && MAX_PATH_BYTES <= u16::MAX as usize);
const _: () = assert!(MAX_HEAD_BYTES <= u16::MAX as usize);
const _: () = assert!(MAX_HOSTS <= u16::MAX as usize);
const _: () = assert!(2 * MAX_PARTS <= u8::MAX as usize);
const _: () = assert!(
    crate::format::SECTION_TABLE_AT + MAX_SECTIONS * crate::format::SECTION_BYTES
        <= crate::format::HEADER_CHECKSUM_AT
);
const _: () = assert!(crate::format::Section::ALL.len() <= MAX_SECTIONS);
