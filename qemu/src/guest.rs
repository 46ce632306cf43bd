//! A running QEMU: its serial lines, its readiness, its end.
//!
//! Upstream: a [`Machine`]. Downstream: the `run` command and the end-to-end tests. The process is
//! in a process group of its own (a Ctrl-C reaches this program only, which then ends the guest),
//! is killed when the [`Guest`] is dropped, and, where there is `setpriv` (util-linux), by the kernel
//! when the thread that started it is gone.

use crate::limits::{LAST_WORDS_LINES, STOP_TIMEOUT};
use crate::machine::Machine;
use crate::prerequisites::{self, QEMU};
use crate::serial::{self, Ready};
use crate::transcript::Transcript;
use rustix::process::{Pid, Signal, kill_process};
use std::fmt;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// How a guest ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It stopped as it was asked to.
    Stopped,
    /// It reported a failure.
    Failed,
    /// It reset itself, which is a fault without a report: a reset is the end (`-no-reboot`).
    Reset,
    /// QEMU ended by itself with this code.
    Qemu(i32),
    /// QEMU was ended by this signal.
    Signal(i32),
}

impl Exit {
    /// QEMU's exit status when the image wrote 0x10 to `isa-debug-exit`: `(0x10 << 1) | 1`.
    const STATUS_STOPPED: i32 = 33;
    /// The same for 0x11.
    const STATUS_FAILED: i32 = 35;

    /// `complaints` are QEMU's own lines: the signals that it catches are told there only.
    fn of(status: ExitStatus, complaints: &[String]) -> Self {
        match (status.code(), status.signal()) {
            (Some(Self::STATUS_STOPPED), _) => Exit::Stopped,
            (Some(Self::STATUS_FAILED), _) => Exit::Failed,
            (Some(0), _) => match complaints.iter().find_map(|line| caught_signal(line)) {
                Some(signal) => Exit::Signal(signal),
                None => Exit::Reset,
            },
            (Some(code), _) => Exit::Qemu(code),
            (None, signal) => Exit::Signal(signal.unwrap_or(0)),
        }
    }
}

/// Reads QEMU's word for a signal that ended it: `terminating on signal 15 from pid 1 (sh)`.
fn caught_signal(line: &str) -> Option<i32> {
    let (_, rest) = line.split_once("terminating on signal ")?;
    rest.split(' ').next()?.parse().ok()
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Stopped => f.write_str("the guest stopped"),
            Exit::Failed => f.write_str("the guest failed"),
            Exit::Reset => f.write_str("the guest reset itself"),
            Exit::Qemu(code) => write!(f, "QEMU ended with code {code}"),
            Exit::Signal(signal) => write!(f, "QEMU was ended by signal {signal}"),
        }
    }
}

/// Why a guest did not become ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotReady {
    /// It ended; with the text of its fatal line, if it said one.
    Ended(Exit, Option<String>),
    /// It is still running and has not said that it is ready.
    Silent(Duration),
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotReady::Ended(_, Some(fatal)) => f.write_str(fatal),
            NotReady::Ended(exit, None) => write!(f, "{exit} before it was ready"),
            NotReady::Silent(waited) => {
                write!(f, "the guest was not ready after {} s", waited.as_secs())
            }
        }
    }
}

/// A running QEMU, killed on drop.
#[derive(Debug)]
pub struct Guest {
    child: Child,
    started: Instant,
    serial: Arc<Transcript>,
    complaints: Arc<Transcript>,
    exit: Option<Exit>,
    /// QEMU's monitor, which speaks QMP.
    control: UnixStream,
}

