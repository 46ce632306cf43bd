//! Reading an image: one check of everything, then look-ups that copy nothing.
//!
//! Upstream: the bytes of an image, from the boot module. Downstream: `app-http`. Nothing here
//! panics or reads outside the image, whatever its bytes are.

use crate::format::{self, PAGE_BYTES, PageRecord, Section};
use crate::index;
use crate::limits::{MAX_PAGES, MAX_SECTIONS};
use thiserror::Error;
use xxhash_rust::xxh3::xxh3_64;

/// Why an image is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SiteError {
    /// The magic is missing.
    #[error("not a site image: make one with `./run.sh pack SITE_DIR -o FILE`")]
    NotASite,
    /// The image is of another version.
    #[error(
        "site image of version {found}, this build reads {}: pack it again",
        format::VERSION
    )]
    Version {
        /// The image's version.
        found: u32,
    },
    /// The end is missing.
    #[error("site image is cut short: {have} of {want} bytes")]
    CutShort {
        /// Bytes that are there.
        have: usize,
        /// Bytes that the image should have.
        want: u64,
    },
    /// The header's checksum differs.
    #[error("site image is damaged: the header's checksum differs")]
    HeaderChecksum,
    /// The checksum of what follows the header differs.
    #[error("site image is damaged: the content's checksum differs")]
    ContentChecksum,
    /// A section is missing, there twice, or outside the image.
    #[error("site image is malformed: section {0:?} is missing, doubled or out of bounds")]
    Section(Section),
    /// The header names more sections than it has room for.
    #[error("site image is malformed: {0} sections")]
    SectionCount(u32),
    /// A page record points outside its sections.
    #[error("site image is malformed: page {0} is out of bounds")]
    Page(usize),
    /// The index is not of a valid size, or names pages that are not there.
    #[error("site image is malformed: the index is not valid")]
    Index,
}

/// One page: everything that an answer consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page<'a> {
    /// The path, percent-decoded; empty for the page that answers for paths not found.
    pub path: &'a [u8],
    /// The status code of `head`.
    pub status: u16,
    /// Status line and header lines, each with its line end; Date and the blank line are missing.
    pub head: &'a [u8],
    /// The same for a 304 answer; empty when the page has none.
    pub not_modified: &'a [u8],
    /// The body.
    pub body: &'a [u8],
    /// Whether the path stands for itself in a URI, so that a request target which equals it needs
    /// no decoding: [`format::PLAIN_PATH`].
    pub has_plain_path: bool,
    /// The entity tag with its quotes; empty when the page has none.
    pub etag: &'a [u8],
}

/// A site image that has been checked.
#[derive(Debug, Clone, Copy)]
pub struct Site<'a> {
    pages: &'a [[u8; PAGE_BYTES]],
    paths: &'a [u8],
    heads: &'a [u8],
    bodies: &'a [u8],
    seeds: &'a [[u8; 4]],
    slots: &'a [[u8; 4]],
}

impl<'a> Site<'a> {
    /// Checks an image: header, checksums, and that every offset in it stays inside. Bytes behind
    /// the image's end are ignored (a loader may pad). Takes time in proportion to the image.
    ///
    /// # Errors
    /// See [`SiteError`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, SiteError> {
        let (header, image) = header(bytes)?;
        let sections = sections(header, image)?;
        let [bodies, pages, paths, heads, seeds, slots] = sections;
        let site = Site {
            pages: records(pages).ok_or(SiteError::Section(Section::Pages))?,
            paths,
            heads,
            bodies,
            seeds: records(seeds).ok_or(SiteError::Section(Section::Seeds))?,
            slots: records(slots).ok_or(SiteError::Section(Section::Slots))?,
        };
        site.check()?;
        Ok(site)
    }

    /// Finds the page of a path: percent-decoded, without query, starting with `/`. One probe,
    /// and no panic whatever the path is.
    #[inline]
    pub fn lookup(&self, path: &[u8]) -> Option<Page<'a>> {
        let hash = index::hash(path);
        let seed = self.seeds.get(index::bucket(hash, bits(self.seeds)))?;
        let slot = index::slot(hash, u32::from_le_bytes(*seed), bits(self.slots));
        let page = self.page(u32::from_le_bytes(*self.slots.get(slot)?) as usize)?;
        (page.path == path).then_some(page)
    }

    /// Returns the page that answers for paths that are not found; its status is 404.
    pub fn not_found(&self) -> Page<'a> {
        self.page(format::NOT_FOUND_PAGE as usize).unwrap_or(Page {
            path: b"",
            status: 404,
            head: b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n",
            not_modified: b"",
            body: b"",
            has_plain_path: false,
            etag: b"",
        })
    }

    /// Returns every page that has a path, in the order of the image.
    pub fn pages(&self) -> impl Iterator<Item = Page<'a>> + use<'a> {
        let site = *self;
        (1..site.pages.len()).filter_map(move |number| site.page(number))
    }

    #[inline]
    fn page(&self, number: usize) -> Option<Page<'a>> {
        let record = PageRecord::decode(self.pages.get(number)?);
        let head = slice(self.heads, record.head_at.into(), record.head_bytes.into())?;
        let not_modified_at = u64::from(record.head_at) + u64::from(record.head_bytes);
        Some(Page {
            path: slice(self.paths, record.path_at.into(), record.path_bytes.into())?,
            status: record.status,
            head,
            not_modified: slice(
                self.heads,
                not_modified_at,
                record.not_modified_bytes.into(),
            )?,
            body: slice(self.bodies, record.body_at, record.body_bytes)?,
            has_plain_path: record.flags & format::PLAIN_PATH != 0,
            etag: slice(head, record.etag_at.into(), record.etag_bytes.into())?,
        })
    }

    fn check(&self) -> Result<(), SiteError> {
        if self.pages.is_empty() || self.pages.len() > MAX_PAGES {
            return Err(SiteError::Section(Section::Pages));
        }
        if let Some(bad) = (0..self.pages.len()).find(|number| self.page(*number).is_none()) {
            return Err(SiteError::Page(bad));
        }
        let sizes_fit = [self.seeds.len(), self.slots.len()]
            .iter()
            .all(|len| len.is_power_of_two() && *len <= 2 * MAX_PAGES);
        let names_pages = self.slots.iter().all(|slot| {
            let page = u32::from_le_bytes(*slot);
            page == format::NO_PAGE || (page as usize) < self.pages.len()
        });
        if sizes_fit && names_pages {
            Ok(())
        } else {
            Err(SiteError::Index)
        }
    }
}

