//! What an operator does: the power button, the admin port, the access log.

use crate::client::{Answer, Client};
use crate::download::{Download, folder_with_large_file};
use crate::folder::Folder;
use crate::guest::{self, Appliance};
use crate::namespace::Namespace;
use qemu::guest::Exit;
use qemu::machine::Machine;
use qemu::options::MachineKind;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::thread;
use std::time::Duration;

/// How long a guest may take to end once nothing holds it up.
const END: Duration = Duration::from_secs(30);

/// Asks the admin port of a guest on a tap.
fn admin(method: &str, path: &str) -> io::Result<Answer> {
    let address: SocketAddr = format!("{}:9100", Namespace::GUEST).parse().unwrap();
    let mut client = Client::connect(address)?;
    client.send(format!("{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes())?;
    let mut answer = client.head()?;
    answer.body = client.read_to_end()?;
    Ok(answer)
}

fn power_button_drains(kind: MachineKind, cores: u32) {
    let _turn = guest::turn();
    let folder = folder_with_large_file();
    let packed = guest::packed(folder.path());
    let mut appliance = guest::boot(Machine {
        kind,
        cores,
        ..guest::machine(&packed)
    });
    let mut idle: Vec<Client> = (0..8).map(|_| appliance.client()).collect();
    for client in &mut idle {
        assert_eq!(client.get("/style.css").unwrap().status, 200);
    }
    let download = Download::begin(appliance.address);
    appliance.press_power_button().unwrap();
    for client in &mut idle {
        assert_eq!(client.read_to_end().unwrap(), b"", "an idle one is closed");
    }
    assert_eq!(appliance.try_exit(), None, "an answer is under way");
    download.assert_is_whole(&folder);
    assert_eq!(appliance.wait_exit(END), Some(Exit::Stopped));
    let lines = appliance.serial().lines();
    assert!(
        lines.iter().any(|line| line == "sluice: stopped"),
        "{lines:?}"
    );
}

#[test]
fn the_power_button_of_a_microvm_lets_answers_finish_and_powers_it_off() {
    power_button_drains(MachineKind::Microvm, 2);
}

#[test]
fn the_power_button_of_a_q35_lets_answers_finish_and_powers_it_off() {
    power_button_drains(MachineKind::Q35, 1);
}

#[test]
fn drain_by_the_admin_port_refuses_new_ones_finishes_the_others_and_powers_off() {
    let _turn = guest::turn();
    Namespace::with(1, |namespace| {
        let folder = folder_with_large_file();
        let packed = guest::packed(folder.path());
        let mut machine = guest::machine(&packed);
        machine.cores = 2;
        let mut appliance = guest::boot_on_tap(machine, namespace);
        assert_eq!(admin("GET", "/readyz").unwrap().status, 200);
        let download = Download::begin(appliance.address);
        assert_eq!(admin("POST", "/drain").unwrap().status, 202);
        assert_eq!(admin("GET", "/readyz").unwrap().status, 503);
        let refused = Client::connect(appliance.address).and_then(|mut client| client.get("/"));
        assert!(refused.is_err(), "{refused:?}");
        download.assert_is_whole(&folder);
        assert_eq!(appliance.wait_exit(END), Some(Exit::Stopped));
    });
}

#[test]
fn a_trace_of_every_core_is_read_from_the_admin_port() {
    let _turn = guest::turn();
    Namespace::with(1, |namespace| {
        let packed = guest::packed(Folder::small().path());
        let mut machine = guest::machine(&packed);
        machine.cores = 2;
        let appliance = guest::boot_on_tap(machine, namespace);
        assert_eq!(admin("POST", "/trace/start").unwrap().status, 200);
        for _ in 0..20 {
            assert_eq!(appliance.client().get("/style.css").unwrap().status, 200);
            // Time to fall asleep.
            thread::sleep(Duration::from_millis(20));
        }
        let answer = admin("GET", "/trace").unwrap();
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let text: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
        let events = text["traceEvents"].as_array().unwrap();
        let count = |name: &str, core: u64| {
            let is_it = |event: &&serde_json::Value| event["name"] == name && event["tid"] == core;
            events.iter().filter(is_it).count()
        };
        for core in 0..2 {
            for name in ["turn", "sleep", "connection", "request"] {
                assert!(
                    count(name, core) > 0,
                    "no {name} on core {core}: {events:#?}"
                );
            }
        }
        assert_eq!(count("request", 0) + count("request", 1), 2 * 20);
        for event in events.iter().filter(|event| event["ph"] != "M") {
            assert!(event["ts"].as_f64().is_some_and(|at| at > 0.0), "{event}");
        }
    });
}

#[test]
fn the_access_log_goes_to_a_syslog_server_a_message_per_answer() {
    const REQUESTS: usize = 300;
    let _turn = guest::turn();
    Namespace::with(1, |namespace| {
        let server = UdpSocket::bind((Namespace::HOST, 0)).unwrap();
        server.set_read_timeout(Some(END)).unwrap();
        // Messages must not be lost because this machine has other things to do.
        let socket = socket2::SockRef::from(&server);
        socket.set_recv_buffer_size(1 << 20).unwrap();
        let to = server.local_addr().unwrap();
        let packed = guest::packed(Folder::small().path());
        let mut machine = guest::machine(&packed);
        machine.cores = 2;
        machine.append = format!("access-log=json access-log-to=syslog:{to}");
        let appliance = guest::boot_on_tap(machine, namespace);
        let received = thread::spawn(move || {
            let mut message = [0; 2048];
            let mut next = || {
                let length = server
                    .recv(&mut message)
                    .expect("a message for each answer");
                String::from_utf8(message[..length].to_vec()).unwrap()
            };
            (0..REQUESTS).map(|_| next()).collect::<Vec<_>>()
        });
        let mut clients: Vec<Client> = (0..6).map(|_| appliance.client()).collect();
        for number in 0..REQUESTS {
            let client = &mut clients[number % 6];
            let path = format!("/none/{number}");
            assert_eq!(client.get(&path).unwrap().status, 404);
        }
        let messages = received.join().unwrap();
        for number in 0..REQUESTS {
            let request = format!("\"request\":\"GET /none/{number} HTTP/1.1\"");
            let found: Vec<_> = messages
                .iter()
                .filter(|message| message.contains(&request))
                .collect();
            assert_eq!(found.len(), 1, "{request}");
            // PRI, version, time, host, name, process, message id, no structured data.
            let words: Vec<&str> = found[0].splitn(8, ' ').collect();
            assert_eq!(
                (words[0], words[2], words[3]),
                ("<190>1", "-", "sluice"),
                "{words:?}"
            );
            assert!(["0", "1"].contains(&words[4]) && words[5..7] == ["access", "-"]);
            let time = words[1].as_bytes();
            assert!(
                time.len() == 20 && time[10] == b'T' && time[19] == b'Z',
                "{words:?}"
            );
            let line: serde_json::Value = serde_json::from_str(words[7]).expect("JSON");
            assert_eq!(line["status"], 404);
        }
    });
}

#[test]
fn a_log_server_that_is_not_there_costs_lines_and_no_request() {
    let _turn = guest::turn();
    Namespace::with(1, |namespace| {
        let packed = guest::packed(Folder::small().path());
        let mut machine = guest::machine(&packed);
        machine.append = "access-log=combined access-log-to=syslog:10.77.0.99 stats=1".to_owned();
        let mut appliance = guest::boot_on_tap(machine, namespace);
        let mut client = appliance.client();
        for _ in 0..2_000 {
            assert_eq!(client.get("/style.css").unwrap().status, 200);
        }
        let counters = appliance.counters();
        let total = |name| Appliance::total(&counters, name);
        assert_eq!(total("log_lines") + total("log_lines_dropped"), 2_000);
        assert!(total("log_lines_dropped") > 500, "{counters:?}");
        assert_eq!(total("datagrams_sent"), 0);
    });
}
