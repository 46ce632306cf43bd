//! Writing an image: responses as they come, the tables behind them, the header last.

use super::PackError;
use super::head::{Head, HeadTooLong};
use super::output::Checked;
use crate::coding::{Coding, Codings};
use crate::format::{self, Section};
use crate::index;
use crate::limits::{MAX_HEAD_BYTES, MAX_PAGES, MAX_PATH_BYTES, MAX_TABLE_BYTES};
use crate::records::{
    BY_RULE, HostRecord, NO_TIME, NameRecord, PLAIN_PATH, PageRecord, PartRecord, RuleRecord,
    VariantRecord,
};
use std::collections::HashMap;
use std::io::{self, Seek, Write};
use std::path::Path;

/// Why an image could not be written.
#[derive(Debug)]
pub(super) enum WriteError {
    Io(io::Error),
    /// What is too much, and its bound.
    TooLarge(&'static str, usize),
    /// Two paths.
    SameHash(String, String),
}

impl WriteError {
    /// Says it in the packer's words; `name` is the image's.
    pub(super) fn explain(self, name: &Path) -> PackError {
        match self {
            WriteError::Io(error) => PackError::Output {
                path: name.to_owned(),
                error,
            },
            WriteError::TooLarge(what, limit) => PackError::TooLarge { what, limit },
            WriteError::SameHash(first, second) => PackError::SameHash { first, second },
        }
    }
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> Self {
        WriteError::Io(error)
    }
}

impl From<HeadTooLong> for WriteError {
    fn from(_: HeadTooLong) -> Self {
        WriteError::TooLarge("a response head is too long in bytes", MAX_HEAD_BYTES)
    }
}

/// The variants of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct VariantSet {
    first: u32,
    codings: u8,
    by_size: u8,
}

/// A page to be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NewPage {
    pub(super) status: u16,
    /// Unix time in seconds.
    pub(super) modified: Option<u64>,
    pub(super) variants: VariantSet,
}

/// An image that is being written.
pub(super) struct ImageWriter<W> {
    output: Checked<W>,
    pages: Vec<PageRecord>,
    paths: Vec<u8>,
    variants: Vec<VariantRecord>,
    hosts: Vec<HostRecord>,
    names: Vec<(Vec<u8>, u16)>,
    rules: Vec<RuleRecord>,
    parts: Vec<PartRecord>,
    text: Vec<u8>,
    /// Texts that are there already.
    text_places: HashMap<Vec<u8>, u32>,
}

impl<W: Write + Seek> ImageWriter<W> {
    /// Starts an image: room for the header, then the section of responses.
    pub(super) fn new(output: W) -> Result<Self, WriteError> {
        Ok(ImageWriter {
            output: Checked::new(output)?,
            pages: Vec::new(),
            paths: Vec::new(),
            variants: Vec::new(),
            hosts: Vec::new(),
            names: Vec::new(),
            rules: Vec::new(),
            parts: Vec::new(),
            text: Vec::new(),
            text_places: HashMap::new(),
        })
    }

    /// Writes a head, so that the body behind it is aligned; the body must follow.
    pub(super) fn start_response(
        &mut self,
        head: &Head,
        body_bytes: u64,
    ) -> Result<VariantRecord, WriteError> {
        self.output.align_behind(head.bytes.len())?;
        let start = self.output.position() - format::HEADER_BYTES as u64;
        self.output.write(&head.bytes)?;
        Ok(VariantRecord {
            start,
            body_bytes,
            ..head.parts
        })
    }

    /// Writes a part of a body.
    pub(super) fn write_body(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        Ok(self.output.write(bytes)?)
    }

    /// Adds the variants of a page, each of another coding.
    pub(super) fn add_variants(
        &mut self,
        variants: &[VariantRecord],
    ) -> Result<VariantSet, WriteError> {
        let first = self.variants.len() as u32;
        let mut sorted = variants.to_vec();
        sorted.sort_unstable_by_key(|variant| variant.coding);
        let codings = sorted.iter().fold(Codings::default(), |codings, variant| {
            codings.with(Coding::from_bits(variant.coding))
        });
        self.variants.extend_from_slice(&sorted);
        // Of two that are as large, the one that is easier to decode.
        sorted.sort_by_key(|variant| variant.body_bytes);
        let by_size = sorted
            .iter()
            .rev()
            .fold(0, |order, variant| order << 2 | variant.coding);
        Ok(VariantSet {
            first,
            codings: codings.bits(),
            by_size,
        })
    }

