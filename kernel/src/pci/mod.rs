//! PCI as far as a virtio device needs it: configuration space, addresses for its registers, and
//! MSI-X.
//!
//! Upstream: the host bridge. Downstream: [`crate::virtio`]'s discovery.
//! Specification: PCI Local Bus 3.0 §6 (configuration space, §6.8.2 MSI-X).
//!
//! Reading order: `functions`, [`bars`], [`msix`], `access`.

pub(crate) mod access;
pub(crate) mod bars;
pub(crate) mod functions;
pub(crate) mod msix;

#[cfg(test)]
pub(crate) mod fake;
