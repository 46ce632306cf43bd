//! Where things are in this checkout.

use crate::Failure;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Returns the checkout's top folder.
pub fn root() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own)
}

/// Makes the folder for finished files if need be, and returns it.
///
/// # Errors
/// The folder cannot be made.
pub fn out_dir() -> Result<PathBuf, Failure> {
    let out = root().join("out");
    std::fs::create_dir_all(&out)
        .map_err(|error| Failure::Failed(format!("cannot make {}: {error}", out.display())))?;
    out.canonicalize()
        .map_err(|error| Failure::Failed(format!("cannot read {}: {error}", out.display())))
}

/// Returns cargo's folder for built files.
pub fn target_dir() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Returns the site that is served when none is named.
pub fn default_site() -> PathBuf {
    root().join("site/default")
}

/// Returns the names of the example appliances, in order.
pub fn examples() -> Vec<String> {
    let files = std::fs::read_dir(root().join("examples/src/bin"));
    let mut names: Vec<String> = files
        .into_iter()
        .flatten()
        .filter_map(|file| Some(file.ok()?.path().file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    names
}

/// Returns a cargo command that runs at the top of the checkout, where cargo finds its settings.
pub fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}
