//! `_redirects`: what answers for a path, in the folder and in the image.

mod support;

use site::Site;
use site::pack::{PackOptions, Summary, pack_to_vec};
use support::{answer, error, fixed, folder};

const FILES: [(&str, &[u8]); 7] = [
    ("index.html", b"front"),
    ("page.html", b"page"),
    ("404.html", b"lost"),
    ("gone.html", b"gone"),
    ("users/ann.html", b"ann"),
    ("docs/index.html", b"docs"),
    ("both.html", b"both"),
];

/// Packs the files with these rules.
fn pack(redirects: &str) -> (Vec<u8>, Summary) {
    let files = [&FILES[..], &[("_redirects", redirects.as_bytes())]].concat();
    let dir = folder(&files);
    pack_to_vec(dir.path(), &fixed()).unwrap()
}

/// Asserts what answers for paths, which may have a query.
#[track_caller]
fn assert_answers(redirects: &str, expected: &[(&str, &str)]) {
    let (image, _) = pack(redirects);
    let site = Site::parse(&image).unwrap();
    for (target, expected) in expected {
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (*target, None),
        };
        let found = answer(&site.default_host(), path, query);
        assert_eq!(found, *expected, "{target}");
    }
}

#[test]
fn a_rule_for_one_path_redirects_it_with_and_without_a_slash() {
    assert_answers(
        "# moved\n/old /new\n\n/o%20k /x 302 # a comment\n  /see  /page  303\n/t / 307\n/p /y/ 308",
        &[
            ("/old", "301 /new"),
            ("/old/", "301 /new"),
            ("/o k", "302 /x"),
            ("/see", "303 /page"),
            ("/t", "307 /"),
            ("/p", "308 /y/"),
            ("/olda", "404 lost"),
            ("/", "200 front"),
        ],
    );
}

#[test]
fn a_splat_takes_the_rest_of_the_path() {
    assert_answers(
        "/news/* /blog/:splat\n/img*.png /pictures/:splat.webp 302\n/x/* https://example.org/:splat",
        &[
            ("/news/2024/a.html", "301 /blog/2024/a.html"),
            ("/news/", "301 /blog/"),
            ("/news", "301 /blog/"),
            ("/newsx", "404 lost"),
            ("/img/a/b.png", "302 /pictures//a/b.webp"),
            ("/img1.png", "302 /pictures/1.webp"),
            ("/img.png", "302 /pictures/.webp"),
            ("/img.jpg", "404 lost"),
            ("/x/y", "301 https://example.org/y"),
        ],
    );
}

#[test]
fn placeholders_take_a_segment_each() {
    assert_answers(
        "/:year/:month/:name /:name/:month-:year 302\n/u/:id/* /v/:splat/of/:id",
        &[
            ("/2024/05/hello", "302 /hello/05-2024"),
            ("/2024/05/hello/", "302 /hello/05-2024"),
            ("/2024/05", "404 lost"),
            ("/u/7/a/b", "301 /v/a/b/of/7"),
            ("/u/7/a", "302 /a/7-u"),
        ],
    );
}

#[test]
fn a_query_goes_along_unless_the_target_has_one() {
    assert_answers(
        "/a /b\n/c /d?x=1\n/e /f#part\n/g/* /h/:splat#part\n/i/* /j?p=:splat\n/k/* /l",
        &[
            ("/a?q=1&r", "301 /b?q=1&r"),
            ("/a?", "301 /b?"),
            ("/c?q=1", "301 /d?x=1"),
            ("/e?q=1", "301 /f?q=1#part"),
            ("/e", "301 /f#part"),
            ("/g/y?q=1", "301 /h/y?q=1#part"),
            ("/i/y?q=1", "301 /j?p=y"),
            ("/k/y?q=1", "301 /l?q=1"),
            ("/docs?q=1", "301 /docs/?q=1"),
            ("/page?q=1", "200 page"),
            (
                "/a?a b\"<>\r\n#\u{e4}",
                "301 /b?a%20b%22%3C%3E%0D%0A%23%C3%A4",
            ),
        ],
    );
}

