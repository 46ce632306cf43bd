//! The transmission control block: all that one connection is, and what the layer above may ask of
//! it (RFC 9293 §3.3). Segments coming in are in [`input`](super::input), segments going out in
//! [`transmit`](super::transmit), loss in [`recovery`](super::recovery).
//!
//! Sans-IO: no clock and no frame. The four kinds of method are `process` (a segment came),
//! `handle_timer` (time has passed), commands, and `poll_transmit` (what is to go out).

use super::cubic::Cubic;
use super::receive_queue::ReceiveQueue;
use super::recovery::Recovery;
use super::rtt::Rtt;
use super::scoreboard::Scoreboard;
use super::send_queue::{Lent, SendQueue, Tail};
use super::seq::Seq;
use crate::chunk::ChunkPool;
use crate::event::CloseReason;
use crate::limits::MSS_DEFAULT_BYTES;
use kernel::Instant;

/// The states of RFC 9293 §3.3.2; LISTEN is not a connection's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    SynSent,
    SynReceived,
    Established,
    FinWait1,
    FinWait2,
    CloseWait,
    Closing,
    LastAck,
    TimeWait,
    Closed,
}

/// Whether an acknowledgement is owed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AckOwed {
    None,
    /// It may wait until then for data to go with (RFC 9293 §3.8.6.3).
    By(Instant),
    Now,
    /// None is owed: one with an old number asks the peer for one (RFC 9293 §3.8.4).
    Asked,
}

/// What the retransmission timer waits for; it waits for one thing at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retransmission {
    Off,
    /// An acknowledgement (RFC 6298).
    Timeout(Instant),
    /// The end of the flight is probed before that (RFC 8985 §7).
    TailProbe(Instant),
    /// A window (RFC 9293 §3.8.6.1).
    Persist(Instant),
    /// Nothing; the peer's silence is looked at then (RFC 9293 §3.8.4).
    KeepAlive(Instant),
}

/// The timestamps of one connection (RFC 7323).
#[derive(Debug, Clone, Copy)]
pub(super) struct Timestamps {
    /// The peer's clock, as it is echoed.
    pub(super) recent: u32,
    /// When that was taken in.
    pub(super) recent_at: Instant,
    /// Our clock at boot: another number for each connection.
    pub(super) offset: u32,
}

/// One connection.
pub(crate) struct Tcb<P> {
    pub(super) state: State,
    /// Why it is over, once it is.
    pub(super) end: Option<CloseReason>,
    /// Closed by this side, and RST has not gone out yet.
    pub(super) owes_reset: bool,
    /// A SYN of ours is to be sent, for the first time or again.
    pub(super) owes_syn: bool,

    // Send sequence space (RFC 9293 §3.3.1).
    /// The oldest byte that is not acknowledged: the first of `send`.
    pub(super) una: Seq,
    /// The next byte to be sent; before `max` after a timeout, while bytes are sent again.
    pub(super) nxt: Seq,
    /// After the last byte ever sent.
    pub(super) max: Seq,
    pub(super) send: SendQueue<P>,
    /// The peer's window in bytes, and the largest it ever was.
    pub(super) window: u32,
    pub(super) window_max: u32,
    /// Where the segment began that told the window.
    pub(super) window_seq: Seq,
    pub(super) window_shift: u8,
    /// Payload bytes of a full segment.
    pub(super) mss: u32,

    // Receive sequence space.
    pub(super) rcv_nxt: Seq,
    /// The right edge of the window that the peer knows.
    pub(super) rcv_edge: Seq,
    pub(super) rcv_shift: u8,
    pub(super) rcv_limit: u32,
    /// What the last segment sent acknowledged.
    pub(super) ack_sent: Seq,
    pub(super) ack: AckOwed,
    /// Payload bytes taken in since the last acknowledgement.
    pub(super) unacked_bytes: u32,
    /// The peer's FIN has this number, but something before it is missing.
    pub(super) finish_at: Option<Seq>,
    pub(super) receive: ReceiveQueue,
    /// Seconds of silence after which the peer is asked whether it is there, 0 for never.
    pub(super) keep_alive_s: u32,
    /// How often silence was looked at since the last segment.
    pub(super) silences: u8,
    /// When a segment was last answered only because it was out of place.
    pub(super) challenged: Option<Instant>,

