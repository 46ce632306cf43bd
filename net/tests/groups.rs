//! Which groups are listened to is told to routers and to switches that snoop (RFC 3810, RFC 2710),
//! in virtual time.

use kernel::Instant;
use net::fabric::fabric;
use net::testing::frames::{ipv6, seal_icmpv6};
use net::testing::{Link, STACK_ADDRESS_V6, World};
use net::{AddressConfig, Stack};
use std::net::Ipv6Addr;
use std::time::Duration;

const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x77);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// Of the fixed address, and of the link-local one made of the stack's station.
const GROUP: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 1);
const OTHER: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 9);

const LISTENING: u8 = 2;
const JOINED: u8 = 4;

/// What the stack has told: when, in milliseconds; from whom; to whom; and what of which groups.
type Told = (u64, Ipv6Addr, Ipv6Addr, Vec<(u8, Ipv6Addr)>);

struct Wire {
    link: Link,
    world: World,
}

impl Wire {
    /// A host whose fixed address is in another group than its link-local one.
    fn new() -> Self {
        let link = Link::new();
        link.capture("groups");
        let mut world = World::new(&link);
        let port = fabric(&[true], [0x5a; 16]).remove(0);
        let nic = link.nic(0);
        world.stack = Stack::new(World::config(8, 1024), Some(nic), port, Instant::ZERO);
        let fixed = Ipv6Addr::from_bits(STACK_ADDRESS_V6.to_bits() | 8);
        let config = AddressConfig::fixed(fixed, 64);
        world.stack.configure_address(&config, Instant::ZERO);
        Wire { link, world }
    }

    fn run(&mut self, ms: u64) -> Vec<Told> {
        let (end, port) = (
            self.world.now + Duration::from_millis(ms),
            self.link.client_port(),
        );
        let mut told = Vec::new();
        loop {
            self.link.set_now(self.world.now);
            while self.world.turn() {}
            let at = self.world.now.as_nanos() / 1_000_000;
            let frames = std::iter::from_fn(|| port.receive());
            told.extend(frames.filter_map(|frame| read(at, &frame)));
            if self.world.now >= end {
                return told;
            }
            let next = self.world.stack.next_deadline().unwrap_or(end);
            self.world.now = next.max(self.world.now + Duration::from_millis(1)).min(end);
        }
    }

    fn ask(&mut self, query: &[u8]) {
        self.link.client_port().send(query);
    }
}

/// Reads a report, each of whose headers is as it has to be.
fn read(at: u64, frame: &[u8]) -> Option<Told> {
    let address = |at: usize| Some(Ipv6Addr::from(*frame.get(at..)?.first_chunk::<16>()?));
    if frame.get(12..14)? != [0x86, 0xdd] || frame[20] != 0 {
        return None;
    }
    assert_eq!(frame[21], 1, "one hop");
    assert_eq!(frame[54..62], [58, 0, 5, 2, 0, 0, 1, 0], "router alert");
    let (from, to) = (address(22)?, address(38)?);
    let group = to.octets();
    assert_eq!(
        frame[..6],
        [0x33, 0x33, group[12], group[13], group[14], group[15]]
    );
    let message = &frame[62..];
    let mut sealed = message.to_vec();
    seal_icmpv6(&mut sealed, from, to);
    assert_eq!(sealed, message, "the checksum");
    let records = match message[0] {
        143 => {
            let records = message[8..].chunks(20);
            assert_eq!(records.len(), usize::from(message[7]));
            let group = |record: &[u8]| Ipv6Addr::from(*record[4..].first_chunk::<16>().unwrap());
            records.map(|record| (record[0], group(record))).collect()
        }
        kind => {
            assert_eq!(message.len(), 24);
            vec![(kind, address(70)?)]
        }
    };
    Some((at, from, to, records))
}

