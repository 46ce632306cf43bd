//! The place of one datagram of which fragments are here: what of it has come, and what may still.
//!
//! Upstream: [`reassembly`](super::reassembly), which keeps the bytes.

use super::fragment::{DatagramKey, Fragment};
use crate::counters::DropReason;
use crate::flow::AddressPair;
use crate::ipv6::{FRAGMENT_HEADER_BYTES, IPV6_HEADER_BYTES};
use crate::limits::{EXTENSION_HEADERS_BYTES, FRAGMENTS_PER_DATAGRAM, REASSEMBLY_BLOCK_BYTES};
use kernel::Instant;

/// Bytes of the payload of the largest datagram.
pub(super) const DATAGRAM_BYTES: usize = u16::MAX as usize;
/// Blocks of a datagram.
const BLOCKS: usize = DATAGRAM_BYTES.div_ceil(REASSEMBLY_BLOCK_BYTES);
/// Bytes of the headers of a packet that is a fragment.
const HEADERS_BYTES: usize = IPV6_HEADER_BYTES + EXTENSION_HEADERS_BYTES + FRAGMENT_HEADER_BYTES;
/// No block of memory.
pub(super) const NO_BLOCK: u16 = u16::MAX;

/// A datagram of which fragments are here, or none.
pub(super) struct Place {
    pub(super) key: Option<DatagramKey>,
    /// Who counts as its source.
    pub(super) network: u64,
    /// Its number among those begun.
    pub(super) number: u64,
    pub(super) since: Instant,
    /// The fragments' places in the payload, as they came.
    pub(super) ranges: heapless::Vec<(u16, u16), FRAGMENTS_PER_DATAGRAM>,
    pub(super) bytes: usize,
    /// Where the payload ends, once the last fragment is here.
    pub(super) end: Option<usize>,
    pub(super) blocks: [u16; BLOCKS],
    /// The first fragment's, once it is here: what it carries, who sent it, and its headers.
    pub(super) protocol: u8,
    pub(super) station: [u8; 6],
    pub(super) headers: heapless::Vec<u8, HEADERS_BYTES>,
    /// Why all that comes of it is dropped.
    pub(super) spoiled: Option<DropReason>,
}

impl Place {
    pub(super) fn empty() -> Self {
        Place {
            key: None,
            network: 0,
            number: 0,
            since: Instant::ZERO,
            ranges: heapless::Vec::new(),
            bytes: 0,
            end: None,
            blocks: [NO_BLOCK; BLOCKS],
            protocol: 0,
            station: [0; 6],
            headers: heapless::Vec::new(),
            spoiled: None,
        }
    }

    pub(super) fn is_of(&self, fragment: &Fragment) -> bool {
        let of = fragment.key.identification;
        let mut key = self.key.iter();
        key.any(|key| key.identification == of && *key == fragment.key)
    }

    pub(super) fn holds_memory(&self) -> bool {
        self.blocks.iter().any(|block| *block != NO_BLOCK)
    }

    /// Notes where a fragment's bytes are, if they lie beside all others and within the datagram.
    pub(super) fn admit(&mut self, fragment: &Fragment) -> Result<(), DropReason> {
        let (start, end) = (fragment.place.start, fragment.place.end);
        let new = (start as u16, end as u16);
        let is_last = !fragment.has_more;
        let furthest = self.ranges.iter().map(|(_, end)| usize::from(*end)).max();
        let fits = match self.end {
            Some(known) => end <= known && (!is_last || end == known),
            None => !is_last || furthest.is_none_or(|furthest| furthest <= end),
        };
        if self.ranges.contains(&new) && fits {
            return Err(DropReason::FragmentRepeated);
        }
        let overlaps = |other: &(u16, u16)| other.0 < new.1 && new.0 < other.1;
        if !fits || self.ranges.iter().any(overlaps) {
            return Err(DropReason::FragmentOverlap);
        }
        self.ranges
            .push(new)
            .map_err(|_| DropReason::FragmentTooMany)?;
        self.bytes += end - start;
        if is_last {
            self.end = Some(end);
        }
        Ok(())
    }
}

/// Who counts as one source.
pub(super) fn network(key: &DatagramKey) -> u64 {
    match key.addresses {
        AddressPair::V4 { remote, .. } => remote.to_bits().into(),
        AddressPair::V6 { remote, .. } => (remote.to_bits() >> 64) as u64,
    }
}

/// The station that a frame came from.
pub(super) fn station(frame: &[u8]) -> [u8; 6] {
    let station = frame.get(6..12).and_then(|bytes| bytes.first_chunk());
    station.copied().unwrap_or_default()
}
