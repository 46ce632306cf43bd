//! The addresses that this host claims, and whether another has them: probes, announcements and
//! defence (RFC 5227 for IPv4, RFC 4862 §5.4 for IPv6), and lifetimes (RFC 4862 §5.5.4).
//!
//! A claim is used while it is probed. Whoever shows before the probes are over that it has the
//! address keeps it: we leave it, and ask again from time to time, unused then until nobody answers.
//! After that the address is ours, and is defended once in a while: a spoofed claim of another takes
//! it from nobody (RFC 5227 §2.4 (c)).

use crate::address::{AddressState, Cidr, HostAddress};
use crate::limits::{
    ADDRESSES, ANNOUNCE_INTERVAL, CONFLICT_RETRY, DEFEND_INTERVAL, PROBE_INTERVAL, SLAAC_ADDRESSES,
};
use crate::limits::{ANNOUNCE_WAIT, SLAAC_LIFETIME_MIN};
use core::net::{IpAddr, Ipv6Addr};
use core::time::Duration;
use heapless::Vec;
use kernel::Instant;

/// Something to be asked or told on the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Question {
    /// Has anybody this address?
    Probe(IpAddr),
    /// We have this address.
    Announce(IpAddr),
    /// What routers are there? Asked from this address.
    Routers(Ipv6Addr),
}

/// What follows when another station shows that it has an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Conflict {
    /// It is none of ours, or that was said a short while ago.
    Ignored,
    /// We keep it, and are about to say so.
    Defended,
    /// We leave it to the other; true when the DHCP server gave it to us and is to know.
    Lost(bool),
}

/// Where an address comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    Fixed,
    Dhcp,
    LinkLocal,
    Slaac,
}

/// How long the address of an advertised prefix may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lifetimes {
    pub(super) network: Ipv6Addr,
    /// `None` for ever.
    pub(super) valid: Option<Duration>,
    pub(super) preferred: Option<Duration>,
}

/// How far a claim is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// So many probes are still to be sent; used meanwhile.
    Probing(u8),
    /// Another had it: asked for once more, so many probes to go, and not used.
    Asking(u8),
    /// Another has it.
    Lost,
    /// So many announcements are still to be made.
    Announcing(u8),
    Settled,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Claim {
    pub(super) cidr: Cidr,
    pub(super) origin: Origin,
    stage: Stage,
    /// When the next step is due, until it is settled.
    at: Instant,
    defended_at: Option<Instant>,
    preferred_until: Option<Instant>,
    valid_until: Option<Instant>,
}

impl Claim {
    fn is_used(&self) -> bool {
        !matches!(self.stage, Stage::Asking(_) | Stage::Lost)
    }

    /// Probes of the family: RFC 5227 §1.1 has three, RFC 4862 §5.1 one.
    fn probes(&self) -> u8 {
        if self.cidr.address.is_ipv4() { 3 } else { 1 }
    }
}

/// The claims.
pub(super) struct Claims {
    claims: Vec<Claim, ADDRESSES>,
    seed: u64,
}

impl Claims {
    pub(super) fn new(seed: u64) -> Self {
        Claims {
            claims: Vec::new(),
            seed,
        }
    }

    /// Adds an address, unless it is there already; false without room for it.
    pub(super) fn add(&mut self, cidr: Cidr, origin: Origin, now: Instant) -> bool {
        if self.find(cidr.address).is_some() {
            return true;
        }
        let mut claim = Claim {
            cidr,
            origin,
            stage: Stage::Settled,
            at: now,
            defended_at: None,
            preferred_until: None,
            valid_until: None,
        };
        claim.stage = Stage::Probing(claim.probes());
        self.claims.push(claim).is_ok()
    }

