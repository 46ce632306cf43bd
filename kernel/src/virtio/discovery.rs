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
use crate::pci::access::{Access, ECAM_BUS_BYTES};
use crate::pci::bars::AddressWindow;
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

/// QEMU's `microvm,pcie=on`: ECAM, and addresses for devices; no firmware gives those out.
const ECAM_ADDRESS: u64 = 0xe000_0000;
const ECAM_BUSES: u8 = 16;
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
    } else if !platform.is_memory(ECAM_ADDRESS) && !platform.is_memory(PCI_WINDOW.next) {
        let base = NonNull::new(core::ptr::with_exposed_provenance_mut(
            ECAM_ADDRESS as usize,
        ));
        let ecam = base.map(|base| Access::Ecam {
            base,
            buses: ECAM_BUSES,
        });
        if let Some(ecam) = ecam.filter(|ecam| answers(*ecam)) {
            pci_devices(ecam, Some(PCI_WINDOW), platform, &mut devices);
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

const _: () = assert!(ECAM_ADDRESS + ECAM_BUSES as u64 * ECAM_BUS_BYTES <= ROW_ADDRESS);

/// Returns whether there is a host bridge.
fn answers(access: Access) -> bool {
    let bridge = DeviceFunction {
        bus: 0,
        device: 0,
        function: 0,
    };
    !matches!(access.read_word(bridge, 0), 0 | u32::MAX)
}

fn pci_devices(
    access: Access,
    mut window: Option<AddressWindow>,
    platform: &mut impl Platform,
    devices: &mut Vec<Device>,
) {
    for function in functions(&access) {
        let Some(kind) = pci::kind(function) else {
            continue;
        };
        let place = format!("pci {}", function.place);
        // SAFETY: (1) `answers` found the bridge; (2) memory below 4 GiB is mapped one to one,
        // which the caller of `discover` sees to; (3) the window is `microvm`'s own, and not
        // memory; (4) each function is opened once.
        match unsafe { pci::open(access, function, window.as_mut()) } {
            Ok(registers) => {
                let doorbells = registers.doorbells();
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
