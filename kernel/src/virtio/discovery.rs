//! Finding the devices of this machine, on PCI and on MMIO.
//!
//! Three kinds of machine are told apart by what answers: a host bridge behind the ports (q35), one
//! behind ECAM (`microvm,pcie=on`), and the row of MMIO windows of `microvm`; besides, windows that
//! the command line names. A machine with the ports' host bridge is not searched for the others,
//! which it could have anything at the addresses of.
//!
//! Upstream: the machine, as [`Platform`]. Downstream: whoever opens the devices, before the page
//! tables are sealed.

use super::device::{Device, DeviceKind, InterruptTarget};
use super::mmio::{self, MmioRefusal, Window};
use super::pci;
use crate::acpi::Ecam;
use crate::pci::access::{Access, ECAM_BUS_BYTES};
use crate::pci::bars::{AddressWindow, BarRange};
use crate::pci::functions::functions;
use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;
use core::ptr::NonNull;
use virtio_drivers::transport::pci::bus::{ConfigurationAccess, DeviceFunction};

/// QEMU's `microvm`: the row of MMIO windows.
const ROW_ADDRESS: u64 = 0xfeb0_0000;
const ROW_WINDOW_BYTES: u64 = 512;
/// Its length with a second I/O APIC, and without.
const LONG_ROW_WINDOWS: u32 = 24;
const SHORT_ROW_WINDOWS: u32 = 8;

/// QEMU's `microvm,pcie=on`: ECAM, for when there is no ACPI to say where it is, and addresses for
/// devices; no firmware gives those out.
const USUAL_ECAM: Ecam = Ecam {
    address: 0xe000_0000,
    buses: 16,
};
const PCI_WINDOW: AddressWindow = AddressWindow {
    next: 0xc000_0000,
    end: 0xe000_0000,
};

/// What discovery needs of the machine.
pub trait Platform {
    /// Returns the kernel command line.
    fn command_line(&self) -> &str;

    /// Returns whether an address is memory according to the memory map.
    fn is_memory(&self, address: u64) -> bool;

    /// Returns where ACPI says that ECAM is.
    fn ecam(&self) -> Option<Ecam>;

    /// Maps a stretch of device registers above 4 GiB until the page tables are sealed; false when that
    /// cannot be done.
    fn reach_device(&mut self, address: u64, len_bytes: u64) -> bool;

    /// Keeps a stretch of device registers mapped for good; false when that cannot be done.
    fn map_device(&mut self, address: u64, len_bytes: u64) -> bool;

    /// Returns the global system interrupt of a window of `microvm`'s row, counted from 0.
    fn row_gsi(&self, index: u32) -> u32;

    /// Leads a global system interrupt to the boot core, edge-triggered and active high, and
    /// returns where that is; `None` when it cannot be done.
    fn lead_to_boot_core(&mut self, gsi: u32) -> Option<InterruptTarget>;
}

/// Finds the devices, none of which runs yet. To be called once, on the boot core, while everything
/// below 4 GiB is mapped one to one.
pub fn discover(platform: &mut impl Platform) -> Vec<Device> {
    let mut devices = Vec::new();
    let named: Vec<Window> = mmio::command_line_windows(platform.command_line()).collect();
    if answers(Access::Ports) {
        pci_devices(Access::Ports, None, platform, &mut devices);
    } else {
        let ecam = platform.ecam().unwrap_or(USUAL_ECAM);
        if let Some(access) = ecam_access(ecam, platform).filter(|access| answers(*access)) {
            // The window is that of a machine whose ECAM is there.
            let has_window =
                ecam.address == USUAL_ECAM.address && !platform.is_memory(PCI_WINDOW.next);
            let window = has_window.then_some(PCI_WINDOW);
            pci_devices(access, window, platform, &mut devices);
        }
        if named.is_empty() {
            row_devices(platform, &mut devices);
        }
    }
    for window in named {
        mmio_device(window, platform, &mut devices);
    }
    for device in &devices {
        log::debug!("virtio: {:?} at {}", device.kind(), device.place());
    }
    devices
}

