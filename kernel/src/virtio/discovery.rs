//! Finding the devices of this machine, on PCI and on MMIO.
//!
//! Three kinds of machine are told apart by what answers: a host bridge behind the ports (q35), one
//! behind ECAM (`microvm,pcie=on`), and the row of MMIO windows of `microvm`; besides, windows that
//! the command line names. A machine with the ports' host bridge is not searched for the others,
//! which it could have anything at the addresses of.
//!
//! Upstream: the machine, as [`Platform`]. Downstream: whoever opens the [`Devices`], before the
//! page tables are sealed.

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
const ROW_WINDOWS: u32 = 24;
/// Its first interrupt, with a second IOAPIC (then all 24 windows are there) and with one (then
/// there are 8). Without ACPI it is neither, but then the command line names each window.
const ROW_GSI_TWO_IOAPICS: u32 = 24;
const ROW_GSI_ONE_IOAPIC: u32 = 16;

/// QEMU's `microvm,pcie=on`: ECAM, and addresses for devices; no firmware gives those out.
const ECAM_ADDRESS: u64 = 0xe000_0000;
const ECAM_BUSES: u8 = 16;
const PCI_WINDOW: AddressWindow = AddressWindow {
    next: 0xc000_0000,
    end: 0xe000_0000,
};

/// What discovery needs of the machine.
pub struct Platform<'a> {
    /// The kernel command line.
    pub command_line: &'a str,
    /// Returns whether an address is memory according to the memory map.
    pub is_memory: &'a dyn Fn(u64) -> bool,
    /// Keeps a stretch of device registers (address, length in bytes) mapped for good.
    pub map_device: &'a mut dyn FnMut(u64, u64),
    /// Leads a global system interrupt to a core, edge-triggered and active high; false when that
    /// cannot be done.
    pub route_gsi: fn(u32, InterruptTarget) -> bool,
}

/// The devices that were found, none of them running.
pub struct Devices {
    /// Network devices, in the order of their addresses.
    pub networks: Vec<Device>,
    /// The first entropy device.
    pub entropy: Option<Device>,
}

impl Devices {
    fn add(&mut self, device: Device) {
        log::debug!("virtio: {:?} at {}", device.kind(), device.place());
        match device.kind() {
            DeviceKind::Network => self.networks.push(device),
            DeviceKind::Entropy => {
                self.entropy.get_or_insert(device);
            }
        }
    }
}

/// Finds the devices. To be called once, on the boot core, while everything below 4 GiB is mapped
/// one to one.
pub fn discover(mut platform: Platform<'_>) -> Devices {
    let mut devices = Devices {
        networks: Vec::new(),
        entropy: None,
    };
    let named: Vec<Window> = mmio::command_line_windows(platform.command_line).collect();
    if answers(Access::Ports) {
        pci_devices(Access::Ports, None, &mut platform, &mut devices);
    } else if !(platform.is_memory)(ECAM_ADDRESS) && !(platform.is_memory)(PCI_WINDOW.next) {
        let base = NonNull::new(core::ptr::with_exposed_provenance_mut(
            ECAM_ADDRESS as usize,
        ));
        let ecam = base.map(|base| Access::Ecam {
            base,
            buses: ECAM_BUSES,
        });
        if let Some(ecam) = ecam.filter(|ecam| answers(*ecam)) {
            let window = PCI_WINDOW;
            pci_devices(ecam, Some(window), &mut platform, &mut devices);
        }
        if named.is_empty() {
            row_devices(&mut platform, &mut devices);
        }
    }
    for window in named {
        mmio_device(window, &mut platform, &mut devices);
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
    platform: &mut Platform<'_>,
    devices: &mut Devices,
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
                (platform.map_device)(doorbells.address, doorbells.len_bytes);
                devices.add(Device::new(kind, place, Box::new(registers)));
            }
            Err(refusal) => log::warn!("virtio: {place}: {refusal}"),
        }
    }
}

/// Searches the row of windows, and works out their interrupts by how many there are.
fn row_devices(platform: &mut Platform<'_>, devices: &mut Devices) {
    if (platform.is_memory)(ROW_ADDRESS) {
        return;
    }
    let window = |index: u32, first_gsi: u32| Window {
        address: ROW_ADDRESS + u64::from(index) * ROW_WINDOW_BYTES,
        len_bytes: ROW_WINDOW_BYTES,
        gsi: first_gsi + index,
    };
    let is_there = |index| {
        // SAFETY: the row is device memory or nothing (checked above and by `discover`); only
        // looked at here.
        let seen = unsafe { mmio::open(window(index, 0), platform.route_gsi) };
        !matches!(seen, Err(MmioRefusal::NotThere))
    };
    if !is_there(0) {
        return;
    }
    let is_whole_row = is_there(ROW_WINDOWS - 1);
    let (windows, first_gsi) = match is_whole_row {
        true => (ROW_WINDOWS, ROW_GSI_TWO_IOAPICS),
        false => (8, ROW_GSI_ONE_IOAPIC),
    };
    for index in 0..windows {
        mmio_device(window(index, first_gsi), platform, devices);
    }
}

fn mmio_device(window: Window, platform: &mut Platform<'_>, devices: &mut Devices) {
    if (platform.is_memory)(window.address) {
        return;
    }
    let place = format!("mmio {:#x}", window.address);
    // SAFETY: not memory, so device registers or nothing; mapped one to one while the machine
    // boots; each window is opened once for keeps.
    match unsafe { mmio::open(window, platform.route_gsi) } {
        Ok((kind, registers)) => {
            (platform.map_device)(window.address, window.len_bytes);
            devices.add(Device::new(kind, place, Box::new(registers)));
        }
        Err(MmioRefusal::NotThere | MmioRefusal::Empty) => {}
        Err(refusal) => log::warn!("virtio: {place}: {refusal}"),
    }
}
