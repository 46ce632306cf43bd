//! A part of a crowd: one process with many connections from an address of its own, since files
//! and ports are bounded by process and by address.
//!
//! `client crowd ADDR PATH SOURCE CONNECTIONS` opens them, asks once on each, and says `open`. Then
//! each line of its input `REQUESTS` is answered, when so many have been answered with 200, with
//! their number. It ends with its input.

use crate::Error;
use crate::client::{ANSWER, request, response};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::Write;
use std::net::{IpAddr, SocketAddr, TcpStream};

/// Requests under way at once.
const AT_ONCE: usize = 16;

/// Runs the words behind `client crowd`.
pub(crate) fn run(words: &[&str]) -> Result<(), Error> {
    let [address, path, source, connections] = words else {
        return Err("client crowd: wrong words".into());
    };
    let (address, source) = (address.parse()?, source.parse()?);
    let request = request(path, address, true);
    let mut crowd = Vec::new();
    for _ in 0..connections.parse::<usize>()? {
        crowd.push(open(address, source)?);
        ask(&mut crowd, &request, |len, _| len - 1, 1)?;
    }
    say("open")?;
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for line in std::io::stdin().lines() {
        let wanted: u64 = line?.trim().parse()?;
        let mut answered = 0;
        while answered < wanted {
            let count = AT_ONCE.min((wanted - answered) as usize).min(crowd.len());
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            // Apart from each other: no connection is asked twice at once.
            let first = (random >> 11) as usize;
            let step = crowd.len() / count;
            ask(
                &mut crowd,
                &request,
                |len, i| (first + i * step) % len,
                count,
            )?;
            answered += count as u64;
        }
        say(&answered.to_string())?;
    }
    Ok(())
}

fn say(line: &str) -> std::io::Result<()> {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{line}")?;
    output.flush()
}

fn open(address: SocketAddr, source: IpAddr) -> Result<TcpStream, Error> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.bind(&SocketAddr::new(source, 0).into())?;
    socket.connect_timeout(&address.into(), ANSWER)?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER))?;
    Ok(stream)
}

/// Asks `count` of the crowd at once, those that `pick` names.
fn ask(
    crowd: &mut [TcpStream],
    request: &str,
    pick: impl Fn(usize, usize) -> usize,
    count: usize,
) -> Result<(), Error> {
    for i in 0..count {
        let at = pick(crowd.len(), i);
        crowd[at].write_all(request.as_bytes())?;
    }
    for i in 0..count {
        let at = pick(crowd.len(), i);
        let status = response(&mut crowd[at])?;
        if status != 200 {
            return Err(format!("answered with {status}").into());
        }
    }
    Ok(())
}
