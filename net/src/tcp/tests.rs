//! The control block under random segments, well-formed and nearly so, with the layer above doing
//! random things: after each step everything that must hold is checked, and what is sent is checked
//! against what the peer has allowed.

use super::handshake::Opening;
use super::input::Arrived;
use super::options::{OptionBytes, Options};
use super::send_queue::Lent;
use super::transmit::{Departure, Link};
use super::{Seq, State, Tcb};
use crate::chunk::ChunkPool;
use crate::demux::{Flags, Segment};
use crate::flow::FlowKey;
use crate::testing::Random;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::net::Ipv4Addr;
use core::time::Duration;
use kernel::Instant;
use std::vec;

/// A piece whose bytes say where in the stream they are, and whose count says whether it is held.
struct Piece(
    Vec<u8>,
    #[expect(dead_code, reason = "held to be counted")] Rc<()>,
);

impl Lent for Piece {
    fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The byte of either stream at this place after its SYN.
fn byte(at: u32) -> u8 {
    (at.wrapping_mul(2_654_435_761) >> 24) as u8
}

const LINK: Link = Link {
    mss_bytes: 1460,
    payload_max_bytes: 1460,
};
const CHUNKS: usize = 40;

/// A connection and all that is known of it outside.
struct Trial {
    tcb: Tcb<Piece>,
    pool: ChunkPool,
    random: Random,
    now: Instant,
    iss: Seq,
    irs: Seq,
    lent: Rc<()>,
    lent_bytes: u32,
    read_bytes: u32,
    is_closed: bool,
    /// The right edge of the window that the peer has told, as far as it can be understood: the
    /// farthest ever.
    edge: Seq,
    shift: u8,
    /// Bytes of the peer's that it has sent in any segment, by their place.
    sent_by_peer: Vec<bool>,
}

impl Trial {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        // Close below the wrap, often.
        let near_wrap = |random: &mut Random| match random.chance(700) {
            true => Seq(u32::MAX - random.below(40_000) as u32),
            false => Seq(random.next_u64() as u32),
        };
        let (iss, irs) = (near_wrap(&mut random), near_wrap(&mut random));
        let has = |random: &mut Random| random.chance(700);
        let shift = random.below(5) as u8;
        let options = Options {
            mss: has(&mut random).then_some(500 + random.below(1200) as u16),
            window_scale: has(&mut random).then_some(shift),
            sack_permitted: has(&mut random),
            timestamps: has(&mut random).then_some((1000, 0)),
            sack: heapless::Vec::new(),
        };
        let opening = Opening {
            sequence: iss.0,
            timestamp_offset: 77,
            mss_bytes: LINK.mss_bytes,
            window_bytes: 1000 + random.below(60_000) as u32,
            keep_alive_s: random.below(2) as u32,
            now: Instant::ZERO,
        };
        let mut tcb = Tcb::new();
        let window = random.below(65_536) as u16;
        tcb.open_passive(&opening, irs, window, OptionBytes::of_syn(&options).bytes());
        Trial {
            tcb,
            pool: ChunkPool::new(CHUNKS, 2048, opening.window_bytes),
            random,
            now: Instant::ZERO,
            iss,
            irs,
            lent: Rc::new(()),
            lent_bytes: 0,
            read_bytes: 0,
            is_closed: false,
            edge: iss + 1 + u32::from(window),
            shift: options.window_scale.unwrap_or(0),
            sent_by_peer: vec![false; 1 << 20],
        }
    }

