//! What this host is on its link: its addresses, its routes, and how both are configured.
//!
//! Upstream: the command line, `autoconf`. Downstream: every core, by `host_words`.

use crate::ipv6;
use crate::limits::{ADDRESSES, GATEWAYS, ROUTES};
use core::fmt;
use core::net::IpAddr;
use core::str::FromStr;
use heapless::Vec;

/// Where the appliance's addresses come from. Each source may be used beside the others.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AddressConfig {
    /// Ask a DHCP server (RFC 2131), and follow the lease.
    pub dhcp: bool,
    /// Make IPv6 addresses of what routers advertise (RFC 4862).
    pub slaac: bool,
    /// Make the last half of IPv6 addresses that are not fixed of this secret, so that it says nothing
    /// (RFC 7217); without one, of the device's address.
    pub stable_secret: Option<[u8; 16]>,
    /// Take these.
    pub fixed: Vec<Cidr, ADDRESSES>,
    /// The routers of the fixed ones, one of each family at most.
    pub gateways: Vec<IpAddr, GATEWAYS>,
}

impl AddressConfig {
    /// Makes the configuration that asks a DHCP server and nothing else.
    pub fn dhcp() -> Self {
        AddressConfig {
            dhcp: true,
            ..AddressConfig::default()
        }
    }

    /// Makes the configuration that follows routers and nothing else.
    pub fn slaac() -> Self {
        AddressConfig {
            slaac: true,
            ..AddressConfig::default()
        }
    }

    /// Makes the configuration of one address, without a router.
    pub fn fixed(address: impl Into<IpAddr>, prefix: u8) -> Self {
        AddressConfig::default().and(address, prefix)
    }

    /// Adds a fixed address, if there is room for one more.
    pub fn and(mut self, address: impl Into<IpAddr>, prefix: u8) -> Self {
        let address = address.into();
        // Without room it is one of more than anybody has.
        let _ = self.fixed.push(Cidr { address, prefix });
        self
    }

    /// Adds a router, if there is room for one more.
    pub fn through(mut self, gateway: impl Into<IpAddr>) -> Self {
        let _ = self.gateways.push(gateway.into());
        self
    }

    /// Whether IPv6 is to be spoken at all.
    pub(crate) fn has_ipv6(&self) -> bool {
        self.slaac || self.fixed.iter().any(|fixed| fixed.address.is_ipv6())
    }
}

/// An address and how many of its first bits are the network's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    /// The address.
    pub address: IpAddr,
    /// Bits of the network prefix: 0..=32, or 0..=128.
    pub prefix: u8,
}

impl Cidr {
    /// Returns whether an address is in the network.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4()
            && common_bits(self.address, address) >= u32::from(self.prefix)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// A text that is no address with its prefix, such as `10.0.0.2/24` or `fd00::2/64`, that a host can
/// have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotACidr;

impl FromStr for Cidr {
    type Err = NotACidr;

    fn from_str(text: &str) -> Result<Self, NotACidr> {
        let (address, prefix) = text.split_once('/').ok_or(NotACidr)?;
        let address: IpAddr = address.parse().map_err(|_| NotACidr)?;
        let prefix = prefix.parse().map_err(|_| NotACidr)?;
        let is_host = match address {
            IpAddr::V4(address) => {
                prefix <= 32
                    && !address.is_unspecified()
                    && !address.is_multicast()
                    && !address.is_broadcast()
                    && !address.is_loopback()
            }
            IpAddr::V6(address) => prefix <= 128 && ipv6::is_host(address),
        };
        is_host.then_some(Cidr { address, prefix }).ok_or(NotACidr)
    }
}

/// How far an address of ours may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressState {
    /// Not used: another station had it, and it is asked for once more.
    Tentative,
    /// Used, while it is being asked for whether another has it, too (RFC 4429).
    Optimistic,
    /// Used.
    Preferred,
    /// Answered at, but nothing new begins from it (RFC 4862 §5.5.4).
    Deprecated,
}

/// An address of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostAddress {
    /// The address and its network's bits.
    pub cidr: Cidr,
    /// How far it may be used.
    pub state: AddressState,
}

/// Where a network is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// The network.
    pub destination: Cidr,
    /// Through whom; `None` when it is on the link.
    pub gateway: Option<IpAddr>,
}

/// All that a core has to know of what this host is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Host {
    /// Our addresses.
    pub addresses: Vec<HostAddress, ADDRESSES>,
    /// How others are reached.
    pub routes: Vec<Route, ROUTES>,
    /// Largest IPv4 packet, in bytes, if the link takes less than the device.
    pub mtu_v4: Option<u16>,
    /// Largest IPv6 packet, in bytes, if the link takes less than the device.
    pub mtu_v6: Option<u16>,
}

impl Host {
    /// Returns the address by which others know this host first: not of the link alone, and of IPv4
    /// where there is one.
    pub fn primary(&self) -> Option<IpAddr> {
        let addresses = self.used().map(|address| address.cidr.address);
        let global = addresses.filter(|address| !is_of_link_alone(*address));
        global.min_by_key(|address| address.is_ipv6())
    }

    /// Yields the addresses that are used.
    pub fn used(&self) -> impl Iterator<Item = &HostAddress> {
        let addresses = self.addresses.iter();
        addresses.filter(|address| address.state != AddressState::Tentative)
    }

    /// Returns how far an address may be used, if it is ours or may become so.
    pub(crate) fn state_of(&self, address: IpAddr) -> Option<AddressState> {
        let mut addresses = self.addresses.iter();
        let found = addresses.find(|ours| ours.cidr.address == address);
        found.map(|ours| ours.state)
    }

