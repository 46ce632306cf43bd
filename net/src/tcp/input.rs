//! A segment has come: RFC 9293 §3.10.7. Whether it is one to be taken is asked of
//! [`acceptance`](super::acceptance).
//!
//! Upstream: the demux, which has verified headers and checksum. Downstream: the queues, and
//! [`News`] for the stack. What goes out in answer is left to [`transmit`](super::transmit).

use super::control::{AckOwed, Retransmission, State, Tcb};
use super::news::News;
use super::options::Options;
use super::recovery::Recovery;
use super::send_queue::Lent;
use super::seq::Seq;
use crate::chunk::ChunkPool;
use crate::demux::{Flags, Segment};
use crate::event::CloseReason;
use crate::limits::{ACK_DELAY, RTO_MAX};
use kernel::Instant;

/// A segment for a connection.
#[derive(Clone, Copy)]
pub(crate) struct Arrived<'a> {
    pub(crate) segment: &'a Segment,
    pub(crate) options: &'a [u8],
    pub(crate) payload: &'a [u8],
    /// Bytes of the whole payload, if some of it lies elsewhere.
    pub(crate) payload_bytes: u32,
    pub(crate) now: Instant,
}

impl<P: Lent> Tcb<P> {
    /// Takes a segment in. One of whose payload some lies in other buffers is `LARGE`, and that is the
    /// `rest`: the usual segment is to cost nothing for it.
    pub(crate) fn process<const LARGE: bool>(
        &mut self,
        arrived: &Arrived<'_>,
        rest: &[&[u8]],
        pool: &mut ChunkPool,
    ) -> News {
        let segment = arrived.segment;
        match self.state {
            State::SynSent => return self.process_in_syn_sent(arrived),
            State::Closed => return News::default(),
            _ => {}
        }
        self.silences = 0;
        if segment.flags == Flags::ACK || segment.flags == Flags::ACK_PSH {
            if !self.take_if_in_place(arrived) {
                return self.answer_out_of_place(arrived);
            }
        } else if let Err(news) = self.process_controls(arrived) {
            return news;
        }
        let mut news = News::default();
        if !self.process_acknowledgement(arrived, &mut news) {
            return news;
        }
        if arrived.payload_bytes > 0 {
            let (mut start, now) = (segment.sequence, arrived.now);
            self.process_payload(start, arrived.payload, pool, now, &mut news);
            start = start + arrived.payload.len() as u32;
            for piece in rest.iter().filter(|_| LARGE) {
                self.process_payload(start, piece, pool, now, &mut news);
                start = start + piece.len() as u32;
            }
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
            return Err(self.process_syn_again(arrived));
        }
        if flags.has_rst() {
            return Err(self.process_reset(arrived));
        }
        // RFC 5961 §4.2: whoever really begins anew answers the challenge with RST.
        if !self.take_if_in_place(arrived) || flags.has_syn() {
            return Err(self.answer_out_of_place(arrived));
        }
        if flags.has_ack() {
            Ok(())
        } else {
            Err(News::OUT_OF_PLACE)
        }
    }

    /// Handles the SYN of this connection once more. Alone it says that ours was lost, or is late;
    /// with an acknowledgement it ends a handshake that both sides began. What else is in it comes
    /// again, behind it.
    fn process_syn_again(&mut self, arrived: &Arrived<'_>) -> News {
        let mut news = News::default();
        if !arrived.segment.flags.has_ack() {
            self.owes_syn = true;
        } else if self.process_acknowledgement(arrived, &mut news) {
            // The window of a SYN is never scaled (RFC 7323 §2.2).
            self.window = arrived.segment.window.into();
            self.ack = AckOwed::Now;
        }
        news
    }

