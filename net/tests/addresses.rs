//! How addresses come and go, in virtual time: probes, conflicts and defence in both families, what
//! routers advertise and for how long, and that every core knows it.

use kernel::{CoreMask, Instant};
use net::address::{AddressState, Host};
use net::fabric::fabric;
use net::testing::frames::{ipv6, seal_icmpv6};
use net::testing::{
    CLIENT_MAC, Client, ClientPort, Conditions, Datagram, Link, MemoryNic, STACK_ADDRESS,
    STACK_MAC, World,
};
use net::{AddressConfig, Stack};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x77);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// Made of [`STACK_MAC`].
const LINK_LOCAL: &str = "fe80::ff:fe00:1";

/// Two cores with a queue pair each and one without, of which the second sees to the addresses: what
/// comes to the first is to be handed over.
struct Network {
    link: Link,
    port: ClientPort,
    stacks: Vec<Stack<MemoryNic>>,
    now: Instant,
    /// What was sent, and when, in milliseconds.
    sent: Vec<(u64, Vec<u8>)>,
}

impl Network {
    fn new(config: &AddressConfig) -> Self {
        let link = Link::with(Conditions::PERFECT, 0, 2);
        link.capture("addresses");
        let nics = [Some(link.nic(0)), Some(link.nic(1)), None];
        let ports = fabric(&[true, true, false], [1; 16]);
        let mut stacks: Vec<_> = ports
            .into_iter()
            .zip(nics)
            .map(|(port, nic)| Stack::new(World::config(8, 1024), nic, port, Instant::ZERO))
            .collect();
        stacks[1].configure_address(config, Instant::ZERO);
        let mut network = Network {
            port: link.client_port(),
            link,
            stacks,
            now: Instant::ZERO,
            sent: Vec::new(),
        };
        network.run(0);
        network
    }

    fn settle(&mut self) {
        self.link.set_now(self.now);
        let mut is_busy = true;
        while is_busy {
            is_busy = false;
            for stack in &mut self.stacks {
                is_busy |= stack.handle_frames(self.now) > 0;
                stack.handle_timers(self.now);
                is_busy |= stack.poll_transmit(self.now) != CoreMask::EMPTY;
            }
            while let Some(frame) = self.port.receive() {
                self.sent.push((self.now.as_nanos() / 1_000_000, frame));
            }
        }
    }

    fn run(&mut self, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        self.settle();
        while self.now < end {
            let deadlines = self.stacks.iter().filter_map(Stack::next_deadline);
            let next = deadlines.min().unwrap_or(end);
            self.now = next.max(self.now + Duration::from_millis(1)).min(end);
            self.settle();
        }
    }

    fn send(&mut self, frame: &[u8]) {
        self.port.send(frame);
        self.settle();
    }

    /// Returns the addresses of every core, which are the same, with their state.
    fn addresses(&self) -> Vec<(String, AddressState)> {
        let of = |host: &Host| -> Vec<_> {
            let addresses = host.addresses.iter();
            addresses
                .map(|ours| (ours.cidr.to_string(), ours.state))
                .collect()
        };
        let all: Vec<_> = self.stacks.iter().map(|stack| of(stack.host())).collect();
        assert!(all.iter().all(|one| *one == all[0]), "{all:?}");
        all[0].clone()
    }

    fn state(&self, address: &str) -> Option<AddressState> {
        let all = self.addresses();
        let found = all
            .iter()
            .find(|(cidr, _)| cidr.starts_with(&format!("{address}/")));
        found.map(|(_, state)| *state)
    }

    /// Takes the questions and announcements sent so far: when, and what.
    fn take_told(&mut self) -> Vec<(u64, String)> {
        let sent = std::mem::take(&mut self.sent).into_iter();
        sent.filter_map(|(at, frame)| Some((at, describe(&frame)?)))
            .collect()
    }

