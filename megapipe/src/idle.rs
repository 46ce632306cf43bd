//! What a core does beside serving: when it sleeps, and who looks at its counters.
//!
//! Both are off the way of a request: an observer's deadline is compared once per turn, and its
//! work is done only when that has passed.

use crate::core::{Application, Core};
use core::time::Duration;
use kernel::Instant;
use net::Nic;

/// When a core goes to sleep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IdlePolicy {
    /// Turns with nothing to do before the first sleep. 0: sleep at once. A sleep costs a crossing
    /// and an interrupt (a few microseconds on ordinary KVM); a spinning core uses its host's
    /// processor whole. After a sleep that ended with nothing to do it sleeps again at once.
    pub spin_turns: u32,
    /// How long a core looks on before a sleep, at most, where that has paid; zero: it does not. As long
    /// as it looks, it uses its host's processor whole.
    pub poll: Duration,
}

/// Someone who looks at a core now and then, to print its counters for instance.
pub trait Observer<N: Nic, A: Application> {
    /// Returns when to call [`observe`](Self::observe) next, `None` for never. Wakes the core. Asked
    /// after every turn, so that a notice from another core may change it.
    fn deadline(&self) -> Option<Instant>;

    /// Looks at the core; moves the deadline.
    fn observe(&mut self, core: &mut Core<N, A>, now: Instant);
}

/// Nobody looks.
impl<N: Nic, A: Application> Observer<N, A> for () {
    fn deadline(&self) -> Option<Instant> {
        None
    }

    fn observe(&mut self, _core: &mut Core<N, A>, _now: Instant) {}
}

/// Calls `look` once per `period`, first one period after `start`.
#[derive(Debug, Clone)]
pub struct Every<F> {
    period: Duration,
    due: Instant,
    look: F,
}

impl<F> Every<F> {
    /// Makes an observer that calls `look` with the core and the time.
    pub fn new(period: Duration, start: Instant, look: F) -> Self {
        Every {
            period,
            due: start + period,
            look,
        }
    }
}

impl<N: Nic, A: Application, F: FnMut(&Core<N, A>, Instant)> Observer<N, A> for Every<F> {
    fn deadline(&self) -> Option<Instant> {
        Some(self.due)
    }

    fn observe(&mut self, core: &mut Core<N, A>, now: Instant) {
        (self.look)(core, now);
        // From now, not from when it was due: a core that was late must not catch up.
        self.due = now + self.period;
    }
}

/// Returns the earliest of the deadlines there are.
pub(crate) fn earliest<const COUNT: usize>(deadlines: [Option<Instant>; COUNT]) -> Option<Instant> {
    deadlines.into_iter().flatten().min()
}
