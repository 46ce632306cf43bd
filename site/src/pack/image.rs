//! Writing an image: bodies as they come, the tables behind them, the header last.

use crate::format::{self, PAGE_BYTES, PageRecord, Section};
use crate::index;
use crate::limits::{MAX_HEAD_BYTES, MAX_PAGES, MAX_PATH_BYTES, MAX_TABLE_BYTES};
use std::collections::HashMap;
use std::io::{self, Seek, SeekFrom, Write};
use std::ops::Range;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// Where an ETag is in its head, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct TagPlace {
    pub(super) at: usize,
    pub(super) bytes: usize,
}

/// A page to be added.
#[derive(Debug, Clone)]
pub(super) struct NewPage {
    pub(super) status: u16,
    pub(super) head: Vec<u8>,
    pub(super) not_modified: Vec<u8>,
    /// Where its body is in the section of bodies.
    pub(super) body: Range<u64>,
    pub(super) etag: Option<TagPlace>,
}

impl NewPage {
    /// Makes a page that has no ETag, and so no 304 answer.
    pub(super) fn without_tag(status: u16, head: Vec<u8>, body: Range<u64>) -> Self {
        NewPage {
            status,
            head,
            not_modified: Vec::new(),
            body,
            etag: None,
        }
    }
}

/// Why an image could not be written.
#[derive(Debug)]
pub(super) enum WriteError {
    Io(io::Error),
    /// What is too much, and its bound.
    TooLarge(&'static str, usize),
    /// Two paths.
    SameHash(String, String),
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> Self {
        WriteError::Io(error)
    }
}

/// An image that is being written.
pub(super) struct ImageWriter<W> {
    output: Checked<W>,
    /// Page 0, then the pages that have paths, in the order they were added.
    pages: Vec<PageRecord>,
    paths: Vec<u8>,
    heads: Vec<u8>,
    /// Heads that are there already: an index.html has two paths and one head.
    head_places: HashMap<Vec<u8>, u32>,
    not_found: Option<NewPage>,
}

impl<W: Write + Seek> ImageWriter<W> {
    /// Starts an image: room for the header, then the section of bodies.
    pub(super) fn new(mut output: W) -> Result<Self, WriteError> {
        output.write_all(&[0; format::HEADER_BYTES])?;
        Ok(ImageWriter {
            output: Checked {
                output,
                hash: Xxh3::new(),
                position: format::HEADER_BYTES as u64,
            },
            pages: vec![PageRecord::default()],
            paths: Vec::new(),
            heads: Vec::new(),
            head_places: HashMap::new(),
            not_found: None,
        })
    }

    /// Starts a body and returns its offset in the section of bodies.
    pub(super) fn start_body(&mut self) -> Result<u64, WriteError> {
        self.output.align()?;
        Ok(self.body_position())
    }

    /// Returns the offset behind what was written, in the section of bodies.
    pub(super) fn body_position(&self) -> u64 {
        self.output.position - format::HEADER_BYTES as u64
    }

    /// Writes a part of a body.
    pub(super) fn write_body(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.output.write(bytes)
    }

    /// Adds a page under `path`.
    pub(super) fn add_page(&mut self, path: &[u8], page: NewPage) -> Result<(), WriteError> {
        if path.len() > MAX_PATH_BYTES {
            return Err(WriteError::TooLarge(
                "a path is too long in bytes",
                MAX_PATH_BYTES,
            ));
        }
        if self.pages.len() == MAX_PAGES {
            return Err(WriteError::TooLarge(Section::Pages.contents(), MAX_PAGES));
        }
        let record = PageRecord {
            path_at: self.paths.len() as u32,
            path_bytes: path.len() as u32,
            flags: if format::is_plain_path(path) {
                format::PLAIN_PATH
            } else {
                0
            },
            ..self.record(page)?
        };
        append(&mut self.paths, path, Section::Paths)?;
        self.pages.push(record);
        Ok(())
    }

    /// Sets the answer for paths not found.
    pub(super) fn set_not_found(&mut self, page: NewPage) {
        self.not_found = Some(page);
    }

    /// Returns how many paths were added.
    pub(super) fn page_count(&self) -> u64 {
        self.pages.len() as u64 - 1
    }

    /// Returns whether a page was added under `path`.
    pub(super) fn has_path(&self, path: &[u8]) -> bool {
        self.pages[1..].iter().any(|page| self.path(page) == path)
    }

    /// Writes the tables and the header; returns the length of the image in bytes.
    pub(super) fn finish(mut self) -> Result<u64, WriteError> {
        let not_found = match self.not_found.take() {
            Some(page) => page,
            None => {
                let start = self.start_body()?;
                self.write_body(super::head::NOT_FOUND_BODY)?;
                super::head::plain_not_found(start..self.body_position())
            }
        };
        self.pages[format::NOT_FOUND_PAGE as usize] = self.record(not_found)?;
        let index = self.index()?;

        let bodies = format::HEADER_BYTES as u64..self.output.position;
        let pages: Vec<u8> = self.pages.iter().flat_map(PageRecord::encode).collect();
        let sections = [
            (Section::Bodies, bodies),
            (Section::Pages, self.output.section(&pages)?),
            (Section::Paths, self.output.section(&self.paths)?),
            (Section::Heads, self.output.section(&self.heads)?),
            (Section::Seeds, self.output.section(&words(&index.seeds))?),
            (Section::Slots, self.output.section(&words(&index.slots))?),
        ];
        self.output.finish(&sections)
    }

