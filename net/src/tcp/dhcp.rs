//! The DHCP client (RFC 2131): smoltcp's, on an Ethernet interface of its own that sees only
//! datagrams for the client's port and ARP replies, so that it can renew by unicast. What the lease
//! says beside the address is read here: the packet size (RFC 2132 §5.1), classless routes (RFC 3442);
//! and a lease whose address another station has is declined (RFC 2131 §3.1.5).

use super::phy::Phy;
use crate::address::{Cidr, Route};
use crate::autoconf::everything;
use crate::demux::IPPROTO_UDP;
use crate::ipv4::{IPV4_HEADER_BYTES, is_host};
use crate::limits::{DECLINE_WAIT, DHCP_FRAMES, LEASE_ROUTES};
use crate::nic::Nic;
use crate::output::Output;
use alloc::boxed::Box;
use alloc::vec;
use core::net::Ipv4Addr;
use heapless::Vec;
use kernel::Instant;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::socket::dhcpv4;
use smoltcp::wire::{
    DhcpMessageType, DhcpPacket, DhcpRepr, EthernetAddress, HardwareAddress, IpCidr, UdpPacket,
    UdpRepr,
};

/// What is asked for beside the address: its network, routes, the router, the packet size. Routes
/// before the router, as RFC 3442 has it.
const ASKED: &[u8] = &[SUBNET_MASK, CLASSLESS_ROUTES, ROUTER, INTERFACE_MTU];
const SUBNET_MASK: u8 = 1;
const ROUTER: u8 = 3;
const INTERFACE_MTU: u8 = 26;
const CLASSLESS_ROUTES: u8 = 121;

/// Bytes of the largest message that is looked at.
const MESSAGE_BYTES: usize = 1500;
/// Bytes of the routes of one lease that are looked at.
const ROUTES_BYTES: usize = 255;

/// The client.
pub(crate) struct DhcpClient {
    interface: Interface,
    set: SocketSet<'static>,
    handle: SocketHandle,
    /// Who gave the lease, and the address.
    giver: Option<(Ipv4Addr, Ipv4Addr)>,
    /// After a lease was declined, or too much was asked: nothing is asked before.
    waits_until: Option<Instant>,
    /// So much was asked since then.
    asked: u64,
    asked_since: Instant,
    /// Source of the transaction ids of what is declined.
    seed: u64,
}

/// What a server leases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) cidr: Cidr,
    /// The link's packet size, in bytes, if the server says it.
    pub(crate) mtu: Option<u16>,
    pub(crate) routes: Vec<Route, LEASE_ROUTES>,
}

/// What became of the lease.
#[expect(
    clippy::large_enum_variant,
    reason = "there is one at a time, on its way"
)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DhcpChange {
    /// This is leased to us.
    Configured(Lease),
    /// Nothing is leased to us any more.
    Lost,
}

