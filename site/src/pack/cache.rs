//! Coded bodies kept between packs, so that only what has changed is coded again.
//!
//! A file for each: the digest of its content, then the content. The name is made of what it was
//! made of and how. A file that is damaged, cut short or missing is made again; a cache that cannot
//! be written is no error.

use super::compress::Compression;
use crate::coding::Coding;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

/// Bytes that the cache may have when a pack is done; the oldest files go first.
const MAX_BYTES: u64 = 1 << 30;

/// Changes when encoders or their settings change.
const GENERATION: u32 = 1;

/// Numbers the files that this process writes.
static PARTIAL_FILES: AtomicU64 = AtomicU64::new(0);

/// A folder of coded bodies.
#[derive(Debug)]
pub(super) struct Cache {
    dir: PathBuf,
}

impl Cache {
    pub(super) fn new(dir: &Path) -> Self {
        Cache {
            dir: dir.to_owned(),
        }
    }

    /// Returns the body if it is there and whole.
    pub(super) fn find(
        &self,
        digest: &blake3::Hash,
        coding: Coding,
        effort: Compression,
    ) -> Option<Vec<u8>> {
        let mut kept = fs::read(self.file(digest, coding, effort)).ok()?;
        let (own_digest, content) = kept.split_first_chunk::<{ blake3::OUT_LEN }>()?;
        (blake3::hash(content) == *own_digest).then_some(())?;
        kept.drain(..blake3::OUT_LEN);
        Some(kept)
    }

    /// Keeps a body.
    pub(super) fn keep(
        &self,
        digest: &blake3::Hash,
        coding: Coding,
        effort: Compression,
        content: &[u8],
    ) {
        let file = self.file(digest, coding, effort);
        // Two threads may have the same content.
        let number = PARTIAL_FILES.fetch_add(1, Ordering::Relaxed);
        let partial = file.with_extension(format!("{}.{number}.partial", std::process::id()));
        let kept = [blake3::hash(content).as_bytes(), content].concat();
        let written = fs::create_dir_all(&self.dir)
            .and_then(|()| fs::write(&partial, kept))
            .and_then(|()| fs::rename(&partial, &file));
        if written.is_err() {
            // It is made again the next time.
            let _ = fs::remove_file(&partial);
        }
    }

    /// Removes the oldest files until the rest is within the bound.
    pub(super) fn trim(&self) {
        self.trim_to(MAX_BYTES);
    }

    fn trim_to(&self, max_bytes: u64) {
        let Ok(entries) = fs::read_dir(&self.dir) else {
            return;
        };
        let mut files: Vec<(SystemTime, u64, PathBuf)> = entries
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let metadata = entry.metadata().ok()?;
                Some((metadata.modified().ok()?, metadata.len(), entry.path()))
            })
            .collect();
        files.sort();
        let mut bytes: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, length, file) in files {
            if bytes <= max_bytes {
                break;
            }
            // Another pack may have removed it.
            let _ = fs::remove_file(file);
            bytes -= length;
        }
    }

    fn file(&self, digest: &blake3::Hash, coding: Coding, effort: Compression) -> PathBuf {
        self.dir.join(format!(
            "{}-{GENERATION}-{}-{effort:?}",
            digest.to_hex(),
            coding.name()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_comes_back_unless_it_is_damaged_or_of_other_content() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(&dir.path().join("made/when/needed"));
        let digest = blake3::hash(b"content");
        let find = || cache.find(&digest, Coding::Gzip, Compression::Fast);
        assert_eq!(find(), None);
        cache.keep(&digest, Coding::Gzip, Compression::Fast, b"coded");
        assert_eq!(find().as_deref(), Some(&b"coded"[..]));
        assert_eq!(cache.find(&digest, Coding::Gzip, Compression::Best), None);
        assert_eq!(cache.find(&digest, Coding::Zstd, Compression::Fast), None);

        let file = cache.file(&digest, Coding::Gzip, Compression::Fast);
        let mut bytes = fs::read(&file).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&file, &bytes).unwrap();
        assert_eq!(find(), None);
        fs::write(&file, &bytes[..20]).unwrap();
        assert_eq!(find(), None);
    }

    #[test]
    fn the_oldest_bodies_go_first() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path());
        let digests = [b"1", b"2", b"3"].map(|text| blake3::hash(text));
        for (age, digest) in digests.iter().enumerate() {
            cache.keep(digest, Coding::Gzip, Compression::Fast, &[0; 100]);
            let file = cache.file(digest, Coding::Gzip, Compression::Fast);
            let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(age as u64);
            fs::File::options()
                .write(true)
                .open(file)
                .unwrap()
                .set_modified(time)
                .unwrap();
        }
        cache.trim_to(2 * 132);
        let left = digests.map(|digest| {
            cache
                .find(&digest, Coding::Gzip, Compression::Fast)
                .is_some()
        });
        assert_eq!(left, [false, true, true]);
    }
}