    /// Takes in how long the address of an advertised prefix may be used from now on, and adds it when
    /// it is new (RFC 4862 §5.5.3); false without room for it.
    pub(super) fn refresh(&mut self, cidr: Cidr, told: &Lifetimes, now: Instant) -> bool {
        let until = |lifetime: Option<Duration>| lifetime.map(|lifetime| now + lifetime);
        let known = self.find(cidr.address).is_some();
        if !known {
            let made = self.claims.iter();
            let made = made.filter(|claim| claim.origin == Origin::Slaac).count();
            if told.valid == Some(Duration::ZERO) {
                return true;
            }
            if made >= SLAAC_ADDRESSES || !self.add(cidr, Origin::Slaac, now) {
                return false;
            }
        }
        let Some(claim) = self.find(cidr.address) else {
            return false;
        };
        if claim.origin != Origin::Slaac {
            return true;
        }
        claim.preferred_until = until(told.preferred);
        let left = claim.valid_until.map(|at| at.saturating_since(now));
        // Nobody takes an address away at once (e): an unauthenticated word leaves it two hours.
        claim.valid_until = match (told.valid, left) {
            (Some(valid), _) if !known => Some(now + valid),
            (None, _) => None,
            (Some(valid), Some(left)) if valid > SLAAC_LIFETIME_MIN || valid > left => {
                Some(now + valid)
            }
            (Some(_), Some(left)) if left <= SLAAC_LIFETIME_MIN => claim.valid_until,
            (Some(valid), _) => Some(now + valid.max(SLAAC_LIFETIME_MIN)),
        };
        true
    }

    /// Gives up the claims that do not fit.
    pub(super) fn retain(&mut self, fits: impl FnMut(&Claim) -> bool) {
        self.claims.retain(fits);
    }

