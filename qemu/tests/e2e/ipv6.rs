//! The appliance over IPv6: beside IPv4 on a tap, by its link-local address, with addresses of what a
//! router advertises, and behind user networking.

use crate::client::{Client, get_and_close};
use crate::folder::{Folder, Random};
use crate::guest::{self, Appliance};
use crate::namespace::Namespace;
use socket2::{Domain, Protocol, Socket, Type};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long a line of the log may take.
const SOON: Duration = Duration::from_secs(60);

/// Returns the guest's link-local address, which it tells first.
fn link_local(appliance: &Appliance) -> Ipv6Addr {
    let deadline = Instant::now() + SOON;
    let told = appliance.serial().wait_for(deadline, |line| {
        let (_, address) = line.split_once("address fe80::")?;
        format!("fe80::{}", address.split_once('/')?.0).parse().ok()
    });
    told.expect("a link-local address").0
}

fn curl(url: &str) -> Vec<u8> {
    let output = Command::new("curl")
        .args([
            "--silent",
            "--show-error",
            "--globoff",
            "--max-time",
            "60",
            "-6",
            url,
        ])
        .output()
        .expect("no curl");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "curl {url}: {said}");
    output.stdout
}

/// A folder with a file of many segments.
fn folder_with(large: &[u8]) -> Folder {
    let mut folder = Folder::small();
    folder.add("/large.bin", large.to_vec());
    folder
}

#[test]
fn both_families_are_served_side_by_side_on_a_tap() {
    let _turn = guest::turn();
    Namespace::with(1, |namespace| {
        let large: Vec<u8> = Random::new(5).bytes(2_000_000);
        let packed = guest::packed(folder_with(&large).path());
        let mut machine = guest::machine(&packed);
        machine.append = "log=info stats=1".to_owned();
        let mut appliance = guest::boot_on_tap(machine, namespace);
        let v6: Ipv6Addr = Namespace::GUEST_V6.parse().unwrap();
        let v6 = SocketAddr::from((v6, 80));
        let mut clients = [appliance.client(), Client::connect(v6).unwrap()];
        for _ in 0..20 {
            for client in &mut clients {
                assert_eq!(
                    client.get("/style.css").unwrap().body,
                    b"body { margin: 0 }"
                );
            }
        }
        for client in &mut clients {
            let answer = client.get("/large.bin").unwrap();
            let mut pairs = answer.body.iter().zip(&large);
            let differs = pairs.position(|(is, was)| is != was);
            assert_eq!((differs, answer.body.len()), (None, large.len()));
        }
        let url = format!("http://[{}]/style.css", Namespace::GUEST_V6);
        assert_eq!(curl(&url), b"body { margin: 0 }");
        let own = link_local(&appliance);
        let url = format!("http://[{own}%25{}]/style.css", namespace.tap());
        assert_eq!(curl(&url), b"body { margin: 0 }");
        let segments = Appliance::total(&appliance.counters(), "tx_segments");
        assert!(
            segments < 1500,
            "{segments} frames: the device cuts none of them"
        );
        assert!(appliance.has_logged("address fd77::2/64: used", SOON));
    });
}

#[test]
fn addresses_are_made_of_what_a_router_advertises_and_announced_to_the_log() {
    let _turn = guest::turn();
    Namespace::with(1, |namespace| {
        let packed = guest::packed(Folder::small().path());
        let mut machine = guest::machine(&packed);
        machine.append = "log=info ip=auto".to_owned();
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    advertise(namespace, 1800);
                    thread::sleep(Duration::from_millis(100));
                }
            });
            let appliance = guest::boot_unaddressed_on_tap(machine, namespace);
            is_over.store(true, Ordering::Relaxed);
            let own = link_local(&appliance).segments();
            let made = Ipv6Addr::from([0xfd77, 0, 0, 0, own[4], own[5], own[6], own[7]]);
            assert_eq!(appliance.address.ip(), IpAddr::V6(made));
            let answer = get_and_close(appliance.address, "/style.css").unwrap();
            assert_eq!(answer.body, b"body { margin: 0 }");
            assert!(appliance.has_logged(&format!("address {made}/64: used"), SOON));
            assert!(appliance.has_logged("router fe80::", SOON));
            // It asks whether it is alone with it, and is.
            let is_alone = format!("address {made}/64: nobody else has it");
            assert!(appliance.has_logged(&is_alone, SOON));
        });
    });
}

/// Advertises the namespace's IPv6 network on its tap.
fn advertise(namespace: &Namespace, lifetime_s: u16) {
    let [high, low] = lifetime_s.to_be_bytes();
    let network: Ipv6Addr = "fd77::".parse().unwrap();
    let message: [&[u8]; 4] = [
        // The kernel fills the checksum in (RFC 3542 §3.1).
        &[134, 0, 0, 0, 64, 0, high, low, 0, 0, 0, 0, 0, 0, 0, 0],
        &[
            3, 4, 64, 0xc0, 0, 0, 0x1c, 0x20, 0, 0, 0x1c, 0x20, 0, 0, 0, 0,
        ],
        &network.octets(),
        &[5, 1, 0, 0, 0, 0, 5, 0xdc],
    ];
    /// `SOCK_RAW` of Linux.
    const RAW: i32 = 3;
    let raw = Socket::new(Domain::IPV6, Type::from(RAW), Some(Protocol::ICMPV6)).unwrap();
    raw.set_multicast_hops_v6(255).unwrap();
    let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let to = SocketAddrV6::new(all_nodes, 0, 0, namespace.tap_index());
    // While QEMU is not there yet, nothing can be sent.
    let _ = raw.send_to(&message.concat(), &to.into());
}

#[test]
fn user_networking_gives_an_address_of_each_family() {
    let _turn = guest::turn();
    let packed = guest::packed(Folder::small().path());
    let appliance = guest::boot(guest::machine(&packed));
    let answer = get_and_close(appliance.address, "/style.css").unwrap();
    assert_eq!(answer.body, b"body { margin: 0 }");
    // QEMU advertises this one.
    let used = "address fec0::5054:ff:fe12:3456/64: used";
    assert!(appliance.has_logged(used, SOON));
}
