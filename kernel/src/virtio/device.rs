//! A device before it runs: status, features, configuration space, queues, interrupts
//! (VirtIO 1.2 §2.1–§2.6, §3.1.1), on whichever bus.
//!
//! Upstream: the bus, as [`Registers`]. Downstream: drivers, which take the queues they want and
//! then drop the [`Device`]: what runs is the queues alone.

use super::doorbell::Doorbell;
use super::exchange::ExchangeQueue;
use super::limits::{MAX_QUEUE_SIZE, MIN_QUEUE_SIZE, RESET_POLLS};
use super::rx::RxQueue;
use super::tx::TxQueue;
use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;

/// Feature bits of every device (VirtIO 1.2 §6).
pub mod features {
    /// VIRTIO_F_INDIRECT_DESC: a descriptor may lead to a table of further ones.
    pub const INDIRECT: u64 = 1 << 28;
    /// VIRTIO_F_EVENT_IDX: each side says at which index it wants to be told.
    pub const EVENT_INDEX: u64 = 1 << 29;
    /// VIRTIO_F_VERSION_1: not a legacy device.
    pub const VERSION_1: u64 = 1 << 32;
    /// VIRTIO_F_ACCESS_PLATFORM: addresses go through the platform's translation, of which there
    /// is none here.
    pub const ACCESS_PLATFORM: u64 = 1 << 33;
}

/// Device status bits (VirtIO 1.2 §2.1).
mod status {
    pub(super) const ACKNOWLEDGE: u8 = 1;
    pub(super) const DRIVER: u8 = 2;
    pub(super) const DRIVER_OK: u8 = 4;
    pub(super) const FEATURES_OK: u8 = 8;
    pub(super) const FAILED: u8 = 128;
}

/// What a device is, of the kinds that have a driver here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceKind {
    /// A network device (VirtIO 1.2 §5.1).
    Network,
    /// An entropy device (VirtIO 1.2 §5.4).
    Entropy,
}

/// A core and the vector by which a device interrupts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InterruptTarget {
    /// The core's local APIC; below 255.
    pub apic_id: u8,
    /// The interrupt vector.
    pub vector: u8,
}

/// Where a ring is, as the device addresses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RingAddresses {
    /// Number of descriptors, a power of two.
    pub size: u16,
    /// The descriptor table.
    pub descriptors: u64,
    /// The available ring (the specification's driver area).
    pub available: u64,
    /// The used ring (the specification's device area).
    pub used: u64,
}

/// A device's registers, on whichever bus. Used until the device runs, never after.
pub trait Registers: Send {
    /// Reads the device status.
    fn status(&mut self) -> u8;

    /// Writes the device status; 0 resets the device.
    fn set_status(&mut self, status: u8);

    /// Reads the features that the device offers.
    fn offered_features(&mut self) -> u64;

    /// Writes the features that the driver takes.
    fn accept_features(&mut self, features: u64);

    /// Reads the largest size of a queue, 0 when there is no such queue.
    fn max_queue_size(&mut self, queue: u16) -> u32;

    /// Works out a queue's doorbell, `None` when the device puts it where it cannot be.
    fn doorbell(&mut self, queue: u16) -> Option<Doorbell>;

    /// Tells the device where a queue is, and enables it.
    fn install(&mut self, queue: u16, ring: RingAddresses);

    /// Returns how many interrupts the device can tell apart.
    fn interrupt_lines(&self) -> usize;

    /// Leads interrupt `line` to a core; false when that cannot be done.
    fn route(&mut self, line: usize, target: InterruptTarget) -> bool;

    /// Lets a queue raise interrupt `line`; false when the device refuses.
    fn bind(&mut self, queue: u16, line: usize) -> bool;

    /// Returns the register that takes back a raised interrupt, `None` when that needs no
    /// register (MSI-X).
    fn interrupt_acknowledge(&mut self) -> Option<Doorbell>;

    /// Reads 8 bits of the device's own configuration, `None` when it is shorter.
    fn config_u8(&mut self, offset: usize) -> Option<u8>;

