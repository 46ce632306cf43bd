//! Reading an image: one check of everything, then look-ups that copy nothing.
//!
//! Upstream: the bytes of an image, from the boot module. Downstream: `app-http`. Nothing here
//! panics or reads outside the image, whatever its bytes are.
//!
//! ```text
//! let site = Site::parse(image)?;                     once, at boot
//! let host = site.host(authority);                    for a request: which site,
//! let page = host.lookup(target);                     what is asked for as it is written,
//! let answer = host.answer(path, query, &mut room)?;  or else by its normal path and the rules
//! let variant = answer.page.variant(coding);          in which coding;
//! variant.response()                                  and what is sent
//! ```

use crate::format::{self, Section};
use crate::host::Host;
use crate::limits::MAX_SECTIONS;
use crate::page::Page;
use crate::records::{HostRecord, NameRecord, PageRecord, PartRecord, RuleRecord, VariantRecord};
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
    /// A section is missing, there twice, outside the image, or not of a valid size.
    #[error("site image is malformed: section {0:?} is missing, doubled or out of bounds")]
    Section(Section),
    /// The header names more sections than it has room for.
    #[error("site image is malformed: {0} sections")]
    SectionCount(u32),
    /// A page's path, or one of its variants, is not where or what it should be.
    #[error("site image is malformed: page {0} is not valid")]
    Page(usize),
    /// The index is not of a valid size, or names pages that are not there.
    #[error("site image is malformed: the index is not valid")]
    Index,
    /// A host names pages or rules that are not there.
    #[error("site image is malformed: host {0} is not valid")]
    Host(usize),
    /// A host's name is out of bounds, out of order, or of a host that is not there.
    #[error("site image is malformed: host name {0} is not valid")]
    Name(usize),
    /// A rule has parts that are not there or make no sense.
    #[error("site image is malformed: rule {0} is not valid")]
    Rule(usize),
}

/// A site image that has been checked.
#[derive(Debug, Clone, Copy)]
pub struct Site<'a> {
    pub(crate) responses: &'a [u8],
    pub(crate) pages: &'a [[u8; PageRecord::BYTES]],
    pub(crate) paths: &'a [u8],
    pub(crate) variants: &'a [[u8; VariantRecord::BYTES]],
    pub(crate) seeds: &'a [[u8; 4]],
    pub(crate) slots: &'a [[u8; 4]],
    pub(crate) hosts: &'a [[u8; HostRecord::BYTES]],
    pub(crate) names: &'a [[u8; NameRecord::BYTES]],
    pub(crate) rules: &'a [[u8; RuleRecord::BYTES]],
    pub(crate) parts: &'a [[u8; PartRecord::BYTES]],
    pub(crate) text: &'a [u8],
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
        let [
            responses,
            pages,
            paths,
            variants,
            seeds,
            slots,
            hosts,
            names,
            rules,
            parts,
            text,
        ] = sections;
        let site = Site {
            responses,
            pages: records(pages, Section::Pages)?,
            paths,
            variants: records(variants, Section::Variants)?,
            seeds: records(seeds, Section::Seeds)?,
            slots: records(slots, Section::Slots)?,
            hosts: records(hosts, Section::Hosts)?,
            names: records(names, Section::Names)?,
            rules: records(rules, Section::Rules)?,
            parts: records(parts, Section::Parts)?,
            text,
        };
        crate::check::check(&site)?;
        Ok(site)
    }

    /// Returns the host that answers for names that no host has.
    #[inline]
    pub fn default_host(&self) -> Host<'_, 'a> {
        Host::new(self, format::DEFAULT_HOST)
    }

    /// Returns the host of a name as it stands in Host or in a target: with or without port, in
    /// letters of either case. Names of no host are the default one's.
    #[inline]
    pub fn host(&self, authority: &[u8]) -> Host<'_, 'a> {
        // Most images have one site, for all names.
        let number = match self.names.is_empty() {
            true => format::DEFAULT_HOST,
            false => crate::names::find(self, authority).unwrap_or(format::DEFAULT_HOST),
        };
        Host::new(self, number)
    }

    /// Returns the host of this number, which [`Host::number`] told of.
    #[inline]
    pub fn host_of_number(&self, number: u16) -> Host<'_, 'a> {
        Host::new(self, number)
    }

    /// Returns every host, the default one first.
    pub fn hosts(&self) -> impl Iterator<Item = Host<'_, 'a>> {
        (0..self.hosts.len()).map(|number| Host::new(self, number as u16))
    }

    /// Returns every page, in the order of the image; those without path too.
    pub fn pages(&self) -> impl Iterator<Item = Page<'a>> + use<'a> {
        let site = *self;
        (0..site.pages.len()).filter_map(move |number| site.page(number as u32))
    }

    /// Returns a page by its number.
    #[inline]
    pub(crate) fn page(&self, number: u32) -> Option<Page<'a>> {
        let record = PageRecord::decode(self.pages.get(number as usize)?);
        let first = record.first_variant as usize;
        let count = (record.codings & 0xf).count_ones() as usize;
        Some(Page {
            record,
            path: slice(self.paths, record.path_at.into(), record.path_bytes.into())?,
            variants: self.variants.get(first..first.checked_add(count)?)?,
            responses: self.responses,
        })
    }

    /// Returns the bytes of a name or a part.
    #[inline]
    pub(crate) fn text(&self, at: u32, bytes: u16) -> Option<&'a [u8]> {
        slice(self.text, at.into(), bytes.into())
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
pub(crate) fn slice(bytes: &[u8], at: u64, length: u64) -> Option<&[u8]> {
    let at = usize::try_from(at).ok()?;
    let end = at.checked_add(usize::try_from(length).ok()?)?;
    bytes.get(at..end)
}

/// Views a section as records of one size.
fn records<const BYTES: usize>(
    bytes: &[u8],
    section: Section,
) -> Result<&[[u8; BYTES]], SiteError> {
    let (records, rest) = bytes.as_chunks();
    match rest.is_empty() {
        true => Ok(records),
        false => Err(SiteError::Section(section)),
    }
}
