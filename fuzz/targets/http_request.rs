//! Any bytes as what a connection sends: they are answered or waited for, never panicked at, and
//! split in two they lead to the same bytes, whether the engine knows their field lines already or not.

#![no_main]

use app_http::access_log::AccessLog;
use app_http::engine::{Batch, Client, Engine, Rest};
use app_http::limits::HeadLimits;
use app_http::request::Next;
use libfuzzer_sys::fuzz_target;
use megapipe::channel::IoVec;
use site::Site;
use site::pack::{PackOptions, pack_to_vec};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::OnceLock;

fn site() -> Site<'static> {
    static SITE: OnceLock<Site<'static>> = OnceLock::new();
    *SITE.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in [
            ("index.html", "front"),
            ("a.txt", "abcdefghij"),
            ("404.html", "none"),
            ("text.txt", &"much of a muchness, ".repeat(99)),
        ] {
            std::fs::write(folder.path().join(name), text).expect("a file");
        }
        let rules = "/old /a.txt 301\n/app/* /index.html 200\n";
        std::fs::write(folder.path().join("_redirects"), rules).expect("a file");
        let options = PackOptions {
            last_modified: Some(784_111_777),
            ..PackOptions::default()
        };
        let (image, _) = pack_to_vec(folder.path(), &options).expect("an image");
        Site::parse(image.leak()).expect("its own image")
    })
}

fn engine() -> Engine {
    let log = AccessLog::new(None);
    Engine::new(site(), HeadLimits::default(), 784_111_777, log)
}

/// Answers pieces as the server does, and returns the bytes sent.
fn converse(engine: &mut Engine, pieces: &[&[u8]]) -> Vec<u8> {
    let client = Client {
        peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
        requests_left: 1_000,
    };
    let (mut held, mut sent, mut skip) = (Vec::new(), Vec::new(), 0);
    for piece in pieces {
        held.extend_from_slice(piece);
        loop {
            let here = held.len().min(skip);
            held.drain(..here);
            skip -= here;
            let mut out = IoVec::new();
            let mut batch = Batch::NOTHING;
            engine.answer_all(&held, client, &mut out, &mut batch);
            assert!(batch.consumed <= held.len());
            if batch.requests == 0 {
                break;
            }
            let mut rest = batch.rest;
            sent.extend(out.iter().flat_map(|piece| piece.bytes().to_vec()));
            while rest != Rest::None {
                out.clear();
                rest = engine.push_rest(rest, &mut out);
                sent.extend(out.iter().flat_map(|piece| piece.bytes().to_vec()));
            }
            held.drain(..batch.consumed);
            match batch.next {
                Next::Request { skip: more } => skip = more as usize,
                Next::Close | Next::Linger => return sent,
            }
        }
    }
    sent
}

fuzz_target!(|input: &[u8]| {
    let (cut, input) = match input {
        [cut, rest @ ..] => (usize::from(*cut), rest),
        [] => (0, input),
    };
    let (first, second) = input.split_at(cut.min(input.len()));
    let mut knowing = engine();
    let whole = converse(&mut knowing, &[input]);
    assert_eq!(whole, converse(&mut engine(), &[first, second]));
    assert_eq!(whole, converse(&mut knowing, &[input]));
});
