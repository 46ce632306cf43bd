//! The `run` command as others script against it: its line, its end, and what it leaves behind.

use crate::by_hand::readme_line;
use crate::client::Client;
use crate::folder::Folder;
use crate::guest;
use crate::runner::{COMMAND, Runner, children, get, wait_gone};
use qemu::backend::free_port;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A started command, ended when dropped.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn start(words: &[&str], site: &Path) -> Running {
    let child = Command::new(COMMAND)
        .args(words)
        .arg(site)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    Running(child)
}

/// Starts a command and waits until it serves; returns where.
fn serving(words: &[&str], site: &Path) -> (Running, SocketAddr) {
    let mut command = start(words, site);
    let stdout = command.0.stdout.as_mut().unwrap();
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).unwrap();
    let (_, rest) = line.split_once("http://").expect("an address");
    let address = rest.split_once(' ').unwrap().0.parse().unwrap();
    (command, address)
}

/// Reads lines until one has `part`, and returns it.
pub(crate) fn next_with(
    lines: &mut impl Iterator<Item = std::io::Result<String>>,
    part: &str,
) -> String {
    loop {
        let line = lines.next().expect("no more lines").unwrap();
        if line.contains(part) {
            return line;
        }
    }
}

/// Serves a folder, checks the first line, asks for a page, ends it with `signal`.
fn serves_until(signal: Signal) {
    let _turn = guest::turn();
    guest::image();
    let folder = Folder::small();
    let mut command = start(&["--port", "0", "--accel", "tcg"], folder.path());
    let pid = command.0.id();
    let mut lines = BufReader::new(command.0.stdout.take().unwrap()).lines();
    let line = lines.next().expect("no line").unwrap();

    let start = format!("serving {} at http://127.0.0.1:", folder.path().display());
    let rest = line
        .strip_prefix(&start)
        .unwrap_or_else(|| panic!("{line}"));
    let (port, rest) = rest.split_once(" (ready in ").unwrap();
    let (milliseconds, rest) = rest.split_once(" ms, ").unwrap();
    assert_eq!(rest, "1 cores, tcg, microvm)");
    assert!(milliseconds.parse::<u64>().unwrap() > 0);
    let address = SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap()));
    let page = Client::connect(address).unwrap().get("/").unwrap();
    assert_eq!((page.status, &page.body), (200, &folder.files[0].content));

    let below = children(pid);
    assert_eq!(below.len(), 1, "one QEMU");
    kill_process(Pid::from_raw(pid as i32).unwrap(), signal).unwrap();
    if signal != Signal::KILL {
        assert_eq!(command.0.wait().unwrap().code(), Some(0));
    }
    wait_gone(&below);
}

#[test]
fn every_frame_is_in_the_capture() {
    let _turn = guest::turn();
    guest::image();
    let folder = Folder::small();
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("a,b.pcap");
    let words = [
        "--port",
        "0",
        "--accel",
        "tcg",
        "--pcap",
        file.to_str().unwrap(),
    ];
    let mut command = start(&words, folder.path());
    let mut lines = BufReader::new(command.0.stdout.take().unwrap()).lines();
    let line = lines.next().expect("no line").unwrap();
    let (_, rest) = line.split_once("127.0.0.1:").unwrap();
    let port: u16 = rest.split_once(' ').unwrap().0.parse().unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let page = Client::connect(address).unwrap().get("/style.css").unwrap();
    assert_eq!(page.status, 200);
    kill_process(Pid::from_raw(command.0.id() as i32).unwrap(), Signal::INT).unwrap();
    command.0.wait().unwrap();

    let capture = fs::read(&file).unwrap();
    assert_eq!(capture[..4], 0xa1b2_c3d4_u32.to_le_bytes());
    // Link type: Ethernet.
    assert_eq!(capture[20..24], 1_u32.to_le_bytes());
    let holds = |text: &[u8]| capture.windows(text.len()).any(|part| part == text);
    assert!(holds(b"GET /style.css HTTP/1.1") && holds(b"HTTP/1.1 200 OK"));
    assert!(holds(&page.body));
}

#[test]
fn an_interrupt_powers_the_guest_down() {
    serves_until(Signal::INT);
}

#[test]
fn a_termination_powers_the_guest_down() {
    serves_until(Signal::TERM);
}

#[test]
fn a_terminal_that_is_closed_powers_the_guest_down() {
    serves_until(Signal::HUP);
}

#[test]
fn a_killed_command_leaves_no_guest() {
    serves_until(Signal::KILL);
}

#[test]
fn a_change_is_packed_and_served_on_the_same_port_and_a_mistake_keeps_what_was_there() {
    let _turn = guest::turn();
    let folder = Folder::small();
    let words = ["--watch", "--port", "0", "--accel", "tcg"];
    let mut runner = Runner::sluice(&words, folder.path());
    let (first, _) = runner.serves();
    assert_eq!(get(first, "/new.txt").status, 404);

    // Whole at once, so that no half of it is packed.
    let write = |name: &str, text: &str| {
        let aside = tempfile::NamedTempFile::new_in(folder.path().parent().unwrap()).unwrap();
        fs::write(aside.path(), text).unwrap();
        aside.persist(folder.path().join(name)).unwrap();
    };
    write("new.txt", "new");
    assert!(runner.says("packed again in ").ends_with(" ms"));
    assert_eq!(runner.serves().0, first);
    assert_eq!(get(first, "/new.txt").body, b"new");

    write("_redirects", "/a /b 999");
    let told = runner.complains("status 999");
    assert!(told.contains("_redirects:1: "), "{told}");
    assert!(told.ends_with("(serving what was there before)"), "{told}");
    assert_eq!(get(first, "/new.txt").body, b"new");
    write("_redirects", "/a /new.txt 302");
    runner.says("packed again in ");
    assert_eq!(runner.serves().0, first);
    assert_eq!(get(first, "/a").status, 302);
    runner.is_interrupted();
}

