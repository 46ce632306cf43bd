//! IP fragments, in and out: datagrams are put together on the core that sees to our addresses, and
//! go on from there as if they had come whole; what is larger than a packet is [cut](cut).
//!
//! Upstream: [`ingress`](crate::ingress), for what the demux calls a fragment. Downstream: the same,
//! once more, with a whole datagram. A frame that is no fragment never comes here, and pays nothing.
//! Fragments of one datagram may arrive on several queues (they have no ports that a device could
//! spread them by); all are brought to one core, and leave room in the ring for segments.

mod cut;
mod fragment;
mod place;
mod reassembly;

pub(crate) use cut::Identifications;
pub(crate) use fragment::Fragment;
pub(crate) use reassembly::Reassembly;

use crate::checksum::Sum;
use crate::counters::DropReason;
use crate::demux::{IPPROTO_ICMP, IPPROTO_ICMPV6};
use crate::fabric::Lane;
use crate::ingress::Arrival;
use crate::limits::{ICMP_ERRORS_PER_SECOND, REASSEMBLY_TIME, boxes_for_segments};
use crate::nic::Nic;
use crate::stack::Stack;
use crate::tcp::Lent;
use core::time::Duration;
use kernel::Instant;
use reassembly::Expired;

/// How many errors were told in this second: few are (RFC 1812 §4.3.2.8, RFC 4443 §2.4 (f)).
#[derive(Debug, Default)]
pub(crate) struct ErrorBudget {
    since: Option<Instant>,
    told: u32,
}

impl ErrorBudget {
    /// Whether one more may be told now; it counts as told.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let is_same = |since: Instant| now.saturating_since(since) < Duration::from_secs(1);
        if !self.since.is_some_and(is_same) {
            (self.since, self.told) = (Some(now), 0);
        }
        self.told += 1;
        self.told <= ICMP_ERRORS_PER_SECOND
    }
}

impl<N: Nic, P: Lent> Stack<N, P> {
    /// Takes in a fragment, and the datagram that is whole by it.
    #[cold]
    #[inline(never)]
    pub(crate) fn process_fragment(&mut self, arrival: &Arrival<'_>, fragment: &Fragment) {
        let Some(reassembly) = &mut self.reassembly else {
            return self.hand_fragment(arrival);
        };
        let counters = &mut self.output.counters;
        counters.fragments_taken += 1;
        match reassembly.take(fragment, arrival.frame, arrival.now, counters) {
            Ok(Some(bytes)) => {
                counters.datagrams_reassembled += 1;
                let whole = reassembly.lend_whole();
                let arrival = Arrival {
                    frame: &whole[..bytes],
                    large: None,
                    crossed: None,
                    now: arrival.now,
                };
                self.process(&arrival, false);
                if let Some(reassembly) = &mut self.reassembly {
                    reassembly.give_back_whole(whole);
                }
            }
            Ok(None) => {
                let deadline = arrival.now + REASSEMBLY_TIME;
                self.timers.set_no_later(self.addressing_timer(), deadline);
            }
            Err(reason) => counters.count_drop(reason),
        }
    }

    /// Hands a fragment to the core that puts datagrams together, unless another core has handed it
    /// to this one.
    fn hand_fragment(&mut self, arrival: &Arrival<'_>) {
        let port = &mut self.output.port;
        let (own, kept) = (port.core(), boxes_for_segments(port.cores().len()));
        let to = port.configuring_core().filter(|core| *core != own);
        if let (Some(to), None) = (to, arrival.crossed) {
            let lane = port.lanes.get_mut(to.index()).and_then(Option::as_mut);
            if lane.map_or(0, Lane::spare_boxes) <= kept {
                return self.output.counters.count_drop(DropReason::HandoverFull);
            }
        }
        self.hand_to_configuring(arrival, DropReason::NotOurAddress);
    }

    /// Gives up datagrams whose time is over, and tells their senders (RFC 1122 §3.3.2, RFC 8200 §4.5).
    pub(crate) fn expire_fragments(&mut self, now: Instant) {
        while let Some(reassembly) = &mut self.reassembly
            && let Some(expired) = reassembly.expire(now, &mut self.output.counters)
        {
            if let Some(expired) = expired
                && self.icmp_errors.take(now)
            {
                self.tell_expired(&expired);
            }
        }
    }

    /// Sends "fragment reassembly time exceeded".
    fn tell_expired(&mut self, expired: &Expired) {
        let Some(reassembly) = &self.reassembly else {
            return;
        };
        let quoted = reassembly.quoted(expired.quoted);
        let bytes = 8 + quoted.len();
        self.output.counters.time_exceeded_sent += 1;
        let pair = &expired.addresses;
        let (protocol, kind, pseudo) = match pair.is_ipv6() {
            false => (IPPROTO_ICMP, 11, Sum::default()),
            true => {
                let pseudo = Sum::default().add_pseudo_header(pair, IPPROTO_ICMPV6, bytes as u16);
                (IPPROTO_ICMPV6, 3, pseudo)
            }
        };
        let fill = |message: &mut [u8]| write_error(message, kind, pseudo, quoted);
        self.output
            .transmit_ip(expired.station, pair, protocol, bytes, fill);
    }
}

/// Writes an error of code 1 that quotes a packet.
fn write_error(message: &mut [u8], kind: u8, pseudo: Sum, quoted: &[u8]) {
    message[..8].copy_from_slice(&[kind, 1, 0, 0, 0, 0, 0, 0]);
    message[8..].copy_from_slice(quoted);
    let checksum = pseudo.add(message).complement();
    message[2..4].copy_from_slice(&checksum);
}
