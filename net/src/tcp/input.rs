//! A segment has come: RFC 9293 §3.10.7, with the checks of RFC 5961 and RFC 7323.
//!
//! Upstream: the demux, which has verified headers and checksum. Downstream: the queues, and
//! [`News`] for the stack. What goes out in answer is left to [`transmit`](super::transmit).

use super::control::{AckOwed, Retransmission, State, Tcb};
use super::news::News;
use super::options::{Options, timestamps_alone};
use super::recovery::Recovery;
use super::send_queue::Lent;
use super::seq::Seq;
use crate::chunk::ChunkPool;
use crate::demux::{Flags, Segment};
use crate::event::CloseReason;
use crate::limits::{ACK_DELAY, CHALLENGE_INTERVAL, TIMESTAMP_LIFE};
use kernel::Instant;

/// A segment for a connection.
#[derive(Clone, Copy)]
pub(crate) struct Arrived<'a> {
    pub(crate) segment: &'a Segment,
    pub(crate) options: &'a [u8],
    pub(crate) payload: &'a [u8],
    pub(crate) now: Instant,
}

impl<P: Lent> Tcb<P> {
    /// Takes a segment in.
    pub(crate) fn process(&mut self, arrived: &Arrived<'_>, pool: &mut ChunkPool) -> News {
        let segment = arrived.segment;
        match self.state {
            State::SynSent => return self.process_in_syn_sent(arrived),
            State::Closed => return News::default(),
            _ => {}
        }
        if segment.flags == Flags::ACK || segment.flags == Flags::ACK_PSH {
            if !self.take_options(arrived) {
                return self.answer_out_of_place(arrived);
            }
            if segment.sequence != self.rcv_nxt && !self.is_acceptable(arrived) {
                return self.answer_out_of_place(arrived);
            }
        } else if let Err(news) = self.process_controls(arrived) {
            return news;
        }
        let mut news = News::default();
        if !self.process_acknowledgement(arrived, &mut news) {
            return news;
        }
        if !arrived.payload.is_empty() {
            self.process_payload(arrived, pool, &mut news);
        }
        if segment.flags.has_fin() || self.finish_at.is_some() {
            self.process_finish(arrived, &mut news);
        }
        news
    }

    /// Checks what the usual segment has none of; an error ends the segment's way.
    #[cold]
    fn process_controls(&mut self, arrived: &Arrived<'_>) -> Result<(), News> {
        let segment = arrived.segment;
        let flags = segment.flags;
        if flags.has_syn()
            && self.state == State::SynReceived
            && segment.sequence + 1 == self.rcv_nxt
        {
            // Our SYN was lost, or is late: once more.
            self.owes_syn = true;
            if !flags.has_ack() {
                return Err(News::default());
            }
        } else if flags.has_rst() {
            return Err(self.process_reset(segment.sequence));
        } else if !self.take_options(arrived) || !self.is_acceptable(arrived) {
            return Err(self.answer_out_of_place(arrived));
        } else if flags.has_syn() {
            // RFC 5961 §4.2: whoever really begins anew answers the challenge with RST.
            return Err(self.answer_out_of_place(arrived));
        }
        if flags.has_ack() {
            Ok(())
        } else {
            Err(News::OUT_OF_PLACE)
        }
    }

    /// Handles RST (RFC 5961 §3.2): exactly in order it ends the connection, elsewhere in the
    /// window it is challenged.
    fn process_reset(&mut self, sequence: Seq) -> News {
        if sequence == self.rcv_nxt {
            self.finish(State::Closed, CloseReason::Reset);
            return News::OVER;
        }
        if self.is_in_window(sequence) {
            self.ack = AckOwed::Now;
        }
        News::OUT_OF_PLACE
    }

    /// Takes in the options of a segment of a synchronized connection; false when it is older than
    /// what came before (RFC 7323 §5.3, PAWS).
    #[inline]
    fn take_options(&mut self, arrived: &Arrived<'_>) -> bool {
        if arrived.options.is_empty() {
            return true;
        }
        match timestamps_alone(arrived.options) {
            Some((value, _)) => self.take_timestamp(value, arrived),
            None => self.take_other_options(arrived),
        }
    }

    #[cold]
    fn take_other_options(&mut self, arrived: &Arrived<'_>) -> bool {
        let options = Options::parse(arrived.options);
        if let Some((value, _)) = options.timestamps
            && !self.take_timestamp(value, arrived)
        {
            return false;
        }
        if self.has_sack {
            for range in options.sack {
                let is_ours = !range.start.is_before(self.una) && !range.end.is_after(self.max);
                if is_ours && self.scoreboard.insert(range) {
                    self.duplicates += 1;
                }
            }
        }
        true
    }