    pub(super) timestamps: Option<Timestamps>,
    pub(super) has_sack: bool,
    pub(super) scoreboard: Scoreboard,
    pub(super) recovery: Recovery,
    pub(super) duplicates: u32,
    pub(super) cubic: Cubic,
    pub(super) rtt: Rtt,
    /// A byte whose acknowledgement is being timed, and when it was sent.
    pub(super) timed: Option<(Seq, Instant)>,
    pub(super) retransmission: Retransmission,
    /// A probe of the window or of the flight's end is due.
    pub(super) probe_is_due: bool,
    /// The flight's end has been probed since the last progress.
    pub(super) tail_is_probed: bool,
    /// When the peer last did what is expected of it.
    pub(super) progress_at: Instant,
    /// When a segment with payload was last sent.
    pub(super) sent_at: Instant,
}

impl<P: Lent> Tcb<P> {
    /// Makes a closed connection.
    pub(crate) fn new() -> Self {
        Tcb {
            state: State::Closed,
            end: None,
            owes_reset: false,
            owes_syn: false,
            una: Seq(0),
            nxt: Seq(0),
            max: Seq(0),
            send: SendQueue::new(),
            window: 0,
            window_max: 0,
            window_seq: Seq(0),
            window_shift: 0,
            mss: MSS_DEFAULT_BYTES.into(),
            rcv_nxt: Seq(0),
            rcv_edge: Seq(0),
            rcv_shift: 0,
            rcv_limit: 0,
            ack_sent: Seq(0),
            ack: AckOwed::None,
            unacked_bytes: 0,
            finish_at: None,
            receive: ReceiveQueue::new(),
            keep_alive_s: 0,
            silences: 0,
            challenged: None,
            timestamps: None,
            has_sack: false,
            scoreboard: Scoreboard::new(),
            recovery: Recovery::None,
            duplicates: 0,
            cubic: Cubic::new(MSS_DEFAULT_BYTES.into(), false),
            rtt: Rtt::new(),
            timed: None,
            retransmission: Retransmission::Off,
            probe_is_due: false,
            tail_is_probed: false,
            progress_at: Instant::ZERO,
            sent_at: Instant::ZERO,
        }
    }

    /// Returns the state.
    #[inline]
    pub(crate) fn state(&self) -> State {
        self.state
    }

    /// Returns why the connection is over; `None` while it is not.
    #[inline]
    pub(crate) fn end(&self) -> Option<CloseReason> {
        self.end
    }

    /// Whether the peer has finished sending, and that has come in order.
    #[inline]
    pub(crate) fn peer_has_finished(&self) -> bool {
        use State::{CloseWait, Closing, LastAck, TimeWait};
        matches!(self.state, CloseWait | Closing | LastAck | TimeWait)
            || self.end == Some(CloseReason::Finished)
    }

    /// Whether this side may send: it is open, and has not finished.
    #[inline]
    pub(crate) fn may_send(&self) -> bool {
        matches!(self.state, State::Established | State::CloseWait)
    }

    /// Whether a closed connection has a RST still to send.
    pub(crate) fn owes_reset(&self) -> bool {
        self.owes_reset
    }

    /// Whether this side has finished and its FIN is not acknowledged.
    #[inline]
    pub(super) fn is_finishing(&self) -> bool {
        matches!(
            self.state,
            State::FinWait1 | State::Closing | State::LastAck
        )
    }

    /// Whether there is something to read: bytes, or the peer's finish.
    #[inline]
    pub(crate) fn is_readable(&self) -> bool {
        self.receive.unread() > 0 || self.peer_has_finished()
    }

