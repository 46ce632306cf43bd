//! What a connection has to send now: one segment at a time, until there is no more.
//!
//! Upstream: the queues and the window. Downstream: the stack composes the frame. Order: our SYN,
//! RST, what was lost, new bytes with FIN behind them, and last an acknowledgement alone.

use super::control::{AckOwed, Retransmission, State, Tcb};
use super::options::OptionBytes;
use super::recovery::Recovery;
use super::send_queue::Lent;
use super::seq::Seq;
use crate::chunk::ChunkPool;
use crate::demux::Flags;
use crate::limits::{ACK_DELAY, RTO_MIN, TAIL_PROBE_MIN};
use core::time::Duration;
use kernel::Instant;

/// A segment that is to go out. It counts as sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Departure {
    pub(crate) sequence: u32,
    pub(crate) acknowledged: u32,
    pub(crate) flags: Flags,
    pub(crate) window: u16,
    pub(crate) options: OptionBytes,
    /// Where the payload begins in the send queue.
    pub(crate) offset: usize,
    pub(crate) payload_bytes: usize,
    /// Payload bytes of one segment on the wire: what is larger, the device cuts.
    pub(crate) segment_bytes: u16,
    /// Some of it was sent before.
    pub(crate) is_repeated: bool,
    /// Nothing is left to be sent now.
    pub(crate) is_last: bool,
}

impl Departure {
    /// Makes a segment of a header alone, without a window.
    pub(crate) fn bare(flags: Flags, sequence: u32, acknowledged: u32) -> Self {
        Departure {
            sequence,
            acknowledged,
            flags,
            window: 0,
            options: OptionBytes::NONE,
            offset: 0,
            payload_bytes: 0,
            segment_bytes: 0,
            is_repeated: false,
            is_last: false,
        }
    }
}

/// What the link can carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Link {
    /// Largest IP packet less the headers of IP and TCP without options, in bytes.
    pub(crate) mss_bytes: u16,
    /// Payload bytes of one departure at most: more than a segment when the device cuts.
    pub(crate) payload_max_bytes: u32,
}

impl<P: Lent> Tcb<P> {
    /// Returns the next segment to be sent, if there is one.
    #[inline]
    pub(crate) fn poll_transmit(
        &mut self,
        link: Link,
        pool: &ChunkPool,
        now: Instant,
    ) -> Option<Departure> {
        match self.state {
            State::SynSent | State::SynReceived => return self.transmit_opening(link, pool, now),
            State::Closed => return self.transmit_reset(),
            _ => {}
        }
        if self.ack == AckOwed::Now && self.has_sack && self.receive.has_gap() {
            // What came beyond the gap is told in a segment of its own: data leaves no room for it.
            return Some(self.acknowledge_alone(self.next_in_order(), pool, now));
        }
        if let Some(lost) = self.next_retransmission() {
            let bytes = (lost.end - lost.start) as usize;
            return Some(self.transmit_again(lost.start, bytes, pool, now));
        }
        let part = self.next_part(link, now);
        if part.bytes > 0 || part.has_finish {
            return Some(self.transmit_part(part, pool, now));
        }
        let number = match self.ack {
            AckOwed::None | AckOwed::By(_) => return None,
            AckOwed::Now => self.next_in_order(),
            AckOwed::Asked => self.una - 1,
        };
        Some(self.acknowledge_alone(number, pool, now))
    }

    /// Makes an acknowledgement without payload.
    #[inline(never)]
    fn acknowledge_alone(&mut self, number: Seq, pool: &ChunkPool, now: Instant) -> Departure {
        self.depart(number, Flags::ACK, 0, pool, now)
    }

    /// The number of a segment without payload: what the peer takes next when it has taken all, even
    /// while bytes are sent again; but not beyond its window, where it would look at nothing.
    #[inline]
    fn next_in_order(&self) -> Seq {
        self.max.min(self.una + self.window)
    }

    #[cold]
    fn transmit_opening(
        &mut self,
        link: Link,
        pool: &ChunkPool,
        now: Instant,
    ) -> Option<Departure> {
        if core::mem::take(&mut self.owes_syn) {
            return Some(self.transmit_syn(link, now));
        }
        // The peer's SYN is another than the one that we have answered: it is to know.
        let is_challenged = self.state == State::SynReceived && self.ack == AckOwed::Now;
        is_challenged.then(|| self.acknowledge_alone(self.next_in_order(), pool, now))
    }

    #[cold]
    fn transmit_reset(&mut self) -> Option<Departure> {
        let reset = Departure::bare(Flags::RST_ACK, self.next_in_order().0, self.rcv_nxt.0);
        core::mem::take(&mut self.owes_reset).then_some(reset)
    }

