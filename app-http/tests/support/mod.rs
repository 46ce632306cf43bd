//! A site for tests, and requests to it.

#![allow(dead_code, reason = "each test binary uses a part")]

use app_http::access_log::AccessLog;
use app_http::engine::{Batch, Client, Engine, Rest};
use app_http::limits::HeadLimits;
use app_http::request::Next;
use megapipe::channel::{Buffer, Channel, ChannelConfig, IoVec};
use site::Site;
use site::pack::{PackOptions, pack_to_vec};
use std::fs;
use std::net::{IpAddr, Ipv4Addr};

/// Unix time at which tests begin: the RFC's example.
pub(crate) const BOOT: u64 = 784_111_777;
/// Unix time of every page's last change, a day before.
pub(crate) const MODIFIED: u64 = BOOT - 86_400;
pub(crate) const LAST_MODIFIED: &str = "Sat, 05 Nov 1994 08:49:37 GMT";

pub(crate) const FILES: [(&str, &[u8]); 8] = [
    ("index.html", b"front page"),
    ("empty.txt", b""),
    ("a b.css", b"body{}"),
    ("sub/index.html", b"inner"),
    ("404.html", b"own 404"),
    ("letters.txt", b"abcdefghijklmnopqrstuvwxyz"),
    ("large.bin", &[0x5a; 300_000]),
    (
        "_redirects",
        b"/old /letters.txt 301\n/blog/* /news/:splat 302\n/app/* /index.html 200\n",
    ),
];

/// Packs files.
pub(crate) fn pack(files: &[(&str, &[u8])], options: &PackOptions) -> Site<'static> {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let file = dir.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, content).unwrap();
    }
    let (image, _) = pack_to_vec(dir.path(), options).unwrap();
    Site::parse(image.leak()).unwrap()
}

/// Packs the test site.
pub(crate) fn site() -> Site<'static> {
    let options = PackOptions {
        last_modified: Some(MODIFIED),
        ..PackOptions::default()
    };
    pack(&FILES, &options)
}

/// Returns the ETag of a page, with its quotes.
pub(crate) fn etag(site: &Site<'static>, path: &str) -> String {
    let page = site.default_host().lookup(path.as_bytes()).unwrap();
    String::from_utf8(page.identity().etag().to_vec()).unwrap()
}

pub(crate) fn engine_of(site: Site<'static>) -> Engine {
    Engine::new(site, HeadLimits::default(), BOOT, AccessLog::new(None))
}

pub(crate) fn engine() -> Engine {
    engine_of(site())
}

/// Somebody with that many requests left.
pub(crate) fn client(requests_left: u32) -> Client {
    Client {
        peer: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 7)),
        requests_left,
    }
}

/// Returns a small channel.
pub(crate) fn channel() -> Channel {
    Channel::create(ChannelConfig {
        handles: 1,
        batch: 1,
        chunks: 1,
        buffers: 1,
        buffer_bytes: 8192,
        timers: 4,
    })
}

/// Returns a buffer of a channel that is gone.
fn buffer() -> Option<Buffer> {
    channel().buffer()
}

fn bytes_of(pieces: &IoVec) -> Vec<u8> {
    pieces
        .iter()
        .flat_map(|piece| piece.bytes().to_vec())
        .collect()
}

/// Answers what is complete of `input`, and finishes the answers.
pub(crate) fn answer_all(engine: &mut Engine, input: &[u8]) -> (Batch, Vec<u8>) {
    answer_some(engine, input, client(u32::MAX))
}

pub(crate) fn answer_some(engine: &mut Engine, input: &[u8], client: Client) -> (Batch, Vec<u8>) {
    let mut pieces = IoVec::new();
    engine.room.spare = buffer();
    let mut batch = Batch::NOTHING;
    engine.answer_all(input, client, &mut pieces, &mut batch);
    let mut bytes = bytes_of(&pieces);
    let mut rest = batch.rest;
    while rest != Rest::None {
        pieces.clear();
        rest = engine.push_rest(rest, &mut pieces);
        bytes.extend(bytes_of(&pieces));
    }
    (batch, bytes)
}

/// One answer, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Status line and field lines.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    pub(crate) next: Next,
    /// Bytes of the request.
    pub(crate) consumed: usize,
}

impl Reply {
    /// Returns the value of a field that is there once.
    #[track_caller]
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let lines = self.head.split("\r\n").skip(1);
        let mut values = lines
            .filter_map(|line| line.split_once(": "))
            .filter(|(field, _)| *field == name);
        let value = values.next().map(|(_, value)| value);
        assert_eq!(values.next(), None, "{name} twice:\n{}", self.head);
        value
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Takes the bytes of one answer apart, and checks what holds for every answer.
#[track_caller]
pub(crate) fn reply(batch: &Batch, bytes: &[u8]) -> Reply {
    let end = bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .expect("a blank line");
    let head = String::from_utf8(bytes[..end].to_vec()).expect("a head in ASCII");
    let reply = Reply {
        status: head["HTTP/1.1 ".len()..][..3].parse().expect("a status"),
        head,
        body: bytes[end + 4..].to_vec(),
        next: batch.next,
        consumed: batch.consumed,
    };
    assert!(reply.head.starts_with("HTTP/1.1 "), "{}", reply.head);
    assert!(
        !reply.head.contains("\n\n") && !reply.head.contains("\r\r"),
        "{}",
        reply.head
    );
    assert!(reply.field("Date").is_some(), "{}", reply.head);
    let length = reply
        .field("Content-Length")
        .map(|length| length.parse::<usize>().unwrap());
    if !reply.body.is_empty() {
        assert_eq!(length, Some(reply.body.len()), "{}", reply.head);
    }
    let is_last = !matches!(reply.next, Next::Request { .. });
    assert_eq!(
        reply.field("Connection") == Some("close"),
        is_last,
        "{}",
        reply.head
    );
    reply
}

/// Returns the answer to one complete request.
#[track_caller]
pub(crate) fn ask(engine: &mut Engine, request: impl AsRef<[u8]>) -> Reply {
    let request = request.as_ref();
    let (batch, bytes) = answer_all(engine, request);
    assert_eq!(batch.requests, 1, "{:?}", String::from_utf8_lossy(request));
    reply(&batch, &bytes)
}

/// Returns the answer to a request of version 1.1 with a Host.
#[track_caller]
pub(crate) fn get(engine: &mut Engine, line: &str, fields: &str) -> Reply {
    ask(
        engine,
        format!("{line} HTTP/1.1\r\nHost: a\r\n{fields}\r\n"),
    )
}
