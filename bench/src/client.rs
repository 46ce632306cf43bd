//! The load generator: an exact number of requests for one page, keep-alive or a connection each.
//! Run inside the namespace as a process of its own; prints one number.

use crate::Error;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long one answer may take.
pub(crate) const ANSWER: Duration = Duration::from_secs(20);

/// Runs `client first ADDR PATH SECONDS` (prints the Unix time in µs of the first 200) or
/// `client keepalive|close ADDR PATH CONNECTIONS REQUESTS` (prints the requests answered 200).
pub(crate) fn run(words: &[&str]) -> Result<(), Error> {
    match words {
        ["first", address, path, seconds] => {
            let at = first_answer(address.parse()?, path, seconds.parse()?)?;
            println!("{}", at.duration_since(UNIX_EPOCH)?.as_micros());
        }
        [
            mode @ ("keepalive" | "close"),
            address,
            path,
            connections,
            requests,
        ] => {
            let keep_alive = *mode == "keepalive";
            let (connections, requests) = (connections.parse::<u64>()?, requests.parse::<u64>()?);
            println!(
                "{}",
                load(address.parse()?, path, connections, requests, keep_alive)?
            );
        }
        _ => return Err("client: wrong words".into()),
    }
    Ok(())
}

/// Asks every 4 ms on a connection of its own, all waited for by threads, until one is answered.
fn first_answer(address: SocketAddr, path: &str, seconds: u64) -> Result<SystemTime, Error> {
    let (sender, receiver) = std::sync::mpsc::channel();
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        let (sender, path) = (sender.clone(), path.to_owned());
        std::thread::spawn(move || {
            if let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_secs(1))
                && let Ok(200) = exchange(&mut stream, &request(&path, address, false))
            {
                let _ = sender.send(SystemTime::now());
            }
        });
        if let Ok(at) = receiver.recv_timeout(Duration::from_millis(4)) {
            return Ok(at);
        }
    }
    Err("no answer in time".into())
}

fn load(
    address: SocketAddr,
    path: &str,
    connections: u64,
    requests: u64,
    keep_alive: bool,
) -> Result<u64, Error> {
    let request = request(path, address, keep_alive);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..connections)
            .map(|i| {
                let share = requests / connections + u64::from(i < requests % connections);
                let request = &request;
                scope.spawn(move || worker(address, request, share, keep_alive))
            })
            .collect();
        let mut answered = 0;
        for worker in workers {
            answered += worker
                .join()
                .map_err(|_| "a worker panicked")?
                .map_err(|e| e.to_string())?;
        }
        Ok(answered)
    })
}

fn worker(
    address: SocketAddr,
    request: &str,
    share: u64,
    keep_alive: bool,
) -> std::io::Result<u64> {
    let mut answered = 0;
    let mut open: Option<TcpStream> = None;
    for _ in 0..share {
        let mut stream = match open.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect_timeout(&address, ANSWER)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(ANSWER))?;
                stream
            }
        };
        answered += u64::from(exchange(&mut stream, request)? == 200);
        if keep_alive {
            open = Some(stream);
        } else if stream.read(&mut [0; 16])? != 0 {
            return Err(std::io::Error::new(
                ErrorKind::InvalidData,
                "bytes behind the body",
            ));
        }
    }
    Ok(answered)
}

pub(crate) fn request(path: &str, address: SocketAddr, keep_alive: bool) -> String {
    let connection = if keep_alive {
        ""
    } else {
        "Connection: close\r\n"
    };
    format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nUser-Agent: sluice-bench\r\nAccept: */*\r\n{connection}\r\n",
        address.ip()
    )
}

/// Sends one request, reads the whole response and returns its status.
fn exchange(stream: &mut TcpStream, request: &str) -> std::io::Result<u16> {
    stream.write_all(request.as_bytes())?;
    response(stream)
}

/// Reads a whole response and returns its status.
pub(crate) fn response(stream: &mut TcpStream) -> std::io::Result<u16> {
    let mut response = Vec::with_capacity(2048);
    let mut chunk = [0; 65536];
    loop {
        let count = stream.read(&mut chunk)?;
        if count == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        response.extend_from_slice(&chunk[..count]);
        let Some(head) = find(&response, b"\r\n\r\n") else {
            continue;
        };
        let text = String::from_utf8_lossy(&response[..head]).to_ascii_lowercase();
        let length = text
            .lines()
            .find_map(|line| line.strip_prefix("content-length:"))
            .and_then(|value| value.trim().parse::<usize>().ok())
            .ok_or(ErrorKind::InvalidData)?;
        if response.len() >= head + 4 + length {
            return text
                .split_whitespace()
                .nth(1)
                .and_then(|status| status.parse().ok())
                .ok_or(ErrorKind::InvalidData.into());
        }
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}