    /// Reads 16 bits of the device's own configuration at an even offset, `None` when it is
    /// shorter.
    fn config_u16(&mut self, offset: usize) -> Option<u16>;
}

/// Why the driver and the device did not come to terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NegotiateError {
    /// The status did not become 0 after a reset.
    NoReset,
    /// VIRTIO_F_VERSION_1 is not offered: a legacy device.
    Legacy,
    /// The device did not take the set of features.
    Refused,
}

impl fmt::Display for NegotiateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NegotiateError::NoReset => "the device does not reset",
            NegotiateError::Legacy => "a legacy device: VIRTIO_F_VERSION_1 is not offered",
            NegotiateError::Refused => "the device refuses the features it offered",
        })
    }
}

/// Why a queue could not be set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueError {
    /// The device has no such queue, or one of fewer than [`MIN_QUEUE_SIZE`] descriptors.
    Missing,
    /// The device puts the doorbell where it cannot be.
    NoDoorbell,
    /// The device does not take the interrupt.
    NoInterrupt,
    /// Not enough memory for the ring and its buffers.
    NoMemory,
}

impl fmt::Display for QueueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            QueueError::Missing => "the device has no such queue, or a useless one",
            QueueError::NoDoorbell => "the queue's doorbell is outside of the device",
            QueueError::NoInterrupt => "the device refuses the queue's interrupt",
            QueueError::NoMemory => "not enough memory for the queue",
        })
    }
}

/// What is asked of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueRequest {
    /// The device's number for it.
    pub index: u16,
    /// Most descriptors wanted; rounded down to a power of two that both sides can do.
    pub max_size: u16,
    /// The interrupt that it raises, below [`Device::interrupt_lines`]; `None` for a queue that is
    /// only polled.
    pub interrupt_line: Option<usize>,
}

/// A virtio device that is not running yet.
pub struct Device {
    kind: DeviceKind,
    place: String,
    registers: Box<dyn Registers>,
    accepted: u64,
}

impl Device {
    /// Wraps the registers of a device found at `place` (for messages).
    pub fn new(kind: DeviceKind, place: String, registers: Box<dyn Registers>) -> Self {
        Device {
            kind,
            place,
            registers,
            accepted: 0,
        }
    }

    /// Returns what it is.
    pub fn kind(&self) -> DeviceKind {
        self.kind
    }

    /// Returns where it was found, for messages.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Resets the device and agrees on features: `choose` picks from those offered, and may look
    /// at the configuration; VERSION_1 and ACCESS_PLATFORM are taken besides. Returns what both
    /// sides have now.
    ///
    /// # Errors
    /// See [`NegotiateError`].
    pub fn negotiate(
        &mut self,
        choose: impl FnOnce(&mut Self, u64) -> u64,
    ) -> Result<u64, NegotiateError> {
        let registers = &mut self.registers;
        registers.set_status(0);
        if !(0..RESET_POLLS).any(|_| registers.status() == 0) {
            return Err(NegotiateError::NoReset);
        }
        registers.set_status(status::ACKNOWLEDGE | status::DRIVER);
        let offered = registers.offered_features();
        if offered & features::VERSION_1 == 0 {
            self.give_up();
            return Err(NegotiateError::Legacy);
        }
        // Addresses are physical and memory coherent, which is what ACCESS_PLATFORM asks the driver
        // to see to; behind an IOMMU nothing would be mapped, and none is set up.
        let always = features::VERSION_1 | features::ACCESS_PLATFORM;
        let accepted = (choose(self, offered) | always) & offered;
        self.registers.accept_features(accepted);
        let step = status::ACKNOWLEDGE | status::DRIVER | status::FEATURES_OK;
        self.registers.set_status(step);
        if self.registers.status() & status::FEATURES_OK == 0 {
            self.give_up();
            return Err(NegotiateError::Refused);
        }
        self.accepted = accepted;
        Ok(accepted)
    }

    /// Reads 8 bits of configuration.
    pub fn config_u8(&mut self, offset: usize) -> Option<u8> {
        self.registers.config_u8(offset)
    }

