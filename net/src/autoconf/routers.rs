//! What routers advertise (RFC 4861 §6.3.4): the routers themselves, the networks on the link, and the
//! link's packet size; and when they are asked (RFC 4861 §6.3.7, RFC 7559).
//!
//! Everything is bounded and keeps its place until its lifetime is over, so that an advertisement
//! with new names pushes nobody out.

use super::claims::Lifetimes;
use crate::address::Cidr;
use crate::ipv6;
use crate::limits::{MTU_MIN_IPV6_BYTES, ON_LINK_PREFIXES, ROUTERS, SOLICIT_FIRST, SOLICIT_MOST};
use crate::ndp::{RouterAdvertisement, RouterOption};
use core::net::Ipv6Addr;
use core::time::Duration;
use heapless::Vec;
use kernel::Instant;
use smoltcp::wire::NdiscPrefixInfoFlags as Flags;

pub(super) struct Routers {
    routers: Vec<Router, ROUTERS>,
    prefixes: Vec<Prefix, ON_LINK_PREFIXES>,
    mtu: Option<u16>,
    /// When they are to be asked next, and after how long again.
    ask_at: Option<Instant>,
    interval: Duration,
}

struct Router {
    address: Ipv6Addr,
    preference: i8,
    until: Instant,
}

struct Prefix {
    cidr: Cidr,
    /// `None` for ever.
    until: Option<Instant>,
}

impl Routers {
    pub(super) fn new(now: Instant) -> Self {
        Routers {
            routers: Vec::new(),
            prefixes: Vec::new(),
            mtu: None,
            ask_at: Some(now),
            interval: SOLICIT_FIRST,
        }
    }

    /// Takes in what a router says; returns how much of it there was no room for.
    pub(super) fn take(&mut self, said: &RouterAdvertisement<'_>, now: Instant) -> u64 {
        let mut refused = u64::from(!self.take_router(said, now));
        for option in said.options() {
            match option {
                RouterOption::Mtu(mtu) => {
                    let mtu = u16::try_from(mtu).unwrap_or(u16::MAX);
                    self.mtu = (mtu >= MTU_MIN_IPV6_BYTES).then_some(mtu).or(self.mtu);
                }
                RouterOption::Prefix(told) if told.flags.contains(Flags::ON_LINK) => {
                    let cidr = Cidr {
                        address: told.prefix.into(),
                        prefix: told.prefix_len,
                    };
                    // Known by itself, or nonsense.
                    if told.prefix_len <= 128 && !ipv6::is_link_local(told.prefix) {
                        let valid = lifetime(told.valid_lifetime.secs());
                        refused += u64::from(!self.take_prefix(cidr, valid, now));
                    }
                }
                RouterOption::Prefix(_) => {}
            }
        }
        if !self.routers.is_empty() {
            self.ask_at = None;
            self.interval = SOLICIT_FIRST;
        }
        refused
    }

    fn take_router(&mut self, said: &RouterAdvertisement<'_>, now: Instant) -> bool {
        // What says good-bye is over now.
        let router = Router {
            address: said.router,
            preference: said.preference,
            until: now + Duration::from_secs(said.lifetime_s.into()),
        };
        let mut known = self.routers.iter_mut();
        match known.find(|router| router.address == said.router) {
            Some(known) => *known = router,
            None if said.lifetime_s == 0 => {}
            None => return self.routers.push(router).is_ok(),
        }
        true
    }

    fn take_prefix(&mut self, cidr: Cidr, valid: Option<Duration>, now: Instant) -> bool {
        let until = valid.map(|valid| now + valid);
        let mut known = self.prefixes.iter_mut();
        match known.find(|prefix| prefix.cidr == cidr) {
            Some(known) => known.until = until,
            None if valid == Some(Duration::ZERO) => {}
            None => return self.prefixes.push(Prefix { cidr, until }).is_ok(),
        }
        true
    }

    /// Forgets whose time is over; true when there was such a one.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        let count = self.routers.len() + self.prefixes.len();
        self.routers.retain(|router| router.until > now);
        self.prefixes
            .retain(|prefix| prefix.until.is_none_or(|until| until > now));
        let has_changed = self.routers.len() + self.prefixes.len() != count;
        if has_changed && self.routers.is_empty() {
            self.ask_at.get_or_insert(now);
        }
        has_changed
    }

    /// Whether routers are to be asked now; that counts as done.
    pub(super) fn is_to_be_asked(&mut self, now: Instant) -> bool {
        let is_time = self.ask_at.is_some_and(|at| at <= now);
        if is_time {
            self.ask_at = Some(now + self.interval);
            self.interval = (2 * self.interval).min(SOLICIT_MOST);
        }
        is_time
    }

    /// Returns when something is to be done next.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let routers = self.routers.iter().map(|router| router.until);
        let prefixes = self.prefixes.iter().filter_map(|prefix| prefix.until);
        routers.chain(prefixes).chain(self.ask_at).min()
    }

    /// Returns the router to be used: of those that want it most, the one first in the table.
    pub(super) fn best(&self) -> Option<Ipv6Addr> {
        let routers = self.routers.iter().rev();
        let best = routers.max_by_key(|router| router.preference)?;
        Some(best.address)
    }

    /// Yields the networks on the link.
    pub(super) fn on_link(&self) -> impl Iterator<Item = Cidr> {
        self.prefixes.iter().map(|prefix| prefix.cidr)
    }

    /// Returns the link's packet size, if a router has told it.
    pub(super) fn mtu(&self) -> Option<u16> {
        self.mtu
    }
}

/// Yields the prefixes that addresses are to be made of (RFC 4862 §5.5.3 (a)–(d)).
pub(super) fn autonomous(said: &RouterAdvertisement<'_>) -> impl Iterator<Item = Lifetimes> {
    said.options().filter_map(|option| {
        let RouterOption::Prefix(told) = option else {
            return None;
        };
        let is_fit = told.is_valid_prefix_info()
            && told.prefix_len == 64
            && ipv6::is_host(ipv6::with_interface(told.prefix, [0; 6]));
        is_fit.then(|| Lifetimes {
            network: told.prefix,
            valid: lifetime(told.valid_lifetime.secs()),
            preferred: lifetime(told.preferred_lifetime.secs()),
        })
    })
}

/// A lifetime, of which the longest means for ever (RFC 4861 §4.6.2).
fn lifetime(seconds: u64) -> Option<Duration> {
    (seconds < u64::from(u32::MAX)).then(|| Duration::from_secs(seconds))
}
