//! Large receive: a TCP segment of up to 64 KiB in several buffers, which the device, or the host
//! behind it, has put together or never cut (VirtIO 1.2 §5.1.6.4, VIRTIO_NET_F_GUEST_TSO4 and _TSO6).
//!
//! Upstream: [`ingress`](crate::ingress). Downstream: [`tcp`](crate::tcp), which gets the segment as
//! one, its payload in pieces where the buffers are; from there it is copied once, into chunks. Another
//! core gets it cut to what crosses.
//! Invariants: all headers lie in the first buffer; nothing but TCP comes this way; the pieces make the
//! packet, no byte more; a frame that is one segment in one buffer never comes here, and costs what it
//! would cost without this.

use crate::checksum::Sum;
use crate::counters::DropReason;
use crate::demux::{self, ETHERNET_HEADER_BYTES, Route, Segment};
use crate::ingress::Arrival;
use crate::ipv4::IPV4_HEADER_BYTES;
use crate::ipv6::IPV6_HEADER_BYTES;
use crate::limits::{FRAME_BUFFERS, HANDOVER_FRAME_BYTES, HEADERS_MAX_BYTES, MSS_MIN_BYTES};
use crate::nic::{Nic, RxMeta};
use crate::port_table::Asked;
use crate::segment::{Flags, IPPROTO_TCP};
use crate::stack::Stack;
use crate::tcp::{Arrived, Lent, News};
use core::iter;
use core::ops::Range;
use heapless::Vec;
use kernel::{CoreId, Instant};

/// Pieces behind the copied headers: the rest of the first buffer, and the others.
const PIECES: usize = FRAME_BUFFERS;

/// What is known of a frame beside the bytes that its headers were read of.
pub(crate) struct Large<'a> {
    /// The other bytes of its packet, where they lie.
    rest: &'a [&'a [u8]],
    /// Payload bytes of each of the segments that it was put together from, 0 when that is not known.
    segment_bytes: u16,
}

impl<N: Nic, P: Lent> Stack<N, P> {
    /// Takes in a frame of which `first` is the first buffer, or the only one.
    #[cold]
    pub(crate) fn receive_large(&mut self, first: &N::Frame, meta: RxMeta, now: Instant) {
        let mut rest = core::mem::take(&mut self.rest);
        if let Some(nic) = &mut self.output.nic
            && meta.more_buffers > 0
        {
            nic.receive_rest(&mut rest);
        }
        if let Err(reason) = self.process_large(first.as_ref(), &rest, meta, now) {
            self.output.counters.count_drop(reason);
        }
        if let Some(nic) = &mut self.output.nic {
            rest.drain(..).for_each(|part| nic.recycle(part));
        }
        self.rest = rest;
    }

    /// Has the headers looked at like those of a packet that ends soon behind them: what is missing
    /// goes beside it.
    fn process_large(
        &mut self,
        first: &[u8],
        rest: &[N::Frame],
        meta: RxMeta,
        now: Instant,
    ) -> Result<(), DropReason> {
        let head_bytes = first.len().min(HEADERS_MAX_BYTES);
        let mut head = [0; HEADERS_MAX_BYTES];
        let head = &mut head[..head_bytes];
        head.copy_from_slice(&first[..head_bytes]);
        let end = end_packet(head, head_bytes).ok_or(DropReason::LargeFrame)?;
        // Nobody needs a second buffer for what ends in the first.
        if end <= head_bytes || (meta.more_buffers > 0 && end <= first.len()) {
            return Err(DropReason::LargeFrame);
        }
        let mut left = end - head_bytes;
        let mut pieces = Vec::<&[u8], PIECES>::new();
        for part in iter::once(&first[head_bytes..]).chain(rest.iter().map(AsRef::as_ref)) {
            let part = &part[..part.len().min(left)];
            left -= part.len();
            if !part.is_empty() {
                pieces.push(part).map_err(|_| DropReason::LargeFrame)?;
            }
        }
        if left > 0 {
            return Err(DropReason::LargeFrame);
        }
        let large = Large {
            rest: &pieces,
            segment_bytes: meta.segment_bytes,
        };
        let arrival = Arrival {
            frame: head,
            large: Some(&large),
            crossed: None,
            now,
        };
        let mut segment = match demux::route(head, true, &self.station) {
            Route::Segment(segment) => segment,
            Route::Drop(reason) => return Err(reason),
            _ => return Err(DropReason::LargeFrame),
        };
        // Nobody puts together what begins or breaks a connection.
        if segment.flags.has_syn() || segment.flags.has_rst() {
            return Err(DropReason::LargeFrame);
        }
        // A packet's length is a field of 16 bits, and some of it are headers.
        segment.payload_bytes = (end - segment.headers_bytes()) as u16;
        if !meta.checksum_valid && !is_intact(&arrival, &segment) {
            return Err(DropReason::BadTcpChecksum);
        }
        self.output.counters.large_segments += 1;
        self.process_large_segment(&arrival, &segment, &large);
        Ok(())
    }

