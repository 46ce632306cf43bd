//! The machine to be emulated, and the QEMU command line that makes it.
//!
//! Upstream: the options, resolved (accelerator chosen, port found, memory fitted). Downstream:
//! [`Guest`](crate::guest::Guest). Pure: the same [`Machine`] is always the same command.

use crate::options::MachineKind;
use crate::prerequisites::QEMU;
use std::ffi::{OsStr, OsString};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;

/// The host's processor, without an MSR of promises about flaws that nothing in the guest reads, and
/// that a KVM inside another may announce and not be able to set.
const KVM_PROCESSOR: &str = "host,-arch-capabilities";

/// Port of QEMU's `isa-debug-exit`, to which the image writes its exit status.
pub const EXIT_PORT: &str = "isa-debug-exit,iobase=0xf4,iosize=4";

/// How QEMU runs the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accel {
    /// The processor's own virtualisation.
    Kvm,
    /// Translation.
    Tcg,
}

impl Accel {
    /// Returns QEMU's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Accel::Kvm => "kvm",
            Accel::Tcg => "tcg",
        }
    }
}

impl MachineKind {
    /// Returns QEMU's name for it.
    pub fn name(self) -> &'static str {
        match self {
            MachineKind::Microvm => "microvm",
            MachineKind::Q35 => "q35",
        }
    }
}

/// How virtio devices are attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Memory-mapped, on microvm only; one queue pair.
    Mmio,
    /// PCI Express with MSI-X.
    Pci,
}

/// What the network device is connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Net {
    /// QEMU's own NAT, with `host` forwarded to the guest.
    User {
        /// Address and port on this machine.
        host: SocketAddrV4,
        /// The guest's address if the kernel command line sets it.
        guest_address: Option<Ipv4Addr>,
        /// The guest's port.
        guest_port: u16,
    },
    /// A tap interface.
    Tap {
        /// Its name.
        interface: String,
        /// Queue pairs.
        queues: u32,
    },
    /// No network device.
    None,
}

/// A port of this machine that leads to the guest's admin port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdminForward {
    /// Address and port on this machine.
    pub host: SocketAddrV4,
    /// The guest's port.
    pub guest_port: u16,
}

impl Net {
    /// Returns the number of queue pairs of the device.
    pub fn queues(&self) -> u32 {
        match self {
            Net::Tap { queues, .. } => *queues,
            Net::User { .. } | Net::None => 1,
        }
    }
}

/// A machine with its image, site and network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// What is built around the processors.
    pub kind: MachineKind,
    /// How virtio devices are attached; `Pci` on q35 whatever is said here.
    pub transport: Transport,
    /// How the instructions are run.
    pub accel: Accel,
    /// QEMU's model of a processor; `None` for all that the accelerator has.
    pub processor: Option<&'static str>,
    /// Processors.
    pub cores: u32,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// The network.
    pub net: Net,
    /// With user networking, what leads to the guest's admin port.
    pub admin: Option<AdminForward>,
    /// Whether a network device with several queue pairs offers receive-side scaling.
    pub has_rss: bool,
    /// Whether there is a virtio-rng device, for processors without RDRAND.
    pub has_entropy_device: bool,
    /// Where every frame is written, as a pcap file; for one queue pair only.
    pub pcap: Option<PathBuf>,
    /// The image.
    pub kernel: PathBuf,
    /// The packed site.
    pub site: Option<PathBuf>,
    /// The kernel command line.
    pub append: String,
    /// Boot stopped, with a gdb server on this loopback port.
    pub gdb_port: Option<u16>,
    /// Arguments of QEMU's for what is not here, as they are.
    pub more: Vec<String>,
}

impl Machine {
    /// Makes a machine with one core, 128 MiB, under TCG, without network or site.
    pub fn new(kernel: impl Into<PathBuf>) -> Self {
        Machine {
            kind: MachineKind::Microvm,
            transport: Transport::Mmio,
            accel: Accel::Tcg,
            processor: None,
            cores: 1,
            memory_mib: 128,
            net: Net::None,
            admin: None,
            has_rss: false,
            has_entropy_device: false,
            pcap: None,
            kernel: kernel.into(),
            site: None,
            append: String::new(),
            gdb_port: None,
            more: Vec::new(),
        }
    }

    /// Returns whether virtio devices are on PCI: where the machine or several queues need it.
    pub fn is_pci(&self) -> bool {
        self.kind == MachineKind::Q35 || self.transport == Transport::Pci || self.net.queues() > 1
    }

