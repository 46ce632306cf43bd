//! Many connections: at once, one after another, and over two queues.

use crate::client::{Client, get_and_close};
use crate::folder::Folder;
use crate::guest::{self, Appliance, Packed};
use crate::hostile::assert_all_closed;
use crate::namespace::Namespace;
use rustix::process::{Resource, getrlimit, setrlimit};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Lets this process have as many files open as it may.
pub(crate) fn open_many_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
}

/// Boots a guest with so many cores on the namespace's tap, that tells its counters.
fn counting(namespace: &Namespace, cores: u32) -> (Appliance, Packed) {
    let packed = guest::packed(Folder::small().path());
    let mut machine = guest::machine(&packed);
    machine.cores = cores;
    machine.append = "log=warn stats=1".to_owned();
    (guest::boot_on_tap(machine, namespace), packed)
}

#[test]
fn a_thousand_connections_at_once() {
    let _turn = guest::turn();
    open_many_files();
    Namespace::with(1, |namespace| {
        let (mut appliance, _packed) = counting(namespace, 1);
        let mut clients: Vec<Client> = (0..1000).map(|_| appliance.client()).collect();
        for _ in 0..3 {
            for client in &mut clients {
                client
                    .send(b"GET /style.css HTTP/1.1\r\nHost: a\r\n\r\n")
                    .unwrap();
            }
            for client in &mut clients {
                assert_eq!(client.answer().unwrap().body, b"body { margin: 0 }");
            }
        }
        let counters = appliance.counters();
        assert_eq!(Appliance::total(&counters, "established_now"), 1000);
        drop(clients);
        assert_all_closed(&mut appliance);
    });
}

#[test]
fn sixty_thousand_connections_from_one_address() {
    const CONNECTIONS: u64 = 60_000;
    // Fewer ports than connections: each comes round while the guest, which closes first, still
    // holds it in TIME_WAIT.
    const PORTS: std::ops::RangeInclusive<u16> = 20_000..=21_499;
    /// A SYN that is not answered is sent again after one second.
    const STALL: Duration = Duration::from_millis(900);
    /// Stalls that may be this machine's, which others use too: all threads stall at once then. Were
    /// ports in TIME_WAIT refused, nearly every connection would.
    const STALLS_ALLOWED: u64 = CONNECTIONS / 1000;

    let _turn = guest::turn();
    Namespace::with(1, |namespace| {
        namespace.set_client_ports(*PORTS.start(), *PORTS.end());
        let (mut appliance, _packed) = counting(namespace, 1);
        let address = appliance.address;
        let (next, stalls) = (AtomicU64::new(0), AtomicU64::new(0));
        let started = Instant::now();
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    while next.fetch_add(1, Ordering::Relaxed) < CONNECTIONS {
                        let asked = Instant::now();
                        let answer = get_and_close(address, "/style.css").unwrap();
                        assert_eq!(answer.body, b"body { margin: 0 }");
                        if asked.elapsed() > STALL {
                            stalls.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        let stalls = stalls.into_inner();
        let counters = appliance.counters();
        let reused = Appliance::total(&counters, "time_wait_reused");
        eprintln!(
            "{CONNECTIONS} connections in {:?}, {stalls} stalls, {reused} ports reused in TIME_WAIT",
            started.elapsed()
        );
        assert!(stalls <= STALLS_ALLOWED, "{stalls} stalls");
        assert!(
            reused > CONNECTIONS / 10,
            "only {reused} ports came round in TIME_WAIT"
        );
        assert_eq!(Appliance::total(&counters, "answers_2xx"), CONNECTIONS);
        assert_all_closed(&mut appliance);
    });
}

#[test]
fn both_queues_of_a_tap_carry_traffic_and_the_device_brings_each_flow_home() {
    let (handed_over, _) = both_queues_carry_traffic(true);
    assert_eq!(handed_over, 0);
}

#[test]
fn both_queues_of_a_tap_carry_traffic_where_the_tap_has_to_learn() {
    let (handed_over, received) = both_queues_carry_traffic(false);
    // SYNs, and what follows before the tap has seen where answers come from; it forgets a flow that
    // says nothing for three seconds. Half of all frames, if it never learned.
    assert!(
        handed_over < received / 8,
        "{handed_over} of {received} frames"
    );
}

/// Serves 32 clients over two queues, and returns how many frames went from one core to the other, and
/// how many there were.
fn both_queues_carry_traffic(has_rss: bool) -> (u64, u64) {
    let _turn = guest::turn();
    let mut frames = (0, 0);
    Namespace::with(2, |namespace| {
        let packed = guest::packed(Folder::small().path());
        let mut machine = guest::machine(&packed);
        (machine.cores, machine.has_rss) = (2, has_rss);
        machine.append = "log=info stats=1".to_owned();
        let mut appliance = guest::boot_on_tap(machine, namespace);
        assert_eq!((appliance.ready.cores, appliance.ready.queues), (2, 2));
        let mut clients: Vec<Client> = (0..32).map(|_| appliance.client()).collect();
        for _ in 0..20 {
            for client in &mut clients {
                assert_eq!(client.get("/deep/er/data.bin").unwrap().body.len(), 300_000);
            }
        }
        let counters = appliance.counters();
        assert_eq!(counters.len(), 2);
        for (core, counters) in &counters {
            for name in ["rx_frames", "tx_frames", "requests"] {
                let value = counters.value(name).unwrap();
                assert!(value > 50, "core {core} has {name}={value}");
            }
        }
        frames = ["handovers_in", "rx_frames"]
            .map(|name| Appliance::total(&counters, name))
            .into();
        eprintln!(
            "RSS: {has_rss}, {} of {} frames handed over",
            frames.0, frames.1
        );
        drop(clients);
        assert_all_closed(&mut appliance);
    });
    frames
}

#[test]
fn a_silent_client_is_asked_whether_it_is_there_when_the_command_line_says_so() {
    let _turn = guest::turn();
    for (word, is_asked) in [("", false), (" keep-alive=1", true)] {
        Namespace::with(1, |namespace| {
            let packed = guest::packed(Folder::small().path());
            let mut machine = guest::machine(&packed);
            machine.append = format!("log=warn stats=1{word}");
            let mut appliance = guest::boot_on_tap(machine, namespace);
            let mut client = appliance.client();
            assert_eq!(client.get("/style.css").unwrap().status, 200);
            let sent = Appliance::total(&appliance.counters(), "tx_segments");
            thread::sleep(Duration::from_secs(3));
            let later = Appliance::total(&appliance.counters(), "tx_segments");
            assert_eq!(later > sent, is_asked, "{sent} segments, then {later}");
            assert_eq!(client.get("/style.css").unwrap().status, 200);
        });
    }
}

#[test]
fn two_cores_share_one_queue() {
    let _turn = guest::turn();
    Namespace::with(1, |namespace| {
        let (mut appliance, _packed) = counting(namespace, 2);
        let mut clients: Vec<Client> = (0..32).map(|_| appliance.client()).collect();
        for client in &mut clients {
            assert_eq!(client.get("/deep/er/data.bin").unwrap().body.len(), 300_000);
        }
        let counters = appliance.counters();
        for (core, counters) in &counters {
            let requests = counters.value("requests").unwrap();
            assert!(requests > 0, "core {core} served nothing");
        }
        assert!(Appliance::total(&counters, "handovers_in") > 0);
        drop(clients);
        assert_all_closed(&mut appliance);
    });
}