    /// Gives up what may not be used any longer; true when something has changed by time.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        let count = self.claims.len();
        self.claims
            .retain(|claim| claim.valid_until.is_none_or(|at| at > now));
        let mut has_changed = self.claims.len() != count;
        for claim in &mut self.claims {
            // Once: the address shows as deprecated from then on.
            if claim
                .preferred_until
                .is_some_and(|at| at <= now && at != Instant::ZERO)
            {
                claim.preferred_until = Some(Instant::ZERO);
                has_changed = true;
            }
        }
        has_changed
    }

    /// See [`Autoconf::handle_conflict`](super::Autoconf::handle_conflict).
    pub(super) fn handle_conflict(&mut self, address: IpAddr, now: Instant) -> Conflict {
        let Some(claim) = self.find(address) else {
            return Conflict::Ignored;
        };
        match claim.stage {
            Stage::Probing(_) => {
                claim.stage = Stage::Lost;
                claim.at = now + CONFLICT_RETRY;
                let is_leased = claim.origin == Origin::Dhcp;
                if is_leased {
                    self.retain(|claim| claim.cidr.address != address);
                }
                Conflict::Lost(is_leased)
            }
            Stage::Asking(_) | Stage::Lost => {
                claim.stage = Stage::Lost;
                claim.at = now + CONFLICT_RETRY;
                Conflict::Ignored
            }
            Stage::Announcing(_) | Stage::Settled => {
                let was = claim.defended_at.map(|at| now.saturating_since(at));
                if was.is_some_and(|was| was < DEFEND_INTERVAL) {
                    return Conflict::Ignored;
                }
                claim.defended_at = Some(now);
                claim.stage = Stage::Announcing(1);
                claim.at = now;
                Conflict::Defended
            }
        }
    }

    /// Returns what is to be asked or told now, and whether an address is more ours than before.
    pub(super) fn poll_question(&mut self, now: Instant) -> (Option<Question>, bool) {
        let mut has_settled = false;
        for place in 0..self.claims.len() {
            let jitter = self.jitter();
            let claim = &mut self.claims[place];
            if claim.at > now {
                continue;
            }
            let address = claim.cidr.address;
            let wait = match address {
                IpAddr::V4(_) => PROBE_INTERVAL + jitter,
                IpAddr::V6(_) => PROBE_INTERVAL,
            };
            match claim.stage {
                Stage::Settled => continue,
                Stage::Lost => claim.stage = Stage::Asking(claim.probes()),
                Stage::Probing(0) | Stage::Asking(0) => {
                    has_settled = true;
                    claim.stage = Stage::Announcing(if address.is_ipv4() { 2 } else { 1 });
                }
                _ => {}
            }
            match &mut claim.stage {
                Stage::Probing(left) | Stage::Asking(left) => {
                    *left -= 1;
                    claim.at = now
                        + if *left == 0 && address.is_ipv4() {
                            ANNOUNCE_WAIT
                        } else {
                            wait
                        };
                    return (Some(Question::Probe(address)), has_settled);
                }
                Stage::Announcing(left) => {
                    *left -= 1;
                    claim.at = now + ANNOUNCE_INTERVAL;
                    if *left == 0 {
                        claim.stage = Stage::Settled;
                    }
                    return (Some(Question::Announce(address)), has_settled);
                }
                Stage::Settled | Stage::Lost => {}
            }
        }
        (None, has_settled)
    }

    /// Returns when something is to be done next.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let moments = self.claims.iter().flat_map(|claim| {
            let step = (claim.stage != Stage::Settled).then_some(claim.at);
            let deprecation = claim.preferred_until.filter(|at| *at != Instant::ZERO);
            [step, deprecation, claim.valid_until]
        });
        moments.flatten().min()
    }

    /// Returns the addresses of ours.
    pub(super) fn usable(&self, now: Instant) -> Vec<HostAddress, ADDRESSES> {
        let states = self.claims.iter().map(|claim| HostAddress {
            cidr: claim.cidr,
            state: match claim.stage {
                Stage::Asking(_) | Stage::Lost => AddressState::Tentative,
                Stage::Probing(_) => AddressState::Optimistic,
                _ if claim.preferred_until.is_some_and(|at| at <= now) => AddressState::Deprecated,
                _ => AddressState::Preferred,
            },
        });
        states.collect()
    }

    /// Yields the networks that are on the link because an address of ours says so: not those of
    /// routers, which say it themselves (RFC 5942 §4).
    pub(super) fn on_link(&self) -> impl Iterator<Item = Cidr> {
        let told = self.claims.iter();
        let told = told.filter(|claim| claim.origin != Origin::Slaac && claim.is_used());
        told.map(|claim| claim.cidr)
    }

    /// Yields all IPv6 addresses, those that are not used, too: what is said about them is to be heard.
    pub(super) fn addresses_v6(&self) -> impl Iterator<Item = Ipv6Addr> {
        let claims = self.claims.iter();
        claims.filter_map(|claim| match claim.cidr.address {
            IpAddr::V6(address) => Some(address),
            IpAddr::V4(_) => None,
        })
    }

    /// Returns the link-local address, once nobody else has it.
    pub(super) fn settled_link_local(&self) -> Option<Ipv6Addr> {
        let own = self.link_local()?;
        let mut claims = self.claims.iter();
        let claim = claims.find(|claim| claim.cidr.address == IpAddr::V6(own))?;
        matches!(claim.stage, Stage::Announcing(_) | Stage::Settled).then_some(own)
    }

    /// Returns the link-local address, while it is used.
    pub(super) fn link_local(&self) -> Option<Ipv6Addr> {
        let mut own = self.claims.iter();
        let own = own.find(|claim| claim.origin == Origin::LinkLocal && claim.is_used())?;
        match own.cidr.address {
            IpAddr::V6(address) => Some(address),
            IpAddr::V4(_) => None,
        }
    }

    fn find(&mut self, address: IpAddr) -> Option<&mut Claim> {
        let mut claims = self.claims.iter_mut();
        claims.find(|claim| claim.cidr.address == address)
    }

    /// Up to a second, another each time (the generator of Knuth's MMIX).
    pub(super) fn jitter(&mut self) -> Duration {
        let next = self.seed.wrapping_mul(6_364_136_223_846_793_005);
        self.seed = next.wrapping_add(1_442_695_040_888_963_407);
        Duration::from_millis((self.seed >> 33) % 1000)
    }
}