/// A question of either version: within how many milliseconds it is to be answered.
fn query(group: Ipv6Addr, within: u16, is_old: bool) -> Vec<u8> {
    let to = if group.is_unspecified() {
        ALL_NODES
    } else {
        group
    };
    let [high, low] = within.to_be_bytes();
    let mut message = [&[130, 0, 0, 0, high, low, 0, 0][..], &group.octets()].concat();
    if !is_old {
        message.extend([2, 125, 0, 0]);
    }
    seal_icmpv6(&mut message, ROUTER, to);
    let alert = [58, 0, 5, 2, 0, 0, 1, 0];
    let mut frame = ipv6(0, ROUTER, to, &[&alert[..], &message].concat());
    frame[21] = 1;
    frame
}

const V2_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16);

#[test]
fn the_groups_of_our_addresses_are_told_before_anybody_asks() {
    let mut wire = Wire::new();
    let told = wire.run(20_000);
    let groups = vec![(JOINED, OTHER), (JOINED, GROUP)];
    let what: Vec<_> = told.iter().map(|told| (told.2, told.3.clone())).collect();
    let report = (V2_ROUTERS, groups);
    assert_eq!(what, [report.clone(), report.clone(), report]);
    assert_eq!(told[0].0, 0, "before the address is asked for");
    assert!(told[1].0 <= 1010, "{told:?}");
    // As nobody, while another may have the address of the link; and then once by name.
    assert_eq!(told[0].1, Ipv6Addr::UNSPECIFIED);
    assert_eq!(told[2].1.segments()[0], 0xfe80);
}

#[test]
fn questions_are_answered_within_their_time_about_what_they_ask() {
    let mut wire = Wire::new();
    wire.run(20_000);
    for _ in 0..20 {
        let asked_at = wire.world.now.as_nanos() / 1_000_000;
        wire.ask(&query(Ipv6Addr::UNSPECIFIED, 4000, false));
        let told = wire.run(10_000);
        let [(at, from, to, what)] = &told[..] else {
            panic!("{told:?}");
        };
        assert!(at - asked_at <= 4001, "{at}");
        assert_eq!((from.segments()[0], *to), (0xfe80, V2_ROUTERS));
        assert_eq!(what[..], [(LISTENING, OTHER), (LISTENING, GROUP)]);
    }
    wire.ask(&query(OTHER, 1000, false));
    let told = wire.run(10_000);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].3, [(LISTENING, OTHER)]);
    // Of two at once the answer to both is one.
    wire.ask(&query(OTHER, 1000, false));
    wire.ask(&query(Ipv6Addr::UNSPECIFIED, 1000, false));
    assert_eq!(wire.run(10_000)[0].3.len(), 2);
}

#[test]
fn an_older_router_is_answered_as_it_understands_until_it_is_gone() {
    let mut wire = Wire::new();
    wire.run(20_000);
    wire.ask(&query(Ipv6Addr::UNSPECIFIED, 1000, true));
    let what: Vec<_> = wire
        .run(5000)
        .into_iter()
        .map(|told| (told.2, told.3))
        .collect();
    let report = |group| (group, vec![(131, group)]);
    assert_eq!(what, [report(OTHER), report(GROUP)]);
    // Whoever asks meanwhile.
    wire.ask(&query(Ipv6Addr::UNSPECIFIED, 1000, false));
    assert_eq!(wire.run(5000).len(), 2);
    wire.run(260_000);
    wire.ask(&query(Ipv6Addr::UNSPECIFIED, 1000, false));
    assert_eq!(wire.run(5000)[0].2, V2_ROUTERS);
}

#[test]
fn questions_that_no_router_asks_are_not_answered() {
    let mut wire = Wire::new();
    wire.run(20_000);
    let good = query(Ipv6Addr::UNSPECIFIED, 1000, false);
    let mut from_afar = good.clone();
    from_afar[21] = 64;
    let mut unalerted = good.clone();
    unalerted[56..62].copy_from_slice(&[1, 4, 0, 0, 0, 0]);
    let mut cut = good.clone();
    cut.pop();
    let nobodys = query(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff77, 7), 1000, false);
    for frame in [from_afar, unalerted, cut, nobodys] {
        wire.ask(&frame);
        assert_eq!(wire.run(5000), []);
    }
    // A flood of questions is one answer.
    for _ in 0..1000 {
        wire.ask(&good);
    }
    assert_eq!(wire.run(5000).len(), 1);
}