    /// Sends bytes again that are lost.
    #[cold]
    fn transmit_again(
        &mut self,
        start: Seq,
        bytes: usize,
        pool: &ChunkPool,
        now: Instant,
    ) -> Departure {
        let offset = (start - self.una) as usize;
        // The hole may end with our FIN.
        let payload_bytes = bytes.min(self.send.len().saturating_sub(offset));
        let flags = if payload_bytes < bytes {
            Flags::FIN_ACK
        } else {
            Flags::ACK
        };
        self.timed = None;
        self.arm_timeout(now);
        let mut departure = self.depart(start, flags, payload_bytes, pool, now);
        departure.is_repeated = true;
        departure
    }

    /// Returns how many bytes may go out from `nxt` on, and whether FIN goes with them.
    #[inline]
    fn next_part(&mut self, link: Link, now: Instant) -> Part {
        let mut until = None;
        if self.nxt != self.max {
            until = self.skip_acknowledged();
        }
        let offset = (self.nxt - self.una) as usize;
        let left = self.send.len().saturating_sub(offset);
        // Bytes sent and the FIN behind them.
        let has_finish_left = self.is_finishing() && offset <= self.send.len();
        if left == 0 && !has_finish_left {
            if self.probe_is_due {
                return self.tail_part();
            }
            return Part::NOTHING;
        }
        if self.nxt == self.max
            && self.una == self.nxt
            // No timeout is shorter, and most requests come sooner.
            && self.sent_at + RTO_MIN < now
            && self.sent_at + self.rtt.timeout() < now
        {
            self.cubic.on_idle(self.mss);
        }
        let in_flight = self.in_flight();
        let mut room = self.cubic.window().saturating_sub(in_flight);
        if room < self.mss && in_flight == 0 {
            room = self.mss;
        }
        let open = (self.una + self.window).beyond(self.nxt);
        let is_cut_by_device = link.payload_max_bytes > u32::from(link.mss_bytes);
        let most = match is_cut_by_device {
            true => link.payload_max_bytes,
            false => self.mss,
        };
        let mut bytes = left.min(room.min(open).min(most) as usize);
        if bytes > self.mss as usize {
            // More than a segment only as far as it need not be copied.
            let (copied, tail) = self.send.split(offset, bytes);
            let gathered: usize = tail.iter().map(|piece| piece.len()).sum();
            bytes = (copied + gathered).clamp(self.mss as usize, bytes);
        }
        if bytes < left {
            bytes = self.avoid_silly_window(bytes, room, open);
        }
        if let Some(until) = until {
            bytes = bytes.min(until as usize);
        }
        let has_finish = has_finish_left && bytes == left && room > 0;
        if bytes == 0 && !has_finish {
            return match in_flight {
                0 => self.probe_part(left.min(open.max(1) as usize)),
                _ if self.probe_is_due => self.tail_part(),
                _ => Part::NOTHING,
            };
        }
        self.probe_is_due = false;
        Part { bytes, has_finish }
    }

    /// Cuts a part that is not all there is to what is worth a segment (RFC 9293 §3.8.6.2.1).
    #[inline]
    fn avoid_silly_window(&self, bytes: usize, room: u32, open: u32) -> usize {
        let mss = self.mss as usize;
        if bytes >= mss {
            return bytes - bytes % mss;
        }
        let is_shut = open <= room;
        if is_shut && open >= self.window_max / 2 {
            bytes
        } else {
            0
        }
    }

    /// Steps over what was acknowledged selectively, while bytes are sent again after a timeout;
    /// returns how many bytes there are until the next such range, if there is one.
    #[cold]
    fn skip_acknowledged(&mut self) -> Option<u32> {
        while let Some(range) = self.scoreboard.covering(self.nxt) {
            self.nxt = range.end;
        }
        let next = self.scoreboard.next_start(self.nxt);
        next.map(|start| start - self.nxt)
    }

    /// The peer's window holds everything back: when the timer says so, what fits goes out all the
    /// same (RFC 9293 §3.8.6.2.1), one byte at least to ask for more (§3.8.6.1).
    #[cold]
    fn probe_part(&mut self, bytes: usize) -> Part {
        if !core::mem::take(&mut self.probe_is_due) {
            return Part::NOTHING;
        }
        Part {
            bytes: bytes.min(self.mss as usize),
            has_finish: bytes == 0 && self.is_finishing(),
        }
    }

    /// The end of the flight is sent once more (RFC 8985 §7.3).
    #[cold]
    fn tail_part(&mut self) -> Part {
        self.probe_is_due = false;
        let sent = (self.max - self.una) as usize;
        let bytes = sent.min(self.send.len()).min(self.mss as usize);
        let has_finish = sent > self.send.len();
        if self.nxt != self.max || (bytes == 0 && !has_finish) {
            return Part::NOTHING;
        }
        self.nxt = self.nxt - (bytes as u32 + u32::from(has_finish));
        self.timed = None;
        Part { bytes, has_finish }
    }

