//! README's QEMU line, started by hand by a user without any privilege: it serves, and QEMU's exit code
//! says how the guest ended.

use crate::folder::Folder;
use crate::guest;
use crate::runner::{Runner, get};
use crate::skip::tell_skipped;
use qemu::accel;
use qemu::backend::free_port;
use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Returns the QEMU line that README shows.
pub(crate) fn readme_line() -> String {
    let readme = fs::read_to_string(qemu::workspace::root().join("README.md")).unwrap();
    readme
        .split("```")
        .find_map(|block| block.find("qemu-system-x86_64 ").map(|at| &block[at..]))
        .expect("README shows no QEMU line")
        .to_owned()
}

/// The line, and a folder of the image, a packed site and QEMU's monitor.
struct ByHand {
    place: tempfile::TempDir,
    folder: Folder,
    line: String,
    port: u16,
}

impl ByHand {
    fn new() -> Self {
        let line = readme_line();
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::small();
        let options = qemu::pack_flags::for_trying_out();
        let site = place.path().join("site.img");
        qemu::pack::pack(folder.path(), &site, &options).unwrap();
        fs::create_dir(place.path().join("out")).unwrap();
        let elf = place.path().join("out/sluice.elf");
        fs::copy(&guest::image().elf, elf).unwrap();
        open_to_all(place.path());
        let port = free_port().unwrap();
        let forwarded = line.replace(":8080-", &format!(":{port}-"));
        assert_ne!(forwarded, line, "README forwards port 8080");
        ByHand {
            place,
            folder,
            line: forwarded.trim_end().to_owned(),
            port,
        }
    }

    /// Puts other words in the place of README's.
    fn with(mut self, words: &str, instead: &str) -> Self {
        assert!(self.line.contains(words), "README does not say {words}");
        self.line = self.line.replace(words, instead);
        self
    }

    /// Adds a monitor, to press the power button, and starts it.
    fn start(&self, is_nobody: bool) -> Runner {
        let monitor = self.monitor();
        let shell = format!(
            "exec {} -qmp unix:{},server=on,wait=off",
            self.line,
            monitor.display()
        );
        let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups", "--"];
        let is_nobody = is_nobody && rustix::process::geteuid().is_root();
        let mut command = Command::new(if is_nobody { "setpriv" } else { "sh" });
        if is_nobody {
            command.args(nobody).arg("sh");
        }
        Runner::start(command.args(["-c", &shell]).current_dir(self.place.path()))
    }

    fn monitor(&self) -> PathBuf {
        self.place.path().join("monitor")
    }

    /// Waits until it serves, presses its power button, and returns how QEMU ended.
    fn serves_until_it_is_powered_off(&self, is_nobody: bool) -> Option<i32> {
        let mut by_hand = self.start(is_nobody);
        by_hand.says("sluice: ready http://");
        let address = SocketAddr::from(([127, 0, 0, 1], self.port));
        assert_eq!(get(address, "/").body, self.folder.files[0].content);
        let mut monitor = UnixStream::connect(self.monitor()).unwrap();
        let words = r#"{"execute":"qmp_capabilities"} {"execute":"system_powerdown"}"#;
        monitor.write_all(words.as_bytes()).unwrap();
        by_hand.ends()
    }
}

/// Lets everybody read and write in a folder.
fn open_to_all(folder: &Path) {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).unwrap();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => open_to_all(&path),
            false => fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap(),
        }
    }
}

#[test]
fn qemu_by_hand_needs_no_privilege_and_ends_with_33_when_the_guest_stopped_as_asked() {
    let _turn = guest::turn();
    let by_hand = ByHand::new();
    assert_eq!(by_hand.serves_until_it_is_powered_off(true), Some(33));
}

#[test]
fn qemu_by_hand_ends_with_35_when_the_guest_failed() {
    let _turn = guest::turn();
    let by_hand = ByHand::new().with("log=info", "crash=panic");
    let mut failing = by_hand.start(true);
    assert_eq!(failing.ends(), Some(35));
    let said = failing.said();
    assert!(
        said.iter().any(|line| line.contains("sluice: CRASH")),
        "{said:?}"
    );
}

#[test]
fn qemu_by_hand_does_the_same_on_kvm() {
    let _turn = guest::turn();
    if !accel::is_kvm_working(guest::image()) {
        return tell_skipped("needs a KVM that runs the image");
    }
    let by_hand = ByHand::new().with("-cpu max", "-accel kvm -cpu host,-arch-capabilities");
    assert_eq!(by_hand.serves_until_it_is_powered_off(false), Some(33));
    let by_hand = by_hand.with("log=info", "crash=panic");
    assert_eq!(by_hand.start(false).ends(), Some(35));
}
