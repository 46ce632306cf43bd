//! The image file as it grows, with the checksum of what went there behind the header.

use crate::format::{self, Section};
use std::io::{self, Seek, SeekFrom, Write};
use std::ops::Range;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// An output with its checksum and position.
pub(super) struct Checked<W> {
    output: W,
    hash: Xxh3,
    position: u64,
}

impl<W: Write + Seek> Checked<W> {
    /// Starts behind the header.
    pub(super) fn new(mut output: W) -> io::Result<Self> {
        output.write_all(&[0; format::HEADER_BYTES])?;
        Ok(Checked {
            output,
            hash: Xxh3::new(),
            position: format::HEADER_BYTES as u64,
        })
    }

    /// Returns the offset of the next byte in the image.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Writes bytes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.position += bytes.len() as u64;
        self.output.write_all(bytes)
    }

    /// Writes zeros, so that what comes behind `bytes` more is aligned.
    pub(super) fn align_behind(&mut self, bytes: usize) -> io::Result<()> {
        let past = ((self.position + bytes as u64) % format::ALIGNMENT as u64) as usize;
        match past {
            0 => Ok(()),
            _ => self.write(&[0; format::ALIGNMENT][past..]),
        }
    }

    /// Writes a section and returns where it is in the image.
    pub(super) fn section(&mut self, bytes: &[u8]) -> io::Result<Range<u64>> {
        self.align_behind(0)?;
        let start = self.position;
        self.write(bytes)?;
        Ok(start..self.position)
    }

    /// Writes a section of records and returns where it is in the image.
    pub(super) fn records<T, const BYTES: usize>(
        &mut self,
        records: &[T],
        encode: impl Fn(&T) -> [u8; BYTES],
    ) -> io::Result<Range<u64>> {
        self.align_behind(0)?;
        let start = self.position;
        for record in records {
            self.write(&encode(record))?;
        }
        Ok(start..self.position)
    }

    /// Writes the header; returns the length of the image.
    pub(super) fn finish(mut self, sections: &[(Section, Range<u64>)]) -> io::Result<u64> {
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
        self.output.flush()?;
        Ok(self.position)
    }
}
