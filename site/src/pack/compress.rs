//! Content codings: which content is worth them, and making them.
//!
//! A coded body is kept when it saves enough to pay for being there; br and zstd must also save
//! something over gzip, which every client takes. Made bodies are kept in a cache between packs,
//! by the digest of what they were made of.

use super::cache::Cache;
use crate::coding::Coding;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// How much effort goes into codings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// None are made.
    Off,
    /// Made quickly, for trying out.
    Fast,
    /// As small as they get.
    #[default]
    Best,
}

/// Contents from this size on are handled in files instead of in memory, in bytes.
pub(super) const LARGE_BYTES: u64 = 8 << 20;

/// Smaller contents fit into the first packet with their head and are left alone, in bytes.
const MIN_BYTES: u64 = 512;

/// Quickly coded contents from this size on are kept in the cache, in bytes.
const CACHED_BYTES: u64 = 64 << 10;

/// Bytes of a body that are passed on at once; between them, it can be stopped.
const PIECE_BYTES: usize = 256 << 10;

/// What a coding must save, in bytes and in parts of the content.
const MIN_SAVED_BYTES: u64 = 128;
const MIN_SAVED_PART: u64 = 20;

/// Bytes of a body, wherever they are.
#[derive(Debug)]
pub(super) enum Body {
    Memory(Vec<u8>),
    /// A file from its start, and its length.
    File(File, u64),
}

/// Fails when what is made is not wanted any more.
pub(super) fn still_wanted(is_over: &AtomicBool) -> io::Result<()> {
    match is_over.load(Ordering::Relaxed) {
        true => Err(io::Error::other("not wanted any more")),
        false => Ok(()),
    }
}

/// Why a body was not passed on: who is at fault.
#[derive(Debug)]
pub(super) enum PassError<E> {
    /// It cannot be read.
    Source(io::Error),
    /// It cannot be taken.
    Sink(E),
}

impl Body {
    pub(super) fn len(&self) -> u64 {
        match self {
            Body::Memory(bytes) => bytes.len() as u64,
            Body::File(_, bytes) => *bytes,
        }
    }

    /// Reads the body from its start, in pieces.
    pub(super) fn read<E>(
        &mut self,
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), PassError<E>> {
        match self {
            Body::Memory(bytes) => bytes
                .chunks(PIECE_BYTES)
                .try_for_each(take)
                .map_err(PassError::Sink),
            Body::File(file, bytes) => {
                file.seek(SeekFrom::Start(0)).map_err(PassError::Source)?;
                let mut piece = vec![0; PIECE_BYTES];
                let mut left = *bytes;
                while left > 0 {
                    let want = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    file.read_exact(&mut piece[..want])
                        .map_err(PassError::Source)?;
                    take(&piece[..want]).map_err(PassError::Sink)?;
                    left -= want as u64;
                }
                Ok(())
            }
        }
    }
}

/// Returns whether content of this type gets smaller: text of any kind, and formats that are not
/// compressed by themselves.
pub(super) fn is_compressible(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let (kind, subtype) = essence.split_once('/').unwrap_or((essence, ""));
    match kind {
        "text" | "model" => true,
        "font" => matches!(subtype, "ttf" | "otf" | "collection" | "sfnt"),
        "image" => matches!(
            subtype,
            "svg+xml" | "bmp" | "vnd.microsoft.icon" | "x-icon" | "x-ms-bmp"
        ),
        "application" => {
            ["+json", "+xml", "json", "javascript", "xml", "yaml", "toml"]
                .iter()
                .any(|end| subtype.ends_with(end))
                || matches!(
                    subtype,
                    "wasm" | "rtf" | "vnd.ms-fontobject" | "x-tar" | "sql" | "graphql" | "x-sh"
                )
        }
        _ => false,
    }
}

/// What making codings needs.
pub(super) struct Coder<'c> {
    pub(super) effort: Compression,
    pub(super) cache: Option<&'c Cache>,
    /// Where bodies are put that are too large for memory.
    pub(super) scratch_dir: &'c Path,
    /// What is made is not wanted any more.
    pub(super) is_over: &'c AtomicBool,
}

/// Makes the codings of a body that are worth it.
pub(super) fn codings(
    body: &mut Body,
    digest: &blake3::Hash,
    coder: &Coder<'_>,
) -> Result<Vec<(Coding, Body)>, PassError<io::Error>> {
    let effort = coder.effort;
    let mut made: Vec<(Coding, Body)> = Vec::new();
    if effort == Compression::Off || body.len() < MIN_BYTES {
        return Ok(made);
    }
    // Finding a small file costs more than coding its content quickly.
    let cache = coder
        .cache
        .filter(|_| effort == Compression::Best || body.len() >= CACHED_BYTES);
    let mut to_beat = body.len();
    for coding in [Coding::Gzip, Coding::Brotli, Coding::Zstd] {
        let coded = match cache.and_then(|cache| cache.find(digest, coding, effort)) {
            Some(coded) => Body::Memory(coded),
            None => {
                let coded = coder.encode(body, coding)?;
                if let (Some(cache), Body::Memory(coded)) = (cache, &coded) {
                    cache.keep(digest, coding, effort, coded);
                }
                coded
            }
        };
        let saved = to_beat.saturating_sub(coded.len());
        if saved >= MIN_SAVED_BYTES.max(to_beat / MIN_SAVED_PART) {
            if coding == Coding::Gzip {
                to_beat = coded.len();
            }
            made.push((coding, coded));
        } else if coding == Coding::Gzip {
            // What deflate cannot make smaller is compressed already.
            break;
        }
    }
    Ok(made)
}