    /// Returns QEMU's name and options for the machine.
    fn machine_option(&self) -> &'static str {
        // KVM leaves microvm without a clock chip unless it is asked for: the Date header needs it.
        match (self.kind, self.is_pci()) {
            (MachineKind::Q35, _) => "q35",
            (MachineKind::Microvm, false) => "microvm,rtc=on",
            (MachineKind::Microvm, true) => "microvm,rtc=on,pcie=on",
        }
    }

    /// Returns QEMU's arguments, for a terminal: the guest's serial line is there.
    pub fn arguments(&self) -> Vec<OsString> {
        let mut words = Words::default();
        words.add("-serial", "stdio");
        self.add_all(&mut words);
        words.0
    }

    /// Returns QEMU's arguments for a program that started it: the guest's serial line goes to its
    /// standard output, and its standard input is a socket that QMP is spoken on.
    pub fn controlled_arguments(&self) -> Vec<OsString> {
        let mut words = Words::default();
        words
            .add("-serial", "file:/dev/stdout")
            .add("-chardev", "socket,id=control,fd=0")
            .add("-mon", "chardev=control,mode=control");
        self.add_all(&mut words);
        words.0
    }

    fn add_all(&self, words: &mut Words) {
        words.add("-M", self.machine_option());
        let (accel, all) = match (self.accel, self.cores) {
            (Accel::Kvm, _) => ("kvm", KVM_PROCESSOR),
            (Accel::Tcg, 1) => ("tcg", "max"),
            (Accel::Tcg, _) => ("tcg,thread=multi", "max"),
        };
        words
            .add("-accel", accel)
            .add("-cpu", self.processor.unwrap_or(all));
        words
            .add("-smp", self.cores.to_string())
            .add("-m", format!("{}M", self.memory_mib))
            .flag("-nodefaults")
            .flag("-no-user-config")
            .flag("-no-reboot")
            .add("-display", "none")
            .add("-device", EXIT_PORT);
        if !self.is_pci() {
            words.add("-global", "virtio-mmio.force-legacy=false");
        }
        self.add_net(words);
        if let Some(file) = &self.pcap {
            // A comma in a value is written twice.
            let file = file.to_string_lossy().replace(',', ",,");
            words.add(
                "-object",
                format!("filter-dump,id=dump0,netdev=net0,file={file}"),
            );
        }
        if self.has_entropy_device {
            words
                .add("-object", "rng-random,id=rng0,filename=/dev/urandom")
                .add("-device", format!("virtio-rng-{},rng=rng0", self.bus()));
        }
        words.add("-kernel", &self.kernel);
        if let Some(site) = &self.site {
            words.add("-initrd", site);
        }
        if !self.append.is_empty() {
            words.add("-append", &self.append);
        }
        if let Some(port) = self.gdb_port {
            words
                .flag("-S")
                .add("-gdb", format!("tcp:127.0.0.1:{port}"));
        }
        words.0.extend(self.more.iter().map(OsString::from));
    }

    fn add_net(&self, words: &mut Words) {
        match &self.net {
            Net::None => {}
            Net::User {
                host,
                guest_address,
                guest_port,
            } => {
                let guest = guest_address.map_or(String::new(), |address| address.to_string());
                let forward = |host: &SocketAddrV4, guest_port: u16| {
                    format!(",hostfwd=tcp:{host}-{guest}:{guest_port}")
                };
                let mut backend = "user,id=net0".to_owned();
                backend.push_str(&forward(host, *guest_port));
                if let Some(admin) = &self.admin {
                    backend.push_str(&forward(&admin.host, admin.guest_port));
                }
                words
                    .add("-netdev", backend)
                    .add("-device", format!("virtio-net-{},netdev=net0", self.bus()));
            }
            Net::Tap { interface, queues } => {
                let mut backend =
                    format!("tap,id=net0,ifname={interface},script=no,downscript=no,vhost=off");
                let mac = mac_for(interface);
                let mut device = format!("virtio-net-{},netdev=net0,mac={mac}", self.bus());
                if *queues > 1 {
                    backend.push_str(&format!(",queues={queues}"));
                    // A vector for each queue of each pair, one for control, one for changes.
                    let rss = if self.has_rss { ",rss=on" } else { "" };
                    device.push_str(&format!(",mq=on{rss},vectors={}", 2 * queues + 2));
                }
                words.add("-netdev", backend).add("-device", device);
            }
        }
    }

    /// Returns the last part of the names of QEMU's virtio devices.
    fn bus(&self) -> &'static str {
        if self.is_pci() { "pci" } else { "device" }
    }

    /// Returns the whole command as a line for a shell.
    pub fn shell_line(&self) -> String {
        let mut line = QEMU.name.to_owned();
        for word in self.arguments() {
            line.push(' ');
            line.push_str(&quoted(&word));
        }
        line
    }
}

/// QEMU's arguments as they are put together.
#[derive(Default)]
struct Words(Vec<OsString>);

impl Words {
    fn add(&mut self, option: &str, value: impl AsRef<OsStr>) -> &mut Self {
        self.0.push(option.into());
        self.0.push(value.as_ref().to_owned());
        self
    }

    fn flag(&mut self, option: &str) -> &mut Self {
        self.0.push(option.into());
        self
    }
}

/// Makes a locally administered address from the tap's name, so that two guests on one bridge
/// differ (QEMU's own default is the same for all). FNV-1a.
fn mac_for(interface: &str) -> String {
    let hash = interface.bytes().fold(0x811c_9dc5u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    let [_, a, b, c] = hash.to_be_bytes();
    format!("52:54:00:{a:02x}:{b:02x}:{c:02x}")
}

/// Writes a word so that a shell reads it as one.
pub(crate) fn quoted(word: &OsStr) -> String {
    let text = word.to_string_lossy();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_=+,.:/@%".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_plain) {
        return text.into_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
