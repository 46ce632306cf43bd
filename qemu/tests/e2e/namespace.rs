//! A network namespace with a tap, entered by one thread and deleted when that thread is done.
//!
//! Threads and processes started from inside are inside too, QEMU among them.

use crate::skip::skip;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

/// The namespace the thread is in.
pub(crate) struct Namespace {
    name: String,
    queues: u32,
}

impl Namespace {
    /// The host's address on the tap.
    pub(crate) const HOST: &str = "10.77.0.1";
    const HOST_WITH_PREFIX: &str = "10.77.0.1/24";
    /// The guest's.
    pub(crate) const GUEST: &str = "10.77.0.2";
    /// The host's IPv6 address on the tap.
    pub(crate) const HOST_V6: &str = "fd77::1";
    const HOST_V6_WITH_PREFIX: &str = "fd77::1/64";
    /// The guest's, where it is fixed.
    pub(crate) const GUEST_V6: &str = "fd77::2";

    /// Runs `test` inside a new namespace whose tap has `queues` queues, and returns whether it was
    /// run: where that is not allowed it is skipped.
    pub(crate) fn with(queues: u32, test: impl FnOnce(&Namespace) + Send) -> bool {
        if !is_allowed() {
            skip("needs root and /dev/net/tun, to make a namespace with a tap");
            return false;
        }
        let result = thread::scope(|scope| {
            let inside = scope.spawn(|| {
                let namespace = Namespace::enter(queues);
                test(&namespace);
            });
            inside.join()
        });
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
        true
    }

    /// Makes the namespace and moves the calling thread into it.
    fn enter(queues: u32) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let namespace = Namespace {
            name: format!("sluice-t-{}-{count}", process::id()),
            queues,
        };
        ip(&["netns", "add", &namespace.name]);
        let file = File::open(format!("/run/netns/{}", namespace.name)).unwrap();
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        let tap = namespace.tap();
        let mut words = vec!["tuntap", "add", "dev", tap, "mode", "tap", "vnet_hdr"];
        if queues > 1 {
            words.push("multi_queue");
        }
        ip(&words);
        ip(&["link", "set", "lo", "up"]);
        ip(&["addr", "add", Self::HOST_WITH_PREFIX, "dev", tap]);
        let v6 = Self::HOST_V6_WITH_PREFIX;
        ip(&["addr", "add", v6, "dev", tap, "nodad"]);
        ip(&["link", "set", tap, "up", "txqueuelen", "1000"]);
        namespace
    }

    pub(crate) fn tap(&self) -> &'static str {
        "tap0"
    }

    /// The tap's number, by which link-local addresses are told apart.
    pub(crate) fn tap_index(&self) -> u32 {
        let output = Command::new("ip")
            .args(["-o", "link", "show", "dev", self.tap()])
            .output()
            .expect("no ip command");
        let text = String::from_utf8_lossy(&output.stdout);
        let number = text.split(':').next().and_then(|word| word.parse().ok());
        number.expect("a number")
    }

    pub(crate) fn queues(&self) -> u32 {
        self.queues
    }

    /// Returns a command that finds the namespace's devices in `/sys`, too, which shows those of the
    /// namespace in which it was mounted.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// Gives the host one more address on the tap, and returns it.
    pub(crate) fn add_client_address(&self, number: u8) -> String {
        let address = format!("10.77.0.{}", 100 + number);
        ip(&["addr", "add", &format!("{address}/24"), "dev", self.tap()]);
        address
    }

    /// Takes the host's addresses off the tap, which is put at the end of a wire, and returns them.
    pub(crate) fn give_up_addresses(&self) -> [&'static str; 2] {
        ip(&["addr", "flush", "dev", self.tap()]);
        [Self::HOST_WITH_PREFIX, Self::HOST_V6_WITH_PREFIX]
    }

    /// Tells the host the guest's station address, so that it does not have to ask.
    pub(crate) fn know_guest(&self, mac: &str) {
        let (guest, tap) = (Self::GUEST, self.tap());
        ip(&["neigh", "replace", guest, "lladdr", mac, "dev", tap]);
    }

    /// Takes the tap up or down.
    pub(crate) fn set_link(&self, state: &str) {
        ip(&["link", "set", self.tap(), state]);
    }

    /// Bounds the ports from which connections are made, both included.
    pub(crate) fn set_client_ports(&self, first: u16, last: u16) {
        // The file shows the namespace of the thread that opens it.
        let file = "/proc/sys/net/ipv4/ip_local_port_range";
        fs::write(file, format!("{first} {last}")).unwrap();
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        ip(&["netns", "del", &self.name]);
    }
}

fn is_allowed() -> bool {
    rustix::process::geteuid().is_root()
        && File::options()
            .read(true)
            .write(true)
            .open("/dev/net/tun")
            .is_ok()
        && Command::new("ip")
            .args(["netns", "list"])
            .output()
            .is_ok_and(|output| output.status.success())
}

fn ip(words: &[&str]) {
    let status = Command::new("ip")
        .args(words)
        .status()
        .expect("no ip command");
    assert!(status.success(), "ip {}: {status}", words.join(" "));
}
