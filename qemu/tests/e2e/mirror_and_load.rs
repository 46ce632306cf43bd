//! Many files to one client, and many clients of every kind at once: `wget` mirrors ten thousand
//! files, and `h2load` and `wrk` ask for whatever there is while the metrics are scraped, which add up.

use crate::client::Client;
use crate::folder::{Folder, Random};
use crate::guest;
use crate::namespace::Namespace;
use crate::skip::skip;
use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Skips the test when a program is missing.
fn has(programs: &[&str]) -> bool {
    let missing = programs
        .iter()
        .find(|name| qemu::prerequisites::find(name).is_none());
    if let Some(name) = missing {
        skip(&format!("needs {name}"));
    }
    missing.is_none()
}

/// A hundred folders of a hundred small files, each with an index that links them.
fn linked_folder() -> Folder {
    let mut folder = Folder::new();
    let mut random = Random::new(5);
    let mut front = "<!doctype html><title>all</title>".to_owned();
    for place in 0..100 {
        front.push_str(&format!("<a href=/d{place}/>{place}</a>\n"));
        let mut index = format!("<!doctype html><title>{place}</title>");
        for number in 1..100 {
            index.push_str(&format!("<a href=f{number}.bin>{number}</a>\n"));
            let length = random.below(600) as usize;
            folder.add(&format!("/d{place}/f{number}.bin"), random.bytes(length));
        }
        folder.add(&format!("/d{place}/index.html"), index.into_bytes());
    }
    folder.add("/index.html", front.into_bytes());
    folder
}

fn count_files(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    let count = |entry: fs::DirEntry| match entry.file_type().unwrap().is_dir() {
        true => count_files(&entry.path()),
        false => 1,
    };
    entries.map(count).sum()
}

#[test]
fn wget_mirrors_ten_thousand_files_into_the_same_tree() {
    if !has(&["wget"]) {
        return;
    }
    let _turn = guest::turn();
    Namespace::with(1, |namespace| {
        let folder = linked_folder();
        assert_eq!(folder.files.len(), 10_001);
        let packed = guest::packed(folder.path());
        let mut machine = guest::machine(&packed);
        machine.cores = 2;
        let appliance = guest::boot_on_tap(machine, namespace);
        let place = tempfile::tempdir().unwrap();
        let mirrored = Command::new("wget")
            .args(["--mirror", "--no-host-directories", "--quiet"])
            .args(["--tries=2", "--timeout=60", "-e", "robots=off"])
            .arg(format!("http://{}/", appliance.address))
            .current_dir(place.path())
            .stdin(Stdio::null())
            .status()
            .unwrap();
        assert!(mirrored.success(), "{mirrored}");
        assert_eq!(count_files(place.path()), folder.files.len());
        for file in &folder.files {
            let content = fs::read(place.path().join(&file.path[1..])).unwrap();
            assert!(content == file.content, "{} differs", file.path);
        }
    });
}

/// Scrapes the metrics of a guest on a tap: each figure by its name with labels.
fn scrape() -> BTreeMap<String, f64> {
    let address: SocketAddr = format!("{}:9100", Namespace::GUEST).parse().unwrap();
    let mut client = Client::connect(address).unwrap();
    client
        .send(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    assert_eq!(client.head().unwrap().status, 200);
    let text = String::from_utf8(client.read_to_end().unwrap()).unwrap();
    let figures = text.lines().filter(|line| !line.starts_with('#'));
    figures
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        })
        .collect()
}

/// Runs a load generator, and returns the number in front of `words` in what it says.
fn run(program: &str, arguments: &[&str], words: &str) -> u64 {
    let output = Command::new(program).args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let before = text.split_once(words).map(|(before, _)| before);
    let number = before.and_then(|before| {
        before
            .split([' ', ',', '\n'])
            .rfind(|word| !word.is_empty())
    });
    let number = number.and_then(|number| number.parse().ok());
    assert!(output.status.success(), "{program} {arguments:?}: {text}");
    number.unwrap_or_else(|| panic!("{program} {arguments:?}: {text}"))
}

