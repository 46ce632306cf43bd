//! The PCI bus (VirtIO 1.2 §4.1): a device is a function whose capabilities say where its
//! registers are, with MSI-X for its interrupts.
//!
//! Upstream: `virtio-drivers`' transport, and [`crate::pci`] for what it leaves out (addresses,
//! MSI-X, one doorbell per queue). Downstream: [`super::device`], through [`Registers`].

use super::device::{DeviceKind, InterruptTarget, Registers, RingAddresses};
use super::doorbell::Doorbell;
use super::memory::{SharedMemory, device_address};
use crate::pci::bars::{AddressWindow, BarError, BarRange, place_and_enable};
use crate::pci::functions::{Capability, Function, capabilities};
use crate::pci::msix::{MSIX_CAPABILITY, MsixTable};
use core::fmt;
use core::mem::ManuallyDrop;
use core::ptr::NonNull;
use virtio_drivers::transport::pci::bus::{ConfigurationAccess, DeviceFunction, PciRoot};
use virtio_drivers::transport::pci::{
    PciTransport, VIRTIO_PCI_CAP_COMMON_CFG, VIRTIO_PCI_CAP_DEVICE_CFG, VIRTIO_PCI_CAP_ISR_CFG,
    VIRTIO_PCI_CAP_NOTIFY_CFG, VIRTIO_VENDOR_ID, VirtioPciError,
};
use virtio_drivers::transport::{DeviceStatus, Transport};
use virtio_drivers::{BufferDirection, Hal};

/// Id of a capability that the vendor gives a meaning.
const VENDOR_CAPABILITY: u8 = 0x09;

/// Offsets in the common configuration that are used directly (VirtIO 1.2 §4.1.4.3).
mod common {
    pub(super) const QUEUE_SELECT: usize = 22;
    pub(super) const QUEUE_MSIX_VECTOR: usize = 26;
    pub(super) const QUEUE_NOTIFY_OFF: usize = 30;
    pub(super) const BYTES: u64 = 56;
}

/// Why a function is no device that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PciRefusal {
    /// Its registers cannot be reached.
    Bars(BarError),
    /// A capability leads outside of the function's memory, or is missing.
    Capabilities,
    /// It has no MSI-X.
    NoMsix,
    /// Something else that the transport does not take.
    Transport(VirtioPciError),
}

impl fmt::Display for PciRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PciRefusal::Bars(BarError::Invalid) => f.write_str("base addresses make no sense"),
            PciRefusal::Bars(BarError::NoRoom) => f.write_str("no address for its registers"),
            PciRefusal::Bars(BarError::OutOfReach) => {
                f.write_str("registers lie where they cannot be mapped")
            }
            PciRefusal::Capabilities => {
                f.write_str("not a modern virtio device: capabilities are missing or wrong")
            }
            PciRefusal::NoMsix => f.write_str("the device has no MSI-X"),
            PciRefusal::Transport(error) => error.fmt(f),
        }
    }
}

/// Returns what a function is, `None` when it is no virtio device with a driver here.
pub(crate) fn kind(function: Function) -> Option<DeviceKind> {
    match (function.vendor, function.device) {
        (VIRTIO_VENDOR_ID, 0x1000 | 0x1041) => Some(DeviceKind::Network),
        (VIRTIO_VENDOR_ID, 0x1005 | 0x1044) => Some(DeviceKind::Entropy),
        _ => None,
    }
}

/// Memory as the transport sees it: addresses are the same for driver and device.
struct OneToOne;

// SAFETY: (1) `dma_alloc` gives zeroed, page-aligned memory that nothing else has and that is never
// freed; (2) memory and device registers are mapped one to one, so addresses translate to
// themselves.
unsafe impl Hal for OneToOne {
    fn dma_alloc(pages: usize, _direction: BufferDirection) -> (u64, NonNull<u8>) {
        let memory = SharedMemory::new(pages * virtio_drivers::PAGE_SIZE);
        let start = memory.map(|memory| memory.start());
        // The crate takes address 0 for failure.
        start.map_or((0, NonNull::dangling()), |start| {
            (device_address(start), start)
        })
    }

    unsafe fn dma_dealloc(_address: u64, _start: NonNull<u8>, _pages: usize) -> i32 {
        0
    }

    unsafe fn mmio_phys_to_virt(address: u64, _size: usize) -> NonNull<u8> {
        // A base address of 0 never gets here: the transport refuses it.
        NonNull::new(core::ptr::with_exposed_provenance_mut(address as usize))
            .unwrap_or(NonNull::dangling())
    }

