//! `bench channel`: what a MegaPipe channel itself costs, in instructions for each read and each write
//! of 64 bytes, over a stack that does nothing (`megapipe/examples/exchange.rs`, under callgrind).
//!
//! Left out are the functions of that stack and the lines of the application. What the stack runs of
//! the channel's (taking the pieces of a write) is counted, and so is code of no line of its own.
//! Nothing here depends on the machine's mood. It fails when what is promised is not kept.

use crate::Error;
use crate::work::Work;
use std::path::{Path, PathBuf};
use std::process::Command;

const MESSAGES: u64 = 10_000;
/// A message is a read and a write.
const OPERATIONS: f64 = 2.0;
/// The calls that the application makes, by the name that the example knows.
const CALLS: [(&str, &str); 3] = [
    ("read", "read, write"),
    ("multishot", "read_multishot, write"),
    ("quiet", "read_multishot, quiet writev"),
];
const MANY_HANDLES: u64 = 100_000;
/// What an operation may take in a batch of 32, how much more alone, and with many handles.
const PROMISED: f64 = 250.0;
const PROMISED_RATIO: f64 = 1.3;
const PROMISED_GROWTH: f64 = 1.1;

/// Measures and prints the table.
pub(crate) fn run() -> Result<(), Error> {
    let work = Work::create()?;
    let example = build()?;
    println!(
        "instructions of the channel for each operation, by commands of a batch and by handles"
    );
    println!(
        "{:30} {:>8} {:>8} {:>8} {:>12}",
        "calls", "32", "1", "ratio", "32, 100,000"
    );
    let mut is_kept = true;
    for (name, calls) in CALLS {
        let share = |batch, handles| count(&example, &work, batch, handles, name);
        let (batched, alone) = (share(32, 1_000)?, share(1, 1_000)?);
        let of_many = share(32, MANY_HANDLES)?;
        let ratio = alone / batched;
        println!("{calls:30} {batched:8.1} {alone:8.1} {ratio:8.2} {of_many:12.1}");
        is_kept &=
            batched <= PROMISED && ratio <= PROMISED_RATIO && of_many <= batched * PROMISED_GROWTH;
    }
    match is_kept {
        true => Ok(()),
        false => Err(format!(
            "promised are {PROMISED}, {PROMISED_RATIO} times that alone, and the same with more handles"
        )
        .into()),
    }
}

/// Builds the example as an image is built.
fn build() -> Result<PathBuf, Error> {
    // The bench itself lies in the folder of another profile of the same target.
    let bench = std::env::current_exe()?;
    let target = bench.ancestors().nth(2).ok_or("no target folder")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let built = Command::new(cargo)
        .current_dir(root)
        .args(["build", "--quiet", "--profile", "image", "-p", "megapipe"])
        .args(["--features", "testing", "--example", "exchange"])
        .arg("--target-dir")
        .arg(target)
        .status()?;
    match built.success() {
        true => Ok(target.join("image/examples/exchange")),
        false => Err("the example did not compile".into()),
    }
}

/// Returns the channel's share of an operation.
fn count(example: &Path, work: &Work, batch: u64, handles: u64, calls: &str) -> Result<f64, Error> {
    let profile = work.0.join("callgrind.out");
    let mut option = std::ffi::OsString::from("--callgrind-out-file=");
    option.push(&profile);
    let run = Command::new("valgrind")
        .args(["--tool=callgrind", "--toggle-collect=*exchange_all*"])
        .args(["--compress-strings=no", "--compress-pos=no"])
        .arg(option)
        .arg(example)
        .args([batch, handles, MESSAGES].map(|number| number.to_string()))
        .arg(calls)
        .output()
        .map_err(|error| format!("valgrind: {error}; run: apt-get install valgrind"))?;
    if !run.status.success() {
        return Err(String::from_utf8_lossy(&run.stderr).into());
    }
    let told = String::from_utf8_lossy(&run.stdout);
    let messages: f64 = told
        .split_whitespace()
        .next()
        .ok_or("the example told nothing")?
        .parse()?;
    let own = own_share(&std::fs::read_to_string(profile)?);
    Ok(own as f64 / messages / OPERATIONS)
}

/// Sums what a profile of callgrind's says of the channel: lines of `LINE COST` below the function
/// (`fn=`) and the file (`fl=`, `fi=`, `fe=`) that they are of, and calls, whose cost is not their own.
fn own_share(profile: &str) -> u64 {
    let (mut function, mut file) = ("", "");
    let (mut own, mut is_call) = (0, false);
    for line in profile.lines() {
        if let Some(name) = line.strip_prefix("fn=") {
            function = name;
        } else if let Some(name) = ["fl=", "fi=", "fe="]
            .iter()
            .find_map(|prefix| line.strip_prefix(prefix))
        {
            file = name;
        } else if line.starts_with("calls=") {
            is_call = true;
        } else if let Some((number, cost)) = line.split_once(' ')
            && let (Ok(number), Ok(cost)) = (number.parse::<u64>(), cost.parse::<u64>())
            && !std::mem::take(&mut is_call)
            && is_own(function, file, number)
        {
            own += cost;
        }
    }
    own
}

/// Whether a line is the channel's.
fn is_own(function: &str, file: &str, line: u64) -> bool {
    let is_in = |name: &str| file.ends_with(name);
    if function.contains("IdleStack as ") {
        return is_in("megapipe/src/writes.rs") || is_in("kernel/src/lent.rs");
    }
    let is_application = is_in("benches/ping_pong.rs") && line > 0;
    !is_application && !is_in("megapipe/src/testing.rs") && !is_in("examples/exchange.rs")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_channel_is_counted() {
        let profile = "\
events: Ir
fl=/w/megapipe/src/testing.rs
fn=megapipe::testing::IdleStackCore<A>::turn
67 1
fi=/w/megapipe/src/ready.rs
100 20
calls=1 7
130 5000
fi=/w/megapipe/examples/../benches/ping_pong.rs
52 300
0 4
fe=/w/megapipe/src/testing.rs

fl=/w/megapipe/src/testing.rs
fn=<megapipe::testing::IdleStack as megapipe::connections::Connections>::lend
202 1000
fi=/w/megapipe/src/writes.rs
186 8
";
        assert_eq!(own_share(profile), 20 + 4 + 8);
    }
}
