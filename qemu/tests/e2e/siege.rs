//! Bad times on the network, as a real kernel sees them: a flood of SYNs from everywhere, and a cable
//! that is pulled and put back.

use crate::client::{Client, get_and_close};
use crate::folder::Folder;
use crate::guest::{self, Appliance, Packed};
use crate::hostile::assert_all_closed;
use crate::namespace::Namespace;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

fn appliance(namespace: &Namespace) -> (Appliance, Packed) {
    let packed = guest::packed(Folder::small().path());
    let mut machine = guest::machine(&packed);
    machine.append = "log=warn stats=1".to_owned();
    (guest::boot_on_tap(machine, namespace), packed)
}

#[test]
fn a_flood_of_syns_breaks_no_connection_and_keeps_no_newcomer_out() {
    /// SYNs that the flood has sent, at least, when the test is over.
    const SYNS: u64 = 20_000;
    let _turn = guest::turn();
    Namespace::with(1, |namespace| {
        let (mut appliance, _packed) = appliance(namespace);
        let address = appliance.address;
        let mut regulars: Vec<Client> = (0..8).map(|_| appliance.client()).collect();
        let (is_over, sent) = (AtomicBool::new(false), AtomicU64::new(0));
        let (mut answers, mut newcomers) = (0, 0);
        thread::scope(|scope| {
            scope.spawn(|| flood(address, &is_over, &sent));
            while sent.load(Ordering::Relaxed) < SYNS || newcomers < 50 {
                for regular in &mut regulars {
                    let answer = regular.get("/style.css").unwrap();
                    assert_eq!(answer.body, b"body { margin: 0 }");
                    answers += 1;
                }
                assert_eq!(get_and_close(address, "/style.css").unwrap().status, 200);
                newcomers += 1;
            }
            assert_eq!(curl(address), b"body { margin: 0 }");
            is_over.store(true, Ordering::Relaxed);
        });
        let counters = appliance.counters();
        let total = |name| Appliance::total(&counters, name);
        let cookies = total("syn_cookies_sent");
        eprintln!(
            "{} SYNs, {cookies} cookies, {answers} answers to {} connections, {newcomers} newcomers",
            sent.load(Ordering::Relaxed),
            regulars.len()
        );
        assert!(cookies > SYNS / 4, "{cookies} cookies");
        assert_eq!(
            total("connections_reset") + total("connections_timed_out"),
            0
        );
        assert_eq!(total("answers_2xx"), answers + newcomers + 1);
        // Recovery at once: no wait for those that are half open.
        assert_eq!(get_and_close(address, "/").unwrap().status, 200);
        drop(regulars);
        assert_all_closed(&mut appliance);
    });
}

/// Sends SYNs from addresses that nobody has until it is over: some thousands a second, in bursts, so
/// that a small machine has something left for the guest.
fn flood(to: SocketAddr, is_over: &AtomicBool, sent: &AtomicU64) {
    const BURST: u64 = 50;
    let SocketAddr::V4(to) = to else {
        panic!("{to}");
    };
    // SOCK_RAW with IPPROTO_RAW: the header is ours, too.
    let socket = Socket::new(Domain::IPV4, Type::from(3), Some(Protocol::from(255))).unwrap();
    let target = SockAddr::from(SocketAddrV4::new(*to.ip(), 0));
    let mut number = 0_u32;
    while !is_over.load(Ordering::Relaxed) {
        for _ in 0..BURST {
            number = number.wrapping_add(0x9e37_79b9);
            let from = Ipv4Addr::from_bits(0x0b00_0000 | number >> 8);
            let packet = syn(from, (number >> 3) as u16 | 1024, to, number);
            // A full queue of the tap drops some.
            if socket.send_to(&packet, &target).is_ok() {
                sent.fetch_add(1, Ordering::Relaxed);
            }
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Returns an IPv4 packet with a SYN; the kernel fills in the header's checksum.
fn syn(from: Ipv4Addr, port: u16, to: SocketAddrV4, sequence: u32) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0];
    packet.extend(from.octets());
    packet.extend(to.ip().octets());
    packet.extend(port.to_be_bytes());
    packet.extend(to.port().to_be_bytes());
    packet.extend(sequence.to_be_bytes());
    packet.extend([0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0]);
    // The pseudo-header: addresses, protocol, length (RFC 9293 §3.1).
    let words = packet[12..]
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
    let sum: u32 = words.sum::<u32>() + 6 + 20;
    let sum = (sum & 0xffff) + (sum >> 16);
    let checksum = !((sum & 0xffff) + (sum >> 16)) as u16;
    packet[36..38].copy_from_slice(&checksum.to_be_bytes());
    packet
}

/// Asks with a client that is none of this project's.
fn curl(address: SocketAddr) -> Vec<u8> {
    let output = Command::new("curl")
        .args([
            "-sS",
            "--max-time",
            "60",
            &format!("http://{address}/style.css"),
        ])
        .output()
        .expect("no curl");
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

#[test]
fn a_guest_that_is_asked_before_it_is_ready_loses_no_queue() {
    let _turn = guest::turn();
    Namespace::with(2, |namespace| {
        let packed = guest::packed(Folder::small().path());
        let mut machine = guest::machine(&packed);
        (machine.cores, machine.has_rss) = (2, true);
        let to = SocketAddr::from((Namespace::GUEST.parse::<Ipv4Addr>().unwrap(), 80));
        // Nobody asks by ARP first: what comes early are SYNs.
        machine.net = guest::tap(namespace);
        let line = machine.shell_line();
        let (_, rest) = line.split_once(",mac=").unwrap();
        namespace.know_guest(rest.split_once(',').unwrap().0);
        let is_over = AtomicBool::new(false);
        let appliance = thread::scope(|scope| {
            // Whoever asks too early gives up soon.
            let early = || {
                while !is_over.load(Ordering::Relaxed) {
                    let _ = TcpStream::connect_timeout(&to, Duration::from_millis(20));
                }
            };
            (0..4).for_each(|_| drop(scope.spawn(early)));
            let appliance = guest::boot_on_tap(machine, namespace);
            is_over.store(true, Ordering::Relaxed);
            appliance
        });
        let mut clients: Vec<Client> = (0..32).map(|_| appliance.client()).collect();
        for client in &mut clients {
            assert_eq!(client.get("/deep/er/data.bin").unwrap().body.len(), 300_000);
        }
    });
}

#[test]
fn a_link_that_goes_down_and_comes_back_loses_no_connection() {
    let _turn = guest::turn();
    Namespace::with(1, |namespace| {
        let (mut appliance, _packed) = appliance(namespace);
        let mut clients: Vec<Client> = (0..4).map(|_| appliance.client()).collect();
        for _ in 0..3 {
            for client in &mut clients {
                client
                    .send(b"GET /deep/er/data.bin HTTP/1.1\r\nHost: a\r\n\r\n")
                    .unwrap();
            }
            namespace.set_link("down");
            thread::sleep(Duration::from_millis(700));
            namespace.set_link("up");
            for client in &mut clients {
                assert_eq!(client.answer().unwrap().body.len(), 300_000);
            }
        }
        drop(clients);
        appliance.assert_alive();
        assert_all_closed(&mut appliance);
    });
}
