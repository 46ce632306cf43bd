//! Damaged images: refused with a reason or harmless, never a panic or a read outside.

use site::pack::{PackOptions, pack_to_vec};
use site::{Coding, Page, Site, SiteError};
use std::fs;

const REDIRECTS: &str = "\
    /old/:a/*  /new/:splat/:a?x#y  301
    /go/*      https://example.org/:splat 302
    /app/*     /index.html 200
    /u/:n      /:n.txt 200
    /plain     /a.css
";

fn image() -> Vec<u8> {
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
fn reseal(image: &mut [u8]) {
    use site::format::{CHECKSUM_AT, HEADER_BYTES, HEADER_CHECKSUM_AT};
    use xxhash_rust::xxh3::xxh3_64;
    let content = xxh3_64(&image[HEADER_BYTES..]);
    image[CHECKSUM_AT..CHECKSUM_AT + 8].copy_from_slice(&content.to_le_bytes());
    let header = xxh3_64(&image[..HEADER_CHECKSUM_AT]);
    image[HEADER_CHECKSUM_AT..HEADER_BYTES].copy_from_slice(&header.to_le_bytes());
}

/// Uses everything that an accepted image offers.
fn read_all(site: &Site<'_>) -> usize {
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

#[test]
fn every_flipped_bit_is_noticed() {
    let good = image();
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            assert!(Site::parse(&bad).is_err(), "byte {at}, bit {bit}");
        }
    }
}

#[test]
fn every_changed_byte_under_a_right_checksum_is_harmless() {
    let good = image();
    for at in 0..good.len() {
        for value in [
            0,
            1,
            0x7f,
            0x80,
            0xff,
            good[at].wrapping_add(1),
            good[at].wrapping_sub(1),
        ] {
            let mut bad = good.clone();
            bad[at] = value;
            reseal(&mut bad);
            if let Ok(site) = Site::parse(&bad) {
                read_all(&site);
            }
        }
    }
}

#[test]
fn every_truncation_is_refused_as_cut_short() {
    let good = image();
    for length in 0..good.len() {
        let error = Site::parse(&good[..length]).unwrap_err();
        match length {
            0..8 => assert_eq!(error, SiteError::NotASite),
            _ => assert!(matches!(error, SiteError::CutShort { have, .. } if have == length)),
        }
    }
}

#[test]
fn bytes_behind_the_end_are_ignored() {
    let mut padded = image();
    let before = read_all(&Site::parse(&padded).unwrap());
    padded.extend_from_slice(&[0xaa; 4096]);
    assert_eq!(read_all(&Site::parse(&padded).unwrap()), before);
}

#[test]
fn each_kind_of_damage_has_its_own_words() {
    let good = image();
    let said = |bytes: &[u8]| Site::parse(bytes).unwrap_err().to_string();
    assert!(said(b"GIF89a, and more").starts_with("not a site image"));
    assert_eq!(
        said(&good[..1000]),
        format!("site image is cut short: 1000 of {} bytes", good.len())
    );
    let mut version = good.clone();
    version[8] = 1;
    assert_eq!(
        said(&version),
        "site image of version 1, this build reads 2: pack it again"
    );
    let mut header = good.clone();
    header[40] ^= 1;
    assert_eq!(
        said(&header),
        "site image is damaged: the header's checksum differs"
    );
    let mut content = good.clone();
    *content.last_mut().unwrap() ^= 1;
    assert_eq!(
        said(&content),
        "site image is damaged: the content's checksum differs"
    );
    let mut sections = good;
    sections[12] = 10;
    reseal(&mut sections);
    assert_eq!(
        said(&sections),
        "site image is malformed: section Text is missing, doubled or out of bounds"
    );
}

#[test]
fn sections_of_unknown_kinds_are_skipped() {
    let mut image = image();
    image[12] = 12;
    let entry = site::format::SECTION_TABLE_AT + 11 * site::format::SECTION_BYTES;
    image[entry] = 200;
    image[entry + 8..entry + 24].fill(0xff);
    reseal(&mut image);
    assert!(Site::parse(&image).is_ok());
}

#[test]
fn garbage_never_panics() {
    let mut state = 7u64;
    let good = image();
    for _ in 0..20_000 {
        let mut bad = good.clone();
        for _ in 0..4 {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            let at = (state >> 33) as usize % bad.len();
            bad[at] = (state >> 20) as u8;
        }
        reseal(&mut bad);
        if let Ok(site) = Site::parse(&bad) {
            read_all(&site);
        }
    }
}
