//! Wrong use of the command: one line that says what to do, the right exit code, nothing started.
#![forbid(unsafe_code)]

use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const COMMAND: &str = env!("CARGO_BIN_EXE_sluice");

fn run(words: &[&str]) -> Output {
    Command::new(COMMAND).args(words).output().unwrap()
}

/// Asserts exit code 2 and one line on stderr, and returns the line.
fn refused(output: &Output) -> String {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(
        output.stdout.is_empty(),
        "{:?}",
        String::from_utf8_lossy(&output.stdout)
    );
    assert_eq!(text.lines().count(), 1, "{text}");
    let line = text.trim_end().strip_prefix("sluice: ");
    line.unwrap_or_else(|| panic!("{text}")).to_owned()
}

fn utf8(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn help_is_not_an_error_whatever_it_is_asked_of() {
    for words in [
        &["--help"][..],
        &["run", "--help"],
        &["pack", "-h"],
        &["bench", "--help"],
    ] {
        let output = run(words);
        assert_eq!(output.status.code(), Some(0), "{words:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("usage: ./run.sh"));
    }
}

#[test]
fn a_measurement_that_is_not_there() {
    let line = refused(&run(&["bench", "everything"]));
    assert!(line.starts_with("bench needs a name: quick, "), "{line}");
}

#[test]
fn an_image_where_something_else_is() {
    let folder = folder_with_a_page();
    let page = folder.path().join("index.html");
    for place in ["/dev/null", "/dev/stdout", utf8(&page), utf8(folder.path())] {
        let line = refused(&run(&["pack", utf8(folder.path()), "-o", place]));
        assert!(line.starts_with(&format!("{place}: ")), "{line}");
    }
    assert_eq!(fs::read(&page).unwrap(), b"<!doctype html>");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn an_image_in_a_folder_that_is_a_link_is_the_links_target() {
    let folder = folder_with_a_page();
    let place = tempfile::tempdir().unwrap();
    let link = place.path().join("link.img");
    fs::write(place.path().join("real.img"), "").unwrap();
    symlink("real.img", &link).unwrap();
    let output = run(&["pack", utf8(folder.path()), "-o", utf8(&link)]);
    assert_eq!(output.status.code(), Some(0));
    assert!(link.is_symlink() && fs::read(&link).unwrap().len() > 100);
}

/// A folder that takes long to pack.
fn folder_that_takes_long() -> tempfile::TempDir {
    let folder = folder_with_a_page();
    let large = File::create(folder.path().join("large.txt")).unwrap();
    large.set_len(8 << 30).unwrap();
    folder
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// Sends the signal once a name with `part` is in the folder `place`; returns what became of it and
/// what is in the folder then.
fn stopped_while_packing(
    words: &[&str],
    place: &Path,
    part: &str,
    signal: Signal,
) -> (Output, Vec<String>) {
    let child = Command::new(COMMAND)
        .args(words)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = child.id();
    let is_ours = |name: &String| name.contains(part) && name.contains(&pid.to_string());
    let deadline = Instant::now() + Duration::from_secs(60);
    while !names(place).iter().any(is_ours) {
        assert!(Instant::now() < deadline, "nothing is written");
        thread::sleep(Duration::from_millis(10));
    }
    kill_process(Pid::from_raw(pid as i32).unwrap(), signal).unwrap();
    let output = child.wait_with_output().unwrap();
    (output, names(place).into_iter().filter(is_ours).collect())
}

#[test]
fn a_pack_that_is_interrupted_leaves_nothing_and_tells_the_shell() {
    let folder = folder_that_takes_long();
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("site.img");
    let words = ["pack", utf8(folder.path()), "-o", utf8(&file)];
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let (output, _) = stopped_while_packing(&words, place.path(), "site.img", signal);
        assert_eq!(output.status.code(), Some(code));
        assert_eq!(output.stderr, b"sluice: stopped before it was done\n");
        assert_eq!(names(place.path()), [""; 0]);
    }
}

#[test]
fn a_run_that_is_interrupted_while_it_packs_leaves_nothing() {
    let folder = folder_that_takes_long();
    let out = qemu::workspace::out_dir().unwrap();
    let words = ["--port", "0", utf8(folder.path())];
    let (output, left) = stopped_while_packing(&words, &out, "running-", Signal::INT);
    assert_eq!(output.status.code(), Some(130));
    assert_eq!(left, [""; 0]);
}

#[test]
fn what_a_killed_run_left_goes_with_the_next_start() {
    let out = qemu::workspace::out_dir().unwrap();
    // Above the largest number that Linux gives to a process.
    let left = [
        out.join("running-4194305.img"),
        out.join(".running-4194305.img.4194305.sluice-partial"),
    ];
    for file in &left {
        fs::write(file, "x").unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("empty")).unwrap();
    refused(&run(&["--port", "0", utf8(folder.path())]));
    assert!(left.iter().all(|file| !file.exists()));
}

#[test]
fn a_reader_that_is_gone_is_no_crash() {
    for (words, code) in [(&["/nonexistent"][..], 2), (&["--help"], 0)] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let status = Command::new(COMMAND)
            .args(words)
            .stdout(writer.try_clone().unwrap())
            .stderr(writer)
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(code));
    }
}

#[test]
fn a_name_that_a_terminal_would_obey_is_escaped() {
    let folder = tempfile::tempdir().unwrap();
    let line = refused(&run(&[utf8(&folder.path().join("\u{1b}[2J"))]));
    assert!(line.contains("\\u{1b}[2J"), "{line}");
}

#[test]
fn a_bad_flag() {
    let line = refused(&run(&["--cpus", "2"]));
    assert_eq!(line, "unknown flag --cpus; see ./run.sh --help");
}

#[test]
fn a_missing_folder() {
    let line = refused(&run(&["/nonexistent/site"]));
    assert!(
        line.starts_with("/nonexistent/site: ") && line.contains("name a folder"),
        "{line}"
    );
}

#[test]
fn a_file_in_place_of_the_folder() {
    let line = refused(&run(&["/etc/passwd"]));
    assert!(
        line.starts_with("/etc/passwd: ") && line.contains("name a folder"),
        "{line}"
    );
}

#[test]
fn an_empty_folder() {
    let folder = tempfile::tempdir().unwrap();
    let line = refused(&run(&[utf8(folder.path())]));
    assert!(
        line.ends_with("no files to serve: put an index.html there"),
        "{line}"
    );
    // The same with nothing but folders in it, which only the packer sees.
    fs::create_dir(folder.path().join("empty")).unwrap();
    let line = refused(&run(&["--port", "0", utf8(folder.path())]));
    assert!(
        line.ends_with("no files to serve: put an index.html there"),
        "{line}"
    );
}

#[test]
fn a_port_in_use() {
    let folder = folder_with_a_page();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let line = refused(&run(&["--port", &port, utf8(folder.path())]));
    assert!(
        line.starts_with(&format!("port {port} of 127.0.0.1 is in use; ")),
        "{line}"
    );
}

#[test]
fn a_site_larger_than_the_memory_given() {
    let folder = folder_with_a_page();
    fs::write(folder.path().join("large.bin"), vec![7; 40 << 20]).unwrap();
    let line = refused(&run(&[
        "--port",
        "0",
        "--memory",
        "32",
        utf8(folder.path()),
    ]));
    assert!(
        line.contains("41 MiB") && line.contains("--memory 32"),
        "{line}"
    );
}

#[test]
fn an_unreadable_file() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder_with_a_page();
    let secret = folder.path().join("secret.txt");
    fs::write(&secret, "x").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o0)).unwrap();
    // Root reads everything, unless it gives that up.
    let mut command = match rustix::process::geteuid().is_root() {
        true => {
            let mut command = Command::new("setpriv");
            command.args([
                "--bounding-set=-dac_override,-dac_read_search",
                "--",
                COMMAND,
            ]);
            command
        }
        false => Command::new(COMMAND),
    };
    let output = command
        .args(["--port", "0"])
        .arg(folder.path())
        .output()
        .unwrap();
    let line = refused(&output);
    assert!(
        line.starts_with(utf8(&secret)) && line.contains("make it readable"),
        "{line}"
    );
}

