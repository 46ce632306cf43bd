//! Pings from a real kernel, in both families: small ones, and those that go in fragments both ways,
//! up to the largest there can be.

use crate::folder::Folder;
use crate::guest::{self, Appliance};
use crate::namespace::Namespace;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::collections::BTreeMap;
use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::time::{Duration, Instant};

/// Data bytes of the largest ping: an IPv4 packet has no room for more.
const LARGEST: usize = 65_507;
/// Packets on their way at once, so that the socket's buffer has room for all answers: the kernel
/// reckons a page and more for each.
const UNDER_WAY_PACKETS: usize = 100;
/// A ping without an answer is sent again after this long.
const AGAIN: Duration = Duration::from_secs(1);
/// How long all of them may take.
const ALL: Duration = Duration::from_secs(400);

/// `SOCK_RAW` of Linux.
const RAW: i32 = 3;

/// One that pings a guest.
struct Pinger {
    socket: Socket,
    to: SockAddr,
    is_ipv4: bool,
    /// Sent and not answered: size and time.
    under_way: BTreeMap<u16, (usize, Instant)>,
    sent_again: usize,
}

impl Pinger {
    fn new(to: IpAddr) -> Self {
        let (domain, protocol) = match to {
            IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
            IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
        };
        let socket = Socket::new(domain, Type::from(RAW), Some(protocol)).unwrap();
        socket.set_recv_buffer_size(1 << 22).unwrap();
        let wait = Duration::from_millis(100);
        socket.set_read_timeout(Some(wait)).unwrap();
        Pinger {
            socket,
            to: SocketAddr::from((to, 0)).into(),
            is_ipv4: to.is_ipv4(),
            under_way: BTreeMap::new(),
            sent_again: 0,
        }
    }

    /// Pings with so many data bytes each, and returns when all are answered with the same.
    fn ping(&mut self, sizes: impl IntoIterator<Item = usize>) -> usize {
        let deadline = Instant::now() + ALL;
        let mut sizes = sizes.into_iter().peekable();
        let (mut number, mut answered) = (0_u16, 0);
        let mut buffer = vec![0; 70_000];
        while sizes.peek().is_some() || !self.under_way.is_empty() {
            let under_way = self.under_way.values().map(|(size, _)| packets(*size));
            let under_way: usize = under_way.sum();
            let has_room = |size: &usize| under_way + packets(*size) <= UNDER_WAY_PACKETS;
            let next = sizes.next_if(has_room);
            if let Some(size) = next {
                number = number.wrapping_add(1);
                self.send(number, size);
                continue;
            }
            assert!(Instant::now() < deadline, "{:?}", self.under_way);
            match self.socket.read(&mut buffer) {
                Ok(bytes) => answered += usize::from(self.take(&buffer[..bytes])),
                Err(_) => self.send_again(),
            }
        }
        answered
    }

    fn send(&mut self, number: u16, size: usize) {
        let message = message(if self.is_ipv4 { 8 } else { 128 }, number, size);
        // A full queue of the tap loses some.
        let _ = self.socket.send_to(&message, &self.to);
        self.under_way.insert(number, (size, Instant::now()));
    }

    fn send_again(&mut self) {
        let late = self.under_way.iter();
        let late = late.filter(|(_, (_, at))| at.elapsed() > AGAIN);
        let late: Vec<(u16, usize)> = late.map(|(number, (size, _))| (*number, *size)).collect();
        for (number, size) in late {
            self.sent_again += 1;
            self.send(number, size);
        }
    }