impl DhcpClient {
    /// Makes the client for the device of `output`; it begins at the first
    /// [`dispatch`](Self::dispatch). `seed` is the source of transaction ids.
    pub(crate) fn new<N: Nic>(seed: u64, output: &mut Output<N>, now: Instant) -> Self {
        let mac = EthernetAddress(output.info.mac);
        let mut config = Config::new(HardwareAddress::Ethernet(mac));
        config.random_seed = seed;
        let mut socket = dhcpv4::Socket::new();
        socket.set_parameter_request_list(ASKED);
        // Once, for as long as the appliance lives.
        socket.set_receive_packet_buffer(Box::leak(Box::new([0; MESSAGE_BYTES])));
        let mut set = SocketSet::new(vec![]);
        let handle = set.add(socket);
        DhcpClient {
            interface: Interface::new(config, &mut Phy::new(output, None), at(now)),
            set,
            handle,
            giver: None,
            waits_until: None,
            asked: 0,
            asked_since: now,
            seed,
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
        if self.waits_until.is_some_and(|until| until > now) {
            return;
        }
        self.waits_until = None;
        let before = output.sent_frames();
        let mut phy = Phy::new(output, None);
        self.interface.poll_egress(at(now), &mut phy, &mut self.set);
        if now.saturating_since(self.asked_since) >= DECLINE_WAIT {
            (self.asked, self.asked_since) = (0, now);
        }
        self.asked += output.sent_frames() - before;
        if self.asked >= DHCP_FRAMES {
            // A server that offers and refuses would have us ask without an end.
            self.asked = 0;
            self.waits_until = Some(now + DECLINE_WAIT);
        }
    }

    /// Returns when [`dispatch`](Self::dispatch) is to be called next.
    pub(crate) fn deadline(&mut self, now: Instant) -> Option<Instant> {
        if self.waits_until.is_some() {
            return self.waits_until;
        }
        let deadline = self.interface.poll_at(at(now), &self.set)?;
        let micros = u64::try_from(deadline.total_micros()).unwrap_or(0);
        Some(Instant::from_nanos(micros.saturating_mul(1000)))
    }

    /// Returns what became of the lease since the last call.
    pub(crate) fn poll_change(&mut self) -> Option<DhcpChange> {
        let socket = self.set.get_mut::<dhcpv4::Socket>(self.handle);
        let (change, cidr, router) = match socket.poll()? {
            dhcpv4::Event::Configured(config) => {
                let leased = config.address;
                // A router that no packet can be sent to is as none; smoltcp would stop at it.
                let router = config.router.filter(|router| is_host(*router));
                self.giver = Some((config.server.identifier, leased.address()));
                let cidr = Cidr {
                    address: leased.address().into(),
                    prefix: leased.prefix_len(),
                };
                let lease = read_lease(cidr, router, config.packet.as_ref());
                let change = DhcpChange::Configured(lease);
                (change, Some(IpCidr::Ipv4(leased)), router)
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

    /// Tells the server that another station has the address it leased to us, and asks for one anew,
    /// after a while.
    pub(crate) fn decline<N: Nic>(&mut self, output: &mut Output<N>, now: Instant) {
        if let Some((server, address)) = self.giver.take() {
            self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005) | 1;
            let message = DhcpRepr {
                message_type: DhcpMessageType::Decline,
                transaction_id: (self.seed >> 32) as u32,
                secs: 0,
                client_hardware_address: EthernetAddress(output.info.mac),
                client_ip: Ipv4Addr::UNSPECIFIED,
                your_ip: Ipv4Addr::UNSPECIFIED,
                server_ip: Ipv4Addr::UNSPECIFIED,
                router: None,
                subnet_mask: None,
                relay_agent_ip: Ipv4Addr::UNSPECIFIED,
                broadcast: false,
                requested_ip: Some(address),
                client_identifier: Some(EthernetAddress(output.info.mac)),
                server_identifier: Some(server),
                parameter_request_list: None,
                dns_servers: None,
                max_size: None,
                lease_duration: None,
                renew_duration: None,
                rebind_duration: None,
                additional_options: &[],
            };
            broadcast(&message, output);
        }
        self.set.get_mut::<dhcpv4::Socket>(self.handle).reset();
        self.waits_until = Some(now + DECLINE_WAIT);
    }
}

/// Sends a message of ours to all servers.
fn broadcast<N: Nic>(message: &DhcpRepr<'_>, output: &mut Output<N>) {
    const UDP_HEADER_BYTES: usize = 8;
    let (from, to) = (Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST);
    let udp = UdpRepr {
        src_port: 68,
        dst_port: 67,
    };
    let bytes = message.buffer_len();
    debug_assert!(bytes + UDP_HEADER_BYTES + IPV4_HEADER_BYTES <= MESSAGE_BYTES);
    output.transmit_ipv4(
        [0xff; 6],
        (from, to),
        IPPROTO_UDP,
        UDP_HEADER_BYTES + bytes,
        |packet| {
            let mut packet = UdpPacket::new_unchecked(packet);
            let checksum = ChecksumCapabilities::default();
            let (from, to) = (from.into(), to.into());
            let fill = |payload: &mut [u8]| {
                payload.fill(0);
                // There is room: it says itself how much it takes.
                let _ = message.emit(&mut DhcpPacket::new_unchecked(payload));
            };
            udp.emit(&mut packet, &from, &to, bytes, fill, &checksum);
        },
    );
}

/// Reads what a lease says beside the address.
fn read_lease(cidr: Cidr, router: Option<Ipv4Addr>, packet: Option<&DhcpPacket<&[u8]>>) -> Lease {
    let mut lease = Lease {
        cidr,
        mtu: None,
        routes: Vec::new(),
    };
    // Long options come in parts that are read as one (RFC 3396).
    let mut routes: Vec<u8, ROUTES_BYTES> = Vec::new();
    for option in packet.iter().flat_map(|packet| packet.options()) {
        match (option.kind, option.data) {
            (INTERFACE_MTU, &[high, low]) => {
                let mtu = u16::from_be_bytes([high, low]);
                lease.mtu = (mtu > 0).then_some(mtu);
            }
            // What is beyond the room is as if it had not been told.
            (CLASSLESS_ROUTES, data) => _ = routes.extend_from_slice(data),
            _ => {}
        }
    }
    lease.routes = classless_routes(&routes).collect();
    if lease.routes.is_empty()
        && let Some(router) = router
    {
        // Only without classless routes (RFC 3442).
        let router = router.into();
        let _ = lease.routes.push(Route {
            destination: everything(router),
            gateway: Some(router),
        });
    }
    lease
}

/// Reads the routes of RFC 3442: each a prefix's length, as many of its bytes as that takes, and the
/// router, 0.0.0.0 for none. What is cut short or impossible ends them.
fn classless_routes(mut bytes: &[u8]) -> impl Iterator<Item = Route> {
    core::iter::from_fn(move || {
        let (&prefix, rest) = bytes.split_first()?;
        let network_bytes = usize::from(prefix).div_ceil(8);
        let (network, rest) = rest.split_at_checked(network_bytes)?;
        let (router, rest) = rest.split_first_chunk::<4>()?;
        let mut address = [0; 4];
        address.get_mut(..network_bytes)?.copy_from_slice(network);
        bytes = rest;
        let router = Ipv4Addr::from(*router);
        Some(Route {
            destination: Cidr {
                address: Ipv4Addr::from(address).into(),
                prefix,
            },
            gateway: (!router.is_unspecified()).then_some(router.into()),
        })
    })
    .take(LEASE_ROUTES)
}

/// The same moment for smoltcp, rounded down to its microseconds.
fn at(now: Instant) -> smoltcp::time::Instant {
    smoltcp::time::Instant::from_micros(now.as_micros() as i64)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::vec::Vec as List;

    #[test]
    fn classless_routes_are_read_as_far_as_they_are_whole() {
        let bytes = [
            24, 192, 168, 7, 10, 0, 0, 9, // 192.168.7.0/24 through 10.0.0.9
            0, 10, 0, 0, 1, // everything through 10.0.0.1
            32, 10, 9, 9, 9, 0, 0, 0, 0, // 10.9.9.9 on the link
            33, 1, 2, 3, 4, 5, 1, 1, 1, 1, // no such prefix
        ];
        let route = |network: &str, prefix, gateway: Option<&str>| Route {
            destination: Cidr {
                address: network.parse().unwrap(),
                prefix,
            },
            gateway: gateway.map(|gateway| gateway.parse().unwrap()),
        };
        let expected = [
            route("192.168.7.0", 24, Some("10.0.0.9")),
            route("0.0.0.0", 0, Some("10.0.0.1")),
            route("10.9.9.9", 32, None),
        ];
        assert_eq!(classless_routes(&bytes).collect::<List<_>>(), expected);
        for length in 0..bytes.len() {
            assert!(classless_routes(&bytes[..length]).count() <= 3);
        }
    }
}