const _: () = assert!(USUAL_ECAM.address + USUAL_ECAM.buses as u64 * ECAM_BUS_BYTES <= ROW_ADDRESS);

/// Returns the way to ECAM, `None` where it cannot be: above 4 GiB, or over memory.
fn ecam_access(ecam: Ecam, platform: &impl Platform) -> Option<Access> {
    let end = ecam
        .address
        .checked_add(u64::from(ecam.buses) * ECAM_BUS_BYTES)?;
    if end > 1 << 32 || platform.is_memory(ecam.address) || platform.is_memory(end - 1) {
        return None;
    }
    let address = ecam.address as usize;
    Some(Access::Ecam {
        base: NonNull::new(core::ptr::with_exposed_provenance_mut(address))?,
        buses: ecam.buses,
    })
}

/// Returns whether there is a host bridge.
fn answers(access: Access) -> bool {
    let bridge = DeviceFunction {
        bus: 0,
        device: 0,
        function: 0,
    };
    !matches!(access.read_word(bridge, 0), 0 | u32::MAX)
}

fn pci_devices<C: ConfigurationAccess + Copy>(
    access: C,
    mut window: Option<AddressWindow>,
    platform: &mut impl Platform,
    devices: &mut Vec<Device>,
) {
    for function in functions(&access) {
        let Some(kind) = pci::kind(function) else {
            continue;
        };
        let place = format!("pci {}", function.place);
        let reach = |range: BarRange| platform.reach_device(range.address, range.len_bytes);
        // SAFETY: (1) `answers` found the bridge; (2) memory below 4 GiB is mapped one to one,
        // which the caller of `discover` sees to, and above it what the platform has mapped; (3) the
        // window is `microvm`'s own, and not memory; (4) each function is opened once.
        match unsafe { pci::open(access, function, window.as_mut(), reach) } {
            Ok(registers) => {
                let doorbells = registers.doorbells();
                log::debug!("virtio: {place}: doorbells at {:#x}", doorbells.address);
                if platform.map_device(doorbells.address, doorbells.len_bytes) {
                    devices.push(Device::new(kind, place, Box::new(registers)));
                } else {
                    log::warn!("virtio: {place}: its doorbells cannot be mapped");
                }
            }
            Err(refusal) => log::warn!("virtio: {place}: {refusal}"),
        }
    }
}

/// Searches the row of windows: as many as there are interrupts for on the machine's I/O APICs.
fn row_devices(platform: &mut impl Platform, devices: &mut Vec<Device>) {
    let window = |index: u32, gsi: u32| Window {
        address: ROW_ADDRESS + u64::from(index) * ROW_WINDOW_BYTES,
        len_bytes: ROW_WINDOW_BYTES,
        gsi,
    };
    let is_there = |index| {
        // SAFETY: device memory or nothing, since it is not memory; only looked at here.
        let seen = unsafe { mmio::open(window(index, 0)) };
        !matches!(seen, Err(MmioRefusal::NotThere))
    };
    if platform.is_memory(ROW_ADDRESS) || !is_there(0) {
        return;
    }
    let is_long = is_there(LONG_ROW_WINDOWS - 1);
    for index in 0..if is_long {
        LONG_ROW_WINDOWS
    } else {
        SHORT_ROW_WINDOWS
    } {
        let gsi = platform.row_gsi(index);
        mmio_device(window(index, gsi), platform, devices);
    }
}