    fn counter(&self, name: &str) -> u64 {
        let counters = self.stacks.iter().map(|stack| {
            let counters = stack.counters();
            counters
                .iter()
                .find(|(known, _)| *known == name)
                .expect("a counter")
                .1
        });
        counters.sum()
    }
}

/// Says what a frame asks or tells.
fn describe(frame: &[u8]) -> Option<String> {
    let v4 = |at: usize| Ipv4Addr::from(*frame[at..].first_chunk::<4>().unwrap());
    let v6 = |at: usize| Ipv6Addr::from(*frame[at..].first_chunk::<16>().unwrap());
    match (&frame[12..14], frame.get(54)) {
        ([8, 6], _) if frame[21] == 2 => Some(format!("reply {}", v4(28))),
        ([8, 6], _) if v4(28).is_unspecified() => Some(format!("probe {}", v4(38))),
        ([8, 6], _) if v4(28) == v4(38) => Some(format!("announce {}", v4(38))),
        ([0x86, 0xdd], Some(133)) => Some(format!("routers? {}", v6(22))),
        ([0x86, 0xdd], Some(135)) if v6(22).is_unspecified() => Some(format!("probe {}", v6(62))),
        ([0x86, 0xdd], Some(136)) => {
            let flags = frame[58] >> 5;
            Some(format!("advertise {} {flags:03b}", v6(62)))
        }
        _ => None,
    }
}

/// An ARP packet of the peer's.
fn arp(operation: u8, sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let head = [0, 1, 8, 0, 6, 4, 0, operation];
    let parts: [&[u8]; 8] = [
        &[0xff; 6],
        &CLIENT_MAC,
        &[8, 6],
        &head,
        &CLIENT_MAC,
        &sender.octets(),
        &[0; 6],
        &target.octets(),
    ];
    parts.concat()
}

fn icmp(from: Ipv6Addr, to: Ipv6Addr, mut message: Vec<u8>) -> Vec<u8> {
    seal_icmpv6(&mut message, from, to);
    let mut frame = ipv6(58, from, to, &message);
    frame[21] = 255;
    frame
}

fn advertisement(target: &str) -> Vec<u8> {
    let target: Ipv6Addr = target.parse().unwrap();
    let head = [136, 0, 0, 0, 0x20, 0, 0, 0];
    let message = [&head[..], &target.octets(), &[2, 1], &CLIENT_MAC].concat();
    icmp(target, ALL_NODES, message)
}

/// A prefix as a router advertises it: how long it is valid and preferred, in seconds.
fn prefix(network: &str, bits: u8, flags: u8, valid: u32, preferred: u32) -> Vec<u8> {
    let network: Ipv6Addr = network.parse().unwrap();
    let parts: [&[u8]; 5] = [
        &[3, 4, bits, flags],
        &valid.to_be_bytes(),
        &preferred.to_be_bytes(),
        &[0; 4],
        &network.octets(),
    ];
    parts.concat()
}

const ON_LINK_AND_AUTONOMOUS: u8 = 0xc0;

/// What a router says: how long it is to be used, its preference bits, and options.
fn router(from: Ipv6Addr, lifetime: u16, preference: u8, options: &[Vec<u8>]) -> Vec<u8> {
    let [high, low] = lifetime.to_be_bytes();
    let mut message = vec![134, 0, 0, 0, 64, preference << 3, high, low];
    message.extend([0; 8]);
    message.extend(options.concat());
    icmp(from, ALL_NODES, message)
}

fn v4(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 7, 0, last)
}

