//! The wish to stop: SIGINT, SIGTERM and SIGHUP, kept until what is under way looks.
//!
//! Signals come to the process, so this is kept for the process. Before [`install`] they end it as
//! they always do; from then on every step that takes long asks now and then, ends, and removes what
//! it has begun. A second signal asks to be quick about it.

use crate::Failure;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::io;
use std::process::{Child, ExitStatus};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

/// How often a child is looked at while it runs.
const LOOK_AROUND: Duration = Duration::from_millis(20);

/// The signal that came last and was not yet taken, 0 for none.
static CAME: OnceLock<Arc<AtomicUsize>> = OnceLock::new();
/// The one that was taken.
static TAKEN: AtomicUsize = AtomicUsize::new(0);

/// Catches the signals from here on.
///
/// # Errors
/// They cannot be caught.
pub fn install() -> Result<(), Failure> {
    let came = CAME.get_or_init(Arc::default);
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register_usize(signal, came.clone(), signal as usize)
            .map_err(|error| Failure::Failed(format!("cannot catch signals: {error}")))?;
    }
    Ok(())
}

fn came() -> usize {
    CAME.get().map_or(0, |came| came.load(Ordering::Relaxed))
}

/// Returns whether this process is to stop.
pub fn is_asked() -> bool {
    came() != 0 || TAKEN.load(Ordering::Relaxed) != 0
}

/// Takes the wish to stop: a signal from here on is another one.
pub(crate) fn take() {
    if let Some(came) = CAME.get() {
        let signal = came.swap(0, Ordering::Relaxed);
        TAKEN.store(signal, Ordering::Relaxed);
    }
}

/// Returns whether another signal came after the one that was taken.
pub(crate) fn is_urgent() -> bool {
    TAKEN.load(Ordering::Relaxed) != 0 && came() != 0
}

/// Returns how a command ends that was stopped before it was done.
pub fn failure() -> Failure {
    let signal = match TAKEN.load(Ordering::Relaxed) {
        0 => came(),
        taken => taken,
    };
    Failure::Stopped(signal as u8)
}

/// Ends the command when it is to stop.
///
/// # Errors
/// It is.
pub fn check() -> Result<(), Failure> {
    match is_asked() {
        true => Err(failure()),
        false => Ok(()),
    }
}

/// Waits for a child's end. When this process is to stop, so is the child, which may not have had
/// the signal itself.
pub(crate) fn wait(mut child: Child) -> io::Result<ExitStatus> {
    let mut is_told = false;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if is_asked() && !is_told {
            is_told = true;
            crate::guest::terminate(&child);
        }
        thread::sleep(LOOK_AROUND);
    }
}
