//! `bench profile`: where the guest's instructions go, in the image as it runs: by function, by what was
//! inlined into it, by crate, or by line.
//!
//! A plugin of QEMU's counts each instruction; what one more request costs each is marginal as in
//! `quick`: a long load less a short one, idle instructions off. One vCPU, TCG, tap.

use crate::Error;
use crate::appliance::Appliance;
use crate::load::{CLOSE, KEEP_ALIVE, Load};
use crate::quick::{BODY, BODY_BYTES, incompressible};
use crate::symbols::{Frame, Symbols};
use crate::work::PROFILE;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

/// Rows unless `--top` says otherwise.
const TOP: usize = 40;
/// Below this, in instructions a request, an address is noise.
const LEAST: f64 = 0.003;

/// What the instructions are summed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    /// The function that has the code, with all that was inlined into it.
    Function,
    /// The innermost function, inlined or not.
    Inline,
    /// The crate of the innermost function that is not of the standard library.
    Crate,
    /// The line of that function.
    Line,
}

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    by: By,
    load: &'static str,
    top: usize,
}

const USAGE: &str = "wanted: profile [--by function|inline|crate|line] \
                     [--load keep-alive|close|body] [--top ROWS]";

impl Options {
    fn parse(words: &[&str]) -> Result<Self, Error> {
        let mut options = Options {
            by: By::Function,
            load: "keep-alive",
            top: TOP,
        };
        for pair in words.chunks(2) {
            match pair {
                ["--by", "function"] => options.by = By::Function,
                ["--by", "inline"] => options.by = By::Inline,
                ["--by", "crate"] => options.by = By::Crate,
                ["--by", "line"] => options.by = By::Line,
                ["--load", "keep-alive"] => options.load = "keep-alive",
                ["--load", "close"] => options.load = "close",
                ["--load", "body"] => options.load = "body",
                ["--top", rows] => options.top = rows.parse().map_err(|_| USAGE)?,
                _ => return Err(USAGE.into()),
            }
        }
        Ok(options)
    }

    fn load(&self) -> (&'static str, Load) {
        match self.load {
            "close" => ("connection + request", CLOSE),
            "body" => ("1 MiB body", BODY),
            _ => ("keep-alive request", KEEP_ALIVE),
        }
    }
}

/// Measures and prints the table.
pub(crate) fn run(words: &[&str], elf: &Path, debug_elf: &Path) -> Result<(), Error> {
    let options = Options::parse(words)?;
    let symbols = Symbols::read(debug_elf)?;
    let (what, load) = options.load();
    let counts = measure(elf, &load)?;
    let all: f64 = counts.values().sum();
    let mut rows: BTreeMap<String, f64> = BTreeMap::new();
    for (address, count) in counts.iter().filter(|(_, count)| count.abs() > LEAST) {
        *rows
            .entry(name(options.by, &symbols.frames(*address)))
            .or_default() += count;
    }
    let mut rows: Vec<(String, f64)> = rows.into_iter().collect();
    rows.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    println!("{all:.0} guest instructions / {what}");
    for (name, count) in rows.iter().take(options.top) {
        println!("{count:10.1} {:5.1} %  {name}", 100.0 * count / all);
    }
    let rest: f64 = rows.iter().skip(options.top).map(|(_, count)| count).sum();
    if rows.len() > options.top {
        let left = rows.len() - options.top;
        println!(
            "{rest:10.1} {:5.1} %  ({left} more: --top)",
            100.0 * rest / all
        );
    }
    Ok(())
}

/// Returns what an instruction of these functions, the innermost first, is summed under.
fn name(by: By, frames: &[Frame]) -> String {
    let unknown = Frame {
        function: "?".to_owned(),
        file: "?".to_owned(),
        line: 0,
    };
    let innermost = frames.first().unwrap_or(&unknown);
    let outermost = frames.last().unwrap_or(&unknown);
    let own = frames.iter().find(|frame| !frame.is_of_library());
    let own = own.unwrap_or(outermost);
    match by {
        By::Function => format!("{} ({})", outermost.function, outermost.file),
        By::Inline => format!("{} ({})", innermost.function, innermost.file),
        By::Crate => own.origin().to_owned(),
        By::Line => format!("{}:{} {}", own.file, own.line, own.function),
    }
}

/// How often each instruction was executed, by its address.
type Counts = BTreeMap<u64, u64>;

