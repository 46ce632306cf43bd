//! Metrics as text in the Prometheus exposition format 0.0.4.
//!
//! First the sums over all cores (`sluice_http_requests_total`), then each core's own
//! (`sluice_core_http_requests_total{core="0"}`), so that neither is counted twice. The text is
//! written piece by piece, each into whatever room there is: it may be longer than a buffer.

use crate::metrics::{Metrics, Sample};
use core::fmt::{self, Write};

/// How far a text has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cursor {
    /// The sums are written; now come the cores'.
    is_by_core: bool,
    sample: usize,
    core: usize,
}

/// Bytes of the lines that are written at once.
const LINES_BYTES: usize = 512;

impl Cursor {
    /// Writes as many whole lines as `put` takes, which says whether it did; returns whether all are
    /// written.
    pub fn write(&mut self, metrics: &Metrics, mut put: impl FnMut(&[u8]) -> bool) -> bool {
        loop {
            let Some(sample) = metrics.samples().get(self.sample) else {
                if self.is_by_core {
                    return true;
                }
                *self = Cursor {
                    is_by_core: true,
                    ..Cursor::default()
                };
                continue;
            };
            let mut lines = heapless::String::<LINES_BYTES>::new();
            let written = self.write_lines(metrics, *sample, &mut lines);
            debug_assert!(written.is_ok());
            if !put(lines.as_bytes()) {
                return false;
            }
            self.step(metrics);
        }
    }

    fn step(&mut self, metrics: &Metrics) {
        self.core += 1;
        if !self.is_by_core || self.core >= metrics.cores() {
            self.core = 0;
            self.sample += 1;
        }
    }

    /// Writes the lines of one figure, behind the type of its family when it is the first of it.
    fn write_lines(&self, metrics: &Metrics, sample: Sample, out: &mut impl Write) -> fmt::Result {
        let scope = if self.is_by_core {
            "sluice_core_"
        } else {
            "sluice_"
        };
        let family = Family(scope, sample);
        if self.core == 0 && is_first(metrics.samples(), self.sample) {
            let kind = match sample {
                Sample::Plain(_, name) if name.ends_with(NOW) => "gauge",
                Sample::Latency(_) => "histogram",
                _ => "counter",
            };
            writeln!(out, "# TYPE {family} {kind}")?;
        }
        let core = self.is_by_core.then_some(self.core);
        let labels = Labels(core, sample);
        let value = metrics.value(self.sample, core);
        match sample {
            Sample::Plain(..) | Sample::Answers(_) => writeln!(out, "{family}{labels} {value}"),
            Sample::Latency(_) => {
                let value = self.cumulative(metrics, core);
                writeln!(out, "{family}_bucket{labels} {value}")
            }
            Sample::LatencySum => {
                let (seconds, micros) = (value / 1_000_000, value % 1_000_000);
                writeln!(out, "{family}_sum{labels} {seconds}.{micros:06}")?;
                let count = self.cumulative(metrics, core);
                writeln!(out, "{family}_count{labels} {count}")
            }
        }
    }

    /// Returns the sum of the latency figures up to this one.
    fn cumulative(&self, metrics: &Metrics, core: Option<usize>) -> u64 {
        let up_to = metrics.samples().iter().enumerate().take(self.sample + 1);
        up_to
            .filter(|(_, sample)| matches!(sample, Sample::Latency(_)))
            .map(|(place, _)| metrics.value(place, core))
            .sum()
    }
}

/// The end of a gauge's name.
const NOW: &str = "_now";

/// Returns whether a figure is the first of its family.
fn is_first(samples: &[Sample], place: usize) -> bool {
    let before = place.checked_sub(1).and_then(|before| samples.get(before));
    !matches!(
        (before, samples.get(place)),
        (Some(Sample::Answers(_)), Some(Sample::Answers(_)))
            | (
                Some(Sample::Latency(_)),
                Some(Sample::Latency(_) | Sample::LatencySum)
            )
    )
}

/// The name of a family.
struct Family(&'static str, Sample);

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scope = self.0;
        match self.1 {
            Sample::Plain(layer, name) => match name.strip_suffix(NOW) {
                Some(gauge) => write!(f, "{scope}{layer}_{gauge}"),
                None => write!(f, "{scope}{layer}_{name}_total"),
            },
            Sample::Answers(_) => write!(f, "{scope}http_requests_total"),
            Sample::Latency(_) | Sample::LatencySum => write!(f, "{scope}http_request_seconds"),
        }
    }
}

/// The labels of a figure.
struct Labels(Option<usize>, Sample);

impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "{";
        if let Some(core) = self.0 {
            write!(f, "{separator}core=\"{core}\"")?;
            separator = ",";
        }
        match self.1 {
            Sample::Answers(Some(status)) => write!(f, "{separator}status=\"{status}\"")?,
            Sample::Answers(None) => write!(f, "{separator}status=\"other\"")?,
            Sample::Latency(Some(us)) => {
                let (seconds, micros) = (us / 1_000_000, us % 1_000_000);
                write!(f, "{separator}le=\"{seconds}.{micros:06}\"")?;
            }
            Sample::Latency(None) => write!(f, "{separator}le=\"+Inf\"")?,
            Sample::Plain(..) | Sample::LatencySum => {
                return if self.0.is_some() {
                    f.write_str("}")
                } else {
                    Ok(())
                };
            }
        }
        f.write_str("}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counters::ServerCounters;
    use crate::metrics::Snapshot;
    use core::time::Duration;
    use megapipe::{ChannelCounters, CoreCounters};
    use net::counters::Counters;
    use net::nic::NicCounters;
    use std::collections::{HashMap, HashSet};
    use std::string::String;
    use std::vec::Vec;

    fn published() -> Metrics {
        let metrics = Metrics::new(2);
        for core in 0..2u32 {
            let mut server = ServerCounters {
                connections: 10 + u64::from(core),
                ..ServerCounters::default()
            };
            (0..=core).for_each(|_| server.count_answer(404, None));
            server.count_answer(799, None);
            server.count_latency(3, Duration::ZERO);
            server.count_latency(2, Duration::from_micros(300));
            server.count_latency(1, Duration::from_secs(100));
            let snapshot = Snapshot {
                core: &CoreCounters::default(),
                net: &Counters::default(),
                nic: &NicCounters::default(),
                channel: &ChannelCounters::default(),
                server: &server,
            };
            metrics.publish(core as usize, &snapshot, 1);
        }
        metrics
    }

    /// Renders through buffers of this size.
    fn text(metrics: &Metrics, bytes: usize) -> String {
        let (mut cursor, mut text) = (Cursor::default(), Vec::new());
        loop {
            let start = text.len();
            let is_done = cursor.write(metrics, |lines| {
                let fits = text.len() - start + lines.len() <= bytes;
                if fits {
                    text.extend_from_slice(lines);
                }
                fits
            });
            if is_done {
                return String::from_utf8(text).unwrap();
            }
        }
    }

    #[test]
    fn figures_are_there_in_sum_and_by_core() {
        let text = text(&published(), 1 << 20);
        for line in [
            "# TYPE sluice_http_connections_total counter",
            "sluice_http_connections_total 21",
            "sluice_core_http_connections_total{core=\"1\"} 11",
            "sluice_http_requests_total{status=\"404\"} 3",
            "sluice_http_requests_total{status=\"other\"} 2",
            "sluice_core_http_requests_total{core=\"1\",status=\"404\"} 2",
            "# TYPE sluice_http_request_seconds histogram",
            "sluice_http_request_seconds_bucket{le=\"0.000050\"} 6",
            "sluice_http_request_seconds_bucket{le=\"0.000500\"} 10",
            "sluice_http_request_seconds_bucket{le=\"+Inf\"} 12",
            "sluice_http_request_seconds_sum 200.001200",
            "sluice_http_request_seconds_count 12",
            "sluice_core_http_request_seconds_count{core=\"0\"} 6",
        ] {
            assert!(text.lines().any(|known| known == line), "{line}\n{text}");
        }
    }

    #[test]
    fn the_text_is_the_same_through_buffers_of_any_size() {
        let metrics = published();
        let whole = text(&metrics, 1 << 20);
        for bytes in [LINES_BYTES, 700, 1_000, 8_192] {
            assert_eq!(text(&metrics, bytes), whole, "{bytes}");
        }
    }

    #[test]
    fn each_family_is_typed_once_and_stands_together() {
        let text = text(&published(), 1 << 20);
        let mut typed = HashSet::new();
        let mut figures = HashMap::new();
        let mut family = "";
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                family = rest.split(' ').next().unwrap();
                assert!(typed.insert(family), "{family} twice");
            } else {
                let (figure, value) = line.rsplit_once(' ').unwrap();
                assert!(figure.starts_with(family), "{figure} in {family}");
                assert!(value.parse::<f64>().is_ok(), "{line}");
                assert!(figures.insert(figure, value).is_none(), "{figure} twice");
            }
        }
        assert!(typed.len() > 100, "{}", typed.len());
    }
}