    /// What [`process_segment`](Self::process_segment) does with others.
    fn process_large_segment(
        &mut self,
        arrival: &Arrival<'_>,
        segment: &Segment,
        large: &Large<'_>,
    ) {
        let hash = self.output.port.hasher().hash(&segment.key);
        let found = self.find_flow(hash, &segment.key);
        let Some(index) = found.or_else(|| self.process_stranger(hash, arrival, segment)) else {
            return;
        };
        let (headers, payload) = arrival.frame.split_at(segment.headers_bytes());
        let arrived = Arrived {
            segment,
            options: &headers[usize::from(segment.options_at)..],
            payload,
            payload_bytes: segment.payload_bytes.into(),
            now: arrival.now,
        };
        let slot = self.connections.slot(index);
        let news = slot
            .tcb
            .process::<true>(&arrived, large.rest, &mut self.chunks);
        if large.segment_bytes > 0 && segment.payload_bytes / 2 >= large.segment_bytes {
            slot.tcb.acknowledge_now();
        }
        if slot.follow(news, arrival.sender()) {
            self.dirty.push(index);
        }
        if news != News::default() {
            self.follow(index, news, arrival, segment);
        }
    }

    /// Gives a segment in several buffers to the core that owns its flow, or may have it, cut to the
    /// size that its sender has, or that crosses.
    #[cold]
    pub(crate) fn hand_over_pieces(
        &mut self,
        to: CoreId,
        arrival: &Arrival<'_>,
        segment: &Segment,
        large: &Large<'_>,
        asked: Asked,
    ) {
        let headers_bytes = segment.headers_bytes();
        let most = HANDOVER_FRAME_BYTES - headers_bytes;
        let size = match usize::from(large.segment_bytes) {
            0 => most,
            bytes => bytes.clamp(MSS_MIN_BYTES.into(), most),
        };
        let mut frame = [0; HANDOVER_FRAME_BYTES];
        frame[..headers_bytes].copy_from_slice(&arrival.frame[..headers_bytes]);
        let total = usize::from(segment.payload_bytes);
        for offset in (0..total).step_by(size) {
            let bytes = size.min(total - offset);
            let mut end = headers_bytes;
            let from = headers_bytes + offset;
            for piece in pieces(arrival, from..from + bytes) {
                frame[end..end + piece.len()].copy_from_slice(piece);
                end += piece.len();
            }
            let tcp = &mut frame[segment.header_at()..];
            let sequence = (segment.sequence + offset as u32).0;
            tcp[4..8].copy_from_slice(&sequence.to_be_bytes());
            if offset + bytes < total {
                // They are the last one's.
                tcp[13] = segment.flags.0 & !(Flags::FIN.0 | Flags::PSH.0);
            } else {
                tcp[13] = segment.flags.0;
            }
            end_packet(&mut frame[..end], end);
            // Its checksum is the whole's, and is known to be good: nobody looks at it again.
            self.hand_over(to, &frame[..end], asked);
        }
    }
}

fn is_intact(arrival: &Arrival<'_>, segment: &Segment) -> bool {
    let start = segment.header_at();
    let end = segment.headers_bytes() + usize::from(segment.payload_bytes);
    let length = (end - start) as u16;
    let mut sum = Sum::default().add_pseudo_header(&segment.key.addresses, IPPROTO_TCP, length);
    let mut summed = 0;
    for piece in pieces(arrival, start..end) {
        sum = sum.add_behind(summed, piece);
        summed += piece.len();
    }
    sum.is_intact()
}

/// Yields the bytes of a range of the whole frame, as they lie, none of the pieces empty.
fn pieces<'a>(arrival: &Arrival<'a>, range: Range<usize>) -> impl Iterator<Item = &'a [u8]> {
    let rest = arrival.large.map_or(&[][..], |large| large.rest);
    let parts = iter::once(arrival.frame).chain(rest.iter().copied());
    let mut at = 0;
    parts.filter_map(move |part| {
        let start = range.start.saturating_sub(at).min(part.len());
        let end = range.end.saturating_sub(at).min(part.len());
        at += part.len();
        Some(part.get(start..end)?).filter(|piece| !piece.is_empty())
    })
}

/// Has the packet of a frame say that it ends at `end` of the frame, and returns where it ended. Its
/// IPv4 checksum is as right as before (RFC 1624). `None`, and nothing, when there is no such header,
/// or a packet's length cannot be that.
fn end_packet(frame: &mut [u8], end: usize) -> Option<usize> {
    let is_ipv6 = match frame.get(12..14)? {
        [0x08, 0x00] => false,
        [0x86, 0xdd] => true,
        _ => return None,
    };
    // IPv6 counts what is behind its header.
    let (header_bytes, before, length_at) = match is_ipv6 {
        false => (IPV4_HEADER_BYTES, ETHERNET_HEADER_BYTES, 16),
        true => (
            IPV6_HEADER_BYTES,
            ETHERNET_HEADER_BYTES + IPV6_HEADER_BYTES,
            18,
        ),
    };
    if frame.len() < ETHERNET_HEADER_BYTES + header_bytes {
        return None;
    }
    let length = u16::try_from(end.checked_sub(before)?).ok()?;
    let word = |frame: &[u8], at| u16::from_be_bytes([frame[at], frame[at + 1]]);
    let was = word(frame, length_at);
    frame[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
    if !is_ipv6 {
        let sum = u32::from(!word(frame, 24)) + u32::from(!was) + u32::from(length);
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = !(sum + (sum >> 16)) as u16;
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
    }
    Some(before + usize::from(was))
}
