//! Packet scripts: one behaviour of TCP in each `*.pkt` beside this file, played against a stack in
//! virtual time. A script that fails leaves its frames as `sluice-script-NAME.pcap` in the folder
//! for temporary files; `SLUICE_SCRIPT=NAME` plays that one alone.
//!
//! A script is a line for each thing that happens, in order; `#` begins a comment.
//!
//! ```text
//! < S 0:0(0) win 65535 <mss 1460, sack, ts 100 0, ws 7>    the peer sends
//! > S. 0:0(0) ack 1 <mss 1460, *>                          the stack sends, now and nothing else
//! +1s > S. 0:0(0) ack 1                                    the stack sends, in a second and not before
//! +10ms                                                    time passes and nothing is sent
//! send 1000                                                the layer above does something
//! ```
//!
//! Numbers are relative: the peer's to its first, the stack's to that of its first SYN, timestamps of
//! the stack to its first. What an expected segment leaves away (`ack`, `win`, options) is not
//! looked at; a `*` in options stands for any others, and for a timestamp. Bytes are those of one
//! stream each way, and are compared. Flags are letters: S F R P U E C, and `.` for ACK.
//!
//! Before the first segment: `mtu N`, `window N`, `connections N`, `backlog N`, `keep-alive TIME`.
//! The layer above: `accept`, `connect`, `send N`, `receive N` (there are that many and they are right),
//! `finished` (the peer has), `shutdown`, `release`, `abort`, `closed REASON` (it is told), `connected`,
//! `open` (nothing has ended it). A router: `too-big SEQUENCE MTU`. Besides: `counter NAME N`, `port N` (of the peer, from here on),
//! `again` (the stack's next SYN is of a new connection).

mod player;
mod script;
mod wire;

use std::path::{Path, PathBuf};

fn scripts() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let entries = std::fs::read_dir(folder).expect("the folder of scripts");
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "pkt"))
        .collect();
    paths.sort();
    paths
}

#[test]
fn scripts_play_as_they_are_written() {
    let only = std::env::var("SLUICE_SCRIPT").ok();
    let mut failed = Vec::new();
    let mut played = 0;
    for path in scripts() {
        let name = path.file_stem().expect("a name").display().to_string();
        if only.as_ref().is_some_and(|only| *only != name) {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("readable");
        played += 1;
        for is_over_ipv6 in [false, true] {
            let name = format!("{name}{}", if is_over_ipv6 { ", IPv6" } else { "" });
            let play = {
                let (name, text) = (name.clone(), text.clone());
                std::thread::spawn(move || player::play(&name, &text, is_over_ipv6))
            };
            if play.join().is_err() {
                failed.push(name);
            }
        }
    }
    assert!(played > 0, "no script");
    assert!(
        failed.is_empty(),
        "{} of {played}: {failed:?}",
        failed.len()
    );
}

#[test]
fn every_script_names_its_specification() {
    for path in scripts() {
        let text = std::fs::read_to_string(&path).expect("readable");
        let head = text.lines().next().unwrap_or_default();
        let names_one = head.starts_with("# ") && head.contains("RFC ") && head.contains('§');
        assert!(names_one, "{}: {head}", path.display());
    }
}
