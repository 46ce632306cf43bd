//! How this host comes by its addresses and routes: fixed ones, a DHCP lease, and what routers
//! advertise (RFC 4862). It runs on one core; what comes of it is told to all as a [`Host`].
//!
//! Sans-IO like all of this crate: `handle_*` takes in what came, `poll_question` yields what is to be
//! asked or told on the link, and `host` says what this host is by now. Upstream:
//! [`addressing`](crate::addressing). An address is used at once, while it is still being asked for
//! whether another has it (RFC 4429 for IPv6; for IPv4 RFC 5227 would have us wait for seconds, in
//! which a site is not served): [`claims`] has the rules.

mod claims;
mod groups;
mod identifier;
mod routers;

pub(crate) use claims::{Conflict, Question};

use crate::address::{AddressConfig, Cidr, Host, Route};
use crate::ipv6;
use crate::mld::{Query, Report};
use crate::ndp::RouterAdvertisement;
use crate::tcp::Lease;
use claims::{Claims, Origin};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use groups::Groups;
use heapless::Vec;
use identifier::Identifiers;
use kernel::Instant;
use routers::Routers;

/// The addresses and routes of this host, and where they come from.
pub(crate) struct Autoconf {
    identifiers: Identifiers,
    claims: Claims,
    groups: Groups,
    /// Who tells the way, when routers are to be followed.
    routers: Option<Routers>,
    gateways: Vec<IpAddr, { crate::limits::GATEWAYS }>,
    lease: Option<Lease>,
    /// Since `host` was last asked for.
    has_changed: bool,
    /// What there was no room for.
    refused: u64,
}

impl Autoconf {
    /// Begins with what the configuration fixes. `seed` scatters the moments of what is asked.
    pub(crate) fn new(config: &AddressConfig, mac: [u8; 6], seed: u64, now: Instant) -> Self {
        let mut autoconf = Autoconf {
            identifiers: Identifiers::new(config.stable_secret, mac),
            claims: Claims::new(seed),
            groups: Groups::new(),
            routers: config.slaac.then(|| Routers::new(now)),
            gateways: config.gateways.clone(),
            lease: None,
            has_changed: true,
            refused: 0,
        };
        for fixed in &config.fixed {
            autoconf.claim(*fixed, Origin::Fixed, now);
        }
        if config.has_ipv6() {
            let link_local = Cidr {
                address: autoconf.identifiers.in_network(ipv6::LINK_LOCAL).into(),
                prefix: 64,
            };
            autoconf.claim(link_local, Origin::LinkLocal, now);
        }
        autoconf
    }

    fn claim(&mut self, cidr: Cidr, origin: Origin, now: Instant) {
        match self.claims.add(cidr, origin, now) {
            true => self.has_changed = true,
            false => self.refused += 1,
        }
    }

    /// Takes over a lease, or the loss of it.
    pub(crate) fn handle_lease(&mut self, lease: Option<Lease>, now: Instant) {
        if self.lease == lease {
            return;
        }
        self.has_changed = true;
        let cidr = lease.as_ref().map(|lease| lease.cidr);
        self.claims
            .retain(|claim| claim.origin != Origin::Dhcp || Some(claim.cidr) == cidr);
        self.lease = lease;
        if let Some(cidr) = cidr {
            self.claim(cidr, Origin::Dhcp, now);
        }
    }

    /// Whether a lease is held.
    pub(crate) fn has_lease(&self) -> bool {
        self.lease.is_some()
    }

    /// Takes in what a router says; counts what of it there is no room for.
    pub(crate) fn handle_router(&mut self, said: &RouterAdvertisement<'_>, now: Instant) {
        let Some(routers) = &mut self.routers else {
            return;
        };
        self.refused += routers.take(said, now);
        for prefix in routers::autonomous(said) {
            let cidr = Cidr {
                address: self.identifiers.in_network(prefix.network).into(),
                prefix: 64,
            };
            self.refused += u64::from(!self.claims.refresh(cidr, &prefix, now));
        }
        self.has_changed = true;
    }

