//! The core's loop when there is nothing to do: sleeping in the right order, waking in time.

use crate::channel::{Channel, ChannelConfig};
use crate::core::{Application, Core};
use crate::idle::{Every, IdlePolicy};
use core::cell::{Cell, RefCell};
use core::time::Duration;
use kernel::{CoreId, CoreMask, Instant, Processor};
use net::nic::{Nic, NicCounters, NicInfo, RxMeta, TxMeta};
use net::stack::{Stack, StackConfig};
use std::rc::Rc;
use std::vec::Vec;

/// What a sleep does, in the order in which it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Did {
    ClearWake,
    Arm,
    Sleep(Option<Instant>),
    Disarm,
}

type Log = Rc<RefCell<Vec<Did>>>;

/// A queue pair that never receives, and says that frames wait when it is told to.
struct QuietNic {
    log: Log,
    has_frames: Rc<Cell<bool>>,
}

impl Nic for QuietNic {
    type Frame = [u8; 0];

    fn info(&self) -> NicInfo {
        NicInfo {
            mac: [2, 0, 0, 0, 0, 1],
            mtu: 1500,
            tx_checksum: true,
            tail_pieces: 0,
            tso4_max_bytes: 0,
            tso6_max_bytes: 0,
        }
    }

    fn receive(&mut self) -> Option<(Self::Frame, RxMeta)> {
        None
    }

    fn recycle(&mut self, _: Self::Frame) {}

    fn can_transmit(&mut self) -> bool {
        true
    }

