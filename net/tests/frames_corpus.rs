//! What the fuzz target `frames` has found interesting, played again: `frames_corpus/stories` holds
//! one input behind the other, each with its length in two bytes.
//!
//! To take in what further fuzzing has found:
//! `SLUICE_CORPUS=../fuzz/corpus/frames cargo test -p net --test frames_corpus -- --ignored`

use net::testing::{Random, play};
use std::fs;
use std::path::Path;

const STORIES: &[u8] = include_bytes!("frames_corpus/stories");

/// Stories longer than this are not kept.
const MOST_BYTES: usize = 1024;

fn stories() -> Vec<&'static [u8]> {
    let mut stories = Vec::new();
    let mut rest = STORIES;
    while let [high, low, more @ ..] = rest {
        let (story, more) = more.split_at(usize::from(u16::from_be_bytes([*high, *low])));
        stories.push(story);
        rest = more;
    }
    assert!(rest.is_empty());
    stories
}

#[test]
fn what_fuzzing_found_interesting_neither_panics_nor_leaks() {
    assert!(stories().len() > 100);
    stories().into_iter().for_each(play);
}

#[test]
fn parts_of_one_story_in_another_neither_panic_nor_leak() {
    let (stories, mut random) = (stories(), Random::new(11));
    let mut below = |span: usize| random.below(span.max(1) as u64) as usize;
    for _ in 0..3000 {
        let mut story = Vec::new();
        for _ in 0..1 + below(5) {
            let part = stories[below(stories.len())];
            let from = below(part.len());
            story.extend(&part[from..from + below(part.len() - from + 1)]);
        }
        if !story.is_empty() {
            let at = below(story.len());
            story[at] = below(256) as u8;
        }
        play(&story);
    }
}

/// Steps of stories over IPv6 (kind 132, length, protocol, addresses): a question, an answer, a router
/// with a prefix and a packet size, a ping, a packet that was too large, a SYN, options before it, and
/// a question about groups. And steps of fragments (kind 68): a ping's two halves in each family.
fn steps_over_ipv6() -> Vec<Vec<u8>> {
    let ours = [0xfd, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let prefix = [3, 4, 64, 0xc0, 0, 0, 0, 9, 0, 0, 0, 5, 0, 0, 0, 0];
    let network = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let quoted = [0x60, 0, 0, 0, 4, 0, 6, 64];
    let syn = [
        3, 0xe8, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 1, 1, 0, 0, 0, 0,
    ];
    let packets: [(u8, u8, Vec<u8>); 8] = [
        (
            0,
            4,
            [
                &[135, 0, 0, 0, 0, 0, 0, 0][..],
                &ours,
                &[1, 1, 2, 0, 0, 0, 0, 2],
            ]
            .concat(),
        ),
        (
            0,
            8,
            [
                &[136, 0, 0, 0, 0x20, 0, 0, 0][..],
                &ours,
                &[2, 1, 2, 0, 0, 0, 0, 2],
            ]
            .concat(),
        ),
        (
            0,
            9,
            [
                &[134, 0, 0, 0, 64, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0][..],
                &prefix,
                &network,
                &[5, 1, 0, 0, 0, 0, 5, 0x78],
            ]
            .concat(),
        ),
        (0, 0, vec![128, 0, 0, 0, 1, 2, 3, 4, 5, 6]),
        (
            0,
            0,
            [
                &[2, 0, 0, 0, 0, 0, 5, 0][..],
                &quoted,
                &ours,
                &network,
                &syn,
            ]
            .concat(),
        ),
        (3, 0, syn.to_vec()),
        (5, 0, [&[6, 0, 1, 4, 0, 0, 0, 0][..], &syn].concat()),
        (
            4,
            0xf9,
            [
                &[58, 0, 5, 2, 0, 0, 1, 0, 130, 0, 0, 0, 3, 0, 0, 0][..],
                &[0; 16],
                &[2, 125, 0, 0],
            ]
            .concat(),
        ),
    ];
    let steps = packets.into_iter().map(|(protocol, addresses, payload)| {
        let head = [132, payload.len() as u8 + 2, protocol, addresses];
        [&head[..], &payload].concat()
    });
    let ping = [8, 0, 0, 0, 0, 1, 0, 1, 5, 5, 5, 5, 5, 5, 5, 5];
    let halves = [0, 1].into_iter().flat_map(|family| {
        let first = [&[68, 18, family | 2, 0][..], &ping].concat();
        let last = [&[68, 10, family, 2][..], &ping[..8]].concat();
        [first, last]
    });
    steps.chain(halves).collect()
}

#[test]
fn stories_over_ipv6_neither_panic_nor_leak() {
    let (steps, mut random) = (steps_over_ipv6(), Random::new(12));
    let mut below = |span: usize| random.below(span as u64) as usize;
    for _ in 0..5000 {
        let mut story = Vec::new();
        for _ in 0..1 + below(6) {
            let mut step = steps[below(steps.len())].clone();
            for _ in 0..below(3) {
                let at = 2 + below(step.len() - 2);
                step[at] = below(256) as u8;
            }
            story.extend(step);
            // Some time passes.
            story.extend([6, 2, below(256) as u8, below(12) as u8]);
        }
        play(&story);
    }
}

#[test]
#[ignore = "writes the file that the others read"]
fn take_in_a_corpus() {
    let Ok(folder) = std::env::var("SLUICE_CORPUS") else {
        return;
    };
    let files = fs::read_dir(folder).expect("a folder");
    let inputs = files.map(|file| fs::read(file.expect("a file").path()).expect("a file"));
    let mut inputs: Vec<_> = inputs.filter(|input| input.len() <= MOST_BYTES).collect();
    inputs.sort();
    let mut bundle = Vec::new();
    for input in inputs {
        bundle.extend((input.len() as u16).to_be_bytes());
        bundle.extend(input);
    }
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/frames_corpus/stories");
    fs::write(place, bundle).expect("a file that can be written");
}
