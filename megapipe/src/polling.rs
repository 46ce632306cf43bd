//! Polling before sleep: a core that has nothing to do looks on for a while, where that has paid.
//!
//! A sleep costs the crossing, the halt, the interrupt and the way back; what comes meanwhile waits for
//! all of it. So a core goes on with its turns, interrupts off, for as long as a window says, and the
//! window learns, as Linux's `halt_poll_ns` and its haltpoll governor do: it doubles when something
//! came soon after the core had gone to sleep, and is shut when nothing did.
//!
//! Upstream: the bound of [`IdlePolicy`](crate::IdlePolicy). Downstream: [`Core`](crate::core), which
//! asks before each sleep. Invariants: nothing is polled without a bound; after a silence longer than
//! the bound the next sleep comes at once, so an idle core does not poll.

use core::time::Duration;
use kernel::Instant;

/// The first window after it was shut.
const FIRST: Duration = Duration::from_micros(10);

/// What one core has learnt.
#[derive(Debug, Default)]
pub(crate) struct Polling {
    window: Duration,
    /// Since when there has been nothing to do.
    idle_since: Option<Instant>,
    /// It has slept since then.
    has_slept: bool,
    /// Times that polling found something, and that the core went to sleep after it all the same.
    pub(crate) paid: u64,
    pub(crate) vain: u64,
}

impl Polling {
    /// There was nothing to do at `now`: returns whether the core is to look again instead of sleeping.
    #[inline]
    pub(crate) fn goes_on(&mut self, now: Instant, bound: Duration) -> bool {
        !bound.is_zero() && self.looks_on(now, bound)
    }

    fn looks_on(&mut self, now: Instant, bound: Duration) -> bool {
        let since = *self.idle_since.get_or_insert(now);
        if self.has_slept {
            return false;
        }
        if now.saturating_since(since) < self.window.min(bound) {
            return true;
        }
        self.vain += u64::from(!self.window.is_zero());
        self.has_slept = true;
        false
    }

    /// There was something to do at `now`.
    #[inline]
    pub(crate) fn found(&mut self, now: Instant, bound: Duration) {
        if let Some(since) = self.idle_since.take() {
            self.learn(now.saturating_since(since), bound);
        }
    }

    /// Something came after the core had waited for so long.
    fn learn(&mut self, waited: Duration, bound: Duration) {
        if !core::mem::take(&mut self.has_slept) {
            self.paid += 1;
        } else if waited > bound {
            self.window = Duration::ZERO;
        } else {
            self.window = (2 * self.window).max(FIRST).min(bound);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Duration = Duration::from_micros(200);

    fn at(us: u64) -> Instant {
        Instant::ZERO + Duration::from_micros(us)
    }

    /// Lets something come every `every_us`, for `rounds` rounds of a core whose turn takes 1 us, and
    /// returns the microseconds polled and the sleeps.
    fn run(polling: &mut Polling, start_us: u64, every_us: u64, rounds: u64) -> (u64, u64) {
        let (mut polled, mut sleeps) = (0, 0);
        for round in 0..rounds {
            let (mut now, next) = (
                start_us + round * every_us,
                start_us + (round + 1) * every_us,
            );
            while now < next {
                if polling.goes_on(at(now), BOUND) {
                    polled += 1;
                    now += 1;
                } else {
                    sleeps += 1;
                    now = next;
                }
            }
            polling.found(at(next), BOUND);
        }
        (polled, sleeps)
    }

    #[test]
    fn what_comes_soon_after_a_sleep_is_soon_waited_for_awake() {
        let mut polling = Polling::default();
        // 10, 20, 40, 80, 160 us: then 100 us are waited for.
        let (polled, sleeps) = run(&mut polling, 0, 100, 50);
        assert_eq!(sleeps, 5);
        assert!(polled >= 45 * 99);
        assert_eq!((polling.paid, polling.vain), (45, 4));
    }

    #[test]
    fn after_one_silence_it_sleeps_at_once() {
        let mut polling = Polling::default();
        run(&mut polling, 0, 100, 50);
        let (polled, sleeps) = run(&mut polling, 5000, 10_000, 20);
        assert_eq!(polled, 160, "once, for as long as it had learnt");
        assert_eq!(sleeps, 20);
        assert!(polling.window.is_zero());
    }

    #[test]
    fn an_idle_core_never_polls() {
        let mut polling = Polling::default();
        let (polled, sleeps) = run(&mut polling, 0, 1_000_000, 100);
        assert_eq!((polled, sleeps), (0, 100));
        assert_eq!((polling.paid, polling.vain), (0, 0));
    }

    #[test]
    fn the_window_never_passes_its_bound() {
        let mut polling = Polling::default();
        for every_us in [150, 190, 199, 200, 150, 190] {
            let (polled, _) = run(&mut polling, 0, every_us, 30);
            assert!(polled <= 30 * 200);
            assert!(polling.window <= BOUND);
        }
    }

    #[test]
    fn without_a_bound_nothing_is_polled_or_learnt() {
        let mut polling = Polling::default();
        for us in 0..100 {
            assert!(!polling.goes_on(at(us), Duration::ZERO));
            polling.found(at(us), Duration::ZERO);
        }
        assert_eq!((polling.paid, polling.vain), (0, 0));
    }

    #[test]
    fn wake_ups_with_nothing_to_do_are_slept_on_at_once() {
        let mut polling = Polling::default();
        run(&mut polling, 0, 100, 50);
        assert!(polling.goes_on(at(10_000), BOUND));
        assert!(!polling.goes_on(at(10_200), BOUND));
        for us in [10_201, 10_202, 10_300] {
            assert!(!polling.goes_on(at(us), BOUND));
        }
    }
}
