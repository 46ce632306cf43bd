//! A real browser loads the project's own page with everything in it.
//!
//! Chromium's net log says what it asked for and what it got; its log has the console.

use crate::browser_page;
use crate::guest::{self, Appliance};
use crate::namespace::Namespace;
use crate::skip::skip;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(180);

/// Skips the test when there is no browser.
fn is_chromium_here() -> bool {
    let is_here = qemu::prerequisites::chromium().is_some();
    if !is_here {
        skip("needs chromium");
    }
    is_here
}

#[test]
fn chromium_loads_the_default_page_without_an_error() {
    if !is_chromium_here() {
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

/// Visits the page with sixty assets, whose script tries the rest out; the guest's log says what it
/// was asked for.
fn assert_everything_works(appliance: &Appliance, coding: &str) {
    let url = format!("http://{}/", appliance.address);
    let result = visit_until_result(&url);
    let scripts: usize = (0..browser_page::ASSETS)
        .filter(|number| number % 3 == 1)
        .sum();
    let wanted = [
        &format!("scripts: {scripts}"),
        "images: 20",
        "styles: 20",
        &format!("coding: {coding}"),
        "text: 208890 true",
        "range: 206 bytes 10-19/208890 true",
        "beyond: 416",
        "again: 200 true",
        "duration: 60",
        "seeked: 50",
        "done: ",
        "at: first",
        "at: second",
        "at: first",
        "at: second",
        "at: second",
    ];
    assert_eq!(result.split(" | ").collect::<Vec<_>>(), wanted);
    // The log's last lines may come behind what the browser says.
    let is_last = |line: &str| {
        let is_it = line.contains("GET /second.html ") && line.contains("\"status\":304,");
        is_it.then_some(())
    };
    let deadline = Instant::now() + PATIENCE;
    let last = appliance.serial().wait_for(deadline, is_last);
    assert!(last.is_some(), "reloaded, it has not changed");
    let lines = appliance.serial().lines();
    let count = |path: &str, status: u16| {
        let (request, status) = (
            format!("\"GET {path} HTTP/1.1\""),
            format!("\"status\":{status},"),
        );
        let is_it = |line: &&String| line.contains(&request) && line.contains(&status);
        lines.iter().filter(is_it).count()
    };
    assert_eq!(
        count("/text.txt", 304),
        1,
        "asked again, it has not changed"
    );
    assert!(
        count("/sound.wav", 206) >= 2,
        "the beginning, and where it was sought"
    );
    let wrong = |line: &&String| line.contains("\"status\":40") || line.contains("\"status\":5");
    assert_eq!(lines.iter().find(wrong), None);
}

/// Visits a page, and returns what its script says at the end.
fn visit_until_result(url: &str) -> String {
    let place = tempfile::tempdir().unwrap();
    let log = place.path().join("log");
    let mut chromium = chromium(place.path(), &log)
        .arg("--remote-debugging-port=0")
        .arg(url)
        .spawn()
        .unwrap();
    let deadline = Instant::now() + PATIENCE;
    let result = loop {
        let text = String::from_utf8_lossy(&fs::read(&log).unwrap()).into_owned();
        if let Some(result) = between(&text, "\"RESULT ", " END\"") {
            break Ok(result.to_owned());
        }
        if Instant::now() > deadline || chromium.try_wait().unwrap().is_some() {
            break Err(text);
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    // Its children end with it.
    let _ = chromium.kill();
    let _ = chromium.wait();
    result.unwrap_or_else(|log| panic!("no result: {log}"))
}

#[test]
fn chromium_loads_sixty_assets_seeks_goes_back_and_decodes_br() {
    if !is_chromium_here() {
        return;
    }
    let _turn = guest::turn();
    let packed = guest::packed(browser_page::folder().path());
    let mut machine = guest::machine(&packed);
    machine.append = "access-log=json".to_owned();
    let appliance = guest::boot(machine);
    assert_everything_works(&appliance, "br");
}

#[test]
fn chromium_does_the_same_over_a_tap_and_decodes_gzip() {
    if !is_chromium_here() {
        return;
    }
    let _turn = guest::turn();
    Namespace::with(1, |namespace| {
        let packed = guest::packed(browser_page::folder().path());
        let mut machine = guest::machine(&packed);
        machine.cores = 2;
        machine.append = "access-log=json".to_owned();
        let appliance = guest::boot_on_tap(machine, namespace);
        // It asks for br only over TLS, and on this machine's own address.
        assert_everything_works(&appliance, "gzip");
    });
}

/// What a visit showed.
struct Visit {
    dom: String,
    log: String,
    /// Status by URL.
    answers: BTreeMap<String, u16>,
}

/// Chromium without a window, its log in `log`.
fn chromium(place: &Path, log: &Path) -> Command {
    let mut chromium = Command::new(qemu::prerequisites::chromium().expect("a browser"));
    chromium
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
        ])
        .args(["--no-first-run", "--disable-background-networking"])
        // Nothing but the appliance can answer.
        .arg(format!(
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE {}",
            Namespace::GUEST
        ))
        .args([
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
        ])
        .args(["--enable-logging=stderr", "--v=0"])
        .args(["--autoplay-policy=no-user-gesture-required", "--mute-audio"])
        .arg(format!(
            "--user-data-dir={}",
            place.join("profile").display()
        ))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(log).unwrap());
    chromium
}

fn visit(url: &str, place: &Path) -> Visit {
    let net_log = place.join("net.json");
    let (dom, log) = (place.join("dom"), place.join("log"));
    let mut chromium = chromium(place, &log)
        .arg("--virtual-time-budget=10000")
        .arg(format!("--log-net-log={}", net_log.display()))
        .args(["--dump-dom", url])
        .stdout(fs::File::create(&dom).unwrap())
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