    /// Reads 16 bits of configuration at an even offset.
    pub fn config_u16(&mut self, offset: usize) -> Option<u16> {
        self.registers.config_u16(offset)
    }

    /// Returns the largest size of a queue, in descriptors, that `max_size` allows; 0 when there is no
    /// such queue.
    pub fn queue_size(&mut self, index: u16, max_size: u16) -> u16 {
        let offered = self.registers.max_queue_size(index);
        let most = offered.min(max_size.into()).min(MAX_QUEUE_SIZE.into()) as u16;
        most.checked_ilog2().map_or(0, |bits| 1 << bits)
    }

    /// Returns how many interrupts the device can tell apart: as many cores can be woken one by
    /// one.
    pub fn interrupt_lines(&self) -> usize {
        self.registers.interrupt_lines()
    }

    /// Leads interrupt `line` to a core.
    ///
    /// # Errors
    /// [`QueueError::NoInterrupt`] when there is no such line or it cannot be routed.
    pub fn route(&mut self, line: usize, target: InterruptTarget) -> Result<(), QueueError> {
        let is_routed = line < self.interrupt_lines() && self.registers.route(line, target);
        is_routed.then_some(()).ok_or(QueueError::NoInterrupt)
    }

    /// Returns the register that takes back a raised interrupt, to be written before each sleep;
    /// `None` when none needs to be.
    pub fn interrupt_acknowledge(&mut self) -> Option<Doorbell> {
        self.registers.interrupt_acknowledge()
    }

    /// Sets up a receive queue, its buffers given to the device but not announced: completions of
    /// fewer than `min_bytes` will be refused.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub fn rx_queue(
        &mut self,
        request: QueueRequest,
        min_bytes: u32,
    ) -> Result<RxQueue, QueueError> {
        let (size, doorbell) = self.prepare(request)?;
        let queue = RxQueue::new(size, min_bytes, self.has_event_index(), doorbell)?;
        self.registers
            .install(request.index, queue.ring().addresses());
        Ok(queue)
    }

    /// Sets up a transmit queue.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub fn tx_queue(&mut self, request: QueueRequest) -> Result<TxQueue, QueueError> {
        let (size, doorbell) = self.prepare(request)?;
        let has_indirect = self.accepted & features::INDIRECT != 0;
        let queue = TxQueue::new(size, self.has_event_index(), has_indirect, doorbell)?;
        self.registers
            .install(request.index, queue.ring().addresses());
        Ok(queue)
    }

    /// Sets up a queue for single requests.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub fn exchange_queue(&mut self, index: u16) -> Result<ExchangeQueue, QueueError> {
        let (size, doorbell) = self.prepare(QueueRequest {
            index,
            max_size: MIN_QUEUE_SIZE,
            interrupt_line: None,
        })?;
        let queue = ExchangeQueue::new(size, self.has_event_index(), doorbell)?;
        self.registers.install(index, queue.ring().addresses());
        Ok(queue)
    }

    /// Lets the device run: queues may be published and used from here on.
    pub fn start(&mut self) {
        self.registers.set_status(
            status::ACKNOWLEDGE | status::DRIVER | status::FEATURES_OK | status::DRIVER_OK,
        );
    }

    /// Tells the device that the driver has given up on it.
    pub fn give_up(&mut self) {
        self.registers.set_status(status::FAILED);
    }

    fn has_event_index(&self) -> bool {
        self.accepted & features::EVENT_INDEX != 0
    }

    /// Agrees on a size, binds the interrupt, works out the doorbell.
    fn prepare(&mut self, request: QueueRequest) -> Result<(u16, Doorbell), QueueError> {
        let size = self.queue_size(request.index, request.max_size);
        if size < MIN_QUEUE_SIZE {
            return Err(QueueError::Missing);
        }
        if let Some(line) = request.interrupt_line
            && !self.registers.bind(request.index, line)
        {
            return Err(QueueError::NoInterrupt);
        }
        let doorbell = self
            .registers
            .doorbell(request.index)
            .ok_or(QueueError::NoDoorbell)?;
        Ok((size, doorbell))
    }
}
