//! The handshake: how a connection opens from either side (RFC 9293 §3.5), and what the two ends
//! agree on: segment size, window scale, selective acknowledgements and timestamps.
//!
//! Upstream: the peer's SYN, or the layer above. Downstream: [`input`](super::input) and
//! [`transmit`](super::transmit) once it is complete. Nothing is offered back that the peer has not
//! offered.

use super::control::{AckOwed, Retransmission, State, Tcb, Timestamps};
use super::cubic::Cubic;
use super::input::Arrived;
use super::news::News;
use super::options::{OptionBytes, Options, TIMESTAMPS_BYTES};
use super::recovery::Recovery;
use super::rtt::Rtt;
use super::send_queue::Lent;
use super::seq::Seq;
use super::transmit::{Departure, Link};
use crate::demux::Flags;
use crate::event::CloseReason;
use crate::limits::{MSS_DEFAULT_BYTES, MSS_MIN_BYTES};
use kernel::Instant;

/// How a connection begins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Opening {
    /// Our initial sequence number (RFC 6528).
    pub(crate) sequence: u32,
    /// Our clock of timestamps at boot.
    pub(crate) timestamp_offset: u32,
    /// Largest IP packet of the link, in bytes, less the headers of IP and TCP without options.
    pub(crate) mss_bytes: u16,
    /// Bytes that may wait unread, and so the largest window.
    pub(crate) window_bytes: u32,
    /// Seconds of silence after which the peer is asked whether it is there, 0 for never.
    pub(crate) keep_alive_s: u32,
    pub(crate) now: Instant,
}

impl<P: Lent> Tcb<P> {
    /// Makes a connection that is closed ready to open; its queues are empty.
    pub(super) fn reset_to(&mut self, state: State, opening: &Opening) {
        debug_assert!(self.send.len() == 0 && self.receive.unread() == 0);
        let iss = Seq(opening.sequence);
        self.state = state;
        self.end = None;
        self.owes_reset = false;
        self.owes_syn = true;
        (self.una, self.nxt, self.max) = (iss, iss, iss);
        self.window_shift = 0;
        self.rcv_limit = opening.window_bytes;
        self.rcv_shift = window_shift(opening.window_bytes);
        self.ack = AckOwed::None;
        self.unacked_bytes = 0;
        self.finish_at = None;
        self.challenged = None;
        self.keep_alive_s = opening.keep_alive_s;
        self.silences = 0;
        self.scoreboard.clear();
        self.recovery = Recovery::None;
        self.duplicates = 0;
        self.rtt = Rtt::new();
        self.timed = None;
        self.retransmission = Retransmission::Off;
        self.probe_is_due = false;
        self.tail_is_probed = false;
        self.progress_at = opening.now;
        self.sent_at = opening.now;
        self.timestamps = Some(Timestamps {
            recent: 0,
            recent_at: opening.now,
            offset: opening.timestamp_offset,
        });
        self.has_sack = true;
        self.mss = opening.mss_bytes.into();
    }

    /// Opens by the peer's SYN (RFC 9293 §3.10.7.2): SYN-RECEIVED.
    pub(crate) fn open_passive(
        &mut self,
        opening: &Opening,
        sequence: Seq,
        window: u16,
        options: &[u8],
    ) {
        self.reset_to(State::SynReceived, opening);
        self.take_syn(sequence, window, &Options::parse(options), opening.now);
    }

    /// Opens by a SYN that has been answered before, when nothing was kept of it: the peer's
    /// acknowledgement is about to be processed.
    pub(crate) fn open_answered(&mut self, opening: &Opening, theirs: Seq, offered: &Options) {
        self.reset_to(State::SynReceived, opening);
        self.take_syn(theirs, 0, offered, opening.now);
        self.owes_syn = false;
        (self.nxt, self.max) = (self.una + 1, self.una + 1);
    }

    /// Opens by a SYN of ours (RFC 9293 §3.10.1): SYN-SENT.
    pub(crate) fn open_active(&mut self, opening: &Opening) {
        self.reset_to(State::SynSent, opening);
        (self.rcv_nxt, self.rcv_edge) = (Seq(0), Seq(0));
    }

    /// Sends our SYN once more, at once: it did not go out.
    pub(crate) fn send_syn_again(&mut self) {
        self.owes_syn = matches!(self.state, State::SynSent | State::SynReceived);
    }

