//! A real browser loads the project's own page with everything in it.
//!
//! Chromium's net log says what it asked for and what it got; its log has the console.

use crate::guest;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(90);

#[test]
fn chromium_loads_the_default_page_without_an_error() {
    if qemu::prerequisites::find("chromium").is_none() {
        let reason = "needs chromium";
        assert!(
            std::env::var_os("CI").is_none_or(|ci| ci != "true"),
            "{reason}"
        );
        eprintln!("skipped: {reason}");
        return;
    }
    let _turn = guest::turn();
    let folder = qemu::workspace::default_site();
    let packed = guest::packed(&folder);
    let appliance = guest::boot(guest::machine(&packed));
    let url = format!("http://{}/", appliance.address);
    let place = tempfile::tempdir().unwrap();
    let visit = visit(&url, place.path());

    let console: Vec<&str> = visit
        .log
        .lines()
        .filter(|line| line.contains("CONSOLE"))
        .collect();
    assert!(console.is_empty(), "{console:#?}");
    let page = fs::read_to_string(folder.join("index.html")).unwrap();
    let title = between(&page, "<title>", "</title>").expect("the page has no title");
    assert!(visit.dom.contains(title), "{}", visit.dom);

    let wanted = references(&page, &url);
    assert!(wanted.len() >= 3, "style, script and icon: {wanted:?}");
    for wanted in wanted {
        assert_eq!(
            visit.answers.get(&wanted),
            Some(&200),
            "{wanted} in {:#?}",
            visit.answers
        );
    }
    let refused: Vec<_> = visit
        .answers
        .iter()
        .filter(|(_, status)| **status >= 400)
        .collect();
    assert!(refused.is_empty(), "{refused:?}");
    let elsewhere: Vec<_> = visit
        .answers
        .keys()
        .filter(|to| !to.starts_with(&url))
        .collect();
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
}

/// What a visit showed.
struct Visit {
    dom: String,
    log: String,
    /// Status by URL.
    answers: BTreeMap<String, u16>,
}

fn visit(url: &str, place: &Path) -> Visit {
    let net_log = place.join("net.json");
    let (dom, log) = (place.join("dom"), place.join("log"));
    let mut chromium = Command::new("chromium")
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
        ])
        .args(["--no-first-run", "--disable-background-networking"])
        // Nothing but the appliance can answer.
        .arg("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
        .args([
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
        ])
        .args([
            "--enable-logging=stderr",
            "--v=0",
            "--virtual-time-budget=10000",
        ])
        .arg(format!(
            "--user-data-dir={}",
            place.join("profile").display()
        ))
        .arg(format!("--log-net-log={}", net_log.display()))
        .args(["--dump-dom", url])
        .stdin(Stdio::null())
        .stdout(fs::File::create(&dom).unwrap())
        .stderr(fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + PATIENCE;
    while chromium.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            // Its children end with it.
            let _ = chromium.kill();
            let _ = chromium.wait();
            panic!(
                "chromium is not done: {}",
                fs::read_to_string(&log).unwrap()
            );
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Visit {
        dom: fs::read_to_string(dom).unwrap(),
        log: String::from_utf8_lossy(&fs::read(log).unwrap()).into_owned(),
        answers: answers(&fs::read_to_string(net_log).unwrap()),
    }
}

/// Reads Chromium's net log: URLs and statuses of the requests in it.
fn answers(net_log: &str) -> BTreeMap<String, u16> {
    let log: Value = serde_json::from_str(net_log).expect("the net log is not JSON");
    let mut urls: BTreeMap<u64, String> = BTreeMap::new();
    let mut answers = BTreeMap::new();
    for event in log["events"].as_array().unwrap() {
        let source = event["source"]["id"].as_u64().unwrap_or(0);
        if let Some(url) = event["params"]["url"].as_str() {
            urls.insert(source, url.to_owned());
        }
        let status = event["params"]["headers"]
            .as_array()
            .and_then(|lines| lines.first()?.as_str()?.strip_prefix("HTTP/1.1 "))
            .and_then(|line| line.split(' ').next()?.parse().ok());
        if let (Some(status), Some(url)) = (status, urls.get(&source)) {
            // Asked again, it may be 304.
            answers.entry(url.clone()).or_insert(status);
        }
    }
    answers
}

/// Finds the URLs that a page refers to and a browser fetches by itself.
fn references(page: &str, url: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::from([url.to_owned()]);
    for tag in page.split('<').skip(1) {
        let attribute = match tag.split([' ', '\n']).next() {
            Some("link") => "href=\"",
            Some("script" | "img") => "src=\"",
            _ => continue,
        };
        if let Some(target) = between(tag, attribute, "\"") {
            let target = target.trim_start_matches("./").trim_start_matches('/');
            found.insert(format!("{url}{target}"));
        }
    }
    found
}

fn between<'a>(text: &'a str, before: &str, behind: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    Some(rest.split_once(behind)?.0)
}