#[test]
fn an_ipv4_address_is_used_at_once_probed_and_then_announced() {
    let mut network = Network::new(&AddressConfig::fixed(v4(9), 24));
    assert_eq!(network.state("10.7.0.9"), Some(AddressState::Optimistic));
    network.send(&arp(1, v4(1), v4(9)));
    network.run(20_000);
    assert_eq!(network.state("10.7.0.9"), Some(AddressState::Preferred));
    let told = network.take_told();
    let what: Vec<&str> = told.iter().map(|(_, what)| what.as_str()).collect();
    let (probe, announce) = ("probe 10.7.0.9", "announce 10.7.0.9");
    assert_eq!(
        what,
        [probe, "reply 10.7.0.9", probe, probe, announce, announce]
    );
    let at: Vec<u64> = told.iter().map(|(at, _)| *at).collect();
    for (from, to) in [(0, 2), (2, 3)] {
        assert!((1000..2010).contains(&(at[to] - at[from])), "{at:?}");
    }
    assert!((2000..2010).contains(&(at[4] - at[3])), "{at:?}");
    assert!((2000..2010).contains(&(at[5] - at[4])), "{at:?}");
}

#[test]
fn an_ipv4_address_that_another_shows_to_have_is_left_to_it_until_it_is_gone() {
    for (what, frame) in [
        ("a reply", arp(2, v4(9), Ipv4Addr::UNSPECIFIED)),
        ("an announcement", arp(1, v4(9), v4(9))),
        ("a probe", arp(1, Ipv4Addr::UNSPECIFIED, v4(9))),
    ] {
        let mut network = Network::new(&AddressConfig::fixed(v4(9), 24));
        network.run(500);
        network.send(&frame);
        assert_eq!(
            network.state("10.7.0.9"),
            Some(AddressState::Tentative),
            "{what}"
        );
        assert_eq!(network.counter("address_conflicts"), 1);
        network.take_told();
        network.send(&arp(1, v4(1), v4(9)));
        network.run(59_000);
        assert_eq!(
            network.take_told(),
            [],
            "{what}: neither answered nor asked for"
        );
        // The other answers once more, and then no more.
        network.run(2000);
        assert_eq!(network.take_told().len(), 1);
        network.send(&arp(2, v4(9), Ipv4Addr::UNSPECIFIED));
        network.run(61_000);
        assert_eq!(
            network.state("10.7.0.9"),
            Some(AddressState::Tentative),
            "{what}"
        );
        network.run(10_000);
        assert_eq!(
            network.state("10.7.0.9"),
            Some(AddressState::Preferred),
            "{what}"
        );
    }
}

#[test]
fn an_ipv4_address_that_is_ours_is_defended_once_in_a_while_and_kept() {
    let mut network = Network::new(&AddressConfig::fixed(v4(9), 24));
    network.run(20_000);
    network.take_told();
    for _ in 0..25 {
        network.send(&arp(2, v4(9), Ipv4Addr::UNSPECIFIED));
        network.run(1000);
        assert_eq!(network.state("10.7.0.9"), Some(AddressState::Preferred));
    }
    let told = network.take_told();
    assert_eq!(told.len(), 3, "once in 10 s: {told:?}");
    assert!(told.iter().all(|(_, what)| what == "announce 10.7.0.9"));
    // A probe of another is answered.
    network.send(&arp(1, Ipv4Addr::UNSPECIFIED, v4(9)));
    assert_eq!(network.take_told()[0].1, "reply 10.7.0.9");
}

#[test]
fn ipv6_addresses_are_used_at_once_and_asked_for() {
    let fixed: Ipv6Addr = "fd00::9".parse().unwrap();
    let mut network = Network::new(&AddressConfig::fixed(fixed, 64));
    let ask: Ipv6Addr = "fd00::1".parse().unwrap();
    let group: Ipv6Addr = "ff02::1:ff00:9".parse().unwrap();
    let question = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &fixed.octets()].concat();
    network.send(&icmp(ask, group, question.clone()));
    network.run(10_000);
    network.send(&icmp(ask, group, question));
    let told: Vec<String> = network
        .take_told()
        .into_iter()
        .map(|(_, what)| what)
        .collect();
    let expected = [
        "probe fd00::9",
        &format!("probe {LINK_LOCAL}"),
        "advertise fd00::9 010",
        "advertise fd00::9 001",
        &format!("advertise {LINK_LOCAL} 001"),
        "advertise fd00::9 011",
    ];
    assert_eq!(
        told, expected,
        "takes no other's place before it is certain"
    );
    let (ours, local) = ("fd00::9/64".to_string(), format!("{LINK_LOCAL}/64"));
    let preferred = AddressState::Preferred;
    assert_eq!(network.addresses(), [(ours, preferred), (local, preferred)]);
}

