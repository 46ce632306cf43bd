//! A small HTTP client that can also misbehave.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long a connection or a read may take here, where other work may be going on.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// Returns a header's value; names are compared without case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// One connection.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    /// What was read behind the last answer.
    rest: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Self> {
        Client::over(TcpStream::connect_timeout(&address, PATIENCE)?)
    }

    /// Speaks over a connection that is open.
    pub(crate) fn over(stream: TcpStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Client {
            stream,
            rest: Vec::new(),
        })
    }

    pub(crate) fn get(&mut self, path: &str) -> io::Result<Answer> {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: sluice\r\n\r\n").as_bytes())?;
        self.answer()
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Reads the answer to a request that has a body in its answer.
    pub(crate) fn answer(&mut self) -> io::Result<Answer> {
        let mut answer = self.head()?;
        let length: usize = match answer.header("content-length") {
            Some(text) => text.parse().map_err(|_| bad("content-length"))?,
            None => 0,
        };
        if answer.status != 304 {
            while self.rest.len() < length {
                self.more()?;
            }
            answer.body = self.rest.drain(..length).collect();
        }
        Ok(answer)
    }

    /// Reads an answer's head, and no body.
    pub(crate) fn head(&mut self) -> io::Result<Answer> {
        let end = loop {
            if let Some(at) = self.rest.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            self.more()?;
        };
        let head: Vec<u8> = self.rest.drain(..end).collect();
        let head = String::from_utf8(head).map_err(|_| bad("not text"))?;
        let mut lines = head.trim_end().split("\r\n");
        let status = lines
            .next()
            .and_then(|line| line.strip_prefix("HTTP/1.1 "))
            .and_then(|line| line.split(' ').next()?.parse().ok())
            .ok_or_else(|| bad("status line"))?;
        let headers = lines
            .map(|line| {
                let (name, value) = line.split_once(": ").ok_or_else(|| bad("header"))?;
                Ok((name.to_owned(), value.to_owned()))
            })
            .collect::<io::Result<_>>()?;
        Ok(Answer {
            status,
            headers,
            body: Vec::new(),
        })
    }

    /// Reads the next bytes of a body.
    pub(crate) fn part(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.rest.len() < length {
            self.more()?;
        }
        Ok(self.rest.drain(..length).collect())
    }

    /// Reads what comes until the other side closes.
    pub(crate) fn read_to_end(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = std::mem::take(&mut self.rest);
        self.stream.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Closes with a reset instead of a FIN.
    pub(crate) fn reset(self) {
        socket2::SockRef::from(&self.stream)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
    }

    fn more(&mut self) -> io::Result<()> {
        let mut piece = [0; 1 << 16];
        match self.stream.read(&mut piece)? {
            0 => Err(io::Error::new(ErrorKind::UnexpectedEof, "closed early")),
            length => {
                self.rest.extend_from_slice(&piece[..length]);
                Ok(())
            }
        }
    }
}

fn bad(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("bad answer: {what}"))
}

/// Asks once over a connection that the server closes; returns status and body.
pub(crate) fn get_and_close(address: SocketAddr, path: &str) -> io::Result<Answer> {
    let mut client = Client::connect(address)?;
    client.send(
        format!("GET {path} HTTP/1.1\r\nHost: sluice\r\nConnection: close\r\n\r\n").as_bytes(),
    )?;
    let answer = client.answer()?;
    match client.read_to_end()?.is_empty() {
        true => Ok(answer),
        false => Err(bad("bytes behind the body")),
    }
}
