//! The lease of a tiny DHCP server: taken, announced, known to every core, renewed, and lost.

use kernel::{CoreMask, Instant};
use net::fabric::fabric;
use net::testing::{CLIENT_MAC, ClientPort, Link, MemoryNic, STACK_MAC, World};
use net::{AddressConfig, Stack};
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, DhcpMessageType, DhcpOption, DhcpPacket, DhcpRepr,
    EthernetAddress,
};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 7, 0, 2);
const LEASED: Ipv4Addr = Ipv4Addr::new(10, 7, 3, 4);
const LEASE_SECONDS: u32 = 600;

/// Answers DHCP until it is told not to, ARP always, and counts what it sees.
struct Server {
    port: ClientPort,
    answers: bool,
    requests: usize,
    unicasts: usize,
    announcements: Vec<Ipv4Addr>,
    /// What it leases, and says beside that.
    leases: Ipv4Addr,
    options: Vec<(u8, Vec<u8>)>,
    /// Answers that come by unicast alone, to nobody: only a request to all reaches it.
    is_deaf_to_unicast: bool,
    /// Leases that were given back because another has the address.
    declined: Vec<Ipv4Addr>,
    /// Somebody else has the address that is leased.
    is_squatted: bool,
    /// What is asked of it is refused.
    refuses: bool,
    /// Where its packets come from, and the router that it tells.
    source: Ipv4Addr,
    router: Ipv4Addr,
}

impl Server {
    fn poll(&mut self) -> bool {
        let Some(frame) = self.port.receive() else {
            return false;
        };
        match &frame[12..14] {
            [8, 6] => self.process_arp(&frame),
            [8, 0] if frame[23] == 17 && frame[36..38] == [0, 67] => self.process_dhcp(&frame),
            _ => {}
        }
        true
    }

    fn process_arp(&mut self, frame: &[u8]) {
        let packet = ArpPacket::new_checked(&frame[14..]).unwrap();
        let Ok(ArpRepr::EthernetIpv4 {
            operation: ArpOperation::Request,
            source_protocol_addr: source,
            target_protocol_addr: target,
            ..
        }) = ArpRepr::parse(&packet)
        else {
            panic!("a request");
        };
        if source == target {
            self.announcements.push(target);
        } else if target == LEASED && self.is_squatted {
            let parts: [&[u8]; 6] = [
                &[0xff; 6],
                &CLIENT_MAC,
                &[8, 6, 0, 1, 8, 0, 6, 4, 0, 2],
                &CLIENT_MAC,
                &target.octets(),
                &[0; 10],
            ];
            self.port.send(&parts.concat());
        } else if target == SERVER {
            let reply = ArpRepr::EthernetIpv4 {
                operation: ArpOperation::Reply,
                source_hardware_addr: EthernetAddress(CLIENT_MAC),
                source_protocol_addr: SERVER,
                target_hardware_addr: EthernetAddress(STACK_MAC),
                target_protocol_addr: source,
            };
            let mut frame = [STACK_MAC.as_slice(), &CLIENT_MAC, &[8, 6], &[0; 28]].concat();
            reply.emit(&mut ArpPacket::new_unchecked(&mut frame[14..]));
            self.port.send(&frame);
        }
    }

