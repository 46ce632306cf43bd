//! A QEMU process under measurement: killed when dropped, its instruction count readable.

use crate::Error;
use crate::namespace::{GUEST_MAC, Namespace, TAP};
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, SystemTime};

/// What to boot; everything else (TCG, the tap) is the same for every system.
pub(crate) struct Image<'a> {
    /// `-M`, with its options.
    pub(crate) machine: &'a str,
    /// `-m`, in MiB.
    pub(crate) memory_mib: u32,
    /// `-kernel`.
    pub(crate) kernel: &'a Path,
    /// `-initrd`.
    pub(crate) initrd: &'a Path,
    /// `-append`.
    pub(crate) append: &'a str,
    /// The network device model; on PCI for several cores.
    pub(crate) device: &'a str,
    /// Processors, with a queue pair each.
    pub(crate) cores: u32,
}

/// A running guest.
pub(crate) struct Vm {
    qemu: Child,
    counter: Option<PathBuf>,
    /// When QEMU was started.
    pub(crate) started: SystemTime,
}

impl Vm {
    /// Starts QEMU in `namespace`; with `plugin`, which counts, what it tells can be read.
    pub(crate) fn boot(
        image: &Image<'_>,
        namespace: &Namespace,
        work: &Path,
        plugin: Option<&Path>,
    ) -> Result<Self, Error> {
        let mut command = namespace.command("qemu-system-x86_64");
        let (threads, backend, device) = match image.cores {
            1 => ("tcg,thread=single", String::new(), String::new()),
            cores => (
                "tcg,thread=multi",
                format!(",queues={cores}"),
                format!(",mq=on,rss=on,vectors={}", 2 * cores + 2),
            ),
        };
        command
            .args(["-M", image.machine, "-accel", threads, "-cpu", "max"])
            .args([
                "-smp",
                &image.cores.to_string(),
                "-m",
                &image.memory_mib.to_string(),
            ])
            .args([
                "-nodefaults",
                "-no-user-config",
                "-no-reboot",
                "-display",
                "none",
            ])
            .arg("-serial")
            .arg(format!("file:{}", work.join("serial.log").display()))
            .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=4"])
            .args(["-global", "virtio-mmio.force-legacy=false"])
            .arg("-kernel")
            .arg(image.kernel)
            .arg("-initrd")
            .arg(image.initrd)
            .args(["-append", image.append])
            .args([
                "-netdev",
                &format!("tap,id=n0,ifname={TAP},script=no,downscript=no,vhost=off{backend}"),
            ])
            .args([
                "-device",
                &format!("{},netdev=n0,mac={GUEST_MAC}{device}", image.device),
            ])
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(work.join("qemu.log"))?);
        let counter = plugin.map(|_| work.join("insns.sock"));
        if let (Some(plugin), Some(socket)) = (plugin, &counter) {
            command
                .arg("-plugin")
                .arg(format!("{},sock={}", plugin.display(), socket.display()));
        }
        let started = SystemTime::now();
        Ok(Vm {
            qemu: command.spawn()?,
            counter,
            started,
        })
    }

    /// Returns the guest instructions executed so far.
    pub(crate) fn instructions(&self) -> Result<u64, Error> {
        Ok(self.instructions_by_core()?.iter().sum())
    }

    /// Returns the guest instructions executed so far by each core.
    pub(crate) fn instructions_by_core(&self) -> Result<Vec<u64>, Error> {
        let mut counts = self
            .read_counter()?
            .split_whitespace()
            .map(str::parse)
            .collect::<Result<Vec<u64>, _>>()?;
        // The last is the sum.
        counts.pop().ok_or("empty count")?;
        Ok(counts)
    }

    /// Returns what the plugin tells.
    pub(crate) fn read_counter(&self) -> Result<String, Error> {
        let socket = self.counter.as_ref().ok_or("booted without a plugin")?;
        let mut told = String::new();
        UnixStream::connect(socket)?.read_to_string(&mut told)?;
        Ok(told)
    }

    /// Returns instructions per second of the idle guest, measured over two seconds.
    pub(crate) fn idle_rate(&self) -> Result<f64, Error> {
        let (before, start) = (self.instructions()?, std::time::Instant::now());
        std::thread::sleep(Duration::from_secs(2));
        Ok((self.instructions()? - before) as f64 / start.elapsed().as_secs_f64())
    }

    /// Returns QEMU's resident memory in KiB.
    pub(crate) fn resident_kib(&self) -> Result<u64, Error> {
        // `ip netns exec` replaces itself by QEMU, so the child is QEMU.
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.qemu.id()))?;
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .ok_or("no VmRSS")?;
        Ok(line.split_whitespace().nth(1).ok_or("no VmRSS")?.parse()?)
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}
