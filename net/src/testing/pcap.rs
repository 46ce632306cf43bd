//! Frames as a file for Wireshark and tcpdump (libpcap's format, with nanoseconds), and the ones that
//! a test keeps until it is known to be well.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use kernel::Instant;
use std::io::Write as _;
use std::path::Path;

const MAGIC_NANOSECONDS: u32 = 0xa1b2_3c4d;
const LINK_TYPE_ETHERNET: u32 = 1;

/// The last frames that are kept.
const KEPT_FRAMES: usize = 20_000;

/// The last frames of a test: written as `sluice-NAME.pcap` into the directory for temporary files when the
/// thread panics.
pub(super) struct Capture {
    name: String,
    frames: VecDeque<(Instant, Vec<u8>)>,
}

impl Capture {
    pub(super) fn new(name: &str) -> Self {
        Capture {
            name: name.into(),
            frames: VecDeque::new(),
        }
    }

    pub(super) fn add(&mut self, at: Instant, frame: &[u8]) {
        if self.frames.len() == KEPT_FRAMES {
            self.frames.pop_front();
        }
        self.frames.push_back((at, frame.into()));
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let path = std::env::temp_dir().join(std::format!("sluice-{}.pcap", self.name));
            match write(&path, &self.frames) {
                Ok(()) => std::eprintln!("frames are in {}", path.display()),
                Err(error) => std::eprintln!("{}: {error}", path.display()),
            }
        }
    }
}

fn write(path: &Path, frames: &VecDeque<(Instant, Vec<u8>)>) -> std::io::Result<()> {
    let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
    file.write_all(&MAGIC_NANOSECONDS.to_le_bytes())?;
    file.write_all(&[2, 0, 4, 0])?;
    for word in [0, 0, 65_549, LINK_TYPE_ETHERNET] {
        file.write_all(&word.to_le_bytes())?;
    }
    for (at, frame) in frames {
        let (seconds, ns) = (at.as_nanos() / 1_000_000_000, at.as_nanos() % 1_000_000_000);
        let length = frame.len() as u32;
        for word in [seconds as u32, ns as u32, length, length] {
            file.write_all(&word.to_le_bytes())?;
        }
        file.write_all(frame)?;
    }
    file.flush()
}