#[test]
fn an_ipv6_address_that_another_has_or_asks_for_is_left_to_it() {
    let fixed: Ipv6Addr = "fd00::9".parse().unwrap();
    let group: Ipv6Addr = "ff02::1:ff00:9".parse().unwrap();
    let probe = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &fixed.octets()].concat();
    let others = [
        advertisement("fd00::9"),
        icmp(Ipv6Addr::UNSPECIFIED, group, probe.clone()),
    ];
    for frame in others {
        let mut network = Network::new(&AddressConfig::fixed(fixed, 64));
        network.run(300);
        network.send(&frame);
        assert_eq!(network.state("fd00::9"), Some(AddressState::Tentative));
        network.run(70_000);
        assert_eq!(
            network.state("fd00::9"),
            Some(AddressState::Preferred),
            "gone by then"
        );
        // Now it is ours: a claim of another takes it no more, and its probe is answered.
        network.take_told();
        network.send(&advertisement("fd00::9"));
        assert_eq!(network.state("fd00::9"), Some(AddressState::Preferred));
        network.send(&icmp(Ipv6Addr::UNSPECIFIED, group, probe.clone()));
        network.run(100);
        let told = network.take_told();
        assert!(
            told.iter().all(|(_, what)| what == "advertise fd00::9 001"),
            "{told:?}"
        );
        assert_eq!(told.len(), 2, "defended, and answered to all");
    }
}

#[test]
fn what_routers_advertise_becomes_addresses_and_routes_of_every_core() {
    let mut network = Network::new(&AddressConfig::slaac());
    network.run(500);
    let told = network.take_told();
    let asked = told.iter().filter(|(_, what)| what.starts_with("routers?"));
    assert_eq!(asked.count(), 1);
    assert_eq!(
        network.stacks[2].host().primary(),
        None,
        "link-local alone is nobody's"
    );
    let options = [
        prefix("2001:db8:1::", 64, ON_LINK_AND_AUTONOMOUS, 7200, 3600),
        prefix(
            "2001:db8:2::",
            64,
            ON_LINK_AND_AUTONOMOUS,
            u32::MAX,
            u32::MAX,
        ),
        prefix("2001:db8:3::", 64, 0x80, 7200, 3600),
        prefix("2001:db8:4::", 48, 0x40, 7200, 3600),
        prefix("2001:db8:5::", 64, 0x40, 3600, 7200),
        prefix("fe80::", 64, ON_LINK_AND_AUTONOMOUS, 7200, 3600),
        prefix("ff00::", 64, ON_LINK_AND_AUTONOMOUS, 7200, 3600),
        vec![5, 1, 0, 0, 0, 0, 5, 120],
    ];
    network.send(&router(ROUTER, 1800, 0, &options));
    network.run(3000);
    let addresses = network.addresses();
    let own = ["2001:db8:1::ff:fe00:1/64", "2001:db8:2::ff:fe00:1/64"];
    let all = [format!("{LINK_LOCAL}/64"), own[0].into(), own[1].into()];
    assert_eq!(addresses, all.map(|cidr| (cidr, AddressState::Preferred)));
    let host = network.stacks[2].host();
    assert_eq!(host.mtu_v6, Some(1400));
    let hop = |text: &str| -> Vec<_> {
        let remote: IpAddr = text.parse().unwrap();
        let fitting = host
            .routes
            .iter()
            .filter(|route| route.destination.contains(remote));
        fitting.map(|route| route.gateway).collect()
    };
    assert_eq!(
        hop("2001:db8:3::1").len(),
        2,
        "on the link, and everything's router"
    );
    assert_eq!(hop("2001:db8:9::1"), [Some(IpAddr::V6(ROUTER))]);
    // They stop asking.
    network.take_told();
    network.run(1_000_000);
    let told = network.take_told();
    assert!(
        told.iter().all(|(_, what)| !what.starts_with("routers?")),
        "{told:?}"
    );
}

