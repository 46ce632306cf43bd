//! Two stacks over bad networks, in virtual time: no transfer fails, stalls or differs by a byte,
//! and the goodput is that of `table.txt`, line for line, because everything comes from seeds.
//!
//! `SLUICE_BLESS=1` writes the table anew; look at what has changed before it is committed.
//! `SLUICE_SEEDS=N` runs N seeds of each line more than the table has, and says which are slow.

mod transfer;

use net::testing::{Conditions, Direction, Rate};
use std::fmt::Write as _;
use std::time::Duration;
use transfer::{Outcome, transfer};

/// What a line of the table is about.
#[derive(Debug, Clone, Copy)]
struct Case {
    name: &'static str,
    conditions: Conditions,
    rate: Option<Rate>,
    direction: Direction,
    window_bytes: usize,
    bytes: usize,
    /// The server's device puts together what has come in two milliseconds.
    is_large: bool,
}

impl Case {
    /// Transfers of its line, of which the median is told: the more, the more chance decides. With one
    /// in five lost, goodput was from 200 to 7,500 kbit/s, so the mean of four said nothing.
    fn seeds(&self) -> u64 {
        let Conditions {
            loss,
            duplication,
            reordering,
            ..
        } = self.conditions;
        match loss.max(duplication).max(reordering) {
            0 => 1,
            1..200 => 11,
            200.. => 41,
        }
    }
}

const fn network(loss: u64, delay_ms: u64) -> Conditions {
    Conditions {
        loss,
        delay: Duration::from_millis(delay_ms),
        ..Conditions::PERFECT
    }
}

const fn rate(megabits: u64, queue_kib: u64) -> Option<Rate> {
    Some(Rate {
        bytes_per_second: megabits * 1_000_000 / 8,
        queue_bytes: queue_kib * 1024,
    })
}

/// Every combination of loss, delay and direction over a link of 100 Mbit/s, then what else
/// networks do, one at a time and together.
fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for direction in [Direction::Down, Direction::Both] {
        for loss in [0, 1, 10, 50] {
            for delay_ms in [1, 20, 100] {
                cases.push(Case {
                    name: "loss",
                    conditions: network(loss, delay_ms),
                    rate: rate(100, 256),
                    direction,
                    window_bytes: 256 * 1024,
                    bytes: 1_000_000,
                    is_large: false,
                });
            }
        }
    }
    let base = Case {
        name: "",
        conditions: network(0, 10),
        rate: rate(20, 64),
        direction: Direction::Both,
        window_bytes: 256 * 1024,
        bytes: 1_000_000,
        is_large: false,
    };
    let reordering = Conditions {
        reordering: 50,
        ..base.conditions
    };
    let duplication = Conditions {
        duplication: 100,
        ..base.conditions
    };
    let everything = Conditions {
        loss: 20,
        duplication: 20,
        reordering: 50,
        corruption: 10,
        ..base.conditions
    };
    cases.extend([
        Case {
            name: "no bottleneck",
            rate: None,
            ..base
        },
        Case {
            name: "short queue",
            rate: rate(20, 8),
            ..base
        },
        Case {
            name: "long queue",
            rate: rate(20, 1024),
            ..base
        },
        Case {
            name: "slow",
            rate: rate(1, 16),
            bytes: 200_000,
            ..base
        },
        Case {
            name: "fast and far",
            rate: rate(100, 512),
            conditions: network(0, 100),
            window_bytes: 1 << 20,
            bytes: 8_000_000,
            direction: Direction::Down,
            is_large: false,
        },
        Case {
            name: "small windows",
            window_bytes: 4096,
            ..base
        },
        Case {
            name: "small windows, loss",
            conditions: network(20, 10),
            window_bytes: 4096,
            bytes: 200_000,
            ..base
        },
        Case {
            name: "reordering",
            conditions: reordering,
            ..base
        },
        Case {
            name: "duplication",
            conditions: duplication,
            ..base
        },
        Case {
            name: "everything",
            conditions: everything,
            ..base
        },
        Case {
            name: "everything, up",
            conditions: everything,
            direction: Direction::Up,
            ..base
        },
        Case {
            name: "one in five lost",
            conditions: network(200, 10),
            bytes: 100_000,
            ..base
        },
    ]);
    cases.extend(large_cases(&base, everything));
    cases
}

