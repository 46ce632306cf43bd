//! Programs that are needed, and how they get here: Debian packages, installed when that is
//! allowed without a question (as root, or by `sudo -n`).

use crate::console::complain;
use crate::{Failure, stop};
use std::env;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A program and the Debian package that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Program {
    /// The program's name.
    pub name: &'static str,
    /// The package's name on Debian and Ubuntu.
    pub package: &'static str,
}

/// The machine emulator.
pub const QEMU: Program = Program {
    name: "qemu-system-x86_64",
    package: "qemu-system-x86",
};
/// Takes symbols out of the image.
pub const STRIP: Program = Program {
    name: "strip",
    package: "binutils",
};
/// Makes namespaces and taps for tests.
pub const IP: Program = Program {
    name: "ip",
    package: "iproute2",
};
/// A client that is not ours, for tests.
pub const CURL: Program = Program {
    name: "curl",
    package: "curl",
};
/// A browser, for tests; see [`chromium`] for its other names.
pub const CHROMIUM: Program = Program {
    name: "chromium",
    package: "chromium",
};
/// Names that Chromium, or what is built from it, has elsewhere.
const CHROMIUM_NAMES: [&str; 5] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
];
/// A client that mirrors, for tests.
pub const WGET: Program = Program {
    name: "wget",
    package: "wget",
};
/// A load generator, for tests.
pub const H2LOAD: Program = Program {
    name: "h2load",
    package: "nghttp2-client",
};
/// Another one.
pub const WRK: Program = Program {
    name: "wrk",
    package: "wrk",
};

/// Finds a program in `PATH` or where administration programs are.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|folder| folder.join(name))
        .find(|file| is_executable(file))
}

/// Finds a Chromium, whatever it is called here.
pub fn chromium() -> Option<PathBuf> {
    CHROMIUM_NAMES.iter().find_map(|name| find(name))
}

fn is_here(program: &Program) -> bool {
    match *program == CHROMIUM {
        true => chromium().is_some(),
        false => find(program.name).is_some(),
    }
}

/// Oldest QEMU that has what the guest needs: ACPI and PCI on microvm, and RSS.
const OLDEST_QEMU: (u32, u32) = (5, 2);
/// Oldest one that the tests have been run with.
const TESTED_QEMU: (u32, u32) = (7, 2);

/// Makes sure that QEMU is here and not too old.
///
/// # Errors
/// As [`ensure`].
pub fn ensure_qemu() -> Result<(), Failure> {
    ensure(&[QEMU])?;
    let output = Command::new(QEMU.name)
        .arg("--version")
        .stdin(Stdio::null())
        .output();
    let text = output.map_or_else(
        |_| String::new(),
        |output| String::from_utf8_lossy(&output.stdout).into_owned(),
    );
    match judge_qemu(&text) {
        Some(Err(old)) => Err(Failure::Missing(old)),
        Some(Ok(hint)) => {
            complain(&hint);
            Ok(())
        }
        None => Ok(()),
    }
}

/// Reads what `--version` says: an error for what is too old, a hint for what was never tried.
fn judge_qemu(text: &str) -> Option<Result<String, String>> {
    let (_, rest) = text.split_once("version ")?;
    let mut numbers = rest.split(|letter: char| !letter.is_ascii_digit());
    let mut number = || numbers.next()?.parse().ok();
    let version: (u32, u32) = (number()?, number()?);
    let (major, minor) = version;
    if version < OLDEST_QEMU {
        let (least, part) = OLDEST_QEMU;
        return Some(Err(format!(
            "QEMU {major}.{minor} is too old: {least}.{part} or newer is needed (Debian 11, Ubuntu \
             22.04 and later have it); install with: sudo apt-get install -y {}",
            QEMU.package
        )));
    }
    (version < TESTED_QEMU).then(|| {
        let (least, part) = TESTED_QEMU;
        Ok(format!(
            "QEMU {major}.{minor} should do, but only {least}.{part} and newer are tested"
        ))
    })
}

/// Makes sure that the programs are here, installing what is missing.
///
/// # Errors
/// [`Failure::Missing`] with the command that installs them, when it may not be done here or did
/// not work.
pub fn ensure(programs: &[Program]) -> Result<(), Failure> {
    let missing: Vec<&Program> = programs
        .iter()
        .filter(|program| !is_here(program))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = missing.iter().map(|program| program.package).collect();
    let Some(prefix) = privilege() else {
        return Err(by_hand(&missing, &packages));
    };
    complain(&format!("installing {} (apt-get)", packages.join(", ")));
    let mut install = vec!["install", "-y", "--no-install-recommends"];
    install.extend(&packages);
    // The package lists of a fresh machine are empty or old: fetch them once the plain way failed.
    let is_done =
        apt_get(prefix, &install) || (apt_get(prefix, &["update"]) && apt_get(prefix, &install));
    if is_done && missing.iter().all(|program| is_here(program)) {
        return Ok(());
    }
    // apt-get has the signals of the terminal, too.
    stop::check()?;
    Err(by_hand(&missing, &packages))
}

/// Returns the words before `apt-get` that make it work without a question.
fn privilege() -> Option<&'static [&'static str]> {
    find("apt-get")?;
    if rustix::process::geteuid().is_root() {
        return Some(&[]);
    }
    let is_allowed = Command::new("sudo")
        .args(["-n", "true"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    is_allowed.then_some(&["sudo", "-n"])
}

fn apt_get(prefix: &[&str], words: &[&str]) -> bool {
    let line: Vec<&str> = prefix
        .iter()
        .chain(&["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q"])
        .chain(words)
        .copied()
        .collect();
    Command::new(line[0])
        .args(&line[1..])
        .stdin(Stdio::null())
        .stdout(io::stderr())
        .status()
        .is_ok_and(|status| status.success())
}

fn by_hand(missing: &[&Program], packages: &[&str]) -> Failure {
    let names: Vec<&str> = missing.iter().map(|program| program.name).collect();
    Failure::Missing(format!(
        "missing: {}; install with: sudo apt-get update && sudo apt-get install -y {}",
        names.join(", "),
        packages.join(" ")
    ))
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata()
        .is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

/// Returns whether a cargo subcommand or rustup component answers, for optional checks.
pub fn answers<I: AsRef<OsStr>>(program: &str, words: &[I]) -> bool {
    Command::new(program)
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_here_is_found_and_one_that_is_not_is_not() {
        assert!(find("sh").is_some());
        assert_eq!(find("sluice-no-such-program"), None);
    }

    #[test]
    fn an_old_qemu_is_refused_and_an_untried_one_told() {
        let judge = |version: &str| judge_qemu(&format!("QEMU emulator version {version}\n"));
        assert!(matches!(judge("4.2.1 (Debian)"), Some(Err(text)) if text.contains("QEMU 4.2 is")));
        assert!(matches!(judge("6.2.0"), Some(Ok(text)) if text.contains("7.2")));
        assert_eq!(judge("7.2.22 (Debian 1:7.2+dfsg)"), None);
        assert_eq!(judge("10.0.0"), None);
        assert_eq!(judge_qemu("what?"), None);
    }

    #[test]
    fn the_error_names_programs_and_the_command() {
        let failure = by_hand(&[&QEMU, &CURL], &[QEMU.package, CURL.package]);
        assert_eq!(failure.code(), 3);
        let text = failure.to_string();
        assert!(text.contains("qemu-system-x86_64, curl"), "{text}");
        assert!(
            text.ends_with("apt-get install -y qemu-system-x86 curl"),
            "{text}"
        );
    }
}
