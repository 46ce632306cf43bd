//! A network namespace of the bench's own with one tap, removed when dropped. All traffic of a
//! measurement stays inside it.

use crate::Error;
use std::process::{Command, Stdio};

/// The host's address on the tap.
pub(crate) const HOST: &str = "10.78.0.1";
/// The guest's address.
pub(crate) const GUEST: &str = "10.78.0.2";
/// The guest's station address.
pub(crate) const GUEST_MAC: &str = "52:54:00:77:00:02";
/// The tap's name inside the namespace.
pub(crate) const TAP: &str = "tap0";

/// A namespace with [`TAP`] up at [`HOST`], and the guest's neighbour entry permanent, so that no
/// ARP retry blurs the time to the first answer.
pub(crate) struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes the namespace, with a tap of so many queues; needs root.
    pub(crate) fn create(queues: u32) -> Result<Self, Error> {
        let several = if queues > 1 {
            "multi_queue"
        } else {
            "one_queue"
        };
        let name = format!("sluice-bench-{}", std::process::id());
        run(&["ip", "netns", "add", &name])?;
        let namespace = Namespace { name };
        let n = namespace.name.as_str();
        let address = format!("{HOST}/24");
        for step in [
            &["ip", "-n", n, "link", "set", "lo", "up"][..],
            &[
                "ip",
                "netns",
                "exec",
                n,
                "sysctl",
                "-qw",
                "net.ipv6.conf.default.disable_ipv6=1",
            ],
            &[
                "ip",
                "netns",
                "exec",
                n,
                "sysctl",
                "-qw",
                "net.ipv4.tcp_tw_reuse=1",
            ],
            &[
                "ip",
                "netns",
                "exec",
                n,
                "sysctl",
                "-qw",
                "net.ipv4.ip_local_port_range=1024 65000",
            ],
            &[
                "ip", "-n", n, "tuntap", "add", "dev", TAP, "mode", "tap", "vnet_hdr", several,
            ],
            &["ip", "-n", n, "addr", "add", &address, "dev", TAP],
            &["ip", "-n", n, "link", "set", TAP, "up"],
            &[
                "ip", "-n", n, "neigh", "replace", GUEST, "lladdr", GUEST_MAC, "dev", TAP,
            ],
        ] {
            run(step)?;
        }
        Ok(namespace)
    }

    /// Gives the host one more address on the tap.
    pub(crate) fn add_address(&self, address: &str) -> Result<(), Error> {
        let address = format!("{address}/24");
        run(&["ip", "-n", &self.name, "addr", "add", &address, "dev", TAP])
    }

    /// Returns how many frames the guest was sent.
    pub(crate) fn frames_sent(&self) -> Result<u64, Error> {
        // `ip netns exec` shows the namespace's own /sys.
        let file = format!("/sys/class/net/{TAP}/statistics/tx_packets");
        let output = self.command("cat").arg(file).output()?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().parse()?)
    }

    /// Returns a command that runs `program` inside the namespace.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.name, program])
            .stdin(Stdio::null());
        command
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = run(&["ip", "netns", "del", &self.name]);
    }
}

fn run(words: &[&str]) -> Result<(), Error> {
    let output = Command::new(words[0])
        .args(&words[1..])
        .stdin(Stdio::null())
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!(
        "{}: {}",
        words.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    )
    .into())
}
