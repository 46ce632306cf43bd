//! What a channel counts; every counter only grows.

/// Counters of one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ChannelCounters {
    /// Commands taken into the submission ring.
    pub commands: u64,
    /// Commands refused because the submission ring was full.
    pub commands_refused_ring_full: u64,
    /// Commands refused because their handle was stale.
    pub commands_refused_stale: u64,
    /// Flushes of at least one command.
    pub flushes: u64,
    /// Flushes because the batch was full.
    pub flushes_at_threshold: u64,
    /// Flushes that the application asked for.
    pub flushes_requested: u64,
    /// Events taken from the stack.
    pub events: u64,
    /// Events about connections that this channel does not have.
    pub events_unknown: u64,
    /// Completions handed out.
    pub completions: u64,
    /// Completions that were ready when their handle was unregistered, and so were not handed out.
    pub completions_cancelled: u64,
    /// Reads and writes that were complete at once when they were flushed.
    pub opportunistic: u64,
    /// Reads that had to wait for data.
    pub reads_waited: u64,
    /// Writes that had to wait for room in the send queue.
    pub writes_waited: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Accepted connections whose lwsocket was dropped unregistered.
    pub lwsockets_dropped: u64,
    /// Handles registered.
    pub registered: u64,
    /// Handles unregistered.
    pub unregistered: u64,
    /// Listeners that the stack refused.
    pub listens_failed: u64,
}

impl ChannelCounters {
    /// Yields every counter with its name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        [
            ("commands", self.commands),
            (
                "commands_refused_ring_full",
                self.commands_refused_ring_full,
            ),
            ("commands_refused_stale", self.commands_refused_stale),
            ("flushes", self.flushes),
            ("flushes_at_threshold", self.flushes_at_threshold),
            ("flushes_requested", self.flushes_requested),
            ("events", self.events),
            ("events_unknown", self.events_unknown),
            ("completions", self.completions),
            ("completions_cancelled", self.completions_cancelled),
            ("opportunistic", self.opportunistic),
            ("reads_waited", self.reads_waited),
            ("writes_waited", self.writes_waited),
            ("accepted", self.accepted),
            ("lwsockets_dropped", self.lwsockets_dropped),
            ("registered", self.registered),
            ("unregistered", self.unregistered),
            ("listens_failed", self.listens_failed),
        ]
        .into_iter()
    }
}