    /// Whether a round of [`poll_transmit`](Self::poll_transmit) would do something: send, or set a
    /// timer.
    #[inline]
    pub(crate) fn wants_transmit(&self) -> bool {
        self.state != State::Established
            || self.send.len() > 0
            || self.ack != AckOwed::None
            || (self.keep_alive_s > 0 && self.retransmission == Retransmission::Off)
    }

    /// Returns a number that changes when the peer has acknowledged or sent something new.
    pub(crate) fn progress_mark(&self) -> Seq {
        self.una + self.rcv_nxt.0
    }

    /// Bytes received and not read.
    #[inline]
    pub(crate) fn unread_bytes(&self) -> usize {
        self.receive.unread()
    }

    /// The queue of what is to be sent.
    #[inline]
    pub(crate) fn send_queue(&mut self) -> &mut SendQueue<P> {
        &mut self.send
    }

    /// The queue of what was received. What is taken out of it opens the window:
    /// [`has_read`](Self::has_read) is to be called then.
    #[inline]
    pub(crate) fn receive_queue(&mut self) -> &mut ReceiveQueue {
        &mut self.receive
    }

    /// Copies the bytes of a departure's payload.
    #[inline]
    pub(crate) fn copy_payload(&self, offset: usize, out: &mut [u8]) {
        self.send.copy(offset, out);
    }

    /// Returns what of a departure's payload is sent from where it is, behind what is to be copied:
    /// nothing, when something that is to be copied comes behind it.
    #[inline]
    pub(crate) fn gather_payload(&self, offset: usize, bytes: usize) -> Tail {
        let (copied, tail) = self.send.split(offset, bytes);
        let gathered: usize = tail.iter().map(|piece| piece.len()).sum();
        match copied + gathered == bytes {
            true => tail,
            false => Tail::new(),
        }
    }

    /// Returns the last numbers of the connection, for its TIME-WAIT: ours and the peer's next.
    pub(crate) fn final_sequences(&self) -> (u32, u32) {
        (self.nxt.0, self.rcv_nxt.0)
    }

    /// Returns the peer's last timestamp and the offset of ours, if they are in use.
    pub(crate) fn final_timestamps(&self) -> Option<(u32, u32)> {
        self.timestamps.map(|ours| (ours.recent, ours.offset))
    }

    /// Finishes sending: FIN follows what is queued (RFC 9293 §3.10.4).
    pub(crate) fn close(&mut self) {
        match self.state {
            State::Established => self.state = State::FinWait1,
            State::CloseWait => self.state = State::LastAck,
            _ => {}
        }
    }

    /// Closes at once; RST is sent if the peer knows of the connection (RFC 9293 §3.10.5).
    pub(crate) fn abort(&mut self) {
        self.owes_reset = !matches!(self.state, State::SynSent | State::TimeWait | State::Closed);
        self.finish(State::Closed, CloseReason::Aborted);
    }

    /// Closes at once without a word: the address it had is gone.
    pub(crate) fn abandon(&mut self) {
        self.finish(State::Closed, CloseReason::Aborted);
    }

    /// Ends the connection, unless it has ended before.
    pub(super) fn finish(&mut self, state: State, reason: CloseReason) {
        self.state = state;
        self.end.get_or_insert(reason);
        self.retransmission = Retransmission::Off;
        self.send.clear();
    }

    /// Gives everything back that the connection holds.
    pub(crate) fn clear(&mut self, pool: &mut ChunkPool) {
        self.send.clear();
        self.receive.clear(pool);
        self.owes_reset = false;
        self.state = State::Closed;
    }
}

impl Timestamps {
    /// Returns our clock: milliseconds (RFC 7323 §5.4), from a number of this connection's own.
    #[inline]
    pub(super) fn value(&self, now: Instant) -> u32 {
        timestamp(self.offset, now)
    }
}

/// Returns the clock of timestamps with this offset.
#[inline]
pub(crate) fn timestamp(offset: u32, now: Instant) -> u32 {
    offset.wrapping_add((now.as_nanos() / 1_000_000) as u32)
}
