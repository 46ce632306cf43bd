//! What comes in and is no segment: ARP, ICMP of both families with neighbour discovery, and DHCP.
//!
//! Upstream: [`ingress`](crate::ingress). Downstream: an answer at once, the neighbours of every core,
//! the core that sees to our addresses, or a connection whose packets are too large. Any core may get
//! any of them; what is another's is handed over once.

use crate::address::AddressState;
use crate::arp;
use crate::autoconf::Conflict;
use crate::counters::DropReason;
use crate::demux::{ETHERNET_HEADER_BYTES, IPPROTO_ICMP, IPPROTO_ICMPV6, Message};
use crate::flow::{AddressPair, FlowKey};
use crate::icmp::{self, EchoReply, Signal, TooBig};
use crate::ingress::Arrival;
use crate::limits::{HEAD_MAX_BYTES, MTU_MIN_BYTES, MTU_MIN_IPV6_BYTES};
use crate::mld::{self, Query};
use crate::ndp::{self, Discovery};
use crate::nic::{Nic, TxMeta};
use crate::output::{headers_bytes, ip_header_bytes};
use crate::port_table::Asked;
use crate::questions;
use crate::stack::Stack;
use crate::tcp::Lent;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use kernel::Instant;

impl<N: Nic, P: Lent> Stack<N, P> {
    /// Whether an answer of so many bytes fits into one packet of the link. What came may be larger.
    fn fits_into_packet(&self, bytes: usize, is_ipv6: bool) -> bool {
        let most = self
            .output
            .packet_bytes(is_ipv6)
            .min(HEAD_MAX_BYTES - ETHERNET_HEADER_BYTES);
        bytes + ip_header_bytes(is_ipv6) <= most
    }

    /// Answers a ping, in fragments if the answer is larger than a packet.
    fn echo(&mut self, peer: [u8; 6], addresses: AddressPair, reply: &EchoReply<'_>) {
        let is_ipv6 = addresses.is_ipv6();
        let protocol = match is_ipv6 {
            false => IPPROTO_ICMP,
            true => IPPROTO_ICMPV6,
        };
        let bytes = reply.len();
        if self.fits_into_packet(bytes, is_ipv6) {
            let fill = |message: &mut [u8]| reply.emit(message);
            return self
                .output
                .transmit_ip(peer, &addresses, protocol, bytes, fill);
        }
        let (head, rest) = reply.parts();
        let identification = self.identifications.next();
        self.output.transmit_in_fragments(
            peer,
            addresses,
            (protocol, identification),
            [&head, rest],
        );
    }

    pub(crate) fn process_icmp(&mut self, arrival: &Arrival<'_>, message: &Message<Ipv4Addr>) {
        self.output.counters.icmp_frames += 1;
        match icmp::process(&arrival.frame[message.range.clone()]) {
            Some(Signal::Echo(reply)) => {
                let addresses = AddressPair::V4 {
                    remote: message.source,
                    local: message.destination,
                };
                self.echo(arrival.sender(), addresses, &reply);
            }
            Some(Signal::TooBig(too_big)) => self.process_too_big(arrival, &too_big),
            Some(Signal::Discovery(_) | Signal::Query(_)) | None => {
                self.output.counters.count_drop(DropReason::Icmp);
            }
        }
    }

    pub(crate) fn process_icmpv6(&mut self, arrival: &Arrival<'_>, message: &Message<Ipv6Addr>) {
        self.output.counters.icmp_frames += 1;
        match icmp::process_v6(&arrival.frame[message.range.clone()], message) {
            Some(Signal::TooBig(too_big)) => self.process_too_big(arrival, &too_big),
            Some(Signal::Discovery(discovery)) => {
                self.process_discovery(arrival, message, &discovery);
            }
            Some(Signal::Query(query)) => self.process_query(arrival, message, &query),
            Some(Signal::Echo(reply)) => {
                let addresses = AddressPair::V6 {
                    remote: message.source,
                    local: message.destination,
                };
                self.echo(arrival.sender(), addresses, &reply);
            }
            None => self.output.counters.count_drop(DropReason::Icmp),
        }
    }

