//! SYN cookies (RFC 4987 §3.6): while there is no room for another half-open connection, a SYN is
//! answered with a number that says all that must be known of it, and nothing is kept. So a flood
//! of SYNs from nowhere shuts nobody out.
//!
//! Upstream: [`opening`](crate::opening). Layout of a number: 5 bits of time, 3 bits of segment size,
//! 24 bits of a keyed hash over both, the flow and the peer's number. What else a SYN offers is kept
//! in the lowest bits of our timestamp, which the peer echoes; a peer without timestamps gets
//! neither window scale nor selective acknowledgements.
//!
//! A guess is right once in 2^24, and only while cookies are being sent.

use crate::flow::{FlowKey, FlowPrf};
use crate::limits::{COOKIE_LIFE, MSS_DEFAULT_BYTES};
use crate::tcp::{Options, Seq};
use core::net::Ipv4Addr;
use kernel::Instant;

/// Segment sizes that a cookie tells, in bytes; what is between two counts as the smaller.
const SIZES: [u16; 8] = [88, 536, 1220, 1340, 1400, 1440, 1460, 8960];
/// A window scale that is none.
const NO_SCALE: u32 = 15;
/// Bits of a timestamp that tell window scale and selective acknowledgements.
const TOLD_BITS: u32 = 0x1f;
const HASH_BITS: u32 = 24;

/// The cookies of one core; every core of a fabric understands them.
pub(crate) struct Cookies {
    prf: FlowPrf,
    /// When the last was sent.
    sent_at: Option<Instant>,
}

impl Cookies {
    /// Takes a key of its own out of the fabric's.
    pub(crate) fn new(fabric: FlowPrf) -> Self {
        let key = u128::from(fabric.part(1 << 32)) << 64 | u128::from(fabric.part(2 << 32));
        Cookies {
            prf: FlowPrf::new(key.to_le_bytes()),
            sent_at: None,
        }
    }

    /// Returns the number that answers a SYN with the number `theirs`.
    pub(crate) fn make(
        &mut self,
        key: &FlowKey,
        theirs: Seq,
        mss: Option<u16>,
        now: Instant,
    ) -> Seq {
        self.sent_at = Some(now);
        let mss = mss.unwrap_or(MSS_DEFAULT_BYTES);
        let size = SIZES.iter().rposition(|size| *size <= mss).unwrap_or(0);
        let head = time(now) << 3 | size as u32;
        Seq(head << HASH_BITS | self.hash(key, theirs, head))
    }

    /// Whether cookies are out that may still come back.
    #[inline]
    pub(crate) fn are_out(&self, now: Instant) -> bool {
        self.sent_at
            .is_some_and(|at| now.saturating_since(at) < 2 * COOKIE_LIFE)
    }

    /// Returns the peer's segment size if `ours` is the answer to its SYN, and not old.
    pub(crate) fn check(&self, key: &FlowKey, theirs: Seq, ours: Seq, now: Instant) -> Option<u16> {
        let head = ours.0 >> HASH_BITS;
        let age = time(now).wrapping_sub(head >> 3) & 0x1f;
        let hash = ours.0 & ((1 << HASH_BITS) - 1);
        let is_ours = age <= 1 && hash == self.hash(key, theirs, head);
        is_ours.then_some(SIZES[head as usize & 7])
    }

    fn hash(&self, key: &FlowKey, theirs: Seq, head: u32) -> u32 {
        let flow = self.prf.hash(key);
        let whole = self.prf.hash(&FlowKey::v4(
            (Ipv4Addr::from_bits((flow >> 32) as u32), flow as u16),
            (Ipv4Addr::from_bits(theirs.0), head as u16),
        ));
        (whole >> (64 - HASH_BITS)) as u32
    }
}

/// The time of cookies, modulo 32.
fn time(now: Instant) -> u32 {
    (now.as_nanos() / COOKIE_LIFE.as_nanos() as u64) as u32 & 0x1f
}

