//! What a Hermit loader says (`RawBootInfo`): memory, serial port, command line.
//!
//! Upstream: Hermit's loader or uhyve, by `hermit-entry`'s boot ABI. Downstream: boot.

use super::boot::{Loaded, keep_command_line};
use super::exit::fatal;
use super::protection;
use crate::frames::Frames;
use hermit_entry::boot_info::{BootInfo, PlatformInfo, RawBootInfo};

/// Reads the structure at `address`. There is no module: a Hermit loader brings no site.
pub(super) fn read_boot_info(address: u64) -> Loaded {
    // SAFETY: the loader passes the address of a `RawBootInfo`, by the ABI that the note promises.
    let raw = unsafe { *(address as *const RawBootInfo) };
    let info = BootInfo::from(raw);
    let memory = info.hardware_info.phys_addr_range;
    let mut frames = match Frames::new(core::iter::once(memory.start..memory.end)) {
        Ok(frames) => frames,
        Err(error) => fatal(format_args!("{error}")),
    };
    frames.reserve(protection::image());
    let loaded = info.load_info.kernel_image_addr_range;
    frames.reserve(loaded);
    if let Some(tree) = info.hardware_info.device_tree {
        // The tree's size is in its head; a page of slack is kept from the heap besides.
        frames.reserve(tree.get()..tree.get() + 0x1_0000);
    }
    let line = match info.platform_info {
        PlatformInfo::Multiboot { command_line, .. }
        | PlatformInfo::LinuxBootParams { command_line, .. } => command_line.unwrap_or_default(),
        _ => "",
    };
    Loaded {
        frames,
        command_line: keep_command_line(line.as_bytes()),
        site: None,
        rsdp: None,
    }
}
