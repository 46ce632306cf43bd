//! What packing takes of a machine's memory.
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::process::Command;

/// Bytes of a file that memory is not to hold.
const FILE_BYTES: u64 = 120 << 20;

/// Memory of the packer's own, in KiB; it takes less than 50 MiB for two files.
const DATA_KIB: u64 = 80 << 10;

const _: () = assert!(DATA_KIB << 10 < FILE_BYTES);

#[test]
fn a_large_file_is_never_held_whole_however_it_is_coded_and_is_warned_of() {
    let place = tempfile::tempdir().unwrap();
    let site = place.path().join("site");
    fs::create_dir(&site).unwrap();
    fs::write(site.join("index.html"), "<!doctype html>").unwrap();
    // Zeros that take no place on the disk.
    let large = site.join("large.txt");
    File::create(&large).unwrap().set_len(FILE_BYTES).unwrap();
    let image = place.path().join("site.img");
    let output = Command::new("sh")
        .args(["-c", &format!("ulimit -d {DATA_KIB}; exec \"$@\""), "sh"])
        .args([env!("CARGO_BIN_EXE_sluice"), "pack", "--compress", "fast"])
        .arg(&site)
        .arg("-o")
        .arg(&image)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let expected = format!(
        "sluice: warning: {}: 120 MiB, held in the guest's memory as long as it runs",
        large.display()
    );
    assert!(said.lines().any(|line| line == expected), "{said}");
    let report = String::from_utf8(output.stdout).unwrap();
    for coding in ["gzip", "br", "zstd"] {
        assert!(
            report.contains(&format!("  {coding}: 1 files, ")),
            "{report}"
        );
    }
    assert!(image.metadata().unwrap().len() > FILE_BYTES);
}
