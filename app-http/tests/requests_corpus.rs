//! What the fuzz target `http_request` has found interesting, played again: `requests_corpus/inputs`
//! holds one input behind the other, each with its length in two bytes. The first byte of an input is
//! where it is cut in two.
//!
//! To take in what further fuzzing has found:
//! `SLUICE_CORPUS=../fuzz/corpus/http_request cargo test -p app-http --test requests_corpus -- --ignored`

mod support;

use app_http::request::Next;
use site::Site;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use support::{answer_all, engine_of, site};

const INPUTS: &[u8] = include_bytes!("requests_corpus/inputs");

/// Inputs longer than this are not kept.
const MOST_BYTES: usize = 2048;

fn inputs() -> Vec<&'static [u8]> {
    let mut inputs = Vec::new();
    let mut rest = INPUTS;
    while let [high, low, more @ ..] = rest {
        let (input, more) = more.split_at(usize::from(u16::from_be_bytes([*high, *low])));
        inputs.push(input);
        rest = more;
    }
    assert!(rest.is_empty());
    inputs
}

/// Answers pieces as the server does, and returns the bytes sent.
fn converse(pieces: &[&[u8]]) -> Vec<u8> {
    static SITE: OnceLock<Site<'static>> = OnceLock::new();
    let mut engine = engine_of(*SITE.get_or_init(site));
    let (mut held, mut sent, mut skip) = (Vec::new(), Vec::new(), 0);
    for piece in pieces {
        held.extend_from_slice(piece);
        loop {
            let here = held.len().min(skip);
            held.drain(..here);
            skip -= here;
            let (batch, bytes) = answer_all(&mut engine, &held);
            assert!(batch.consumed <= held.len());
            if batch.requests == 0 {
                break;
            }
            sent.extend(bytes);
            held.drain(..batch.consumed);
            match batch.next {
                Next::Request { skip: more } => skip = more as usize,
                Next::Close | Next::Linger => return sent,
            }
        }
    }
    sent
}

#[test]
fn what_fuzzing_found_interesting_is_answered_alike_in_one_piece_and_in_two() {
    assert!(inputs().len() > 500);
    for input in inputs() {
        let [cut, input @ ..] = input else { continue };
        let (first, second) = input.split_at(usize::from(*cut).min(input.len()));
        let text = String::from_utf8_lossy(input);
        assert!(
            converse(&[input]) == converse(&[first, second]),
            "{cut}: {text}"
        );
    }
}

#[test]
#[ignore = "takes a corpus in, by hand"]
fn take_in_a_corpus() {
    let folder = std::env::var("SLUICE_CORPUS").expect("the folder of a corpus");
    let files = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut inputs: Vec<Vec<u8>> = files.map(|file| fs::read(file).unwrap()).collect();
    inputs.retain(|input| input.len() <= MOST_BYTES);
    inputs.sort();
    let mut all = Vec::new();
    for input in &inputs {
        all.extend((input.len() as u16).to_be_bytes());
        all.extend(input);
    }
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/requests_corpus/inputs");
    fs::write(place, all).unwrap();
}