    #[inline]
    fn take_timestamp(&mut self, value: u32, arrived: &Arrived<'_>) -> bool {
        let Some(timestamps) = &mut self.timestamps else {
            return true;
        };
        if Seq(value).is_before(Seq(timestamps.recent)) {
            let age = arrived.now.saturating_since(timestamps.recent_at);
            return age > TIMESTAMP_LIFE;
        }
        // RFC 7323 §4.3: not from a segment beyond what was acknowledged last.
        if !arrived.segment.sequence.is_after(self.ack_sent) {
            timestamps.recent = value;
            timestamps.recent_at = arrived.now;
        }
        true
    }

    /// Whether a sequence number lies in the receive window.
    #[inline]
    fn is_in_window(&self, sequence: Seq) -> bool {
        !sequence.is_before(self.rcv_nxt) && sequence.is_before(self.rcv_edge)
    }

    /// RFC 9293 §3.4, table 6. A segment that begins where it should is taken even without a
    /// window: its acknowledgement counts (§3.10.7.4, "special allowance"); and so does that of one
    /// just behind the window, whose sender has filled it.
    #[inline]
    fn is_acceptable(&self, arrived: &Arrived<'_>) -> bool {
        let start = arrived.segment.sequence;
        let controls = u32::from(arrived.segment.flags.has_fin());
        let bytes = arrived.payload.len() as u32 + controls;
        start == self.rcv_nxt
            || self.is_in_window(start)
            || start == self.rcv_edge
            || (bytes > 0
                && start.is_before(self.rcv_nxt)
                && (start + bytes).is_after(self.rcv_nxt))
    }

    /// Answers a segment that has no place here with what would be in place. Without payload at
    /// most one at a time, so that two ends that disagree do not go on for ever (RFC 5961 §7).
    #[cold]
    fn answer_out_of_place(&mut self, arrived: &Arrived<'_>) -> News {
        let may_answer = !arrived.payload.is_empty()
            || self
                .challenged
                .is_none_or(|at| arrived.now.saturating_since(at) >= CHALLENGE_INTERVAL);
        if may_answer && !arrived.segment.flags.has_rst() {
            if arrived.payload.is_empty() {
                self.challenged = Some(arrived.now);
            }
            self.ack = AckOwed::Now;
        }
        News::OUT_OF_PLACE
    }

    /// Handles the acknowledgement (RFC 9293 §3.10.7.4, fifth check); false when the segment goes
    /// no further.
    #[inline]
    fn process_acknowledgement(&mut self, arrived: &Arrived<'_>, news: &mut News) -> bool {
        let segment = arrived.segment;
        let ack = segment.acknowledged;
        if self.state == State::SynReceived {
            if !ack.is_after(self.una) || ack.is_after(self.max) {
                news.add(News::STRANGER);
                return false;
            }
            self.establish(ack, arrived.now);
            news.add(News::ESTABLISHED);
        } else if ack.is_after(self.una) {
            if ack.is_after(self.max) {
                *news = self.answer_out_of_place(arrived);
                return false;
            }
            self.acknowledge(ack, arrived.now, news);
        } else if (self.una - ack) > self.window_max.max(1 << 16) {
            // RFC 5961 §5.2: too old to be true.
            *news = self.answer_out_of_place(arrived);
            return false;
        } else if ack == self.una {
            self.note_duplicate(arrived);
        }
        self.take_window(segment);
        if self.window == 0 {
            // It answers, and may keep the window shut as long as it likes (RFC 9293 §3.8.6.1).
            self.progress_at = arrived.now;
        }
        self.detect_loss();
        !news.has(News::OVER)
    }

    /// New data, or our FIN, is acknowledged.
    #[inline]
    fn acknowledge(&mut self, ack: Seq, now: Instant, news: &mut News) {
        let acked = ack - self.una;
        let in_flight = self.in_flight();
        let bytes = (acked as usize).min(self.send.len());
        let is_finish_acknowledged = acked as usize > bytes;
        if self.send.acknowledge(bytes) {
            news.add(News::ROOM);
        }
        self.una = ack;
        self.nxt = self.nxt.max(ack);
        if let Some((timed, sent_at)) = self.timed
            && !timed.is_after(ack)
        {
            self.timed = None;
            self.rtt.sample(now.saturating_since(sent_at));
        }
        self.rtt.progress();
        self.progress_at = now;
        if !self.scoreboard.is_empty() {
            self.scoreboard.acknowledge(ack);
        }
        if !matches!(self.recovery, Recovery::Fast { .. }) {
            let round_trip = self.rtt.smoothed();
            self.cubic
                .on_ack(acked, in_flight, self.mss, round_trip, now);
        }
        self.continue_recovery();
        self.retransmission = Retransmission::Off;
        if is_finish_acknowledged {
            match self.state {
                State::FinWait1 => self.state = State::FinWait2,
                State::Closing => {
                    self.finish(State::TimeWait, CloseReason::Finished);
                    news.add(News::OVER);
                }
                State::LastAck => {
                    self.finish(State::Closed, CloseReason::Finished);
                    news.add(News::OVER);
                }
                _ => {}
            }
        }
    }

