//! What a channel counts: counters that only grow, and what is in use at a moment.

/// Batches by size: 1, 2, 3 to 4, 5 to 8, 9 to 16, 17 to 32, and more.
pub const BATCH_CLASSES: usize = 7;

/// Counters of one channel. All only grow, but those whose name ends in `_now`.
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
    /// Connects that led to a connection.
    pub connected: u64,
    /// Connects that came to nothing.
    pub connects_failed: u64,
    /// Timers told.
    pub timers_told: u64,
    /// Receipts told.
    pub receipts_told: u64,
    /// Datagrams that did not fit into a packet of the link, and were not sent.
    pub datagrams_too_large: u64,
    /// Flushes by the number of their commands, in classes: how much batching there is.
    pub flush_sizes: [u64; BATCH_CLASSES],
    /// Runs of the application by the number of completions handed out in it, in classes.
    pub dispatch_sizes: [u64; BATCH_CLASSES],
    /// Registered handles.
    pub handles_now: u64,
    /// Writes under way.
    pub writes_now: u64,
    /// Accepted connections that wait to be handed out.
    pub accepts_waiting_now: u64,
    /// Connects asked for and not told.
    pub connects_now: u64,
    /// Timers set, or due and not told.
    pub timers_now: u64,
    /// Receipts given out and not told.
    pub receipts_now: u64,
}

const FLUSH_NAMES: [&str; BATCH_CLASSES] = [
    "flushes_of_1",
    "flushes_of_2",
    "flushes_of_4",
    "flushes_of_8",
    "flushes_of_16",
    "flushes_of_32",
    "flushes_of_more",
];
const DISPATCH_NAMES: [&str; BATCH_CLASSES] = [
    "dispatches_of_1",
    "dispatches_of_2",
    "dispatches_of_4",
    "dispatches_of_8",
    "dispatches_of_16",
    "dispatches_of_32",
    "dispatches_of_more",
];

/// Counts a batch in its class; an empty one is none.
#[inline]
pub(crate) fn count_batch(sizes: &mut [u64; BATCH_CLASSES], items: u64) {
    if items == 1 {
        sizes[0] += 1;
    } else if items > 1 {
        let class = (u64::BITS - (items - 1).leading_zeros()) as usize;
        sizes[class.min(BATCH_CLASSES - 1)] += 1;
    }
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
            ("datagrams_too_large", self.datagrams_too_large),
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
            ("connected", self.connected),
            ("connects_failed", self.connects_failed),
            ("timers_told", self.timers_told),
            ("receipts_told", self.receipts_told),
            ("handles_now", self.handles_now),
            ("writes_now", self.writes_now),
            ("accepts_waiting_now", self.accepts_waiting_now),
            ("connects_now", self.connects_now),
            ("timers_now", self.timers_now),
            ("receipts_now", self.receipts_now),
        ]
        .into_iter()
        .chain(FLUSH_NAMES.into_iter().zip(self.flush_sizes))
        .chain(DISPATCH_NAMES.into_iter().zip(self.dispatch_sizes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_fall_into_classes_of_doubling_size() {
        let mut sizes = [0; BATCH_CLASSES];
        (0..=100).for_each(|items| count_batch(&mut sizes, items));
        assert_eq!(sizes, [1, 1, 2, 4, 8, 16, 68]);
    }

    #[test]
    fn every_counter_has_a_name_of_its_own() {
        let mut names: std::vec::Vec<&str> = ChannelCounters::default()
            .iter()
            .map(|(name, _)| name)
            .collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
