//! How the memory of the machine is shared out: what each core's stack, channel and queues may
//! take, so that nothing needs to be allocated once the appliance serves.

use core::fmt;

/// What the connections of an appliance take, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footprint {
    /// Receive buffer of a connection, and so its largest window.
    pub rx_buffer_bytes: usize,
    /// Send buffer of a connection.
    pub tx_buffer_bytes: usize,
    /// What the application keeps for a connection.
    pub application_bytes: usize,
    /// One buffer of the channel's pool, and so the largest read.
    pub buffer_bytes: usize,
}

impl Default for Footprint {
    /// Small messages in, larger ones out.
    fn default() -> Self {
        Footprint {
            rx_buffer_bytes: 4 * KIB,
            tx_buffer_bytes: 16 * KIB,
            application_bytes: 256,
            buffer_bytes: 8 * KIB,
        }
    }
}

impl Footprint {
    const fn connection_bytes(&self) -> usize {
        let buffers = self.rx_buffer_bytes + self.tx_buffer_bytes;
        buffers + self.application_bytes + CONNECTION_OVERHEAD_BYTES
    }
}

/// What a connection takes beside its buffers and the application: the TCP socket, the flow, the
/// handle, the timer, and TIME_WAIT entries, in bytes, rounded up.
const CONNECTION_OVERHEAD_BYTES: usize = 1792;

/// Connections of one core at most.
pub const MAX_CONNECTIONS: usize = 16_384;
/// Connections of one core at least: with memory for fewer the appliance does not start.
pub const MIN_CONNECTIONS: usize = 16;

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
    /// Buffers of the channel's pool.
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
        let share = (free_bytes - free_bytes / 8) / cores;
        let queue_size: u16 = if share < 8 * MIB { 64 } else { 256 };
        let buffers = (share / 32 / buffer_bytes).clamp(8, 512);
        let fixed = usize::from(queue_size) * DESCRIPTOR_BYTES + buffers * buffer_bytes + 256 * KIB;
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
    fn smaller_buffers_make_room_for_more_connections() {
        let small = Footprint {
            tx_buffer_bytes: 4 * KIB,
            ..Footprint::default()
        };
        let many = Plan::new(64 * MIB, 1, &small).unwrap().connections;
        assert!(many > 2 * plan(64 * MIB, 1).unwrap().connections);
    }

    #[test]
    fn too_little_memory_is_told_with_both_figures() {
        let error = plan(MIB, 2).unwrap_err();
        assert!(error.wanted_bytes > error.free_bytes);
        assert!(plan(error.wanted_bytes, 2).is_ok());
        assert!(std::format!("{error}").contains("1024 KiB are free"));
    }
}
