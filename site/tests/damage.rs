//! Damaged images: refused with a reason or harmless, never a panic or a read outside.

#[path = "support/hostile.rs"]
mod hostile;

use hostile::{image, read_all, reseal};
use site::{Site, SiteError};

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
