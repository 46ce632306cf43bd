//! Folders in, pages out: what the packer takes in, and under which paths it comes back.

use site::pack::{Compression, PackError, PackOptions, Summary, pack_to_file, pack_to_vec};
use site::{Page, Site};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use tempfile::TempDir;

fn fixed() -> PackOptions {
    PackOptions {
        last_modified: Some(784_111_777),
        ..PackOptions::default()
    }
}

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
    pack_to_vec(dir.path(), &fixed()).unwrap()
}

fn error(dir: &TempDir) -> String {
    let error = pack_to_vec(dir.path(), &fixed()).unwrap_err().to_string();
    assert!(!error.contains('\n'), "{error}");
    error
}

fn lines(head: &[u8]) -> Vec<String> {
    let text = String::from_utf8(head.to_vec()).unwrap();
    let text = text.strip_suffix("\r\n\r\n").expect("a blank line");
    text.split("\r\n").map(str::to_owned).collect()
}

fn page<'a>(image: &'a [u8], path: &str) -> Page<'a> {
    lookup(image, path).unwrap()
}

fn lookup<'a>(image: &'a [u8], path: &str) -> Option<Page<'a>> {
    let site = Site::parse(image).unwrap();
    site.default_host().lookup(path.as_bytes())
}

/// Returns the body of the page as it is.
fn body<'a>(image: &'a [u8], path: &str) -> &'a [u8] {
    page(image, path).identity().body()
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
    // Those that end in .html answer without it, too.
    assert_eq!(summary.pages, 500);
    assert_eq!(summary.image_bytes, image.len() as u64);
    let host = site.default_host();
    assert_eq!(host.pages().count(), 500);
    for (path, content) in &files {
        let page = host.lookup(path.as_bytes()).unwrap();
        assert_eq!(page.status(), 200);
        let variant = page.identity();
        assert!(variant.body() == content, "{path}");
        assert!(lines(variant.head()).contains(&format!("Content-Length: {}", content.len())));
        assert!(host.lookup(format!("{path}x").as_bytes()).is_none());
    }
}

#[test]
fn a_response_is_complete_but_for_date() {
    let dir = folder(&[("index.html", b"hello")]);
    let (image, _) = pack(&dir);
    let page = page(&image, "/index.html");
    let variant = page.identity();
    let tag = format!("\"{}\"", &blake3::hash(b"hello").to_hex()[..32]);
    assert_eq!(variant.etag(), tag.as_bytes());
    assert_eq!(page.modified(), Some(784_111_777));
    assert_eq!(variant.status_line(), b"HTTP/1.1 200 OK\r\n");
    assert_eq!(
        lines(variant.head()),
        [
            "Server: sluice",
            "Content-Length: 5",
            "Content-Type: text/html; charset=utf-8",
            "Accept-Ranges: bytes",
            "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT",
            "X-Content-Type-Options: nosniff",
            "Cache-Control: public, max-age=0, must-revalidate",
            &format!("ETag: {tag}"),
        ]
    );
    assert_eq!(variant.response(), [variant.head(), b"hello"].concat());
    let body = variant.body().as_ptr() as usize;
    assert_eq!(body % 16, image.as_ptr() as usize % 16);
}

#[test]
fn other_answers_are_parts_of_the_same_head() {
    let dir = folder(&[("index.html", b"hello")]);
    let (image, _) = pack(&dir);
    let variant = page(&image, "/").identity();
    let all = lines(variant.head());
    assert_eq!(variant.type_line(), format!("{}\r\n", all[2]).as_bytes());
    assert_eq!(lines(variant.fields_from_type()), all[2..]);
    assert_eq!(lines(variant.fields_behind_type()), all[3..]);
    // RFC 9110 §15.4.5: what a cache needs to find and refresh what it has.
    assert_eq!(lines(variant.kept_fields()), all[6..]);
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
    assert_eq!(body(&image, "/"), b"top");
    assert_eq!(body(&image, "/a b/"), b"inner");
    assert_eq!(
        page(&image, "/a b/").identity().response().as_ptr(),
        page(&image, "/a b/index.html")
            .identity()
            .response()
            .as_ptr()
    );
    let moved = page(&image, "/a b");
    assert_eq!(moved.status(), 301);
    let moved = moved.identity();
    assert!(lines(moved.head()).contains(&"Location: /a%20b/".to_owned()));
    assert!(lines(moved.head()).contains(&format!("Content-Length: {}", moved.body().len())));
    for missing in ["", "/c", "/c/", "/A b/", "a b/", "//", "/index.htm"] {
        assert!(lookup(&image, missing).is_none(), "{missing}");
    }
}

