//! What the `run` command does when it is told to stop, when its folder is led elsewhere, and when
//! somebody ends QEMU; and its way to the admin port.

use crate::client::Client;
use crate::download::{Download, folder_with_large_file};
use crate::folder::Folder;
use crate::guest;
use crate::run::{Running, next_with, start};
use crate::runner::children;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};

fn send(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid as i32).unwrap(), signal).unwrap();
}

fn address(line: &str) -> SocketAddr {
    let rest = line.split_once("http://").expect("an address").1;
    let address = rest.split(' ').next().unwrap();
    address.parse().unwrap()
}

fn lines_of(child: &mut Child) -> Lines<BufReader<ChildStdout>> {
    BufReader::new(child.stdout.take().unwrap()).lines()
}

/// Starts the command with its errors to be read.
fn start_with_errors(folder: &Folder) -> (Running, Lines<BufReader<ChildStderr>>) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sluice"))
        .args(["--port", "0", "--accel", "tcg"])
        .arg(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let errors = BufReader::new(child.stderr.take().unwrap()).lines();
    (Running(child), errors)
}

#[test]
fn answers_finish_after_an_interrupt_and_their_log_lines_are_shown() {
    let _turn = guest::turn();
    guest::image();
    let folder = folder_with_large_file();
    let words = [
        "--port",
        "0",
        "--accel",
        "tcg",
        "--append",
        "access-log=combined",
    ];
    let mut command = start(&words, folder.path());
    let mut lines = lines_of(&mut command.0);
    let download = Download::begin(address(&next_with(&mut lines, "serving ")));
    send(command.0.id(), Signal::INT);
    download.assert_is_whole(&folder);
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    let has = |part: &str| rest.iter().any(|line| line.contains(part));
    assert!(has("\"GET /large.bin HTTP/1.1\" 200"), "{rest:#?}");
    assert!(has("sluice: stopped"), "{rest:#?}");
    assert_eq!(command.0.wait().unwrap().code(), Some(0));
}

#[test]
fn a_guest_that_ends_badly_while_it_drains_is_exit_code_one() {
    let _turn = guest::turn();
    guest::image();
    let folder = folder_with_large_file();
    let (mut command, mut errors) = start_with_errors(&folder);
    let mut lines = lines_of(&mut command.0);
    let _under_way = Download::begin(address(&next_with(&mut lines, "serving ")));
    send(command.0.id(), Signal::INT);
    next_with(&mut errors, "answers under way may finish");
    send(children(command.0.id())[0], Signal::KILL);
    next_with(&mut errors, "sluice: QEMU was ended by signal 9");
    assert_eq!(command.0.wait().unwrap().code(), Some(1));
}

#[test]
fn a_qemu_that_somebody_ended_is_told_as_that() {
    let _turn = guest::turn();
    guest::image();
    let folder = Folder::small();
    let (mut command, mut errors) = start_with_errors(&folder);
    let mut lines = lines_of(&mut command.0);
    next_with(&mut lines, "serving ");
    send(children(command.0.id())[0], Signal::TERM);
    next_with(&mut errors, "sluice: QEMU was ended by signal 15");
    assert_eq!(command.0.wait().unwrap().code(), Some(1));
}

#[test]
fn a_folder_that_is_a_link_is_served_from_where_it_leads_now() {
    let _turn = guest::turn();
    guest::image();
    let place = tempfile::tempdir().unwrap();
    let current = place.path().join("current");
    for release in ["41", "42"] {
        fs::create_dir(place.path().join(release)).unwrap();
        fs::write(place.path().join(release).join("index.html"), release).unwrap();
    }
    symlink("41", &current).unwrap();
    let words = ["--watch", "--port", "0", "--accel", "tcg"];
    let mut command = start(&words, &current);
    let mut lines = lines_of(&mut command.0);
    let first = address(&next_with(&mut lines, "serving "));
    let page = || Client::connect(first).unwrap().get("/").unwrap().body;
    assert_eq!(page(), b"41");

    symlink("42", place.path().join("new")).unwrap();
    fs::rename(place.path().join("new"), &current).unwrap();
    assert_eq!(address(&next_with(&mut lines, "serving ")), first);
    assert_eq!(page(), b"42");

    let out = qemu::workspace::out_dir().unwrap();
    let image = out.join(format!("running-{}.img", command.0.id()));
    assert!(image.exists());
    send(command.0.id(), Signal::INT);
    assert_eq!(command.0.wait().unwrap().code(), Some(0));
    assert!(!image.exists());
}

#[test]
fn the_admin_port_is_reached_behind_user_networking() {
    let _turn = guest::turn();
    guest::image();
    let folder = Folder::small();
    let words = ["--admin-port", "0", "--port", "0", "--accel", "tcg"];
    let mut command = start(&words, folder.path());
    let mut lines = lines_of(&mut command.0);
    let served = address(&next_with(&mut lines, "serving "));
    let admin = address(&next_with(&mut lines, "admin port at "));
    assert_ne!(served, admin);
    let ask = |request: &str| {
        let mut client = Client::connect(admin).unwrap();
        client.send(request.as_bytes()).unwrap();
        client.head().unwrap().status
    };
    assert_eq!(ask("GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n"), 200);
    let from_a_page = "POST /drain HTTP/1.1\r\nHost: a\r\nOrigin: http://a\r\n\r\n";
    assert_eq!(ask(from_a_page), 403);
    assert_eq!(ask("POST /drain HTTP/1.1\r\nHost: a\r\n\r\n"), 202);
    assert_eq!(command.0.wait().unwrap().code(), Some(0));
}
