//! What an operator does: the power button, the admin port, the access log.

use crate::client::{Answer, Client};
use crate::folder::{Folder, Random};
use crate::guest::{self, Appliance};
use crate::namespace::Namespace;
use qemu::guest::Exit;
use qemu::machine::Machine;
use qemu::options::MachineKind;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// More than all buffers between guest and client hold.
const LARGE: usize = 48 << 20;

/// How long a guest may take to end once nothing holds it up.
const END: Duration = Duration::from_secs(10);

fn folder_with_large_file() -> Folder {
    let mut folder = Folder::small();
    folder.add("/large.bin", Random::new(3).bytes(LARGE));
    folder
}

/// Asks the admin port of a guest on a tap.
fn admin(method: &str, path: &str) -> io::Result<Answer> {
    let address: SocketAddr = format!("{}:9100", Namespace::GUEST).parse().unwrap();
    let mut client = Client::connect(address)?;
    client.send(format!("{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes())?;
    let mut answer = client.head()?;
    answer.body = client.read_to_end()?;
    Ok(answer)
}

/// Begins a large download and reads a part of it.
fn begin_download(appliance: &Appliance) -> (Client, Vec<u8>) {
    let mut client = appliance.client();
    client
        .send(b"GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    assert_eq!(client.head().unwrap().status, 200);
    let begun = client.part(1 << 20).unwrap();
    (client, begun)
}

/// Reads the rest of a download, and compares.
fn assert_is_whole(folder: &Folder, mut body: Vec<u8>, mut client: Client) {
    body.extend(client.read_to_end().unwrap());
    let file = folder.files.last().unwrap();
    assert_eq!(body.len(), file.content.len());
    assert!(body == file.content, "other bytes");
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
    let (client, begun) = begin_download(&appliance);
    appliance.press_power_button().unwrap();
    for client in &mut idle {
        assert_eq!(client.read_to_end().unwrap(), b"", "an idle one is closed");
    }
    assert_eq!(appliance.try_exit(), None, "an answer is under way");
    assert_is_whole(&folder, begun, client);
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
        let (client, begun) = begin_download(&appliance);
        assert_eq!(admin("POST", "/drain").unwrap().status, 202);
        assert_eq!(admin("GET", "/readyz").unwrap().status, 503);
        let refused = Client::connect(appliance.address).and_then(|mut client| client.get("/"));
        assert!(refused.is_err(), "{refused:?}");
        assert_is_whole(&folder, begun, client);
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
