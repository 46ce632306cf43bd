//! The main path: one core's loop from frames in to frames out.
//!
//! [`Core::turn`] is the way of every request. [`Core::run`] turns for ever, and sleeps when there
//! is nothing to do. Upstream: `net`'s stack and `kernel`'s processor. Downstream: the application.
//!
//! Invariants: the clock is read once per turn; commands are flushed after every run of the
//! application; a core sleeps only after it has looked at everything once more with the interrupt
//! armed, so that no wake-up is lost.

use crate::channel::Channel;
use crate::idle::{IdlePolicy, Observer, earliest};
use crate::limits;
use crate::polling::Polling;
use crate::trace::{EventKind, Trace};
use crate::writes::IoSlice;
use core::time::Duration;
use kernel::trace::{self, Kind};
use kernel::{CoreMask, Instant, Processor};
use net::counters::DropReason;
use net::{Nic, Stack};

/// A turn that had something to do.
static BUSY_TURN: Kind = Kind::new("busy_turn", ["frames", "events"]);
/// A sleep, until the next deadline.
static SLEEP: Kind = Kind::new("sleep", ["ms", ""]);

/// What runs on a core above its channel.
pub trait Application {
    /// Dispatches completions until there are none ([`Channel::dispatch`] says `None`) and submits
    /// commands. Called once at the start, and then only when completions wait, when a flush has
    /// made room, when the timeout given to `dispatch` has passed, or when another core has left a
    /// notice ([`Channel::notify`]).
    fn run(&mut self, channel: &mut Channel, now: Instant);

    /// Tells the application's own counters, each by its name, to whoever prints them. They only
    /// grow, but those whose name ends in `_now`.
    fn tell_counters(&self, _tell: &mut dyn FnMut(&'static str, u64)) {}
}

/// What a turn came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// There were frames, events or completions; the next turn may have more.
    pub is_busy: bool,
    /// Cores that were handed frames, and are to be woken.
    pub wake: CoreMask,
}

/// What a core counts of its own loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CoreCounters {
    /// Turns.
    pub turns: u64,
    /// Turns that had something to do.
    pub turns_busy: u64,
    /// Times that it went to sleep.
    pub sleeps: u64,
    /// Times that it looked on instead of sleeping, and something came.
    pub polls_paid: u64,
    /// Times that it looked on and went to sleep all the same.
    pub polls_vain: u64,
}

impl CoreCounters {
    /// Yields every counter with its name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        [
            ("turns", self.turns),
            ("turns_busy", self.turns_busy),
            ("sleeps", self.sleeps),
            ("polls_paid", self.polls_paid),
            ("polls_vain", self.polls_vain),
        ]
        .into_iter()
    }
}

/// One core: its stack, its channel, its application.
pub struct Core<N: Nic, A: Application> {
    stack: Stack<N, IoSlice>,
    channel: Channel,
    application: A,
    counters: CoreCounters,
    polling: Polling,
    /// Drops that the trace knows of.
    drops_traced: [u64; DropReason::COUNT],
}

impl<N: Nic, A: Application> Core<N, A> {
    /// Puts a core together.
    pub fn new(stack: Stack<N, IoSlice>, channel: Channel, application: A) -> Self {
        Core {
            stack,
            channel,
            application,
            counters: CoreCounters::default(),
            polling: Polling::default(),
            drops_traced: [0; DropReason::COUNT],
        }
    }

    /// Runs the way of every request once: frames in, demultiplexed, through TCP to the completion
    /// ring, the application, the submission ring, through TCP to frames out, one doorbell.
    pub fn turn(&mut self, now: Instant) -> Turn {
        let frames = self.stack.handle_frames(now);
        self.stack.handle_timers(now);
        let events = self.channel.collect(now, &mut self.stack);
        let mut rounds = 0;
        while rounds < limits::ROUNDS_PER_TURN && self.channel.wants_application(now) {
            self.channel.begin_run(now);
            self.application.run(&mut self.channel, now);
            self.channel.flush_to(&mut self.stack);
            rounds += 1;
        }
        let wake = self.stack.poll_transmit(now);
        let is_busy = frames + events + rounds > 0 || self.take_notice();
        if is_busy {
            let values = [frames as u64, events as u64];
            trace::record(self.stack.port().core(), now, &BUSY_TURN, values);
        }
        self.counters.turns += 1;
        self.counters.turns_busy += u64::from(is_busy);
        Turn { is_busy, wake }
    }

    /// Has the application run in the next turn when another core wants it to; looked at when there
    /// is nothing else to do.
    #[cold]
    fn take_notice(&mut self) -> bool {
        let is_noticed = self.stack.take_notice();
        if is_noticed {
            self.channel.run_again();
        }
        is_noticed
    }

