//! How the memory of the machine is shared out: what each core's stack, channel and queues may
//! take, so that nothing needs to be allocated once the appliance serves.

use crate::limits::MIN_BUFFER_BYTES;
use core::fmt;

/// Bytes of receive buffer of a connection, and so its largest window: requests are small.
pub const RX_BUFFER_BYTES: usize = 4 * 1024;
/// Bytes of send buffer of a connection.
pub const TX_BUFFER_BYTES: usize = 16 * 1024;
/// What a connection takes beside its buffers: the TCP socket, the flow, the handle, the timer,
/// TIME_WAIT entries and the HTTP state, in bytes, rounded up.
const CONNECTION_OVERHEAD_BYTES: usize = 2 * 1024;
const CONNECTION_BYTES: usize = RX_BUFFER_BYTES + TX_BUFFER_BYTES + CONNECTION_OVERHEAD_BYTES;

/// Connections of one core at most.
pub const MAX_CONNECTIONS: usize = 16_384;
/// Connections of one core at least: with memory for fewer the appliance does not start.
pub const MIN_CONNECTIONS: usize = 16;

/// Bytes of one buffer of the channel's pool, and so of the largest request head.
pub const BUFFER_BYTES: usize = 8 * 1024;
const _: () = assert!(BUFFER_BYTES >= MIN_BUFFER_BYTES);

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
/// Frames are 2 KiB; a descriptor has two on the receive side and one on the transmit side.
const DESCRIPTOR_BYTES: usize = 6 * KIB;

/// What one core gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Descriptors of each virtqueue, a power of two.
    pub queue_size: u16,
    /// Connections at once.
    pub connections: usize,
    /// Buffers for requests, of [`BUFFER_BYTES`] each.
    pub buffers: usize,
}

/// There is not enough memory to serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLittleMemory {
    free_bytes: usize,
    wanted_bytes: usize,
}

impl fmt::Display for TooLittleMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (free, wanted) = (self.free_bytes / KIB, self.wanted_bytes.div_ceil(KIB));
        write!(
            f,
            "too little memory: {free} KiB are free, {wanted} KiB are needed"
        )
    }
}

impl Plan {
    /// Shares `free_bytes` out between `cores` cores, an eighth kept back for what is not planned
    /// here.
    ///
    /// # Errors
    /// [`TooLittleMemory`] when a core would have fewer than [`MIN_CONNECTIONS`].
    pub fn new(free_bytes: usize, cores: usize) -> Result<Plan, TooLittleMemory> {
        let cores = cores.max(1);
        let share = (free_bytes - free_bytes / 8) / cores;
        let queue_size: u16 = if share < 8 * MIB { 64 } else { 256 };
        let buffers = (share / 32 / BUFFER_BYTES).clamp(8, 512);
        let fixed = usize::from(queue_size) * DESCRIPTOR_BYTES + buffers * BUFFER_BYTES + 256 * KIB;
        let connections = share.saturating_sub(fixed) / CONNECTION_BYTES;
        if connections < MIN_CONNECTIONS {
            let wanted = (fixed + MIN_CONNECTIONS * CONNECTION_BYTES) * cores;
            return Err(TooLittleMemory {
                free_bytes,
                wanted_bytes: wanted + wanted / 7,
            });
        }
        Ok(Plan {
            queue_size,
            connections: connections.min(MAX_CONNECTIONS),
            buffers,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_never_asks_for_more_than_there_is() {
        for mib in [2, 4, 8, 13, 16, 61, 125, 500, 4000] {
            for cores in [1, 2, 8, 32] {
                let Ok(plan) = Plan::new(mib * MIB, cores) else {
                    continue;
                };
                let core = usize::from(plan.queue_size) * DESCRIPTOR_BYTES
                    + plan.buffers * BUFFER_BYTES
                    + plan.connections * CONNECTION_BYTES;
                assert!(
                    core * cores < mib * MIB,
                    "{mib} MiB, {cores} cores: {plan:?}"
                );
                assert!(plan.connections >= MIN_CONNECTIONS);
            }
        }
    }

    #[test]
    fn sixteen_mebibytes_are_enough_for_one_core() {
        // The image and the device buffers take about 3 MiB of 16.
        assert!(Plan::new(12 * MIB, 1).unwrap().connections > 200);
    }

    #[test]
    fn too_little_memory_is_told_with_both_figures() {
        let error = Plan::new(MIB, 2).unwrap_err();
        assert!(error.wanted_bytes > error.free_bytes);
        assert!(Plan::new(error.wanted_bytes, 2).is_ok());
        assert!(std::format!("{error}").contains("1024 KiB are free"));
    }
}
