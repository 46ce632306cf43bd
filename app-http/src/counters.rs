//! What a server counts.

use crate::refusal::Refusal;

/// Counters of one core's server; they only grow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerCounters {
    /// Connections accepted.
    pub connections: u64,
    /// Connections whose end has been seen; `connections` less these are open.
    pub connections_ended: u64,
    /// Answers by class of status: 2xx to 5xx.
    pub answers: [u64; 4],
    /// Refused requests by [`Refusal`].
    pub refusals: [u64; Refusal::ALL.len()],
    /// Bytes of requests read, content that was thrown away included.
    pub bytes_in: u64,
    /// Bytes of answers taken over by the stack.
    pub bytes_out: u64,
    /// Requests whose head came in more than one piece: reads that had to be continued.
    pub partial_heads: u64,
    /// Connections given up because a large head found no buffer free.
    pub large_heads_refused: u64,
    /// Connections given up because they sent too much while they were being closed.
    pub linger_exceeded: u64,
    /// Connections given up because the channel refused a command.
    pub commands_refused: u64,
}

impl ServerCounters {
    /// Counts an answer.
    #[inline]
    pub(crate) fn count_answer(&mut self, status: u16, refusal: Option<Refusal>) {
        let class = usize::from(status / 100).clamp(2, 5) - 2;
        self.answers[class] += 1;
        if let Some(refusal) = refusal {
            self.refusals[refusal as usize] += 1;
        }
    }

    /// Returns the number of requests answered.
    pub fn requests(&self) -> u64 {
        self.answers.iter().sum()
    }

    /// Returns every counter with its name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let [ok, redirect, client_error, server_error] = self.answers;
        [
            ("connections", self.connections),
            ("connections_ended", self.connections_ended),
            ("requests", self.requests()),
            ("answers_2xx", ok),
            ("answers_3xx", redirect),
            ("answers_4xx", client_error),
            ("answers_5xx", server_error),
            ("bytes_in", self.bytes_in),
            ("bytes_out", self.bytes_out),
            ("partial_heads", self.partial_heads),
            ("large_heads_refused", self.large_heads_refused),
            ("linger_exceeded", self.linger_exceeded),
            ("commands_refused", self.commands_refused),
        ]
        .into_iter()
        .chain(
            Refusal::ALL
                .iter()
                .map(|refusal| (refusal.counter_name(), self.refusals[*refusal as usize])),
        )
    }
}
