//! The proxy example between real clients and real backends on this machine, over user networking:
//! the guest reaches the loopback interface as 10.0.2.2.

use crate::examples::{Example, PATIENCE, message, ping};
use crate::guest;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Asks a backend to finish first.
const FINISH: u8 = b'F';
/// Asks a backend to say half of something and then to break.
const BREAK: u8 = b'B';

/// A server that says its name and then sends back what it receives.
struct Backend {
    address: SocketAddr,
    name: u8,
    is_stopped: Arc<AtomicBool>,
    /// Bytes received behind this side's own finish.
    late_bytes: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Backend {
    fn start(name: u8, address: &str) -> Backend {
        let listener = listen(address);
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let is_stopped = Arc::new(AtomicBool::new(false));
        let late_bytes = Arc::new(AtomicU64::new(0));
        let (stop, late) = (Arc::clone(&is_stopped), Arc::clone(&late_bytes));
        let thread = std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) => {
                        let late = Arc::clone(&late);
                        std::thread::spawn(move || serve(stream, name, &late));
                    }
                    Err(_) => std::thread::sleep(Duration::from_millis(2)),
                }
            }
        });
        Backend {
            address,
            name,
            is_stopped,
            late_bytes,
            thread: Some(thread),
        }
    }

    /// Stops listening; connections go on.
    fn stop(&mut self) {
        self.is_stopped.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Listens at an address, again perhaps: whoever else is on this machine may have its port for a moment.
fn listen(address: &str) -> TcpListener {
    let end = Instant::now() + PATIENCE;
    loop {
        match TcpListener::bind(address) {
            Ok(listener) => return listener,
            Err(error) => assert!(Instant::now() < end, "{address}: {error}"),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn serve(mut stream: TcpStream, name: u8, late: &AtomicU64) {
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut memory = vec![0; 65_536];
    let mut has_finished = false;
    if stream.write_all(&[name]).is_err() {
        return;
    }
    loop {
        match stream.read(&mut memory) {
            Ok(0) if has_finished => return,
            // The client's finish: more is said before this side's own.
            Ok(0) => {
                let _ = stream.write_all(b"bye");
                return;
            }
            Ok(count) if has_finished => {
                late.fetch_add(count as u64, Ordering::Relaxed);
            }
            Ok(1) if memory[0] == FINISH => {
                let _ = stream.write_all(b"farewell");
                let _ = stream.shutdown(Shutdown::Write);
                has_finished = true;
            }
            Ok(1) if memory[0] == BREAK => {
                let _ = stream.write_all(b"half of");
                // What was said arrives first.
                std::thread::sleep(Duration::from_millis(100));
                let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
                return;
            }
            Ok(count) => {
                if stream.write_all(&memory[..count]).is_err() {
                    return;
                }
            }
            Err(_) => return,
        }
    }
}

fn start(backends: &[&Backend], cores: u32) -> Example {
    let list: Vec<String> = backends
        .iter()
        .map(|backend| format!("10.0.2.2:{}", backend.address.port()))
        .collect();
    let words = format!("log=warn stats=1 backends={}", list.join(","));
    Example::start_with("proxy", cores, &words)
}

/// Connects and returns the name of the backend, `None` when there is none.
fn connect(example: &Example) -> (TcpStream, Option<u8>) {
    let mut stream = example.connect();
    let mut name = [0];
    let count = stream.read(&mut name).unwrap_or(0);
    (stream, (count == 1).then_some(name[0]))
}

/// Waits until connections go to all backends of these names, and only to them.
fn wait_for(example: &Example, names: &[u8]) {
    let end = Instant::now() + PATIENCE;
    loop {
        let mut seen: Vec<u8> = (0..2 * names.len())
            .filter_map(|_| connect(example).1)
            .collect();
        seen.sort_unstable();
        seen.dedup();
        if seen == names {
            return;
        }
        assert!(Instant::now() < end, "{seen:?} instead of {names:?}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn proxy_passes_everything_on_both_ways_finish_by_finish() {
    let _turn = guest::turn();
    let backends = [b'a', b'b'].map(|name| Backend::start(name, "127.0.0.1:0"));
    let example = start(&backends.each_ref(), 1);
    // Round robin. The command's own connections, by which it saw that the guest was there, may take
    // a turn between, so that the two shares differ by a few.
    let sessions: Vec<(TcpStream, Option<u8>)> = (0..20).map(|_| connect(&example)).collect();
    for backend in &backends {
        let its_own = |(_, name): &&(TcpStream, Option<u8>)| *name == Some(backend.name);
        let share = sessions.iter().filter(its_own).count();
        let names: Vec<_> = sessions.iter().map(|(_, name)| name).collect();
        assert!((8..=12).contains(&share), "{share}: {names:?}");
    }
    for round in 0..5 {
        for (number, (stream, _)) in sessions.iter().enumerate() {
            ping(
                stream,
                &message(number, 2 + (number * 97 + round * 331) % 3000),
            );
        }
    }
    // Larger than all memory on the way: every side stalls until the next one reads.
    let (long, stream) = (message(1, 1 << 20), &sessions[0].0);
    std::thread::scope(|scope| {
        scope.spawn(|| (&mut &*stream).write_all(&long).unwrap());
        std::thread::sleep(Duration::from_millis(500));
        let mut answer = vec![0; long.len()];
        (&mut &*stream).read_exact(&mut answer).unwrap();
        assert!(answer == long);
    });
    // The client finishes first.
    let mut first = &sessions[1].0;
    first.write_all(b"the end").unwrap();
    first.shutdown(Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    first.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"the endbye");
    // The backend finishes first, and what the client sends then still arrives.
    let (mut last, name) = (&sessions[2].0, sessions[2].1.unwrap());
    last.write_all(&[FINISH]).unwrap();
    let mut rest = Vec::new();
    last.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"farewell");
    last.write_all(&[b'x'; 200_000]).unwrap();
    last.shutdown(Shutdown::Write).unwrap();
    let backend = backends
        .iter()
        .find(|backend| backend.name == name)
        .unwrap();
    let end = Instant::now() + PATIENCE;
    while backend.late_bytes.load(Ordering::Relaxed) < 200_000 {
        assert!(Instant::now() < end, "late bytes did not arrive");
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(sessions);
    // Sessions leave nothing behind.
    let end = Instant::now() + PATIENCE;
    while example.counters(0).value("sessions_now") != Some(0) {
        assert!(Instant::now() < end, "sessions are left");
    }
}

#[test]
fn proxy_ends_a_session_whose_backend_or_client_breaks_in_the_middle() {
    let _turn = guest::turn();
    let backend = Backend::start(b'a', "127.0.0.1:0");
    let example = start(&[&backend], 1);
    let bystander = connect(&example).0;
    for number in 0..10 {
        let (mut stream, _) = connect(&example);
        ping(&stream, &message(number, 1000));
        if number % 2 == 0 {
            stream.write_all(&[BREAK]).unwrap();
            let mut rest = Vec::new();
            // Reset or closed, as the network between makes of it; and not left open.
            let _ = stream.read_to_end(&mut rest);
            assert!(b"half of".starts_with(&rest), "{rest:?}");
        } else {
            let socket = socket2::SockRef::from(&stream);
            socket.set_linger(Some(Duration::ZERO)).unwrap();
        }
    }
    ping(&bystander, b"nothing has happened to me");
    let end = Instant::now() + PATIENCE;
    loop {
        let counters = example.counters(0);
        if counters.value("sessions_now") == Some(1) {
            assert!(counters.value("sessions_broken").unwrap() >= 5);
            return;
        }
        assert!(Instant::now() < end, "sessions are left");
    }
}

#[test]
fn proxy_leaves_out_a_backend_that_is_not_well_until_it_is() {
    let _turn = guest::turn();
    let mut backends = [b'a', b'b'].map(|name| Backend::start(name, "127.0.0.1:0"));
    let example = start(&backends.each_ref(), 2);
    wait_for(&example, b"ab");
    backends[0].stop();
    // No client notices: a refused connect leads to the other one.
    for number in 0..10 {
        let (stream, name) = connect(&example);
        assert_eq!(name, Some(b'b'));
        ping(&stream, &message(number, 100));
    }
    let address = backends[0].address.to_string();
    backends[0] = Backend::start(b'a', &address);
    wait_for(&example, b"ab");
    backends.iter_mut().for_each(Backend::stop);
    let (_, name) = connect(&example);
    assert_eq!(name, None, "nobody is there");
    let (_, name) = connect(&example);
    assert_eq!(name, None);
    backends[1] = Backend::start(b'b', &backends[1].address.to_string());
    wait_for(&example, b"b");
}
