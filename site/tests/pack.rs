//! Folders in, pages out: what the packer takes in, and under which paths it comes back.

use site::pack::{PackError, PackOptions, Summary, pack_to_file, pack_to_vec};
use site::{Page, Site};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use tempfile::TempDir;

const FIXED: PackOptions = PackOptions {
    last_modified: Some(784_111_777),
};

/// Makes a folder of files; names may have folders in them.
fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in files {
        put(dir.path(), name, content);
    }
    dir
}

fn put(dir: &Path, name: &str, content: &[u8]) {
    let file = dir.join(name);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, content).unwrap();
}

fn pack(dir: &TempDir) -> (Vec<u8>, Summary) {
    pack_to_vec(dir.path(), FIXED).unwrap()
}

fn error(dir: &TempDir) -> String {
    let error = pack_to_vec(dir.path(), FIXED).unwrap_err().to_string();
    assert!(!error.contains('\n'), "{error}");
    error
}

fn lines(head: &[u8]) -> Vec<String> {
    let text = String::from_utf8(head.to_vec()).unwrap();
    assert!(text.ends_with("\r\n"));
    text.trim_end().split("\r\n").map(str::to_owned).collect()
}

fn page<'a>(image: &'a [u8], path: &str) -> Page<'a> {
    Site::parse(image).unwrap().lookup(path.as_bytes()).unwrap()
}

#[test]
fn every_file_comes_back_byte_for_byte() {
    let mut random = 1u64;
    let mut next = move || {
        random = random
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        random >> 33
    };
    let dir = tempfile::tempdir().unwrap();
    let mut files = BTreeMap::new();
    for number in 0..400 {
        let size = match next() % 10 {
            0 => 0,
            1 => next() % 2_000_000,
            2..5 => next() % 20_000,
            _ => next() % 200,
        };
        let content: Vec<u8> = (0..size).map(|_| next() as u8).collect();
        let name = match number % 4 {
            0 => format!("{number}.html"),
            1 => format!("a/{number}.css"),
            2 => format!("a/b c/{number}"),
            _ => format!("ü/{}/{number}.png", next() % 5),
        };
        put(dir.path(), &name, &content);
        files.insert(format!("/{name}"), content);
    }
    let (image, summary) = pack(&dir);
    let site = Site::parse(&image).unwrap();
    assert_eq!(summary.files, 400);
    assert_eq!(summary.pages, 400);
    assert_eq!(summary.image_bytes, image.len() as u64);
    assert_eq!(site.pages().count(), 400);
    for (path, content) in &files {
        let page = site.lookup(path.as_bytes()).unwrap();
        assert_eq!(page.status, 200);
        assert!(page.body == content, "{path}");
        assert!(lines(page.head).contains(&format!("Content-Length: {}", content.len())));
        assert_eq!(site.lookup(format!("{path}x").as_bytes()), None);
    }
}

#[test]
fn a_head_is_complete_but_for_date_and_blank_line() {
    let dir = folder(&[("index.html", b"hello")]);
    let (image, _) = pack(&dir);
    let page = page(&image, "/index.html");
    let tag = format!("\"{}\"", &blake3::hash(b"hello").to_hex()[..32]);
    assert_eq!(page.etag, tag.as_bytes());
    assert_eq!(
        lines(page.head),
        [
            "HTTP/1.1 200 OK",
            "Server: sluice",
            "Content-Type: text/html; charset=utf-8",
            "Content-Length: 5",
            "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT",
            &format!("ETag: {tag}"),
            "Cache-Control: public, max-age=0, must-revalidate",
            "X-Content-Type-Options: nosniff",
        ]
    );
    assert_eq!(
        lines(page.not_modified),
        [
            "HTTP/1.1 304 Not Modified",
            "Server: sluice",
            "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT",
            &format!("ETag: {tag}"),
            "Cache-Control: public, max-age=0, must-revalidate",
        ]
    );
    assert_eq!(page.body.as_ptr() as usize % 8, image.as_ptr() as usize % 8);
}

#[test]
fn an_index_answers_for_its_folder_and_the_bare_name_redirects() {
    let dir = folder(&[
        ("index.html", b"top"),
        ("a b/index.html", b"inner"),
        ("c/x.txt", b"x"),
    ]);
    let (image, summary) = pack(&dir);
    assert!(summary.has_front_page);
    assert_eq!(page(&image, "/").body, b"top");
    assert_eq!(page(&image, "/a b/").body, b"inner");
    assert_eq!(
        page(&image, "/a b/").head,
        page(&image, "/a b/index.html").head
    );
    let moved = page(&image, "/a b");
    assert_eq!(moved.status, 301);
    assert!(lines(moved.head).contains(&"Location: /a%20b/".to_owned()));
    assert!(lines(moved.head).contains(&format!("Content-Length: {}", moved.body.len())));
    let site = Site::parse(&image).unwrap();
    for missing in ["", "/c", "/c/", "/A b/", "a b/", "//", "/index.htm"] {
        assert_eq!(site.lookup(missing.as_bytes()), None, "{missing}");
    }
}

