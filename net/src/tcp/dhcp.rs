//! The DHCP client (RFC 2131): smoltcp's, on an Ethernet interface of its own that sees only
//! datagrams for the client's port and ARP replies, so that it can renew by unicast.

use super::phy::Phy;
use crate::address::Address;
use crate::nic::Nic;
use crate::output::Output;
use alloc::vec;
use kernel::Instant;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::socket::dhcpv4;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpCidr};

/// The client.
pub(crate) struct DhcpClient {
    interface: Interface,
    set: SocketSet<'static>,
    handle: SocketHandle,
}

/// What became of the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DhcpChange {
    /// This address is ours.
    Configured(Address),
    /// No address is ours any more.
    Lost,
}

impl DhcpClient {
    /// Makes the client for the device of `output`; it begins at the first
    /// [`dispatch`](Self::dispatch). `seed` is the source of transaction ids.
    pub(crate) fn new<N: Nic>(seed: u64, output: &mut Output<N>, now: Instant) -> Self {
        let mac = EthernetAddress(output.info.mac);
        let mut config = Config::new(HardwareAddress::Ethernet(mac));
        config.random_seed = seed;
        let mut set = SocketSet::new(vec![]);
        let handle = set.add(dhcpv4::Socket::new());
        DhcpClient {
            interface: Interface::new(config, &mut Phy::new(output, None), at(now)),
            set,
            handle,
        }
    }

    /// Takes in a frame: a DHCP datagram or an ARP reply.
    pub(crate) fn process<N: Nic>(&mut self, frame: &[u8], output: &mut Output<N>, now: Instant) {
        let mut phy = Phy::new(output, Some(frame));
        self.interface
            .poll_ingress_single(at(now), &mut phy, &mut self.set);
    }

    /// Sends what is due.
    pub(crate) fn dispatch<N: Nic>(&mut self, output: &mut Output<N>, now: Instant) {
        let mut phy = Phy::new(output, None);
        self.interface.poll_egress(at(now), &mut phy, &mut self.set);
    }

    /// Returns when [`dispatch`](Self::dispatch) is to be called next.
    pub(crate) fn deadline(&mut self, now: Instant) -> Option<Instant> {
        let deadline = self.interface.poll_at(at(now), &self.set)?;
        let micros = u64::try_from(deadline.total_micros()).unwrap_or(0);
        Some(Instant::from_nanos(micros.saturating_mul(1000)))
    }

    /// Returns what became of the lease since the last call.
    pub(crate) fn poll_change(&mut self) -> Option<DhcpChange> {
        let socket = self.set.get_mut::<dhcpv4::Socket>(self.handle);
        let (change, cidr, router) = match socket.poll()? {
            dhcpv4::Event::Configured(config) => {
                let address = Address {
                    address: config.address.address(),
                    prefix: config.address.prefix_len(),
                    gateway: config.router,
                };
                let change = DhcpChange::Configured(address);
                (change, Some(IpCidr::Ipv4(config.address)), config.router)
            }
            dhcpv4::Event::Deconfigured => (DhcpChange::Lost, None, None),
        };
        self.interface.update_ip_addrs(|addresses| {
            addresses.clear();
            // An empty list has room for one.
            let _ = cidr.map(|cidr| addresses.push(cidr));
        });
        let routes = self.interface.routes_mut();
        routes.remove_default_ipv4_route();
        // Without room for one route there is none, and renewal falls back to broadcast.
        let _ = router.map(|router| routes.add_default_ipv4_route(router));
        Some(change)
    }
}

/// The same moment for smoltcp, rounded down to its microseconds.
fn at(now: Instant) -> smoltcp::time::Instant {
    smoltcp::time::Instant::from_micros(now.as_micros() as i64)
}
