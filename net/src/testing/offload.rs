//! What a device with offloads does to a frame before it goes out: completes checksums and cuts
//! segments (VirtIO 1.2 §5.1.6.2). Slow and plain, so that it can be trusted.

use crate::nic::{PartialChecksum, TxMeta};
use alloc::vec::Vec;

/// Finishes a frame and gives it, or the frames it is cut into, to `send`.
///
/// # Panics
/// When the frame is larger than `mtu` allows, or `meta` does not fit it: a test must fail then.
pub(super) fn finish(frame: Vec<u8>, meta: TxMeta, mtu: usize, mut send: impl FnMut(Vec<u8>)) {
    let Some(checksum) = meta.checksum else {
        assert!(meta.segment_bytes.is_none(), "cutting needs the checksum");
        assert!(
            frame.len() <= mtu + 14,
            "{} bytes for an MTU of {mtu}",
            frame.len()
        );
        return send(frame);
    };
    let Some(segment_bytes) = meta.segment_bytes else {
        assert!(
            frame.len() <= mtu + 14,
            "{} bytes for an MTU of {mtu}",
            frame.len()
        );
        let mut frame = frame;
        complete(&mut frame, checksum);
        return send(frame);
    };
    let (header, payload) = frame.split_at(usize::from(meta.header_bytes));
    let segments = payload.len().div_ceil(usize::from(segment_bytes.get()));
    for (number, part) in payload.chunks(usize::from(segment_bytes.get())).enumerate() {
        let mut cut = header.to_vec();
        cut.extend_from_slice(part);
        assert!(
            cut.len() <= mtu + 14,
            "{} bytes for an MTU of {mtu}",
            cut.len()
        );
        let offset = (number * usize::from(segment_bytes.get())) as u32;
        let at = usize::from(checksum.start);
        assert_eq!(meta.is_ipv6, cut[12..14] == [0x86, 0xdd], "the family");
        renumber(&mut cut, at, offset, number + 1 == segments);
        complete_whole(&mut cut, checksum);
        send(cut);
    }
}

/// Adds what the checksum field holds already, the pseudo-header's sum, to the bytes after `start`.
fn complete(frame: &mut [u8], checksum: PartialChecksum) {
    let start = usize::from(checksum.start);
    let place = start + usize::from(checksum.offset);
    let sum = sum(&frame[start..], 0);
    frame[place..place + 2].copy_from_slice(&(!sum).to_be_bytes());
}

/// Computes the checksum of a cut segment from its own pseudo-header.
fn complete_whole(frame: &mut [u8], checksum: PartialChecksum) {
    let start = usize::from(checksum.start);
    let place = start + usize::from(checksum.offset);
    frame[place..place + 2].copy_from_slice(&[0, 0]);
    let length = (frame.len() - start) as u32;
    let addresses = match frame[14] >> 4 {
        4 => sum(&frame[26..34], 0),
        _ => sum(&frame[22..54], 0),
    };
    let sum = sum(&frame[start..], u32::from(addresses) + 6 + length);
    frame[place..place + 2].copy_from_slice(&(!sum).to_be_bytes());
}

/// Gives a cut segment, whose TCP header is at `at`, its own lengths, sequence number, flags and IPv4
/// checksum.
fn renumber(frame: &mut [u8], at: usize, offset: u32, is_last: bool) {
    if frame[14] >> 4 == 4 {
        let length = (frame.len() - 14) as u16;
        frame[16..18].copy_from_slice(&length.to_be_bytes());
        frame[24..26].copy_from_slice(&[0, 0]);
        let header_sum = !sum(&frame[14..34], 0);
        frame[24..26].copy_from_slice(&header_sum.to_be_bytes());
    } else {
        let length = (frame.len() - 54) as u16;
        frame[18..20].copy_from_slice(&length.to_be_bytes());
    }
    let tcp = &mut frame[at..];
    let sequence = u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]);
    tcp[4..8].copy_from_slice(&sequence.wrapping_add(offset).to_be_bytes());
    if !is_last {
        // FIN and PSH are the last segment's.
        tcp[13] &= !0x09;
    }
}