    /// Returns whose station a packet for `remote` goes to: that of the longest prefix; its own when
    /// nothing else is known.
    pub(crate) fn next_hop(&self, remote: IpAddr) -> IpAddr {
        let fitting = self.routes.iter();
        let fitting = fitting.filter(|route| route.destination.contains(remote));
        let best = fitting.max_by_key(|route| (route.destination.prefix, route.gateway.is_none()));
        best.and_then(|route| route.gateway).unwrap_or(remote)
    }

    /// Returns the address of ours that a connection to `remote` begins at: of the same reach, not
    /// deprecated, and with most bits in common (RFC 6724 §5, rules 2, 3 and 8).
    pub(crate) fn source_for(&self, remote: IpAddr) -> Option<IpAddr> {
        let usable = self.used();
        let usable = usable.filter(|ours| ours.cidr.address.is_ipv4() == remote.is_ipv4());
        let best = usable.max_by_key(|ours| {
            let address = ours.cidr.address;
            (
                is_of_link_alone(address) == is_of_link_alone(remote),
                ours.state != AddressState::Deprecated,
                common_bits(address, remote),
            )
        });
        best.map(|ours| ours.cidr.address)
    }
}

/// Whether an address means something on its link alone.
fn is_of_link_alone(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => ipv6::is_link_local(address),
    }
}

/// How many bits two addresses of one family have in common, from the first on.
fn common_bits(one: IpAddr, other: IpAddr) -> u32 {
    match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => (one.to_bits() ^ other.to_bits()).leading_zeros(),
        (IpAddr::V6(one), IpAddr::V6(other)) => (one.to_bits() ^ other.to_bits()).leading_zeros(),
        _ => 0,
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Cidr {
        text.parse().unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn host(addresses: &[(&str, AddressState)], routes: &[(&str, Option<&str>)]) -> Host {
        let addresses = addresses.iter().map(|(text, state)| HostAddress {
            cidr: cidr(text),
            state: *state,
        });
        let routes = routes.iter().map(|(text, gateway)| {
            let (address, prefix) = text.split_once('/').unwrap();
            Route {
                destination: Cidr {
                    address: ip(address),
                    prefix: prefix.parse().unwrap(),
                },
                gateway: gateway.map(ip),
            }
        });
        Host {
            addresses: addresses.collect(),
            routes: routes.collect(),
            ..Host::default()
        }
    }

    #[test]
    fn what_no_host_can_have_is_no_address() {
        for text in [
            "10.0.0.1",
            "10.0.0.1/33",
            "0.0.0.0/8",
            "224.0.0.1/8",
            "127.0.0.1/8",
            "/",
            "fd00::1",
            "fd00::1/129",
            "::/64",
            "::1/128",
            "ff02::1/64",
            "::ffff:10.0.0.1/96",
            "",
        ] {
            assert_eq!(text.parse::<Cidr>(), Err(NotACidr), "{text}");
        }
        assert_eq!(std::format!("{}", cidr("fd00::2/64")), "fd00::2/64");
    }

    #[test]
    fn networks_contain_their_own_and_no_more() {
        assert!(cidr("10.0.0.2/24").contains(ip("10.0.0.200")));
        assert!(!cidr("10.0.0.2/24").contains(ip("10.0.1.2")));
        assert!(!cidr("10.0.0.2/24").contains(ip("::")));
        assert!(cidr("fd00::2/64").contains(ip("fd00::ffff:1")));
        assert!(!cidr("fd00::2/64").contains(ip("fd00:0:0:1::2")));
        assert!(cidr("10.0.0.2/32").contains(ip("10.0.0.2")));
    }

    #[test]
    fn the_longest_prefix_is_the_way() {
        let host = host(
            &[],
            &[
                ("10.0.0.0/24", None),
                ("0.0.0.0/0", Some("10.0.0.1")),
                ("192.168.0.0/16", Some("10.0.0.7")),
                ("::/0", Some("fe80::1")),
                ("fd00::/64", None),
            ],
        );
        for (remote, hop) in [
            ("10.0.0.9", "10.0.0.9"),
            ("10.0.1.9", "10.0.0.1"),
            ("192.168.4.4", "10.0.0.7"),
            ("2001:db8::1", "fe80::1"),
            ("fd00::7", "fd00::7"),
        ] {
            assert_eq!(host.next_hop(ip(remote)), ip(hop), "{remote}");
        }
        assert_eq!(Host::default().next_hop(ip("10.9.9.9")), ip("10.9.9.9"));
    }

    #[test]
    fn a_source_is_of_the_same_reach_and_near() {
        use AddressState::{Deprecated, Preferred};
        let host = host(
            &[
                ("fe80::5/64", Preferred),
                ("fd00::5/64", Preferred),
                ("2001:db8::5/64", Preferred),
                ("2001:db8:1::5/64", Deprecated),
                ("10.0.0.2/24", Preferred),
            ],
            &[],
        );
        for (remote, source) in [
            ("fe80::9", "fe80::5"),
            ("2001:db8::9", "2001:db8::5"),
            ("2001:db8:1::9", "2001:db8::5"),
            ("fd00::77", "fd00::5"),
            ("192.0.2.1", "10.0.0.2"),
        ] {
            assert_eq!(host.source_for(ip(remote)), Some(ip(source)), "{remote}");
        }
        assert_eq!(host.primary(), Some(ip("10.0.0.2")));
        assert_eq!(Host::default().source_for(ip("10.0.0.1")), None);
    }
}