    /// Takes in a question which groups are listened to.
    fn process_query(&mut self, arrival: &Arrival<'_>, message: &Message<Ipv6Addr>, query: &Query) {
        let headers = &arrival.frame[ETHERNET_HEADER_BYTES..message.range.start];
        if !mld::has_router_alert(headers) {
            return self.output.counters.count_drop(DropReason::Icmp);
        }
        let Some(autoconf) = &mut self.autoconf else {
            return self.hand_to_configuring(arrival, DropReason::Icmp);
        };
        self.output.counters.mld_queries += 1;
        autoconf.handle_query(query, arrival.now);
        self.addressing_is_due = true;
    }

    fn process_discovery(
        &mut self,
        arrival: &Arrival<'_>,
        message: &Message<Ipv6Addr>,
        discovery: &Discovery<'_>,
    ) {
        if arrival.sender() == self.station.mac {
            // Our own, come back.
            return self.output.counters.count_drop(DropReason::Discovery);
        }
        self.output.counters.ndp_frames += 1;
        match discovery {
            Discovery::Solicitation { target } => {
                self.process_solicitation(arrival, message, *target);
            }
            Discovery::Advertisement { target, station } => {
                let target = IpAddr::V6(*target);
                if self.host.state_of(target).is_some() {
                    return self.process_conflict(arrival, target);
                }
                let mac = station.unwrap_or_else(|| arrival.sender());
                self.process_neighbour(arrival, target, mac);
            }
            Discovery::Router(said) => {
                let Some(autoconf) = &mut self.autoconf else {
                    return self.hand_to_configuring(arrival, DropReason::Discovery);
                };
                self.output.counters.router_advertisements += 1;
                autoconf.handle_router(said, arrival.now);
                self.addressing_is_due = true;
            }
        }
    }

    fn process_solicitation(
        &mut self,
        arrival: &Arrival<'_>,
        message: &Message<Ipv6Addr>,
        target: Ipv6Addr,
    ) {
        let state = self.host.state_of(target.into());
        let is_claimed_by_both = message.source.is_unspecified()
            && matches!(
                state,
                Some(AddressState::Tentative | AddressState::Optimistic)
            );
        match state {
            Some(_) if is_claimed_by_both => self.process_conflict(arrival, target.into()),
            Some(AddressState::Tentative) | None => {
                self.output.counters.count_drop(DropReason::Discovery);
            }
            Some(state) => {
                self.output.counters.ndp_replies += 1;
                let is_certain = state != AddressState::Optimistic;
                let asker = (message.source, arrival.sender());
                ndp::answer(&mut self.output, target, asker, is_certain);
            }
        }
    }

    pub(crate) fn process_arp(&mut self, arrival: &Arrival<'_>) {
        match arp::process(arrival.frame, self.station.mac, &self.host) {
            arp::Action::Answer(answer) => {
                self.output.counters.arp_replies += 1;
                self.output.transmit(arp::FRAME_BYTES, |frame| {
                    answer.emit(frame);
                    ((), TxMeta::default())
                });
            }
            arp::Action::Learn(address, mac) => {
                self.process_neighbour(arrival, address.into(), mac);
                if let Some(client) = &mut self.dhcp {
                    client.process(arrival.frame, &mut self.output, arrival.now);
                    self.addressing_is_due = true;
                }
            }
            arp::Action::Conflict(address) => self.process_conflict(arrival, address.into()),
            arp::Action::Drop => self.output.counters.count_drop(DropReason::Arp),
        }
    }

    /// Takes in who is at an address. Any core may have asked: the answer is for those that wait for
    /// it; what nobody has asked may be news for all, and is told to them now and then.
    fn process_neighbour(&mut self, arrival: &Arrival<'_>, address: IpAddr, mac: [u8; 6]) {
        let has_asked = self.learn(address, mac, arrival.now);
        let port = &self.output.port;
        let (own, cores) = (port.core(), port.cores());
        let (place, questions) = (questions::place(port, address), &port.notices().questions);
        if has_asked {
            questions.hear(place, own);
        }
        if arrival.crossed.is_some() || cores.len() == 1 {
            return;
        }
        let mut told = questions.waiting(place);
        if told.is_empty() {
            if !self.neighbours.may_tell(arrival.now) {
                self.output.counters.neighbour_news_kept += 1;
                return;
            }
            told = cores;
        }
        for core in told.iter().filter(|core| *core != own) {
            self.hand_over(core, arrival.frame, Asked::default());
        }
    }

