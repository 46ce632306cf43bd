//! `bench bulk`: guest instructions for a mebibyte up and down, of the example `throughput` beside a
//! Linux guest in which this program serves the same with blocking reads and writes of 128 KiB, a thread
//! for each connection, as iperf3 does.
//!
//! Both guests have what their devices offer over a tap with `vnet_hdr`: checksums and large sends, and
//! Linux large receives. Instructions are marginal as in `quick`: a long transfer less a short one,
//! idle instructions off.

use crate::Error;
use crate::appliance;
use crate::linux_guest;
use crate::namespace::{GUEST, HOST, Namespace};
use crate::vm::{Image, Vm};
use crate::work::{COUNTER, Work};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};
use traffic::bulk::{self, Order};

/// The port in either guest.
pub(crate) const PORT: u16 = 5001;

const MIB: u64 = 1 << 20;
/// Mebibytes of the short transfer and of the long one.
const SHORT_MIB: u64 = 16;
const LONG_MIB: u64 = 144;

/// Rows: what is sent each way of each mebibyte.
const ROWS: [(&str, u64, u64, usize); 4] = [
    ("up, one connection", 1, 0, 1),
    ("up, eight connections", 1, 0, 8),
    ("down, one connection", 0, 1, 1),
    ("down, eight connections", 0, 1, 8),
];

/// Measures both systems and prints the table.
pub(crate) fn run(elf: &Path) -> Result<(), Error> {
    let work = Work::create()?;
    let plugin = work.build_plugin(COUNTER)?;
    let guests = Guests::build(elf, &work)?;
    let namespace = Namespace::create(1)?;
    let mut figures = Vec::new();
    for (name, image) in guests.images() {
        println!("{name} ...");
        let vm = Vm::boot(&image, &namespace, &work.0, Some(&plugin))?;
        wait_for(&namespace)?;
        figures.push(measure(&vm, &namespace)?);
    }
    println!("\none vCPU, TCG, tap, offloads as the guests take them");
    println!(
        "{:44} {:>12} {:>12} {:>8}",
        "guest instructions / MiB", "Sluice", "Linux", "ratio"
    );
    for ((name, ..), of) in ROWS.iter().zip(0..) {
        let (ours, theirs) = (figures[0][of], figures[1][of]);
        println!("{name:44} {ours:12.0} {theirs:12.0} {:7.1}x", theirs / ours);
    }
    Ok(())
}

/// Both guests, ready to boot.
pub(crate) struct Guests {
    ours: std::path::PathBuf,
    site: std::path::PathBuf,
    theirs: linux_guest::LinuxGuest,
    appends: [String; 2],
}

impl Guests {
    pub(crate) fn build(elf: &Path, work: &Work) -> Result<Self, Error> {
        linux_guest::install()?;
        let pages = work.make_site()?;
        Ok(Guests {
            ours: elf.to_owned(),
            site: work.pack(&pages)?,
            theirs: linux_guest::build(&work.0, &pages)?,
            appends: [
                // A window as Linux's grows to.
                format!("{} port={PORT} window=6144", appliance::words()),
                format!(
                    "console=ttyS0 quiet sluice.ip={GUEST}/24 sluice.gateway={HOST} \
                     sluice.bulk={PORT}"
                ),
            ],
        })
    }

    /// Ours, then Linux.
    pub(crate) fn images(&self) -> [(&'static str, Image<'_>); 2] {
        let ours = Image {
            memory_mib: 256,
            ..appliance::image(&self.ours, &self.site, &self.appends[0])
        };
        let theirs = Image {
            machine: "q35",
            kernel: &self.theirs.kernel,
            initrd: &self.theirs.initrd,
            append: &self.appends[1],
            device: "virtio-net-pci",
            ..ours
        };
        [("Sluice", ours), ("Linux", theirs)]
    }
}

/// Waits until the guest serves.
pub(crate) fn wait_for(namespace: &Namespace) -> Result<(), Error> {
    let this = std::env::current_exe()?;
    let output = namespace
        .command(&this.to_string_lossy())
        .args(["client", "reach", &format!("{GUEST}:{PORT}"), "120"])
        .output()?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().into()),
    }
}

/// Runs `client reach ADDR SECONDS`: connects until that succeeds, with a SYN of its own each second.
pub(crate) fn reach(address: &str, seconds: &str) -> Result<(), Error> {
    let address = address.parse()?;
    let end = Instant::now() + Duration::from_secs(seconds.parse()?);
    loop {
        match TcpStream::connect_timeout(&address, Duration::from_secs(1)) {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > end => return Err(error.into()),
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

fn measure(vm: &Vm, namespace: &Namespace) -> Result<[f64; ROWS.len()], Error> {
    let mut figures = [0.0; ROWS.len()];
    for ((_, up, down, connections), figure) in ROWS.iter().zip(&mut figures) {
        let run = |mebibytes: u64| {
            let each = mebibytes * MIB / *connections as u64;
            let order = Order {
                up: up * each,
                down: down * each,
                is_summed: false,
            };
            transfer(namespace, "-", order, *connections)
        };
        run(SHORT_MIB)?;
        std::thread::sleep(Duration::from_secs(3));
        let idle_rate = vm.idle_rate()?;
        let cost = |mebibytes: u64| -> Result<f64, Error> {
            let (before, start) = (vm.instructions()?, Instant::now());
            run(mebibytes)?;
            std::thread::sleep(Duration::from_millis(500));
            let spent = (vm.instructions()? - before) as f64;
            Ok(spent - idle_rate * start.elapsed().as_secs_f64())
        };
        *figure = (cost(LONG_MIB)? - cost(SHORT_MIB)?) / (LONG_MIB - SHORT_MIB) as f64;
    }
    Ok(figures)
}

/// Does so many transfers at once from `source` (`-`: any address) and returns how long each took.
pub(crate) fn transfer(
    namespace: &Namespace,
    source: &str,
    order: Order,
    connections: usize,
) -> Result<Vec<Duration>, Error> {
    let this = std::env::current_exe()?;
    let sum = if order.is_summed { "sum" } else { "plain" };
    let output = namespace
        .command(&this.to_string_lossy())
        .args(["client", "bulk", &format!("{GUEST}:{PORT}"), source, sum])
        .args([order.up, order.down, connections as u64].map(|number| number.to_string()))
        .output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(said.trim().to_owned().into());
    }
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| Ok(Duration::from_micros(line.parse()?)))
        .collect()
}

/// Runs `client bulk ADDR SOURCE sum|plain UP DOWN CONNECTIONS`: so many transfers at once, every byte
/// checked; prints how many µs each took.
pub(crate) fn run_client(words: &[&str]) -> Result<(), Error> {
    let [address, source, sum, up, down, connections] = words else {
        return Err("client bulk: wrong words".into());
    };
    let address = address.parse()?;
    let source = match *source {
        "-" => None,
        source => Some(source.parse()?),
    };
    let order = Order {
        up: up.parse()?,
        down: down.parse()?,
        is_summed: *sum == "sum",
    };
    let took = bulk::transfer_on(connections.parse()?, address, source, order)?;
    for took in took {
        println!("{}", took.as_micros());
    }
    Ok(())
}

/// Serves bulk transfers for ever: what the Linux guest runs.
pub(crate) fn serve(port: &str) -> Result<(), Error> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port.parse()?))?;
    Ok(bulk::serve(&listener)?)
}
