//! Loads: the client of the bench run in the namespace, with an exact number of requests.

use crate::Error;
use crate::namespace::{GUEST, Namespace};
use crate::vm::Vm;
use std::time::UNIX_EPOCH;

/// A load whose marginal cost is measured: a short run against a long one.
pub(crate) struct Load {
    /// `keepalive`, `close` (a connection for each request), or another of the client's.
    pub(crate) mode: &'static str,
    /// The page.
    pub(crate) path: &'static str,
    /// Connections at once.
    pub(crate) connections: u64,
    /// Requests of the short run.
    pub(crate) short: u64,
    /// Requests of the long run.
    pub(crate) long: u64,
}

/// A small page over connections that are kept.
pub(crate) const KEEP_ALIVE: Load = Load {
    mode: "keepalive",
    path: "/index.html",
    connections: 16,
    short: 500,
    long: 2_500,
};
/// A small page, and a connection for each request.
pub(crate) const CLOSE: Load = Load {
    mode: "close",
    ..KEEP_ALIVE
};

impl Load {
    /// Asks so many times, and fails unless each is answered as it should be.
    pub(crate) fn run(&self, namespace: &Namespace, requests: u64) -> Result<(), Error> {
        let address = format!("{GUEST}:80");
        let words = [
            self.mode,
            &address,
            self.path,
            &self.connections.to_string(),
            &requests.to_string(),
        ];
        let answered = client(namespace, &words)?;
        if answered == requests {
            Ok(())
        } else {
            Err(format!("{answered} of {requests} requests were answered as they should be").into())
        }
    }
}

/// Waits for the first 200 and returns the milliseconds since QEMU was started.
pub(crate) fn first_answer(vm: &Vm, namespace: &Namespace, seconds: u64) -> Result<f64, Error> {
    let address = format!("{GUEST}:80");
    let at = client(
        namespace,
        &["first", &address, "/index.html", &seconds.to_string()],
    )?;
    let started = vm.started.duration_since(UNIX_EPOCH)?.as_micros() as u64;
    Ok(at.saturating_sub(started) as f64 / 1000.0)
}

fn client(namespace: &Namespace, words: &[&str]) -> Result<u64, Error> {
    let this = std::env::current_exe()?;
    let output = namespace
        .command(&this.to_string_lossy())
        .arg("client")
        .args(words)
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr)
            .trim()
            .to_owned()
            .into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().parse()?)
}