    unsafe fn share(buffer: NonNull<[u8]>, _direction: BufferDirection) -> u64 {
        device_address(buffer.cast())
    }

    unsafe fn unshare(_address: u64, _buffer: NonNull<[u8]>, _direction: BufferDirection) {}
}

/// The registers of one function.
pub(crate) struct PciRegisters {
    /// Never dropped: that would reset a device that queues still use.
    transport: ManuallyDrop<PciTransport>,
    common: NonNull<u8>,
    notify: BarRange,
    notify_multiplier: u32,
    msix: MsixTable,
}

// SAFETY: device memory that stays where it is; accesses may come from any core.
unsafe impl Send for PciRegisters {}

/// Sets up a function's registers and interrupts; what has no address gets one from `window`, and what
/// lies above 4 GiB is mapped by `reach`, which returns false when it cannot be.
///
/// # Safety
/// `access` must lead to the configuration space of this machine, memory below 4 GiB must be mapped
/// one to one, as must be what `reach` is asked for, `window` must be free for devices, and no one else
/// may use the function.
pub(crate) unsafe fn open<C: ConfigurationAccess + Copy>(
    access: C,
    function: Function,
    window: Option<&mut AddressWindow>,
    mut reach: impl FnMut(BarRange) -> bool,
) -> Result<PciRegisters, PciRefusal> {
    let place = function.place;
    let mut root = PciRoot::new(access);
    let bars = place_and_enable(&mut root, place, window).map_err(PciRefusal::Bars)?;
    let mut far = bars
        .iter()
        .filter(|bar| bar.address + bar.len_bytes > 1 << 32);
    if !far.all(|bar| reach(*bar)) {
        return Err(PciRefusal::Bars(BarError::OutOfReach));
    }
    let capabilities = capabilities(&access, place);
    let structures = Structures::find(&access, place, &capabilities, &bars)?;
    let common = structures.common.address as usize;
    let common = NonNull::new(core::ptr::with_exposed_provenance_mut(common));

    let msix = capabilities
        .iter()
        .find(|capability| capability.id == MSIX_CAPABILITY);
    let msix = msix.copied().ok_or(PciRefusal::NoMsix)?;
    let mut access = access;
    // SAFETY: the ranges are what the function's registers now say, below 4 GiB or reached, and so
    // mapped.
    let msix = unsafe { MsixTable::enable(&mut access, place, msix, &bars) };
    let transport = PciTransport::new::<OneToOne, C>(&mut root, place);
    Ok(PciRegisters {
        transport: ManuallyDrop::new(transport.map_err(PciRefusal::Transport)?),
        common: common.ok_or(PciRefusal::Capabilities)?,
        notify: structures.notify,
        notify_multiplier: structures.notify_multiplier,
        msix: msix.ok_or(PciRefusal::NoMsix)?,
    })
}

/// Where a function's registers are, of those that are used directly.
struct Structures {
    common: BarRange,
    notify: BarRange,
    notify_multiplier: u32,
}

impl Structures {
    /// Finds them. Every structure that the transport may use besides is checked too: its own check
    /// adds 32-bit numbers, and can be passed by a sum that wraps.
    fn find(
        access: &impl ConfigurationAccess,
        place: DeviceFunction,
        capabilities: &[Capability],
        bars: &[BarRange; 6],
    ) -> Result<Self, PciRefusal> {
        let read = |capability: Capability, offset: u8| {
            let offset = capability.offset.checked_add(offset);
            offset
                .map(|offset| access.read_word(place, offset))
                .ok_or(PciRefusal::Capabilities)
        };
        let range = |capability| -> Result<BarRange, PciRefusal> {
            let bar = bars
                .get(read(capability, 4)? as usize & 0xff)
                .copied()
                .unwrap_or_default();
            let offset = u64::from(read(capability, 8)?);
            let len_bytes = u64::from(read(capability, 12)?);
            if offset + len_bytes > bar.len_bytes {
                return Err(PciRefusal::Capabilities);
            }
            Ok(BarRange {
                address: bar.address + offset,
                len_bytes,
            })
        };
        let (mut common, mut notify) = (None, None);
        for capability in capabilities {
            match (capability.id, (capability.head >> 8) as u8) {
                (VENDOR_CAPABILITY, VIRTIO_PCI_CAP_COMMON_CFG) => {
                    common = common.or(Some(range(*capability)?));
                }
                (VENDOR_CAPABILITY, VIRTIO_PCI_CAP_NOTIFY_CFG) => {
                    let found = (range(*capability)?, read(*capability, 16)?);
                    notify = notify.or(Some(found));
                }
                (VENDOR_CAPABILITY, VIRTIO_PCI_CAP_ISR_CFG | VIRTIO_PCI_CAP_DEVICE_CFG) => {
                    range(*capability)?;
                }
                _ => {}
            }
        }
        let common = common
            .filter(|range| range.len_bytes >= common::BYTES && range.address.is_multiple_of(4));
        match (common, notify) {
            (Some(common), Some((notify, notify_multiplier))) => Ok(Structures {
                common,
                notify,
                notify_multiplier,
            }),
            _ => Err(PciRefusal::Capabilities),
        }
    }
}

