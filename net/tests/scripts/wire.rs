//! Segments of a script as frames, and back.

use crate::player::{Player, byte};
use crate::script::{Opt, Segment};
use net::testing::frames::{Tcp, packet, seal_icmp, seal_icmpv6, seal_tcp, split, stack_address};
use std::net::IpAddr;

/// The peer's first sequence number: its numbers wrap early.
const PEER_BASE: u32 = u32::MAX - 500;

impl Player {
    /// Makes the frame of a segment of the peer's.
    pub(crate) fn frame(&self, segment: &Segment) -> Vec<u8> {
        let base = self.base.unwrap_or_default();
        let mut options = Vec::new();
        for option in segment.options.iter().flatten() {
            write_option(option, base, self.clock.unwrap_or_default(), &mut options);
        }
        options.resize(options.len().next_multiple_of(4), 1);
        let sequence = PEER_BASE.wrapping_add(segment.sequence as u32);
        let ack = segment.ack.map_or(0, |ack| base.wrapping_add(ack as u32));
        let mut tcp = Vec::new();
        tcp.extend_from_slice(&self.peer_port.to_be_bytes());
        tcp.extend_from_slice(&self.stack_port.to_be_bytes());
        tcp.extend_from_slice(&sequence.to_be_bytes());
        tcp.extend_from_slice(&ack.to_be_bytes());
        // The reserved bits are set: nobody is to look at them.
        tcp.push((((20 + options.len()) / 4) << 4) as u8 | 0x0e);
        tcp.push(segment.flags);
        tcp.extend_from_slice(&segment.window.unwrap_or(65_535).to_be_bytes());
        tcp.extend_from_slice(&[0, 0, 0, 9]);
        tcp.extend_from_slice(&options);
        let first = segment.sequence as u32 + u32::from(segment.flags & 2 != 0);
        tcp.extend((0..segment.bytes as u32).map(|at| byte(first.wrapping_add(at), false)));
        let stack = stack_address(self.peer);
        seal_tcp(&mut tcp, self.peer, stack);
        packet(6, self.peer, stack, &tcp)
    }

    /// Makes the frame by which a router says that a segment of the stack's was too large.
    pub(crate) fn too_big_frame(&self, at: u32, mtu: u32) -> Vec<u8> {
        let stack = stack_address(self.peer);
        let sequence = self.base.unwrap_or_default().wrapping_add(at);
        let mut tcp = [self.stack_port.to_be_bytes(), self.peer_port.to_be_bytes()].concat();
        tcp.extend(sequence.to_be_bytes());
        tcp.resize(20, 0);
        // The packet as it was, behind an Ethernet header.
        let quoted = packet(6, stack, self.peer, &tcp);
        let kind = if self.peer.is_ipv6() { [2, 0] } else { [3, 4] };
        let mut message = [&kind, &[0, 0][..], &mtu.to_be_bytes(), &quoted[14..]].concat();
        match (self.peer, stack) {
            (IpAddr::V6(peer), IpAddr::V6(stack)) => seal_icmpv6(&mut message, peer, stack),
            _ => seal_icmp(&mut message),
        }
        let protocol = if self.peer.is_ipv6() { 58 } else { 1 };
        packet(protocol, self.peer, stack, &message)
    }

    /// Reads a segment of the stack's, and compares its payload.
    pub(crate) fn read(&mut self, frame: &[u8]) -> Option<Segment> {
        Tcp::parse(frame)?;
        let (_, _, tcp) = split(frame)?;
        let word = |at: usize| u32::from_be_bytes([tcp[at], tcp[at + 1], tcp[at + 2], tcp[at + 3]]);
        let (header, payload) = tcp.split_at(usize::from(tcp[12] >> 4) * 4);
        self.stack_port = u16::from_be_bytes([tcp[0], tcp[1]]);
        let flags = tcp[13];
        if flags & 2 != 0 {
            self.base.get_or_insert(word(4));
        }
        let relative = |value: u32, base: u32| i64::from(value.wrapping_sub(base) as i32);
        let sequence = relative(word(4), self.base.unwrap_or_default());
        for (at, is) in payload.iter().enumerate() {
            let at = sequence as u32 + at as u32;
            assert_eq!(*is, byte(at, true), "{}: sent byte {at}", self.line);
        }
        let options = self.read_options(&header[20..]);
        Some(Segment {
            flags,
            sequence,
            bytes: payload.len(),
            ack: (flags & 16 != 0).then(|| relative(word(8), PEER_BASE)),
            window: Some(u16::from_be_bytes([tcp[14], tcp[15]])),
            options: Some(options),
        })
    }

