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

fn sum(bytes: &[u8], mut sum: u32) -> u16 {
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low));
    }
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}
