//! Appliances besides HTTP, to read and to start from: each file in `src/bin/` is a bootable image,
//! run by `./run.sh example NAME`.
//!
//! - `ping-pong`: the paper's listing; sends back what it receives.
//! - `counter`: the worked example of `docs/megapipe.md`; counts lines.
//! - `moving-shares`: the same, while the cores pass their shares of new connections to each other
//!   all the time; what is stressed on two cores.
//! - `seats`: the same, for so many clients on each core; an idle core takes who waits for another.
//! - `proxy`: a TCP load balancer to a list of backends, with health checks ([`proxy`],
//!   [`backends`]).
//! - `throughput`: takes and counts what comes, and sends as much as it is asked for
//!   ([`throughput`](mod@throughput), [`cksum`]).
//! - `sockets`: ping-pong over BSD-style sockets, to compare with (`bench/sockets/`).
//!
//! The command gives each the word `port=`, and takes the line `sluice: ready` for a promise that
//! connections are answered there.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

extern crate alloc;

pub mod backends;
pub mod cksum;
pub mod echo;
pub mod proxy;
pub mod throughput;

#[cfg(test)]
mod tests {
    #[test]
    fn the_guide_shows_its_example_as_it_is() {
        let guide = include_str!("../../docs/megapipe.md");
        let manifest = include_str!("../Cargo.toml");
        let mut blocks = 0;
        for block in guide.split("```").skip(1).step_by(2) {
            blocks += 1;
            match block.split_once('\n') {
                Some(("rust", code)) => assert_eq!(code, include_str!("bin/counter.rs")),
                Some(("toml", lines)) => assert!(manifest.contains(lines), "{lines}"),
                other => panic!("of no kind that is checked: {other:?}"),
            }
        }
        assert_eq!(blocks, 2);
    }

    #[test]
    fn the_guide_names_files_that_are_there() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let guide = include_str!("../../docs/megapipe.md");
        let prose = guide.split("```").step_by(2);
        let names = prose.flat_map(|text| text.split('`').skip(1).step_by(2));
        let is_file = |name: &&str| !name.contains(' ') && name.ends_with(".rs");
        let mut count = 0;
        for name in names.filter(is_file) {
            count += 1;
            let places = [root.join(name), root.join("megapipe/src").join(name)];
            assert!(places.iter().any(|place| place.exists()), "{name}");
        }
        assert!(count > 20, "{count}");
    }
}
