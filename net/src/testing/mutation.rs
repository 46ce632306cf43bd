//! Frames made from real ones by changes that reach deep: fields that matter, lengths that lie,
//! options, parts of other frames; and mostly with checksums that are right all the same.

use super::frames::{seal_icmpv6, seal_ipv4, seal_tcp};
use super::random::Random;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr};

/// Frames that are kept to take parts of.
const KEPT_FRAMES: usize = 64;
/// Bytes that a mutation adds at most.
const MOST_ADDED_BYTES: u64 = 600;

/// Makes frames from those that it is shown.
pub struct Mutator {
    random: Random,
    seen: Vec<Vec<u8>>,
}

impl Mutator {
    /// Makes a mutator from a seed.
    pub fn new(seed: u64) -> Self {
        Mutator {
            random: Random::new(seed),
            seen: Vec::new(),
        }
    }

    /// Returns a frame like `frame`, or like one seen before, with one to four changes.
    pub fn mutate(&mut self, frame: &[u8]) -> Vec<u8> {
        if self.seen.len() == KEPT_FRAMES {
            let oldest = self.random.below(KEPT_FRAMES as u64) as usize;
            self.seen.swap_remove(oldest);
        }
        self.seen.push(frame.to_vec());
        let mut changed = match self.random.below(4) {
            0 => self.seen[self.random.below(self.seen.len() as u64) as usize].clone(),
            _ => frame.to_vec(),
        };
        for _ in 0..1 + self.random.below(4) {
            self.change(&mut changed);
        }
        if self.random.chance(850) {
            seal(&mut changed);
        }
        changed
    }

    /// Changes one thing.
    fn change(&mut self, frame: &mut Vec<u8>) {
        let random = &mut self.random;
        let mut place = |span: usize| random.below(span.max(1) as u64) as usize;
        let is_ipv6 = frame.get(12..14) == Some(&[0x86, 0xdd]);
        // By how much the transport's header comes later.
        let later = if is_ipv6 { 20 } else { 0 };
        match place(if is_ipv6 { 10 } else { 9 }) {
            0 => {
                let (at, bit) = (place(frame.len()), place(8));
                set(frame, at, |byte| byte ^ 1 << bit);
            }
            // A value at the edge, in a field of two bytes or four.
            1 => {
                let edges = [0_u32, 1, 0x7fff, 0x8000, 0xffff, 0x7fff_ffff, u32::MAX];
                let bytes = edges[place(edges.len())].to_be_bytes();
                let (at, width) = (place(frame.len().min(78 + later)), 2 + 2 * place(2));
                for (offset, value) in bytes[4 - width..].iter().enumerate() {
                    set(frame, at + offset, |_| *value);
                }
            }
            kind @ 2..=4 => change_header(random, frame, kind, is_ipv6),
            5 => frame.truncate(place(frame.len() + 1)),
            6 => {
                let added = place(MOST_ADDED_BYTES as usize);
                let filler = place(256) as u8;
                frame.resize(frame.len() + added, filler);
            }
            // A part of another frame over this one.
            7 => {
                let other = &self.seen[place(self.seen.len())];
                let from = place(other.len());
                let part = &other[from..from + place(other.len() - from + 1)];
                let at = if place(2) == 0 {
                    from
                } else {
                    place(frame.len())
                };
                for (offset, value) in part.iter().enumerate() {
                    set(frame, at + offset, |_| *value);
                }
            }
            // What the packet says of its own length is true again.
            8 => {
                let headers = if is_ipv6 { 54 } else { 14 };
                let length = (frame.len().saturating_sub(headers) as u16).to_be_bytes();
                let at = if is_ipv6 { 18 } else { 16 };
                set(frame, at, |_| length[0]);
                set(frame, at + 1, |_| length[1]);
            }
            _ => add_header(random, frame),
        }
    }
}

