//! How a stack comes by its addresses: on one core the DHCP client and [`autoconf`](crate::autoconf)
//! are run, what comes of them is published, and every core follows.
//!
//! Upstream: [`control`](crate::control), the timers. Downstream: the fabric's
//! [`host_words`](crate::host_words), frames that ask and announce.

use crate::address::{AddressConfig, AddressState, Host};
use crate::arp;
use crate::autoconf::{Autoconf, Question};
use crate::egress::RETRY;
use crate::fragments::Reassembly;
use crate::limits::{HOST_CHANGE_INTERVAL, HOST_CHANGES, WITHDRAWN_BATCH, reassembly_blocks};
use crate::mld;
use crate::ndp;
use crate::nic::{Nic, TxMeta};
use crate::questions;
use crate::stack::Stack;
use crate::tcp::{DhcpChange, DhcpClient, Lent};
use alloc::boxed::Box;
use core::net::IpAddr;
use kernel::Instant;

impl<N: Nic, P: Lent> Stack<N, P> {
    /// Says where the appliance's addresses come from. To be called once, on one core, which must
    /// have a queue pair; all cores follow.
    pub fn configure_address(&mut self, config: &AddressConfig, now: Instant) {
        self.now = now;
        self.output.port.configure_here();
        if config.dhcp {
            self.dhcp = Some(DhcpClient::new(self.seed, &mut self.output, now));
        }
        let mac = self.output.info.mac;
        let autoconf = Autoconf::new(config, mac, self.seed, now);
        self.autoconf = Some(Box::new(autoconf));
        let blocks = reassembly_blocks(self.connections.count());
        self.reassembly = Some(Box::new(Reassembly::new(mac, blocks)));
        self.publish(now);
        self.addressing_is_due = true;
    }

    /// Returns what this host is on its link, as far as it is known.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Sends what is to be asked, and follows what has come of it.
    pub(crate) fn dispatch_addressing(&mut self, now: Instant) {
        self.addressing_is_due = false;
        if let Some(from) = self.withdrawn {
            self.end_withdrawn(from);
        }
        self.dispatch_dhcp(now);
        while self.output.can_transmit() {
            // Before an address is asked for, its group is listened to.
            let report = self.autoconf.as_mut().and_then(|all| all.poll_report(now));
            if let Some((from, report)) = report {
                mld::transmit(&mut self.output, from, &report);
                continue;
            }
            let question = self
                .autoconf
                .as_mut()
                .and_then(|all| all.poll_question(now));
            let Some(question) = question else {
                break;
            };
            self.ask_or_tell(question);
        }
        self.expire_fragments(now);
        self.publish(now);
        let fragments = self.reassembly.as_ref().and_then(|all| all.deadline());
        let dhcp = self.dhcp.as_mut().and_then(|client| client.deadline(now));
        let autoconf = self.autoconf.as_ref().and_then(|all| all.deadline());
        let timer = self.addressing_timer();
        let change = self.host_changes.next_at().filter(|_| self.is_to_publish());
        match [dhcp, autoconf, fragments, change]
            .into_iter()
            .flatten()
            .min()
        {
            Some(next) => self.timers.set(timer, next.max(now + RETRY)),
            None => self.timers.cancel(timer),
        }
    }

    fn ask_or_tell(&mut self, question: Question) {
        let mac = self.station.mac;
        match question {
            Question::Probe(IpAddr::V4(address)) => self.transmit_arp(&arp::probe(mac, address)),
            Question::Announce(IpAddr::V4(address)) => {
                self.transmit_arp(&arp::announcement(mac, address));
            }
            Question::Probe(IpAddr::V6(address)) => {
                ndp::solicit(&mut self.output, None, address);
            }
            Question::Announce(IpAddr::V6(address)) => ndp::announce(&mut self.output, address),
            Question::Routers(from) => ndp::solicit_routers(&mut self.output, from),
        }
    }

    /// Asks who is at an address of the link.
    pub(crate) fn ask_for(&mut self, target: IpAddr) {
        let port = &self.output.port;
        let place = questions::place(port, target);
        port.notices().questions.ask(place, port.core());
        match (target, self.host.source_for(target)) {
            (IpAddr::V4(target), Some(IpAddr::V4(own))) => {
                self.output.counters.arp_requests += 1;
                let request = arp::request(self.station.mac, own, target);
                self.transmit_arp(&request);
            }
            (IpAddr::V6(target), Some(IpAddr::V6(own))) => {
                self.output.counters.ndp_requests += 1;
                ndp::solicit(&mut self.output, Some(own), target);
            }
            _ => {}
        }
    }

    fn transmit_arp(&mut self, packet: &arp::Answer) {
        self.output.transmit(arp::FRAME_BYTES, |frame| {
            packet.emit(frame);
            ((), TxMeta::default())
        });
    }

    fn dispatch_dhcp(&mut self, now: Instant) {
        let Some(client) = &mut self.dhcp else {
            return;
        };
        client.dispatch(&mut self.output, now);
        let lease = match client.poll_change() {
            None => return,
            Some(DhcpChange::Configured(lease)) => {
                self.output.counters.dhcp_configured += 1;
                Some(lease)
            }
            Some(DhcpChange::Lost) => {
                // smoltcp says so at the start, too.
                let had_one = self.autoconf.as_ref().is_some_and(|all| all.has_lease());
                self.output.counters.dhcp_lost += u64::from(had_one);
                None
            }
        };
        if let Some(autoconf) = &mut self.autoconf {
            autoconf.handle_lease(lease, now);
        }
    }

