//! The folder of one run, with the page that is asked for, and the plugins that count guest
//! instructions, built in it.

use crate::Error;
use site::pack::PackOptions;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Bytes of the page `/index.html`.
pub(crate) const PAGE_BYTES: usize = 612;

/// A plugin for QEMU, in C.
#[derive(Clone, Copy)]
pub(crate) struct Plugin {
    name: &'static str,
    source: &'static str,
}

/// Counts the guest's instructions, by core.
pub(crate) const COUNTER: Plugin = Plugin {
    name: "insncount",
    source: include_str!("../plugin/insncount.c"),
};

/// Counts each of the guest's instructions.
pub(crate) const PROFILE: Plugin = Plugin {
    name: "profile",
    source: include_str!("../plugin/profile.c"),
};

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

    /// Builds a plugin and returns where it is.
    pub(crate) fn build_plugin(&self, plugin: Plugin) -> Result<PathBuf, Error> {
        let source = self.0.join(plugin.name).with_extension("c");
        std::fs::write(&source, plugin.source)?;
        std::fs::write(self.0.join("tell.h"), include_str!("../plugin/tell.h"))?;
        let library = source.with_extension("so");
        let built = Command::new("cc")
            .args(["-O2", "-fPIC", "-shared", "-Wall", "-o"])
            .args([&library, &source])
            .arg("-lpthread")
            .status()?;
        if built.success() {
            Ok(library)
        } else {
            Err(format!("the plugin {} did not compile", plugin.name).into())
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