/// Changes the headers of IP or TCP: a field, the flags, or the options.
fn change_header(random: &mut Random, frame: &mut [u8], kind: usize, is_ipv6: bool) {
    let mut place = |span: usize| random.below(span as u64) as usize;
    // By how much the transport's header comes later.
    let later = if is_ipv6 { 20 } else { 0 };
    match kind {
        // A field that counts: lengths, fragments, sequence, acknowledgement, window, urgent.
        2 => {
            let fields = match is_ipv6 {
                false => [16, 20, 38, 42, 46, 48, 52],
                true => [18, 20, 58, 62, 66, 68, 72],
            };
            let (at, by) = (fields[place(fields.len())], place(64) as u8);
            let is_low = place(2);
            set(frame, at + is_low, |byte| {
                byte.wrapping_add(by).wrapping_sub(32)
            });
        }
        // Flags, and the header's length.
        3 => {
            let value = place(256) as u8;
            set(frame, 46 + later + place(2), |_| value);
        }
        // Options: longer headers, other kinds and lengths.
        _ => {
            let (words, at) = (6 + place(10) as u8, 54 + later + place(40));
            let kind = [0, 1, 2, 3, 4, 5, 8, place(256) as u8][place(8)];
            let length = [0, 1, 2, 3, 4, 10, 34, place(256) as u8][place(8)];
            set(frame, 46 + later, |byte| byte & 0x0f | words << 4);
            set(frame, at, |_| kind);
            set(frame, at + 1, |_| length);
        }
    }
}

/// Puts one more header before the transport's of IPv6: options, or that of a fragment.
fn add_header(random: &mut Random, frame: &mut Vec<u8>) {
    let mut place = |span: usize| random.below(span as u64) as usize;
    if frame.len() < 54 {
        return;
    }
    let kind = [0, 60, 44, 43][place(4)];
    let next = core::mem::replace(&mut frame[20], kind);
    let [.., high, low] = place(1 << 16).to_be_bytes();
    let header = match place(2) {
        0 => [next, 0, 1, 4, 0, 0, 0, 0],
        _ => [next, 0, high, low, 0, 0, 0, place(4) as u8],
    };
    frame.splice(54..54, header);
    let length = (frame.len() as u16 - 54).to_be_bytes();
    frame[18..20].copy_from_slice(&length);
}

fn set(frame: &mut [u8], at: usize, change: impl FnOnce(u8) -> u8) {
    if let Some(byte) = frame.get_mut(at) {
        *byte = change(*byte);
    }
}

/// Makes the checksums right, of what looks like IPv4 and TCP, or IPv6 and TCP or ICMP.
pub fn seal(frame: &mut [u8]) {
    if frame.len() >= 54 && frame[12..14] == [0x86, 0xdd] {
        return seal_ipv6(frame);
    }
    if frame.len() < 34 || frame[12..14] != [8, 0] {
        return;
    }
    let header_bytes = usize::from(frame[14] & 0x0f) * 4;
    let length = usize::from(u16::from_be_bytes([frame[16], frame[17]]));
    if header_bytes < 20 || 14 + header_bytes > frame.len() {
        return;
    }
    seal_ipv4(frame);
    let address = |at: usize| Ipv4Addr::new(frame[at], frame[at + 1], frame[at + 2], frame[at + 3]);
    let (from, to, protocol) = (address(26), address(30), frame[23]);
    let end = frame.len().min(14 + length);
    if let Some(payload) = frame.get_mut(14 + header_bytes..end)
        && protocol == 6
        && payload.len() >= 20
    {
        seal_tcp(payload, from, to);
    }
}

/// Makes the transport's checksum right, behind whatever headers may be ignored.
fn seal_ipv6(frame: &mut [u8]) {
    let address = |at: usize| {
        frame[at..]
            .first_chunk::<16>()
            .map(|bytes| Ipv6Addr::from(*bytes))
    };
    let (Some(from), Some(to)) = (address(22), address(38)) else {
        return;
    };
    let length = usize::from(u16::from_be_bytes([frame[18], frame[19]]));
    let (mut next, mut at, end) = (frame[20], 54, frame.len().min(54 + length));
    while matches!(next, 0 | 43 | 44 | 60) && at + 8 <= end {
        let words = if next == 44 {
            0
        } else {
            usize::from(frame[at + 1])
        };
        (next, at) = (frame[at], at + 8 + 8 * words);
    }
    match (next, frame.get_mut(at..end)) {
        (6, Some(tcp)) if tcp.len() >= 20 => seal_tcp(tcp, from, to),
        (58, Some(message)) if message.len() >= 4 => seal_icmpv6(message, from, to),
        _ => {}
    }
}
