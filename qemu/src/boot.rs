//! From a machine to a guest that answers, and what it says until it ends.
//!
//! Upstream: [`serve`](crate::serve), which has made everything ready.

use crate::backend::{self, word};
use crate::build::Image;
use crate::console::{complain, pass_on, say};
use crate::crash::Annotator;
use crate::guest::{Exit, Guest, NotReady};
use crate::limits::{CHANGE_PATIENCE, DRAIN_GRACE, DRAIN_SILENCE, DRAIN_TIMEOUT};
use crate::machine::Net;
use crate::options::RunOptions;
use crate::prerequisites::QEMU;
use crate::repack::{Repack, Repacked};
use crate::serve::Prepared;
use crate::{Failure, stop};
use std::time::{Duration, Instant};

/// How often the wait for the guest's next line looks whether it is asked to stop.
const LOOK_AROUND: Duration = Duration::from_millis(100);

/// How long the first question may take while the guest is coming up; each further one twice as long.
const FIRST_ANSWER_TIMEOUT: Duration = Duration::from_millis(50);

/// How long any of them may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

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

pub(crate) fn start(prepared: &Prepared, options: &RunOptions) -> Result<Guest, Failure> {
    if options.is_verbose {
        complain(&prepared.machine.shell_line());
    }
    Guest::start(&prepared.machine)
        .map_err(|error| Failure::Failed(format!("cannot start {}: {error}", QEMU.name)))
}

/// Waits until the first request would be answered.
///
/// QEMU's NAT accepts connections long before the guest does, so behind it the ready line alone
/// would promise too much: there the guest is asked until it answers.
pub(crate) fn wait_ready(
    guest: &mut Guest,
    prepared: &Prepared,
    options: &RunOptions,
) -> Result<Started, Failure> {
    let deadline = guest.started() + options.timeout;
    let (ready, mut waited) = loop {
        let slice = (guest.started().elapsed() + LOOK_AROUND).min(options.timeout);
        match guest.wait_ready(slice) {
            Ok(ready) => break ready,
            Err(_) if stop::is_asked() => return Err(stop_now(guest)),
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
            // What is asked before the guest has its IPv4 address is lost, and QEMU's NAT says it again
            // after seconds only: so the first try is given up soon.
            let mut patience = FIRST_ANSWER_TIMEOUT;
            while !is_there(*host, patience) {
                patience = (patience * 2).min(ANSWER_TIMEOUT);
                if stop::is_asked() {
                    return Err(stop_now(guest));
                }
                if let Some(exit) = guest.wait_exit(ASK_AGAIN) {
                    show_last_words(guest, &prepared.image);
                    return Err(Failure::Failed(format!("{exit} before it answered")));
                }
                if Instant::now() >= deadline {
                    show_last_words(guest, &prepared.image);
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
    Ok(Started {
        address: format!("{scheme}{address}"),
        cores: ready.cores,
        waited,
    })
}

fn stop_now(guest: &mut Guest) -> Failure {
    guest.stop();
    stop::failure()
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
        pass_on(&annotator.line(&line));
    }
}

/// The serial log as it is shown.
struct Log<'p> {
    annotator: Annotator<'p>,
    next: u64,
}

impl<'p> Log<'p> {
    fn of(prepared: &'p Prepared) -> Self {
        Log {
            annotator: Annotator::new(&prepared.image.debug_elf),
            next: 0,
        }
    }

    /// Shows the lines that have come since.
    fn show(&mut self, guest: &Guest) {
        let (lines, end) = guest.serial().lines_from(self.next);
        self.next = end;
        for line in lines {
            say(&self.annotator.line(&line));
        }
    }
}

/// Shows the serial log until the guest ends, a signal comes, or what is watched has changed and was
/// packed, which is returned. The guest has ended then.
pub(crate) fn follow(
    guest: &mut Guest,
    prepared: &Prepared,
    mut repack: Option<&mut Repack>,
) -> Result<Option<Repacked>, Failure> {
    let mut log = Log::of(prepared);
    loop {
        let is_over = guest.serial().is_closed();
        log.show(guest);
        if stop::is_asked() {
            return stop_as_asked(guest, prepared, &mut log).map(|()| None);
        }
        if is_over {
            let exit = guest.wait_exit(Duration::from_secs(1));
            return outcome(guest, exit).map(|()| None);
        }
        if let Some(packed) = repack.as_mut().and_then(|repack| repack.poll()) {
            finish_quickly(guest, prepared, &mut log);
            return Ok(Some(packed));
        }
        guest
            .serial()
            .wait_line(log.next, Instant::now() + LOOK_AROUND);
    }
}

/// Says how a guest that has ended did.
fn outcome(guest: &Guest, exit: Option<Exit>) -> Result<(), Failure> {
    if exit == Some(Exit::Stopped) {
        return Ok(());
    }
    for line in guest.complaints().lines() {
        pass_on(&line);
    }
    Err(Failure::Failed(match exit {
        Some(exit) => exit.to_string(),
        None => "QEMU closed the serial line".to_owned(),
    }))
}

/// Lets a server finish its answers and power itself off; ends any other guest. A second signal
/// ends it at once.
fn stop_as_asked(guest: &mut Guest, prepared: &Prepared, log: &mut Log<'_>) -> Result<(), Failure> {
    stop::take();
    if !prepared.drains() {
        guest.stop();
        log.show(guest);
        return Ok(());
    }
    // When QEMU has ended meanwhile, that is what is found.
    let is_pressed = guest.press_power_button().is_ok();
    let patience = drain_patience(&prepared.machine.append);
    let pressed = Instant::now();
    let mut is_said = !is_pressed;
    loop {
        let exit = guest.wait_exit(LOOK_AROUND / 2);
        log.show(guest);
        if exit.is_some() {
            return outcome(guest, exit);
        }
        if stop::is_urgent() || pressed.elapsed() > patience {
            break;
        }
        if !is_said && pressed.elapsed() > DRAIN_SILENCE {
            is_said = true;
            complain("answers under way may finish; once more to end at once");
        }
    }
    guest.stop();
    log.show(guest);
    match stop::is_urgent() {
        true => Ok(()),
        false => Err(Failure::Failed(format!(
            "the guest did not stop within {} s of its power button and was ended",
            patience.as_secs()
        ))),
    }
}

/// Ends a guest whose pages are old: answers that are nearly done may finish.
fn finish_quickly(guest: &mut Guest, prepared: &Prepared, log: &mut Log<'_>) {
    if prepared.drains() && guest.press_power_button().is_ok() {
        guest.wait_exit(CHANGE_PATIENCE);
    }
    guest.stop();
    log.show(guest);
}

/// Returns how long a guest with this kernel command line may finish its answers.
fn drain_patience(append: &str) -> Duration {
    let given = word(append, "drain-timeout=").and_then(|seconds| seconds.parse().ok());
    // The guest takes no more than a day.
    let given = given.map(|seconds: u64| Duration::from_secs(seconds.min(86_400)));
    given.unwrap_or(DRAIN_TIMEOUT) + DRAIN_GRACE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_has_the_time_to_drain_that_it_was_given_and_some_more() {
        assert_eq!(drain_patience("log=info"), Duration::from_secs(35));
        assert_eq!(
            drain_patience("drain-timeout=1 drain-timeout=120"),
            Duration::from_secs(125)
        );
    }
}