    fn process_dhcp(&mut self, frame: &[u8]) {
        let packet = DhcpPacket::new_checked(&frame[42..]).expect("whole");
        let request = DhcpRepr::parse(&packet).expect("well-formed");
        self.requests += 1;
        let is_unicast = frame[30..34] == SERVER.octets();
        self.unicasts += usize::from(is_unicast);
        if request.message_type == DhcpMessageType::Decline {
            assert_eq!(request.server_identifier, Some(SERVER));
            self.declined.extend(request.requested_ip);
            // Another one from now on.
            self.leases = Ipv4Addr::new(10, 7, 3, 5);
            return;
        }
        if !self.answers || (is_unicast && self.is_deaf_to_unicast) {
            return;
        }
        let options = self.options.iter();
        let options: Vec<_> = options
            .map(|(kind, data)| DhcpOption { kind: *kind, data })
            .collect();
        let reply = DhcpRepr {
            message_type: match request.message_type {
                DhcpMessageType::Discover => DhcpMessageType::Offer,
                _ if self.refuses => DhcpMessageType::Nak,
                _ => DhcpMessageType::Ack,
            },
            your_ip: self.leases,
            server_ip: SERVER,
            server_identifier: Some(SERVER),
            router: Some(self.router),
            subnet_mask: Some(Ipv4Addr::new(255, 255, 0, 0)),
            lease_duration: Some(LEASE_SECONDS),
            requested_ip: None,
            client_identifier: None,
            parameter_request_list: None,
            max_size: None,
            additional_options: &options,
            ..request
        };
        let mut udp = vec![0; 8 + reply.buffer_len()];
        reply
            .emit(&mut DhcpPacket::new_unchecked(&mut udp[8..]))
            .unwrap();
        let length = udp.len() as u16;
        udp[..4].copy_from_slice(&[0, 67, 0, 68]);
        udp[4..6].copy_from_slice(&length.to_be_bytes());
        let frame = net::testing::frames::ipv4(17, self.source, Ipv4Addr::BROADCAST, &udp);
        self.port.send(&frame);
    }
}

struct Network {
    link: Link,
    server: Server,
    stacks: Vec<Stack<MemoryNic>>,
    now: Instant,
}

fn network() -> Network {
    let link = Link::with(net::testing::Conditions::PERFECT, 0, 2);
    link.capture("dhcp");
    let nics = [Some(link.nic(0)), Some(link.nic(1)), None];
    let ports = fabric(&[true, true, false], [1; 16]);
    let mut stacks: Vec<_> = ports
        .into_iter()
        .zip(nics)
        .map(|(port, nic)| Stack::new(World::config(8, 1024), nic, port, Instant::ZERO))
        .collect();
    // Not the core that gets the broadcasts: they have to be handed over.
    stacks[1].configure_address(&AddressConfig::dhcp(), Instant::ZERO);
    Network {
        server: Server {
            port: link.client_port(),
            answers: true,
            requests: 0,
            unicasts: 0,
            announcements: Vec::new(),
            leases: LEASED,
            options: Vec::new(),
            is_deaf_to_unicast: false,
            declined: Vec::new(),
            is_squatted: false,
            refuses: false,
            source: SERVER,
            router: SERVER,
        },
        link,
        stacks,
        now: Instant::ZERO,
    }
}

impl Network {
    fn run(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        while self.now < end {
            self.link.set_now(self.now);
            let mut is_busy = true;
            while is_busy {
                is_busy = self.server.poll();
                for stack in &mut self.stacks {
                    is_busy |= stack.handle_frames(self.now) > 0;
                    stack.handle_timers(self.now);
                    is_busy |= stack.poll_transmit(self.now) != CoreMask::EMPTY;
                }
                let arrival = self.link.next_arrival();
                is_busy |= arrival.is_some_and(|arrival| arrival <= self.now);
            }
            let deadlines = self.stacks.iter().filter_map(Stack::next_deadline);
            let next = deadlines.min().unwrap_or(end);
            self.now = next.max(self.now + Duration::from_millis(1)).min(end);
        }
    }
}

#[test]
fn a_lease_is_taken_announced_and_known_to_every_core() {
    let mut network = network();
    network.run(15);
    for stack in &network.stacks {
        let host = stack.host();
        let leased = host.used().map(|address| address.cidr.to_string());
        assert_eq!(leased.collect::<Vec<_>>(), ["10.7.3.4/16"]);
        let gateways = host.routes.iter().filter_map(|route| route.gateway);
        assert_eq!(gateways.collect::<Vec<_>>(), [IpAddr::V4(SERVER)]);
    }
    assert_eq!(network.server.announcements, [LEASED; 2]);
    assert_eq!(network.stacks[1].counters().dhcp_configured, 1);
    assert!(network.stacks[0].counters().handovers_out > 0);
}

