//! Bulk transfers with the example appliance `throughput`, or with the plain server here.
//!
//! The client's first line says how many bytes it wants, and whether its own are to be summed
//! (`BYTES`, `BYTES cksum`); it gets those, and when it has finished, a line: `RECEIVED`, or
//! `SUM RECEIVED` as POSIX cksum prints it. Both ways go at once.

use crc::{CRC_32_CKSUM, Crc, Digest, Table};
use rustix::net::sockopt::set_tcp_congestion;
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

/// How long a connection, a read or a write may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes of a read or write, as in iperf3.
const BLOCK_BYTES: usize = 128 * 1024;

/// Bytes until the pattern begins anew: two primes, so that no length of packets or buffers divides it.
const PATTERN_BYTES: usize = 251 * 1021;

/// What both sides send, again and again from its beginning.
static PATTERN: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let byte = |place: u32| (place.wrapping_mul(2_654_435_761) >> 24) as u8;
    (0..PATTERN_BYTES as u32).map(byte).collect()
});

static CRC: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_CKSUM);

/// One transfer: bytes to the server and from it, at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// Bytes to the server.
    pub up: u64,
    /// Bytes from the server.
    pub down: u64,
    /// Whether the server sums what it gets, which is compared then.
    pub is_summed: bool,
}

/// Returns the part of the pattern at `place` of the stream, at most `most` bytes.
fn part(place: u64, most: u64) -> &'static [u8] {
    let start = (place % PATTERN_BYTES as u64) as usize;
    let rest = &PATTERN[start..];
    &rest[..rest
        .len()
        .min(BLOCK_BYTES)
        .min(usize::try_from(most).unwrap_or(usize::MAX))]
}

/// The sum that POSIX cksum gives for `count` bytes of the pattern.
fn sum_of_pattern(count: u64) -> u32 {
    let mut digest = CRC.digest();
    let mut place = 0;
    while place < count {
        let part = part(place, count - place);
        digest.update(part);
        place += part.len() as u64;
    }
    end_sum(digest, count)
}

fn end_sum(mut digest: Digest<'static, u32, Table<16>>, count: u64) -> u32 {
    let length = 8 - count.leading_zeros() as usize / 8;
    digest.update(&count.to_le_bytes()[..length]);
    digest.finalize()
}

/// Does one transfer over a connection of its own, from `source` if one is given, and checks every
/// byte. Returns how long it took from the SYN to the server's last word.
///
/// # Errors
/// The connection broke or stalled, or other bytes came than were sent: [`ErrorKind::InvalidData`].
pub fn transfer(address: SocketAddr, source: Option<IpAddr>, order: Order) -> io::Result<Duration> {
    let expected = match order.is_summed {
        true => format!("{} {}", sum_of_pattern(order.up), order.up),
        false => order.up.to_string(),
    };
    let begun = Instant::now();
    let stream = connect(address, source)?;
    let word = if order.is_summed { " cksum" } else { "" };
    let first = format!("{}{word}\n", order.down);
    let answer = thread::scope(|scope| {
        let sender = scope.spawn(|| send(&stream, first.as_bytes(), order.up));
        let answer = receive(&stream, order.down);
        let sent = sender.join().map_err(|_| bad("the sender panicked"))?;
        // Why it cannot be sent to is known by the answer, if that failed too.
        answer.and_then(|answer| sent.map(|()| answer))
    })?;
    match answer == expected {
        true => Ok(begun.elapsed()),
        false => Err(bad(&format!(
            "the server got {answer:?}, and was sent {expected:?}"
        ))),
    }
}

