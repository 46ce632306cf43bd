//! Where an image is written, what is never overwritten, and files that change meanwhile.
#![forbid(unsafe_code)]

use site::pack::{Compression, PackError, PackOptions, Progress, pack_to_file, pack_with_progress};
use std::fs::{self, File};
use std::io::Write;
use std::ops::ControlFlow;
use std::os::unix::fs::symlink;
use std::path::Path;

/// Just below the size from which on files are not held in memory.
const HELD: u64 = (8 << 20) - 1;

fn folder(names: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in names {
        fs::write(dir.path().join(name), format!("content of {name}")).unwrap();
    }
    dir
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

fn pack(dir: &Path, image: &Path) -> Result<(), PackError> {
    pack_to_file(dir, image, &PackOptions::default()).map(|_| ())
}

#[test]
fn a_file_that_is_no_image_is_refused_and_left_as_it_is() {
    let dir = folder(&["index.html", "b.txt"]);
    let elsewhere = folder(&["notes.txt"]);
    for file in [
        dir.path().join("index.html"),
        elsewhere.path().join("notes.txt"),
    ] {
        let before = fs::read(&file).unwrap();
        let error = pack(dir.path(), &file).unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with("exists and is no site image: remove it or name another file"),
            "{error}"
        );
        assert_eq!(fs::read(&file).unwrap(), before);
    }
    assert_eq!(
        (names(dir.path()).len(), names(elsewhere.path()).len()),
        (2, 1)
    );
}

#[test]
fn devices_and_folders_are_refused() {
    let dir = folder(&["index.html"]);
    let error = pack(dir.path(), Path::new("/dev/null")).unwrap_err();
    assert!(matches!(error, PackError::Target { .. }), "{error}");
    assert!(!Path::new("/dev/null").is_file());
    let error = pack(dir.path(), dir.path()).unwrap_err();
    assert!(error.to_string().contains("name a file in it"), "{error}");
}

#[test]
fn an_image_and_an_empty_file_are_replaced_and_links_are_followed_to_them() {
    let dir = folder(&["index.html"]);
    let out = tempfile::tempdir().unwrap();
    let (file, link) = (out.path().join("real.img"), out.path().join("link.img"));
    fs::write(&file, "").unwrap();
    symlink("real.img", &link).unwrap();
    pack(dir.path(), &link).unwrap();
    let first = fs::read(&file).unwrap();
    fs::write(dir.path().join("new.html"), "new").unwrap();
    pack(dir.path(), &link).unwrap();
    assert!(link.is_symlink());
    assert!(fs::read(&file).unwrap().len() > first.len());
    fs::remove_file(&file).unwrap();
    let error = pack(dir.path(), &link).unwrap_err();
    assert!(error.to_string().contains("leads nowhere"), "{error}");
    assert_eq!(names(out.path()), ["link.img"]);
}

#[test]
fn what_a_killed_pack_left_in_the_site_is_not_packed() {
    let dir = folder(&["index.html", ".site.img.4194305.sluice-partial"]);
    let options = PackOptions {
        has_hidden: true,
        ..PackOptions::default()
    };
    let out = tempfile::tempdir().unwrap();
    let summary = pack_to_file(dir.path(), &out.path().join("a.img"), &options).unwrap();
    assert_eq!((summary.files, summary.hidden_names), (1, 0));
}

#[test]
fn rules_alone_are_a_site() {
    let dir = folder(&[]);
    let out = tempfile::tempdir().unwrap();
    let image = out.path().join("a.img");
    let error = pack(dir.path(), &image).unwrap_err();
    assert!(matches!(error, PackError::Empty { .. }), "{error}");
    fs::write(
        dir.path().join("_redirects"),
        "/* https://example.org/:splat",
    )
    .unwrap();
    let summary = pack_to_file(dir.path(), &image, &PackOptions::default()).unwrap();
    assert_eq!((summary.files, summary.rules), (0, 1));
    site::Site::parse(&fs::read(&image).unwrap()).unwrap();
}

#[test]
fn a_link_that_leads_nowhere_is_named_with_what_it_names() {
    let dir = folder(&["index.html"]);
    symlink("gone.css", dir.path().join("style.css")).unwrap();
    let error = pack(dir.path(), &dir.path().join("a.img")).unwrap_err();
    let text = error.to_string();
    assert!(
        text.ends_with("style.css: link to gone.css, which is not there: remove the link"),
        "{text}"
    );
}

#[test]
fn names_with_control_characters_are_shown_escaped() {
    let dir = folder(&["index.html"]);
    symlink("gone", dir.path().join("\u{1b}[2Ja")).unwrap();
    let text = pack(dir.path(), &dir.path().join("a.img"))
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("\\u{1b}[2Ja") && !text.contains('\u{1b}'),
        "{text:?}"
    );
}

/// Packs files of a length, too much for memory at once, and changes the last when the first is
/// done; returns what became of it.
fn pack_while(length: u64, change: impl Fn(&Path)) -> PackError {
    let dir = tempfile::tempdir().unwrap();
    let file = |number: u32| dir.path().join(format!("{number:02}.bin"));
    for number in 0..12 {
        File::create(file(number)).unwrap().set_len(length).unwrap();
    }
    let out = tempfile::tempdir().unwrap();
    let mut is_first = true;
    let mut show = |progress: &Progress| {
        if progress.files == 1 && std::mem::take(&mut is_first) {
            change(&file(11));
        }
        ControlFlow::Continue(())
    };
    let options = PackOptions {
        compression: Compression::Off,
        ..PackOptions::default()
    };
    let image = out.path().join("a.img");
    let error = pack_with_progress(dir.path(), &image, &options, &mut show).unwrap_err();
    assert!(error.to_string().contains("11.bin"), "{error}");
    assert_eq!(names(out.path()), [""; 0]);
    error
}

#[test]
fn a_file_that_changes_while_it_is_packed_is_named_as_changed() {
    // Small ones are read once, large ones twice.
    for length in [HELD, HELD + 1] {
        let shrinks = pack_while(length, |file| {
            File::options()
                .write(true)
                .open(file)
                .and_then(|file| file.set_len(1000))
                .unwrap();
        });
        let grows = pack_while(length, |file| {
            let mut file = File::options().append(true).open(file).unwrap();
            file.write_all(&[1; 9000]).unwrap();
        });
        let is_written = pack_while(length, |file| {
            let mut file = File::options().write(true).open(file).unwrap();
            file.write_all(&[1; 9000]).unwrap();
        });
        for error in [shrinks, grows, is_written] {
            assert!(
                matches!(error, PackError::Changed { .. }),
                "{length}: {error}"
            );
        }
    }
    let goes = pack_while(HELD, |file| fs::remove_file(file).unwrap());
    assert!(matches!(goes, PackError::Changed { .. }), "{goes}");
}

#[test]
fn a_pack_that_is_stopped_leaves_nothing() {
    let dir = folder(&["index.html"]);
    File::create(dir.path().join("large.txt"))
        .unwrap()
        .set_len(200 << 20)
        .unwrap();
    let out = tempfile::tempdir().unwrap();
    let result = pack_with_progress(
        dir.path(),
        &out.path().join("a.img"),
        &PackOptions::default(),
        &mut |_| ControlFlow::Break(()),
    );
    let error = result.unwrap_err();
    assert!(matches!(error, PackError::Stopped), "{error}");
    assert_eq!(names(out.path()), [""; 0]);
}
