//! Neighbour discovery (RFC 4861): who is at which IPv6 address of the link, and what its routers say.
//!
//! Upstream: [`icmp`](crate::icmp), which has verified the checksum. Downstream: the stack, which
//! answers solicitations and learns from advertisements, and [`autoconf`](crate::autoconf). Everything
//! that did not begin on this link is refused (hop limit 255), and so is what breaks a rule of
//! §6.1 or §7.1. Redirects are not followed: answers go to the station that a packet came from.

use crate::demux::{self, IPPROTO_ICMPV6};
use crate::ipv6::{self, ALL_NODES, ALL_ROUTERS};
use crate::nic::Nic;
use crate::output::Output;
use core::net::Ipv6Addr;
use smoltcp::wire::{
    EthernetAddress, Icmpv6Message, Icmpv6Packet, NdiscNeighborFlags, NdiscOption, NdiscOptionRepr,
    NdiscPrefixInformation, NdiscRepr,
};

/// What every message of neighbour discovery has, and nothing that came through a router.
const HOP_LIMIT: u8 = 255;

/// Options of these kinds name a station (RFC 4861 §4.6.1).
const SOURCE_STATION: u8 = 1;
const TARGET_STATION: u8 = 2;

/// A message that is as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Discovery<'a> {
    /// Somebody asks who is at `target`.
    Solicitation { target: Ipv6Addr },
    /// Somebody says that it is at `target`, and at which station, if it says so.
    Advertisement {
        target: Ipv6Addr,
        station: Option<[u8; 6]>,
    },
    /// A router says what there is.
    Router(RouterAdvertisement<'a>),
}

/// What a router says (RFC 4861 §4.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RouterAdvertisement<'a> {
    pub(crate) router: Ipv6Addr,
    /// How long it is to be used, in seconds; 0 for not at all.
    pub(crate) lifetime_s: u16,
    /// How much it wants to be used beside others (RFC 4191 §2.1): -1, 0 or 1.
    pub(crate) preference: i8,
    options: &'a [u8],
}

/// What a router says beside itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RouterOption {
    Prefix(NdiscPrefixInformation),
    Mtu(u32),
}

/// Reads a message of neighbour discovery; `None` when there is something wrong with it.
pub(crate) fn parse<'a>(
    bytes: &'a [u8],
    message: &demux::Message<Ipv6Addr>,
) -> Option<Discovery<'a>> {
    let packet = Icmpv6Packet::new_checked(bytes).ok()?;
    if message.hop_limit != HOP_LIMIT || packet.msg_code() != 0 {
        return None;
    }
    let is_from_nobody = message.source.is_unspecified();
    match packet.msg_type() {
        Icmpv6Message::NeighborSolicit => {
            let target = packet.target_addr();
            let names_station =
                options(bytes.get(24..)?)?.any(|option| option[0] == SOURCE_STATION);
            let is_sound = ipv6::is_host(target)
                && !(is_from_nobody && names_station)
                && !(is_from_nobody && message.destination != ipv6::solicited_node(target));
            is_sound.then_some(Discovery::Solicitation { target })
        }
        Icmpv6Message::NeighborAdvert => {
            let target = packet.target_addr();
            let is_solicited = packet
                .neighbor_flags()
                .contains(NdiscNeighborFlags::SOLICITED);
            let mut options = options(bytes.get(24..)?)?;
            let station = options.find(|option| option[0] == TARGET_STATION);
            let station = station.and_then(|option| option[2..].first_chunk().copied());
            let is_sound = ipv6::is_host(target)
                && !is_from_nobody
                && !(message.destination.is_multicast() && is_solicited)
                && station.is_none_or(is_station);
            is_sound.then_some(Discovery::Advertisement { target, station })
        }
        Icmpv6Message::RouterAdvert => {
            let all = bytes.get(16..)?;
            // All of them are well-formed, or none is looked at.
            options(all)?;
            let is_sound = ipv6::is_link_local(message.source);
            is_sound.then_some(Discovery::Router(RouterAdvertisement {
                router: message.source,
                lifetime_s: u16::from_be_bytes([bytes[6], bytes[7]]),
                preference: match bytes[5] >> 3 & 3 {
                    0b01 => 1,
                    0b11 => -1,
                    // 10 is reserved, and counts as the middle one.
                    _ => 0,
                },
                options: all,
            }))
        }
        _ => None,
    }
}

/// Whether one station may have this address.
fn is_station(mac: [u8; 6]) -> bool {
    EthernetAddress(mac).is_unicast()
}

