//! A guest that lives on a DHCP server's word, on a tap: the server comes late, refuses, gives another
//! address, is silent until the lease ends, and comes back.

use crate::client::get_and_close;
use crate::folder::Folder;
use crate::guest;
use crate::namespace::Namespace;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long a lease lasts; renewal is asked for at half of it.
const LEASE_S: u32 = 8;
/// How long a line of the log may take.
const SOON: Duration = Duration::from_secs(30);

const SILENT: u8 = 0;
const GIVES: u8 = 1;
const REFUSES: u8 = 2;
const OVER: u8 = 3;

const DISCOVER: u8 = 1;
const OFFER: u8 = 2;
const ACK: u8 = 5;
const NAK: u8 = 6;

/// A server of one client, and what it does.
struct Server {
    does: AtomicU8,
    /// The last byte of the address that it gives.
    gives: AtomicU8,
    asked: AtomicUsize,
}

impl Server {
    /// Answers until all is over.
    fn run(&self, namespace: &Namespace) {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).unwrap();
        socket.set_broadcast(true).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket
            .bind_device(Some(namespace.tap().as_bytes()))
            .unwrap();
        let port = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 67);
        socket.bind(&port.into()).unwrap();
        let wait = Duration::from_millis(100);
        socket.set_read_timeout(Some(wait)).unwrap();
        let mut buffer = [0; 2048];
        loop {
            let does = self.does.load(Ordering::Relaxed);
            if does == OVER {
                return;
            }
            let Ok(bytes) = (&socket).read(&mut buffer) else {
                continue;
            };
            self.asked.fetch_add(1, Ordering::Relaxed);
            if does == SILENT {
                continue;
            }
            let answer = self.answer(&buffer[..bytes], does == REFUSES);
            let all = SocketAddrV4::new(Ipv4Addr::BROADCAST, 68);
            socket.send_to(&answer, &SockAddr::from(all)).unwrap();
        }
    }

    /// Returns the answer to a message (RFC 2131 §2, RFC 2132).
    fn answer(&self, asked: &[u8], refuses: bool) -> Vec<u8> {
        let kind = option(asked, 53).map(|data| data[0]);
        let kind = match kind {
            Some(DISCOVER) => OFFER,
            _ if refuses => NAK,
            _ => ACK,
        };
        let server: Ipv4Addr = Namespace::HOST.parse().unwrap();
        let mut answer = asked[..240].to_vec();
        answer[0] = 2;
        if kind == NAK {
            answer[16..20].fill(0);
        } else {
            let given = [10, 77, 0, self.gives.load(Ordering::Relaxed)];
            answer[16..20].copy_from_slice(&given);
        }
        answer[20..24].copy_from_slice(&server.octets());
        answer.extend([53, 1, kind, 54, 4]);
        answer.extend(server.octets());
        if kind != NAK {
            answer.extend([51, 4]);
            answer.extend(LEASE_S.to_be_bytes());
            answer.extend([1, 4, 255, 255, 255, 0, 3, 4]);
            answer.extend(server.octets());
            // The packet size, and a way to another network.
            answer.extend([26, 2, 0x05, 0x78]);
            answer.extend([121, 8, 24, 192, 168, 7]);
            answer.extend(server.octets());
        }
        answer.push(255);
        answer
    }

    fn does(&self, what: u8) {
        self.does.store(what, Ordering::Relaxed);
    }
}

/// Returns an option of a DHCP message.
fn option(message: &[u8], kind: u8) -> Option<&[u8]> {
    let mut options = message.get(240..)?;
    while let [code, length, rest @ ..] = options {
        let (data, rest) = rest.split_at_checked(usize::from(*length))?;
        if *code == kind {
            return Some(data);
        }
        options = rest;
    }
    None
}

#[test]
fn a_dhcp_server_that_comes_late_refuses_and_falls_silent_is_followed() {
    let _turn = guest::turn();
    Namespace::with(1, |namespace| {
        let packed = guest::packed(Folder::small().path());
        let mut machine = guest::machine(&packed);
        machine.append = "log=info ip=dhcp".to_owned();
        let server = Server {
            does: AtomicU8::new(SILENT),
            gives: AtomicU8::new(2),
            asked: AtomicUsize::new(0),
        };
        thread::scope(|scope| {
            scope.spawn(|| server.run(namespace));
            // Whatever happens, the server ends with the test.
            let _over = Over(&server);
            // It comes late: the guest is ready when it has an address.
            scope.spawn(|| {
                let deadline = Instant::now() + SOON;
                while server.asked.load(Ordering::Relaxed) < 2 && Instant::now() < deadline {
                    thread::sleep(Duration::from_millis(50));
                }
                server.does(GIVES);
            });
            let appliance = guest::boot_unaddressed_on_tap(machine, namespace);
            let first: SocketAddr = "10.77.0.2:80".parse().unwrap();
            assert_eq!(appliance.address, first);
            let serves = |address| {
                let answer = get_and_close(address, "/style.css").unwrap();
                assert_eq!(answer.body, b"body { margin: 0 }");
            };
            serves(first);
            assert!(appliance.has_logged("the link takes IPv4 packets of 1400 bytes", SOON));
            // It refuses what it gave, and then gives another.
            server.does(REFUSES);
            assert!(appliance.has_logged("address 10.77.0.2/24: gone", SOON));
            server.gives.store(3, Ordering::Relaxed);
            server.does(GIVES);
            assert!(appliance.has_logged("address 10.77.0.3/24: used", SOON));
            let second: SocketAddr = "10.77.0.3:80".parse().unwrap();
            serves(second);
            // Longer than a lease lasts: it is renewed.
            thread::sleep(Duration::from_secs(u64::from(LEASE_S) + 2));
            serves(second);
            // It falls silent, and the lease ends.
            server.does(SILENT);
            assert!(appliance.has_logged("address 10.77.0.3/24: gone", SOON));
            server.gives.store(4, Ordering::Relaxed);
            server.does(GIVES);
            assert!(appliance.has_logged("address 10.77.0.4/24: used", SOON));
            serves("10.77.0.4:80".parse().unwrap());
        });
    });
}

/// Ends the server when it goes.
struct Over<'a>(&'a Server);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.does(OVER);
    }
}
