//! `bench netem`: goodput of bulk transfers to and from the example `throughput`, beside a Linux guest in
//! the same conditions: loss and delay on a wire of 50 Mbit/s between guest and host (`traffic::wire`:
//! what netem does, where the kernel has none), the host's TCP at the other end of both.
//!
//! Every byte of every transfer is checked, and one that fails fails the run. A figure is the median of
//! several transfers; where loss keeps them far below the rate, they run at the same time. Both guests
//! run under TCG, which has to be fast enough for the rate: the first rows show it. `netem 0.1/20 5/1`
//! measures only with 0.1 % and 20 ms, and with 5 % and 1 ms; `--rounds N` before them says how often.

use crate::Error;
use crate::bulk::{Guests, transfer, wait_for};
use crate::namespace::Namespace;
use crate::vm::{Image, Vm};
use crate::wire::WireProcess;
use crate::work::Work;
use std::time::Duration;
use traffic::bulk::Order;
use traffic::conditions::{Conditions, Path, Rate};

/// Loss in per mille.
const LOSSES: [u32; 4] = [0, 1, 10, 50];
/// One way.
const DELAYS_MS: [u64; 3] = [1, 20, 100];
const RATE: Rate = Rate {
    megabits: 50,
    queue_bytes: 1 << 20,
};

/// Transfers of a figure, one after the other: without and with loss by chance; and at once.
const IN_TURN: usize = 3;
const IN_TURN_LOSSY: usize = 7;
const AT_ONCE: usize = 9;
/// Below what part of Linux's goodput a row is marked.
const SLOW: f64 = 0.8;

/// Measures both systems and prints the table.
pub(crate) fn run(words: &[&str], elf: &std::path::Path) -> Result<(), Error> {
    let (rounds, words) = match words {
        ["--rounds", rounds, rest @ ..] => (Some(rounds.parse()?), rest),
        all => (None, all),
    };
    let paths = chosen(words)?;
    let work = Work::create()?;
    let guests = Guests::build(elf, &work)?;
    let mut columns = Vec::new();
    for (name, image) in guests.images() {
        println!("{name} ...");
        columns.push(measure(&image, &work, &paths, rounds)?);
    }
    let (megabits, queue) = (RATE.megabits, RATE.queue_bytes >> 10);
    println!(
        "\nTCG, wire of {megabits} Mbit/s with a queue of {queue} KiB; kbit/s of payload, medians"
    );
    println!(
        "{:>6} {:>9} {:>9} {:>9} {:>7} {:>9} {:>9} {:>7}",
        "loss %", "delay ms", "Sluice up", "Linux up", "ratio", "down", "down", "ratio"
    );
    let mark = |ratio: f64| if ratio < SLOW { "!" } else { " " };
    for (path, (ours, theirs)) in paths.iter().zip(columns[0].iter().zip(&columns[1])) {
        let (up, down) = (ours[0] / theirs[0], ours[1] / theirs[1]);
        println!(
            "{:6.1} {:9} {:9.0} {:9.0} {up:6.2}{} {:9.0} {:9.0} {down:6.2}{}",
            f64::from(path.conditions.loss_per_mille) / 10.0,
            path.conditions.delay.as_millis(),
            ours[0],
            theirs[0],
            mark(up),
            ours[1],
            theirs[1],
            mark(down),
        );
    }
    Ok(())
}

/// A path for each pair of loss and delay.
fn paths() -> Vec<Path> {
    let pairs = LOSSES
        .into_iter()
        .flat_map(|loss| DELAYS_MS.map(|delay| (loss, delay)));
    let path = |(last, (loss_per_mille, delay_ms))| Path {
        host: [10, 78, 0, last].into(),
        conditions: Conditions {
            loss_per_mille,
            delay: Duration::from_millis(delay_ms),
            rate: Some(RATE),
        },
    };
    (100..).zip(pairs).map(path).collect()
}

