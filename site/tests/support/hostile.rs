//! Input that means harm: images and control files of any bytes. The fuzz targets of the same names
//! (`fuzz/`) are these functions.

#![allow(dead_code, reason = "each test binary uses a part")]

use site::pack::{Compression, PackOptions, check_control_files, pack_to_vec};
use site::{Coding, Page, Site};
use std::fs;
use std::sync::OnceLock;

/// Takes bytes for an image: as they are, as the image behind a right header, and as changes to an
/// image that a packer made, three bytes each.
pub(crate) fn site_image(data: &[u8]) {
    static GOOD: OnceLock<Vec<u8>> = OnceLock::new();
    let parse = |image: &[u8]| {
        if let Ok(site) = Site::parse(image) {
            read_all(&site);
        }
    };
    parse(data);
    let good = GOOD.get_or_init(image);
    let header = &good[..site::format::HEADER_BYTES];
    let mut whole = [header, data].concat();
    let length = whole.len() as u64;
    let at = site::format::LENGTH_AT;
    whole[at..at + 8].copy_from_slice(&length.to_le_bytes());
    reseal(&mut whole);
    parse(&whole);
    let mut changed = good.clone();
    for change in data.as_chunks::<3>().0 {
        let at = usize::from(u16::from_le_bytes([change[0], change[1]]));
        // The tables are at the end.
        let at = changed.len() - 1 - at % changed.len();
        changed[at] = change[2];
    }
    reseal(&mut changed);
    parse(&changed);
}

/// Takes bytes for a `_headers` file, a `_redirects` file, a path and a query, with zeros between
/// them. What the packer takes must make an image that can be read, and answers that are one head.
pub(crate) fn headers_redirects(data: &[u8]) {
    let mut texts = data.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    let [headers, redirects, path, query] = [(); 4].map(|()| texts.next().unwrap_or_default());
    let path = format!("/{path}");
    if check_control_files(&headers, &redirects, path.as_bytes()).is_err() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("index.html", "front"),
        ("a.html", "a"),
        ("_headers", &headers),
        ("_redirects", &redirects),
    ] {
        fs::write(dir.path().join(name), text).unwrap();
    }
    let options = PackOptions {
        compression: Compression::Off,
        ..PackOptions::default()
    };
    // What may still be wrong: rules that lead to pages that are not there.
    let Ok((image, _)) = pack_to_vec(dir.path(), &options) else {
        return;
    };
    let site = Site::parse(&image).expect("what was packed can be read");
    site::pack::verify(&site).expect("what was packed is whole");
    let mut room = [0; 2048];
    let host = site.default_host();
    if let Ok(answer) = host.answer(path.as_bytes(), Some(query.as_bytes()), &mut room) {
        let head = answer.page.identity().head();
        let lines = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'\n').count();
        assert_eq!(lines(answer.inserted), 0);
        assert!(!answer.inserted.contains(&b'\r') && !answer.inserted.starts_with(b"//"));
        assert!(head.ends_with(b"\r\n\r\n"));
        assert_eq!(head.windows(4).filter(|end| end == b"\r\n\r\n").count(), 1);
    }
}

const REDIRECTS: &str = "\
    /old/:a/*  /new/:splat/:a?x#y  301
    /go/*      https://example.org/:splat 302
    /app/*     /index.html 200
    /u/:n      /:n.txt 200
    /plain     /a.css
";

/// Packs a small site that has some of everything.
pub(crate) fn image() -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    for name in ["index.html", "a.css", "b.txt"] {
        fs::write(dir.path().join(name), format!("content of {name}")).unwrap();
    }
    fs::write(dir.path().join("_redirects"), REDIRECTS).unwrap();
    // Worth a coding, and not long: every byte is damaged.
    fs::write(dir.path().join("c.css"), "c{}".repeat(180)).unwrap();
    fs::create_dir(dir.path().join("sub")).unwrap();
    fs::write(dir.path().join("sub/index.html"), "").unwrap();
    let options = PackOptions {
        last_modified: Some(0),
        hosts: vec![("*.example.org".to_owned(), dir.path().join("sub"))],
        ..PackOptions::default()
    };
    pack_to_vec(dir.path(), &options).unwrap().0
}

/// Gives an image whose content was changed the checksums that a packer would have written.
pub(crate) fn reseal(image: &mut [u8]) {
    use site::format::{CHECKSUM_AT, HEADER_BYTES, HEADER_CHECKSUM_AT};
    use xxhash_rust::xxh3::xxh3_64;
    let content = xxh3_64(&image[HEADER_BYTES..]);
    image[CHECKSUM_AT..CHECKSUM_AT + 8].copy_from_slice(&content.to_le_bytes());
    let header = xxh3_64(&image[..HEADER_CHECKSUM_AT]);
    image[HEADER_CHECKSUM_AT..HEADER_BYTES].copy_from_slice(&header.to_le_bytes());
}

/// Uses everything that an accepted image offers.
pub(crate) fn read_all(site: &Site<'_>) -> usize {
    let mut bytes = 0;
    let mut read = |page: Page<'_>| {
        bytes +=
            page.path().len() + usize::from(page.status()) + usize::from(page.has_plain_path());
        for coding in page.by_size().chain(Coding::ALL) {
            let Some(variant) = page.variant(coding) else {
                continue;
            };
            bytes += variant
                .response()
                .iter()
                .map(|byte| usize::from(*byte))
                .sum::<usize>();
            bytes += variant.status_line().len() + variant.head().len() + variant.body().len();
            bytes += variant.fields_from_type().len() + variant.fields_behind_type().len();
            bytes += variant.kept_fields().len() + variant.type_line().len();
            bytes += variant.etag().len() + variant.insert_at().unwrap_or(0);
        }
    };
    let mut room = [0; 64];
    for name in ["", "example.org", "a.example.org:80", "[::1]"] {
        let host = site.host(name.as_bytes());
        for path in PATHS {
            if let Some(page) = host.lookup(path.as_bytes()) {
                read(page);
            }
            if let Ok(answer) = host.answer(path.as_bytes(), Some(b"a=b"), &mut room) {
                read(answer.page);
            }
        }
    }
    for host in site.hosts() {
        host.pages().for_each(&mut read);
        for page in [host.not_found(), host.unavailable(), host.options()] {
            read(page);
        }
    }
    site.pages().for_each(&mut read);
    let names = site
        .hosts()
        .flat_map(|host| host.names().collect::<Vec<_>>());
    bytes + names.map(<[u8]>::len).sum::<usize>()
}

const PATHS: [&str; 13] = [
    "/",
    "/index.html",
    "/a.css",
    "/b.txt",
    "/sub",
    "/sub/",
    "/x",
    "",
    "/old/x/y",
    "/go/x y/",
    "/app/x",
    "/u/b",
    "/plain",
];
