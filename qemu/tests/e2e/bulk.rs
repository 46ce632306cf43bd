//! Bulk transfers between Linux and the guest over a tap, both ways, every byte checked: the example
//! appliance `throughput`, and a wire that loses and delays frames.

use crate::client::PATIENCE;
use crate::guest::{self, Appliance, boot_on_tap};
use crate::namespace::Namespace;
use qemu::build::{self, Recipe};
use qemu::machine::Machine;
use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::Ordering;
use std::time::Duration;
use traffic::bulk::{Order, transfer, transfer_on};
use traffic::conditions::{Conditions, Path, Rate};
use traffic::wire::Wire;

const MIB: u64 = 1 << 20;
const PORT: u16 = 5001;

/// Returns a machine with the example, for windows of up to a mebibyte.
fn machine() -> Machine {
    let recipe = Recipe::example("throughput").unwrap();
    let image = build::image(&recipe, false).expect("the example does not build");
    Machine {
        memory_mib: 512,
        append: format!("log=info stats=1 port={PORT}"),
        ..Machine::new(image.elf)
    }
}

fn v4() -> SocketAddr {
    SocketAddr::new(Namespace::GUEST.parse().unwrap(), PORT)
}

fn v6() -> SocketAddr {
    SocketAddr::new(Namespace::GUEST_V6.parse().unwrap(), PORT)
}

/// Checks that the guest has counted so much in each direction, and gone through nothing bad.
fn assert_counted(guest: &mut Appliance, transfers: u64, up: u64, down: u64) {
    let counters = guest.counters();
    let total = |name| Appliance::total(&counters, name);
    assert_eq!(total("transfers"), transfers);
    assert_eq!(total("bytes_received"), up);
    // The answers beside them.
    assert!((down..down + 40 * transfers).contains(&total("bytes_sent")));
    assert_eq!(total("refused_lines") + total("broken_off"), 0);
}

#[test]
fn a_quarter_of_a_gibibyte_goes_each_way_and_both_at_once_over_one_and_several_connections() {
    const ALL: u64 = 256 * MIB;
    const CONNECTIONS: u64 = 8;
    let _turn = guest::turn();
    Namespace::with(1, |namespace| {
        let mut guest = boot_on_tap(machine(), namespace);
        for address in [v4(), v6()] {
            for connections in [1, CONNECTIONS] {
                let bytes = ALL / connections;
                for (up, down) in [(bytes, 0), (0, bytes), (bytes, bytes)] {
                    let order = Order {
                        up,
                        down,
                        is_summed: true,
                    };
                    transfer_on(connections as usize, address, None, order).unwrap_or_else(
                        |error| panic!("{address} {connections} {order:?}: {error}"),
                    );
                }
            }
        }
        let transfers = 2 * 3 * (1 + CONNECTIONS);
        assert_counted(&mut guest, transfers, 8 * ALL, 8 * ALL);
    });
}

/// Says something and finishes, and returns what comes of it.
fn say(words: &[u8]) -> String {
    let mut stream = TcpStream::connect_timeout(&v4(), PATIENCE).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(words).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn the_first_line_may_come_in_pieces_or_without_its_end_and_must_be_one() {
    let _turn = guest::turn();
    Namespace::with(1, |namespace| {
        let mut guest = boot_on_tap(machine(), namespace);
        assert_eq!(say(b"0\nabc"), "3\n");
        assert_eq!(say(b"0 cksum\n123456789"), "930766865 9\n");
        assert_eq!(say(b"0"), "0\n");
        assert_eq!(say(b""), "");
        let mut slow = TcpStream::connect(v4()).unwrap();
        slow.set_nodelay(true).unwrap();
        for byte in b"0 cksum\r\n12" {
            slow.write_all(&[*byte]).unwrap();
            std::thread::sleep(Duration::from_millis(5));
        }
        slow.write_all(b"3456789").unwrap();
        slow.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        slow.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "930766865 9\n");
        let usage = "error: wanted a line: BYTES or BYTES cksum\n";
        for wrong in ["GET / HTTP/1.1\r\n\r\n", "\n", "-1\n", "1 sum\n"] {
            assert_eq!(say(wrong.as_bytes()), usage, "{wrong}");
        }
        assert_eq!(say(&[b'1'; 33]), usage);
        // What nobody reads stops its sender, and is forgotten when it goes.
        let mut greedy = TcpStream::connect(v4()).unwrap();
        greedy.write_all(b"18446744073709551615\n").unwrap();
        let mut first = [0; 1 << 16];
        greedy.read_exact(&mut first).unwrap();
        drop(greedy);
        let order = Order {
            up: MIB,
            down: MIB,
            is_summed: true,
        };
        transfer(v4(), None, order).unwrap();
        let counters = guest.counters();
        assert_eq!(Appliance::total(&counters, "refused_lines"), 5);
        assert_eq!(Appliance::total(&counters, "handles_now"), 0);
    });
}

