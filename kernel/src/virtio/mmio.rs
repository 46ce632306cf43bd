//! The MMIO bus (VirtIO 1.2 §4.2): a device is a window of registers and one interrupt wire.
//!
//! Upstream: `virtio-drivers`' transport. Downstream: [`super::device`], through [`Registers`].

use super::device::{DeviceKind, InterruptTarget, Registers, RingAddresses};
use super::doorbell::Doorbell;
use core::fmt;
use core::mem::ManuallyDrop;
use core::ptr::NonNull;
use virtio_drivers::transport::mmio::{MmioError, MmioTransport, MmioVersion};
use virtio_drivers::transport::{DeviceStatus, DeviceType, Transport};

/// Offsets of the registers that are used directly, in bytes (VirtIO 1.2 §4.2.2).
mod register {
    pub(super) const MAGIC: usize = 0x00;
    pub(super) const DEVICE_ID: usize = 0x08;
    pub(super) const QUEUE_NOTIFY: usize = 0x50;
    pub(super) const INTERRUPT_ACK: usize = 0x64;
}

/// What a window's first register reads.
const MAGIC: u32 = 0x7472_6976;
/// Both interrupt causes: a used buffer, and a change of configuration.
const ALL_CAUSES: u32 = 3;

/// A window of registers and the wire behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    /// First address.
    pub(crate) address: u64,
    /// Length in bytes, 512 at least.
    pub(crate) len_bytes: u64,
    /// The global system interrupt.
    pub(crate) gsi: u32,
}

/// Why a window is no device that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MmioRefusal {
    /// No virtio window at all.
    NotThere,
    /// A window with no device behind it.
    Empty,
    /// A device of another kind.
    OtherKind(u32),
    /// A legacy device.
    Legacy,
    /// Something else that the transport does not take.
    Transport(MmioError),
}

impl fmt::Display for MmioRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MmioRefusal::NotThere => f.write_str("no virtio device"),
            MmioRefusal::Empty => f.write_str("no device behind the window"),
            MmioRefusal::OtherKind(id) => write!(f, "virtio device {id} has no driver here"),
            MmioRefusal::Legacy => f.write_str(
                "a legacy device: start QEMU with -global virtio-mmio.force-legacy=false",
            ),
            MmioRefusal::Transport(error) => error.fmt(f),
        }
    }
}

/// The registers of one window.
pub(crate) struct MmioRegisters {
    /// Never dropped: that would reset a device that queues still use.
    transport: ManuallyDrop<MmioTransport<'static>>,
    start: NonNull<u8>,
    /// Where the wire leads, if anywhere: discovery saw to that.
    interrupt: Option<InterruptTarget>,
}

// SAFETY: device memory that stays where it is; accesses may come from any core.
unsafe impl Send for MmioRegisters {}

/// Looks into a window.
///
/// # Safety
/// The window must be device memory or nothing, mapped one to one and uncached, and used by no one
/// else.
pub(crate) unsafe fn open(window: Window) -> Result<(DeviceKind, MmioRegisters), MmioRefusal> {
    let address = window.address as usize;
    let start = NonNull::new(core::ptr::with_exposed_provenance_mut::<u8>(address))
        .filter(|_| address.is_multiple_of(4) && window.len_bytes >= 0x200)
        .ok_or(MmioRefusal::NotThere)?;
    // SAFETY: the caller vouches for the window; both registers are inside and aligned.
    let read = |offset| unsafe { start.add(offset).cast::<u32>().read_volatile() };
    if read(register::MAGIC) != MAGIC {
        return Err(MmioRefusal::NotThere);
    }
    let id = read(register::DEVICE_ID);
    let kind = match id {
        0 => return Err(MmioRefusal::Empty),
        id if id == DeviceType::Network as u32 => DeviceKind::Network,
        id if id == DeviceType::EntropySource as u32 => DeviceKind::Entropy,
        id => return Err(MmioRefusal::OtherKind(id)),
    };
    // SAFETY: the caller vouches for the window, which stays for ever.
    let transport = unsafe { MmioTransport::new(start.cast(), window.len_bytes as usize) };
    let transport = ManuallyDrop::new(transport.map_err(MmioRefusal::Transport)?);
    if transport.version() == MmioVersion::Legacy {
        return Err(MmioRefusal::Legacy);
    }
    let registers = MmioRegisters {
        transport,
        start,
        interrupt: None,
    };
    Ok((kind, registers))
}

impl MmioRegisters {
    /// Notes where the device's wire was led.
    pub(crate) fn set_interrupt(&mut self, interrupt: Option<InterruptTarget>) {
        self.interrupt = interrupt;
    }

    /// Returns a register that is written with one value only; `offset` is below 0x100.
    fn write_only(&self, offset: usize, value: u32) -> Doorbell {
        // SAFETY: the window is at least 0x200 bytes, stays mapped, and the two registers asked for
        // only make the device look at its queues or lower its wire.
        unsafe { Doorbell::bits32(self.start.add(offset).cast(), value) }
    }
}