    /// A segment of the peer's that is right, or wrong by a little, or by much.
    fn arrive(&mut self) {
        let random = &mut self.random;
        let slip = |random: &mut Random| match random.below(12) {
            0 => random.next_u64() as u32,
            1 => (random.below(6) as u32).wrapping_sub(3),
            2 | 3 => (random.below(8000) as u32).wrapping_sub(4000),
            _ => 0,
        };
        let flags = match random.below(600) {
            0 => Flags::RST_ACK,
            1..10 => Flags::SYN,
            10 => Flags(random.below(256) as u8),
            11..20 => Flags(random.below(256) as u8 & !4),
            20..30 => Flags::SYN_ACK,
            30..34 => Flags::FIN_ACK,
            _ => Flags::ACK,
        };
        let sequence = self.tcb.rcv_nxt + slip(random);
        let outstanding = self.tcb.max - self.tcb.una;
        let acked = random.below(u64::from(outstanding) + 1) as u32;
        let acknowledged = self.tcb.una + acked + slip(random);
        let payload_bytes = match random.below(3) {
            0 => random.below(1460) as u32,
            _ => 0,
        };
        let first = sequence - (self.irs + 1);
        let payload: Vec<u8> = (0..payload_bytes)
            .map(|at| byte(first.wrapping_add(at)))
            .collect();
        let options = self.options();
        let window = match self.random.below(4) {
            0 => 0,
            1 => self.random.below(3000) as u16,
            _ => self.random.next_u64() as u16,
        };
        let segment = Segment {
            key: FlowKey::v4(
                (Ipv4Addr::new(10, 0, 0, 2), 1),
                (Ipv4Addr::new(10, 0, 0, 1), 80),
            ),
            sequence,
            acknowledged,
            flags,
            window,
            options_at: 0,
            options_bytes: options.bytes().len() as u8,
            payload_bytes: payload_bytes as u16,
        };
        for at in 0..payload_bytes {
            let place = first.wrapping_add(at) as usize;
            if let Some(sent) = self.sent_by_peer.get_mut(place) {
                *sent = true;
            }
        }
        // Whatever the stack makes of it, it may send no further than this says.
        let told = acknowledged + (u32::from(window) << self.shift);
        let is_possible = self.tcb.max - acknowledged < 1 << 22;
        if flags.has_ack() && is_possible {
            self.edge = self.edge.max(told);
        }
        // In one buffer, or in up to three.
        let first_bytes = self.random.below(payload.len() as u64 + 1) as usize;
        let (first, rest) = payload.split_at(first_bytes);
        let (second, third) = rest.split_at(rest.len() / 3);
        let is_large = self.random.chance(300);
        let arrived = Arrived {
            segment: &segment,
            options: options.bytes(),
            payload: if is_large { first } else { &payload },
            payload_bytes: payload.len() as u32,
            now: self.now,
        };
        let pieces = [second, third].map(|piece| (!piece.is_empty()).then_some(piece));
        let pieces: Vec<&[u8]> = pieces.into_iter().flatten().collect();
        match is_large {
            true => self.tcb.process::<true>(&arrived, &pieces, &mut self.pool),
            false => self.tcb.process::<false>(&arrived, &[], &mut self.pool),
        };
    }

    fn options(&mut self) -> OptionBytes {
        let mut options = OptionBytes::NONE;
        if let Some(timestamps) = self.tcb.timestamps {
            let late = match self.random.below(10) {
                0 => (self.random.below(20) as u32).wrapping_sub(10),
                _ => self.random.below(2) as u32,
            };
            options.push_timestamps(timestamps.recent.wrapping_add(late), 0);
        }
        if self.random.chance(400) {
            let outstanding = u64::from(self.tcb.max - self.tcb.una) + 3;
            let mut blocks = Vec::new();
            for _ in 0..1 + self.random.below(3) {
                let start = self.tcb.una + self.random.below(outstanding) as u32;
                blocks.push(start..start + self.random.below(outstanding) as u32);
            }
            options.push_sack(&blocks);
        }
        options
    }

    /// The layer above sends, reads, finishes or aborts.
    fn act(&mut self) {
        match self.random.below(40) {
            0..12 if self.tcb.may_send() && self.lent_bytes < 400_000 => {
                let bytes = 1 + self.random.below(9000) as u32;
                let first = self.lent_bytes;
                let data = (first..first + bytes).map(byte).collect();
                if self
                    .tcb
                    .send_queue()
                    .push(Piece(data, self.lent.clone()))
                    .is_ok()
                {
                    self.lent_bytes += bytes;
                }
            }
            12..30 => {
                let mut buf = [0; 3000];
                let wanted = 1 + self.random.below(3000) as usize;
                let queue = self.tcb.receive_queue();
                let count = queue.copy(&mut buf[..wanted], &mut self.pool);
                for (at, is) in buf[..count].iter().enumerate() {
                    let at = self.read_bytes + at as u32;
                    assert_eq!(*is, byte(at), "byte {at}");
                    assert!(self.sent_by_peer[at as usize], "byte {at} was never sent");
                }
                self.read_bytes += count as u32;
                self.tcb.has_read();
            }
            30 if self.random.chance(60) => {
                self.is_closed |= self.tcb.may_send();
                self.tcb.close();
            }
            31 if self.random.chance(10) => self.tcb.abort(),
            _ => {}
        }
    }

    /// Sends all there is to send.
    fn depart(&mut self) {
        let mut count = 0;
        loop {
            let before = self.tcb.max;
            let due = self.tcb.probe_is_due;
            let Some(departure) = self.tcb.poll_transmit(LINK, &self.pool, self.now) else {
                break;
            };
            self.check_departure(&departure, before, due);
            count += 1;
            assert!(count < 2000, "it sends for ever");
        }
        self.tcb.has_transmitted(self.now);
    }

