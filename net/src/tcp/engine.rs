//! The one smoltcp interface of a core: packets in, packets out, next deadline, one socket at a
//! time.

use super::phy::Phy;
use super::socket::Socket;
use crate::address::Address;
use crate::nic::Nic;
use crate::output::Output;
use alloc::vec::Vec;
use kernel::Instant;
use smoltcp::iface::{Config, Interface, PollResult, SocketSet};
use smoltcp::wire::{HardwareAddress, IpCidr, Ipv4Cidr};

/// The interface, and the empty set that strangers are offered to.
pub(crate) struct Engine {
    interface: Interface,
    nobody: SocketSet<'static>,
    seed: u64,
}

impl Engine {
    /// Makes the interface for what `output` can do, without an address. `seed` is the source of
    /// initial sequence numbers.
    pub(crate) fn new<N: Nic>(seed: u64, output: &mut Output<N>, now: Instant) -> Self {
        Engine {
            interface: interface(seed, output, now),
            nobody: SocketSet::new(Vec::new()),
            seed,
        }
    }

    /// Makes the interface anew for an output that has changed.
    pub(crate) fn renew<N: Nic>(&mut self, output: &mut Output<N>, now: Instant) {
        // Not the same sequence of random numbers again.
        self.seed = self.seed.wrapping_add(now.as_nanos() | 1);
        self.interface = interface(self.seed, output, now);
    }

    /// Takes the address, or gives it up; sockets of an address that is gone close when they are
    /// next dispatched.
    pub(crate) fn set_address(&mut self, address: Option<Address>) {
        self.interface.update_ip_addrs(|addresses| {
            addresses.clear();
            if let Some(address) = address {
                // The network does not matter: nothing is routed here.
                let cidr = Ipv4Cidr::new(address.address, 32);
                // An empty list has room for one.
                let _ = addresses.push(IpCidr::Ipv4(cidr));
            }
        });
    }

    /// Offers a packet to one connection; what it answers at once goes to the station `peer`.
    #[inline]
    pub(crate) fn process<N: Nic>(
        &mut self,
        socket: &mut Socket,
        packet: &[u8],
        output: &mut Output<N>,
        peer: [u8; 6],
        now: Instant,
    ) {
        let mut phy = Phy::of_packets(output, peer, Some(packet));
        self.interface
            .poll_ingress_single(at(now), &mut phy, socket.set_mut());
    }

    /// Offers a packet to nobody: RST for a TCP segment that is not one, an echo reply for an
    /// ICMP echo request.
    pub(crate) fn process_stranger<N: Nic>(
        &mut self,
        packet: &[u8],
        output: &mut Output<N>,
        peer: [u8; 6],
        now: Instant,
    ) {
        let mut phy = Phy::of_packets(output, peer, Some(packet));
        self.interface
            .poll_ingress_single(at(now), &mut phy, &mut self.nobody);
    }

    /// Lets one connection send at most one segment, and returns whether it did.
    #[inline]
    pub(crate) fn dispatch<N: Nic>(
        &mut self,
        socket: &mut Socket,
        output: &mut Output<N>,
        peer: [u8; 6],
        now: Instant,
    ) -> bool {
        let mut phy = Phy::of_packets(output, peer, None);
        let result = self
            .interface
            .poll_egress(at(now), &mut phy, socket.set_mut());
        result == PollResult::SocketStateChanged
    }

    /// Returns when a connection is to be dispatched next; a time that is past means now.
    #[inline]
    pub(crate) fn deadline(&mut self, socket: &Socket, now: Instant) -> Option<Instant> {
        let deadline = self.interface.poll_at(at(now), socket.set())?;
        let micros = u64::try_from(deadline.total_micros()).unwrap_or(0);
        Some(Instant::from_nanos(micros.saturating_mul(1000)))
    }
}

fn interface<N: Nic>(seed: u64, output: &mut Output<N>, now: Instant) -> Interface {
    let mut config = Config::new(HardwareAddress::Ip);
    config.random_seed = seed;
    let mut phy = Phy::of_packets(output, [0; 6], None);
    Interface::new(config, &mut phy, at(now))
}

/// The same moment for smoltcp, rounded down to its microseconds.
#[inline]
pub(super) fn at(now: Instant) -> smoltcp::time::Instant {
    smoltcp::time::Instant::from_micros(now.as_micros() as i64)
}