fn connect(address: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // What both guests do; root may always choose it, others where the machine allows.
    let _ = set_tcp_congestion(&socket, "cubic");
    if let Some(source) = source {
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    socket.connect_timeout(&address.into(), PATIENCE)?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Sends the first line, then so many bytes of the pattern.
fn send(mut stream: &TcpStream, first: &[u8], count: u64) -> io::Result<()> {
    stream.write_all(first)?;
    send_pattern(stream, count)?;
    stream.shutdown(Shutdown::Write)
}

fn send_pattern(mut stream: &TcpStream, count: u64) -> io::Result<()> {
    let mut place = 0;
    while place < count {
        let part = part(place, count - place);
        stream.write_all(part)?;
        place += part.len() as u64;
    }
    Ok(())
}

/// Receives so many bytes of the pattern, then returns the line behind them.
fn receive(mut stream: &TcpStream, count: u64) -> io::Result<String> {
    let mut block = vec![0; BLOCK_BYTES];
    let mut place = 0;
    while place < count {
        let wanted = part(place, count - place);
        let block = &mut block[..wanted.len()];
        let got = match stream.read(block)? {
            0 => return Err(bad(&format!("the end after {place} of {count} bytes"))),
            got => &block[..got],
        };
        if got != &wanted[..got.len()] {
            let differs = got.iter().zip(wanted).position(|(is, wanted)| is != wanted);
            let at = place + differs.unwrap_or(0) as u64;
            return Err(bad(&format!("byte {at} of {count} is another")));
        }
        place += got.len() as u64;
    }
    let mut rest = String::new();
    stream.read_to_string(&mut rest)?;
    let line = rest.strip_suffix('\n');
    line.map(str::to_owned)
        .ok_or_else(|| bad(&format!("the last line is {rest:?}")))
}

fn bad(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

/// Does `connections` transfers of the same kind at once; returns how long each took.
///
/// # Errors
/// The first that failed.
pub fn transfer_on(
    connections: usize,
    address: SocketAddr,
    source: Option<IpAddr>,
    order: Order,
) -> io::Result<Vec<Duration>> {
    thread::scope(|scope| {
        let all: Vec<_> = (0..connections)
            .map(|_| scope.spawn(|| transfer(address, source, order)))
            .collect();
        all.into_iter()
            .map(|one| one.join().map_err(|_| bad("a transfer panicked"))?)
            .collect()
    })
}

/// Serves at `listener` for ever, a thread for each connection, with blocking reads and writes of
/// 128 KiB: what iperf3 would do.
///
/// # Errors
/// No connection can be accepted.
pub fn serve(listener: &TcpListener) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept()?;
        thread::spawn(move || {
            // A client that breaks off sees that itself.
            let _ = serve_one(&stream);
        });
    }
}

fn serve_one(stream: &TcpStream) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(BLOCK_BYTES, stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let down: u64 = words
        .next()
        .and_then(|word| word.parse().ok())
        .ok_or_else(|| bad(&line))?;
    let is_summed = words.next() == Some("cksum");
    let answer = thread::scope(|scope| {
        let sender = scope.spawn(|| send_pattern(stream, down));
        let (mut digest, mut received) = (CRC.digest(), 0);
        loop {
            let block = reader.fill_buf()?;
            if block.is_empty() {
                break;
            }
            if is_summed {
                digest.update(block);
            }
            let length = block.len();
            received += length as u64;
            reader.consume(length);
        }
        sender.join().map_err(|_| bad("the sender panicked"))??;
        Ok::<_, io::Error>(match is_summed {
            true => format!("{} {received}\n", end_sum(digest, received)),
            false => format!("{received}\n"),
        })
    })?;
    (&*stream).write_all(answer.as_bytes())?;
    stream.shutdown(Shutdown::Write)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn server() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || serve(&listener));
        address
    }

    #[test]
    fn bytes_go_both_ways_at_once_and_are_checked() {
        let address = server();
        for (up, down) in [(0, 0), (1, 0), (0, 1), (3_000_000, 0), (700_000, 2_000_000)] {
            for is_summed in [false, true] {
                let order = Order {
                    up,
                    down,
                    is_summed,
                };
                transfer(address, None, order).unwrap();
            }
        }
        let order = Order {
            up: 100_000,
            down: 300_000,
            is_summed: true,
        };
        transfer_on(4, address, Some(Ipv4Addr::LOCALHOST.into()), order).unwrap();
    }

    /// Answers one connection with these bytes.
    fn liar(answer: Vec<u8>) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut sent = Vec::new();
            stream.read_to_end(&mut sent).unwrap();
            stream.write_all(&answer).unwrap();
        });
        address
    }

    #[test]
    fn a_byte_that_differs_is_seen_wherever_it_is() {
        let order = Order {
            up: 10,
            down: 300_000,
            is_summed: false,
        };
        let honest = [&PATTERN[..], &PATTERN[..300_000 - PATTERN_BYTES], b"10\n"].concat();
        transfer(liar(honest.clone()), None, order).unwrap();
        for (at, says) in [
            (0, "byte 0 of"),
            (PATTERN_BYTES, "byte 256271 of"),
            (299_999, "byte 299999 of"),
            (300_000, "the server got"),
        ] {
            let mut other = honest.clone();
            other[at] ^= 1;
            let error = transfer(liar(other), None, order).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        let short = honest[..200_000].to_vec();
        let error = transfer(liar(short), None, order).unwrap_err().to_string();
        assert!(error.contains("the end after 200000"), "{error}");
    }
}
