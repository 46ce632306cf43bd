//! Clients that misbehave get a refusal or silence, and harm nobody else.

use crate::client::Client;
use crate::folder::{Folder, Random};
use crate::guest::{self, Appliance, Packed};
use std::io::ErrorKind;
use std::thread;
use std::time::Duration;

fn appliance() -> (Appliance, Packed) {
    let packed = guest::packed(Folder::small().path());
    let mut machine = guest::machine(&packed);
    machine.append = "log=warn stats=1".to_owned();
    (guest::boot(machine), packed)
}

/// Sends bytes and returns the status of the answer, `None` when the connection just ended.
fn status(appliance: &Appliance, bytes: &[u8]) -> Option<u16> {
    let mut client = appliance.client();
    // The guest may refuse before it has read everything.
    let _ = client.send(bytes);
    match client.answer() {
        Ok(answer) => Some(answer.status),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => None,
        Err(error) if error.kind() == ErrorKind::ConnectionReset => None,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn malformed_requests_get_the_status_they_deserve() {
    let _turn = guest::turn();
    let (mut appliance, _packed) = appliance();
    let long_target = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(20_000));
    let many_fields = format!(
        "GET / HTTP/1.1\r\nHost: x\r\n{}\r\n",
        "A: b\r\n".repeat(200)
    );
    let long_field = format!(
        "GET / HTTP/1.1\r\nHost: x\r\nA: {}\r\n\r\n",
        "b".repeat(60_000)
    );
    for (request, expected) in [
        ("\u{1}\u{2}\u{3}\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        ("GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
            405,
        ),
        ("BREW / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        ("GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505),
        (long_target.as_str(), 414),
        (many_fields.as_str(), 431),
        (long_field.as_str(), 431),
    ] {
        let start: String = request.chars().take(60).collect();
        assert_eq!(
            status(&appliance, request.as_bytes()),
            Some(expected),
            "{start:?}"
        );
    }
    appliance.assert_alive();
}

#[test]
fn paths_do_not_leave_the_site() {
    let _turn = guest::turn();
    let (mut appliance, _packed) = appliance();
    for path in [
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/deep/../../x",
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        let status = status(&appliance, request.as_bytes());
        assert!(matches!(status, Some(400 | 404)), "{path}: {status:?}");
    }
    appliance.assert_alive();
}

#[test]
fn garbage_half_requests_and_resets_leave_nothing_behind() {
    let _turn = guest::turn();
    let (mut appliance, _packed) = appliance();
    let mut random = Random::new(3);
    let mut open: Vec<Client> = Vec::new();
    for round in 0..200 {
        let mut client = appliance.client();
        match round % 5 {
            // Noise of any length.
            0 => {
                let length = 1 + random.below(5_000) as usize;
                let _ = client.send(&random.bytes(length));
            }
            // Half a request, then a reset.
            1 => {
                let _ = client.send(b"GET / HTTP/1.1\r\nHo");
                client.reset();
                continue;
            }
            // A request whose answer nobody waits for.
            2 => {
                let _ = client.send(b"GET /deep/er/data.bin HTTP/1.1\r\nHost: a\r\n\r\n");
                client.reset();
                continue;
            }
            // Half a request, then a FIN.
            3 => {
                let _ = client.send(b"GET /deep/er/data.bin HTTP/1.1\r\nHost: ");
                continue;
            }
            // Nothing at all, for as long as the test takes.
            _ => {}
        }
        open.push(client);
    }
    // An honest client is served all the while.
    appliance.assert_alive();
    drop(open);
    appliance.assert_alive();
    assert_all_closed(&mut appliance);
}

/// Waits until no connection is left, by the guest's own counters.
pub(crate) fn assert_all_closed(appliance: &mut Appliance) {
    let mut left = u64::MAX;
    for _ in 0..20 {
        let counters = appliance.counters();
        left = Appliance::total(&counters, "slots_now");
        if left == 0 {
            let begun = Appliance::total(&counters, "connections");
            assert_eq!(Appliance::total(&counters, "connections_ended"), begun);
            return;
        }
        thread::sleep(Duration::from_secs(1));
    }
    panic!("{left} connections are left");
}

#[test]
fn a_request_in_single_bytes_is_answered() {
    let _turn = guest::turn();
    let (appliance, _packed) = appliance();
    let mut client = appliance.client();
    for byte in b"GET /style.css HTTP/1.1\r\nHost: a\r\n\r\n" {
        client.send(&[*byte]).unwrap();
        thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(client.answer().unwrap().body, b"body { margin: 0 }");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let _turn = guest::turn();
    let (appliance, _packed) = appliance();
    let mut client = appliance.client();
    let paths = ["/style.css", "/nothing", "/empty.txt", "/deep/er/data.bin"];
    let requests: String = (0..40)
        .map(|number| format!("GET {} HTTP/1.1\r\nHost: a\r\n\r\n", paths[number % 4]))
        .collect();
    client.send(requests.as_bytes()).unwrap();
    for number in 0..40 {
        let answer = client.answer().unwrap();
        let (status, length) = [
            (200, Some(18)),
            (404, None),
            (200, Some(0)),
            (200, Some(300_000)),
        ][number % 4];
        assert_eq!(answer.status, status, "answer {number}");
        if let Some(length) = length {
            assert_eq!(answer.body.len(), length, "answer {number}");
        }
    }
}
