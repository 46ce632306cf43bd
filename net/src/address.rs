//! The appliance's one IPv4 address: how it is configured, and the words by which all cores learn
//! it. Only the core that configures it writes; every core reads.

use core::net::Ipv4Addr;
use kernel::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Where the address comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressConfig {
    /// Ask a DHCP server (RFC 2131), and follow the lease.
    Dhcp,
    /// Take this one.
    Static(Address),
}

/// An IPv4 address with its network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// Our address.
    pub address: Ipv4Addr,
    /// Bits of the network prefix, 0..=32.
    pub prefix: u8,
    /// The router, if there is one. Answers go to the station a packet came from, so it is only
    /// told, not used.
    pub gateway: Option<Ipv4Addr>,
}

/// The shared words. One writer.
pub(crate) struct AddressWord {
    /// Generation (24 bits), prefix (8 bits, 255 for no address), address (32 bits).
    word: AtomicU64,
    /// The gateway, 0 for none; written before the word.
    gateway: AtomicU32,
}

/// What [`AddressWord`] held at one moment; differs after every change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AddressSeen(u64);

const NO_ADDRESS: u64 = 255;

impl AddressWord {
    pub(crate) fn new() -> Self {
        AddressWord {
            word: AtomicU64::new(NO_ADDRESS << 32),
            gateway: AtomicU32::new(0),
        }
    }

    /// Makes the address known to all cores, or withdraws it.
    pub(crate) fn publish(&self, address: Option<Address>) {
        let generation = (self.word.load(Ordering::Relaxed) >> 40).wrapping_add(1) & 0xff_ffff;
        let gateway = address.and_then(|address| address.gateway);
        self.gateway
            .store(gateway.map_or(0, Ipv4Addr::to_bits), Ordering::Relaxed);
        let low = match address {
            Some(address) => u64::from(address.prefix) << 32 | u64::from(address.address.to_bits()),
            None => NO_ADDRESS << 32,
        };
        self.word.store(generation << 40 | low, Ordering::Release);
    }

    /// Returns what is published, to be compared with what was seen before.
    #[inline]
    pub(crate) fn look(&self) -> AddressSeen {
        AddressSeen(self.word.load(Ordering::Acquire))
    }

    /// Returns the address that belongs to `seen`.
    pub(crate) fn read(&self, seen: AddressSeen) -> Option<Address> {
        let prefix = (seen.0 >> 32) as u8;
        if u64::from(prefix) == NO_ADDRESS {
            return None;
        }
        let gateway = self.gateway.load(Ordering::Relaxed);
        Some(Address {
            address: Ipv4Addr::from_bits(seen.0 as u32),
            prefix,
            gateway: (gateway != 0).then(|| Ipv4Addr::from_bits(gateway)),
        })
    }
}

impl AddressSeen {
    /// What a core has seen that has not looked yet.
    pub(crate) const NOTHING: AddressSeen = AddressSeen(u64::MAX);
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_is_published_is_read() {
        let word = AddressWord::new();
        assert_eq!(word.read(word.look()), None);
        let address = Address {
            address: Ipv4Addr::new(192, 168, 1, 77),
            prefix: 24,
            gateway: Some(Ipv4Addr::new(192, 168, 1, 1)),
        };
        word.publish(Some(address));
        let seen = word.look();
        assert_eq!(word.read(seen), Some(address));
        word.publish(Some(address));
        assert_ne!(word.look(), seen, "every publication is a change");
        word.publish(None);
        assert_eq!(word.read(word.look()), None);
    }
}