#[test]
fn a_symlink_out_of_the_folder() {
    let folder = folder_with_a_page();
    symlink("/etc/passwd", folder.path().join("link")).unwrap();
    let line = refused(&run(&["--port", "0", utf8(folder.path())]));
    assert!(line.contains("leads out of the folder"), "{line}");
}

#[test]
fn a_tap_that_is_not_there() {
    let folder = folder_with_a_page();
    let line = refused(&run(&["--net", "tap=sluice-none", utf8(folder.path())]));
    assert!(line.contains("ip tuntap add dev sluice-none"), "{line}");
}

#[test]
fn packing_says_what_was_packed() {
    let folder = folder_with_a_page();
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("site.img");
    let output = run(&["pack", utf8(folder.path()), "-o", utf8(&file)]);
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    let bytes = file.metadata().unwrap().len();
    assert!(text.starts_with("packed 1 files, ") && text.contains(&format!("({bytes} bytes)")));
}

#[test]
fn inspecting_lists_and_verifies_and_finds_damage() {
    let folder = folder_with_a_page();
    fs::write(
        folder.path().join("_redirects"),
        "/old/* /new/:splat\n/a /b 302",
    )
    .unwrap();
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("site.img");
    let host = format!("*.example.org={}", utf8(folder.path()));
    let words = [
        "pack",
        utf8(folder.path()),
        "-o",
        utf8(&file),
        "--host",
        &host,
    ];
    assert_eq!(run(&words).status.code(), Some(0));
    let output = run(&["inspect", utf8(&file)]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    for part in [
        "host: *.example.org, all other names",
        "  /index.html",
        "  /a -> /b",
        "rule /old/* /new/:splat 301",
        "verified: ",
    ] {
        assert!(text.contains(part), "{text}");
    }
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, bytes).unwrap();
    let line = refused(&run(&["inspect", utf8(&file)]));
    assert!(line.contains("site image is damaged"), "{line}");
    let line = refused(&run(&[
        "inspect",
        utf8(folder.path().join("index.html").as_path()),
    ]));
    assert!(line.contains("not a site image"), "{line}");
}

#[test]
fn a_wrong_line_is_named_with_its_file() {
    let folder = folder_with_a_page();
    fs::write(folder.path().join("_redirects"), "/a /b\n/c /d 999\n").unwrap();
    let line = refused(&run(&["--port", "0", utf8(folder.path())]));
    assert!(
        line.contains("_redirects:2: status 999: give 200"),
        "{line}"
    );
}

#[test]
fn packing_where_nothing_can_be_written_fails() {
    let folder = folder_with_a_page();
    let output = run(&["pack", utf8(folder.path()), "-o", "/nonexistent/site.img"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("/nonexistent/site.img"), "{text}");
}

#[test]
fn a_missing_program_that_cannot_be_installed_is_named_with_the_command() {
    let folder = folder_with_a_page();
    // Nothing is on this path, apt-get included.
    let output = Command::new(COMMAND)
        .args(["--port", "0", utf8(folder.path())])
        .env("PATH", folder.path())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains("qemu-system-x86_64") && text.contains("apt-get install -y qemu"));
}

fn folder_with_a_page() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("index.html"), "<!doctype html>").unwrap();
    folder
}
