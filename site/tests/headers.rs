//! Field lines: ours, those of the switches, and those of `_headers`.

mod support;

use site::pack::{PackOptions, pack_to_vec};
use site::{Coding, Site};
use support::{error, field, fixed, folder, lines};

const FILES: [(&str, &[u8]); 5] = [
    ("index.html", b"front"),
    ("a/page.html", b"page"),
    ("app.8f3a2b1c.js", b"js"),
    ("data.bin", b"bin"),
    ("404.html", b"lost"),
];

fn pack_with(headers: &str, options: &PackOptions) -> Vec<u8> {
    let files = [&FILES[..], &[("_headers", headers.as_bytes())]].concat();
    let dir = folder(&files);
    pack_to_vec(dir.path(), options).unwrap().0
}

fn pack(headers: &str) -> Vec<u8> {
    pack_with(headers, &fixed())
}

#[test]
fn fields_go_to_the_paths_that_match() {
    let image = pack("/a/*\n  X-One: 1\n/index.html\n\tX-Two:2\n# end");
    assert_eq!(field(&image, "/a/page", "X-One").as_deref(), Some("1"));
    assert_eq!(field(&image, "/a/page.html", "X-One").as_deref(), Some("1"));
    assert_eq!(field(&image, "/", "X-One"), None);
    assert_eq!(field(&image, "/index.html", "X-Two").as_deref(), Some("2"));
    assert_eq!(field(&image, "/", "X-Two"), None);
}

#[test]
fn values_take_the_place_of_ours_and_join_those_of_rules() {
    let image = pack(
        "/*\n  Cache-Control: no-store\n  X-List: a\n  Set-Cookie: a=1\n\
         /a/*\n  x-list: b\n  Set-Cookie: b=2\n  ! Cache-Control\n  ! X-Content-Type-Options",
    );
    assert_eq!(
        field(&image, "/", "Cache-Control").as_deref(),
        Some("no-store")
    );
    assert_eq!(field(&image, "/", "X-List").as_deref(), Some("a"));
    assert_eq!(field(&image, "/a/page", "X-List").as_deref(), Some("a, b"));
    assert_eq!(field(&image, "/a/page", "Cache-Control"), None);
    assert_eq!(field(&image, "/a/page", "X-Content-Type-Options"), None);
    let site = Site::parse(&image).unwrap();
    let head = site
        .default_host()
        .lookup(b"/a/page")
        .unwrap()
        .identity()
        .head();
    let cookies = lines(head);
    let cookies: Vec<_> = cookies
        .iter()
        .filter(|line| line.starts_with("Set-Cookie"))
        .collect();
    assert_eq!(cookies, ["Set-Cookie: a=1", "Set-Cookie: b=2"]);
}

#[test]
fn a_304_keeps_policies_and_leaves_out_what_describes_the_content() {
    let image = pack(
        "/*\n  Content-Language: en\n  Content-Security-Policy: default-src 'self'\n  X-Own: 1\n  \
         Content-Location: /x\n  Vary: Origin",
    );
    let site = Site::parse(&image).unwrap();
    let kept = site
        .default_host()
        .lookup(b"/")
        .unwrap()
        .identity()
        .kept_fields();
    let kept: Vec<String> = lines(kept)
        .iter()
        .map(|line| line.split(':').next().unwrap().to_owned())
        .collect();
    assert_eq!(
        kept,
        [
            "Cache-Control",
            "Content-Security-Policy",
            "X-Own",
            "Content-Location",
            "ETag",
            "Vary"
        ]
    );
}

#[test]
fn the_type_can_be_set_and_stands_once() {
    let image = pack("/data.bin\n  content-type: application/x-own");
    assert_eq!(
        field(&image, "/data.bin", "Content-Type").as_deref(),
        Some("application/x-own")
    );
    let site = Site::parse(&image).unwrap();
    let variant = site.default_host().lookup(b"/data.bin").unwrap().identity();
    assert_eq!(variant.type_line(), b"Content-Type: application/x-own\r\n");
    let head = String::from_utf8(variant.head().to_vec())
        .unwrap()
        .to_lowercase();
    assert_eq!(head.matches("content-type: ").count(), 1);
}

#[test]
fn names_with_a_hash_are_kept_for_ever_and_others_are_asked_for() {
    let image = pack("/a/*\n  X: y");
    let cache = |path: &str| field(&image, path, "Cache-Control").unwrap();
    assert_eq!(
        cache("/app.8f3a2b1c.js"),
        "public, max-age=31536000, immutable"
    );
    assert_eq!(cache("/data.bin"), "public, max-age=0, must-revalidate");
}

