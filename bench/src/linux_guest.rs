//! The Linux guest to compare with: Debian's cloud kernel, busybox and nginx in an initramfs.

use crate::Error;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Debian packages the guest is made of, and what they bring.
const PACKAGES: [(&str, &str); 4] = [
    ("linux-image-cloud-amd64", "/boot/vmlinuz-*-cloud-amd64"),
    ("busybox-static", "/usr/bin/busybox"),
    ("nginx-light", "/usr/sbin/nginx"),
    ("cpio", "/usr/bin/cpio"),
];

const APPLETS: [&str; 10] = [
    "sh", "mount", "ip", "insmod", "mkdir", "cat", "cp", "echo", "sleep", "ls",
];

const MODULES: [&str; 9] = [
    "net/core/failover",
    "drivers/net/net_failover",
    "drivers/virtio/virtio_ring",
    "drivers/virtio/virtio",
    "drivers/virtio/virtio_pci_modern_dev",
    "drivers/virtio/virtio_pci_legacy_dev",
    "drivers/virtio/virtio_pci",
    "drivers/virtio/virtio_mmio",
    "drivers/net/virtio_net",
];

/// The kernel and the initramfs, ready to boot.
pub(crate) struct LinuxGuest {
    /// `-kernel`.
    pub(crate) kernel: PathBuf,
    /// `-initrd`.
    pub(crate) initrd: PathBuf,
}

/// Installs the Debian packages that the Linux guest is made of, when they are missing.
pub(crate) fn install() -> Result<(), Error> {
    let missing: Vec<&str> = PACKAGES
        .iter()
        .filter(|(_, file)| !exists(file))
        .map(|(package, _)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    println!("installing {}", missing.join(" "));
    for words in [
        &["update", "-qq"][..],
        &[&["install", "-y", "-qq"], &missing[..]].concat(),
    ] {
        if !Command::new("apt-get")
            .args(words)
            .stdout(std::process::Stdio::null())
            .status()?
            .success()
        {
            return Err(format!(
                "run: apt-get update && apt-get install {}",
                missing.join(" ")
            )
            .into());
        }
    }
    Ok(())
}

fn exists(pattern: &str) -> bool {
    match pattern.split_once('*') {
        None => Path::new(pattern).exists(),
        Some((start, end)) => {
            let (folder, start) = start.rsplit_once('/').unwrap_or((".", start));
            std::fs::read_dir(folder)
                .into_iter()
                .flatten()
                .flatten()
                .any(|entry| {
                    let name = entry.file_name();
                    let name = name.to_string_lossy();
                    name.starts_with(start) && name.ends_with(end)
                })
        }
    }
}

/// Builds the guest in `work`, with the files of `site` as nginx's document root.
pub(crate) fn build(work: &Path, site: &Path) -> Result<LinuxGuest, Error> {
    let kernel = newest("/boot", |name| {
        name.starts_with("vmlinuz-") && name.ends_with("-cloud-amd64")
    })?;
    let release = kernel
        .to_string_lossy()
        .rsplit("vmlinuz-")
        .next()
        .unwrap_or("")
        .to_owned();
    let root = work.join("root");
    for folder in [
        "bin",
        "sbin",
        "dev",
        "proc",
        "sys",
        "tmp",
        "run",
        "www",
        "mod",
        "var/log/nginx",
    ] {
        fs::create_dir_all(root.join(folder))?;
    }
    for body in ["body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        fs::create_dir_all(root.join("var/lib/nginx").join(body))?;
    }
    place(Path::new("/usr/bin/busybox"), &root.join("bin/busybox"))?;
    for applet in APPLETS {
        let link = root.join("bin").join(applet);
        let _ = fs::remove_file(&link);
        symlink("busybox", link)?;
    }
    place_programs(&root)?;
    place(
        Path::new("/etc/nginx/mime.types"),
        &root.join("etc/nginx/mime.types"),
    )?;
    let modules = Path::new("/lib/modules").join(&release).join("kernel");
    for module in MODULES {
        let file = modules.join(format!("{module}.ko"));
        if file.exists() {
            place(
                &file,
                &root.join("mod").join(file.file_name().unwrap_or_default()),
            )?;
        }
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/:/bin/sh\n")?;
    fs::write(root.join("etc/group"), "root:x:0:\n")?;
    fs::write(
        root.join("etc/nginx/nginx.conf"),
        include_str!("../linux/nginx.conf"),
    )?;
    fs::write(root.join("init"), include_str!("../linux/init"))?;
    fs::set_permissions(root.join("init"), fs::Permissions::from_mode(0o755))?;
    for file in fs::read_dir(site)? {
        let file = file?;
        place(&file.path(), &root.join("www").join(file.file_name()))?;
    }
    let initrd = work.join("linux.cpio.gz");
    archive(&root, &initrd)?;
    Ok(LinuxGuest { kernel, initrd })
}

/// Puts nginx and this program there, the server of bulk transfers, with their libraries.
fn place_programs(root: &Path) -> Result<(), Error> {
    let this = std::env::current_exe()?;
    let programs = [
        (Path::new("/usr/sbin/nginx"), "usr/sbin/nginx"),
        (&this, "bin/sluice-bench"),
    ];
    for (program, to) in programs {
        place(program, &root.join(to))?;
        for library in libraries(program)? {
            place(&library, &root.join(library.strip_prefix("/")?))?;
        }
    }
    Ok(())
}

/// Packs the folder `root` as an initramfs.
fn archive(root: &Path, initrd: &Path) -> Result<(), Error> {
    let packed = Command::new("sh")
        .arg("-c")
        .arg("cd \"$0\" && find . | cpio -o -H newc --quiet -R 0:0 | gzip -1 > \"$1\"")
        .arg(root)
        .arg(initrd)
        .status()?;
    if !packed.success() {
        return Err("packing the Linux guest's initramfs failed".into());
    }
    Ok(())
}

fn place(from: &Path, to: &Path) -> Result<(), Error> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::copy(from, to).map_err(|error| format!("{}: {error}", from.display()))?;
    Ok(())
}

fn newest(folder: &str, wanted: impl Fn(&str) -> bool) -> Result<PathBuf, Error> {
    let mut found: Vec<PathBuf> = fs::read_dir(folder)?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| {
            path.file_name()
                .and_then(|name| name.to_str())
                .is_some_and(&wanted)
        })
        .collect();
    found.sort();
    found
        .pop()
        .ok_or_else(|| format!("nothing that fits in {folder}").into())
}

fn libraries(program: &Path) -> Result<Vec<PathBuf>, Error> {
    let listed = Command::new("ldd").arg(program).output()?;
    Ok(String::from_utf8_lossy(&listed.stdout)
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
        .map(PathBuf::from)
        .collect())
}
