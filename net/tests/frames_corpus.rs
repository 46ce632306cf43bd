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
