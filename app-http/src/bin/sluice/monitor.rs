//! What a core tells on the console beside its log: that it is ready, and its counters. Off the
//! way of a request: the core calls it when a deadline has passed.

use app_http::Server;
use core::fmt;
use core::time::Duration;
use kernel::machine::{console, crash};
use kernel::{CoreId, Instant};
use megapipe::idle::Observer;
use net::Nic;

/// How often the boot core looks whether its address is known.
const READY_CHECK: Duration = Duration::from_millis(1);

/// What a monitor is made with.
#[derive(Clone, Copy)]
pub(crate) struct Asked {
    /// How often the counters are printed.
    pub(crate) stats: Option<Duration>,
    /// How to crash once ready.
    pub(crate) crash: Option<crash::Kind>,
    /// The port served.
    pub(crate) port: u16,
    /// Cores that serve.
    pub(crate) cores: usize,
    /// Queue pairs in use.
    pub(crate) queues: usize,
}

/// Watches one core.
pub(crate) struct Monitor {
    asked: Asked,
    is_ready: bool,
    due: Option<Instant>,
}

impl Monitor {
    /// Makes the monitor of one core; `asked` is what to tell and do when it is ready.
    pub(crate) fn new(asked: Asked) -> Self {
        Monitor {
            asked,
            is_ready: false,
            due: Some(Instant::ZERO),
        }
    }

    /// Says that the appliance is ready and returns true, once its address is known.
    fn check_ready<N: Nic>(&mut self, core: &megapipe::Core<N, Server>) -> bool {
        let Some(address) = core.stack().address() else {
            return false;
        };
        let Asked {
            port,
            cores,
            queues,
            ..
        } = self.asked;
        console::print(format_args!(
            "sluice: ready http://{}:{port} cores={cores} queues={queues}\n",
            address.address
        ));
        if let Some(kind) = self.asked.crash {
            crash::provoke(kind);
        }
        true
    }
}

impl<N: Nic> Observer<N, Server> for Monitor {
    fn deadline(&self) -> Option<Instant> {
        self.due
    }

    fn observe(&mut self, core: &megapipe::Core<N, Server>, now: Instant) {
        if self.is_ready {
            console::print(format_args!("{}\n", Stats(core)));
        } else {
            // The boot core speaks for all.
            self.is_ready = core.stack().port().core() != CoreId::BOOT || self.check_ready(core);
        }
        self.due = if self.is_ready {
            self.asked.stats.map(|period| now + period)
        } else {
            Some(now + READY_CHECK)
        };
    }
}

/// The stats line of a core.
struct Stats<'a, N: Nic>(&'a megapipe::Core<N, Server>);

impl<N: Nic> fmt::Display for Stats<'_, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stack = self.0.stack();
        let (net, nic) = (stack.counters(), stack.nic_counters().unwrap_or_default());
        let (channel, server) = (self.0.channel().counters(), self.0.application().counters());
        let counters = net.iter().chain(nic.iter());
        let counters = counters.chain(channel.iter()).chain(server.iter());
        write!(f, "sluice: stats core={}", stack.port().core().index())?;
        for (name, value) in counters {
            write!(f, " {name}={value}")?;
        }
        Ok(())
    }
}
