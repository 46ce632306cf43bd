//! Building an image: cargo compiles it, then it is copied to `out/` twice, stripped to boot and
//! whole for debuggers and crash reports.

use crate::console::complain;
use crate::prerequisites::{self, STRIP};
use crate::{Failure, stop, workspace};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How the name of a file ends that becomes one of `out/`, behind the number of the process.
pub(crate) const PARTIAL: &str = ".partial";

/// A built image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The stripped ELF, to boot.
    pub elf: PathBuf,
    /// The same with symbols and line tables.
    pub debug_elf: PathBuf,
}

/// What an image is built from: a binary of a crate of this checkout, with its feature `image`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    package: &'static str,
    binary: String,
    /// The name in `out/`, without its ending.
    output: String,
}

impl Recipe {
    /// Returns that of the server.
    pub fn sluice() -> Self {
        Recipe {
            package: "app-http",
            binary: "sluice".to_owned(),
            output: "sluice".to_owned(),
        }
    }

    /// Returns that of an example appliance.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn example(name: &str) -> Result<Self, Failure> {
        let names = workspace::examples();
        if !names.iter().any(|known| known == name) {
            return Err(Failure::Usage(format!(
                "example {name}: no such example; there are: {}",
                names.join(", ")
            )));
        }
        Ok(Recipe {
            package: "examples",
            binary: name.to_owned(),
            output: format!("example-{name}"),
        })
    }
}

/// Builds what changed and returns where the image is.
///
/// # Errors
/// The build failed, or a program for it is missing.
pub fn image(recipe: &Recipe, is_verbose: bool) -> Result<Image, Failure> {
    prerequisites::ensure(&[STRIP])?;
    let out = workspace::out_dir()?;
    let image = Image {
        elf: out.join(format!("{}.elf", recipe.output)),
        debug_elf: out.join(format!("{}.debug.elf", recipe.output)),
    };
    let target = workspace::target_dir();
    let mut cargo = workspace::cargo();
    cargo
        .args(["build", "-p", recipe.package, "--bin", &recipe.binary])
        .args(["--features", "image", "--profile", "image", "--target-dir"])
        .arg(&target);
    if !image.elf.exists() {
        complain("building the image (about half a minute the first time)");
    } else if !is_verbose {
        cargo.arg("--quiet");
    }
    run(&mut cargo, "the image does not build; see above")?;
    let built = target.join("image").join(&recipe.binary);
    replace(&image.debug_elf, |partial| {
        fs::copy(&built, partial).map(|_| ())
    })?;
    replace(&image.elf, |partial| {
        let status = Command::new("strip")
            .arg("-o")
            .arg(partial)
            .arg(&built)
            .status()?;
        match status.success() {
            true => Ok(()),
            false => Err(io::Error::other(format!("strip: {status}"))),
        }
    })?;
    Ok(image)
}

/// Runs a command to its end, with its output on ours.
///
/// # Errors
/// `explanation` when it fails.
pub fn run(command: &mut Command, explanation: &str) -> Result<(), Failure> {
    let status = command.spawn().and_then(stop::wait).map_err(|error| {
        let program = Path::new(command.get_program()).display();
        Failure::Failed(format!("cannot run {program}: {error}"))
    })?;
    // It may have ended because this process is to.
    stop::check()?;
    match status.success() {
        true => Ok(()),
        false => Err(Failure::Failed(explanation.to_owned())),
    }
}

/// Writes a file beside its place and moves it there, so that a guest that boots at the same
/// moment reads the old one or the new one.
fn replace(file: &Path, write: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), Failure> {
    let mut name = file.as_os_str().to_owned();
    name.push(format!(".{}{PARTIAL}", std::process::id()));
    let partial = PathBuf::from(name);
    write(&partial)
        .and_then(|()| fs::rename(&partial, file))
        .map_err(|error| {
            // Nothing to add when this fails too: the first error is the one to show.
            let _ = fs::remove_file(&partial);
            // `strip` has the signals of the terminal, too.
            match stop::is_asked() {
                true => stop::failure(),
                false => Failure::Failed(format!("cannot write {}: {error}", file.display())),
            }
        })
}