#[test]
fn loads_of_every_kind_at_once_are_all_answered_and_the_metrics_add_up() {
    const EACH: u64 = 2_000;
    if !has(&["h2load", "wrk"]) {
        return;
    }
    let _turn = guest::turn();
    Namespace::with(2, |namespace| {
        let packed = guest::packed(Folder::small().path());
        let mut machine = guest::machine(&packed);
        machine.cores = 2;
        let appliance = guest::boot_on_tap(machine, namespace);
        let url = |path: &str| format!("http://{}{path}", appliance.address);
        let etag = appliance.client().get("/style.css").unwrap();
        let etag = etag.header("etag").unwrap().to_owned();
        let h2load = |path: &str, headers: &[&str]| {
            let (url, each) = (url(path), EACH.to_string());
            let mut words = vec!["--h1", "-n", &each, "-c", "8", "-t", "1"];
            headers
                .iter()
                .for_each(|header| words.extend(["-H", header]));
            words.push(&url);
            assert_eq!(run("h2load", &words, " done,"), EACH, "{path}");
        };
        let wrk = |path: &str, headers: &[&str]| {
            let url = url(path);
            let mut words = vec!["-t", "1", "-c", "4", "-d", "5s"];
            headers
                .iter()
                .for_each(|header| words.extend(["-H", header]));
            words.push(&url);
            run("wrk", &words, " requests in ")
        };
        let is_over = AtomicBool::new(false);
        let answered = thread::scope(|scope| {
            let scraper = scope.spawn(|| {
                let mut before = 0.0;
                while !is_over.load(Ordering::Relaxed) {
                    let figures = scrape();
                    let count = figures["sluice_http_request_seconds_count"];
                    assert!(count >= before, "a counter went back");
                    before = count;
                    thread::sleep(Duration::from_millis(100));
                }
            });
            let exact = [
                scope.spawn(|| h2load("/none", &[])),
                scope.spawn(|| h2load("/style.css", &[&format!("If-None-Match: {etag}")])),
                scope.spawn(|| h2load("/deep/er/data.bin", &["Range: bytes=5-104"])),
                scope.spawn(|| h2load("/index.html", &["Accept-Encoding: gzip, br"])),
            ];
            let timed = [
                scope.spawn(|| wrk("/index.html", &[])),
                scope.spawn(|| wrk("/deep/er/data.bin", &[])),
                scope.spawn(|| wrk("/empty.txt", &["Connection: close"])),
            ];
            exact.into_iter().for_each(|load| load.join().unwrap());
            let answered: u64 = timed.into_iter().map(|load| load.join().unwrap()).sum();
            is_over.store(true, Ordering::Relaxed);
            scraper.join().unwrap();
            answered
        });
        let figures = scrape();
        let status = |status: u16| {
            figures[&format!("sluice_http_requests_total{{status=\"{status}\"}}")] as u64
        };
        assert_eq!((status(404), status(304), status(206)), (EACH, EACH, EACH));
        // Those that wrk did not wait for at its end are among them.
        let whole = status(200) - EACH - 1;
        assert!(
            (answered..=answered + 64).contains(&whole),
            "{answered} asked, {whole} answered"
        );
        let sum = |prefix: &str| -> f64 {
            let of_prefix = figures.iter().filter(|(name, _)| name.starts_with(prefix));
            of_prefix.map(|(_, value)| value).sum()
        };
        let total = sum("sluice_http_requests_total{");
        assert_eq!(total, sum("sluice_core_http_requests_total{"), "over cores");
        assert_eq!(total, (3 * EACH + status(200)) as f64, "no other status");
        let counted = figures["sluice_http_request_seconds_count"];
        assert!(
            counted <= total && counted + 64.0 >= total,
            "{counted} of {total} were timed"
        );
        for core in 0..2 {
            let name = format!("sluice_core_http_connections_total{{core=\"{core}\"}}");
            assert!(figures[&name] > 10.0, "{name}: {figures:#?}");
        }
        for name in ["write_timeouts", "request_timeouts", "commands_refused"] {
            assert_eq!(figures[&format!("sluice_http_{name}_total")], 0.0, "{name}");
        }
    });
}
