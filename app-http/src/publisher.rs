//! Publishes a core's counters once a second, beside whoever else watches the core, and says when
//! every server of the appliance has stopped.

use crate::control::Control;
use crate::metrics::{Metrics, Snapshot};
use crate::server::Server;
use alloc::sync::Arc;
use core::time::Duration;
use kernel::Instant;
use megapipe::{Core, Observer};
use net::Nic;

/// How often counters are published.
pub const PUBLISH_PERIOD: Duration = Duration::from_secs(1);

/// Watches one core for [`Metrics`].
#[derive(Debug)]
pub struct Publisher<O> {
    metrics: Arc<Metrics>,
    due: Instant,
    control: Arc<Control>,
    /// Called when all have stopped, and their last bytes have had a period to leave.
    on_stopped: fn(),
    has_stopped: bool,
    /// Who else watches.
    beside: O,
}

impl<O> Publisher<O> {
    /// Makes a publisher that lets `beside` watch too, and calls `on_stopped` a period after all
    /// servers have stopped.
    pub fn new(metrics: Arc<Metrics>, control: Arc<Control>, on_stopped: fn(), beside: O) -> Self {
        Publisher {
            metrics,
            due: Instant::ZERO,
            control,
            on_stopped,
            has_stopped: false,
            beside,
        }
    }
}

impl<N: Nic, O: Observer<N, Server>> Observer<N, Server> for Publisher<O> {
    fn deadline(&self) -> Option<Instant> {
        let beside = self.beside.deadline();
        Some(beside.map_or(self.due, |deadline| deadline.min(self.due)))
    }

    fn observe(&mut self, core: &Core<N, Server>, now: Instant) {
        if self
            .beside
            .deadline()
            .is_some_and(|deadline| deadline <= now)
        {
            self.beside.observe(core, now);
        }
        if self.due <= now {
            self.due = now + PUBLISH_PERIOD;
            let snapshot = Snapshot {
                core: &core.counters(),
                net: &core.stack().counters(),
                nic: &core.stack().nic_counters().unwrap_or_default(),
                channel: &core.channel().counters(),
                server: core.application().counters(),
            };
            self.metrics
                .publish(core.stack().port().core().index(), &snapshot);
            if self.has_stopped {
                (self.on_stopped)();
            }
            self.has_stopped = self.control.is_stopped();
        }
    }
}