    /// Takes in what has come; true for an answer that was waited for.
    fn take(&mut self, bytes: &[u8]) -> bool {
        // With IPv4 the packet's header comes, too.
        let answer = match self.is_ipv4 {
            true => &bytes[usize::from(bytes[0] & 15) * 4..],
            false => bytes,
        };
        let kind = if self.is_ipv4 { 0 } else { 129 };
        let number = u16::from_be_bytes([answer[6], answer[7]]);
        if answer[0] != kind || answer[4..6] != IDENTIFIER {
            return false;
        }
        let Some((size, _)) = self.under_way.remove(&number) else {
            return false;
        };
        let expected = message(kind, number, size);
        assert_eq!(answer.len(), expected.len());
        assert!(
            answer[4..] == expected[4..],
            "{size} bytes came back changed"
        );
        true
    }
}

const IDENTIFIER: [u8; 2] = [0x51, 0x1c];

/// Packets of a ping with so many data bytes, or one more.
fn packets(size: usize) -> usize {
    1 + size / 1232
}

/// A ping or its answer, with data that depend on where they are.
fn message(kind: u8, number: u16, size: usize) -> Vec<u8> {
    let mut message = vec![kind, 0, 0, 0];
    message.extend(IDENTIFIER);
    message.extend(number.to_be_bytes());
    message.extend((0..size).map(|at| (at ^ at >> 8) as u8 ^ number as u8));
    if kind == 8 {
        // Of ICMPv6 the kernel sees to it.
        let words = message.chunks(2);
        let words =
            words.map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
        let sum: u32 = words.sum();
        let sum = (sum & 0xffff) + (sum >> 16);
        let checksum = !(sum + (sum >> 16)) as u16;
        message[2..4].copy_from_slice(&checksum.to_be_bytes());
    }
    message
}

fn guests() -> [IpAddr; 2] {
    [Namespace::GUEST, Namespace::GUEST_V6].map(|text| text.parse().unwrap())
}

/// Every size about where packets end, all of the largest, and between them one of so many.
fn sizes(step: usize) -> impl Iterator<Item = usize> {
    let small = 0..1700;
    let between = (1700..65_000).step_by(step);
    let large = LARGEST - 16..=LARGEST;
    small.chain(between).chain(large)
}

#[test]
fn pings_of_every_size_come_back_in_both_families_in_fragments_too() {
    let _turn = guest::turn();
    // Every size once; with two cores, steps that meet every place of a cut.
    for (cores, step) in [(1, 1), (2, 31)] {
        Namespace::with(cores, |namespace| {
            let packed = guest::packed(Folder::small().path());
            let mut machine = guest::machine(&packed);
            machine.cores = cores;
            machine.append = "log=warn stats=1".to_owned();
            let mut appliance = guest::boot_on_tap(machine, namespace);
            let begun = Instant::now();
            let (mut answered, mut again) = (0, 0);
            for guest in guests() {
                let mut pinger = Pinger::new(guest);
                answered += pinger.ping(sizes(step));
                again += pinger.sent_again;
            }
            assert_eq!(answered, 2 * sizes(step).count());
            eprintln!(
                "{answered} pings, {again} sent again, {:?}",
                begun.elapsed()
            );
            assert!(again * 100 <= answered, "{again} of {answered} were lost");
            with_the_command();
            let counters = appliance.counters();
            let total = |name| Appliance::total(&counters, name);
            // 200 of the small ones are larger than a packet, too.
            let whole = total("datagrams_reassembled") as usize;
            assert!(whole >= answered - 2 * 1500, "{whole} of {answered}");
            assert_eq!(
                total("drop_fragment_overlap") + total("drop_bad_fragment"),
                0
            );
            appliance.assert_alive();
        });
    }
}

/// The command that people use, where it is installed.
fn with_the_command() {
    for guest in guests() {
        for size in ["0", "1472", "1473", "8000", "65507"] {
            let to = guest.to_string();
            let words = ["-c", "3", "-i", "0.2", "-W", "5", "-s", size, &to];
            let Ok(output) = Command::new("ping").args(words).output() else {
                eprintln!("there is no ping command here");
                return;
            };
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(said.contains(" 0% packet loss"), "{size} bytes: {said}");
        }
    }
}
