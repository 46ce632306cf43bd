//! From a machine to a guest that answers, and what it says until it ends.
//!
//! Upstream: [`serve`](crate::serve), which has made everything ready.

use crate::Failure;
use crate::backend;
use crate::build::Image;
use crate::crash::Annotator;
use crate::guest::{Exit, Guest, NotReady};
use crate::limits::{DRAIN_SILENCE, DRAIN_TIMEOUT};
use crate::machine::Net;
use crate::options::RunOptions;
use crate::prerequisites::QEMU;
use crate::serve::Prepared;
use crate::watch::Watch;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often the wait for the guest's next line looks whether it is asked to stop.
const LOOK_AROUND: Duration = Duration::from_millis(100);

/// How long to wait before asking again a guest that says it is ready and does not answer.
const ASK_AGAIN: Duration = Duration::from_millis(5);

/// A guest that answers.
pub(crate) struct Started {
    /// Where it does.
    pub(crate) address: String,
    pub(crate) cores: u32,
    /// How long after the start of QEMU it did.
    pub(crate) waited: Duration,
}

/// Why a guest is no longer followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Followed {
    /// It has ended.
    Ended,
    /// What is watched has changed; it still runs.
    Changed,
}

/// Returns a flag that a signal to stop sets.
pub(crate) fn stop_flag() -> Result<Arc<AtomicBool>, Failure> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, flag.clone())
            .map_err(|error| Failure::Failed(format!("cannot catch signals: {error}")))?;
    }
    Ok(flag)
}

pub(crate) fn start(prepared: &Prepared, options: &RunOptions) -> Result<Guest, Failure> {
    if options.is_verbose {
        eprintln!("sluice: {}", prepared.machine.shell_line());
    }
    Guest::start(&prepared.machine)
        .map_err(|error| Failure::Failed(format!("cannot start {}: {error}", QEMU.name)))
}

/// Waits until the first request would be answered. `None` when asked to stop
/// meanwhile.
///
/// QEMU's NAT accepts connections long before the guest does, so behind it the ready line alone
/// would promise too much: there the guest is asked until it answers.
pub(crate) fn wait_ready(
    guest: &mut Guest,
    prepared: &Prepared,
    options: &RunOptions,
    stop: &AtomicBool,
) -> Result<Option<Started>, Failure> {
    let deadline = guest.started() + options.timeout;
    let (ready, mut waited) = loop {
        let slice = (guest.started().elapsed() + LOOK_AROUND).min(options.timeout);
        match guest.wait_ready(slice) {
            Ok(ready) => break ready,
            Err(_) if stop.load(Ordering::Relaxed) => return Ok(None),
            Err(NotReady::Silent(_)) if Instant::now() < deadline => {}
            Err(reason) => return Err(failed_to_boot(guest, prepared, &reason)),
        }
    };
    let address = match &prepared.machine.net {
        Net::User { host, .. } => {
            let is_there = match ready.is_http {
                true => backend::is_answering,
                false => backend::is_accepting,
            };
            while !is_there(*host) {
                if stop.load(Ordering::Relaxed) {
                    return Ok(None);
                }
                if let Some(exit) = guest.wait_exit(ASK_AGAIN) {
                    show_last_words(guest, &prepared.image);
                    return Err(Failure::Failed(format!("{exit} before it answered")));
                }
                if Instant::now() >= deadline {
                    return Err(Failure::Failed(format!(
                        "the guest says it is ready, but {host} does not answer"
                    )));
                }
            }
            waited = guest.started().elapsed();
            host.to_string()
        }
        Net::Tap { .. } | Net::None => ready.address.to_string(),
    };
    let scheme = if ready.is_http { "http://" } else { "" };
    Ok(Some(Started {
        address: format!("{scheme}{address}"),
        cores: ready.cores,
        waited,
    }))
}

/// Shows the guest's last words and says in one line why it is not running.
fn failed_to_boot(guest: &mut Guest, prepared: &Prepared, reason: &NotReady) -> Failure {
    let complaints = guest.complaints().lines().join(" ");
    if complaints.contains("Could not set up host forwarding") {
        return Failure::Usage(format!(
            "the port was taken meanwhile ({complaints}); choose another with --port"
        ));
    }
    show_last_words(guest, &prepared.image);
    Failure::Failed(reason.to_string())
}

fn show_last_words(guest: &Guest, image: &Image) {
    let mut annotator = Annotator::new(&image.debug_elf);
    for line in guest.last_words() {
        eprintln!("{}", annotator.line(&line));
    }
}

/// Shows the serial log from its line `next` on until the guest ends, a signal comes, or what
/// is watched has changed, with the guest still running.
pub(crate) fn follow(
    guest: &mut Guest,
    prepared: &Prepared,
    stop: &AtomicBool,
    mut watch: Option<&mut Watch>,
    next: &mut u64,
) -> Result<Followed, Failure> {
    let mut annotator = Annotator::new(&prepared.image.debug_elf);
    loop {
        let is_over = guest.serial().is_closed();
        let (lines, end) = guest.serial().lines_from(*next);
        *next = end;
        for line in lines {
            say(&annotator.line(&line));
        }
        if stop.load(Ordering::Relaxed) {
            if prepared.drains() {
                drain(guest, stop);
            }
            guest.stop();
            return Ok(Followed::Ended);
        }
        if is_over {
            break;
        }
        if let Some(watch) = &mut watch
            && watch.has_changed()
        {
            watch.handle_packed();
            return Ok(Followed::Changed);
        }
        guest
            .serial()
            .wait_line(*next, Instant::now() + LOOK_AROUND);
    }
    let exit = guest.wait_exit(Duration::from_secs(1));
    for line in guest.complaints().lines() {
        eprintln!("{line}");
    }
    match exit {
        Some(Exit::Stopped) => Ok(Followed::Ended),
        Some(exit) => Err(Failure::Failed(exit.to_string())),
        None => Err(Failure::Failed("QEMU closed the serial line".to_owned())),
    }
}

/// Lets a server finish its answers and power itself off. A second signal ends it at once.
fn drain(guest: &mut Guest, stop: &AtomicBool) {
    // Caught once more from here on.
    stop.store(false, Ordering::Relaxed);
    let pressed = Instant::now();
    let mut is_said = guest.press_power_button().is_err();
    while guest.wait_exit(LOOK_AROUND / 2).is_none() {
        if stop.load(Ordering::Relaxed) || pressed.elapsed() > DRAIN_TIMEOUT {
            break;
        }
        if !is_said && pressed.elapsed() > DRAIN_SILENCE {
            is_said = true;
            eprintln!("sluice: answers under way may finish; once more to end at once");
        }
    }
    stop.store(true, Ordering::Relaxed);
}

/// Writes a line to stdout. Whoever stops reading it (`| head -1`) does not stop the guest.
pub(crate) fn say(line: &str) {
    let mut stdout = io::stdout().lock();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}