    /// Tells all cores what this host is, if that has changed.
    fn publish(&mut self, now: Instant) {
        let Some(autoconf) = &mut self.autoconf else {
            return;
        };
        self.output.counters.addresses_refused += autoconf.take_refused();
        if !autoconf.has_changed() || !self.host_changes.has_one(now) {
            return;
        }
        let host = autoconf.poll_host(now);
        if let Some(host) = host.filter(|host| *host != self.host) {
            self.host_changes.take(now);
            self.output.counters.host_changes += 1;
            tell_changes(&self.host, &host);
            self.output.port.publish_host(&host);
            self.follow_host();
        }
    }

    fn is_to_publish(&self) -> bool {
        self.autoconf.as_ref().is_some_and(|all| all.has_changed())
    }

    /// Takes over what the fabric says this host is. Connections of addresses that are gone are over, in
    /// this turn and, if there are many, the next.
    pub(crate) fn follow_host(&mut self) {
        let seen = self.output.port.host().look();
        let Some(host) = self.output.port.host().read(seen) else {
            // It is being changed: next time.
            return;
        };
        self.host_seen = seen;
        self.output.follow(&host);
        self.station.mac = self.output.info.mac;
        let before = core::mem::take(&mut self.station);
        self.station.mac = before.mac;
        for ours in host.used() {
            // Each list has room for all.
            let _ = match ours.cidr.address {
                IpAddr::V4(address) => self.station.v4.push(address).is_ok(),
                IpAddr::V6(address) => self.station.v6.push(address).is_ok(),
            };
        }
        if host.routes != self.host.routes {
            self.neighbours.clear();
        }
        self.host = host;
        // Only an address that has gone ends anything: routers may come and go.
        if !self.station.has_all_of(&before) {
            self.end_withdrawn(0);
        }
    }

    /// Ends connections of addresses that are not ours any more: so many slots from `from` on, and the
    /// others in the next turns.
    fn end_withdrawn(&mut self, from: u32) {
        let slots = self.connections.indices().end;
        let to = slots.min(from + WITHDRAWN_BATCH);
        for index in from..to {
            self.output.counters.connections_looked_at += 1;
            let slot = self.connections.slot(index);
            if slot.attached && !self.station.has(slot.key.addresses.local()) {
                slot.tcb.abandon();
                self.follow_end(index);
            }
        }
        self.withdrawn = (to < slots).then_some(to);
        self.addressing_is_due |= self.withdrawn.is_some();
    }
}

/// How many changes of what this host is may be told now.
pub(crate) struct HostChanges {
    left: u32,
    /// Since when there is one less than could be.
    since: Instant,
}

impl HostChanges {
    pub(crate) fn new(now: Instant) -> Self {
        HostChanges {
            left: HOST_CHANGES,
            since: now,
        }
    }

    /// Whether one may be told now.
    fn has_one(&mut self, now: Instant) -> bool {
        while self.left < HOST_CHANGES && self.since + HOST_CHANGE_INTERVAL <= now {
            self.left += 1;
            self.since = self.since + HOST_CHANGE_INTERVAL;
        }
        self.left > 0
    }

    fn take(&mut self, now: Instant) {
        if self.left == HOST_CHANGES {
            self.since = now;
        }
        self.left -= 1;
    }

    /// Returns when one may be told, if none may now.
    fn next_at(&self) -> Option<Instant> {
        (self.left == 0).then_some(self.since + HOST_CHANGE_INTERVAL)
    }
}

/// Tells on the log which addresses and routers have come and gone.
fn tell_changes(before: &Host, after: &Host) {
    for ours in &after.addresses {
        let was = before.state_of(ours.cidr.address);
        match (was, ours.state) {
            (None | Some(AddressState::Tentative), AddressState::Optimistic) => {
                log::info!("address {}: used", ours.cidr);
            }
            (Some(AddressState::Optimistic), AddressState::Preferred) => {
                log::info!("address {}: nobody else has it", ours.cidr);
            }
            (Some(AddressState::Tentative), AddressState::Preferred) => {
                log::info!("address {}: used, nobody else has it now", ours.cidr);
            }
            (Some(AddressState::Preferred), AddressState::Deprecated) => {
                log::info!("address {}: deprecated", ours.cidr);
            }
            _ => {}
        }
    }
    for ours in before.used() {
        let is = after.state_of(ours.cidr.address);
        if matches!(is, None | Some(AddressState::Tentative)) {
            log::warn!("address {}: gone", ours.cidr);
        }
    }
    for route in after
        .routes
        .iter()
        .filter(|route| !before.routes.contains(route))
    {
        if let (Some(gateway), 0) = (route.gateway, route.destination.prefix) {
            log::info!("router {gateway}");
        }
    }
    for route in before
        .routes
        .iter()
        .filter(|route| !after.routes.contains(route))
    {
        if let (Some(gateway), 0) = (route.gateway, route.destination.prefix) {
            log::info!("router {gateway}: gone");
        }
    }
    for (family, was, is) in [
        ("IPv4", before.mtu_v4, after.mtu_v4),
        ("IPv6", before.mtu_v6, after.mtu_v6),
    ] {
        match is.filter(|_| was != is) {
            Some(mtu) => log::info!("the link takes {family} packets of {mtu} bytes"),
            None if was != is => log::info!("the link takes {family} packets as the device does"),
            None => {}
        }
    }
}