/// Checks the header and the checksums; returns the header and the image without what follows it.
fn header(bytes: &[u8]) -> Result<(&[u8; format::HEADER_BYTES], &[u8]), SiteError> {
    if !bytes.starts_with(&format::MAGIC) {
        return Err(SiteError::NotASite);
    }
    let Some((header, _)) = bytes.split_first_chunk::<{ format::HEADER_BYTES }>() else {
        return Err(SiteError::CutShort {
            have: bytes.len(),
            want: format::HEADER_BYTES as u64,
        });
    };
    let version = u32::from_le_bytes(format::field(header, format::VERSION_AT));
    if version != format::VERSION {
        return Err(SiteError::Version { found: version });
    }
    let checksum = u64::from_le_bytes(format::field(header, format::HEADER_CHECKSUM_AT));
    if xxh3_64(&header[..format::HEADER_CHECKSUM_AT]) != checksum {
        return Err(SiteError::HeaderChecksum);
    }
    let length = u64::from_le_bytes(format::field(header, format::LENGTH_AT));
    let cut_short = SiteError::CutShort {
        have: bytes.len(),
        want: length,
    };
    let image = slice(bytes, 0, length).ok_or(cut_short)?;
    let content = image.get(format::HEADER_BYTES..).ok_or(cut_short)?;
    if xxh3_64(content) != u64::from_le_bytes(format::field(header, format::CHECKSUM_AT)) {
        return Err(SiteError::ContentChecksum);
    }
    Ok((header, image))
}

/// Finds every section in the image, in the order of [`Section::ALL`].
fn sections<'a>(
    header: &[u8; format::HEADER_BYTES],
    image: &'a [u8],
) -> Result<[&'a [u8]; Section::ALL.len()], SiteError> {
    let count = u32::from_le_bytes(format::field(header, format::SECTION_COUNT_AT));
    if count as usize > MAX_SECTIONS {
        return Err(SiteError::SectionCount(count));
    }
    let mut found = [None; Section::ALL.len()];
    let table = &header[format::SECTION_TABLE_AT..];
    let (entries, _) = table.as_chunks::<{ format::SECTION_BYTES }>();
    for entry in entries.iter().take(count as usize) {
        let Some(section) = Section::from_kind(u32::from_le_bytes(format::field(entry, 0))) else {
            continue;
        };
        let at = u64::from_le_bytes(format::field(entry, 8));
        let length = u64::from_le_bytes(format::field(entry, 16));
        let bytes = slice(image, at, length).ok_or(SiteError::Section(section))?;
        if found[section.place()].replace(bytes).is_some() {
            return Err(SiteError::Section(section));
        }
    }
    let mut sections: [&[u8]; Section::ALL.len()] = [&[]; Section::ALL.len()];
    for section in Section::ALL {
        sections[section.place()] = found[section.place()].ok_or(SiteError::Section(section))?;
    }
    Ok(sections)
}

/// Returns `length` bytes at `at`, `None` when they are not all inside.
#[inline]
fn slice(bytes: &[u8], at: u64, length: u64) -> Option<&[u8]> {
    let at = usize::try_from(at).ok()?;
    let end = at.checked_add(usize::try_from(length).ok()?)?;
    bytes.get(at..end)
}

/// Views bytes as records of one size, `None` when some are left over.
fn records<const BYTES: usize>(bytes: &[u8]) -> Option<&[[u8; BYTES]]> {
    let (records, rest) = bytes.as_chunks();
    rest.is_empty().then_some(records)
}

/// Returns the binary logarithm of a table's length, a power of two.
#[inline]
fn bits(table: &[[u8; 4]]) -> u32 {
    table.len().trailing_zeros() & 31
}