    /// Takes in that another station has an address of ours, or wants it.
    #[cold]
    fn process_conflict(&mut self, arrival: &Arrival<'_>, address: IpAddr) {
        let Some(autoconf) = &mut self.autoconf else {
            return self.hand_to_configuring(arrival, DropReason::Discovery);
        };
        self.output.counters.address_conflicts += 1;
        let other = arrival.sender();
        match autoconf.handle_conflict(address, arrival.now) {
            Conflict::Ignored => {}
            Conflict::Defended => log::warn!("address {address}: also claimed by {other:02x?}"),
            Conflict::Lost(is_leased) => {
                log::warn!("address {address}: {other:02x?} has it, so it is not used");
                if let (true, Some(client)) = (is_leased, &mut self.dhcp) {
                    client.decline(&mut self.output, arrival.now);
                }
            }
        }
        self.addressing_is_due = true;
    }

    /// Gives a frame to the DHCP client, wherever it runs.
    pub(crate) fn process_for_dhcp(&mut self, arrival: &Arrival<'_>) {
        let Some(client) = &mut self.dhcp else {
            return self.hand_to_configuring(arrival, DropReason::UdpPort);
        };
        self.output.counters.dhcp_frames += 1;
        client.process(arrival.frame, &mut self.output, arrival.now);
        self.addressing_is_due = true;
    }

    /// Hands a frame to the core that sees to our addresses, unless this is that one, or another has
    /// handed it to this one.
    pub(crate) fn hand_to_configuring(&mut self, arrival: &Arrival<'_>, otherwise: DropReason) {
        let (own, port) = (self.output.port.core(), &self.output.port);
        match port.configuring_core().filter(|core| *core != own) {
            Some(core) if arrival.crossed.is_none() => {
                self.hand_over(core, arrival.frame, Asked::default());
            }
            _ => self.output.counters.count_drop(otherwise),
        }
    }

    /// Takes in that a segment of ours was too large for its way, if it was: the message must speak of
    /// a connection of ours, and of bytes that are on their way (RFC 5927 §4.1, §7).
    #[cold]
    fn process_too_big(&mut self, arrival: &Arrival<'_>, said: &TooBig) {
        let (key, now) = (&said.key, arrival.now);
        let hash = self.output.port.hasher().hash(key);
        let Some(index) = self.find_flow(hash, key) else {
            let mut asked = arrival.crossed.unwrap_or_default();
            return match self.steer(key, hash, &mut asked) {
                Some(core) => self.hand_over(core, arrival.frame, asked),
                None => self.output.counters.count_drop(DropReason::Icmp),
            };
        };
        let is_ipv6 = key.addresses.is_ipv6();
        let least = match is_ipv6 {
            true => MTU_MIN_IPV6_BYTES,
            false => MTU_MIN_BYTES,
        };
        // A router of old says 0: then it is what every way takes.
        let mtu = u16::try_from(said.mtu).unwrap_or(u16::MAX).max(least);
        let mss_bytes = mtu - headers_bytes(is_ipv6);
        let slot = self.connections.slot(index);
        if !slot.tcb.handle_too_big(said.sequence, mss_bytes) {
            return self.output.counters.count_drop(DropReason::Icmp);
        }
        self.output.counters.path_mtu_changes += 1;
        self.path_mtus.note(key.addresses.remote(), mtu, now);
        self.mark_dirty(index);
    }

    /// Payload bytes of the largest segment that a flow may begin with, options included.
    pub(crate) fn first_mss_bytes(&self, key: &FlowKey, now: Instant) -> u16 {
        let is_ipv6 = key.addresses.is_ipv6();
        let of_link = self.output.link(is_ipv6).mss_bytes;
        let of_path = self.path_mtus.find(key.addresses.remote(), now);
        of_path.map_or(of_link, |mtu| of_link.min(mtu - headers_bytes(is_ipv6)))
    }
}