#[test]
fn what_is_captured_cannot_break_out_of_the_location() {
    assert_answers(
        "/go* /:splat 302\n/:x/to* /:splat/:x 302",
        &[
            ("/evil.example/to", "302 /evil.example"),
            ("/go/evil.example/", "302 /evil.example/"),
            ("/go//evil.example/", "302 /evil.example/"),
            ("/go/\\evil.example", "302 /%5Cevil.example"),
            ("/go/a\r\nSet-Cookie: b", "302 /a%0D%0ASet-Cookie%3A%20b"),
            ("/go/ä%#", "302 /%C3%A4%25%23"),
        ],
    );
}

#[test]
fn status_200_shows_another_page_and_404_says_that_it_is_gone() {
    assert_answers(
        "/app/* /index.html 200\n/about /page.html 200\n/who/:n /users/:n.html 200\n\
         /was /gone.html 404\n/were/* /gone.html 404\n/hop /about 301",
        &[
            ("/app", "200 front"),
            ("/app/any/where", "200 front"),
            ("/about", "200 page"),
            ("/about/", "200 page"),
            ("/who/ann", "200 ann"),
            ("/who/bob", "404 lost"),
            ("/was", "404 gone"),
            ("/were/it", "404 gone"),
            ("/gone.html", "200 gone"),
        ],
    );
}

#[test]
fn rewritten_pages_have_the_tag_of_what_they_show() {
    let (image, _) = pack("/about /page.html 200\n/app/* /index.html 200");
    let site = Site::parse(&image).unwrap();
    let tag = |path: &str| {
        let answer = site.default_host().answer(path.as_bytes(), None, &mut []);
        answer.unwrap().page.identity().etag().to_vec()
    };
    assert_eq!(tag("/about"), tag("/page.html"));
    assert_eq!(tag("/app/x"), tag("/index.html"));
    assert!(!tag("/app/x").is_empty());
}

#[test]
fn pages_come_before_rules_unless_the_rule_has_an_exclamation_mark() {
    assert_answers(
        "/page /elsewhere\n/docs/* /moved/:splat\n/both /other 301!\n/users/* /people/:splat 302!",
        &[
            ("/page", "200 page"),
            ("/docs/", "200 docs"),
            ("/docs", "301 /docs/"),
            ("/docs/x", "301 /moved/x"),
            ("/both", "301 /other"),
            ("/both.html", "200 both"),
            ("/users/ann.html", "302 /people/ann.html"),
            ("/users/ann", "302 /people/ann"),
            ("/users/none", "302 /people/none"),
        ],
    );
}

#[test]
fn the_first_rule_that_matches_is_the_one() {
    let rules = "/a/* /first/:splat\n/a/b /second\n/c /third\n/c /fourth\n/* /last 302\n/z /never";
    assert_answers(
        rules,
        &[
            ("/a/b", "301 /first/b"),
            ("/a/", "301 /first/"),
            ("/c", "301 /third"),
            ("/z", "302 /last"),
            ("/page", "200 page"),
        ],
    );
    let (_, summary) = pack(rules);
    let said: Vec<String> = summary.warnings.iter().map(ToString::to_string).collect();
    let never: Vec<&String> = said
        .iter()
        .filter(|text| text.contains("never applies"))
        .collect();
    assert_eq!(never.len(), 3, "{said:?}");
    assert!(never[0].contains("_redirects:2: /a/b never applies: line 1"));
    assert_eq!(summary.rules, 2);
}

#[test]
fn a_rule_behind_a_page_is_warned_of() {
    let (_, summary) = pack("/page /elsewhere");
    let said: Vec<String> = summary.warnings.iter().map(ToString::to_string).collect();
    assert!(
        said.iter()
            .any(|text| text.contains("_redirects:1: /page is there as a page and comes first")),
        "{said:?}"
    );
}

