//! The last 64 bits of an address of ours that is made of a network: of the station's address, or of
//! a secret.
//!
//! With a secret they are opaque and still the same in the same network after every boot (RFC 7217):
//! nobody finds the host in another network by them, or guesses what device it has. A secret has to
//! come from outside, because nothing is kept here.

use crate::flow::{FlowKey, FlowPrf};
use crate::ipv6;
use core::net::Ipv6Addr;

/// How they are made.
pub(super) enum Identifiers {
    /// Of the station's address (RFC 2464 §4).
    Station([u8; 6]),
    /// Of a secret, the network and the station's address (RFC 7217 §5).
    Opaque(FlowPrf, [u8; 6]),
}

impl Identifiers {
    pub(super) fn new(secret: Option<[u8; 16]>, mac: [u8; 6]) -> Self {
        match secret {
            None => Identifiers::Station(mac),
            Some(secret) => Identifiers::Opaque(FlowPrf::new(secret), mac),
        }
    }

    /// Returns our address in a network of 64 bits.
    pub(super) fn in_network(&self, network: Ipv6Addr) -> Ipv6Addr {
        let (prf, mac) = match self {
            Identifiers::Station(mac) => return ipv6::with_interface(network, *mac),
            Identifiers::Opaque(prf, mac) => (prf, mac),
        };
        let [a, b, c, d, e, f] = *mac;
        let station = Ipv6Addr::from_bits(u64::from_be_bytes([0, 0, a, b, c, d, e, f]).into());
        let network = network.to_bits() >> 64 << 64;
        let of = |tried: u16| {
            let key = FlowKey::v6((Ipv6Addr::from_bits(network), tried), (station, 0));
            prf.hash(&key)
        };
        // That three in a row are reserved does not happen.
        let found = (0..3).map(of).find(|identifier| !is_reserved(*identifier));
        Ipv6Addr::from_bits(network | u128::from(found.unwrap_or_else(|| of(3))))
    }
}

/// Whether nobody may be called so (RFC 5453 §3): routers' anycast, and what IANA keeps.
fn is_reserved(identifier: u64) -> bool {
    identifier == 0
        || identifier >> 24 == 0x02_00_5e_ff_fe
        || (0xfdff_ffff_ffff_ff80..=0xfdff_ffff_ffff_ffff).contains(&identifier)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];

    fn network(text: &str) -> Ipv6Addr {
        text.parse().unwrap()
    }

    #[test]
    fn with_a_secret_they_are_stable_and_say_nothing() {
        let ours = Identifiers::new(Some([7; 16]), MAC);
        let one = ours.in_network(network("2001:db8::"));
        assert_eq!(one, ours.in_network(network("2001:db8::1")), "the network");
        assert_eq!(one.segments()[..4], network("2001:db8::").segments()[..4]);
        let others = [
            ours.in_network(network("2001:db8:0:1::")),
            Identifiers::new(Some([8; 16]), MAC).in_network(network("2001:db8::")),
            Identifiers::new(Some([7; 16]), [2; 6]).in_network(network("2001:db8::")),
            Identifiers::new(None, MAC).in_network(network("2001:db8::")),
        ];
        for other in others {
            assert_ne!(one.segments()[4..], other.segments()[4..]);
        }
    }

    #[test]
    fn what_is_reserved_is_nobodys() {
        for identifier in [0, 0xfdff_ffff_ffff_ff80, 0xfdff_ffff_ffff_ffff] {
            assert!(is_reserved(identifier));
        }
        assert!(is_reserved(0x0200_5eff_fe00_5213));
        assert!(!is_reserved(1) && !is_reserved(0xfe00_0000_0000_0000));
    }
}
