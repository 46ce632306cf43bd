//! Initial sequence numbers (RFC 6528) and timestamp offsets (RFC 7323 §5.4): a clock, and a keyed
//! hash of the flow, so that nobody outside can guess them and both still grow for one flow.

use crate::flow::{FlowKey, FlowPrf};
use crate::tcp::Seq;
use kernel::Instant;

/// The source of one core.
pub(crate) struct SequenceSource {
    prf: FlowPrf,
}

impl SequenceSource {
    /// Makes a source from a secret key of its own.
    pub(crate) fn new(key: [u8; 16]) -> Self {
        SequenceSource {
            prf: FlowPrf::new(key),
        }
    }

    /// Returns the initial sequence number of a flow that begins now, and its timestamp offset.
    pub(crate) fn begin(&self, key: &FlowKey, now: Instant) -> (u32, u32) {
        let hash = self.prf.hash(key);
        // A tick of 4.096 us: RFC 9293 §3.4.1 has one of about 4 us.
        let clock = (now.as_nanos() >> 12) as u32;
        ((hash as u32).wrapping_add(clock), (hash >> 32) as u32)
    }
}

/// Returns an initial number for a flow whose last connection ended with the number `last`: beyond
/// that (RFC 9293 §3.10.7.4), and beyond what the peer's window may have let through.
pub(crate) fn beyond(sequence: u32, last: Seq) -> u32 {
    let least = last + (1 << 16 | 1);
    Seq(sequence).max(least).0
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;

    #[test]
    fn one_flow_grows_with_the_clock_and_others_are_elsewhere() {
        let source = SequenceSource::new([9; 16]);
        let local = (Ipv4Addr::new(10, 0, 0, 1), 80);
        let key = |port| FlowKey::v4((Ipv4Addr::new(10, 0, 0, 2), port), local);
        let at = |ms: u64| Instant::from_nanos(ms * 1_000_000);
        let (first, offset) = source.begin(&key(1), at(0));
        let (later, same_offset) = source.begin(&key(1), at(1000));
        assert_eq!(later.wrapping_sub(first), 1_000_000_000 >> 12);
        assert_eq!(offset, same_offset);
        let (other, other_offset) = source.begin(&key(2), at(0));
        assert!(other != first && other_offset != offset);
        let elsewhere = SequenceSource::new([8; 16]).begin(&key(1), at(0));
        assert_ne!(elsewhere, (first, offset));
    }
}