    fn transmit<R, F>(&mut self, len: usize, _: &[&'static [u8]], fill: F) -> Result<R, F>
    where
        F: FnOnce(&mut [u8]) -> (R, TxMeta),
    {
        Ok(fill(&mut std::vec![0; len]).0)
    }

    fn flush(&mut self) {}

    fn arm(&mut self) -> bool {
        self.log.borrow_mut().push(Did::Arm);
        self.has_frames.get()
    }

    fn disarm(&mut self) {
        self.log.borrow_mut().push(Did::Disarm);
    }

    fn counters(&self) -> NicCounters {
        NicCounters::default()
    }
}

/// A processor in virtual time; a sleep lasts until its deadline.
struct VirtualProcessor {
    log: Log,
    now: Cell<Instant>,
}

impl Processor for VirtualProcessor {
    fn core(&self) -> CoreId {
        CoreId::BOOT
    }

    fn now(&self) -> Instant {
        self.now.get()
    }

    fn unix_seconds(&self) -> u64 {
        0
    }

    fn clear_wake(&self) {
        self.log.borrow_mut().push(Did::ClearWake);
    }

    fn sleep_until(&self, deadline: Option<Instant>) {
        self.log.borrow_mut().push(Did::Sleep(deadline));
        if let Some(deadline) = deadline {
            self.now.set(deadline.max(self.now.get()));
        }
    }

    fn wake(&self, _: CoreId) {}
}

/// Counts its runs, and asks to be run again after a time.
struct Waiting {
    runs: usize,
    timeout: Option<Duration>,
}

impl Application for Waiting {
    fn run(&mut self, channel: &mut Channel, _: Instant) {
        self.runs += 1;
        assert!(channel.dispatch(self.timeout).is_none());
    }
}

struct Bench {
    core: Core<QuietNic, Waiting>,
    processor: VirtualProcessor,
    log: Log,
    has_frames: Rc<Cell<bool>>,
    idle: u32,
}

impl Bench {
    fn new(timeout: Option<Duration>) -> Self {
        let log = Log::default();
        let has_frames = Rc::new(Cell::new(false));
        let nic = QuietNic {
            log: Rc::clone(&log),
            has_frames: Rc::clone(&has_frames),
        };
        let port = net::fabric::fabric(&[true], [7; 16]).remove(0);
        let config = StackConfig {
            connections: 2,
            window_bytes: 1024,
            chunks: 8,
            chunk_bytes: 1024,
            keep_alive: None,
            seed: [7; 32],
        };
        let stack = Stack::new(config, Some(nic), port, Instant::ZERO);
        let channel = Channel::create(ChannelConfig {
            handles: 2,
            batch: 32,
            chunks: 64,
            buffers: 1,
            buffer_bytes: 64,
            timers: 16,
        });
        let application = Waiting { runs: 0, timeout };
        Bench {
            core: Core::new(stack, channel, application),
            processor: VirtualProcessor {
                log: Rc::clone(&log),
                now: Cell::new(Instant::ZERO),
            },
            log,
            has_frames,
            idle: 0,
        }
    }

    fn step(&mut self, spin_turns: u32) -> Vec<Did> {
        self.step_by(IdlePolicy {
            spin_turns,
            ..IdlePolicy::default()
        })
    }

    fn step_by(&mut self, policy: IdlePolicy) -> Vec<Did> {
        self.core
            .step(&self.processor, &policy, &mut (), &mut self.idle);
        self.log.take()
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_core_with_nothing_to_do_looks_once_more_and_sleeps() {
    let mut bench = Bench::new(None);
    assert_eq!(bench.step(0), [], "the first turn runs the application");
    let sleep = [Did::ClearWake, Did::Arm, Did::Sleep(None), Did::Disarm];
    assert_eq!(bench.step(0), sleep);
    assert_eq!(bench.step(0), sleep);
    assert_eq!(bench.core.application().runs, 1);
}

#[test]
fn a_core_does_not_sleep_over_frames_that_came_while_it_was_arming() {
    let mut bench = Bench::new(None);
    bench.step(0);
    bench.has_frames.set(true);
    assert_eq!(bench.step(0), [Did::ClearWake, Did::Arm, Did::Disarm]);
}

#[test]
fn a_core_does_not_sleep_over_a_notice_and_its_application_runs() {
    let mut bench = Bench::new(None);
    bench.step(0);
    bench.core.notify(CoreMask::EMPTY);
    assert_eq!(
        bench.step(0),
        [],
        "it is seen in a turn that has nothing to do"
    );
    assert_eq!(bench.core.application().runs, 1);
    assert_eq!(bench.step(0), []);
    assert_eq!(bench.core.application().runs, 2);
    assert_eq!(bench.step(0).len(), 4, "it was for once");
}

#[test]
fn a_core_spins_as_long_as_it_was_told_to() {
    let mut bench = Bench::new(None);
    bench.step(3);
    for _ in 0..3 {
        assert_eq!(bench.step(3), []);
    }
    assert_eq!(bench.step(3).len(), 4);
    assert_eq!(
        bench.step(3).len(),
        4,
        "after a sleep for nothing it does not spin again"
    );
}

#[test]
fn a_core_looks_on_where_that_has_paid_and_sleeps_when_its_time_is_over() {
    const POLL: Duration = Duration::from_micros(100);
    let policy = IdlePolicy {
        poll: POLL,
        ..IdlePolicy::default()
    };
    let mut bench = Bench::new(None);
    let step_after = |bench: &mut Bench, us: u64| {
        let now = bench.processor.now.get() + Duration::from_micros(us);
        bench.processor.now.set(now);
        bench.step_by(policy).len()
    };
    // Something comes 30 us after each sleep; the core that has learnt that waits for it awake.
    let mut slept = Vec::new();
    for _ in 0..6 {
        let mut sleeps = 0;
        for us in [0, 10, 10, 10] {
            sleeps += step_after(&mut bench, us) / 4;
        }
        bench.core.notify(CoreMask::EMPTY);
        step_after(&mut bench, 0);
        step_after(&mut bench, 0);
        slept.push(sleeps > 0);
    }
    assert_eq!(slept[0..2], [true, true]);
    assert_eq!(slept[3..], [false, false, false]);
    let counters = bench.core.counters();
    assert!(counters.polls_paid >= 3 && counters.polls_vain > 0);
    // Then nothing comes any more: after one window it sleeps.
    step_after(&mut bench, 10);
    assert_eq!(step_after(&mut bench, 200), 4);
    assert_eq!(step_after(&mut bench, 1), 4);
    assert_eq!(bench.core.counters().polls_vain, counters.polls_vain + 1);
}

#[test]
fn the_application_runs_when_its_timeout_has_passed() {
    let mut bench = Bench::new(Some(SECOND));
    bench.step(0);
    for second in 1..=3 {
        let deadline = Instant::ZERO + SECOND * second;
        assert!(bench.step(0).contains(&Did::Sleep(Some(deadline))));
        assert_eq!(bench.core.application().runs, second as usize);
        assert_eq!(bench.step(0), [], "its run is something done");
    }
}

#[test]
fn an_observer_is_called_once_per_period_and_wakes_the_core() {
    let mut bench = Bench::new(None);
    let mut seen = Vec::new();
    let mut observer = Every::new(SECOND, Instant::ZERO, |core: &Core<_, Waiting>, now| {
        seen.push((now, core.application().runs));
    });
    for _ in 0..6 {
        bench.core.step(
            &bench.processor,
            &IdlePolicy::default(),
            &mut observer,
            &mut bench.idle,
        );
    }
    let expected: Vec<_> = (1..=4)
        .map(|second| (Instant::ZERO + SECOND * second, 1))
        .collect();
    assert_eq!(seen, expected);
}
