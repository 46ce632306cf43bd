//! What a server counts.

use crate::refusal::Refusal;
use core::time::Duration;

/// Status codes with a counter of their own.
pub const STATUSES: [u16; 22] = [
    200, 204, 206, 301, 302, 303, 304, 307, 308, 400, 404, 405, 408, 410, 412, 414, 416, 417, 431,
    501, 503, 505,
];

/// Where 304 is among them.
pub(crate) const NOT_MODIFIED: usize = 6;
const _: () = assert!(STATUSES[0] == 200 && STATUSES[NOT_MODIFIED] == 304);

/// Upper bounds of the buckets of the latency histogram, in microseconds; one more has no bound.
pub const LATENCY_BOUNDS_US: [u64; 10] = [
    50, 100, 250, 500, 1_000, 5_000, 25_000, 100_000, 1_000_000, 10_000_000,
];

macro_rules! counters {
    ($($(#[$about:meta])* $name:ident,)*) => {
        /// Counters of one core's server; they only grow.
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub struct ServerCounters {
            $($(#[$about])* pub $name: u64,)*
            /// Answers by status code, in the order of [`STATUSES`]; those of another code last.
            pub answers: [u64; STATUSES.len() + 1],
            /// Refused requests by [`Refusal`].
            pub refusals: [u64; Refusal::ALL.len()],
            /// Requests by the time from their first byte to the end of the answer's last write, in
            /// the order of [`LATENCY_BOUNDS_US`].
            pub latencies: [u64; LATENCY_BOUNDS_US.len() + 1],
            /// Sum of these times, in microseconds.
            pub latency_sum_us: u64,
        }

        impl ServerCounters {
            /// Returns the counters that stand alone, with their names.
            pub fn plain(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }
        }
    };
}

counters! {
    /// Connections accepted.
    connections,
    /// Connections whose end has been seen; `connections` less these are open.
    connections_ended,
    /// Bytes of requests read, content that was thrown away included.
    bytes_in,
    /// Bytes of answers taken over by the stack.
    bytes_out,
    /// Requests whose head came in more than one piece: reads that had to be continued.
    partial_heads,
    /// Connections given up because there was no buffer for the rest of a head.
    large_heads_refused,
    /// Connections refused because their address has as many as it may.
    address_limit_exceeded,
    /// Connections refused because the server is stopping.
    refused_while_stopping,
    /// Connections closed because no request came.
    idle_timeouts,
    /// Requests given up because their head or content did not come in time.
    request_timeouts,
    /// Answers given up because the client did not take them in time.
    write_timeouts,
    /// Connections given up because they sent too much, or for too long, while they were being
    /// closed.
    linger_exceeded,
    /// Connections cut off because the time to stop was over.
    cut_off_at_stop,
    /// Connections given up because the channel refused a command.
    commands_refused,
    /// Lines of the access log.
    log_lines,
    /// Lines of the access log for which there was no room.
    log_lines_dropped,
}

impl ServerCounters {
    /// Counts an answer.
    #[inline]
    pub(crate) fn count_answer(&mut self, status: u16, refusal: Option<Refusal>) {
        if status == 200 {
            self.answers[0] += 1;
            return;
        }
        self.answers[place_of(status)] += 1;
        if let Some(refusal) = refusal {
            self.refusals[refusal as usize] += 1;
        }
    }

    /// Counts requests that took so long.
    #[inline]
    pub(crate) fn count_latency(&mut self, requests: u32, latency: Duration) {
        let requests = u64::from(requests);
        if latency.is_zero() {
            self.latencies[0] += requests;
            return;
        }
        let microseconds = latency.as_micros() as u64;
        let bucket = LATENCY_BOUNDS_US
            .iter()
            .position(|bound| microseconds <= *bound);
        self.latencies[bucket.unwrap_or(LATENCY_BOUNDS_US.len())] += requests;
        self.latency_sum_us += microseconds * requests;
    }

    /// Returns the refusals by reason, with the names of their counters.
    pub fn refusals(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let named = |refusal: Refusal| (refusal.counter_name(), self.refusals[refusal as usize]);
        Refusal::ALL.into_iter().map(named)
    }

    /// Returns the number of requests answered.
    pub fn requests(&self) -> u64 {
        self.answers.iter().sum()
    }

    /// Returns the number of answers whose status is of this class, 2 for 2xx and so on.
    pub fn class(&self, class: u16) -> u64 {
        let of_class = STATUSES.iter().zip(&self.answers);
        of_class
            .filter(|(status, _)| *status / 100 == class)
            .map(|(_, count)| count)
            .sum()
    }

    /// Returns every counter with its name, answers by class.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let classes = [
            ("requests", self.requests()),
            ("answers_2xx", self.class(2)),
            ("answers_3xx", self.class(3)),
            ("answers_4xx", self.class(4)),
            ("answers_5xx", self.class(5)),
        ];
        self.plain().chain(classes).chain(self.refusals())
    }
}

#[inline(never)]
fn place_of(status: u16) -> usize {
    let place = STATUSES.iter().position(|known| *known == status);
    place.unwrap_or(STATUSES.len())
}