/// Loss in per mille.
const LOSSES: [u32; 4] = [0, 1, 10, 50];
const DELAYS_MS: [u64; 3] = [1, 20, 100];

/// Bytes of one transfer of the matrix: what takes some seconds, of a rate that falls with the round
/// trip and with the root of the loss.
fn bytes(loss_per_mille: u32, delay_ms: u64) -> u64 {
    match (loss_per_mille, delay_ms) {
        (50, 100) => 200_000,
        (50, 20) | (10, 100) => 1_000_000,
        _ => 4_000_000,
    }
}

#[test]
fn no_transfer_fails_or_differs_by_a_byte_whatever_is_lost_and_however_late_it_comes() {
    let conditions: Vec<Conditions> = LOSSES
        .into_iter()
        .flat_map(|loss_per_mille| {
            DELAYS_MS.map(|delay_ms| Conditions {
                loss_per_mille,
                delay: Duration::from_millis(delay_ms),
                rate: Some(Rate {
                    megabits: 50,
                    queue_bytes: 1 << 20,
                }),
            })
        })
        .collect();
    let paths: Vec<Path> = (100..)
        .zip(&conditions)
        .map(|(last, conditions)| Path {
            host: [10, 77, 0, last].into(),
            conditions: *conditions,
        })
        .collect();
    let _turn = guest::turn();
    Namespace::with(1, |namespace| {
        let addresses = namespace.give_up_addresses();
        let wire = Wire::lay(namespace.tap(), &addresses, &paths, 1).unwrap();
        let mut guest = boot_on_tap(machine(), namespace);
        let orders = paths.iter().flat_map(|path| {
            let Conditions {
                loss_per_mille,
                delay,
                ..
            } = path.conditions;
            let bytes = bytes(loss_per_mille, delay.as_millis() as u64);
            [(bytes, 0), (0, bytes), (bytes / 2, bytes / 2)].map(|(up, down)| {
                let order = Order {
                    up,
                    down,
                    is_summed: true,
                };
                (path, order)
            })
        });
        let orders: Vec<(&Path, Order)> = orders.collect();
        std::thread::scope(|scope| {
            for (path, order) in &orders {
                scope.spawn(move || {
                    let source = Some(IpAddr::V4(path.host));
                    let took = transfer(v4(), source, *order)
                        .unwrap_or_else(|error| panic!("{path:?} {order:?}: {error}"));
                    println!("{:?} {order:?}: {took:?}", path.conditions);
                });
            }
        });
        let sum = |of: fn(&Order) -> u64| orders.iter().map(|(_, order)| of(order)).sum();
        let (up, down) = (sum(|order| order.up), sum(|order| order.down));
        assert_counted(&mut guest, orders.len() as u64, up, down);
        let counts = wire.counts();
        let [passed, lost] =
            [&counts.passed, &counts.lost].map(|count| count.load(Ordering::Relaxed));
        // Most bytes go where little is lost.
        assert!(
            lost * 1000 > passed && lost * 20 < passed,
            "{lost} lost, {passed} passed"
        );
    });
}
