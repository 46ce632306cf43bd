//! Folders for tests, and what is said about their pages.

#![allow(dead_code, reason = "each test binary uses a part")]

use site::pack::{Compression, PackOptions, pack_to_vec};
use site::{Host, Site};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// Options that make images the same on every day.
pub(crate) fn fixed() -> PackOptions {
    PackOptions {
        last_modified: Some(784_111_777),
        compression: Compression::Fast,
        ..PackOptions::default()
    }
}

/// Makes a folder of files; names may have folders in them.
pub(crate) fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in files {
        put(dir.path(), name, content);
    }
    dir
}

pub(crate) fn put(dir: &Path, name: &str, content: &[u8]) {
    let file = dir.join(name);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, content).unwrap();
}

/// Returns the error of packing, which must be one line.
pub(crate) fn error(dir: &Path, options: &PackOptions) -> String {
    let error = pack_to_vec(dir, options).unwrap_err().to_string();
    assert!(!error.contains('\n'), "{error}");
    error
}

/// Returns the lines of a head that ends in a blank line.
pub(crate) fn lines(head: &[u8]) -> Vec<String> {
    let text = String::from_utf8(head.to_vec()).unwrap();
    let text = text.strip_suffix("\r\n\r\n").expect("a blank line");
    text.split("\r\n").map(str::to_owned).collect()
}

/// Returns the value of a field of the page at `path`.
pub(crate) fn field(image: &[u8], path: &str, name: &str) -> Option<String> {
    let site = Site::parse(image).unwrap();
    let page = site
        .default_host()
        .lookup(path.as_bytes())
        .expect("the page");
    let start = format!("{name}: ");
    lines(page.identity().head())
        .iter()
        .find_map(|line| line.strip_prefix(&start).map(str::to_owned))
}

/// Says in short what answers for a path: `200 body`, or `301 Location`, or `404`.
pub(crate) fn answer(host: &Host<'_, '_>, path: &str, query: Option<&str>) -> String {
    let mut room = [0; 4096];
    let answer = host
        .answer(path.as_bytes(), query.map(str::as_bytes), &mut room)
        .unwrap();
    let status = answer.page.status();
    let variant = answer.page.identity();
    let status_line = String::from_utf8(variant.status_line().to_vec()).unwrap();
    assert!(status_line.starts_with(&format!("HTTP/1.1 {status} ")));
    if !(300..400).contains(&status) {
        assert_eq!(answer.inserted, b"");
        let body = String::from_utf8_lossy(variant.body());
        return format!("{status} {body}");
    }
    let mut response = variant.head().to_vec();
    if let Some(at) = variant.insert_at() {
        response.splice(at..at, answer.inserted.iter().copied());
    } else {
        assert_eq!(answer.inserted, b"");
    }
    let lines = lines(&response);
    let location = lines
        .iter()
        .find_map(|line| line.strip_prefix("Location: "));
    format!("{status} {}", location.expect("a Location"))
}