#[test]
fn each_host_has_its_own_pages_fields_and_rules() {
    let _turn = guest::turn();
    guest::image();
    let first = Folder::small();
    let second = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(second.path().join(name), text).unwrap();
    write("index.html", "<p>the second</p>");
    write("404.html", "<p>no such page of the second</p>");
    write(
        "_headers",
        "/open/*\n  Access-Control-Allow-Origin: https://other.example\n  Cache-Control: no-store\n",
    );
    write(
        "_redirects",
        "/old/* /new/:splat 302\n/app/* /index.html 200\n",
    );
    fs::create_dir(second.path().join("open")).unwrap();
    write("open/data.json", "{}");
    let host = format!("*.example.org={}", second.path().display());
    let words = [
        "--port", "0", "--accel", "tcg", "--host", &host, "--cors", "*",
    ];
    let (_command, address) = serving(&words, first.path());
    let mut client = Client::connect(address).unwrap();
    let mut ask = |method: &str, host: &str, path: &str, fields: &str| {
        let request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n");
        client.send(request.as_bytes()).unwrap();
        client.answer().unwrap()
    };

    assert_eq!(
        ask("GET", "else.where", "/", "").body,
        first.files[0].content
    );
    assert_eq!(
        ask("GET", "example.org", "/", "").body,
        first.files[0].content
    );
    for host in ["a.example.org", "A.B.Example.Org:8080"] {
        assert_eq!(ask("GET", host, "/", "").body, b"<p>the second</p>");
        assert_eq!(ask("GET", host, "/app/x", "").body, b"<p>the second</p>");
        let moved = ask("GET", host, "/old/a/b?c=d", "");
        assert_eq!(moved.status, 302);
        assert_eq!(moved.header("location"), Some("/new/a/b?c=d"));
    }
    // Neither has what is the other's.
    let gone = ask("GET", "a.example.org", "/style.css", "");
    assert_eq!(
        (gone.status, &gone.body[..]),
        (404, &b"<p>no such page of the second</p>"[..])
    );
    assert_eq!(ask("GET", "else.where", "/old/a/b", "").status, 404);

    // The switch opens both sites; a rule of `_headers` comes before it.
    let origin = "Origin: https://other.example\r\n";
    let css = ask("GET", "else.where", "/style.css", origin);
    assert_eq!(css.header("access-control-allow-origin"), Some("*"));
    let data = ask("GET", "a.example.org", "/open/data.json", origin);
    let allowed = data.header("access-control-allow-origin");
    assert_eq!(allowed, Some("https://other.example"));
    assert_eq!(data.header("cache-control"), Some("no-store"));
    let wish = "Origin: https://other.example\r\nAccess-Control-Request-Method: GET\r\n\
                Access-Control-Request-Headers: range\r\n";
    let preflight = ask("OPTIONS", "a.example.org", "/open/data.json", wish);
    assert!(
        matches!(preflight.status, 200 | 204),
        "{}",
        preflight.status
    );
    assert!(preflight.header("access-control-allow-methods").is_some());
}

#[test]
fn a_guest_that_fails_is_exit_code_one_with_its_last_words() {
    let _turn = guest::turn();
    let folder = Folder::small();
    let output = Command::new(COMMAND)
        .args([
            "--port",
            "0",
            "--accel",
            "tcg",
            "--append",
            "crash=page-fault",
        ])
        .arg(folder.path())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(output.stdout.is_empty());
    assert!(errors.contains("sluice: CRASH"), "{errors}");
    assert!(errors.contains("provoke"), "no names: {errors}");
    let last = errors.lines().next_back().unwrap();
    assert!(last.starts_with("sluice: the guest failed"), "{last}");
}

#[test]
fn the_readme_line_boots_the_image_by_hand() {
    let _turn = guest::turn();
    guest::image();
    let line = readme_line();
    let place = tempfile::tempdir().unwrap();
    let folder = Folder::small();
    let site = place.path().join("site.img");
    let packed = Command::new(COMMAND)
        .args([
            "pack".as_ref(),
            folder.path().as_os_str(),
            "-o".as_ref(),
            site.as_os_str(),
        ])
        .output()
        .unwrap();
    assert!(packed.status.success());
    let port = free_port().unwrap();
    let line = line
        .replace(" site.img", &format!(" {}", site.display()))
        .replace(":8080-", &format!(":{port}-"));
    let child = Command::new("sh")
        .args(["-c", &format!("exec {line}")])
        .current_dir(qemu::workspace::root())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut by_hand = Running(child);
    let mut serial = BufReader::new(by_hand.0.stdout.take().unwrap());
    let mut said = String::new();
    while !said.contains("sluice: ready http://") {
        assert_ne!(serial.read_line(&mut said).unwrap(), 0, "{said}");
    }
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let page = Client::connect(address).unwrap().get("/").unwrap();
    assert_eq!((page.status, &page.body), (200, &folder.files[0].content));
    drop(by_hand);
    let _ = serial.read_to_string(&mut said);
}