fn measure(elf: &Path, load: &Load) -> Result<BTreeMap<u64, f64>, Error> {
    let body = ("mebibyte.bin", &incompressible(BODY_BYTES)[..]);
    let appliance = Appliance::boot(elf, PROFILE, body)?;
    appliance.warm_up(load)?;
    let Appliance { vm, namespace, .. } = &appliance;
    let look = || -> Result<(Counts, Instant), Error> {
        Ok((parse(&vm.read_counter()?)?, Instant::now()))
    };
    let [start, idle] = [look()?, {
        std::thread::sleep(Duration::from_secs(2));
        look()?
    }];
    load.run(namespace, load.short)?;
    std::thread::sleep(Duration::from_millis(500));
    let short = look()?;
    load.run(namespace, load.long)?;
    std::thread::sleep(Duration::from_millis(500));
    let long = look()?;
    let (idle, short, long) = (
        Part::between(&start, &idle),
        Part::between(&idle, &short),
        Part::between(&short, &long),
    );
    let requests = (load.long - load.short) as f64;
    let one =
        |address: &u64| (long.without(&idle, *address) - short.without(&idle, *address)) / requests;
    Ok(long
        .counts
        .keys()
        .map(|address| (*address, one(address)))
        .collect())
}

/// What was executed in a part of the run.
struct Part {
    counts: Counts,
    seconds: f64,
}

impl Part {
    fn between(before: &(Counts, Instant), after: &(Counts, Instant)) -> Self {
        let new = after.0.iter().map(|(address, count)| {
            let old = before.0.get(address).copied().unwrap_or(0);
            (*address, count.saturating_sub(old))
        });
        Part {
            counts: new.filter(|(_, count)| *count > 0).collect(),
            seconds: (after.1 - before.1).as_secs_f64(),
        }
    }

    fn of(&self, address: u64) -> f64 {
        self.counts.get(&address).copied().unwrap_or(0) as f64
    }

    /// Returns how often an instruction was executed here, less what an idle guest would have done.
    fn without(&self, idle: &Part, address: u64) -> f64 {
        self.of(address) - idle.of(address) / idle.seconds * self.seconds
    }
}

/// Reads what the plugin tells: an address and a count in each line, an address perhaps several times.
fn parse(text: &str) -> Result<Counts, Error> {
    let mut counts = Counts::new();
    for line in text.lines() {
        let (address, count) = line.split_once(' ').ok_or("a line without a count")?;
        *counts.entry(u64::from_str_radix(address, 16)?).or_default() += count.parse::<u64>()?;
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_pairs_and_others_are_wrong_use() {
        let options = Options::parse(&["--by", "crate", "--load", "close", "--top", "5"]).unwrap();
        assert_eq!(
            (options.by, options.load, options.top),
            (By::Crate, "close", 5)
        );
        assert_eq!(Options::parse(&[]).unwrap().by, By::Function);
        for wrong in [
            &["--by"][..],
            &["--by", "hand"],
            &["--top", "x"],
            &["function"],
        ] {
            assert!(Options::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn blocks_that_share_an_instruction_are_added() {
        let counts = parse("1000 5\n1004 5\n1004 2\nff 1\n").unwrap();
        assert_eq!(counts, Counts::from([(0x1000, 5), (0x1004, 7), (0xff, 1)]));
        assert!(parse("1000").is_err());
        assert!(parse("x 1").is_err());
    }

    #[test]
    fn a_part_is_what_is_new_less_what_an_idle_guest_does_meanwhile() {
        let begun = Instant::now();
        let at = |seconds, counts: &[(u64, u64)]| {
            let counts = counts.iter().copied().collect::<Counts>();
            (counts, begun + Duration::from_secs(seconds))
        };
        let looks = [
            at(0, &[(1, 10), (2, 5)]),
            at(2, &[(1, 30), (2, 5)]),
            at(5, &[(1, 60), (2, 105), (3, 7)]),
        ];
        let idle = Part::between(&looks[0], &looks[1]);
        assert_eq!(idle.counts, Counts::from([(1, 20)]));
        let load = Part::between(&looks[1], &looks[2]);
        assert_eq!(load.without(&idle, 1), 0.0);
        assert_eq!(load.without(&idle, 2), 100.0);
        assert_eq!(load.without(&idle, 3), 7.0);
    }

    #[test]
    fn instructions_are_summed_by_what_was_asked_for() {
        let frame = |function: &str, file: &str| Frame {
            function: function.to_owned(),
            file: file.to_owned(),
            line: 7,
        };
        let frames = [
            frame("copy", "library/core/src/ptr.rs"),
            frame("insert", "net/src/flow.rs"),
            frame("turn", "megapipe/src/core.rs"),
        ];
        assert_eq!(name(By::Function, &frames), "turn (megapipe/src/core.rs)");
        assert_eq!(name(By::Inline, &frames), "copy (library/core/src/ptr.rs)");
        assert_eq!(name(By::Crate, &frames), "net");
        assert_eq!(name(By::Line, &frames), "net/src/flow.rs:7 insert");
        assert_eq!(name(By::Crate, &frames[..1]), "core");
        assert_eq!(name(By::Function, &[]), "? (?)");
    }
}
