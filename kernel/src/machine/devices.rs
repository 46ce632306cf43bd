//! The open machine as device discovery sees it.
//!
//! Upstream: [`Machine`]. Downstream: [`crate::virtio::discover`].

use super::Machine;
use super::interrupts::DEVICE_VECTOR;
use crate::CoreId;
use crate::acpi::{Ecam, read_mcfg};
use crate::virtio::InterruptTarget;
use crate::virtio::discovery::Platform;

impl Machine {
    /// Returns what a device must do to wake each core, in core order; it ends at the first core
    /// that a device cannot address.
    pub fn interrupt_targets(&self) -> impl Iterator<Item = InterruptTarget> {
        let apic_ids = self.apic_ids.iter().map(|id| u8::try_from(*id).ok());
        let addressable = apic_ids.map_while(|id| id.filter(|id| *id < u8::MAX));
        addressable.map(|apic_id| InterruptTarget {
            apic_id,
            vector: DEVICE_VECTOR,
        })
    }
}

impl Platform for Machine {
    fn command_line(&self) -> &str {
        self.command_line
    }

    fn is_memory(&self, address: u64) -> bool {
        self.layout.ram.iter().any(|range| range.contains(&address))
    }

    fn ecam(&self) -> Option<Ecam> {
        self.acpi_table(b"MCFG").and_then(read_mcfg)
    }

    fn reach_device(&mut self, address: u64, len_bytes: u64) -> bool {
        Machine::reach_device(self, address, len_bytes).is_ok()
    }

    fn map_device(&mut self, address: u64, len_bytes: u64) -> bool {
        Machine::map_device(self, address, len_bytes).is_ok()
    }

    fn row_gsi(&self, index: u32) -> u32 {
        self.virtio_mmio_gsi(index)
    }

    fn lead_to_boot_core(&mut self, gsi: u32) -> Option<InterruptTarget> {
        self.route_interrupt(gsi, CoreId::BOOT).ok()?;
        self.interrupt_targets().next()
    }
}
