//! Multicast listener discovery: routers and switches that snoop are told which groups are listened
//! to, so that they pass on what asks for our addresses (RFC 3810; RFC 2710 where an older router
//! asks).
//!
//! Upstream: [`icmp`](crate::icmp), with questions; [`autoconf`](crate::autoconf), with reports.
//! Downstream: [`output`](crate::output). Every message has the router alert option and one hop to go
//! (RFC 3810 §5, §10); what has not is not heard.

use crate::checksum::Sum;
use crate::demux::{IPPROTO_ICMPV6, Message};
use crate::flow::AddressPair;
use crate::ipv6::{self, ALL_NODES, ALL_ROUTERS};
use crate::limits::ADDRESSES;
use crate::nic::Nic;
use crate::output::Output;
use core::net::Ipv6Addr;
use core::time::Duration;
use heapless::Vec;

/// Routers that speak the second version listen here (RFC 3810 §5.2.14).
const ALL_MLDV2_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16);

/// A hop-by-hop header with the router alert option for this protocol (RFC 2711 §2.1), and padding.
const ROUTER_ALERT: [u8; 8] = [IPPROTO_ICMPV6, 0, 5, 2, 0, 0, 1, 0];

/// Bytes of a message of the first version, and of a question of the second.
const BYTES_V1: usize = 24;
const QUERY_BYTES: usize = 28;
/// Bytes of a report's header and of each of its records.
const REPORT_BYTES: usize = 8;
const RECORD_BYTES: usize = 20;

/// A question which groups are listened to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Query {
    /// Which group, or `None` for all.
    pub(crate) group: Option<Ipv6Addr>,
    /// Within which time it is to be answered.
    pub(crate) within: Duration,
    /// It is one of the first version, and so is the answer to be.
    pub(crate) is_old: bool,
}

/// What is said of groups (RFC 3810 §5.2.12: a group is listened to from all sources, or not at all).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    /// It is listened to.
    Listening = 2,
    /// It is not any more.
    Left = 3,
    /// It is from now on.
    Joined = 4,
}

/// What is to be told of groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) records: Vec<(Word, Ipv6Addr), ADDRESSES>,
    /// By messages of the first version.
    pub(crate) is_old: bool,
}

/// Reads a question; `None` when there is something wrong with it (RFC 3810 §6.2).
pub(crate) fn parse(bytes: &[u8], message: &Message<Ipv6Addr>) -> Option<Query> {
    let code = u16::from_be_bytes([*bytes.get(4)?, *bytes.get(5)?]);
    let group = Ipv6Addr::from(*bytes.get(8..)?.first_chunk::<16>()?);
    let is_old = bytes.len() == BYTES_V1;
    let is_whole = is_old || bytes.len() >= QUERY_BYTES;
    let group = Some(group).filter(|group| !group.is_unspecified());
    let is_sound = is_whole
        && message.hop_limit == 1
        && ipv6::is_link_local(message.source)
        && message.destination == group.unwrap_or(ALL_NODES);
    is_sound.then_some(Query {
        group,
        within: Duration::from_millis(if is_old { code.into() } else { delay_ms(code) }),
        is_old,
    })
}

/// A time of the second version: as it is, or as a number with an exponent (RFC 3810 §5.1.3).
fn delay_ms(code: u16) -> u64 {
    match code {
        0..0x8000 => code.into(),
        _ => (u64::from(code & 0x0fff) | 0x1000) << ((code >> 12 & 7) + 3),
    }
}

/// Whether the headers before a message, from the IPv6 header on, ask routers to look at it.
pub(crate) fn has_router_alert(headers: &[u8]) -> bool {
    let Some((ip, [_, words, rest @ ..])) =
        headers.split_first_chunk::<{ ipv6::IPV6_HEADER_BYTES }>()
    else {
        return false;
    };
    if ip[6] != ipv6::HOP_BY_HOP {
        return false;
    }
    let mut options = rest.get(..8 * usize::from(*words) + 6).unwrap_or_default();
    // The demux has seen that they are well-formed.
    while let [kind, rest @ ..] = options {
        match (kind, rest) {
            (0, _) => options = rest,
            (5, [2, ..]) => return true,
            (_, [length, rest @ ..]) => {
                options = rest.get(usize::from(*length)..).unwrap_or_default();
            }
            _ => return false,
        }
    }
    false
}

