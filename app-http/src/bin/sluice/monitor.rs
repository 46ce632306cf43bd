//! What a core tells on the console beside its log: that it is ready, and its counters. Off the
//! way of a request: the core calls it when a deadline has passed.

use app_http::Server;
use app_http::options::{Crash, Options};
use core::time::Duration;
use kernel::machine::{console, crash};
use kernel::{CoreId, Instant};
use megapipe::idle::Observer;
use net::Nic;

/// How often the boot core looks whether its address is known.
const READY_CHECK: Duration = Duration::from_millis(1);

/// Watches one core.
pub(crate) struct Monitor {
    stats: Option<Duration>,
    crash: Option<Crash>,
    port: u16,
    cores: usize,
    queues: usize,
    is_ready: bool,
    due: Option<Instant>,
}

impl Monitor {
    pub(crate) fn new(options: &Options, cores: usize, queues: usize) -> Self {
        Monitor {
            stats: options.stats,
            crash: options.crash,
            port: options.port,
            cores,
            queues,
            is_ready: false,
            due: Some(Instant::ZERO),
        }
    }

    /// Says that the appliance is ready, once its address is known.
    fn check_ready<N: Nic>(&mut self, core: &megapipe::Core<N, Server>) {
        let Some(address) = core.stack().address() else {
            return;
        };
        self.is_ready = true;
        console::say(format_args!(
            "sluice: ready http://{}:{} cores={} queues={}",
            address.address, self.port, self.cores, self.queues
        ));
        if let Some(kind) = self.crash {
            crash::provoke(match kind {
                Crash::Panic => crash::Kind::Panic,
                Crash::PageFault => crash::Kind::PageFault,
                Crash::StackOverflow => crash::Kind::StackOverflow,
                Crash::WriteText => crash::Kind::WriteText,
                Crash::ExecuteData => crash::Kind::ExecuteData,
                Crash::SupervisorWrite => crash::Kind::SupervisorWrite,
            });
        }
    }
}

impl<N: Nic> Observer<N, Server> for Monitor {
    fn deadline(&self) -> Option<Instant> {
        self.due
    }

    fn observe(&mut self, core: &megapipe::Core<N, Server>, now: Instant) {
        if core.stack().core() != CoreId::BOOT {
            self.is_ready = true;
        }
        if !self.is_ready {
            self.check_ready(core);
        }
        if self.is_ready {
            if let (Some(_), true) = (self.stats, self.due != Some(Instant::ZERO)) {
                print_stats(core);
            }
            self.due = self.stats.map(|period| now + period);
        } else {
            self.due = Some(now + READY_CHECK);
        }
    }
}

fn print_stats<N: Nic>(core: &megapipe::Core<N, Server>) {
    let stack = core.stack();
    let counters = stack
        .counters()
        .iter()
        .chain(stack.nic_counters().iter())
        .chain(core.channel().counters().iter())
        .chain(core.application().counters().iter());
    console::say(Stats {
        core: stack.core(),
        counters,
    });
}