#[test]
fn the_sites_own_404_page_is_used_and_otherwise_a_plain_one() {
    let own = folder(&[("404.html", b"<p>lost"), ("sub/404.html", b"other")]);
    let (image, summary) = pack(&own);
    assert!(!summary.has_front_page);
    let not_found = Site::parse(&image).unwrap().default_host().not_found();
    assert_eq!(not_found.status(), 404);
    let not_found = not_found.identity();
    assert_eq!(not_found.body(), b"<p>lost");
    assert!(lines(not_found.head()).contains(&"Content-Type: text/html; charset=utf-8".to_owned()));
    assert_eq!(page(&image, "/404.html").status(), 200);

    let plain = folder(&[("x", b"")]);
    let (image, _) = pack(&plain);
    let not_found = Site::parse(&image).unwrap().default_host().not_found();
    assert_eq!(not_found.status(), 404);
    let not_found = not_found.identity();
    let length = format!("Content-Length: {}", not_found.body().len());
    assert!(lines(not_found.head()).contains(&length));
    assert!(not_found.etag().is_empty());
}

#[test]
fn there_is_an_answer_to_options_and_one_for_when_nothing_can_be_served() {
    let dir = folder(&[("index.html", b"x"), ("50x.html", b"<p>later")]);
    let (image, _) = pack(&dir);
    let site = Site::parse(&image).unwrap();
    let options = site.default_host().options();
    assert_eq!(options.status(), 204);
    let options = options.identity();
    assert_eq!(options.status_line(), b"HTTP/1.1 204 No Content\r\n");
    assert_eq!(
        lines(options.head()),
        ["Server: sluice", "Allow: GET, HEAD, OPTIONS"]
    );
    let unavailable = site.default_host().unavailable();
    assert_eq!(unavailable.status(), 503);
    assert_eq!(unavailable.identity().body(), b"<p>later");
}

#[test]
fn each_host_has_its_own_pages_and_unknown_names_have_the_first_one() {
    let [first, second, third] = ["first", "second", "third"]
        .map(|text| folder(&[("index.html", text.as_bytes()), (text, b"own")]));
    let mut options = fixed();
    for (name, dir) in [
        ("Example.org", &second),
        ("www.example.org", &second),
        ("*.example.net", &third),
    ] {
        options.hosts.push((name.to_owned(), dir.path().to_owned()));
    }
    let (image, _) = pack_to_vec(first.path(), &options).unwrap();
    let site = Site::parse(&image).unwrap();
    for (authority, expected) in [
        ("example.org", "second"),
        ("EXAMPLE.ORG", "second"),
        ("example.org:8080", "second"),
        ("example.org.", "second"),
        ("example.org.:80", "second"),
        ("www.example.org", "second"),
        ("a.example.net", "third"),
        ("a.b.Example.Net:1", "third"),
        ("example.net", "first"),
        ("xexample.net", "first"),
        ("sub.example.org", "first"),
        ("127.0.0.1:80", "first"),
        ("[::1]:80", "first"),
        ("", "first"),
        (":", "first"),
        (&"a.".repeat(5000), "first"),
    ] {
        let host = site.host(authority.as_bytes());
        let page = host.lookup(b"/").unwrap();
        assert_eq!(page.identity().body(), expected.as_bytes(), "{authority}");
        for name in ["first", "second", "third"] {
            let is_there = host.lookup(format!("/{name}").as_bytes()).is_some();
            assert_eq!(is_there, name == expected, "{authority}: {name}");
        }
    }
    let names: Vec<Vec<&[u8]>> = site.hosts().map(|host| host.names().collect()).collect();
    assert_eq!(names[0].len(), 0);
    assert_eq!(names[1], [&b"example.org"[..], b"www.example.org"]);
    assert_eq!(names[2], [&b".example.net"[..]]);
}

#[test]
fn what_is_no_name_of_a_host_is_refused_with_a_fix() {
    let dir = folder(&[("index.html", b"x")]);
    for (name, part) in [
        ("", "give a name"),
        ("*", "whole label"),
        ("*example.org", "whole label"),
        ("a.*.org", "at the front only"),
        (".example.org", "starts with a letter"),
        ("example.org:80", "leave out the port"),
        ("exa mple.org", "letters, digits and hyphens"),
        ("example..org", "single dots"),
        ("bücher.example", "xn--"),
    ] {
        let mut options = fixed();
        options.hosts.push((name.to_owned(), dir.path().to_owned()));
        let error = pack_to_vec(dir.path(), &options).unwrap_err().to_string();
        assert!(error.starts_with(&format!("--host {name}: ")), "{error}");
        assert!(error.contains(part), "{error}");
    }
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
    assert_eq!(body(&image, "/.well-known/security.txt"), b"contact");
    assert!(!image.windows(6).any(|window| window == b"secret"));
}