#[test]
fn rules_lead_to_pages_and_not_to_other_rules() {
    assert_answers(
        "/one/:x /:x 200\n/page /two 301!\n/three /four\n/five/:x /:x 200!\n\
         /:x/index.html /:x 200!",
        &[
            ("/docs/index.html", "301 /docs/"),
            ("/one/docs", "301 /docs/"),
            ("/one/gone", "200 gone"),
            ("/one/page", "404 lost"),
            ("/one/three", "404 lost"),
            ("/five/both", "200 both"),
        ],
    );
}

#[test]
fn a_location_without_room_is_an_error_and_nothing_else() {
    let (image, _) = pack("/old/* /new/:splat");
    let site = Site::parse(&image).unwrap();
    let host = site.default_host();
    for room in 0..40 {
        let mut room_bytes = vec![0; room];
        let result = host.answer(b"/old/abc", Some(b"x=y"), &mut room_bytes);
        match result {
            Ok(answer) => assert_eq!(answer.inserted, b"/new/abc?x=y"),
            Err(site::NoRoom) => assert!(room < 12, "{room}"),
        }
    }
}

#[test]
fn wrong_lines_are_refused_with_file_line_and_a_fix() {
    for (line, part) in [
        ("/a", "/a has no target: write FROM TO [STATUS]"),
        ("a /b", "a: start with /"),
        ("https://example.org/* /b", "--host NAME=DIR"),
        ("/a b", "b: start with / or https://"),
        ("/a //evil.example", "start with / or https://"),
        ("/a /b 418", "status 418: give 200, 301"),
        ("/a /b moved", "status moved: give"),
        ("/a /b 301 Country=us", "conditions are not supported"),
        ("/a /b 301 x", "x: one word too many"),
        ("/a id=:id /b", "rules by query are not supported"),
        ("/a/*/* /b", "one * at most"),
        ("/a /b/:splat", ":splat has no *"),
        ("/a/:x /b/:y", ":y is not in the path"),
        ("/a/* https://example.org 200", "nothing is fetched"),
        (
            "/a /nowhere 200",
            "/a leads to /nowhere, which is no page of this folder",
        ),
        ("/a/* /nowhere.html 200", "which is no page"),
        ("/a /nowhere 404", "which is no page"),
        ("/a/:x /:x 404", "status 404 is for one page"),
        ("/a /b?c 200", "a path only"),
        ("/a /a", "/a leads to itself"),
        ("/a/ /a", "/a/ leads to itself"),
        ("/a/* /b#c:splat", "no placeholder behind the #"),
        ("/a\u{7} /b", "control character U+0007"),
    ] {
        let text = format!("# one\n/ok /page\n{line}\n");
        let files = [&FILES[..], &[("_redirects", text.as_bytes())]].concat();
        let dir = folder(&files);
        let error = error(dir.path(), &fixed());
        assert!(error.contains("_redirects:3: "), "{error}");
        assert!(error.contains(part), "{line}: {error}");
    }
    let long = format!("/a /{}", "b".repeat(5000));
    let many: String = (0..501).map(|n| format!("/{n}/* /x\n")).collect();
    for (text, part) in [
        (long.into_bytes(), ":1: longer than 4096 bytes"),
        (many.into_bytes(), ":501: more than 500 rules"),
        (b"/ok /page\n/\xff /b".to_vec(), ":2: not UTF-8"),
        (vec![b'#'; 2 << 20], ":1: larger than"),
    ] {
        let dir = folder(&[("index.html", b"x"), ("_redirects", &text)]);
        let error = error(dir.path(), &PackOptions::default());
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn control_files_are_not_served() {
    let (image, summary) = pack("/a /b");
    assert_eq!(summary.files, FILES.len() as u64);
    let site = Site::parse(&image).unwrap();
    assert!(site.default_host().lookup(b"/_redirects").is_none());
}
