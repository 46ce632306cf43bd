//! Publishes a core's counters when somebody asks for them, beside whoever else watches the core, has
//! the servers stop at the power button, and says when all of them have.

use crate::control::Control;
use crate::limits::{LAST_BYTES, STOP_PERIOD};
use crate::metrics::{Metrics, Snapshot};
use crate::server::Server;
use crate::trace::Traces;
use alloc::sync::Arc;
use kernel::power_button::PowerButton;
use kernel::{CoreId, CoreMask, Instant};
use megapipe::{Core, Observer};
use net::Nic;

/// Watches one core for [`Metrics`].
#[derive(Debug)]
pub struct Publisher<O> {
    metrics: Arc<Metrics>,
    traces: Arc<Traces>,
    /// What was last wanted of them.
    trace_wish: u64,
    control: Arc<Control>,
    /// The last question that was answered.
    answered: u64,
    /// When to look whether all have stopped, from the wish on.
    due: Option<Instant>,
    /// When all had.
    stopped: Option<Instant>,
    /// Called when all have stopped, and their last bytes have had time to leave.
    on_stopped: fn(),
    /// The machine's, on the boot core.
    power_button: Option<PowerButton>,
    /// Who else watches.
    beside: O,
}

impl<O> Publisher<O> {
    /// Makes a publisher that lets `beside` watch too, and on the boot core calls `on_stopped`
    /// [`LAST_BYTES`] after all servers have stopped.
    pub fn new(
        metrics: Arc<Metrics>,
        traces: Arc<Traces>,
        control: Arc<Control>,
        on_stopped: fn(),
        beside: O,
    ) -> Self {
        Publisher {
            metrics,
            traces,
            trace_wish: 0,
            control,
            answered: 0,
            due: None,
            stopped: None,
            on_stopped,
            power_button: None,
            beside,
        }
    }

    /// Stops the servers when this button is pressed.
    #[must_use]
    pub fn with_power_button(self, power_button: Option<PowerButton>) -> Self {
        Publisher {
            power_button,
            ..self
        }
    }

    /// Publishes what the core has traced, and begins or ends its trace when that is wanted.
    fn publish_trace<N: Nic>(&mut self, core: &mut Core<N, Server>) {
        let wish = self.traces.wish();
        if wish != self.trace_wish {
            self.trace_wish = wish;
            core.switch_trace(wish % 2 == 1);
        }
        let id = core.stack().port().core();
        self.traces.publish(id.index(), core.trace());
    }

    /// Looks whether all servers have stopped, and how long ago.
    fn look_at_stop(&mut self, now: Instant) {
        if self.stopped.is_none() && self.control.is_stopped() {
            self.stopped = Some(now);
        }
        if self
            .stopped
            .is_some_and(|stopped| stopped + LAST_BYTES <= now)
        {
            (self.on_stopped)();
        }
        self.due = Some(now + STOP_PERIOD);
    }
}

impl<N: Nic, O: Observer<N, Server>> Observer<N, Server> for Publisher<O> {
    #[inline]
    fn deadline(&self) -> Option<Instant> {
        let is_pressed = |button: &PowerButton| button.is_signalled();
        if self.control.asked() != self.answered
            || self.power_button.as_ref().is_some_and(is_pressed)
        {
            return Some(Instant::ZERO);
        }
        match (self.beside.deadline(), self.due) {
            (Some(beside), Some(due)) => Some(beside.min(due)),
            (beside, due) => beside.or(due),
        }
    }

    fn observe(&mut self, core: &mut Core<N, Server>, now: Instant) {
        let is_due = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        if is_due(self.beside.deadline()) {
            self.beside.observe(core, now);
        }
        if let Some(button) = &mut self.power_button
            && button.is_signalled()
            && button.take_press()
        {
            log::info!("power button");
            self.control.stop();
            core.notify(CoreMask::first(self.metrics.cores()));
        }
        let id = core.stack().port().core();
        let asked = self.control.asked();
        if asked != self.answered {
            self.answered = asked;
            self.publish_trace(core);
            let snapshot = Snapshot {
                core: &core.counters(),
                net: &core.stack().counters(),
                nic: &core.stack().nic_counters().unwrap_or_default(),
                channel: &core.channel().counters(),
                server: core.application().counters(),
            };
            self.metrics.publish(id.index(), &snapshot, asked);
            if self.control.is_stopping() && id == CoreId::BOOT && self.due.is_none() {
                self.due = Some(now);
            }
        }
        if is_due(self.due) {
            self.look_at_stop(now);
        }
    }
}