    fn read_options(&mut self, mut bytes: &[u8]) -> Vec<Opt> {
        let mut options = Vec::new();
        while let [kind, rest @ ..] = bytes {
            if *kind <= 1 {
                bytes = rest;
                continue;
            }
            let (option, behind) = bytes.split_at(usize::from(rest[0]));
            let words: Vec<u32> = option[2..]
                .chunks_exact(4)
                .map(|word| u32::from_be_bytes(word.try_into().expect("four")))
                .collect();
            options.push(match kind {
                2 => Opt::Mss(u16::from_be_bytes([option[2], option[3]])),
                3 => Opt::WindowScale(option[2]),
                4 => Opt::SackPermitted,
                5 => {
                    let relative = |word: u32| i64::from(word.wrapping_sub(PEER_BASE) as i32);
                    let ranges = words.chunks_exact(2);
                    Opt::Sack(
                        ranges
                            .map(|pair| (relative(pair[0]), relative(pair[1])))
                            .collect(),
                    )
                }
                8 => {
                    let clock = *self.clock.get_or_insert(words[0]);
                    let value = i64::from(words[0].wrapping_sub(clock) as i32);
                    Opt::Timestamps(Some(value), Some(i64::from(words[1])))
                }
                _ => Opt::Raw(option.to_vec()),
            });
            bytes = behind;
        }
        options
    }
}

/// Leaves of a segment what the expected one speaks of.
pub(crate) fn forget_what_is_not_expected(segment: &mut Segment, expected: &Segment) {
    if expected.ack.is_none() {
        segment.ack = None;
    }
    if expected.window.is_none() {
        segment.window = None;
    }
    let Some(wanted) = &expected.options else {
        segment.options = None;
        return;
    };
    let has = segment.options.get_or_insert_default();
    for (is, wanted) in has.iter_mut().zip(wanted) {
        if let (Opt::Timestamps(value, echo), Opt::Timestamps(any_value, any_echo)) = (is, wanted) {
            if any_value.is_none() {
                *value = None;
            }
            if any_echo.is_none() {
                *echo = None;
            }
        }
    }
    if wanted.last() == Some(&Opt::Any) {
        has.truncate(wanted.len() - 1);
        has.push(Opt::Any);
    }
}

fn write_option(option: &Opt, base: u32, clock: u32, out: &mut Vec<u8>) {
    let word = |value: u32| value.to_be_bytes();
    match option {
        Opt::Mss(mss) => {
            out.extend([2, 4]);
            out.extend(mss.to_be_bytes());
        }
        Opt::WindowScale(shift) => out.extend([3, 3, *shift]),
        Opt::SackPermitted => out.extend([4, 2]),
        Opt::Sack(ranges) => {
            out.extend([5, 2 + 8 * ranges.len() as u8]);
            for (start, end) in ranges {
                out.extend(word(base.wrapping_add(*start as u32)));
                out.extend(word(base.wrapping_add(*end as u32)));
            }
        }
        Opt::Timestamps(value, echo) => {
            out.extend([1, 1, 8, 10]);
            out.extend(word(value.unwrap_or_default() as u32));
            out.extend(word(clock.wrapping_add(echo.unwrap_or_default() as u32)));
        }
        Opt::Raw(bytes) => out.extend(bytes),
        Opt::Any => panic!("a * only in what is expected"),
    }
}