impl PciRegisters {
    /// Returns where the doorbells are: what must stay mapped when the device runs.
    pub(crate) fn doorbells(&self) -> BarRange {
        self.notify
    }

    /// Selects a queue for the registers that stand for the selected one.
    fn select(&mut self, queue: u16) {
        // SAFETY: inside of the common configuration (checked by `open`), aligned to 2 bytes.
        unsafe {
            self.common
                .add(common::QUEUE_SELECT)
                .cast()
                .write_volatile(queue)
        };
    }

    /// Reads a 16-bit register of the selected queue.
    fn read(&self, offset: usize) -> u16 {
        // SAFETY: as in `select`.
        unsafe { self.common.add(offset).cast().read_volatile() }
    }
}

impl Registers for PciRegisters {
    fn status(&mut self) -> u8 {
        self.transport.get_status().bits() as u8
    }

    fn set_status(&mut self, status: u8) {
        self.transport
            .set_status(DeviceStatus::from_bits_retain(status.into()));
    }

    fn offered_features(&mut self) -> u64 {
        self.transport.read_device_features()
    }

    fn accept_features(&mut self, features: u64) {
        self.transport.write_driver_features(features);
    }

    fn max_queue_size(&mut self, queue: u16) -> u32 {
        self.transport.max_queue_size(queue)
    }

    fn doorbell(&mut self, queue: u16) -> Option<Doorbell> {
        self.select(queue);
        let steps = self.read(common::QUEUE_NOTIFY_OFF);
        let offset = doorbell_offset(steps, self.notify_multiplier, self.notify.len_bytes)?;
        let address = (self.notify.address + offset) as usize;
        let register = NonNull::new(core::ptr::with_exposed_provenance_mut::<u16>(address))?;
        // SAFETY: inside of the notification range, which stays mapped; writing there only makes
        // the device look at its queue.
        register
            .is_aligned()
            .then(|| unsafe { Doorbell::bits16(register, queue) })
    }

    fn install(&mut self, queue: u16, ring: RingAddresses) {
        let (descriptors, available, used) = (ring.descriptors, ring.available, ring.used);
        self.transport
            .queue_set(queue, ring.size.into(), descriptors, available, used);
    }

    fn interrupt_lines(&self) -> usize {
        self.msix.entries()
    }

    fn route(&mut self, line: usize, target: InterruptTarget) -> bool {
        self.msix.route(line, target)
    }

    fn bind(&mut self, queue: u16, line: usize) -> bool {
        let Ok(line) = u16::try_from(line) else {
            return false;
        };
        self.select(queue);
        // SAFETY: as in `select`. The device shows 0xffff when it cannot.
        unsafe {
            self.common
                .add(common::QUEUE_MSIX_VECTOR)
                .cast()
                .write_volatile(line)
        };
        self.read(common::QUEUE_MSIX_VECTOR) == line
    }

    fn interrupt_acknowledge(&mut self) -> Option<Doorbell> {
        None
    }

    fn config_u8(&mut self, offset: usize) -> Option<u8> {
        self.transport.read_config_space(offset).ok()
    }

    fn config_u16(&mut self, offset: usize) -> Option<u16> {
        self.transport.read_config_space(offset).ok()
    }
}

/// Returns where a queue's doorbell is in the notification range of `len_bytes` (VirtIO 1.2
/// §4.1.4.4), `None` when that is outside.
fn doorbell_offset(steps: u16, multiplier: u32, len_bytes: u64) -> Option<u64> {
    let offset = u64::from(steps) * u64::from(multiplier);
    (offset + 2 <= len_bytes).then_some(offset)
}

#[cfg(test)]
#[path = "pci_tests.rs"]
mod tests;