impl RouterAdvertisement<'_> {
    /// Yields what it says beside itself, as far as it is of use here.
    pub(crate) fn options(&self) -> impl Iterator<Item = RouterOption> {
        Options(self.options).filter_map(|option| {
            let option = NdiscOption::new_checked(option).ok()?;
            match NdiscOptionRepr::parse(&option).ok()? {
                NdiscOptionRepr::PrefixInformation(prefix) => Some(RouterOption::Prefix(prefix)),
                NdiscOptionRepr::Mtu(mtu) => Some(RouterOption::Mtu(mtu)),
                _ => None,
            }
        })
    }
}

/// A list of options, each with its kind and length in front.
struct Options<'a>(&'a [u8]);

impl<'a> Iterator for Options<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let bytes = 8 * usize::from(*self.0.get(1)?);
        let (option, rest) = self.0.split_at_checked(bytes.max(8))?;
        self.0 = rest;
        Some(option)
    }
}

/// Returns a list of options of which each is whole and none is empty (RFC 4861 §4.6).
fn options(bytes: &[u8]) -> Option<Options<'_>> {
    let mut left = bytes;
    while !left.is_empty() {
        let words = *left.get(1)?;
        left = left.get(8 * usize::from(words)..)?;
        if words == 0 {
            return None;
        }
    }
    Some(Options(bytes))
}

/// Asks who is at `target`, as `from`; as nobody when that is not known to be ours alone yet.
pub(crate) fn solicit<N: Nic>(output: &mut Output<N>, from: Option<Ipv6Addr>, target: Ipv6Addr) {
    let solicitation = NdiscRepr::NeighborSolicit {
        target_addr: target,
        lladdr: from.map(|_| EthernetAddress(output.info.mac).into()),
    };
    let group = ipv6::solicited_node(target);
    let from = from.unwrap_or(Ipv6Addr::UNSPECIFIED);
    transmit(output, (from, group), None, solicitation);
}

/// Says to whoever asked from this address and station that we are at `target`; to all when it asked
/// as nobody. What is not known to be ours alone does not take another's place (RFC 4429 §3.3).
pub(crate) fn answer<N: Nic>(
    output: &mut Output<N>,
    target: Ipv6Addr,
    (to, station): (Ipv6Addr, [u8; 6]),
    is_certain: bool,
) {
    let mut flags = NdiscNeighborFlags::empty();
    flags.set(NdiscNeighborFlags::OVERRIDE, is_certain);
    let is_to_nobody = to.is_unspecified();
    flags.set(NdiscNeighborFlags::SOLICITED, !is_to_nobody);
    let (to, station) = match is_to_nobody {
        true => (ALL_NODES, None),
        false => (to, Some(station)),
    };
    let advertisement = advertisement(output, flags, target);
    transmit(output, (target, to), station, advertisement);
}

/// Says to all that we are at `target`.
pub(crate) fn announce<N: Nic>(output: &mut Output<N>, target: Ipv6Addr) {
    let advertisement = advertisement(output, NdiscNeighborFlags::OVERRIDE, target);
    transmit(output, (target, ALL_NODES), None, advertisement);
}

fn advertisement<N: Nic>(
    output: &Output<N>,
    flags: NdiscNeighborFlags,
    target: Ipv6Addr,
) -> NdiscRepr<'static> {
    NdiscRepr::NeighborAdvert {
        flags,
        target_addr: target,
        lladdr: Some(EthernetAddress(output.info.mac).into()),
    }
}

/// Asks the routers to say what there is, without naming our station: they look for it then
/// (RFC 4429 §3.2).
pub(crate) fn solicit_routers<N: Nic>(output: &mut Output<N>, from: Ipv6Addr) {
    let solicitation = NdiscRepr::RouterSolicit { lladdr: None };
    transmit(output, (from, ALL_ROUTERS), None, solicitation);
}

/// Sends a message to a station, or to the group that it is addressed to.
fn transmit<N: Nic>(
    output: &mut Output<N>,
    (from, to): (Ipv6Addr, Ipv6Addr),
    station: Option<[u8; 6]>,
    message: NdiscRepr<'_>,
) {
    let station = station.unwrap_or_else(|| ipv6::group_station(to));
    let bytes = message.buffer_len();
    let protocol = (IPPROTO_ICMPV6, HOP_LIMIT);
    output.transmit_ipv6(station, (from, to), protocol, bytes, |packet| {
        packet.fill(0);
        let mut packet = Icmpv6Packet::new_unchecked(packet);
        message.emit(&mut packet);
        packet.fill_checksum(&from, &to);
    });
}

#[cfg(all(test, not(loom)))]
#[path = "ndp_tests.rs"]
mod tests;
