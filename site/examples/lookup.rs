//! Look-ups in an image of `PAGES` pages, to count their instructions:
//! `valgrind --tool=callgrind --toggle-collect='*lookups*' target/release/examples/lookup PAGES`.
//!
//! Prints how many look-ups were made; the count divided by it is what one costs.

use site::Site;
use site::pack::{Compression, PackOptions, pack_to_vec};
use std::fs;

/// Look-ups that are counted.
const LOOKUPS: usize = 100_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pages: usize = std::env::args().nth(1).unwrap_or_default().parse()?;
    let dir = tempfile::tempdir()?;
    // Pages by rules: a million files would take longer to make than to pack.
    fs::write(dir.path().join("index.html"), "front")?;
    let hosts = pages.div_ceil(10_000).max(1);
    let per_host = pages.div_ceil(hosts);
    let mut options = PackOptions {
        compression: Compression::Off,
        ..PackOptions::default()
    };
    let rules: String = (0..per_host / 2)
        .map(|number| format!("/p{number} /index.html 200\n"))
        .collect();
    fs::write(dir.path().join("_redirects"), &rules)?;
    for host in 1..hosts {
        // A folder of its own for each, by another name.
        let other = dir.path().with_extension(host.to_string());
        std::os::unix::fs::symlink(dir.path(), &other)?;
        options.hosts.push((format!("h{host}.example"), other));
    }
    let (image, summary) = pack_to_vec(dir.path(), &options)?;
    for (_, link) in &options.hosts {
        fs::remove_file(link)?;
    }
    let site = Site::parse(&image)?;
    let paths: Vec<String> = (0..per_host / 2)
        .map(|number| format!("/p{number}"))
        .collect();
    let bytes = lookups(&site, &paths, hosts);
    println!("{} pages, {LOOKUPS} look-ups, {bytes}", summary.pages);
    Ok(())
}

/// Makes the look-ups; never inlined, so that a profiler finds them.
#[inline(never)]
fn lookups(site: &Site<'_>, paths: &[String], hosts: usize) -> usize {
    let hosts: Vec<_> = site.hosts().take(hosts).collect();
    (0..LOOKUPS)
        .filter_map(|turn| {
            // All over the image.
            let host = &hosts[turn * 7919 % hosts.len()];
            host.lookup(paths[turn * 104_729 % paths.len()].as_bytes())
        })
        .map(|page| page.identity().response().len())
        .sum()
}
