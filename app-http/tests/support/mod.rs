//! A site for tests, and requests to it.

#![allow(dead_code, reason = "each test binary uses a part")]

use app_http::limits::MAX_TARGET_BYTES;
use app_http::request::{Answer, Step, answer};
use site::Site;
use site::pack::{PackOptions, pack_to_vec};
use std::fs;

/// Packs the test site.
pub(crate) fn site() -> Site<'static> {
    let dir = tempfile::tempdir().unwrap();
    let files: [(&str, &[u8]); 6] = [
        ("index.html", b"front page"),
        ("empty.txt", b""),
        ("a b.css", b"body{}"),
        ("sub/index.html", b"inner"),
        ("404.html", b"own 404"),
        ("large.bin", &[0x5a; 300_000]),
    ];
    for (name, content) in files {
        let file = dir.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, content).unwrap();
    }
    let options = PackOptions {
        last_modified: Some(784_111_777),
        ..PackOptions::default()
    };
    let (image, _) = pack_to_vec(dir.path(), &options).unwrap();
    Site::parse(image.leak()).unwrap()
}

/// Returns the ETag of a page, with its quotes.
pub(crate) fn etag(site: &Site<'static>, path: &str) -> String {
    let page = site.default_host().lookup(path.as_bytes()).unwrap();
    String::from_utf8(page.identity().etag().to_vec()).unwrap()
}

/// Runs the engine over the bytes once.
pub(crate) fn step(site: &Site<'static>, input: &[u8]) -> Step<'static> {
    answer(input, site, &mut [0; MAX_TARGET_BYTES])
}

/// Runs the engine over a complete request.
pub(crate) fn answer_of(site: &Site<'static>, input: &str) -> Answer<'static> {
    match step(site, input.as_bytes()) {
        Step::Answer(answer) => answer,
        Step::NeedMore => panic!("not complete: {input:?}"),
    }
}
