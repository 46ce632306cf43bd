//! The counters of all cores, where one of them can read them.
//!
//! Each core publishes its own when somebody asks for them, as relaxed stores into its own row; whoever renders them
//! adds the rows up. No lock, and nothing on the way of a request. A row is consistent to a counter,
//! not as a whole. Upstream: [`publisher`](crate::publisher). Downstream:
//! [`metrics_text`](crate::metrics_text).

use crate::counters::{LATENCY_BOUNDS_US, STATUSES, ServerCounters};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};
use megapipe::{ChannelCounters, CoreCounters};
use net::counters::Counters;
use net::nic::NicCounters;

/// One figure of a core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sample {
    /// A counter, or a gauge when its name ends in `_now`: the layer and the name.
    Plain(&'static str, &'static str),
    /// Answers with this status; `None` for all that have no figure of their own.
    Answers(Option<u16>),
    /// Requests that took up to so many microseconds and longer than those before; `None` for the
    /// rest.
    Latency(Option<u64>),
    /// The sum of their times in microseconds.
    LatencySum,
}

/// All counters of a core at a moment.
#[derive(Debug, Clone, Copy)]
pub struct Snapshot<'a> {
    /// Its loop's.
    pub core: &'a CoreCounters,
    /// Its stack's.
    pub net: &'a Counters,
    /// Its queue pair's.
    pub nic: &'a NicCounters,
    /// Its channel's.
    pub channel: &'a ChannelCounters,
    /// Its server's.
    pub server: &'a ServerCounters,
}

impl Snapshot<'_> {
    /// Tells every figure, always in the same order: the figures of one family together.
    fn tell(&self, tell: &mut dyn FnMut(Sample, u64)) {
        let mut plain = |layer, counters: &mut dyn Iterator<Item = (&'static str, u64)>| {
            counters.for_each(|(name, value)| tell(Sample::Plain(layer, name), value));
        };
        plain("core", &mut self.core.iter());
        plain("net", &mut self.net.iter());
        plain("net", &mut self.nic.iter());
        plain("channel", &mut self.channel.iter());
        plain("http", &mut self.server.plain());
        plain("http", &mut self.server.refusals());
        let statuses = STATUSES.into_iter().map(Some).chain([None]);
        for (status, count) in statuses.zip(self.server.answers) {
            tell(Sample::Answers(status), count);
        }
        let bounds = LATENCY_BOUNDS_US.into_iter().map(Some).chain([None]);
        for (bound, count) in bounds.zip(self.server.latencies) {
            tell(Sample::Latency(bound), count);
        }
        tell(Sample::LatencySum, self.server.latency_sum_us);
    }
}

/// The published counters of an appliance.
#[derive(Debug)]
pub struct Metrics {
    samples: Box<[Sample]>,
    /// By core.
    rows: Box<[Box<[AtomicU64]>]>,
    /// The last question that each core has answered.
    answered: Box<[AtomicU64]>,
}

impl Metrics {
    /// Makes room for the counters of `cores` cores.
    pub fn new(cores: usize) -> Self {
        let mut samples = Vec::new();
        let empty = Snapshot {
            core: &CoreCounters::default(),
            net: &Counters::default(),
            nic: &NicCounters::default(),
            channel: &ChannelCounters::default(),
            server: &ServerCounters::default(),
        };
        empty.tell(&mut |sample, _| samples.push(sample));
        let row = || samples.iter().map(|_| AtomicU64::new(0)).collect();
        Metrics {
            rows: (0..cores).map(|_| row()).collect(),
            answered: (0..cores).map(|_| AtomicU64::new(0)).collect(),
            samples: samples.into_boxed_slice(),
        }
    }

    /// Publishes the counters of a core, as the answer to the question `asked`.
    pub fn publish(&self, core: usize, snapshot: &Snapshot<'_>, asked: u64) {
        let (Some(row), Some(answered)) = (self.rows.get(core), self.answered.get(core)) else {
            return;
        };
        let mut places = row.iter();
        snapshot.tell(&mut |_, value| {
            if let Some(place) = places.next() {
                place.store(value, Ordering::Relaxed);
            }
        });
        // Release: whoever sees the number sees the figures.
        answered.store(asked, Ordering::Release);
    }

    /// Returns whether all cores have answered the question `asked`, or a later one.
    pub fn is_answered(&self, asked: u64) -> bool {
        let mut answered = self.answered.iter();
        answered.all(|answered| answered.load(Ordering::Acquire) >= asked)
    }

    /// Returns the number of cores.
    pub fn cores(&self) -> usize {
        self.rows.len()
    }

    /// Returns the figures that each core has.
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// Returns a figure: of a core, or the sum of all.
    pub fn value(&self, sample: usize, core: Option<usize>) -> u64 {
        let of = |row: &[AtomicU64]| {
            row.get(sample)
                .map_or(0, |value| value.load(Ordering::Relaxed))
        };
        match core {
            Some(core) => self.rows.get(core).map_or(0, |row| of(row)),
            None => self.rows.iter().map(|row| of(row)).sum(),
        }
    }
}