    /// Adds a page under `path`, or one that answers where no path does; returns its number.
    pub(super) fn add_page(
        &mut self,
        host: u16,
        path: &[u8],
        page: &NewPage,
        is_by_rule: bool,
    ) -> Result<u32, WriteError> {
        if path.len() > MAX_PATH_BYTES {
            return Err(WriteError::TooLarge(
                "a path is too long in bytes",
                MAX_PATH_BYTES,
            ));
        }
        if self.pages.len() == MAX_PAGES {
            return Err(WriteError::TooLarge("more pages than fit", MAX_PAGES));
        }
        if self.paths.len() + path.len() > MAX_TABLE_BYTES {
            return Err(WriteError::TooLarge(
                "more bytes of paths than fit",
                MAX_TABLE_BYTES,
            ));
        }
        self.pages.push(PageRecord {
            path_at: self.paths.len() as u32,
            path_bytes: path.len() as u16,
            host,
            first_variant: page.variants.first,
            status: page.status,
            codings: page.variants.codings,
            by_size: page.variants.by_size,
            modified: page.modified.unwrap_or(NO_TIME),
            flags: match format::is_plain_path(path) {
                true => PLAIN_PATH,
                false => 0,
            } | match is_by_rule {
                true => BY_RULE,
                false => 0,
            },
            spare: 0,
            spare_word: 0,
        });
        self.paths.extend_from_slice(path);
        Ok(self.pages.len() as u32 - 1)
    }

    /// Adds a host; returns its number.
    pub(super) fn add_host(&mut self, host: HostRecord, names: &[String]) {
        let number = self.hosts.len() as u16;
        self.hosts.push(host);
        for name in names {
            self.names.push((name.clone().into_bytes(), number));
        }
    }

    /// Adds a rule's parts; returns the number of the first.
    pub(super) fn add_parts(&mut self, parts: &[PartRecord]) -> u32 {
        let first = self.parts.len() as u32;
        self.parts.extend_from_slice(parts);
        first
    }

    /// Adds a rule; returns its number.
    pub(super) fn add_rule(&mut self, rule: RuleRecord) -> u32 {
        self.rules.push(rule);
        self.rules.len() as u32 - 1
    }

    /// Returns how many rules were added.
    pub(super) fn rule_count(&self) -> u32 {
        self.rules.len() as u32
    }

    /// Places a text; returns its offset.
    pub(super) fn add_text(&mut self, text: &[u8]) -> u32 {
        if let Some(place) = self.text_places.get(text) {
            return *place;
        }
        let place = self.text.len() as u32;
        self.text.extend_from_slice(text);
        self.text_places.insert(text.to_vec(), place);
        place
    }

    /// Returns how many paths were added.
    pub(super) fn page_count(&self) -> u64 {
        self.pages.iter().filter(|page| page.path_bytes > 0).count() as u64
    }

    /// Writes the tables and the header; returns the length of the image in bytes.
    pub(super) fn finish(mut self) -> Result<u64, WriteError> {
        let index = self.index()?;
        self.names.sort();
        let names: Vec<NameRecord> = std::mem::take(&mut self.names)
            .into_iter()
            .map(|(name, host)| NameRecord {
                at: self.add_text(&name),
                bytes: name.len() as u16,
                host,
            })
            .collect();
        let responses = format::HEADER_BYTES as u64..self.output.position();
        let output = &mut self.output;
        let sections = [
            (Section::Responses, responses),
            (
                Section::Pages,
                output.records(&self.pages, PageRecord::encode)?,
            ),
            (Section::Paths, output.section(&self.paths)?),
            (
                Section::Variants,
                output.records(&self.variants, VariantRecord::encode)?,
            ),
            (
                Section::Seeds,
                output.records(&index.seeds, |seed| seed.to_le_bytes())?,
            ),
            (
                Section::Slots,
                output.records(&index.slots, |slot| slot.to_le_bytes())?,
            ),
            (
                Section::Hosts,
                output.records(&self.hosts, HostRecord::encode)?,
            ),
            (Section::Names, output.records(&names, NameRecord::encode)?),
            (
                Section::Rules,
                output.records(&self.rules, RuleRecord::encode)?,
            ),
            (
                Section::Parts,
                output.records(&self.parts, PartRecord::encode)?,
            ),
            (Section::Text, output.section(&self.text)?),
        ];
        Ok(self.output.finish(&sections)?)
    }

    fn path(&self, page: &PageRecord) -> &[u8] {
        &self.paths[page.path_at as usize..][..page.path_bytes.into()]
    }

    fn index(&self) -> Result<index::build::Index, WriteError> {
        let entries: Vec<(u64, u32)> = (0u32..)
            .zip(&self.pages)
            .filter(|(_, page)| page.path_bytes > 0)
            .map(|(number, page)| (index::hash(page.host, self.path(page)), number))
            .collect();
        index::build::index(&entries).map_err(|pair| {
            let name =
                |page| String::from_utf8_lossy(self.path(&self.pages[page as usize])).into_owned();
            WriteError::SameHash(name(pair.first), name(pair.second))
        })
    }
}