    /// Handles the acknowledgement (RFC 9293 §3.10.7.4, fifth check); false when the segment goes
    /// no further.
    #[inline(always)]
    fn process_acknowledgement(&mut self, arrived: &Arrived<'_>, news: &mut News) -> bool {
        let segment = arrived.segment;
        let ack = segment.acknowledged;
        let mut is_newer = false;
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
            self.acknowledge(arrived, news);
            is_newer = true;
        } else if (self.una - ack) > self.window_max.max(1 << 16) {
            // RFC 5961 §5.2: too old to be true.
            *news = self.answer_out_of_place(arrived);
            return false;
        } else if ack == self.una {
            self.note_duplicate(arrived);
        }
        self.take_window(segment, is_newer);
        if self.window == 0 {
            // It answers, and may keep the window shut as long as it likes (RFC 9293 §3.8.6.1).
            self.progress_at = arrived.now;
        }
        self.detect_loss();
        !news.has(News::OVER)
    }

    /// New data, or our FIN, is acknowledged.
    #[inline(always)]
    fn acknowledge(&mut self, arrived: &Arrived<'_>, news: &mut News) {
        let (ack, now) = (arrived.segment.acknowledged, arrived.now);
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
            self.rtt.sample(now.micros_since(sent_at));
        } else if self.rtt.smoothed_us() == 0 && self.rtt.backoffs() == 0 {
            self.sample_by_timestamp(arrived);
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

    /// Times a round trip by the timestamp that comes back, when there was none to be timed: all was
    /// sent twice so far (RFC 7323 §4). Not after a timeout: what comes back may be the timestamp of
    /// the first copy, whose acknowledgement was lost.
    #[cold]
    fn sample_by_timestamp(&mut self, arrived: &Arrived<'_>) {
        let echo = Options::parse(arrived.options).timestamps;
        if let Some((ours, (_, echo))) = self.timestamps.zip(echo) {
            let ms = ours.value(arrived.now).wrapping_sub(echo);
            if u128::from(ms) <= RTO_MAX.as_millis() {
                self.rtt.sample(u64::from(ms.max(1)) * 1_000);
            }
        }
    }

    /// An acknowledgement of nothing new: perhaps a duplicate (RFC 5681 §2). With selective
    /// acknowledgements only their news counts, which was seen before.
    #[inline(always)]
    fn note_duplicate(&mut self, arrived: &Arrived<'_>) {
        let segment = arrived.segment;
        if !self.has_sack
            && self.una != self.max
            && arrived.payload_bytes == 0
            && !segment.flags.has_fin()
            && u32::from(segment.window) << self.window_shift == self.window
        {
            self.duplicates += 1;
        }
    }

    /// Takes the peer's window over, unless the segment is older than the last that told it. One that
    /// acknowledges something new is not, though the peer may have sent it again.
    #[inline(always)]
    fn take_window(&mut self, segment: &Segment, is_newer: bool) {
        // One that acknowledges less than is known counts from there: it was told before.
        let is_current = segment.acknowledged == self.una;
        if is_current && (is_newer || !segment.sequence.is_before(self.window_seq)) {
            let was_shut = self.window == 0;
            self.window = u32::from(segment.window) << self.window_shift;
            self.window_max = self.window_max.max(self.window);
            self.window_seq = segment.sequence;
            let is_probing = matches!(self.retransmission, Retransmission::Persist(_));
            if self.window > 0 && (was_shut || is_probing) {
                // What is sent now waits for its acknowledgement as long as anything does.
                self.retransmission = Retransmission::Off;
                self.rtt.progress();
                if self.max - self.una == 1 {
                    // The probe found no room: it goes out again with what is behind it.
                    self.nxt = self.una;
                }
            }
        }
    }

    /// Takes payload that begins at `start` in (RFC 9293 §3.10.7.4, seventh check), trimmed to the
    /// window.
    #[inline(always)]
    fn process_payload(
        &mut self,
        mut start: Seq,
        mut payload: &[u8],
        pool: &mut ChunkPool,
        now: Instant,
        news: &mut News,
    ) {
        if !matches!(
            self.state,
            State::Established | State::FinWait1 | State::FinWait2
        ) {
            // Behind the peer's own FIN.
            return;
        }
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
            self.owe_acknowledgement(appended as u32, now);
        }
    }

    /// An acknowledgement is owed for bytes in order: at once for every second full segment, else
    /// in a while (RFC 9293 §3.8.6.3).
    #[inline(always)]
    fn owe_acknowledgement(&mut self, bytes: u32, now: Instant) {
        self.unacked_bytes += bytes;
        self.ack = match self.ack {
            AckOwed::Now | AckOwed::Asked => AckOwed::Now,
            _ if self.unacked_bytes >= 2 * self.mss => AckOwed::Now,
            AckOwed::By(at) => AckOwed::By(at),
            AckOwed::None => AckOwed::By(now + ACK_DELAY),
        };
    }

    /// What came was two full segments or more, of the size that the peer has: what is owed for them
    /// goes out at once (RFC 9293 §3.8.6.3, RFC 5681 §4.2).
    pub(crate) fn acknowledge_now(&mut self) {
        if matches!(self.ack, AckOwed::By(_)) {
            self.ack = AckOwed::Now;
        }
    }

    /// Handles the peer's FIN (RFC 9293 §3.10.7.4, eighth check) when all before it has come.
    #[cold]
    fn process_finish(&mut self, arrived: &Arrived<'_>, news: &mut News) {
        if arrived.segment.flags.has_fin() {
            self.ack = AckOwed::Now;
            let at = arrived.segment.sequence + arrived.payload_bytes;
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
