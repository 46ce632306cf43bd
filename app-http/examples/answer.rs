//! What HTTP's own share of a request costs, to be counted in instructions:
//!
//! ```text
//! cargo build --profile image -p app-http --example answer
//! valgrind --tool=callgrind --toggle-collect='*serve_one*' target/image/examples/answer h2load 1000
//! ```
//!
//! The arguments are a client (see [`CLIENTS`]) and a number of requests, at most 9,000; a third one,
//! `new`, makes the field lines of each request differ from all others by a number in them, so that
//! none is known already. The instructions counted, divided by the requests, are the cost: parsing,
//! look-up among 1,000 pages, and assembly of the pieces of the write.

use app_http::access_log::AccessLog;
use app_http::engine::{Batch, Client, Engine};
use app_http::limits::HeadLimits;
use megapipe::channel::IoVec;
use site::Site;
use site::pack::{Compression, PackOptions, pack_to_vec};
use std::fs;
use std::net::{IpAddr, Ipv4Addr};

/// Clients, and the field lines that they send.
const CLIENTS: [(&str, &str, &str); 7] = [
    ("wrk", "GET", "Host: 127.0.0.1:8080\r\n"),
    (
        "h2load",
        "GET",
        "Host: 127.0.0.1:8080\r\nUser-Agent: h2load nghttp2/1.52.0\r\n",
    ),
    (
        "curl",
        "GET",
        "Host: 127.0.0.1:8080\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n",
    ),
    (
        "browser",
        "GET",
        "Host: example.org\r\nConnection: keep-alive\r\n\
         sec-ch-ua: \"Chromium\";v=\"128\", \"Not;A=Brand\";v=\"24\"\r\n\
         sec-ch-ua-mobile: ?0\r\nsec-ch-ua-platform: \"Linux\"\r\nUpgrade-Insecure-Requests: 1\r\n\
         User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
         Chrome/128.0.0.0 Safari/537.36\r\n\
         Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,\
         */*;q=0.8\r\nSec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-User: ?1\r\n\
         Sec-Fetch-Dest: document\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\
         Accept-Language: en-GB,en;q=0.9\r\n",
    ),
    (
        "304",
        "GET",
        "Host: 127.0.0.1:8080\r\nIf-None-Match: TAG\r\n",
    ),
    ("head", "HEAD", "Host: 127.0.0.1:8080\r\n"),
    // As wrk, for a page without content.
    ("empty", "GET", "Host: 127.0.0.1:8080\r\n"),
];

fn main() {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or("h2load".to_owned());
    let count: usize = arguments
        .next()
        .map_or(1000, |text| text.parse().expect("a number"));
    let client = CLIENTS.iter().find(|(client, ..)| *client == name);
    let (_, method, fields) = client.expect("one of the clients");
    let site = site();
    let target = match name.as_str() {
        "empty" => "/zero-500.html",
        _ => "/page-500.html",
    };
    let page = site.default_host().lookup(target.as_bytes());
    let page = page.expect("a page");
    let tag = String::from_utf8_lossy(page.identity().etag());
    let fields = fields.replace("TAG", &tag);
    let is_new = arguments.next().as_deref() == Some("new");
    let requests: Vec<String> = (1000..10_000)
        .take(if is_new { count } else { 1 })
        .map(|number| {
            let number = number.to_string();
            let fields = fields.replace("8080", &number).replace("128.0", &number);
            format!("{method} {target} HTTP/1.1\r\n{fields}\r\n")
        })
        .collect();
    let log = AccessLog::new(None);
    let mut engine = Engine::new(site, HeadLimits::default(), 784_111_777, log);
    let mut pieces = IoVec::new();
    for request in requests.iter().cycle().take(count) {
        pieces.clear();
        serve_one(&mut engine, request.as_bytes(), &mut pieces);
    }
    assert_eq!(engine.counters.requests(), count as u64);
    println!("{name}: {count} requests of {} bytes", requests[0].len());
}

/// Answers one request.
#[inline(never)]
fn serve_one(engine: &mut Engine, request: &[u8], pieces: &mut IoVec) {
    let client = Client {
        peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
        requests_left: u32::MAX,
    };
    let mut batch = Batch::NOTHING;
    engine.answer_all(request, client, pieces, &mut batch);
    assert_eq!(batch.consumed, request.len());
}

/// A site of 1,000 pages of 612 bytes.
fn site() -> Site<'static> {
    let folder = tempfile::tempdir().expect("a folder");
    for number in 0..1000 {
        let content = format!("{number:0612}");
        fs::write(folder.path().join(format!("page-{number}.html")), content).expect("written");
    }
    fs::write(folder.path().join("zero-500.html"), "").expect("written");
    let options = PackOptions {
        last_modified: Some(784_111_777),
        compression: Compression::Fast,
        ..PackOptions::default()
    };
    let (image, _) = pack_to_vec(folder.path(), &options).expect("packed");
    Site::parse(image.leak()).expect("sound")
}