#[test]
fn a_router_or_a_server_that_nothing_can_be_sent_to_ends_nothing() {
    let elsewhere = Ipv4Addr::new(192, 168, 9, 9);
    for router in [
        Ipv4Addr::UNSPECIFIED,
        Ipv4Addr::BROADCAST,
        Ipv4Addr::new(224, 0, 0, 1),
        Ipv4Addr::LOCALHOST,
    ] {
        let mut network = network();
        (network.server.source, network.server.router) = (elsewhere, router);
        network.run(u64::from(LEASE_SECONDS) * 2);
        let host = network.stacks[0].host();
        assert_eq!(host.primary(), Some(LEASED.into()), "router {router}");
        assert!(host.routes.iter().all(|route| route.gateway.is_none()));
    }
    for source in [Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST] {
        let mut network = network();
        network.server.source = source;
        network.run(u64::from(LEASE_SECONDS) * 2);
        assert_eq!(network.stacks[0].host().primary(), None, "server {source}");
    }
}

#[test]
fn a_lease_is_renewed_by_unicast_before_it_ends() {
    let mut network = network();
    network.run(5);
    let requests = network.server.requests;
    network.run(u64::from(LEASE_SECONDS) * 3);
    assert!(network.server.requests > requests + 2);
    assert!(network.server.unicasts > 0, "renewal goes to the server");
    assert_eq!(network.stacks[0].host().primary(), Some(LEASED.into()));
    assert_eq!(network.stacks[1].counters().dhcp_lost, 0);
}

#[test]
fn a_lease_that_is_not_renewed_is_given_up_everywhere_and_taken_again() {
    let mut network = network();
    network.run(5);
    network.server.answers = false;
    network.run(u64::from(LEASE_SECONDS) + 60);
    for stack in &network.stacks {
        assert_eq!(stack.host().primary(), None);
    }
    assert_eq!(network.stacks[1].counters().dhcp_lost, 1);
    network.server.answers = true;
    network.run(60);
    assert_eq!(network.stacks[2].host().primary(), Some(LEASED.into()));
}

#[test]
fn a_lease_that_its_server_does_not_renew_is_asked_of_all_before_it_ends() {
    let mut network = network();
    network.server.is_deaf_to_unicast = true;
    network.run(u64::from(LEASE_SECONDS) * 3);
    assert!(network.server.unicasts > 0, "the server is asked first");
    let primary = network.stacks[0].host().primary();
    assert_eq!(primary, Some(LEASED.into()));
    assert_eq!(network.stacks[1].counters().dhcp_lost, 0);
}

#[test]
fn a_lease_says_the_packet_size_and_the_ways_to_other_networks() {
    let mut network = network();
    let routes = [
        &[24, 192, 168, 7, 10, 7, 0, 9][..],
        &[0, 10, 7, 0, 8],
        &[32, 10, 9, 9, 9, 0, 0, 0, 0],
    ];
    network.server.options = vec![(26, vec![0x05, 0x14]), (121, routes.concat())];
    network.run(15);
    for stack in &network.stacks {
        let host = stack.host();
        assert_eq!(host.mtu_v4, Some(1300));
        let ways = host.routes.iter().map(|route| {
            let gateway = route.gateway.map(|gateway| gateway.to_string());
            (route.destination.to_string(), gateway)
        });
        let expected = [
            ("10.7.3.4/16", None),
            ("192.168.7.0/24", Some("10.7.0.9")),
            // Not the router of the other option: that is for those who know no better.
            ("0.0.0.0/0", Some("10.7.0.8")),
            ("10.9.9.9/32", None),
        ];
        let expected = expected.map(|(way, through)| (way.to_owned(), through.map(str::to_owned)));
        assert_eq!(ways.collect::<Vec<_>>(), expected);
    }
    // A segment fits a packet of that size.
    let syn = net::testing::frames::Tcp::new(4000, 2, 1, 0);
    let listener = network.stacks[0].listen(80, CoreMask::first(1), 4);
    listener.expect("a free port");
    let mut tcp = syn.frame()[34..].to_vec();
    net::testing::frames::seal_tcp(&mut tcp, SERVER, LEASED);
    let frame = net::testing::frames::ipv4(6, SERVER, LEASED, &tcp);
    network.server.port.send(&frame);
    // Whichever core's queue it arrives on.
    for _ in 0..2 {
        for stack in &mut network.stacks {
            stack.handle_frames(network.now);
            stack.poll_transmit(network.now);
        }
    }
    let answer = network.server.port.receive().expect("an answer");
    assert_eq!(answer[54..58], [2, 4, 0x04, 0xec], "1300 less 40");
}

