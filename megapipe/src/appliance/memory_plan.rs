//! How the memory of the machine is shared out: what each core's stack, channel and queues may
//! take, so that nothing needs to be allocated once the appliance serves.

use crate::writes::{IoSlice, IoVec};
use core::fmt;

/// What the connections of an appliance take, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footprint {
    /// What may wait unread on a connection, and so its largest window.
    pub window_bytes: u32,
    /// What the application keeps for a connection.
    pub application_bytes: usize,
    /// One chunk of receive memory, and so the largest read.
    pub chunk_bytes: usize,
    /// One buffer of the channel's own, for what is larger than a chunk.
    pub buffer_bytes: usize,
}

impl Default for Footprint {
    /// Small messages in; what goes out is lent and takes nothing here.
    fn default() -> Self {
        Footprint {
            window_bytes: 64 * KIB as u32,
            application_bytes: 256,
            chunk_bytes: 2 * KIB,
            buffer_bytes: 8 * KIB,
        }
    }
}

impl Footprint {
    const fn connection_bytes(&self) -> usize {
        self.application_bytes + CONNECTION_OVERHEAD_BYTES
    }
}

/// What a connection takes beside the application: its control block with the pieces it sends, the
/// flow, the handle with a write under way, the timers, and TIME_WAIT entries, in bytes, rounded up.
const CONNECTION_OVERHEAD_BYTES: usize = 1792;
const _: () = assert!(
    net::stack::connection_bytes::<IoSlice>() + size_of::<IoVec>() + 576
        <= CONNECTION_OVERHEAD_BYTES
);

/// Connections of one core at most.
pub const MAX_CONNECTIONS: usize = 131_072;
/// Connections of one core at least: with memory for fewer the appliance does not start.
pub const MIN_CONNECTIONS: usize = 16;

/// Chunks of one core at most.
const MAX_CHUNKS: usize = 16_384;
/// What a chunk takes beside its bytes.
const CHUNK_OVERHEAD_BYTES: usize = 96;

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
    /// Chunks of receive memory.
    pub chunks: usize,
    /// Buffers of the channel's own.
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
    /// Shares `free_bytes` out between `cores` cores whose connections take `each`, an eighth kept
    /// back for what is not planned here.
    ///
    /// # Errors
    /// [`TooLittleMemory`] when a core would have fewer than [`MIN_CONNECTIONS`].
    pub fn new(free_bytes: usize, cores: usize, each: &Footprint) -> Result<Plan, TooLittleMemory> {
        let cores = cores.max(1);
        let (connection_bytes, buffer_bytes) = (each.connection_bytes(), each.buffer_bytes.max(1));
        let chunk_bytes = each.chunk_bytes.max(1) + CHUNK_OVERHEAD_BYTES;
        let share = (free_bytes - free_bytes / 8) / cores;
        let queue_size: u16 = if share < 8 * MIB { 64 } else { 256 };
        let buffers = (share / 64 / buffer_bytes).clamp(4, 512);
        // Every frame of a batch may need one.
        let chunks = (share / 16 / chunk_bytes).clamp(queue_size.into(), MAX_CHUNKS);
        let fixed = usize::from(queue_size) * DESCRIPTOR_BYTES
            + buffers * buffer_bytes
            + chunks * chunk_bytes
            + 256 * KIB;
        let connections = share.saturating_sub(fixed) / connection_bytes;
        if connections < MIN_CONNECTIONS {
            let wanted = (fixed + MIN_CONNECTIONS * connection_bytes) * cores;
            return Err(TooLittleMemory {
                free_bytes,
                wanted_bytes: wanted + wanted / 7,
            });
        }
        Ok(Plan {
            queue_size,
            connections: connections.min(MAX_CONNECTIONS),
            chunks,
            buffers,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(free_bytes: usize, cores: usize) -> Result<Plan, TooLittleMemory> {
        Plan::new(free_bytes, cores, &Footprint::default())
    }

    #[test]
    fn a_plan_never_asks_for_more_than_there_is() {
        for mib in [2, 4, 8, 13, 16, 61, 125, 500, 4000] {
            for cores in [1, 2, 8, 32] {
                let each = Footprint::default();
                let Ok(plan) = plan(mib * MIB, cores) else {
                    continue;
                };
                let core = usize::from(plan.queue_size) * DESCRIPTOR_BYTES
                    + plan.buffers * each.buffer_bytes
                    + plan.chunks * (each.chunk_bytes + CHUNK_OVERHEAD_BYTES)
                    + plan.connections * each.connection_bytes();
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
        assert!(plan(12 * MIB, 1).unwrap().connections > 200);
    }

    #[test]
    fn a_hundred_thousand_connections_fit_half_a_gibibyte() {
        assert!(plan(500 * MIB, 1).unwrap().connections > 100_000);
        let heavy = Footprint {
            application_bytes: 8 * KIB,
            ..Footprint::default()
        };
        let few = Plan::new(500 * MIB, 1, &heavy).unwrap().connections;
        assert!(few < 50_000);
    }

    #[test]
    fn too_little_memory_is_told_with_both_figures() {
        let error = plan(MIB, 2).unwrap_err();
        assert!(error.wanted_bytes > error.free_bytes);
        assert!(plan(error.wanted_bytes, 2).is_ok());
        assert!(std::format!("{error}").contains("1024 KiB are free"));
    }
}