/// Returns those that the words name, or all.
fn chosen(words: &[&str]) -> Result<Vec<Path>, Error> {
    let all = paths();
    let names: Vec<String> = all.iter().map(name).collect();
    if let Some(word) = words
        .iter()
        .find(|word| !names.iter().any(|name| name == *word))
    {
        return Err(format!("{word}: there are {}", names.join(", ")).into());
    }
    let pairs = all.into_iter().zip(&names);
    let wanted = pairs.filter(|(_, name)| words.is_empty() || words.contains(&name.as_str()));
    Ok(wanted.map(|(path, _)| path).collect())
}

/// Loss in percent and delay in milliseconds.
fn name(path: &Path) -> String {
    let loss = f64::from(path.conditions.loss_per_mille) / 10.0;
    format!("{loss}/{}", path.conditions.delay.as_millis())
}

/// The rate in kbit/s that loss and delay leave (Mathis et al. 1997), at most that of the wire.
fn expected_kbit_s(conditions: &Conditions) -> f64 {
    let round_trip_ms = 2.0 * conditions.delay.as_secs_f64() * 1000.0;
    let loss = f64::from(conditions.loss_per_mille) / 1000.0;
    let rate = 1.22 * 1448.0 * 8.0 / round_trip_ms / loss.sqrt();
    rate.min(f64::from(RATE.megabits) * 1000.0)
}

/// Returns the goodput up and down of each path, in kbit/s.
fn measure(
    image: &Image<'_>,
    work: &Work,
    paths: &[Path],
    rounds: Option<usize>,
) -> Result<Vec<[f64; 2]>, Error> {
    let namespace = Namespace::create(1)?;
    let _wire = WireProcess::lay(&namespace, paths)?;
    let _vm = Vm::boot(image, &namespace, &work.0, None)?;
    wait_for(&namespace)?;
    let of_path = |path: &Path| {
        let expected = expected_kbit_s(&path.conditions);
        // Four seconds, by expectation.
        let bytes = (expected * 500.0).max(300_000.0) as u64;
        let is_slow = expected * (AT_ONCE as f64) < f64::from(RATE.megabits) * 1000.0;
        let (rounds, connections) = match (rounds, path.conditions.loss_per_mille) {
            (rounds, _) if is_slow => (rounds.unwrap_or(1), AT_ONCE),
            (Some(rounds), _) => (rounds, 1),
            (None, 0) => (IN_TURN, 1),
            (None, _) => (IN_TURN_LOSSY, 1),
        };
        let goodput = |up, down| -> Result<f64, Error> {
            let order = Order {
                up,
                down,
                is_summed: true,
            };
            let mut took = Vec::new();
            for _ in 0..rounds {
                let source = path.host.to_string();
                took.extend(transfer(&namespace, &source, order, connections)?);
            }
            if took.is_empty() {
                return Err("--rounds 0: nothing to tell".into());
            }
            took.sort();
            let kbit_s = bytes as f64 * 8.0 / 1000.0 / took[took.len() / 2].as_secs_f64();
            match kbit_s < f64::from(RATE.megabits) * 1000.0 {
                true => Ok(kbit_s),
                false => Err("faster than the wire: frames go around it".into()),
            }
        };
        let figures = [goodput(bytes, 0)?, goodput(0, bytes)?];
        println!(
            "  {}: up {:.0}, down {:.0} kbit/s",
            name(path),
            figures[0],
            figures[1]
        );
        Ok(figures)
    };
    paths.iter().map(of_path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_expected_falls_with_loss_and_delay_from_the_rate_on() {
        let expected = |loss_per_mille, delay_ms| {
            expected_kbit_s(&Conditions {
                loss_per_mille,
                delay: Duration::from_millis(delay_ms),
                rate: Some(RATE),
            })
        };
        assert_eq!(expected(0, 100), 50_000.0);
        assert_eq!(expected(1, 1), 50_000.0);
        assert!((expected(10, 20) - 3533.0).abs() < 1.0);
        assert!((expected(50, 100) - 316.0).abs() < 1.0);
    }

    #[test]
    fn paths_are_chosen_by_loss_and_delay() {
        assert_eq!(chosen(&[]).unwrap().len(), 12);
        let some = chosen(&["0.1/20", "5/1"]).unwrap();
        let names: Vec<String> = some.iter().map(name).collect();
        assert_eq!(names, ["0.1/20", "5/1"]);
        assert!(chosen(&["2/20"]).is_err());
    }
}