#[test]
fn advertised_addresses_are_deprecated_and_go_when_their_time_is_over() {
    let mut network = Network::new(&AddressConfig::slaac());
    let option = prefix("2001:db8:1::", 64, ON_LINK_AND_AUTONOMOUS, 10_000, 3000);
    network.send(&router(ROUTER, 9000, 0, &[option]));
    network.run(5000);
    let state = |network: &Network| network.state("2001:db8:1::ff:fe00:1");
    assert_eq!(state(&network), Some(AddressState::Preferred));
    network.run(2_997_000);
    assert_eq!(state(&network), Some(AddressState::Deprecated));
    // A connection that has begun goes on, one of ours begins elsewhere if it can.
    network.run(6_999_000);
    assert_eq!(state(&network), None);
    assert!(
        network.stacks[0]
            .host()
            .routes
            .iter()
            .all(|route| route.gateway.is_none())
    );
}

#[test]
fn nobody_takes_an_address_away_by_a_short_life() {
    let mut network = Network::new(&AddressConfig::slaac());
    let option = |valid, preferred| {
        let option = prefix("2001:db8:1::", 64, ON_LINK_AND_AUTONOMOUS, valid, preferred);
        router(ROUTER, 9000, 0, &[option])
    };
    network.send(&option(100_000, 100_000));
    network.run(5000);
    let state = |network: &Network| network.state("2001:db8:1::ff:fe00:1");
    network.send(&option(1, 1));
    network.run(7_100_000);
    assert_eq!(
        state(&network),
        Some(AddressState::Deprecated),
        "two hours are left to it"
    );
    network.send(&option(1, 1));
    network.run(200_000);
    assert_eq!(state(&network), None, "but not two hours more each time");
    network.send(&option(0, 0));
    assert_eq!(state(&network), None, "nothing begins that is over");
}

#[test]
fn the_router_that_wants_it_most_is_used_as_long_as_it_lives() {
    let mut network = Network::new(&AddressConfig::slaac());
    let named = |last: u16| Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last);
    let used = |network: &Network| {
        let host = network.stacks[0].host();
        host.routes.iter().find_map(|route| route.gateway)
    };
    let (low, medium, high) = (0b11, 0b00, 0b01);
    network.send(&router(named(1), 1800, low, &[]));
    assert_eq!(used(&network), Some(named(1).into()));
    network.send(&router(named(2), 1800, medium, &[]));
    network.send(&router(named(3), 100, high, &[]));
    assert_eq!(used(&network), Some(named(3).into()));
    network.run(101_000);
    assert_eq!(used(&network), Some(named(2).into()));
    network.send(&router(named(2), 0, medium, &[]));
    assert_eq!(used(&network), Some(named(1).into()), "it says good-bye");
    network.take_told();
    network.run(1_800_000);
    assert_eq!(used(&network), None);
    // Nobody is left: they are asked again, more and more seldom.
    let told = network.take_told();
    let asked = told.iter().filter(|(_, what)| what.starts_with("routers?"));
    let at: Vec<u64> = asked.map(|(at, _)| *at / 1000).collect();
    let waits: Vec<u64> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(waits[..3], [4, 8, 16], "{at:?}");
}