impl Registers for MmioRegisters {
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
        Some(self.write_only(register::QUEUE_NOTIFY, queue.into()))
    }

    fn install(&mut self, queue: u16, ring: RingAddresses) {
        let (descriptors, available, used) = (ring.descriptors, ring.available, ring.used);
        self.transport
            .queue_set(queue, ring.size.into(), descriptors, available, used);
    }

    fn interrupt_lines(&self) -> usize {
        usize::from(self.interrupt.is_some())
    }

    /// The wire leads where it leads: any other core is refused.
    fn route(&mut self, _line: usize, target: InterruptTarget) -> bool {
        self.interrupt == Some(target)
    }

    fn bind(&mut self, _queue: u16, line: usize) -> bool {
        line == 0
    }

    fn interrupt_acknowledge(&mut self) -> Option<Doorbell> {
        Some(self.write_only(register::INTERRUPT_ACK, ALL_CAUSES))
    }

    fn config_u8(&mut self, offset: usize) -> Option<u8> {
        self.transport.read_config_space(offset).ok()
    }

    fn config_u16(&mut self, offset: usize) -> Option<u16> {
        self.transport.read_config_space(offset).ok()
    }
}

/// Returns the windows that a kernel command line names: `virtio_mmio.device=SIZE@ADDRESS:IRQ`, as
/// QEMU (without ACPI) and Firecracker write it. Entries that make no sense are left out.
pub(crate) fn command_line_windows(command_line: &str) -> impl Iterator<Item = Window> {
    command_line.split_ascii_whitespace().filter_map(|word| {
        let entry = word.strip_prefix("virtio_mmio.device=")?;
        let (len_bytes, rest) = entry.split_once('@')?;
        let mut fields = rest.split(':');
        let window = Window {
            len_bytes: size(len_bytes)?,
            address: number(fields.next()?)?,
            gsi: u32::try_from(number(fields.next()?)?).ok()?,
        };
        let end = window.address.checked_add(window.len_bytes)?;
        let is_plausible = window.len_bytes >= 0x200 && window.address != 0 && end <= 1 << 32;
        is_plausible.then_some(window)
    })
}

/// Reads a number, decimal or with 0x.
fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

/// Reads a number of bytes, with K or M.
fn size(text: &str) -> Option<u64> {
    let unit = text
        .len()
        .checked_sub(1)
        .and_then(|at| text.split_at_checked(at));
    match unit {
        Some((digits, "K" | "k")) => number(digits)?.checked_mul(1 << 10),
        Some((digits, "M" | "m")) => number(digits)?.checked_mul(1 << 20),
        _ => number(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::boxed::Box;
    use std::vec::Vec;

    fn windows(line: &str) -> Vec<(u64, u64, u32)> {
        command_line_windows(line)
            .map(|window| (window.address, window.len_bytes, window.gsi))
            .collect()
    }

    #[test]
    fn the_command_lines_of_qemu_and_firecracker_are_understood() {
        let line =
            "ip=dhcp virtio_mmio.device=512@0xfeb00e00:12 virtio_mmio.device=4K@0xd0000000:5:1";
        assert_eq!(
            windows(line),
            [(0xfeb0_0e00, 512, 12), (0xd000_0000, 4096, 5)]
        );
    }

    #[test]
    fn nonsense_on_the_command_line_is_left_out() {
        for word in [
            "",
            "512",
            "512@",
            "@1:1",
            "512@0:1",
            "511@0x1000:1",
            "1M@0xffffffff:1",
        ] {
            assert_eq!(windows(&std::format!("virtio_mmio.device={word}")), []);
        }
        let far = "virtio_mmio.device=99999999999999999999M@1:1 virtio_mmio.device=é@1:1";
        assert_eq!(windows(far), []);
        assert_eq!(
            windows("virtio_mmio.device=18446744073709551615M@0x1000:1"),
            []
        );
    }

    /// A window in memory, which keeps what is written and answers nothing.
    fn refusal(magic: u32, version: u32, id: u32) -> MmioRefusal {
        let mut words = [0_u32; 128];
        words[..3].copy_from_slice(&[magic, version, id]);
        let start = Box::leak(Box::new(words)).as_mut_ptr();
        let window = Window {
            address: start.expose_provenance() as u64,
            len_bytes: 512,
            gsi: 0,
        };
        // SAFETY: memory of this test's own, which it gave away for ever.
        unsafe { open(window) }.err().expect("no device")
    }

    #[test]
    fn a_window_without_a_modern_device_is_refused() {
        assert_eq!(refusal(0, 2, 1), MmioRefusal::NotThere);
        assert_eq!(refusal(u32::MAX, u32::MAX, u32::MAX), MmioRefusal::NotThere);
        assert_eq!(refusal(MAGIC, 2, 0), MmioRefusal::Empty);
        assert_eq!(refusal(MAGIC, 2, 2), MmioRefusal::OtherKind(2));
        assert_eq!(refusal(MAGIC, 1, 1), MmioRefusal::Legacy);
        let unknown = MmioRefusal::Transport(MmioError::UnsupportedVersion(3));
        assert_eq!(refusal(MAGIC, 3, 1), unknown);
    }
}
