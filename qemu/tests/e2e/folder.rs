//! Folders to be served: made from a seed, so that a failure can be seen again.

use std::fs;
use std::path::{Path, PathBuf};

/// A small generator with a seed (xorshift64*); tests need variety, not secrecy.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Random(seed.max(1))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Returns a number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }
}

/// A file of a folder.
pub(crate) struct Served {
    /// The path of its URL.
    pub(crate) path: String,
    pub(crate) content: Vec<u8>,
}

/// A folder on disk and what is in it. It goes when this goes.
pub(crate) struct Folder {
    place: tempfile::TempDir,
    pub(crate) files: Vec<Served>,
}

impl Folder {
    pub(crate) fn new() -> Self {
        Folder {
            place: tempfile::tempdir().unwrap(),
            files: Vec::new(),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.place.path()
    }

    /// Writes a file at the path of its URL.
    pub(crate) fn add(&mut self, path: &str, content: Vec<u8>) {
        let file: PathBuf = self.path().join(&path[1..]);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, &content).unwrap();
        let path = path.to_owned();
        self.files.push(Served { path, content });
    }

    /// A front page, a style sheet, an empty file and one that takes many segments.
    pub(crate) fn small() -> Self {
        let mut folder = Folder::new();
        let mut random = Random::new(1);
        folder.add(
            "/index.html",
            b"<!doctype html><title>small</title>".to_vec(),
        );
        folder.add("/style.css", b"body { margin: 0 }".to_vec());
        folder.add("/empty.txt", Vec::new());
        folder.add("/deep/er/data.bin", random.bytes(300_000));
        folder
    }

    /// `count` files from empty to 20 MB, most of them small, in nested folders, with names that
    /// need escapes among them.
    pub(crate) fn mixed(count: usize, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut folder = Folder::new();
        folder.add(
            "/index.html",
            b"<!doctype html><title>mixed</title>".to_vec(),
        );
        for number in 1..count {
            let length = match number {
                1 => 20_000_000,
                2 => 5_000_000,
                3..=9 => 1_000_000 + random.below(500_000),
                10..=29 => 0,
                _ => {
                    let magnitude = 4 + random.below(13);
                    random.below(1 << magnitude)
                }
            };
            let path = match number % 4 {
                0 => format!("/file-{number}.txt"),
                1 => format!("/a/file-{number}.bin"),
                2 => format!("/a/b{}/c/file-{number}.html", number % 7),
                _ => format!("/names/file {number} \u{e9}.css"),
            };
            folder.add(&path, random.bytes(length as usize));
        }
        folder
    }
}

/// Writes a path as it stands in a request: whatever is not plain becomes `%XX`.
pub(crate) fn escaped(path: &str) -> String {
    path.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