/// Puts into our timestamp what the peer's SYN offers: at most so much earlier as that takes.
pub(crate) fn write_offer(clock: u32, offer: &Options) -> u32 {
    let scale = offer.window_scale.map_or(NO_SCALE, u32::from);
    let told = scale << 1 | u32::from(offer.sack_permitted);
    let value = clock & !TOLD_BITS | told;
    match Seq(value).is_after(Seq(clock)) {
        true => value.wrapping_sub(TOLD_BITS + 1),
        false => value,
    }
}

/// Reads from a timestamp that came back what the peer's SYN offered.
pub(crate) fn read_offer(echo: u32) -> (Option<u8>, bool) {
    let scale = (echo & TOLD_BITS) >> 1;
    ((scale != NO_SCALE).then_some(scale as u8), echo & 1 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;

    fn key(port: u16) -> FlowKey {
        let local = (Ipv4Addr::new(10, 0, 0, 1), 80);
        FlowKey::v4((Ipv4Addr::new(10, 0, 0, 2), port), local)
    }

    #[test]
    fn a_cookie_is_right_for_its_syn_alone_and_not_for_long() {
        let mut cookies = Cookies::new(FlowPrf::new([3; 16]));
        let at = |seconds: u64| Instant::from_nanos(seconds * 1_000_000_000);
        assert!(!cookies.are_out(at(0)));
        for begun in [0, 63, 64, 2000, 2047, 2048] {
            let cookie = cookies.make(&key(7), Seq(99), Some(1450), at(begun));
            let check =
                |port, theirs, cookie, time| cookies.check(&key(port), theirs, cookie, at(time));
            assert_eq!(check(7, Seq(99), cookie, begun), Some(1440));
            assert_eq!(check(7, Seq(99), cookie, begun + 64), Some(1440));
            assert_eq!(check(7, Seq(99), cookie, begun + 128), None, "old");
            assert_eq!(check(8, Seq(99), cookie, begun), None);
            assert_eq!(check(7, Seq(98), cookie, begun), None);
            for bit in 0..32 {
                assert_eq!(check(7, Seq(99), Seq(cookie.0 ^ 1 << bit), begun), None);
            }
        }
        assert!(cookies.are_out(at(2100)) && !cookies.are_out(at(2048 + 128)));
        // Another fabric's are not understood.
        let cookie = cookies.make(&key(7), Seq(99), None, at(5));
        let other = Cookies::new(FlowPrf::new([4; 16]));
        assert_eq!(other.check(&key(7), Seq(99), cookie, at(5)), None);
        assert_eq!(cookies.check(&key(7), Seq(99), cookie, at(5)), Some(536));
    }

    #[test]
    fn segment_sizes_are_never_larger_than_what_was_said() {
        let mut cookies = Cookies::new(FlowPrf::new([3; 16]));
        let now = Instant::from_nanos(Duration::from_secs(9).as_nanos() as u64);
        for mss in 88..=u16::MAX {
            let cookie = cookies.make(&key(1), Seq(mss.into()), Some(mss), now);
            let told = cookies
                .check(&key(1), Seq(mss.into()), cookie, now)
                .unwrap();
            assert!(told <= mss, "{told} for {mss}");
        }
    }

    #[test]
    fn an_offer_comes_back_and_the_clock_does_not_run_ahead() {
        for clock in [0u32, 1, 31, 32, 1_000_003, u32::MAX] {
            for window_scale in [None, Some(0), Some(7), Some(14)] {
                for sack_permitted in [false, true] {
                    let offer = Options {
                        window_scale,
                        sack_permitted,
                        ..Options::default()
                    };
                    let value = write_offer(clock, &offer);
                    assert!(!Seq(value).is_after(Seq(clock)) && clock.wrapping_sub(value) < 64);
                    assert_eq!(read_offer(value), (window_scale, sack_permitted));
                }
            }
        }
    }
}
