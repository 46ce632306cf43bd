//! `bench connections`: what idle keep-alive connections cost. The same guest with few of them and
//! with many, beside each other: guest instructions of one more request on any of them, guest
//! instructions while all are idle, and memory.
//!
//! The requests are marginal as in `quick`: a long run less a short one, idle instructions off.

use crate::Error;
use crate::appliance;
use crate::namespace::{GUEST, Namespace};
use crate::vm::{Image, Vm};
use crate::work::{COUNTER, PAGE_BYTES, Work};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::{Duration, Instant};

const FEW: usize = 100;
const MANY: usize = 100_000;
/// Connections of one client process, and so of one address: files and ports are bounded.
const PER_MEMBER: usize = 12_500;
/// Memory of the guest in MiB, the aim last.
const MEMORIES_MIB: [u32; 2] = [1024, 512];
/// Requests of the short run and of the long one.
const SHORT: u64 = 1_024;
const LONG: u64 = 9_216;
/// How long a crowd is left alone before it counts as idle. The server's deadline for the first head of a
/// connection (20 s) is looked at once when it has passed, for as long as it took to open the crowd.
const SETTLING: Duration = Duration::from_secs(45);
/// What one more request may cost with [`MANY`], of what it costs with [`FEW`].
const MOST_RATIO: f64 = 1.5;

/// Figures of one crowd.
struct Figures {
    request: f64,
    /// Frames to the guest for each request: an acknowledgement that has nothing to go with is one.
    frames: f64,
    idle_rate: f64,
    resident_kib: u64,
}

/// Measures and prints the table; fails when a request costs more than it may.
pub(crate) fn run(elf: &Path) -> Result<(), Error> {
    let work = Work::create()?;
    let pages = work.make_site()?;
    let packed = work.pack(&pages)?;
    let plugin = work.build_plugin(COUNTER)?;
    let namespace = Namespace::create(1)?;
    let members = MANY.div_ceil(PER_MEMBER);
    (0..members).try_for_each(|number| namespace.add_address(&source(number)))?;

    println!("one vCPU, TCG, tap, {PAGE_BYTES}-byte page, 16 requests at once");
    let append = format!("{} idle-timeout=3600", appliance::words());
    for memory_mib in MEMORIES_MIB {
        let image = Image {
            memory_mib,
            ..appliance::image(elf, &packed, &append)
        };
        let vm = Vm::boot(&image, &namespace, &work.0, Some(&plugin))?;
        let few = measure(&vm, &namespace, FEW)?;
        let many = measure(&vm, &namespace, MANY)?;
        report(memory_mib, &few, &many)?;
    }
    Ok(())
}

fn report(memory_mib: u32, few: &Figures, many: &Figures) -> Result<(), Error> {
    println!(
        "\n{:44} {FEW:>12} {MANY:>12} {:>8}",
        format!("{memory_mib} MiB, idle connections:"),
        "ratio"
    );
    let row = |name: &str, few: f64, many: f64| {
        // An idle guest may do nothing at all in the time that it is looked at.
        let ratio = match few > 0.0 {
            true => format!("{:7.2}x", many / few),
            false => "-".to_owned(),
        };
        println!("{name:44} {few:12.0} {many:12.0} {ratio:>8}");
    };
    row(
        "guest instructions / one more request",
        few.request,
        many.request,
    );
    println!(
        "{:44} {:12.2} {:12.2}",
        "frames to the guest / request", few.frames, many.frames
    );
    row(
        "guest instructions / s, all idle",
        few.idle_rate,
        many.idle_rate,
    );
    row(
        "QEMU's resident memory, KiB",
        few.resident_kib as f64,
        many.resident_kib as f64,
    );
    let grown = (many.resident_kib - few.resident_kib) as f64 * 1024.0;
    println!(
        "{:44} {:>12} {:12.0}",
        "bytes / idle connection",
        "",
        grown / (MANY - FEW) as f64
    );
    match many.request / few.request {
        ratio if ratio <= MOST_RATIO => Ok(()),
        ratio => Err(format!("one more request costs {ratio:.2} times as much").into()),
    }
}

/// Opens a crowd, measures, and closes it.
fn measure(vm: &Vm, namespace: &Namespace, connections: usize) -> Result<Figures, Error> {
    let members = connections.div_ceil(PER_MEMBER);
    let mut crowd: Vec<Member> = (0..members)
        .map(|number| {
            let share = connections / members + usize::from(number < connections % members);
            Member::open(namespace, &source(number), share)
        })
        .collect::<Result<_, _>>()?;
    for member in &mut crowd {
        member.expect("open")?;
    }
    ask(&mut crowd, SHORT)?;
    std::thread::sleep(SETTLING);
    let idle_rate = vm.idle_rate()?;
    let mut cost = |requests: u64| -> Result<(f64, u64), Error> {
        let (before, start) = (vm.instructions()?, Instant::now());
        let frames = namespace.frames_sent()?;
        ask(&mut crowd, requests)?;
        std::thread::sleep(Duration::from_millis(500));
        let spent = (vm.instructions()? - before) as f64;
        let frames = namespace.frames_sent()? - frames;
        Ok((spent - idle_rate * start.elapsed().as_secs_f64(), frames))
    };
    let (long, short) = (cost(LONG)?, cost(SHORT)?);
    Ok(Figures {
        request: (long.0 - short.0) / (LONG - SHORT) as f64,
        frames: long.1.saturating_sub(short.1) as f64 / (LONG - SHORT) as f64,
        idle_rate,
        resident_kib: vm.resident_kib()?,
    })
}

/// Lets the members ask, one after the other, so that as many requests are under way at once
/// whatever the crowd.
fn ask(crowd: &mut [Member], requests: u64) -> Result<(), Error> {
    let share = requests / crowd.len() as u64;
    for member in crowd {
        writeln!(member.orders, "{share}")?;
        member.expect(&share.to_string())?;
    }
    Ok(())
}

/// The address of a member of the crowd.
fn source(number: usize) -> String {
    format!("10.78.0.{}", 101 + number)
}

/// A process with a part of the crowd; killed when dropped, and its connections with it.
struct Member {
    process: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Member {
    fn open(namespace: &Namespace, source: &str, connections: usize) -> Result<Self, Error> {
        let this = std::env::current_exe()?;
        let mut process = namespace
            .command(&this.to_string_lossy())
            .args(["client", "crowd", &format!("{GUEST}:80"), "/index.html"])
            .args([source, &connections.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let orders = process.stdin.take().ok_or("no input")?;
        let answers = process.stdout.take().ok_or("no output")?;
        Ok(Member {
            process,
            orders,
            answers: BufReader::new(answers),
        })
    }

    /// Waits for a line.
    fn expect(&mut self, wanted: &str) -> Result<(), Error> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        match line.trim() {
            line if line == wanted => Ok(()),
            "" => Err("a member of the crowd failed; see above".into()),
            line => {
                Err(format!("a member of the crowd said {line:?} instead of {wanted:?}").into())
            }
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