    /// Takes in the peer's SYN: its sequence number and what it can do.
    pub(super) fn take_syn(&mut self, sequence: Seq, window: u16, options: &Options, now: Instant) {
        self.rcv_nxt = sequence + 1;
        self.rcv_edge = self.rcv_nxt + u32::from(self.syn_window());
        self.ack_sent = self.rcv_nxt;
        // The window of a SYN is never scaled (RFC 7323 §2.2).
        self.window = window.into();
        self.window_max = self.window;
        self.window_seq = sequence;
        match options.window_scale {
            Some(shift) => self.window_shift = shift,
            None => self.rcv_shift = 0,
        }
        self.has_sack &= options.sack_permitted;
        self.timestamps = self
            .timestamps
            .zip(options.timestamps)
            .map(|(ours, (value, _))| Timestamps {
                recent: value,
                recent_at: now,
                ..ours
            });
        let theirs = options.mss.unwrap_or(MSS_DEFAULT_BYTES).max(MSS_MIN_BYTES);
        self.mss = self.mss.min(theirs.into());
        if self.timestamps.is_some() {
            self.mss -= TIMESTAMPS_BYTES as u32;
        }
    }

    /// Returns the window of our SYN, which is not scaled (RFC 7323 §2.2).
    fn syn_window(&self) -> u16 {
        self.rcv_limit.min(0xffff) as u16
    }

    /// Returns the options of our SYN.
    pub(super) fn syn_options(&self, mss_bytes: u16, now: Instant) -> OptionBytes {
        // In SYN-SENT everything is offered, in SYN-RECEIVED what the peer has offered.
        let is_scaled = self.state == State::SynSent || self.rcv_shift > 0 || self.window_shift > 0;
        OptionBytes::of_syn(&Options {
            mss: Some(mss_bytes),
            window_scale: is_scaled.then_some(self.rcv_shift),
            sack_permitted: self.has_sack,
            timestamps: self.timestamps.map(|ours| (ours.value(now), ours.recent)),
            sack: heapless::Vec::new(),
        })
    }

    /// The peer has acknowledged our SYN.
    pub(super) fn establish(&mut self, ack: Seq, now: Instant) {
        self.state = State::Established;
        self.una = ack;
        self.nxt = self.nxt.max(ack);
        if let Some((_, sent_at)) = self.timed.take() {
            self.rtt.sample(now.micros_since(sent_at));
        }
        self.cubic = Cubic::new(self.mss, self.rtt.backoffs() > 1);
        self.rtt.progress();
        self.owes_syn = false;
        self.retransmission = Retransmission::Off;
        self.progress_at = now;
    }

    /// Our SYN, alone or with the acknowledgement of the peer's.
    pub(super) fn transmit_syn(&mut self, link: Link, now: Instant) -> Departure {
        // Timed when it is sent once only (Karn).
        self.timed = (self.max == self.una).then_some((self.una + 1, now));
        self.nxt = self.una + 1;
        self.max = self.nxt;
        self.ack = AckOwed::None;
        self.arm_timeout(now);
        let is_answer = self.state == State::SynReceived;
        let flags = if is_answer {
            Flags::SYN_ACK
        } else {
            Flags::SYN
        };
        let acknowledged = if is_answer { self.rcv_nxt.0 } else { 0 };
        Departure {
            window: self.syn_window(),
            options: self.syn_options(link.mss_bytes, now),
            is_repeated: self.timed.is_none(),
            ..Departure::bare(flags, self.una.0, acknowledged)
        }
    }

    /// Handles a segment in SYN-SENT (RFC 9293 §3.10.7.3).
    #[cold]
    pub(super) fn process_in_syn_sent(&mut self, arrived: &Arrived<'_>) -> News {
        let segment = arrived.segment;
        let flags = segment.flags;
        let ack = segment.acknowledged;
        if flags.has_ack() && (!ack.is_after(self.una) || ack.is_after(self.max)) {
            return if flags.has_rst() {
                News::OUT_OF_PLACE
            } else {
                News::STRANGER
            };
        }
        if flags.has_rst() {
            if !flags.has_ack() {
                return News::OUT_OF_PLACE;
            }
            self.finish(State::Closed, CloseReason::Reset);
            return News::OVER;
        }
        if !flags.has_syn() {
            return News::OUT_OF_PLACE;
        }
        let options = Options::parse(arrived.options);
        self.take_syn(segment.sequence, segment.window, &options, arrived.now);
        if flags.has_ack() {
            self.establish(ack, arrived.now);
            self.ack = AckOwed::Now;
            News::ESTABLISHED
        } else {
            // Both ends open at once: our SYN goes out again, with an acknowledgement.
            self.state = State::SynReceived;
            self.owes_syn = true;
            News::default()
        }
    }
}

/// Returns the least shift by which a window of `bytes` fits 16 bits (RFC 7323 §2.3).
pub(crate) fn window_shift(bytes: u32) -> u8 {
    let mut shift = 0;
    while bytes >> shift > 0xffff && shift < 14 {
        shift += 1;
    }
    shift
}
