//! The flags of `run`, and the commands beside it, as README promises them.

use crate::folder::Folder;
use crate::guest;
use crate::namespace::Namespace;
use crate::runner::{self, COMMAND, Runner, get};
use crate::skip::{skip, tell_skipped};
use qemu::accel;
use qemu::backend::free_port;
use qemu::workspace;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Runs the command to its end; it must succeed. Returns what it said on stdout.
fn succeeds(words: &[&str], site: &Path) -> String {
    guest::image();
    let output = Command::new(COMMAND).args(words).arg(site).output();
    let output = output.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{words:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn build_makes_the_image_where_it_says() {
    let _turn = guest::turn();
    guest::image();
    let output = Command::new(COMMAND).arg("build").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let elf = workspace::root().join("out/sluice.elf");
    let expected = elf.canonicalize().unwrap();
    assert_eq!(text, format!("{}\n", expected.display()));
    assert!(fs::read(&elf).unwrap().starts_with(b"\x7fELF"));
}

#[test]
fn a_dry_run_prints_a_command_that_serves_when_it_is_pasted() {
    let _turn = guest::turn();
    let place = tempfile::tempdir().unwrap();
    // Words that a shell would take apart.
    let site = place.path().join(format!("it's {}", std::process::id()));
    fs::create_dir(&site).unwrap();
    fs::write(site.join("index.html"), "<!doctype html>pasted").unwrap();
    let port = free_port().unwrap();
    let number = port.to_string();
    let append = "log=debug keep-alive=600";
    let words = ["--dry-run", "--port", &number, "--append", append];
    let line = succeeds(&[&["--accel", "tcg"][..], &words].concat(), &site);
    assert_eq!(line.lines().count(), 1, "{line}");
    let _image = images_of(&site);

    let shell = format!("exec {}", line.trim_end());
    let mut pasted = Runner::start(
        Command::new("sh")
            .args(["-c", &shell])
            .current_dir(place.path()),
    );
    pasted.says("sluice: ready http://");
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    assert_eq!(get(address, "/").body, b"<!doctype html>pasted");
    let curl = Command::new("curl")
        .args(["-sS", "--max-time", "20", &format!("http://{address}/")])
        .output()
        .expect("no curl");
    assert_eq!(curl.stdout, b"<!doctype html>pasted", "{curl:?}");
}

/// Returns what a dry run has left for its command, to be removed.
fn images_of(site: &Path) -> Vec<qemu::pack::Transient> {
    let name = site.file_name().unwrap().to_str().unwrap();
    let out = fs::read_dir(workspace::out_dir().unwrap()).unwrap();
    let files = out.map(|entry| entry.unwrap().path());
    let is_it = |file: &PathBuf| {
        let own = file.file_name().unwrap().to_string_lossy();
        own.starts_with(name) && own.ends_with(".img")
    };
    let found: Vec<_> = files.filter(is_it).map(qemu::pack::Transient).collect();
    assert_eq!(found.len(), 1, "one image");
    found
}

#[test]
fn flags_say_what_is_built_and_where_it_is_served_and_verbose_shows_every_step() {
    let _turn = guest::turn();
    let folder = Folder::small();
    for number in 0..8 {
        fs::write(folder.path().join(format!("{number}.what")), "x").unwrap();
    }
    let words = "--machine q35 --cores 2 --bind 127.0.0.2 --port 0 --memory 96 --accel tcg";
    let words: Vec<&str> = words.split(' ').collect();
    let append = ["--append", "log=debug", "--verbose"];
    let mut runner = Runner::sluice(&[&words[..], &append].concat(), folder.path());
    let (address, rest) = runner.serves();
    assert!(address.to_string().starts_with("127.0.0.2:"), "{address}");
    assert!(rest.ends_with(" ms, 2 cores, tcg, q35)"), "{rest}");
    assert_eq!(get(address, "/").body, folder.files[0].content);
    let elsewhere = SocketAddr::from(([127, 0, 0, 1], address.port()));
    assert!(TcpStream::connect(elsewhere).is_err(), "bound to one");

    assert_eq!(runner.said().len(), 1, "the line comes first");
    // The serial log is behind it, from its start.
    runner.says("sluice: ready http://");
    let log = runner.said()[1..].join("\n");
    assert!(log.contains(" DEBUG virtio: Network at pci "), "{log}");

    runner.is_interrupted();
    let steps = runner.complaints().join("\n");
    for part in [
        "packed 12 files",
        "qemu-system-x86_64 ",
        "-M q35",
        "-smp 2 -m 96M",
    ] {
        assert!(steps.contains(part), "{part} is missing:\n{steps}");
    }
    for number in 0..8 {
        assert!(steps.contains(&format!("{number}.what: type not known")));
    }
}

#[test]
fn a_tap_is_served_on_with_as_many_queues_as_it_has() {
    let _turn = guest::turn();
    let folder = Folder::small();
    for (queues, flags) in [(1, &[][..]), (2, &["--cores", "2", "--rss"])] {
        let is_done = Namespace::with(queues, |namespace| {
            let net = format!("tap={}", namespace.tap());
            let ip = format!("ip={}/24", Namespace::GUEST);
            let words = ["--accel", "tcg", "--net", &net, "--append", &ip];
            guest::image();
            let mut command = namespace.command(COMMAND);
            command.args(words).args(flags).arg(folder.path());
            let mut runner = Runner::start(&mut command);
            let (address, rest) = runner.serves();
            assert_eq!(address.to_string(), format!("{}:80", Namespace::GUEST));
            let particulars = format!(" ms, {queues} cores, tcg, microvm)");
            assert!(rest.ends_with(&particulars), "{rest}");
            assert_eq!(get(address, "/").body, folder.files[0].content);
            let ready = runner.says("sluice: ready http://");
            assert!(ready.ends_with(&format!(" queues={queues}")), "{ready}");
            runner.is_interrupted();
        });
        if !is_done {
            return;
        }
    }
}

#[test]
fn kvm_is_taken_where_the_image_runs_on_it() {
    let _turn = guest::turn();
    if !accel::is_kvm_working(guest::image()) {
        return tell_skipped("needs a KVM that runs the image");
    }
    let folder = Folder::small();
    for accel in ["auto", "kvm"] {
        let words = ["--port", "0", "--accel", accel];
        let mut runner = Runner::sluice(&words, folder.path());
        let (address, rest) = runner.serves();
        assert!(rest.ends_with(" ms, 1 cores, kvm, microvm)"), "{rest}");
        assert_eq!(get(address, "/").body, folder.files[0].content);
        runner.is_interrupted();
    }
}

/// A shell script that runs its arguments where `/dev` has the usual files and no `kvm`.
const WITHOUT_KVM: &str = r#"
    set -e
    mount -t tmpfs none "$0"
    for file in null zero full random urandom tty; do
        touch "$0/$file"
        mount --bind "/dev/$file" "$0/$file"
    done
    for name in fd:fd stdin:fd/0 stdout:fd/1 stderr:fd/2; do
        ln -s "/proc/self/${name#*:}" "$0/${name%:*}"
    done
    mount --move "$0" /dev
    exec "$@""#;

#[test]
fn without_kvm_auto_is_tcg_and_kvm_is_refused_with_what_to_do() {
    let _turn = guest::turn();
    let folder = Folder::small();
    let place = tempfile::tempdir().unwrap();
    let without_kvm = |accel: &str| {
        guest::image();
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--", "sh", "-c", WITHOUT_KVM])
            .arg(place.path())
            .args([COMMAND, "--port", "0", "--accel", accel])
            .arg(folder.path());
        command
    };
    let probe = Command::new("unshare").args(["--mount", "true"]).output();
    if !probe.is_ok_and(|output| output.status.success()) {
        return skip("needs root, to make a /dev without kvm");
    }
    let refused = without_kvm("kvm").output().unwrap();
    let text = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(2), "{text}");
    let expected = "sluice: --accel kvm: cannot open /dev/kvm: No such file or directory (os error \
                    2); use --accel tcg, or get access to it";
    assert_eq!(text.lines().next_back(), Some(expected));

    let mut runner = Runner::start(&mut without_kvm("auto"));
    let (address, rest) = runner.serves();
    assert!(rest.ends_with(" ms, 1 cores, tcg, microvm)"), "{rest}");
    assert_eq!(get(address, "/").body, folder.files[0].content);
    runner.is_interrupted();
}

#[test]
fn user_networking_needs_no_privilege() {
    let _turn = guest::turn();
    guest::image();
    let folder = Folder::small();
    // Root gives up everything that makes it more than the owner of these files.
    let mut command = match rustix::process::geteuid().is_root() {
        true => {
            let mut command = Command::new("setpriv");
            command.args(["--bounding-set=-all", "--inh-caps=-all", "--", COMMAND]);
            command
        }
        false => Command::new(COMMAND),
    };
    command
        .args(["--port", "0", "--accel", "tcg"])
        .arg(folder.path());
    let mut runner = Runner::start(&mut command);
    let (address, _) = runner.serves();
    assert_eq!(get(address, "/").body, folder.files[0].content);
    let qemu = runner::children(runner.pid());
    let status = fs::read_to_string(format!("/proc/{}/status", qemu[0])).unwrap();
    assert!(status.contains("CapEff:\t0000000000000000"), "{status}");
    runner.is_interrupted();
}

#[test]
fn a_guest_that_does_not_answer_in_the_time_given_is_ended() {
    let _turn = guest::turn();
    let folder = Folder::small();
    // Ready, and where the forwarded port does not lead.
    let words = ["--port", "0", "--accel", "tcg", "--timeout", "4"];
    let words = [&words[..], &["--append", "ip=fd00::2/64"]].concat();
    let started = Instant::now();
    let mut runner = Runner::sluice(&words, folder.path());
    assert_eq!(runner.ends(), Some(1));
    // Long before the default of 60 s, on a slow machine too.
    let took = started.elapsed();
    assert!((4..30).contains(&took.as_secs()), "{took:?}");
    assert!(runner.said().is_empty(), "{:?}", runner.said());
    let last = runner.complaints().last().unwrap();
    assert!(
        last.contains("is ready, but 127.0.0.1:") || last.contains("not ready after 4 s"),
        "{last}"
    );
}

/// Asks a gdb server, and returns its answer without frame and checksum.
fn ask(server: &mut TcpStream, question: &str) -> String {
    let sum = question.bytes().fold(0_u8, u8::wrapping_add);
    write!(server, "${question}#{sum:02x}").unwrap();
    let mut answer = String::new();
    let mut byte = [0];
    while !answer.contains('#') {
        server.read_exact(&mut byte).unwrap();
        answer.push(char::from(byte[0]));
    }
    let (_, answer) = answer.split_once('$').expect("a frame");
    answer.trim_end_matches('#').to_owned()
}

#[test]
fn gdb_boots_stopped_and_prints_a_line_with_a_server_and_symbols() {
    let _turn = guest::turn();
    let folder = Folder::small();
    let port = free_port().unwrap();
    let number = port.to_string();
    let words = ["gdb", "--port", &number, "--accel", "tcg"];
    let mut runner = Runner::sluice(&words, folder.path());
    let line = runner.says("gdb ");
    let (elf, rest) = line
        .strip_prefix("gdb ")
        .unwrap()
        .split_once(" -ex '")
        .unwrap();
    let server = rest.strip_prefix("target remote ").unwrap();
    let server = server.strip_suffix('\'').unwrap();

    let symbols = Command::new("nm").arg(elf).output().expect("no nm");
    let symbols = String::from_utf8(symbols.stdout).unwrap();
    assert!(symbols.contains(" sluice_pvh_entry\n"), "{elf}: {symbols}");

    let mut stub = TcpStream::connect(server).unwrap();
    stub.set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    // Why it is stopped: a signal's number, and perhaps more.
    let answer = ask(&mut stub, "?");
    assert!(
        answer.starts_with('T') || answer.starts_with('S'),
        "{answer}"
    );
    assert!(!runner.said().iter().any(|line| line.contains("ready")));
    // `continue`, which is answered when it stops again.
    stub.write_all(b"+$c#63").unwrap();
    runner.says("sluice: ready http://");
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    assert_eq!(get(address, "/").body, folder.files[0].content);
    runner.is_interrupted();
}