#[test]
fn a_flood_of_advertisements_fills_what_there_is_and_pushes_nobody_out() {
    let fixed = AddressConfig::fixed(v4(9), 24).and("fd00::9".parse::<Ipv6Addr>().unwrap(), 64);
    let mut network = Network::new(&AddressConfig {
        slaac: true,
        ..fixed
    });
    let option = prefix("2001:db8:1::", 64, ON_LINK_AND_AUTONOMOUS, 9000, 9000);
    network.send(&router(ROUTER, 9000, 0, &[option]));
    for number in 2..200 {
        let network_text = format!("2001:db8:{number:x}::");
        let option = prefix(&network_text, 64, ON_LINK_AND_AUTONOMOUS, 9000, 9000);
        let named = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, number);
        network.send(&router(named, 9000, 0, &[option]));
    }
    network.run(10_000);
    for kept in ["10.7.0.9", "fd00::9", LINK_LOCAL, "2001:db8:1::ff:fe00:1"] {
        assert_eq!(network.state(kept), Some(AddressState::Preferred), "{kept}");
    }
    assert!(network.addresses().len() <= net::limits::ADDRESSES);
    assert!(network.counter("addresses_refused") > 300);
    let host = network.stacks[0].host();
    let gateways: Vec<_> = host
        .routes
        .iter()
        .filter_map(|route| route.gateway)
        .collect();
    assert_eq!(gateways, [IpAddr::V6(ROUTER)], "the first is kept");
}

#[test]
fn a_connection_to_another_network_goes_through_the_advertised_router() {
    let link = Link::new();
    let port = link.client_port();
    let fabric_port = fabric(&[true], [1; 16]).remove(0);
    let mut stack: Stack<MemoryNic> = Stack::new(
        World::config(8, 1024),
        Some(link.nic(0)),
        fabric_port,
        Instant::ZERO,
    );
    stack.configure_address(&AddressConfig::slaac(), Instant::ZERO);
    let option = prefix("2001:db8:1::", 64, ON_LINK_AND_AUTONOMOUS, 7200, 7200);
    port.send(&router(ROUTER, 1800, 0, &[option]));
    let turn = |stack: &mut Stack<MemoryNic>| -> Vec<Vec<u8>> {
        stack.handle_frames(Instant::ZERO);
        stack.poll_transmit(Instant::ZERO);
        std::iter::from_fn(|| port.receive()).collect()
    };
    turn(&mut stack);
    let far = SocketAddr::new("2001:db8:9::1".parse().unwrap(), 80);
    stack.connect(far, Instant::ZERO).expect("begun");
    let sent = turn(&mut stack);
    // Not asked for as nobody: as the address of the link, at the router's.
    let questions = sent
        .iter()
        .filter(|frame| frame[54] == 135 && frame[22] != 0);
    let targets: Vec<_> = questions.map(|frame| frame[62..78].to_vec()).collect();
    assert_eq!(targets, [ROUTER.octets()]);
    let answer = [
        &[136, 0, 0, 0, 0xe0, 0, 0, 0][..],
        &ROUTER.octets(),
        &[2, 1],
        &CLIENT_MAC,
    ];
    let ours: Ipv6Addr = LINK_LOCAL.parse().unwrap();
    link.client_port()
        .send(&icmp(ROUTER, ours, answer.concat()));
    let sent = turn(&mut stack);
    let syn = sent.iter().find(|frame| frame[20] == 6).expect("a SYN");
    assert_eq!((&syn[..6], &syn[6..12]), (&CLIENT_MAC[..], &STACK_MAC[..]));
    let source: Ipv6Addr = "2001:db8:1::ff:fe00:1".parse().unwrap();
    assert_eq!(syn[22..38], source.octets());
}

