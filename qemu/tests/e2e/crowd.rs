//! More connections than one process may have files: each part of the crowd is a process with an
//! address of its own, this test's program again with another test's name.

use crate::client::{Client, PATIENCE};
use crate::folder::Folder;
use crate::guest::{self, Appliance};
use crate::hostile::assert_all_closed;
use crate::namespace::Namespace;
use socket2::{Domain, Protocol, Socket, Type};
use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};

/// What a member is told: the guest, its own address, how many connections.
const VARIABLE: &str = "SLUICE_CROWD_MEMBER";
const PAGE: &[u8] = b"GET /style.css HTTP/1.1\r\nHost: a\r\n\r\n";
const MEMBERS: u8 = 4;
const CONNECTIONS: u64 = 20_000;

#[test]
fn twenty_thousand_connections_are_open_at_once_and_each_is_answered_again() {
    let _turn = guest::turn();
    Namespace::with(1, |namespace| {
        let packed = guest::packed(Folder::small().path());
        let mut machine = guest::machine(&packed);
        machine.append = "log=warn stats=1 idle-timeout=600".to_owned();
        let mut appliance = guest::boot_on_tap(machine, namespace);
        let each = CONNECTIONS / u64::from(MEMBERS);
        let mut crowd: Vec<Member> = (0..MEMBERS)
            .map(|number| {
                let source = namespace.add_client_address(number);
                Member::start(appliance.address, &source, each)
            })
            .collect();
        for member in &mut crowd {
            member.wait_for("open");
        }
        let counters = appliance.counters();
        assert_eq!(Appliance::total(&counters, "established_now"), CONNECTIONS);
        assert_eq!(Appliance::total(&counters, "answers_2xx"), CONNECTIONS);
        for member in &mut crowd {
            member
                .process
                .stdin
                .take()
                .unwrap()
                .write_all(b"\n")
                .unwrap();
        }
        for member in &mut crowd {
            member.wait_for("asked");
            assert!(member.process.wait().unwrap().success());
        }
        let counters = appliance.counters();
        assert_eq!(Appliance::total(&counters, "answers_2xx"), 2 * CONNECTIONS);
        assert_eq!(Appliance::total(&counters, "connections_reset"), 0);
        assert_all_closed(&mut appliance);
    });
}

/// A process of the crowd; killed when dropped.
struct Member {
    process: Child,
    said: BufReader<ChildStdout>,
}

impl Member {
    fn start(guest: SocketAddr, source: &str, connections: u64) -> Self {
        let mut process = Command::new(env::current_exe().unwrap())
            .args([
                "--exact",
                "crowd::member_of_the_crowd",
                "--ignored",
                "--nocapture",
            ])
            .env(VARIABLE, format!("{guest} {source} {connections}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(process.stdout.take().unwrap());
        Member { process, said }
    }

    /// Reads on until the member says `word`.
    fn wait_for(&mut self, word: &str) {
        let mut lines = self.said.by_ref().lines().map_while(Result::ok);
        assert!(
            lines.any(|line| line == word),
            "a member ended before {word:?}"
        );
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
#[ignore = "a part of the crowd, started by the test above"]
fn member_of_the_crowd() {
    let Ok(words) = env::var(VARIABLE) else {
        return;
    };
    crate::load::open_many_files();
    let words: Vec<&str> = words.split(' ').collect();
    let (guest, source) = (words[0].parse().unwrap(), words[1].parse().unwrap());
    let mut clients: Vec<Client> = (0..words[2].parse().unwrap())
        .map(|_| {
            let mut client = open(guest, source);
            ask(&mut client);
            client
        })
        .collect();
    // A line of its own: the test's own name stands before it.
    println!("\nopen");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    clients.iter_mut().for_each(ask);
    println!("\nasked");
}

fn ask(client: &mut Client) {
    client.send(PAGE).unwrap();
    assert_eq!(client.answer().unwrap().body, b"body { margin: 0 }");
}

/// Opens a connection from an address of this host.
fn open(guest: SocketAddr, source: IpAddr) -> Client {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
    socket.bind(&SocketAddr::new(source, 0).into()).unwrap();
    socket.connect_timeout(&guest.into(), PATIENCE).unwrap();
    Client::over(TcpStream::from(socket)).unwrap()
}
