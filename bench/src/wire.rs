//! A wire that loses and delays frames (`traffic::wire`), laid by a process inside the namespace.

use crate::Error;
use crate::namespace::{GUEST, GUEST_MAC, HOST, Namespace, TAP};
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use traffic::conditions::{Conditions, Path, Rate};
use traffic::wire::{HOST_END, Wire};

/// A process that carries the frames of the namespace's tap; ended when dropped.
pub(crate) struct WireProcess(Child);

impl WireProcess {
    /// Lays the wire, with the host's address and those of the paths behind it.
    pub(crate) fn lay(namespace: &Namespace, paths: &[Path]) -> Result<Self, Error> {
        let this = std::env::current_exe()?;
        let mut process = namespace
            .command(&this.to_string_lossy())
            .arg("wire")
            .args(paths.iter().map(word_of))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = process.stdout.take().ok_or("no output")?;
        let wire = WireProcess(process);
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        match line.trim() {
            "laid" => Ok(wire),
            _ => Err("the wire was not laid; see above".into()),
        }
    }
}

impl Drop for WireProcess {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn word_of(path: &Path) -> String {
    let Conditions {
        loss_per_mille,
        delay,
        rate,
    } = path.conditions;
    let Rate {
        megabits,
        queue_bytes,
    } = rate.unwrap_or(UNBOUNDED);
    let delay_us = delay.as_micros();
    format!(
        "{},{loss_per_mille},{delay_us},{megabits},{queue_bytes}",
        path.host
    )
}

/// In the place of no bottleneck.
const UNBOUNDED: Rate = Rate {
    megabits: 0,
    queue_bytes: 0,
};

fn path_of(word: &str) -> Result<Path, Error> {
    let words: Vec<&str> = word.split(',').collect();
    let [host, loss, delay_us, megabits, queue] = words[..] else {
        return Err(format!("{word}: not a path").into());
    };
    let rate = Rate {
        megabits: megabits.parse()?,
        queue_bytes: queue.parse()?,
    };
    Ok(Path {
        host: host.parse()?,
        conditions: Conditions {
            loss_per_mille: loss.parse()?,
            delay: Duration::from_micros(delay_us.parse()?),
            rate: (rate != UNBOUNDED).then_some(rate),
        },
    })
}

/// Runs `wire PATH…` inside the namespace until standard input ends: `laid` is said when frames
/// pass.
pub(crate) fn run(words: &[&str]) -> Result<(), Error> {
    let paths: Vec<Path> = words
        .iter()
        .map(|word| path_of(word))
        .collect::<Result<_, _>>()?;
    ip(&["addr", "flush", "dev", TAP])?;
    let address = format!("{HOST}/24");
    let _wire = Wire::lay(TAP, &[&address], &paths, 1)?;
    let guest = ["neigh", "replace", GUEST, "lladdr", GUEST_MAC];
    ip(&[&guest[..], &["dev", HOST_END]].concat())?;
    println!("laid");
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn ip(words: &[&str]) -> Result<(), Error> {
    match Command::new("ip").args(words).status()?.success() {
        true => Ok(()),
        false => Err(format!("ip {} failed", words.join(" ")).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_told_to_the_process_as_it_is() {
        let conditions = Conditions {
            loss_per_mille: 10,
            delay: Duration::from_millis(20),
            rate: Some(Rate {
                megabits: 50,
                queue_bytes: 1 << 20,
            }),
        };
        let host = [10, 78, 0, 100].into();
        for rate in [conditions.rate, None] {
            let conditions = Conditions { rate, ..conditions };
            let path = Path { host, conditions };
            assert_eq!(path_of(&word_of(&path)).unwrap(), path);
        }
        assert!(path_of("10.78.0.1,1,2").is_err());
    }
}
