//! The load generator: an exact number of requests for one page, keep-alive or a connection each.
//! Run inside the namespace as a process of its own; prints one number.

use crate::Error;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long one answer may take.
pub(crate) const ANSWER: Duration = Duration::from_secs(20);

/// Runs `client first ADDR PATH SECONDS` (prints the Unix time in µs of the first 200) or
/// `client MODE ADDR PATH CONNECTIONS REQUESTS` (prints the requests answered as they should be), where
/// MODE is `keepalive`, `close` (a connection each), `head`, `known` (with the page's tag: 304) or
/// `browser` (with a browser's field lines).
pub(crate) fn run(words: &[&str]) -> Result<(), Error> {
    match words {
        ["first", address, path, seconds] => {
            let at = first_answer(address.parse()?, path, seconds.parse()?)?;
            println!("{}", at.duration_since(UNIX_EPOCH)?.as_micros());
        }
        [
            mode @ ("keepalive" | "close" | "head" | "known" | "browser"),
            address,
            path,
            connections,
            requests,
        ] => {
            let address = address.parse()?;
            let (connections, requests) = (connections.parse::<u64>()?, requests.parse::<u64>()?);
            let asked = Asked::new(mode, address, path)?;
            println!("{}", load(address, &asked, connections, requests)?);
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

/// What is asked for, again and again.
struct Asked {
    request: String,
    /// What it is answered with.
    status: u16,
    keep_alive: bool,
}

/// What Chromium sends for a page.
const BROWSER: &str = "Connection: keep-alive\r\n\
    sec-ch-ua: \"Chromium\";v=\"128\", \"Not;A=Brand\";v=\"24\"\r\n\
    sec-ch-ua-mobile: ?0\r\nsec-ch-ua-platform: \"Linux\"\r\nUpgrade-Insecure-Requests: 1\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
    Chrome/128.0.0.0 Safari/537.36\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,\
    */*;q=0.8\r\nSec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-User: ?1\r\n\
    Sec-Fetch-Dest: document\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\
    Accept-Language: en-GB,en;q=0.9\r\n";

impl Asked {
    fn new(mode: &str, address: SocketAddr, path: &str) -> Result<Self, Error> {
        let plain = request(path, address, mode != "close");
        let with = |lines: &str| format!("{}{lines}\r\n", &plain[..plain.len() - 2]);
        let request = match mode {
            "head" => plain.replacen("GET", "HEAD", 1),
            "known" => with(&format!("If-None-Match: {}\r\n", etag(address, &plain)?)),
            "browser" => format!(
                "GET {path} HTTP/1.1\r\nHost: {}\r\n{BROWSER}\r\n",
                address.ip()
            ),
            _ => plain,
        };
        Ok(Asked {
            request,
            status: if mode == "known" { 304 } else { 200 },
            keep_alive: mode != "close",
        })
    }
}

/// Asks once, and returns the tag of what comes.
fn etag(address: SocketAddr, request: &str) -> Result<String, Error> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER)?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    while find(&answer, b"\r\n\r\n").is_none() {
        let count = stream.read(&mut chunk)?;
        if count == 0 {
            return Err("no answer to learn the tag from".into());
        }
        answer.extend_from_slice(&chunk[..count]);
    }
    let text = String::from_utf8_lossy(&answer);
    let tag = text.lines().find_map(|line| line.strip_prefix("ETag: "));
    Ok(tag.ok_or("an answer without a tag")?.to_owned())
}

fn load(address: SocketAddr, asked: &Asked, connections: u64, requests: u64) -> Result<u64, Error> {
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..connections)
            .map(|i| {
                let share = requests / connections + u64::from(i < requests % connections);
                scope.spawn(move || worker(address, asked, share))
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

fn worker(address: SocketAddr, asked: &Asked, share: u64) -> std::io::Result<u64> {
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
        answered += u64::from(exchange(&mut stream, &asked.request)? == asked.status);
        if asked.keep_alive {
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
    response_to(stream, request.starts_with("HEAD "))
}

/// Reads a whole response to GET and returns its status.
pub(crate) fn response(stream: &mut TcpStream) -> std::io::Result<u16> {
    response_to(stream, false)
}

fn response_to(stream: &mut TcpStream, is_head: bool) -> std::io::Result<u16> {
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
        let length = match is_head || text.starts_with("http/1.1 304 ") {
            true => 0,
            false => text
                .lines()
                .find_map(|line| line.strip_prefix("content-length:"))
                .and_then(|value| value.trim().parse::<usize>().ok())
                .ok_or(ErrorKind::InvalidData)?,
        };
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
