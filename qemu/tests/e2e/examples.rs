//! The example appliances, started by the `example` command and spoken to over TCP.

use crate::guest;
use qemu::serial::Counters;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

const COMMAND: &str = env!("CARGO_BIN_EXE_sluice");

pub(crate) use crate::client::PATIENCE;

/// A started example, ended when dropped.
pub(crate) struct Example {
    command: Child,
    address: SocketAddr,
    /// What it says, and when that came.
    lines: Mutex<Receiver<(Instant, String)>>,
}

impl Drop for Example {
    fn drop(&mut self) {
        // The guest goes with the command that started it.
        let _ = self.command.kill();
        let _ = self.command.wait();
    }
}

impl Example {
    /// Starts an example and checks the line that it is ready by.
    pub(crate) fn start(name: &str, cores: u32) -> Example {
        Example::start_with(name, cores, "log=info")
    }

    /// The same with more words for the kernel command line.
    pub(crate) fn start_with(name: &str, cores: u32, append: &str) -> Example {
        let mut command = Command::new(COMMAND)
            .args(["example", name, "--port", "0", "--accel", "tcg"])
            .args(["--cores", &cores.to_string(), "--append", append])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(command.stdout.take().unwrap()).lines();
        let line = lines.next().expect("it ended at once").unwrap();
        let rest = line.strip_prefix(&format!("serving {name} at "));
        let (address, rest) = rest
            .and_then(|rest| rest.split_once(" (ready in "))
            .unwrap();
        let about = format!(" ms, {cores} cores, tcg, microvm)");
        assert!(rest.ends_with(&about), "{line}");
        assert!(address.starts_with("127.0.0.1:"), "{line}");
        let address = address.parse().unwrap();
        let (sender, receiver) = mpsc::channel();
        // Ends with the command.
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if sender.send((Instant::now(), line)).is_err() {
                    break;
                }
            }
        });
        Example {
            command,
            address,
            lines: Mutex::new(receiver),
        }
    }

    /// Returns counters of a core that the guest has counted from now on: the second that it tells,
    /// since the first may have been on its way.
    pub(crate) fn counters(&self, core: usize) -> Counters {
        let now = Instant::now();
        let lines = self.lines.lock().unwrap();
        let later = lines.iter().filter(|(came, _)| *came >= now);
        let counters = later.filter_map(|(_, line)| Counters::parse(&line));
        let mut counters = counters.filter(|counters| counters.core == core);
        counters.nth(1).expect("the guest ended")
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect_timeout(&self.address, PATIENCE).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }
}

/// Sends `message` and asserts that the same comes back.
pub(crate) fn ping(mut stream: &TcpStream, message: &[u8]) {
    stream.write_all(message).unwrap();
    let mut answer = vec![0; message.len()];
    stream.read_exact(&mut answer).unwrap();
    assert!(
        answer == message,
        "{} bytes came back changed",
        message.len()
    );
}

/// Returns bytes that differ by connection and place.
pub(crate) fn message(connection: usize, bytes: usize) -> Vec<u8> {
    (0..bytes)
        .map(|place| (place * 31 + connection * 7) as u8)
        .collect()
}

fn plays_ping_pong(cores: u32) {
    play(&Example::start("ping-pong", cores));
}

/// Plays with a server that sends back what it receives.
fn play(example: &Example) {
    let mut streams = Vec::new();
    for number in 0..50 {
        let stream = example.connect();
        // One after the other: QEMU's NAT lets hardly any wait to be accepted.
        ping(&stream, &message(number, 1));
        streams.push(stream);
    }
    for round in 0..10 {
        for (number, stream) in streams.iter().enumerate() {
            ping(
                stream,
                &message(number, 1 + (number * 97 + round * 331) % 3000),
            );
        }
    }
    // Larger than all buffers on the way: written by one thread, read by another.
    let (long, stream) = (message(1, 1 << 20), &streams[0]);
    std::thread::scope(|scope| {
        scope.spawn(|| (&mut &*stream).write_all(&long).unwrap());
        let mut answer = vec![0; long.len()];
        (&mut &*stream).read_exact(&mut answer).unwrap();
        assert!(answer == long);
    });
    // Half-close: what was sent comes back first, then the other half closes.
    let mut last = &streams[1];
    last.write_all(b"the end").unwrap();
    last.shutdown(Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    last.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"the end");
    // A reset takes its connection with it, and nothing else.
    let reset = example.connect();
    ping(&reset, b"x");
    socket2::SockRef::from(&reset)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(reset);
    for _ in 0..100 {
        ping(&example.connect(), b"short");
    }
    ping(&streams[2], b"still there");
}

#[test]
fn ping_pong_sends_back_what_it_receives_on_one_core() {
    let _turn = guest::turn();
    plays_ping_pong(1);
}

#[test]
fn ping_pong_sends_back_what_it_receives_on_two_cores() {
    let _turn = guest::turn();
    plays_ping_pong(2);
}

/// Connections that the command makes to see whether the guest is there, and breaks off at once: one as
/// a rule, more on a slow machine, and none if user networking has not told the guest of it.
const PROBES: u64 = 5;

/// Crowds sent at most until something is seen that a race decides.
const CROWDS: usize = 20;