/// Tells what is listened to, as `from`; as nobody while that is not known to be ours alone
/// (RFC 3590 §4).
pub(crate) fn transmit<N: Nic>(output: &mut Output<N>, from: Option<Ipv6Addr>, report: &Report) {
    let from = from.unwrap_or(Ipv6Addr::UNSPECIFIED);
    output.counters.mld_reports += 1;
    if report.is_old {
        for (word, group) in &report.records {
            // Who leaves says so to the routers, and who listens to the group (RFC 2710 §4).
            let (kind, to) = match word {
                Word::Left => (132, ALL_ROUTERS),
                Word::Listening | Word::Joined => (131, *group),
            };
            transmit_message(output, (from, to), BYTES_V1, |message| {
                message[0] = kind;
                message[8..].copy_from_slice(&group.octets());
            });
        }
        return;
    }
    let bytes = REPORT_BYTES + RECORD_BYTES * report.records.len();
    transmit_message(output, (from, ALL_MLDV2_ROUTERS), bytes, |message| {
        let (head, records) = message.split_at_mut(REPORT_BYTES);
        (head[0], head[7]) = (143, report.records.len() as u8);
        for (room, (word, group)) in records.chunks_mut(RECORD_BYTES).zip(&report.records) {
            room[0] = *word as u8;
            room[4..].copy_from_slice(&group.octets());
        }
    });
}

fn transmit_message<N: Nic>(
    output: &mut Output<N>,
    (from, to): (Ipv6Addr, Ipv6Addr),
    bytes: usize,
    fill: impl FnOnce(&mut [u8]),
) {
    let station = ipv6::group_station(to);
    let length = ROUTER_ALERT.len() + bytes;
    output.transmit_ipv6(
        station,
        (from, to),
        (ipv6::HOP_BY_HOP, 1),
        length,
        |payload| {
            let (options, message) = payload.split_at_mut(ROUTER_ALERT.len());
            options.copy_from_slice(&ROUTER_ALERT);
            message.fill(0);
            fill(message);
            let addresses = AddressPair::V6 {
                remote: to,
                local: from,
            };
            let pseudo = Sum::default().add_pseudo_header(&addresses, IPPROTO_ICMPV6, bytes as u16);
            let checksum = pseudo.add(message).complement();
            message[2..4].copy_from_slice(&checksum);
        },
    );
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 9);
    const GROUP: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 1);

    fn query(bytes: usize, code: u16, group: Ipv6Addr) -> [u8; 32] {
        let mut query = [0; 32];
        query[0] = 130;
        query[4..6].copy_from_slice(&code.to_be_bytes());
        query[8..24].copy_from_slice(&group.octets());
        // What is beyond is the caller's to cut off.
        query[bytes..].fill(0xee);
        query
    }

    fn taken(bytes: usize, group: Ipv6Addr, change: fn(&mut Message<Ipv6Addr>)) -> Option<Query> {
        let group_or_all = match group.is_unspecified() {
            true => ALL_NODES,
            false => group,
        };
        let mut message = Message {
            source: ROUTER,
            destination: group_or_all,
            hop_limit: 1,
            range: 0..bytes,
        };
        change(&mut message);
        parse(&query(bytes, 1000, group)[..bytes], &message)
    }

    #[test]
    fn questions_are_taken_as_rfc_3810_has_them() {
        let all = Ipv6Addr::UNSPECIFIED;
        let within = Duration::from_secs(1);
        let expected = |group, is_old| {
            Some(Query {
                group,
                within,
                is_old,
            })
        };
        assert_eq!(taken(28, all, |_| ()), expected(None, false));
        assert_eq!(taken(24, GROUP, |_| ()), expected(Some(GROUP), true));
        assert_eq!(taken(26, all, |_| ()), None, "neither version");
        assert_eq!(taken(23, all, |_| ()), None, "cut short");
        assert_eq!(taken(28, all, |message| message.hop_limit = 2), None);
        assert_eq!(taken(28, all, |message| message.source = GROUP), None);
        assert_eq!(taken(28, all, |message| message.destination = GROUP), None);
    }

    #[test]
    fn delays_are_numbers_or_have_an_exponent() {
        assert_eq!(delay_ms(0), 0);
        assert_eq!(delay_ms(0x7fff), 32_767);
        assert_eq!(delay_ms(0x8000), 0x1000 << 3);
        assert_eq!(delay_ms(0xffff), 0x1fff << 10);
    }

    #[test]
    fn the_router_alert_is_found_among_options() {
        let with = |next: u8, options: &[u8]| {
            let header = ipv6::header(ROUTER, ALL_NODES, next, 1, 0);
            has_router_alert(&[&header, options].concat())
        };
        assert!(with(0, &ROUTER_ALERT));
        assert!(with(0, &[58, 0, 0, 0, 5, 2, 0, 0]));
        assert!(with(0, &[58, 1, 1, 6, 0, 0, 0, 0, 0, 0, 5, 2, 0, 0, 0, 0]));
        assert!(!with(0, &[58, 0, 1, 4, 0, 0, 0, 0]));
        assert!(!with(60, &ROUTER_ALERT), "destination options");
        assert!(!with(58, &[]));
    }
}