    /// Runs the core for ever: turns while there is something to do, then sleeps until a frame,
    /// another core, or the next deadline. `observer` looks at the core when its own time has come
    /// (`()` never does).
    pub fn run<P, O>(mut self, processor: P, policy: IdlePolicy, mut observer: O) -> !
    where
        P: Processor,
        O: Observer<N, A>,
    {
        let mut idle_turns = 0;
        loop {
            self.step(&processor, &policy, &mut observer, &mut idle_turns);
        }
    }

    /// Runs one turn, wakes who is to be woken, and sleeps when it is time to.
    pub(crate) fn step<P, O>(
        &mut self,
        processor: &P,
        policy: &IdlePolicy,
        observer: &mut O,
        idle: &mut u32,
    ) where
        P: Processor,
        O: Observer<N, A>,
    {
        let now = processor.now();
        let turn = self.turn(now);
        turn.wake.iter().for_each(|core| processor.wake(core));
        if self.channel.trace.is_on() {
            self.trace_turn(now, processor.now(), turn.is_busy);
        }
        if observer.deadline().is_some_and(|deadline| deadline <= now) {
            observer.observe(self, now);
        }
        if turn.is_busy {
            *idle = 0;
            self.polling.found(now, policy.poll);
        } else {
            *idle = idle.saturating_add(1);
        }
        if *idle > policy.spin_turns && !self.polling.goes_on(now, policy.poll) {
            self.sleep(processor, observer.deadline(), now);
            *idle = policy.spin_turns;
        }
    }

    /// Sleeps until something happens, or until the earliest deadline.
    fn sleep<P: Processor>(
        &mut self,
        processor: &P,
        observer_deadline: Option<Instant>,
        now: Instant,
    ) {
        processor.clear_wake();
        let wake = self.channel.bid(&mut self.stack);
        wake.iter().for_each(|core| processor.wake(core));
        let has_frames = self.stack.arm();
        // What the last transmit may have led to (a connection given up, say).
        let events = self.channel.collect(now, &mut self.stack);
        if !has_frames && events == 0 && !self.channel.wants_application(now) {
            let deadlines = [
                self.stack.next_deadline(),
                self.channel.deadline(),
                observer_deadline,
            ];
            self.counters.sleeps += 1;
            let until = earliest(deadlines);
            let ms = until.map_or(u64::MAX, |until| (until - now).as_millis() as u64);
            trace::record(self.stack.port().core(), now, &SLEEP, [ms, 0]);
            processor.sleep_until(until);
            if self.channel.trace.is_on() {
                let slept = processor.now().saturating_since(now);
                self.channel.trace.push(now, EventKind::Sleep, slept, 0);
            }
        }
        self.stack.disarm();
    }

    /// Has the applications of `cores`, and this one's own, run once more; see [`Channel::notify`].
    /// For an [`Observer`].
    pub fn notify(&mut self, cores: CoreMask) {
        // Its own too: the others are woken in this core's next turn.
        let own = CoreMask::only(self.stack.port().core());
        self.stack.notify(cores.or(own));
    }

    /// Notes a turn that was busy, and what was dropped in it.
    #[cold]
    fn trace_turn(&mut self, start: Instant, end: Instant, is_busy: bool) {
        let duration = end.saturating_since(start);
        let trace = &mut self.channel.trace;
        if is_busy {
            trace.push(start, EventKind::Turn, duration, 0);
        }
        let drops = self.stack.drops();
        for (reason, (now, before)) in drops.iter().zip(&self.drops_traced).enumerate() {
            if now != before {
                let kind = EventKind::Drop(reason as u8);
                trace.push(start, kind, Duration::ZERO, (now - before) as u32);
            }
        }
        self.drops_traced = *drops;
    }

    /// Begins a trace, or ends it.
    pub fn switch_trace(&mut self, is_on: bool) {
        self.channel.trace.switch(is_on);
        self.drops_traced = *self.stack.drops();
    }

    /// Returns what was traced.
    pub fn trace(&self) -> &Trace {
        &self.channel.trace
    }

    /// Returns the counters of the loop.
    pub fn counters(&self) -> CoreCounters {
        CoreCounters {
            polls_paid: self.polling.paid,
            polls_vain: self.polling.vain,
            ..self.counters
        }
    }

    /// Returns the stack.
    pub fn stack(&self) -> &Stack<N, IoSlice> {
        &self.stack
    }

    /// Returns the channel.
    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Returns the application.
    pub fn application(&self) -> &A {
        &self.application
    }
}