    /// Places the page's head and returns its record, still without path.
    fn record(&mut self, page: NewPage) -> Result<PageRecord, WriteError> {
        let head_at = match self.head_places.get(&page.head) {
            Some(at) => *at,
            None => {
                let at = self.heads.len() as u32;
                append(&mut self.heads, &page.head, Section::Heads)?;
                append(&mut self.heads, &page.not_modified, Section::Heads)?;
                self.head_places.insert(page.head.clone(), at);
                at
            }
        };
        let short = |length: usize| {
            u16::try_from(length)
                .map_err(|_| WriteError::TooLarge("a response head is too long", MAX_HEAD_BYTES))
        };
        Ok(PageRecord {
            head_at,
            head_bytes: short(page.head.len())?,
            not_modified_bytes: short(page.not_modified.len())?,
            body_at: page.body.start,
            body_bytes: page.body.end - page.body.start,
            etag_at: short(page.etag.map_or(0, |tag| tag.at))?,
            etag_bytes: short(page.etag.map_or(0, |tag| tag.bytes))?,
            status: page.status,
            ..PageRecord::default()
        })
    }

    fn path(&self, page: &PageRecord) -> &[u8] {
        &self.paths[page.path_at as usize..][..page.path_bytes as usize]
    }

    fn index(&self) -> Result<index::build::Index, WriteError> {
        let entries: Vec<(u64, u32)> = (1u32..)
            .zip(&self.pages[1..])
            .map(|(number, page)| (index::hash(self.path(page)), number))
            .collect();
        index::build::index(&entries).map_err(|pair| {
            let name =
                |page| String::from_utf8_lossy(self.path(&self.pages[page as usize])).into_owned();
            WriteError::SameHash(name(pair.first), name(pair.second))
        })
    }
}

/// The output, with the checksum of what went there behind the header.
struct Checked<W> {
    output: W,
    hash: Xxh3,
    position: u64,
}

impl<W: Write + Seek> Checked<W> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.hash.update(bytes);
        self.position += bytes.len() as u64;
        Ok(self.output.write_all(bytes)?)
    }

    fn align(&mut self) -> Result<(), WriteError> {
        let past = (self.position % format::ALIGNMENT as u64) as usize;
        if past > 0 {
            self.write(&[0; format::ALIGNMENT][past..])?;
        }
        Ok(())
    }

    /// Writes a section and returns where it is in the image.
    fn section(&mut self, bytes: &[u8]) -> Result<Range<u64>, WriteError> {
        self.align()?;
        let start = self.position;
        self.write(bytes)?;
        Ok(start..self.position)
    }

    /// Writes the header; returns the length of the image.
    fn finish(mut self, sections: &[(Section, Range<u64>)]) -> Result<u64, WriteError> {
        let mut header = [0; format::HEADER_BYTES];
        let mut put = |at: usize, bytes: &[u8]| {
            header[at..at + bytes.len()].copy_from_slice(bytes);
        };
        put(0, &format::MAGIC);
        put(format::VERSION_AT, &format::VERSION.to_le_bytes());
        put(
            format::SECTION_COUNT_AT,
            &(sections.len() as u32).to_le_bytes(),
        );
        put(format::LENGTH_AT, &self.position.to_le_bytes());
        put(format::CHECKSUM_AT, &self.hash.digest().to_le_bytes());
        for (place, (section, range)) in sections.iter().enumerate() {
            let at = format::SECTION_TABLE_AT + place * format::SECTION_BYTES;
            put(at, &section.kind().to_le_bytes());
            put(at + 8, &range.start.to_le_bytes());
            put(at + 16, &(range.end - range.start).to_le_bytes());
        }
        let checksum = xxh3_64(&header[..format::HEADER_CHECKSUM_AT]);
        header[format::HEADER_CHECKSUM_AT..].copy_from_slice(&checksum.to_le_bytes());
        self.output.seek(SeekFrom::Start(0))?;
        self.output.write_all(&header)?;
        Ok(self.position)
    }
}

/// Appends to a table whose offsets are `u32`.
fn append(table: &mut Vec<u8>, bytes: &[u8], section: Section) -> Result<(), WriteError> {
    if table.len() + bytes.len() > MAX_TABLE_BYTES {
        return Err(WriteError::TooLarge(section.contents(), MAX_TABLE_BYTES));
    }
    table.extend_from_slice(bytes);
    Ok(())
}

fn words(values: &[u32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

const _: () =
    assert!(PAGE_BYTES.is_multiple_of(8) && format::HEADER_BYTES.is_multiple_of(format::ALIGNMENT));