    /// Sends a part of the queue from `nxt` on.
    #[inline]
    fn transmit_part(&mut self, part: Part, pool: &ChunkPool, now: Instant) -> Departure {
        let (start, bytes) = (self.nxt, part.bytes);
        let is_all = (start - self.una) as usize + bytes == self.send.len();
        let flags = match (part.has_finish, is_all && bytes > 0) {
            (true, _) => Flags::FIN_ACK,
            (false, true) => Flags::ACK_PSH,
            (false, false) => Flags::ACK,
        };
        let end = start + (bytes as u32 + u32::from(part.has_finish));
        let is_repeated = start != self.max;
        let is_last =
            is_all && part.has_finish == self.is_finishing() && self.recovery == Recovery::None;
        if end.is_after(self.max) {
            if self.timed.is_none() && start == self.max {
                self.timed = Some((end, now));
            }
            if self.una == self.max {
                self.progress_at = now;
            }
            self.max = end;
        }
        self.nxt = end;
        self.sent_at = now;
        Departure {
            is_repeated,
            is_last,
            ..self.depart(start, flags, bytes, pool, now)
        }
    }

    /// Sets the timer for what is on its way (RFC 6298 §5.1, RFC 8985 §7.2).
    #[inline]
    fn arm(&mut self, now: Instant) {
        let timeout_us = self.rtt.timeout_us();
        let round_trip_us = self.rtt.smoothed_us();
        let timeout_at = match self.retransmission {
            Retransmission::Timeout(at) => at,
            // However much is sent meanwhile, the oldest waits no longer than that.
            Retransmission::TailProbe(_) => self.progress_at.after_micros(timeout_us),
            _ => now.after_micros(timeout_us),
        };
        let may_probe = self.recovery == Recovery::None
            && self.has_sack
            && !self.tail_is_probed
            && round_trip_us > 0;
        let single = self.max - self.una <= self.mss;
        // A single segment may have its acknowledgement delayed.
        let delayed_us = u64::from(single) * RTO_MIN.as_micros() as u64;
        let wait_us = 2 * round_trip_us + delayed_us;
        let probe_at = now.after_micros(wait_us.max(TAIL_PROBE_MIN.as_micros() as u64));
        self.retransmission = if may_probe && probe_at < timeout_at {
            Retransmission::TailProbe(probe_at)
        } else {
            Retransmission::Timeout(timeout_at.min(self.patience_ends()))
        };
    }

    /// Makes a segment; what is owed to the peer goes with it.
    #[inline(always)]
    fn depart(
        &mut self,
        start: Seq,
        flags: Flags,
        payload_bytes: usize,
        pool: &ChunkPool,
        now: Instant,
    ) -> Departure {
        let mut options = OptionBytes::NONE;
        if let Some(timestamps) = &self.timestamps {
            options.push_timestamps(timestamps.value(now), timestamps.recent);
        }
        if payload_bytes == 0 && self.has_sack && self.receive.has_gap() {
            options.push_sack(&self.receive.sack_blocks());
        }
        self.move_edge(pool);
        self.ack = AckOwed::None;
        self.unacked_bytes = 0;
        self.ack_sent = self.rcv_nxt;
        let window = self.rcv_edge.beyond(self.rcv_nxt) >> self.rcv_shift;
        Departure {
            sequence: start.0,
            acknowledged: self.rcv_nxt.0,
            flags,
            window: window.min(0xffff) as u16,
            options,
            offset: (start - self.una) as usize,
            payload_bytes,
            segment_bytes: self.mss as u16,
            is_repeated: false,
            is_last: false,
        }
    }

    /// Looks after a round of [`poll_transmit`](Self::poll_transmit) what is to be waited for: an
    /// acknowledgement, or a window when the peer's holds bytes back; and sets the timer for it.
    #[inline]
    pub(crate) fn has_transmitted(&mut self, now: Instant) {
        let is_off = self.retransmission == Retransmission::Off;
        if self.una != self.max {
            if is_off || self.sent_at == now {
                self.arm(now);
            }
            return;
        }
        let is_idle = is_off || matches!(self.retransmission, Retransmission::KeepAlive(_));
        if is_idle && (self.send.len() > 0 || self.is_finishing()) {
            // The peer's patience with us is not counted, ours begins now.
            self.progress_at = now;
            self.retransmission = Retransmission::Persist(now + self.rtt.timeout().max(ACK_DELAY));
        } else if is_off && self.keep_alive_s > 0 && self.may_send() {
            let wait = Duration::from_secs(self.keep_alive_s.into());
            self.retransmission = Retransmission::KeepAlive(now + wait);
        }
    }
}

/// A part of the queue that may go out.
#[derive(Debug, Clone, Copy)]
struct Part {
    bytes: usize,
    has_finish: bool,
}

impl Part {
    const NOTHING: Part = Part {
        bytes: 0,
        has_finish: false,
    };
}