#[test]
fn a_lease_whose_address_another_has_is_declined_and_another_one_taken() {
    let mut network = network();
    network.server.is_squatted = true;
    network.run(8);
    assert_eq!(network.server.declined, [LEASED]);
    for stack in &network.stacks {
        assert_eq!(stack.host().primary(), None);
    }
    let requests = network.server.requests;
    network.run(1);
    assert_eq!(network.server.requests, requests, "not at once");
    network.run(20);
    let taken = IpAddr::from([10, 7, 3, 5]);
    for stack in &network.stacks {
        assert_eq!(stack.host().primary(), Some(taken));
    }
    assert_eq!(network.server.declined, [LEASED], "once");
}

#[test]
fn a_server_that_appears_late_is_found_and_asked_seldom_meanwhile() {
    let mut network = network();
    network.server.answers = false;
    network.run(3600);
    let asked = network.server.requests;
    assert!((10..720).contains(&asked), "{asked} in an hour");
    assert_eq!(network.stacks[0].host().primary(), None);
    network.server.answers = true;
    network.run(60);
    assert_eq!(network.stacks[0].host().primary(), Some(LEASED.into()));
    assert_eq!(network.stacks[1].counters().dhcp_lost, 0, "there was none");
}

#[test]
fn a_refusal_takes_the_lease_and_its_connections_at_once_and_another_is_asked_for() {
    let mut network = network();
    network.run(5);
    network.stacks[0]
        .listen(80, CoreMask::first(1), 4)
        .expect("a free port");
    let syn = net::testing::frames::Tcp::new(4000, 2, 1, 0);
    let mut tcp = syn.frame()[34..].to_vec();
    net::testing::frames::seal_tcp(&mut tcp, SERVER, LEASED);
    let frame = net::testing::frames::ipv4(6, SERVER, LEASED, &tcp);
    network.server.port.send(&frame);
    network.run(1);
    assert_eq!(network.stacks[0].counters().half_open_now, 1);
    network.server.refuses = true;
    // Renewal, at half of the lease.
    network.run(u64::from(LEASE_SECONDS) / 2 + 10);
    for stack in &network.stacks {
        assert_eq!(stack.host().primary(), None);
        assert_eq!(stack.counters().slots_now, 0);
    }
    assert_eq!(network.stacks[1].counters().dhcp_lost, 1);
    // A server that offers and refuses is not asked without an end.
    let before = network.server.requests;
    network.run(100);
    let asked = network.server.requests - before;
    assert!((8..=90).contains(&asked), "{asked} in 100 s");
    network.server.refuses = false;
    network.server.leases = Ipv4Addr::new(10, 7, 3, 9);
    network.run(120);
    let another = IpAddr::from([10, 7, 3, 9]);
    assert_eq!(network.stacks[2].host().primary(), Some(another));
}

#[test]
fn a_lease_that_changes_at_renewal_is_followed_by_every_core() {
    let mut network = network();
    network.run(5);
    network.server.options = vec![(26, vec![0x05, 0x00])];
    network.server.router = Ipv4Addr::new(10, 7, 0, 77);
    network.run(u64::from(LEASE_SECONDS));
    for stack in &network.stacks {
        let host = stack.host();
        assert_eq!(host.mtu_v4, Some(1280));
        let mut routes = host.routes.iter();
        let router = Some(IpAddr::from([10, 7, 0, 77]));
        assert!(routes.any(|route| route.gateway == router), "{host:?}");
    }
    assert_eq!(network.stacks[1].counters().dhcp_lost, 0);
}
