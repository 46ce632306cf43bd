//! Choosing the accelerator: KVM when it opens and really runs the image, else TCG.
//!
//! `/dev/kvm` opening says little: nested or emulated ones may lack what the image needs. So the
//! image itself is booted once without a site; one that works answers with a fatal line. The
//! verdict is remembered in `out/` for this boot, this QEMU and this image.

use crate::build::Image;
use crate::console::complain;
use crate::guest::Guest;
use crate::limits::PROBE_TIMEOUT;
use crate::machine::{Accel, Machine};
use crate::options::AccelChoice;
use crate::prerequisites::{self, QEMU};
use crate::{Failure, serial, stop, workspace};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::time::{Duration, Instant};

/// How often the probe looks whether it is to stop.
const LOOK_AROUND: Duration = Duration::from_millis(50);

/// Resolves the choice.
///
/// # Errors
/// [`Failure::Usage`] when KVM is asked for and cannot be opened.
pub fn choose(choice: AccelChoice, image: &Image) -> Result<Accel, Failure> {
    match choice {
        AccelChoice::Tcg => Ok(Accel::Tcg),
        AccelChoice::Kvm => match open_kvm() {
            Ok(()) => Ok(Accel::Kvm),
            Err(error) => Err(Failure::Usage(format!(
                "--accel kvm: cannot open /dev/kvm: {error}; use --accel tcg, or get access to it"
            ))),
        },
        AccelChoice::Auto => match open_kvm() {
            Ok(()) if is_kvm_working(image) => Ok(Accel::Kvm),
            Ok(()) => stop::check().map(|()| Accel::Tcg),
            Err(error) => {
                if error.kind() == io::ErrorKind::PermissionDenied {
                    complain(
                        "/dev/kvm may not be opened, so QEMU translates, which is slower; for KVM: \
                         sudo usermod -aG kvm \"$USER\", and log in again",
                    );
                }
                Ok(Accel::Tcg)
            }
        },
    }
}

/// Opens `/dev/kvm` as QEMU would.
fn open_kvm() -> io::Result<()> {
    fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/kvm")
        .map(drop)
}

/// Returns the remembered verdict, or boots the image to find it.
pub fn is_kvm_working(image: &Image) -> bool {
    let key = probe_key(image);
    let memory = workspace::out_dir().ok().map(|out| out.join("kvm-probe"));
    let remembered = memory.as_ref().and_then(|file| {
        let text = fs::read_to_string(file).ok()?;
        let (known, verdict) = text.split_once(' ')?;
        (known == key).then(|| verdict == "works")
    });
    remembered.unwrap_or_else(|| {
        let is_working = probe(image);
        // One that was cut off says nothing.
        if let Some(file) = memory.filter(|_| !stop::is_asked()) {
            let verdict = if is_working { "works" } else { "fails" };
            // Only a memory: without it the next start probes again.
            let _ = fs::write(file, format!("{key} {verdict}"));
        }
        is_working
    })
}

fn probe(image: &Image) -> bool {
    let machine = Machine {
        accel: Accel::Kvm,
        memory_mib: 64,
        ..Machine::new(&image.elf)
    };
    let Ok(mut guest) = Guest::start(&machine) else {
        return false;
    };
    let deadline = Instant::now() + PROBE_TIMEOUT;
    while guest.wait_exit(LOOK_AROUND).is_none() {
        if stop::is_asked() || Instant::now() >= deadline {
            return false;
        }
    }
    guest
        .serial()
        .lines()
        .iter()
        .any(|line| serial::fatal(line).is_some())
}

/// Names this boot of this machine, this QEMU and this image.
fn probe_key(image: &Image) -> String {
    let mut hasher = DefaultHasher::new();
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .ok()
        .hash(&mut hasher);
    fs::read(&image.elf).ok().hash(&mut hasher);
    let qemu = prerequisites::find(QEMU.name);
    let data = qemu.as_ref().and_then(|file| file.metadata().ok());
    qemu.hash(&mut hasher);
    data.map(|data| (data.len(), data.modified().ok()))
        .hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}
