//! The folder of one run, with the page that is asked for, and the plugin that counts guest
//! instructions, built in it.

use crate::Error;
use site::pack::PackOptions;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Bytes of the page `/index.html`.
pub(crate) const PAGE_BYTES: usize = 612;

/// A temporary folder, removed when dropped.
pub(crate) struct Work(pub(crate) PathBuf);

impl Work {
    /// Makes the folder.
    pub(crate) fn create() -> Result<Self, Error> {
        let folder = std::env::temp_dir().join(format!("sluice-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        Ok(Work(folder))
    }

    /// Makes a site of the page alone and returns its folder.
    pub(crate) fn make_site(&self) -> Result<PathBuf, Error> {
        let pages = self.0.join("site");
        std::fs::create_dir_all(&pages)?;
        std::fs::write(pages.join("index.html"), "i".repeat(PAGE_BYTES))?;
        Ok(pages)
    }

    /// Packs a site and returns where the image is.
    pub(crate) fn pack(&self, pages: &Path) -> Result<PathBuf, Error> {
        let packed = self.0.join("site.img");
        site::pack::pack_to_file(pages, &packed, &PackOptions::default())?;
        Ok(packed)
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