#[test]
fn switches_add_security_and_cors_fields_and_headers_changes_them() {
    let options = PackOptions {
        has_security_headers: true,
        cors: Some("*".to_owned()),
        ..fixed()
    };
    let image = pack_with(
        "/a/*\n  X-Frame-Options: DENY\n  ! Access-Control-Allow-Origin",
        &options,
    );
    assert_eq!(
        field(&image, "/", "X-Frame-Options").as_deref(),
        Some("SAMEORIGIN")
    );
    assert_eq!(
        field(&image, "/", "Access-Control-Allow-Origin").as_deref(),
        Some("*")
    );
    assert!(field(&image, "/", "Referrer-Policy").is_some());
    assert!(field(&image, "/", "Content-Security-Policy").is_some());
    assert_eq!(
        field(&image, "/a/page", "X-Frame-Options").as_deref(),
        Some("DENY")
    );
    assert_eq!(
        field(&image, "/a/page", "Access-Control-Allow-Origin"),
        None
    );
    let site = Site::parse(&image).unwrap();
    let preflight = lines(site.default_host().options().identity().head());
    assert!(preflight.contains(&"Access-Control-Allow-Methods: GET, HEAD, OPTIONS".to_owned()));
    let without = pack("/a/*\n  X: y");
    assert_eq!(field(&without, "/", "X-Frame-Options"), None);
    assert_eq!(field(&without, "/", "Access-Control-Allow-Origin"), None);
}

#[test]
fn variants_have_their_own_tag_length_and_coding_and_say_vary() {
    let text: String = (0..2000)
        .map(|n| format!("line {} of {n}\n", n * n))
        .collect();
    let dir = folder(&[
        ("index.html", text.as_bytes()),
        ("404.html", text.as_bytes()),
    ]);
    let (image, summary) = pack_to_vec(dir.path(), &fixed()).unwrap();
    let site = Site::parse(&image).unwrap();
    let page = site.default_host().lookup(b"/").unwrap();
    let mut tags = Vec::new();
    for coding in Coding::ALL {
        let variant = page.variant(coding).unwrap();
        let head = lines(variant.head());
        assert!(head.contains(&format!("Content-Length: {}", variant.body().len())));
        assert!(head.contains(&"Vary: Accept-Encoding".to_owned()));
        let says = head
            .iter()
            .find_map(|line| line.strip_prefix("Content-Encoding: "));
        assert_eq!(says, (coding != Coding::Identity).then(|| coding.name()));
        let digest = blake3::hash(variant.body()).to_hex();
        assert_eq!(variant.etag(), format!("\"{}\"", &digest[..32]).as_bytes());
        assert!(lines(variant.kept_fields()).contains(&"Vary: Accept-Encoding".to_owned()));
        tags.push(variant.etag());
    }
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), 4);
    let sizes: Vec<usize> = page
        .by_size()
        .map(|coding| page.variant(coding).unwrap().body().len())
        .collect();
    assert!(sizes.len() == 4 && sizes.is_sorted());
    assert_eq!(summary.codings.map(|coding| coding.files), [2, 2, 2]);
    let not_found = site.default_host().not_found();
    assert_eq!(not_found.codings().len(), 4);
    assert!(not_found.variant(Coding::Brotli).unwrap().etag().is_empty());
}

#[test]
fn wrong_lines_are_refused_with_file_line_and_a_fix() {
    for (line, part) in [
        ("  X-A", "write NAME: VALUE"),
        ("  X-A:", "X-A has no value"),
        ("  : b", "is no name of a field"),
        ("  X A: b", "is no name of a field"),
        ("  ! ", "is no name of a field"),
        ("  Content-Length: 5", "written by the server itself"),
        ("  ETag: x", "written by the server itself"),
        (
            "  transfer-encoding: chunked",
            "written by the server itself",
        ),
        ("  X-A: ä", "letters of ASCII only"),
        ("  X-A: a\u{1}b", "control character U+0001"),
        ("X-A: b", "X-A: b: a path, and fields indented below it"),
        ("/b:", "fields indented below it"),
        ("b", "b: start with /"),
        ("https://example.org/", "--host NAME=DIR"),
        ("/b/**", "one * at most"),
        ("/b", "no fields for this path"),
    ] {
        let text = format!("/a\n  X-Ok: 1\n{line}\n");
        let dir = folder(&[("index.html", b"x"), ("_headers", text.as_bytes())]);
        let error = error(dir.path(), &fixed());
        assert!(error.contains("_headers:3: "), "{error}");
        assert!(error.contains(part), "{line}: {error}");
    }
    let dir = folder(&[("index.html", b"x"), ("_headers", b"  X-A: b\n")]);
    assert!(error(dir.path(), &fixed()).contains("_headers:1: a field without a path"));
}