/// Opens connections from several threads at once, so that some wait to be accepted.
fn crowd(example: &Example) {
    std::thread::scope(|scope| {
        for number in 0..8 {
            scope.spawn(move || {
                for _ in 0..20 {
                    ping(&example.connect(), &message(number, 100));
                }
            });
        }
    });
}

fn sum_of(counters: &[Counters], name: &str) -> u64 {
    let values = counters.iter().map(|core| core.value(name).unwrap());
    values.sum()
}

#[test]
fn counter_counts_the_lines_of_all_clients() {
    let _turn = guest::turn();
    let example = Example::start("counter", 1);
    let mut clients = [example.connect(), example.connect()];
    for count in 1..=20 {
        let client = &mut clients[count % 2];
        client.write_all(b"another\n").unwrap();
        let expected = format!("{count}\n");
        let mut answer = vec![0; expected.len()];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(answer, expected.as_bytes());
    }
    clients[0].shutdown(Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    clients[0].read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty());
}

#[test]
fn sockets_send_back_what_they_receive_with_every_step_towards_megapipe() {
    let _turn = guest::turn();
    for words in [
        "",
        "partition=on",
        "partition=on batch=on",
        "partition=on batch=on lwsocket=on",
    ] {
        let append = format!("log=warn stats=1 {words}");
        let example = Example::start_with("sockets", 2, &append);
        play(&example);
        // Which core takes a connection from the one queue is a race: more come until one has
        // taken the other's, which never happens when there is a queue for each.
        let is_shared = !words.contains("partition=on");
        let mut counters = [0, 1].map(|core| example.counters(core));
        for _ in 0..CROWDS {
            if !is_shared || sum_of(&counters, "calls_remote") > 0 {
                break;
            }
            crowd(&example);
            counters = [0, 1].map(|core| example.counters(core));
        }
        for core in &counters {
            assert!(
                core.value("calls_accept").unwrap() > 10,
                "{words}: {core:?}"
            );
        }
        let sum = |name: &str| sum_of(&counters, name);
        assert_eq!(
            sum("calls_remote") == 0,
            words.contains("partition=on"),
            "{words}"
        );
        // Less than one crossing for each call, or more: the waits come on top.
        let calls = sum("calls_accept") + sum("calls_receive") + sum("calls_send");
        assert_eq!(
            sum("crossings") < calls + sum("calls_wait"),
            words.contains("batch=on"),
            "{words}"
        );
    }
}

#[test]
fn no_connection_is_lost_while_shares_move_between_two_cores() {
    const CONNECTIONS: usize = 1500;
    let _turn = guest::turn();
    let example = Example::start_with("moving-shares", 2, "log=warn stats=1");
    let mut lasting = Vec::new();
    for number in 0..20 {
        let stream = example.connect();
        ping(&stream, &message(number, 100));
        lasting.push(stream);
    }
    for number in 0..CONNECTIONS {
        let stream = example.connect();
        ping(&stream, &message(number, 1 + number % 2000));
        ping(&lasting[number % lasting.len()], &message(number, 100));
    }
    let counters = [0, 1].map(|core| example.counters(core));
    let sum = |name: &str| {
        counters
            .iter()
            .map(|core| core.value(name).unwrap())
            .sum::<u64>()
    };
    for core in &counters {
        assert!(core.value("mask_changes").unwrap() > 50, "{core:?}");
        assert!(
            core.value("connections_established").unwrap() > 100,
            "{core:?}"
        );
    }
    let begun = sum("connections_begun");
    let own = (CONNECTIONS + lasting.len()) as u64;
    assert!((own..=own + PROBES).contains(&begun), "{begun}");
    assert_eq!(sum("connections_established"), begun);
    assert_eq!(sum("half_open_lost") + sum("listener_resets"), 0);
    drop(lasting);
}

#[test]
fn nobody_waits_for_a_seat_while_another_core_has_one_free() {
    const SEATS: usize = 4;
    const ROUNDS: usize = 40;
    let _turn = guest::turn();
    let append = format!("log=warn stats=1 seats={SEATS} steal=on");
    let example = Example::start_with("seats", 2, &append);
    for round in 0..ROUNDS {
        // As many as there are seats: which core a connection begins on is chance.
        let mut streams = Vec::new();
        for number in 0..2 * SEATS {
            let stream = example.connect();
            ping(&stream, &message(number, 1 + round * 37));
            streams.push(stream);
        }
        // All of them have theirs at the same time.
        for (number, stream) in streams.iter().enumerate().rev() {
            ping(stream, &message(round + number, 1000));
        }
    }
    let counters = [0, 1].map(|core| example.counters(core));
    let sum = |name: &str| sum_of(&counters, name);
    // Of 8 in 70 ways out of 256 there are four for each core.
    assert!(sum("connections_given") >= 10, "{counters:?}");
    assert_eq!(sum("connections_given"), sum("connections_taken"));
    let (begun, own) = (sum("connections_begun"), (ROUNDS * 2 * SEATS) as u64);
    assert!((own..=own + PROBES).contains(&begun), "{begun}");
    assert_eq!(sum("listener_resets") + sum("half_open_lost"), 0);
}

#[test]
fn an_example_that_is_not_there_is_wrong_use_that_names_those_that_are() {
    let output = Command::new(COMMAND)
        .args(["example", "pong"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.starts_with("sluice: example pong: no such example"),
        "{text}"
    );
    assert!(text.contains("ping-pong"), "{text}");
}