    /// Takes in that another station has, or wants, an address of ours, and returns what follows.
    pub(crate) fn handle_conflict(&mut self, address: IpAddr, now: Instant) -> Conflict {
        let conflict = self.claims.handle_conflict(address, now);
        self.has_changed |= matches!(conflict, Conflict::Lost(_));
        conflict
    }

    /// Takes in a question which groups are listened to.
    pub(crate) fn handle_query(&mut self, query: &Query, now: Instant) {
        let scatter = self.claims.jitter().as_millis() as u32;
        self.groups.handle_query(query, scatter, now);
    }

    /// Returns what is to be told of groups now, and from which address: none while the link-local one
    /// may be another's.
    pub(crate) fn poll_report(&mut self, now: Instant) -> Option<(Option<Ipv6Addr>, Report)> {
        self.groups.follow(self.claims.addresses_v6(), now);
        let from = self.claims.settled_link_local();
        if from.is_some() {
            self.groups.name_itself(now);
        }
        let again = self.claims.jitter();
        let report = self.groups.poll_report(again, now)?;
        Some((from, report))
    }

    /// Whether what this host is may have changed since [`poll_host`](Self::poll_host).
    pub(crate) fn has_changed(&self) -> bool {
        self.has_changed
    }

    /// Returns the next thing to be asked or told on the link now, if there is one.
    pub(crate) fn poll_question(&mut self, now: Instant) -> Option<Question> {
        self.has_changed |= self.claims.expire(now);
        if let Some(routers) = &mut self.routers {
            self.has_changed |= routers.expire(now);
        }
        let (question, has_settled) = self.claims.poll_question(now);
        self.has_changed |= has_settled;
        if question.is_some() {
            return question;
        }
        let from = self.claims.link_local()?;
        let routers = self.routers.as_mut()?;
        routers
            .is_to_be_asked(now)
            .then_some(Question::Routers(from))
    }

    /// Returns when [`poll_question`](Self::poll_question) is to be called next.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let routers = self.routers.as_ref().and_then(Routers::deadline);
        [self.claims.deadline(), self.groups.deadline(), routers]
            .into_iter()
            .flatten()
            .min()
    }

    /// Returns how much there was no room for since the last call.
    pub(crate) fn take_refused(&mut self) -> u64 {
        core::mem::take(&mut self.refused)
    }

    /// Returns what this host is by now, if that has changed since the last call.
    pub(crate) fn poll_host(&mut self, now: Instant) -> Option<Host> {
        if !core::mem::take(&mut self.has_changed) {
            return None;
        }
        let mut host = Host {
            addresses: self.claims.usable(now),
            mtu_v4: self.lease.as_ref().and_then(|lease| lease.mtu),
            mtu_v6: self.routers.as_ref().and_then(Routers::mtu),
            ..Host::default()
        };
        let mut add = |destination: Cidr, gateway: Option<IpAddr>| {
            let route = Route {
                destination,
                gateway,
            };
            if !host.routes.contains(&route) && host.routes.push(route).is_err() {
                self.refused += 1;
            }
        };
        for cidr in self.claims.on_link() {
            add(cidr, None);
        }
        for gateway in &self.gateways {
            add(everything(*gateway), Some(*gateway));
        }
        if let Some(routers) = &self.routers {
            routers.on_link().for_each(|cidr| add(cidr, None));
            if let Some(router) = routers.best() {
                add(everything(router.into()), Some(router.into()));
            }
        }
        for route in self.lease.iter().flat_map(|lease| &lease.routes) {
            add(route.destination, route.gateway);
        }
        Some(host)
    }
}

/// The network of all addresses of a family.
pub(crate) fn everything(like: IpAddr) -> Cidr {
    let address = match like {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    Cidr { address, prefix: 0 }
}