#[test]
fn links_inside_are_followed_and_links_outside_refused() {
    let dir = folder(&[("real/a.txt", b"a")]);
    symlink("real/a.txt", dir.path().join("file.txt")).unwrap();
    symlink("real", dir.path().join("folder")).unwrap();
    let (image, _) = pack(&dir);
    assert_eq!(body(&image, "/file.txt"), b"a");
    assert_eq!(body(&image, "/folder/a.txt"), b"a");

    symlink("/etc/passwd", dir.path().join("out")).unwrap();
    assert!(error(&dir).contains("out: link to /etc/passwd leads out of the folder"));
    fs::remove_file(dir.path().join("out")).unwrap();

    symlink("..", dir.path().join("real/up")).unwrap();
    assert!(error(&dir).contains("real/up: link to a folder that contains it"));
    fs::remove_file(dir.path().join("real/up")).unwrap();

    symlink("nowhere", dir.path().join("broken")).unwrap();
    assert!(error(&dir).contains("broken: link to "));
}

#[test]
fn what_cannot_be_packed_is_named() {
    let dir = folder(&[("index.html", b"x")]);
    let socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
    assert!(error(&dir).contains("socket: neither file nor folder"));
    drop(socket);

    let empty = folder(&[(".hidden", b"x")]);
    assert!(error(&empty).contains("no files to serve"));

    let missing = pack_to_vec(Path::new("/nonexistent/site"), &fixed()).unwrap_err();
    assert!(matches!(missing, PackError::Folder { .. }), "{missing}");
    let file = pack_to_vec(&dir.path().join("index.html"), &fixed()).unwrap_err();
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
    let again = pack_to_file(one.path(), &file, &fixed()).unwrap();
    assert_eq!(again.image_bytes, summary.image_bytes);
    assert_eq!(fs::read(&file).unwrap(), image);
    assert_eq!(fs::read_dir(out.path()).unwrap().count(), 1);
}

#[test]
fn neither_threads_nor_parts_of_a_second_nor_a_cache_change_the_image() {
    let dir = tempfile::tempdir().unwrap();
    for number in 0..300 {
        let lines = (0..number * 37 % 900).map(|line| format!("{number} {}\n", line * line));
        put(
            dir.path(),
            &format!("{}/{number}.txt", number % 7),
            lines.collect::<String>().as_bytes(),
        );
    }
    let touch = |nanos: u32| {
        for number in 0..300 {
            let name = format!("{}/{number}.txt", number % 7);
            let file = fs::File::options()
                .write(true)
                .open(dir.path().join(name))
                .unwrap();
            let time = std::time::Duration::new(951_782_400 + number, nanos);
            file.set_modified(std::time::UNIX_EPOCH + time).unwrap();
        }
    };
    let cache = tempfile::tempdir().unwrap();
    let mut options = PackOptions::default();
    touch(1);
    let (image, summary) = pack_to_vec(dir.path(), &options).unwrap();
    assert!(summary.codings[0].files > 100);
    for (nanos, cache_dir) in [
        (2, None),
        (999_999_999, None),
        (3, Some(cache.path().to_owned())),
        (4, Some(cache.path().to_owned())),
    ] {
        touch(nanos);
        options.cache_dir = cache_dir;
        assert!(image == pack_to_vec(dir.path(), &options).unwrap().0);
    }
    assert!(fs::read_dir(cache.path()).unwrap().count() > 100);
}

#[test]
fn a_large_file_is_coded_and_every_coding_decodes_to_it() {
    let text: Vec<u8> = (0..1_400_000u32)
        .flat_map(|number| format!("{number:07}\n").into_bytes())
        .collect();
    assert!(text.len() > 8 << 20);
    let dir = folder(&[("large.txt", &text), ("small.txt", b"x")]);
    let (image, _) = pack(&dir);
    assert!(body(&image, "/large.txt") == text);
    let page = page(&image, "/large.txt");
    assert_eq!(page.codings().len(), 4);
    let site = Site::parse(&image).unwrap();
    // Each coding decodes to the file.
    site::pack::verify(&site).unwrap();
}

#[test]
fn folders_without_index_are_listed_on_request() {
    let dir = folder(&[
        ("a/b c.txt", b"x"),
        ("d/index.html", b"own"),
        ("e.txt", b"y"),
    ]);
    let listed = PackOptions {
        has_listing: true,
        ..fixed()
    };
    let (image, _) = pack_to_vec(dir.path(), &listed).unwrap();
    let list = String::from_utf8(body(&image, "/a/").to_vec()).unwrap();
    assert!(
        list.contains("<a href=\"./b%20c.txt\">b c.txt</a>"),
        "{list}"
    );
    assert_eq!(page(&image, "/a").status(), 301);
    assert_eq!(body(&image, "/d/"), b"own");
    assert!(body(&image, "/").windows(6).any(|part| part == b"e.txt<"));
    assert!(lookup(&pack(&dir).0, "/a/").is_none());
}