/// Uploads in frames of up to 64 KiB.
fn large_cases(base: &Case, everything: Conditions) -> Vec<Case> {
    let mut cases = Vec::new();
    for loss in [0, 1, 10, 50] {
        for delay_ms in [1, 20, 100] {
            cases.push(Case {
                name: "large receive",
                conditions: network(loss, delay_ms),
                rate: rate(100, 256),
                direction: Direction::Up,
                is_large: true,
                ..*base
            });
        }
    }
    cases.extend([
        Case {
            name: "large, no bottleneck",
            rate: None,
            is_large: true,
            ..*base
        },
        Case {
            name: "large, everything",
            conditions: everything,
            rate: rate(100, 256),
            is_large: true,
            ..*base
        },
    ]);
    cases
}

/// The line of a case, from the outcomes of its seeds.
fn line(case: &Case, outcomes: &[Outcome]) -> String {
    let median = |of: fn(&Outcome) -> u64| {
        let mut all: Vec<u64> = outcomes.iter().map(of).collect();
        all.sort_unstable();
        all[all.len() / 2]
    };
    let conditions = case.conditions;
    let rate = case.rate.map_or("-".into(), |rate| {
        let megabits = rate.bytes_per_second * 8 / 1_000_000;
        format!("{megabits}/{}", rate.queue_bytes / 1024)
    });
    let slowest = outcomes.iter().map(|outcome| outcome.longest_ms).max();
    format!(
        "{:<20} {:>4} {:>3} {:>3} {:>5} {:>8} {:>5} {:>7} {:>7} {:>6} {:>6}",
        case.name,
        conditions.loss,
        conditions.duplication,
        conditions.reordering,
        conditions.delay.as_millis(),
        rate,
        case.direction.name(),
        median(|outcome| outcome.goodput_kbit_s),
        median(|outcome| outcome.segments),
        median(|outcome| outcome.repeated),
        slowest.unwrap_or(0),
    )
}

const HEAD: &str = "\
# Goodput between two stacks, median of the seeds. Loss, duplication and reordering in per mille, delay in ms one way, rate in
# Mbit/s with its queue in KiB; goodput in kbit/s of payload, both ways together; segments sent and segments sent again;
# the longest time without progress in ms.
case                 loss dup reo delay     rate   way goodput segment repeat  pause
";

#[test]
fn goodput_is_that_of_the_table() {
    let more: u64 = std::env::var("SLUICE_SEEDS").map_or(0, |seeds| seeds.parse().expect("N"));
    let mut table = String::from(HEAD);
    for case in cases() {
        let seeds = case.seeds();
        let outcomes: Vec<_> = (0..seeds).map(|seed| transfer(&case, seed)).collect();
        writeln!(table, "{}", line(&case, &outcomes)).expect("a string grows");
        if more > 0 {
            println!("{}", line(&case, &outcomes));
        }
        let mean = outcomes.iter().map(|outcome| outcome.total_ms).sum::<u64>() / seeds;
        for seed in seeds..seeds + more {
            let outcome = transfer(&case, seed);
            if outcome.total_ms > 3 * mean || outcome.longest_ms > 4000 {
                println!("  seed {seed}: {outcome:?}");
            }
        }
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/goodput/table.txt");
    if std::env::var_os("SLUICE_BLESS").is_some() {
        std::fs::write(path, &table).expect("writable");
    }
    let committed = std::fs::read_to_string(path).expect("table.txt");
    for (is, was) in table.lines().zip(committed.lines()) {
        assert_eq!(is, was, "SLUICE_BLESS=1 takes the new table over");
    }
    assert_eq!(table.lines().count(), committed.lines().count());
}
