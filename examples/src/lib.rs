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
        assert!(guide.contains(include_str!("bin/counter.rs")));
    }
}