#[test]
fn clean_urls_give_way_to_files_and_can_be_left_out() {
    let dir = folder(&[
        ("a.html", b"a"),
        ("b.html", b"b"),
        ("b/index.html", b"in"),
        ("a", b"file"),
    ]);
    let (image, _) = pack(&dir);
    assert_eq!(body(&image, "/a"), b"file");
    assert_eq!(body(&image, "/b"), b"b");
    assert_eq!(body(&image, "/b/"), b"in");
    let without = PackOptions {
        has_clean_urls: false,
        ..fixed()
    };
    let (image, _) = pack_to_vec(dir.path(), &without).unwrap();
    assert_eq!(page(&image, "/b").status(), 301);
}

#[test]
fn what_may_not_be_meant_is_warned_of() {
    let dir = folder(&[
        (
            "page.html",
            b"<a href='/gone'>x</a><a href='page'>y</a><img src=Logo.png>",
        ),
        ("Logo.png", b"1"),
        ("logo.png", b"2"),
        ("data.what", b"3"),
    ]);
    let (_, summary) = pack(&dir);
    let said: Vec<String> = summary.warnings.iter().map(ToString::to_string).collect();
    for part in [
        "page.html: /gone leads to no page",
        "Logo.png and ",
        "data.what: type not known",
        "no index.html",
    ] {
        assert!(
            said.iter().any(|text| text.contains(part)),
            "{part}: {said:?}"
        );
    }
    assert_eq!(said.len(), 4, "{said:?}");
}

#[test]
fn a_very_large_file_is_warned_of() {
    let dir = folder(&[("index.html", b"x")]);
    let bytes = 100 << 20;
    let file = std::fs::File::create(dir.path().join("large.bin")).unwrap();
    file.set_len(bytes).unwrap();
    let options = PackOptions {
        compression: Compression::Off,
        ..fixed()
    };
    let (_, summary) = pack_to_vec(dir.path(), &options).unwrap();
    let said: Vec<String> = summary.warnings.iter().map(ToString::to_string).collect();
    assert!(
        said.iter().any(|text| text.contains("large.bin: 100 MiB")),
        "{said:?}"
    );
    assert_eq!(said.len(), 1, "{said:?}");
}

#[test]
fn hidden_names_are_packed_when_asked_for_and_the_image_never() {
    let dir = folder(&[("index.html", b"x"), (".own/a.txt", b"a")]);
    let options = PackOptions {
        has_hidden: true,
        ..fixed()
    };
    let image = dir.path().join("site.img");
    for _ in 0..2 {
        let summary = pack_to_file(dir.path(), &image, &options).unwrap();
        assert_eq!((summary.files, summary.hidden_names), (2, 0));
    }
    let bytes = fs::read(&image).unwrap();
    assert_eq!(body(&bytes, "/.own/a.txt"), b"a");
}

#[test]
fn a_failed_pack_leaves_no_file() {
    let dir = folder(&[("index.html", b"x")]);
    let out = tempfile::tempdir().unwrap();
    let image = out.path().join("site.img");
    let names = || fs::read_dir(out.path()).unwrap().count();
    // Seen when the image has been begun.
    put(dir.path(), "_redirects", b"/a /b 999");
    let error = pack_to_file(dir.path(), &image, &fixed()).unwrap_err();
    assert!(matches!(error, PackError::Control { .. }), "{error}");
    assert_eq!(names(), 0);
    // One that is there stays as it is.
    put(dir.path(), "_redirects", b"/a /b");
    pack_to_file(dir.path(), &image, &fixed()).unwrap();
    let before = fs::read(&image).unwrap();
    put(dir.path(), "_redirects", b"/a /b 999");
    assert!(pack_to_file(dir.path(), &image, &fixed()).is_err());
    assert_eq!((names(), fs::read(&image).unwrap() == before), (1, true));
    let nowhere = out.path().join("no/site.img");
    fs::remove_file(dir.path().join("_redirects")).unwrap();
    let error = pack_to_file(dir.path(), &nowhere, &fixed()).unwrap_err();
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
    let (image, _) = pack_to_vec(dir.path(), &PackOptions::default()).unwrap();
    let head = lines(page(&image, "/a.txt").identity().head());
    assert!(head.contains(&"Last-Modified: Tue, 29 Feb 2000 00:00:00 GMT".to_owned()));
}
