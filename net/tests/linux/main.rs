//! The stack beside Linux's TCP: over a tap in a namespace of its own, in real time, with loss and
//! delay on the way. Up, down, and both ways at once on a connection that the stack opens; no
//! transfer fails or differs by a byte.
//!
//! Needs root and /dev/net/tun; where that is not allowed it says so and does nothing, and under
//! `CI=true` it fails. What is lost is lost by the link of the tests and from seeds, because not every
//! kernel has netem. The whole matrix takes minutes:
//! `cargo test -p net --test linux -- --ignored --nocapture` prints it as a table.

mod host;

use host::transfer;
use net::testing::{Conditions, Direction};
use std::time::Duration;

fn network(loss: u64, delay_ms: u64) -> Conditions {
    Conditions {
        loss,
        delay: Duration::from_millis(delay_ms),
        ..Conditions::PERFECT
    }
}

#[test]
fn bytes_arrive_whole_between_linux_and_the_stack_though_some_are_lost() {
    let cells = [
        (network(0, 1), 2_000_000),
        (network(10, 1), 1_000_000),
        (network(50, 5), 200_000),
    ];
    host::with_tap(|tap| {
        for (number, (conditions, bytes)) in cells.into_iter().enumerate() {
            for direction in [Direction::Down, Direction::Up, Direction::Both] {
                let seed = number as u64;
                transfer(tap, conditions, direction, bytes, seed);
            }
        }
    });
}

/// Transfers of each line of the matrix, of which the median is told.
const SEEDS: u64 = 5;

#[test]
#[ignore = "takes minutes"]
fn the_whole_matrix() {
    host::with_tap(|tap| {
        println!("loss %  delay ms  way    kbit/s  sent again");
        for loss in [0, 1, 10, 50] {
            for delay_ms in [1, 20, 100] {
                for direction in [Direction::Down, Direction::Up, Direction::Both] {
                    let conditions = network(loss, delay_ms);
                    let bytes = if loss > 10 { 300_000 } else { 1_000_000 };
                    let mut outcomes: Vec<_> = (0..SEEDS)
                        .map(|seed| transfer(tap, conditions, direction, bytes, seed))
                        .collect();
                    outcomes.sort_by_key(|outcome| outcome.kbit_s);
                    let median = &outcomes[SEEDS as usize / 2];
                    println!(
                        "{:>6}  {delay_ms:>8}  {:<5} {:>7}  {:>10}",
                        loss as f64 / 10.0,
                        direction.name(),
                        median.kbit_s,
                        median.repeated
                    );
                }
            }
        }
    });
}
