//! The folder of one run, and the plugin that counts guest instructions, built in it.

use crate::Error;
use std::path::PathBuf;
use std::process::Command;

/// A temporary folder, removed when dropped.
pub(crate) struct Work(pub(crate) PathBuf);

impl Work {
    /// Makes the folder.
    pub(crate) fn create() -> Result<Self, Error> {
        let folder = std::env::temp_dir().join(format!("sluice-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        Ok(Work(folder))
    }

    /// Builds the counting plugin and returns where it is.
    pub(crate) fn build_plugin(&self) -> Result<PathBuf, Error> {
        let source = self.0.join("insncount.c");
        std::fs::write(&source, include_str!("../plugin/insncount.c"))?;
        let plugin = self.0.join("insncount.so");
        let built = Command::new("cc")
            .args(["-O2", "-fPIC", "-shared", "-Wall", "-o"])
            .args([&plugin, &source])
            .arg("-lpthread")
            .status()?;
        if built.success() {
            Ok(plugin)
        } else {
            Err("the counting plugin did not compile".into())
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
