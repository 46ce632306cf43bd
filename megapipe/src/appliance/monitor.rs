//! What a core tells on the console beside its log: that it is ready, and its counters. Off the
//! way of a request: the core calls it when a deadline has passed.

use crate::core::{Application, Core};
use crate::idle::Observer;
use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;
use kernel::machine::{ClockChip, ExitStatus, console, crash, exit};
use kernel::power_button::PowerButton;
use kernel::{CoreId, Instant};
use net::{Lent, Nic, Stack};

/// How often the boot core looks whether its address is known.
const READY_CHECK: Duration = Duration::from_millis(1);
/// How often the boot core corrects the wall clock by the clock chip, which costs some twenty port
/// accesses.
const CLOCK_CHECK: Duration = Duration::from_secs(30);

/// What a monitor is made with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    /// How often the counters are printed.
    pub(crate) stats: Option<Duration>,
    /// How to crash once ready.
    pub(crate) crash: Option<crash::Kind>,
    /// What stands before the address in the ready line.
    pub(crate) scheme: &'static str,
    /// The port served.
    pub(crate) port: u16,
    /// Cores that serve.
    pub(crate) cores: usize,
    /// Queue pairs in use.
    pub(crate) queues: usize,
}

/// Watches one core.
#[derive(Debug)]
pub struct Monitor {
    asked: Asked,
    is_ready: bool,
    due: Option<Instant>,
    power_button: Option<PowerButton>,
    /// On the boot core of a machine that has one, and when it is read next.
    clock_chip: Option<(ClockChip, Instant)>,
}

impl Monitor {
    /// Makes the monitor of one core; `asked` is what to tell and do when it is ready, `clock_chip` what
    /// to correct the wall clock by.
    pub(crate) fn new(asked: Asked, clock_chip: Option<ClockChip>, now: Instant) -> Self {
        Monitor {
            asked,
            is_ready: false,
            due: Some(Instant::ZERO),
            power_button: None,
            clock_chip: clock_chip.map(|chip| (chip, now + CLOCK_CHECK)),
        }
    }

    /// Ends the machine when this button is pressed.
    #[must_use]
    pub fn with_power_button(self, power_button: Option<PowerButton>) -> Self {
        Monitor {
            power_button,
            ..self
        }
    }

    /// Says that the appliance is ready and returns true, once its address is known.
    fn check_ready<N: Nic, P: Lent>(&mut self, stack: &Stack<N, P>) -> bool {
        let Some(address) = stack.host().primary() else {
            return false;
        };
        let Asked {
            scheme,
            port,
            cores,
            queues,
            ..
        } = self.asked;
        console::print(format_args!(
            "sluice: ready {scheme}://{} cores={cores} queues={queues}\n",
            SocketAddr::new(address, port)
        ));
        if let Some(kind) = self.asked.crash {
            crash::provoke(kind);
        }
        true
    }
}

/// Tells counters by name to whoever prints them.
pub type Tell<'a> = &'a mut dyn FnMut(&'static str, u64);

impl Monitor {
    /// Returns when [`look`](Self::look) is to be called next, `None` for never.
    pub fn deadline(&self) -> Option<Instant> {
        match &self.power_button {
            Some(button) if button.is_signalled() => Some(Instant::ZERO),
            _ => {
                let clock_check = self.clock_chip.as_ref().map(|(_, next)| *next);
                self.due.into_iter().chain(clock_check).min()
            }
        }
    }

    /// Looks at a core through its stack: ends the machine if its button was pressed, corrects the wall
    /// clock and prints what it is time for; `more` tells the counters of what is above the stack.
    pub fn look<N: Nic, P: Lent>(
        &mut self,
        stack: &Stack<N, P>,
        now: Instant,
        more: impl Fn(Tell<'_>),
    ) {
        if let Some(button) = &mut self.power_button
            && button.is_signalled()
            && button.take_press()
        {
            power_off();
        }
        if let Some((chip, next)) = &mut self.clock_chip
            && *next <= now
        {
            chip.correct();
            *next = now + CLOCK_CHECK;
        }
        if self.due.is_none_or(|due| due > now) {
            return;
        }
        if self.is_ready {
            console::print(format_args!("{}\n", Stats(stack, more)));
        } else {
            // The boot core speaks for all.
            self.is_ready = stack.port().core() != CoreId::BOOT || self.check_ready(stack);
        }
        self.due = if self.is_ready {
            self.asked.stats.map(|period| now + period)
        } else {
            Some(now + READY_CHECK)
        };
    }
}

impl<N: Nic, A: Application> Observer<N, A> for Monitor {
    fn deadline(&self) -> Option<Instant> {
        self.deadline()
    }

    fn observe(&mut self, core: &mut Core<N, A>, now: Instant) {
        self.look(core.stack(), now, |tell| {
            let (own, channel) = (core.counters(), core.channel().counters());
            let counters = own.iter().chain(channel.iter());
            counters.for_each(|(name, value)| tell(name, value));
            core.application().tell_counters(tell);
        });
    }
}

/// Says that the appliance has stopped as it was asked to, and ends the machine.
pub fn power_off() {
    console::print(format_args!("sluice: stopped\n"));
    exit(ExitStatus::Success);
}

/// The stats line of a core.
struct Stats<'a, N: Nic, P: Lent, F>(&'a Stack<N, P>, F);

impl<N: Nic, P: Lent, F: Fn(Tell<'_>)> fmt::Display for Stats<'_, N, P, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stats(stack, more) = self;
        let (net, nic) = (stack.counters(), stack.nic_counters().unwrap_or_default());
        write!(f, "sluice: stats core={}", stack.port().core().index())?;
        for (name, value) in net.iter().chain(nic.iter()) {
            write!(f, " {name}={value}")?;
        }
        let mut result = Ok(());
        more(&mut |name, value| {
            result = result.and_then(|()| write!(f, " {name}={value}"));
        });
        result
    }
}
