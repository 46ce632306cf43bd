//! `bench requests`: what kinds of requests cost, in guest instructions on one vCPU over a tap: the
//! page, an empty one, its head, 304, and a browser's request. As in `quick`, marginal.

use crate::Error;
use crate::appliance::Appliance;
use crate::load::{KEEP_ALIVE, Load};
use crate::quick::marginal;
use crate::work::{COUNTER, PAGE_BYTES};
use std::path::Path;

/// What HEAD and 304 may cost of what the empty page does: the counts are of whole guests, with
/// acknowledgements that come together or do not.
const MOST_RATIO: f64 = 1.03;

/// One request after the other on one connection: several would come together in a turn or not, and
/// the difference is larger than what is looked for.
const ONE_BY_ONE: Load = Load {
    connections: 1,
    long: 4_500,
    ..KEEP_ALIVE
};

/// Rows: a name, the client's mode, the page.
const KINDS: [(&str, &str, &str); 5] = [
    ("GET, the page", "keepalive", "/index.html"),
    ("GET, an empty page", "keepalive", "/empty.html"),
    ("HEAD, the empty page", "head", "/empty.html"),
    ("304, the page", "known", "/index.html"),
    ("GET, the page, a browser", "browser", "/index.html"),
];

/// Measures and prints; fails when HEAD or 304 costs more than the empty page.
pub(crate) fn run(elf: &Path) -> Result<(), Error> {
    let appliance = Appliance::boot(elf, COUNTER, ("empty.html", b""))?;
    appliance.warm_up(&KEEP_ALIVE)?;
    let idle_rate = appliance.vm.idle_rate()?;

    println!("one vCPU, TCG, tap, {PAGE_BYTES}-byte page, requests one by one");
    println!("{:28} {:>12}", "", "instructions");
    let mut costs = Vec::new();
    for (name, mode, path) in KINDS {
        let load = Load {
            mode,
            path,
            ..ONE_BY_ONE
        };
        let cost = marginal(&appliance.vm, &appliance.namespace, &load, idle_rate)?;
        println!("{name:28} {cost:12.0}");
        costs.push(cost);
    }
    let most = costs[1] * MOST_RATIO;
    match costs[2].max(costs[3]) <= most {
        true => Ok(()),
        false => Err("HEAD or 304 costs more than an empty page".into()),
    }
}