#[test]
fn the_sites_own_404_page_is_used_and_otherwise_a_plain_one() {
    let own = folder(&[("404.html", b"<p>lost"), ("sub/404.html", b"other")]);
    let (image, summary) = pack(&own);
    assert!(!summary.has_front_page);
    let not_found = Site::parse(&image).unwrap().not_found();
    assert_eq!((not_found.status, not_found.body), (404, &b"<p>lost"[..]));
    assert!(lines(not_found.head).contains(&"Content-Type: text/html; charset=utf-8".to_owned()));
    assert_eq!(page(&image, "/404.html").status, 200);

    let plain = folder(&[("x", b"")]);
    let (image, _) = pack(&plain);
    let not_found = Site::parse(&image).unwrap().not_found();
    assert_eq!(not_found.status, 404);
    assert!(lines(not_found.head).contains(&format!("Content-Length: {}", not_found.body.len())));
    assert!(not_found.etag.is_empty() && not_found.not_modified.is_empty());
}

#[test]
fn hidden_names_stay_out_except_well_known() {
    let dir = folder(&[
        (".git/config", b"secret"),
        (".htpasswd", b"secret"),
        (".well-known/security.txt", b"contact"),
        (".well-known/.hidden", b"secret"),
    ]);
    let (image, summary) = pack(&dir);
    assert_eq!((summary.files, summary.hidden_names), (1, 3));
    assert_eq!(page(&image, "/.well-known/security.txt").body, b"contact");
    assert!(!image.windows(6).any(|window| window == b"secret"));
}

#[test]
fn links_inside_are_followed_and_links_outside_refused() {
    let dir = folder(&[("real/a.txt", b"a")]);
    symlink("real/a.txt", dir.path().join("file.txt")).unwrap();
    symlink("real", dir.path().join("folder")).unwrap();
    let (image, _) = pack(&dir);
    assert_eq!(page(&image, "/file.txt").body, b"a");
    assert_eq!(page(&image, "/folder/a.txt").body, b"a");

    symlink("/etc/passwd", dir.path().join("out")).unwrap();
    assert!(error(&dir).contains("out: link to /etc/passwd leads out of the folder"));
    fs::remove_file(dir.path().join("out")).unwrap();

    symlink("..", dir.path().join("real/up")).unwrap();
    assert!(error(&dir).contains("real/up: link to a folder that contains it"));
    fs::remove_file(dir.path().join("real/up")).unwrap();

    symlink("nowhere", dir.path().join("broken")).unwrap();
    assert!(error(&dir).contains("broken: No such file"));
}

#[test]
fn what_cannot_be_packed_is_named() {
    let dir = folder(&[("index.html", b"x")]);
    let socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
    assert!(error(&dir).contains("socket: neither file nor folder"));
    drop(socket);

    let empty = folder(&[(".hidden", b"x")]);
    assert!(error(&empty).contains("no files to serve"));

    let missing = pack_to_vec(Path::new("/nonexistent/site"), FIXED).unwrap_err();
    assert!(matches!(missing, PackError::Folder { .. }), "{missing}");
    let file = pack_to_vec(&dir.path().join("index.html"), FIXED).unwrap_err();
    assert!(matches!(file, PackError::Folder { .. }), "{file}");
}

#[test]
fn equal_folders_give_equal_images_and_the_file_is_the_same() {
    let files: &[(&str, &[u8])] = &[("b", b"2"), ("a/index.html", b"1"), ("c", b"")];
    let (one, mut reversed) = (folder(files), files.to_vec());
    reversed.reverse();
    let two = folder(&reversed);
    let (image, summary) = pack(&one);
    assert_eq!(image, pack(&two).0);

    let out = tempfile::tempdir().unwrap();
    let file = out.path().join("site.img");
    assert_eq!(pack_to_file(one.path(), &file, FIXED).unwrap(), summary);
    assert_eq!(fs::read(&file).unwrap(), image);
    assert_eq!(fs::read_dir(out.path()).unwrap().count(), 1);
}

#[test]
fn a_failed_pack_leaves_no_file() {
    let dir = folder(&[("index.html", b"x")]);
    symlink("/etc/passwd", dir.path().join("out")).unwrap();
    let out = tempfile::tempdir().unwrap();
    assert!(pack_to_file(dir.path(), &out.path().join("site.img"), FIXED).is_err());
    assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0);
    let nowhere = out.path().join("no/site.img");
    fs::remove_file(dir.path().join("out")).unwrap();
    let error = pack_to_file(dir.path(), &nowhere, FIXED).unwrap_err();
    assert!(matches!(error, PackError::Output { .. }), "{error}");
}

#[test]
fn last_modified_is_the_files_own_unless_given() {
    let dir = folder(&[("a.txt", b"a")]);
    let file = fs::File::options()
        .write(true)
        .open(dir.path().join("a.txt"))
        .unwrap();
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(951_782_400);
    file.set_modified(time).unwrap();
    let (image, _) = pack_to_vec(dir.path(), PackOptions::default()).unwrap();
    let head = lines(page(&image, "/a.txt").head);
    assert!(head.contains(&"Last-Modified: Tue, 29 Feb 2000 00:00:00 GMT".to_owned()));
}