    fn check_departure(&self, departure: &Departure, before: Seq, probe: bool) {
        let tcb = &self.tcb;
        if departure.flags.has_rst() {
            return;
        }
        let start = Seq(departure.sequence);
        let bytes = departure.payload_bytes as u32;
        assert!(bytes <= tcb.mss, "{bytes} of {}", tcb.mss);
        let mut payload = vec![0; departure.payload_bytes];
        tcb.copy_payload(departure.offset, &mut payload);
        let first = start - (self.iss + 1);
        for (at, is) in payload.iter().enumerate() {
            assert_eq!(*is, byte(first.wrapping_add(at as u32)), "sent byte {at}");
        }
        // Beyond the window only a probe goes: one byte, or FIN alone.
        let end = start + bytes;
        let is_known = !end.is_after(before);
        let beyond = end.beyond(self.edge);
        assert!(
            beyond == 0 || is_known || (bytes == 1 && probe),
            "{beyond} beyond the window: {departure:?}"
        );
        if departure.flags.has_fin() {
            assert!(self.is_closed);
            assert_eq!(first + bytes, self.lent_bytes, "FIN is behind all bytes");
        }
        // What is acknowledged is held, or was read.
        if !departure.flags.has_syn() {
            assert_eq!(departure.acknowledged, tcb.rcv_nxt.0);
        }
    }

    /// What holds at any time.
    fn check(&self) {
        let tcb = &self.tcb;
        if tcb.state() == State::Closed {
            assert_eq!(tcb.send.len(), 0);
            return;
        }
        assert!(!tcb.nxt.is_before(tcb.una) && !tcb.max.is_before(tcb.nxt));
        let opened = matches!(tcb.state(), State::SynSent | State::SynReceived);
        if !opened {
            let acknowledged = tcb.una - (self.iss + 1);
            let fin = u32::from(acknowledged > self.lent_bytes);
            assert_eq!(acknowledged + tcb.send.len() as u32, self.lent_bytes + fin);
            assert!(tcb.max - tcb.una <= tcb.send.len() as u32 + 1);
        }
        let received = tcb.rcv_nxt - (self.irs + 1);
        let fin = u32::from(tcb.peer_has_finished());
        assert_eq!(
            received - fin,
            self.read_bytes + tcb.receive.unread() as u32
        );
        assert!(!tcb.ack_sent.is_after(tcb.rcv_nxt));
        assert!(tcb.rcv_edge.beyond(tcb.rcv_nxt) <= tcb.rcv_limit.max(65_535));
        for block in tcb.receive.sack_blocks() {
            assert!(block.start.is_after(tcb.rcv_nxt) || tcb.finish_at.is_some() || fin == 1);
            assert!(block.end.is_after(block.start));
        }
        let sacked = tcb.scoreboard.bytes_below(tcb.max);
        assert!(sacked <= tcb.max - tcb.una, "{sacked}");
        assert!(tcb.in_flight() <= tcb.max - tcb.una);
        assert!(tcb.cubic.window() >= tcb.mss.min(536));
        // Whoever waits for something has a timer.
        if tcb.una != tcb.max {
            assert!(tcb.deadline().is_some(), "nothing wakes it");
        }
    }
}

/// Runs a connection for so many steps, and ends it.
fn run(seed: u64, steps: usize) -> State {
    let mut trial = Trial::new(seed);
    trial.depart();
    let mut last = trial.tcb.state();
    for _ in 0..steps {
        trial.now = trial.now + Duration::from_micros(trial.random.below(30_000));
        if trial.random.chance(20) {
            trial.now = trial.now + Duration::from_millis(trial.random.below(3000));
        }
        trial.arrive();
        trial.act();
        if trial.tcb.deadline().is_some_and(|at| at <= trial.now) {
            trial.tcb.handle_timer(trial.now);
        }
        trial.depart();
        trial.check();
        if trial.tcb.state() == State::Closed {
            break;
        }
        last = trial.tcb.state();
    }
    trial.tcb.clear(&mut trial.pool);
    assert_eq!(
        trial.pool.free(),
        CHUNKS,
        "seed {seed}: memory is given back"
    );
    assert_eq!(
        Rc::strong_count(&trial.lent),
        1,
        "seed {seed}: so is what was lent"
    );
    last
}

#[test]
fn what_must_hold_holds_under_any_segments() {
    let mut reached = Vec::new();
    let seeds = std::env::var("SLUICE_SEEDS").map_or(1500, |seeds| seeds.parse().expect("N"));
    for seed in 0..seeds {
        let state = run(seed, 250);
        if !reached.contains(&state) {
            reached.push(state);
        }
    }
    for state in [
        State::Established,
        State::FinWait2,
        State::CloseWait,
        State::LastAck,
    ] {
        assert!(reached.contains(&state), "{reached:?}");
    }
}
