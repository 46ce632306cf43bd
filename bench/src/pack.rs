//! `bench pack`: what packing a large folder takes: 100,000 files and a few GiB, made for the
//! purpose in a temporary folder and deleted again. It needs twice the content on the disk.

use crate::Error;
use site::Site;
use site::pack::{Compression, PackOptions, pack_with_progress};
use std::fs;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

/// Pages, and the folders that they are in.
const PAGES: usize = 100_000;
const FOLDERS: usize = 1_000;
/// Bytes of a page: text, which can be compressed.
const PAGE_BYTES: usize = 3_000;
/// Files that cannot be compressed, such as videos, and their bytes.
const VIDEOS: usize = 20;
const VIDEO_BYTES: usize = 96 << 20;

/// What the packer may take at its most, in MiB: what is in work at once (128 MiB) and its tables.
const MOST_RESIDENT_MIB: u64 = 512;

/// Measures and prints; fails when more memory is used than may be, or when a page is not there.
pub(crate) fn run() -> Result<(), Error> {
    let place = tempfile::tempdir()?;
    let folder = place.path().join("site");
    make_folder(&folder)?;
    let before_kib = resident_kib("VmHWM:")?;
    let options = PackOptions {
        compression: Compression::Fast,
        ..PackOptions::default()
    };
    let image = place.path().join("site.img");
    let started = Instant::now();
    let mut shown = 0;
    let summary = pack_with_progress(&folder, &image, &options, &mut |progress| {
        let percent = progress.bytes * 100 / progress.all_bytes.max(1);
        if percent >= shown + 10 {
            shown = percent;
            eprintln!("{percent} %, {} files", progress.files);
        }
        ControlFlow::Continue(())
    })?;
    let seconds = started.elapsed().as_secs_f64();
    let resident_mib = resident_kib("VmHWM:")? >> 10;

    println!("packing {} files, --compress fast", summary.files);
    println!("  content  {:>8} MiB", summary.content_bytes >> 20);
    println!("  image    {:>8} MiB", summary.image_bytes >> 20);
    println!("  pages    {:>8}", summary.pages);
    println!("  time     {seconds:>8.1} s");
    println!(
        "  resident {resident_mib:>8} MiB at most ({} before)",
        before_kib >> 10
    );
    let bytes = fs::read(&image)?;
    let site = Site::parse(&bytes)?;
    let host = site.default_host();
    for number in 0..PAGES {
        let path = format!("/{}/{number}.html", number % FOLDERS);
        let page = host.lookup(path.as_bytes()).ok_or("a page is missing")?;
        if page.identity().body() != page_content(number).as_bytes() {
            return Err(format!("{path} has other bytes").into());
        }
    }
    match resident_mib {
        0..=MOST_RESIDENT_MIB => Ok(()),
        _ => Err(format!("more than {MOST_RESIDENT_MIB} MiB resident").into()),
    }
}

fn make_folder(folder: &Path) -> Result<(), Error> {
    for number in 0..FOLDERS {
        fs::create_dir_all(folder.join(number.to_string()))?;
    }
    fs::write(folder.join("index.html"), "<p>front page</p>")?;
    for number in 0..PAGES {
        let name = format!("{}/{number}.html", number % FOLDERS);
        fs::write(folder.join(name), page_content(number))?;
    }
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut block = vec![0; 1 << 20];
    for number in 0..VIDEOS {
        let mut file = fs::File::create(folder.join(format!("video-{number}.mp4")))?;
        for _ in 0..VIDEO_BYTES / block.len() {
            for word in block.as_chunks_mut().0 {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                *word = random.to_le_bytes();
            }
            file.write_all(&block)?;
        }
    }
    Ok(())
}

/// A page that differs from all others.
fn page_content(number: usize) -> String {
    let mut text = format!("<!doctype html><title>{number}</title>");
    let mut line = number;
    while text.len() < PAGE_BYTES {
        line = line
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695);
        text.push_str(&format!("<p>paragraph {} of page {number}", line >> 44));
    }
    text
}

/// Returns the number in a line of this process's status, in KiB.
fn resident_kib(name: &str) -> Result<u64, Error> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|rest| rest.split_whitespace().next());
    Ok(number.ok_or("no such line in /proc/self/status")?.parse()?)
}
