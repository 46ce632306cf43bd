//! The appliance alone, under measurement: one vCPU, TCG, tap, and a plugin that counts.

use crate::Error;
use crate::load::{Load, first_answer};
use crate::namespace::{GUEST, HOST, Namespace};
use crate::vm::{Image, Vm};
use crate::work::{Plugin, Work};
use std::path::Path;
use std::time::Duration;

/// Returns the words of the command line that every measurement gives the appliance.
pub(crate) fn words() -> String {
    format!("ip={GUEST}/24 gateway={HOST} log=warn")
}

/// Returns what is booted where nothing else is said.
pub(crate) fn image<'a>(elf: &'a Path, packed: &'a Path, append: &'a str) -> Image<'a> {
    Image {
        machine: "microvm",
        memory_mib: 64,
        kernel: elf,
        initrd: packed,
        append,
        device: "virtio-net-device",
        cores: 1,
    }
}

/// An appliance that serves the page and one file more. All of it goes when this goes,
/// the guest first.
pub(crate) struct Appliance {
    pub(crate) vm: Vm,
    pub(crate) namespace: Namespace,
    _work: Work,
}

impl Appliance {
    pub(crate) fn boot(elf: &Path, plugin: Plugin, more: (&str, &[u8])) -> Result<Self, Error> {
        let work = Work::create()?;
        let pages = work.make_site()?;
        let (name, content) = more;
        std::fs::write(pages.join(name), content)?;
        let packed = work.pack(&pages)?;
        let plugin = work.build_plugin(plugin)?;
        let namespace = Namespace::create(1)?;
        let vm = Vm::boot(
            &image(elf, &packed, &words()),
            &namespace,
            &work.0,
            Some(&plugin),
        )?;
        first_answer(&vm, &namespace, 60)?;
        Ok(Appliance {
            vm,
            namespace,
            _work: work,
        })
    }

    /// Runs a short load and waits until it has been forgotten.
    pub(crate) fn warm_up(&self, load: &Load) -> Result<(), Error> {
        load.run(&self.namespace, load.short)?;
        std::thread::sleep(Duration::from_secs(4));
        Ok(())
    }
}
