//! The virtio network device (VirtIO 1.2 §5.1) as one [`QueuePair`] per core.
//!
//! [`open`] agrees with the device on features, reads its configuration, sets up as many queue
//! pairs as there are cores to serve (or as the device has), and hands them out. After that there
//! is no device any more, only the pairs, each a value that moves to its core.
//!
//! Upstream: [`kernel::virtio`]. Downstream: the stack, through [`Nic`](crate::Nic).
//!
//! Reading order: `open`, `header`, `queue_pair` with `gathering`.

mod gathering;
mod header;
mod open;
mod queue_pair;

#[cfg(test)]
mod tests;

pub use open::{MAX_MTU_BYTES, OpenError, Opened, open};
pub use queue_pair::{Frame, QueuePair};
