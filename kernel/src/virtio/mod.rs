//! virtio: split rings over memory that driver and device share, and the devices behind them.
//!
//! [`device`] is a device before it runs: status, features, configuration, queue set-up, on
//! whichever bus. [`rx`], [`tx`] and [`exchange`] are what a driver gets out of it: queues that own
//! their buffers for good. They hold no register but their [`doorbell`], so the data path cannot
//! read one.
//!
//! Nothing that the device writes is believed: descriptors are written once and never read back,
//! every id and length that comes back is checked against the driver's own copy, and a lie is
//! counted. Memory once shown to a device is never freed. One thing has to be trusted, for want of an
//! IOMMU: that the device writes where it was told to, and not to a buffer that it has given back.
//!
//! Upstream: the device, through the transports of `virtio-drivers`. Downstream: `net::virtio_net`,
//! and the machine's entropy.
//! Specification: VirtIO 1.2, §2.7 (split virtqueues), §3.1 (initialisation), §4.1, §4.2 (buses).
//!
//! Reading order: [`notification`], [`limits`], `memory`, `ring_layout`, `ring`, [`rx`], [`tx`],
//! [`exchange`], [`doorbell`], [`device`], `mmio`, `pci`, `discovery` (in the image only), [`entropy`].

pub mod device;
#[cfg(any(test, feature = "machine"))]
pub mod discovery;
pub mod doorbell;
pub mod entropy;
pub mod exchange;
#[cfg(any(test, feature = "fake"))]
pub mod fake;
pub mod limits;
mod memory;
#[cfg(any(test, feature = "machine"))]
mod mmio;
pub mod notification;
#[cfg(any(test, feature = "machine"))]
mod pci;
mod ring;
mod ring_layout;
pub mod rx;
pub mod tx;

pub use device::{Device, DeviceKind, InterruptTarget};
#[cfg(any(test, feature = "machine"))]
pub use discovery::discover;

#[cfg(test)]
mod device_tests;
#[cfg(test)]
mod ring_tests;