#[test]
fn a_router_that_comes_and_goes_all_the_time_costs_no_more_with_many_connections() {
    let looked_at = [4, 3000].map(|connections: usize| {
        let link = Link::new();
        let nic = link.nic(0).with_transmit_frames(4096);
        let config = World::config(2 * connections, 1024);
        let mut world = World::with(&link, config, nic);
        let config = AddressConfig {
            slaac: true,
            ..AddressConfig::fixed(STACK_ADDRESS, 16)
        };
        world.stack.configure_address(&config, Instant::ZERO);
        world.listen(80, connections);
        let mut client = Client::new(&link);
        client.buffer_bytes = 64;
        for _ in 0..connections {
            client.connect(80);
        }
        world.run(&mut client, 100);
        let open = world.stack.counters().established_now;
        assert_eq!(open, connections as u64);
        let before = world.stack.counters();
        let port = link.client_port();
        for number in 0..2000_u16 {
            port.send(&router(ROUTER, 1800 * (number % 2), 0, &[]));
            world.turn();
            world.now = world.now + Duration::from_millis(1);
            link.set_now(world.now);
        }
        let after = world.stack.counters();
        assert_eq!(after.established_now, open);
        assert!(after.router_advertisements >= 2000);
        // In two seconds: few are told to the other cores, and to the log.
        let told = after.host_changes - before.host_changes;
        assert!((10..=16 + 12).contains(&told), "{told}");
        after.connections_looked_at - before.connections_looked_at
    });
    assert_eq!(looked_at, [0, 0]);
}

#[test]
fn connections_of_an_address_that_has_gone_end_in_turns_of_bounded_work() {
    const MANY: usize = 3000;
    let link = Link::new();
    let nic = link.nic(0).with_transmit_frames(8192);
    let config = World::config(2 * MANY, 1024);
    let port = fabric(&[true], [1; 16]).remove(0);
    let mut world = World::with(&link, config.clone(), link.nic(0));
    world.stack = Stack::new(config, Some(nic), port, Instant::ZERO);
    let config = AddressConfig::fixed(STACK_ADDRESS, 16);
    world.stack.configure_address(&config, Instant::ZERO);
    world.listen(80, MANY);
    let mut client = Client::new(&link);
    client.buffer_bytes = 64;
    for _ in 0..MANY {
        client.connect(80);
    }
    world.run(&mut client, 100);
    assert_eq!(world.stack.counters().established_now, MANY as u64);
    // Another shows during the probes that the address is its own.
    link.client_port()
        .send(&arp(2, STACK_ADDRESS, Ipv4Addr::UNSPECIFIED));
    let mut turns = 0;
    while world.stack.counters().established_now > 0 {
        let before = world.stack.counters().connections_looked_at;
        world.turn();
        turns += 1;
        let looked_at = world.stack.counters().connections_looked_at - before;
        // What the end of an address comes to in one turn, and its rest.
        assert!(looked_at <= 2 * u64::from(net::limits::WITHDRAWN_BATCH));
        assert!(turns < 10, "{:?}", world.stack.counters());
    }
    assert!(turns > 1);
    assert!(!world.stack.arm(), "there is no more to do");
}

#[test]
fn every_one_of_several_addresses_is_answered_at_and_from() {
    let v6 = |last: u16| Ipv6Addr::new(0xfd07, 0, 0, 0, 0, 0, 0, last);
    let ours: [IpAddr; 6] = [
        v4(1).into(),
        v4(2).into(),
        Ipv4Addr::new(192, 168, 5, 1).into(),
        v6(0x11).into(),
        v6(0x22).into(),
        "2001:db8::33".parse().unwrap(),
    ];
    let prefix = |address: &IpAddr| if address.is_ipv4() { 24 } else { 64 };
    let config = ours
        .iter()
        .fold(AddressConfig::default(), |config, address| {
            config.and(*address, prefix(address))
        });
    let mut network = Network::new(&config);
    network.run(10_000);
    for to in ours {
        let from: IpAddr = match to {
            IpAddr::V4(_) => v4(77).into(),
            IpAddr::V6(_) => v6(0x77).into(),
        };
        network.sent.clear();
        let ping = Datagram::ping(from, to, &[7; 40]);
        let frame = net::testing::frames::packet(ping.protocol, from, to, &ping.payload);
        network.send(&frame);
        let [(_, reply)] = &network.sent[..] else {
            panic!("{to}: {:?}", network.sent);
        };
        let reply = Datagram::join(std::slice::from_ref(reply)).expect("a packet");
        assert_eq!((reply.from, reply.to), (to, from));
    }
    // And no more than these.
    assert_eq!(network.addresses().len(), ours.len() + 1);
}