impl Coder<'_> {
    fn encode(&self, body: &mut Body, coding: Coding) -> Result<Body, PassError<io::Error>> {
        if body.len() < LARGE_BYTES {
            let mut out = Vec::new();
            self.encode_into(body, coding, self.effort, &mut out)?;
            return Ok(Body::Memory(out));
        }
        let mut file = tempfile::tempfile_in(self.scratch_dir).map_err(PassError::Sink)?;
        // The best effort takes minutes for a file of this size.
        self.encode_into(body, coding, Compression::Fast, &mut file)?;
        let length = file.stream_position().map_err(PassError::Sink)?;
        Ok(Body::File(file, length))
    }

    fn encode_into(
        &self,
        body: &mut Body,
        coding: Coding,
        effort: Compression,
        out: &mut impl Write,
    ) -> Result<(), PassError<io::Error>> {
        let is_best = effort == Compression::Best;
        let bytes = body.len();
        let mut pass = |to: &mut dyn Write| {
            body.read(|piece| {
                still_wanted(self.is_over)?;
                to.write_all(piece)
            })
        };
        match coding {
            Coding::Identity => pass(out),
            Coding::Gzip => {
                let level = if is_best { 9 } else { 6 };
                // Without a time in its header: equal content gives equal bytes.
                let mut encoder = flate2::GzBuilder::new()
                    .mtime(0)
                    .write(out, flate2::Compression::new(level));
                pass(&mut encoder)?;
                encoder.finish().map(|_| ()).map_err(PassError::Sink)
            }
            Coding::Brotli => {
                let params = brotli::enc::BrotliEncoderParams {
                    quality: if is_best { 11 } else { 5 },
                    // A window larger than the content costs memory and gains nothing.
                    lgwin: (bytes.max(1).ilog2() as i32 + 1).clamp(16, 22),
                    size_hint: usize::try_from(bytes).unwrap_or(0),
                    ..Default::default()
                };
                let mut encoder = brotli::CompressorWriter::with_params(out, 64 * 1024, &params);
                pass(&mut encoder)?;
                encoder.flush().map_err(PassError::Sink)?;
                encoder.into_inner();
                Ok(())
            }
            Coding::Zstd => {
                let level = if is_best { 19 } else { 6 };
                let mut encoder = zstd::Encoder::new(out, level).map_err(PassError::Sink)?;
                // RFC 9659: decoders of this coding need not have windows above 8 MiB.
                encoder
                    .set_pledged_src_size(Some(bytes))
                    .and_then(|()| encoder.window_log(23.min(bytes.max(1024).ilog2() + 1)))
                    .map_err(PassError::Sink)?;
                pass(&mut encoder)?;
                encoder.finish().map(|_| ()).map_err(PassError::Sink)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coder(effort: Compression, scratch_dir: &Path) -> Coder<'_> {
        static NEVER: AtomicBool = AtomicBool::new(false);
        Coder {
            effort,
            cache: None,
            scratch_dir,
            is_over: &NEVER,
        }
    }

    #[test]
    fn text_and_plain_formats_are_compressible_and_compressed_ones_are_not() {
        for kind in [
            "text/html; charset=utf-8",
            "application/json",
            "application/ld+json",
            "image/svg+xml",
            "application/wasm",
            "application/manifest+json",
            "font/ttf",
            "image/vnd.microsoft.icon",
            "application/rss+xml",
        ] {
            assert!(is_compressible(kind), "{kind}");
        }
        for kind in [
            "image/png",
            "font/woff2",
            "application/zip",
            "video/mp4",
            "application/octet-stream",
            "application/pdf",
            "",
        ] {
            assert!(!is_compressible(kind), "{kind}");
        }
    }

    #[test]
    fn every_coding_gives_back_what_went_in_from_memory_and_from_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let text: Vec<u8> = (0..600_000u32)
            .flat_map(|number| format!("line {number}\n").into_bytes())
            .collect();
        let mut file = tempfile::tempfile_in(dir.path()).unwrap();
        file.write_all(&text).unwrap();
        let small = text[..50_000].to_vec();
        for (mut body, text) in [
            (Body::Memory(small.clone()), &small),
            (Body::File(file, text.len() as u64), &text),
        ] {
            let digest = blake3::hash(text);
            let made = codings(&mut body, &digest, &coder(Compression::Fast, dir.path())).unwrap();
            assert_eq!(made.len(), 3);
            for (coding, mut body) in made {
                let mut coded = Vec::new();
                body.read(|chunk| {
                    coded.extend_from_slice(chunk);
                    Ok::<_, ()>(())
                })
                .unwrap();
                assert_eq!(coded.len() as u64, body.len());
                let mut back = Vec::new();
                match coding {
                    Coding::Gzip => flate2::read::GzDecoder::new(&coded[..])
                        .read_to_end(&mut back)
                        .unwrap(),
                    Coding::Brotli => brotli::Decompressor::new(&coded[..], 4096)
                        .read_to_end(&mut back)
                        .unwrap(),
                    _ => zstd::Decoder::new(&coded[..])
                        .unwrap()
                        .read_to_end(&mut back)
                        .unwrap(),
                };
                assert!(back == *text, "{coding:?}");
            }
        }
    }

    #[test]
    fn what_does_not_get_smaller_is_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let mut state = 1u64;
        let noise: Vec<u8> = (0..20_000)
            .map(|_| {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(99991);
                (state >> 56) as u8
            })
            .collect();
        for content in [noise, vec![b'a'; 400]] {
            let digest = blake3::hash(&content);
            let mut body = Body::Memory(content);
            let made = codings(&mut body, &digest, &coder(Compression::Best, dir.path())).unwrap();
            assert!(made.is_empty());
        }
    }
}