/// Segments that are being put together as a device with large receive does, or the host behind it:
/// whole ones of one flow that follow each other and tell nothing else anew.
pub(super) struct Joint {
    /// Where TCP's header begins, and where the payload; `None` when the frame is not to be added to.
    places: Option<(usize, usize)>,
    segment_bytes: usize,
    is_joint: bool,
}

impl Joint {
    /// Begins with a frame.
    pub(super) fn new(frame: &[u8]) -> Self {
        let places = places(frame).filter(|(tcp, _)| frame[tcp + 13] == 0x10);
        Joint {
            places,
            segment_bytes: places.map_or(0, |(_, payload)| frame.len() - payload),
            is_joint: false,
        }
    }

    /// Puts the payload of `next` behind `frame`, if it is what follows.
    pub(super) fn add(&mut self, frame: &mut Vec<u8>, next: &[u8]) -> bool {
        let Some((tcp, payload)) = self
            .places
            .filter(|places| Some(*places) == self::places(next))
        else {
            return false;
        };
        let number = |frame: &[u8], at| {
            u32::from_be_bytes([frame[at], frame[at + 1], frame[at + 2], frame[at + 3]])
        };
        let sent = (frame.len() - payload) as u32;
        let follows = number(next, tcp + 4) == number(frame, tcp + 4).wrapping_add(sent);
        let addresses = if next[14] >> 4 == 4 { 26..34 } else { 22..54 };
        let is_alike = [
            0..14,
            addresses,
            tcp..tcp + 4,
            tcp + 8..tcp + 13,
            tcp + 14..tcp + 16,
        ]
        .into_iter()
        .chain(core::iter::once(tcp + 20..payload))
        .all(|range| frame[range.clone()] == next[range]);
        let (bytes, flags) = (next.len() - payload, next[tcp + 13]);
        if !follows
            || !is_alike
            || flags & !0x19 != 0
            || bytes > self.segment_bytes
            || frame.len() + bytes > 65_535
        {
            return false;
        }
        frame.extend_from_slice(&next[payload..]);
        frame[tcp + 13] |= flags;
        self.is_joint = true;
        if bytes < self.segment_bytes || flags != 0x10 {
            // Only the last may be shorter, and what it says ends the joint.
            self.places = None;
        }
        true
    }

    /// Makes the lengths of the frame right; returns the payload bytes of each segment, 0 when it is
    /// still one.
    pub(super) fn finish(self, frame: &mut [u8]) -> u16 {
        if !self.is_joint {
            return 0;
        }
        let tcp = if frame[14] >> 4 == 4 { 34 } else { 54 };
        renumber(frame, tcp, 0, true);
        self.segment_bytes as u16
    }
}

/// Where TCP's header begins in a frame, and where the payload, if it is a whole segment with payload and
/// good checksums, and no IP options.
fn places(frame: &[u8]) -> Option<(usize, usize)> {
    let (tcp, protocol, length) = match (frame.get(12..14)?, frame.get(14)?) {
        ([8, 0], 0x45) => (34, 23, 16..18),
        ([0x86, 0xdd], 0x60) => (54, 20, 18..20),
        _ => return None,
    };
    let payload = tcp + usize::from(*frame.get(tcp + 12)? >> 4) * 4;
    let length = u16::from_be_bytes(frame[length].try_into().ok()?);
    let before = if tcp == 34 { 14 } else { 54 };
    let addresses = if tcp == 34 { 26..34 } else { 22..54 };
    let pseudo = u32::from(sum(&frame[addresses], 0)) + 6 + (frame.len() - tcp) as u32;
    let is_whole = frame[protocol] == 6
        && usize::from(length) + before == frame.len()
        && (tcp + 20..frame.len()).contains(&payload)
        && (tcp == 54 || (sum(&frame[14..34], 0) == 0xffff && frame[20] & 0x3f == 0))
        && sum(&frame[tcp..], pseudo) == 0xffff;
    is_whole.then_some((tcp, payload))
}

fn sum(bytes: &[u8], mut sum: u32) -> u16 {
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low));
    }
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}