fn mmio_device(window: Window, platform: &mut impl Platform, devices: &mut Vec<Device>) {
    if platform.is_memory(window.address) {
        return;
    }
    let place = format!("mmio {:#x}", window.address);
    // SAFETY: not memory, so device registers or nothing; mapped one to one while the machine
    // boots; each window is opened once for keeps.
    match unsafe { mmio::open(window) } {
        Ok((kind, mut registers)) => {
            if !platform.map_device(window.address, window.len_bytes) {
                log::warn!("virtio: {place}: its registers cannot be mapped");
                return;
            }
            if kind == DeviceKind::Network {
                registers.set_interrupt(platform.lead_to_boot_core(window.gsi));
            }
            devices.push(Device::new(kind, place, Box::new(registers)));
        }
        Err(MmioRefusal::NotThere | MmioRefusal::Empty) => {}
        Err(refusal) => log::warn!("virtio: {place}: {refusal}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::fake::VirtioFunction;
    use std::ops::Range;

    /// A machine that notes what it is asked to map.
    #[derive(Default)]
    struct FakePlatform {
        memory: Vec<Range<u64>>,
        reached: Vec<u64>,
        kept: Vec<(u64, u64)>,
        is_full: bool,
    }

    impl Platform for FakePlatform {
        fn command_line(&self) -> &str {
            ""
        }

        fn is_memory(&self, address: u64) -> bool {
            self.memory.iter().any(|range| range.contains(&address))
        }

        fn ecam(&self) -> Option<Ecam> {
            None
        }

        fn reach_device(&mut self, address: u64, _len_bytes: u64) -> bool {
            self.reached.push(address);
            true
        }

        fn map_device(&mut self, address: u64, len_bytes: u64) -> bool {
            self.kept.push((address, len_bytes));
            !self.is_full
        }

        fn row_gsi(&self, index: u32) -> u32 {
            index
        }

        fn lead_to_boot_core(&mut self, _gsi: u32) -> Option<InterruptTarget> {
            None
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "its memory lies below 4 GiB")]
    fn of_a_pci_device_only_the_doorbells_are_kept() {
        let fake = VirtioFunction::new();
        let (mut platform, mut devices) = (FakePlatform::default(), Vec::new());
        pci_devices(fake.bus, None, &mut platform, &mut devices);
        assert_eq!(devices.len(), 1);
        assert_eq!(devices[0].kind(), DeviceKind::Network);
        assert_eq!(devices[0].place(), "pci 00:02.0");
        assert_eq!(platform.reached, [fake.msix, fake.registers]);
        assert_eq!(platform.kept, [(fake.registers + 0x3000, 0x1000)]);
    }

    #[test]
    fn what_cannot_be_used_is_left_out() {
        let fake = VirtioFunction::new();
        let mut devices = Vec::new();
        let mut full = FakePlatform {
            is_full: true,
            ..FakePlatform::default()
        };
        pci_devices(fake.bus, None, &mut full, &mut devices);
        let mut platform = FakePlatform::default();
        // A device without MSI-X, and one of no kind that has a driver.
        fake.set(VirtioFunction::MSIX, 0);
        pci_devices(fake.bus, None, &mut platform, &mut devices);
        fake.set(0, 0x1042_1af4);
        pci_devices(fake.bus, None, &mut platform, &mut devices);
        assert!(devices.is_empty() && platform.kept.is_empty());
    }

    #[test]
    fn configuration_space_is_neither_over_memory_nor_above_4_gib() {
        let mut platform = FakePlatform::default();
        let ecam = |address, buses| Ecam { address, buses };
        assert!(ecam_access(USUAL_ECAM, &platform).is_some());
        assert!(ecam_access(ecam(0xf000_0000, 256), &platform).is_some());
        assert!(ecam_access(ecam(0xf000_1000, 256), &platform).is_none());
        assert!(ecam_access(ecam(1 << 32, 1), &platform).is_none());
        assert!(ecam_access(ecam(u64::MAX, 256), &platform).is_none());
        for memory in [0xe000_0000..0xe000_1000, 0xe0ff_f000..0xe100_0000] {
            platform.memory = Vec::from([memory]);
            assert!(ecam_access(USUAL_ECAM, &platform).is_none());
        }
    }
}