impl Guest {
    /// Starts the machine.
    ///
    /// # Errors
    /// QEMU cannot be started.
    pub fn start(machine: &Machine) -> io::Result<Guest> {
        let (control, theirs) = UnixStream::pair()?;
        let mut command = if prerequisites::find("setpriv").is_some() {
            // Ends QEMU when this program dies without a chance to.
            let mut command = Command::new("setpriv");
            command.args(["--pdeathsig", "KILL", "--", QEMU.name]);
            command
        } else {
            Command::new(QEMU.name)
        };
        command
            .args(machine.controlled_arguments())
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let started = Instant::now();
        let mut child = command.spawn()?;
        let serial = Arc::new(Transcript::default());
        let complaints = Arc::new(Transcript::default());
        if let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) {
            let (lines, words) = (serial.clone(), complaints.clone());
            thread::spawn(move || lines.record(stdout));
            thread::spawn(move || words.record(stderr));
        }
        Ok(Guest {
            child,
            started,
            serial,
            complaints,
            exit: None,
            control,
        })
    }

    /// Returns QEMU's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns when QEMU was started.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Returns what the guest wrote on its serial line.
    pub fn serial(&self) -> &Transcript {
        &self.serial
    }

    /// Returns what QEMU itself wrote.
    pub fn complaints(&self) -> &Transcript {
        &self.complaints
    }

    /// Waits for the ready line; returns it and how long after the start of QEMU it came.
    ///
    /// # Errors
    /// The guest ended, or said nothing for `timeout`.
    pub fn wait_ready(&mut self, timeout: Duration) -> Result<(Ready, Duration), NotReady> {
        let found = self.serial.wait_for(self.started + timeout, Ready::parse);
        if let Some((ready, at)) = found {
            return Ok((ready, at - self.started));
        }
        if !self.serial.is_closed() {
            return Err(NotReady::Silent(timeout));
        }
        let exit = self.wait_exit(STOP_TIMEOUT);
        let fatal = self
            .serial
            .lines()
            .iter()
            .find_map(|line| serial::fatal(line).map(str::to_owned));
        Err(NotReady::Ended(exit.unwrap_or(Exit::Qemu(0)), fatal))
    }

    /// Returns how the guest ended, `None` while it runs.
    pub fn try_exit(&mut self) -> Option<Exit> {
        if self.exit.is_none() {
            let status = self.child.try_wait().ok().flatten();
            self.exit = status.map(|status| {
                // Both pipes are closed now; let the readers come to their ends.
                self.serial.wait_closed(Instant::now() + STOP_TIMEOUT);
                self.complaints.wait_closed(Instant::now() + STOP_TIMEOUT);
                Exit::of(status, &self.complaints.lines())
            });
        }
        self.exit
    }

    /// Waits for the guest's end, `None` when it is still running after `timeout`.
    pub fn wait_exit(&mut self, timeout: Duration) -> Option<Exit> {
        let deadline = Instant::now() + timeout;
        loop {
            let exit = self.try_exit();
            if exit.is_some() || Instant::now() >= deadline {
                return exit;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Presses the guest's power button: it may finish what it does, and ends by itself.
    ///
    /// # Errors
    /// QEMU has ended.
    pub fn press_power_button(&mut self) -> io::Result<()> {
        self.command("system_powerdown")
    }

    /// Gives QEMU's monitor a command without arguments, by its QMP name.
    ///
    /// # Errors
    /// QEMU has ended.
    pub fn command(&mut self, name: &str) -> io::Result<()> {
        // Its greeting and its answers stay in the socket, as does its complaint when it is greeted
        // again: what matters is what the guest does.
        let commands = ["qmp_capabilities", name];
        let line = commands.map(|name| format!(r#"{{"execute":"{name}"}}"#));
        self.control.write_all(line.join("\n").as_bytes())
    }

    /// Ends the guest at once: asks QEMU to end, and kills it when it does not.
    pub fn stop(&mut self) {
        if self.try_exit().is_none() {
            terminate(&self.child);
            if self.wait_exit(STOP_TIMEOUT).is_none() {
                self.kill();
            }
        }
    }

    fn kill(&mut self) {
        // Fails only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Returns the last lines of the guest and whatever QEMU complained of.
    pub fn last_words(&self) -> Vec<String> {
        let mut lines = self.serial.lines();
        lines.drain(..lines.len().saturating_sub(LAST_WORDS_LINES));
        lines.extend(self.complaints.lines());
        lines
    }
}

/// Asks a child to end.
pub(crate) fn terminate(child: &Child) {
    if let Some(pid) = Pid::from_raw(child.id() as i32) {
        // It may have ended meanwhile; whoever waits for it learns that.
        let _ = kill_process(pid, Signal::TERM);
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if self.try_exit().is_none() {
            self.kill();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_that_qemu_caught_is_not_taken_for_a_reset() {
        let exited = |code: i32| ExitStatus::from_raw(code << 8);
        let caught = "qemu-system-x86_64: terminating on signal 15 from pid 7 (sh)".to_owned();
        assert_eq!(Exit::of(exited(0), &[]), Exit::Reset);
        assert_eq!(Exit::of(exited(0), &[caught]), Exit::Signal(15));
        assert_eq!(Exit::of(exited(33), &[]), Exit::Stopped);
        assert_eq!(Exit::of(exited(1), &[]), Exit::Qemu(1));
        assert_eq!(Exit::of(ExitStatus::from_raw(9), &[]), Exit::Signal(9));
    }
}