    /// An acknowledgement of nothing new: perhaps a duplicate (RFC 5681 §2). With selective
    /// acknowledgements only their news counts, which was seen before.
    #[inline]
    fn note_duplicate(&mut self, arrived: &Arrived<'_>) {
        let segment = arrived.segment;
        if !self.has_sack
            && self.una != self.max
            && arrived.payload.is_empty()
            && !segment.flags.has_fin()
            && u32::from(segment.window) << self.window_shift == self.window
        {
            self.duplicates += 1;
        }
    }

    /// Takes the peer's window over, unless the segment is older than the last that told it.
    #[inline]
    fn take_window(&mut self, segment: &Segment) {
        let (sequence, ack) = (segment.sequence, segment.acknowledged);
        if self.window_seq.is_before(sequence)
            || (self.window_seq == sequence && !ack.is_before(self.window_ack))
        {
            self.window = u32::from(segment.window) << self.window_shift;
            self.window_max = self.window_max.max(self.window);
            self.window_seq = sequence;
            self.window_ack = ack;
            if self.window > 0
                && let Retransmission::Persist(_) = self.retransmission
            {
                self.retransmission = Retransmission::Off;
                self.rtt.progress();
            }
        }
    }

    /// Takes payload in (RFC 9293 §3.10.7.4, seventh check), trimmed to the window.
    #[inline]
    fn process_payload(&mut self, arrived: &Arrived<'_>, pool: &mut ChunkPool, news: &mut News) {
        if !matches!(
            self.state,
            State::Established | State::FinWait1 | State::FinWait2
        ) {
            // Behind the peer's own FIN.
            return;
        }
        let (mut start, mut payload) = (arrived.segment.sequence, arrived.payload);
        let known = self.rcv_nxt.beyond(start).min(payload.len() as u32);
        start = start + known;
        payload = &payload[known as usize..];
        let room = self.rcv_edge.beyond(start) as usize;
        if payload.len() > room {
            payload = &payload[..room];
            self.ack = AckOwed::Now;
        }
        if payload.is_empty() {
            // Known already, or no room: the peer is to know how far we are.
            self.ack = AckOwed::Now;
            return;
        }
        if start != self.rcv_nxt {
            self.receive.insert(start, payload, pool);
            self.ack = AckOwed::Now;
            return;
        }
        let appended = self.receive.append(payload, pool);
        self.rcv_nxt = self.rcv_nxt + appended as u32;
        if appended > 0 {
            news.add(News::READABLE);
        }
        if self.receive.has_gap() {
            self.rcv_nxt = self.receive.join(self.rcv_nxt, pool);
            // RFC 5681 §4.2: at once while there is a gap or one has just been filled.
            self.ack = AckOwed::Now;
        } else if appended < payload.len() {
            self.ack = AckOwed::Now;
        } else {
            self.owe_acknowledgement(appended as u32, arrived.now);
        }
    }

    /// An acknowledgement is owed for bytes in order: at once for every second full segment, else
    /// in a while (RFC 9293 §3.8.6.3).
    #[inline]
    fn owe_acknowledgement(&mut self, bytes: u32, now: Instant) {
        self.unacked_bytes += bytes;
        self.ack = match self.ack {
            AckOwed::Now => AckOwed::Now,
            _ if self.unacked_bytes >= 2 * self.mss => AckOwed::Now,
            AckOwed::By(at) => AckOwed::By(at),
            AckOwed::None => AckOwed::By(now + ACK_DELAY),
        };
    }

    /// Handles the peer's FIN (RFC 9293 §3.10.7.4, eighth check) when all before it has come.
    #[cold]
    fn process_finish(&mut self, arrived: &Arrived<'_>, news: &mut News) {
        if arrived.segment.flags.has_fin() {
            self.ack = AckOwed::Now;
            let at = arrived.segment.sequence + arrived.payload.len() as u32;
            if !at.is_before(self.rcv_nxt) && !at.is_after(self.rcv_edge) {
                self.finish_at = Some(at);
            }
        }
        if self.finish_at != Some(self.rcv_nxt) {
            return;
        }
        self.finish_at = None;
        match self.state {
            State::Established => self.state = State::CloseWait,
            State::FinWait1 => self.state = State::Closing,
            State::FinWait2 => {
                self.finish(State::TimeWait, CloseReason::Finished);
                news.add(News::OVER);
            }
            _ => return,
        }
        self.rcv_nxt = self.rcv_nxt + 1;
        self.ack = AckOwed::Now;
        news.add(News::READABLE);
    }
}
