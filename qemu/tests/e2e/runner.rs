//! The command as a user starts it: its lines as they come, signals to it, its end.

use crate::client::{Answer, Client};
use crate::guest;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

pub(crate) const COMMAND: &str = env!("CARGO_BIN_EXE_sluice");

/// How long a line or an end may take to come.
const PATIENCE: Duration = Duration::from_secs(90);

/// A started program, ended when dropped.
pub(crate) struct Runner {
    child: Child,
    stdout: Lines,
    stderr: Lines,
}

/// What a program writes, line by line.
struct Lines {
    coming: Receiver<String>,
    seen: Vec<String>,
}

impl Runner {
    /// Starts the `sluice` command with these words and a folder behind them.
    pub(crate) fn sluice(words: &[&str], site: &Path) -> Self {
        // Built before, so that its time is none of the command's.
        guest::image();
        Runner::start(Command::new(COMMAND).args(words).arg(site))
    }

    /// Starts any program.
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Runner {
            stdout: Lines::of(child.stdout.take().unwrap()),
            stderr: Lines::of(child.stderr.take().unwrap()),
            child,
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the next line on stdout that contains this.
    pub(crate) fn says(&mut self, part: &str) -> String {
        let found = self.stdout.wait_for(part);
        found.unwrap_or_else(|| panic!("{part} is not said:\n{}", self.words()))
    }

    /// Waits for the next line on stderr that contains this.
    pub(crate) fn complains(&mut self, part: &str) -> String {
        let found = self.stderr.wait_for(part);
        found.unwrap_or_else(|| panic!("{part} is not said:\n{}", self.words()))
    }

    /// Waits for the line that says what is served, and returns where, and what stands in
    /// parentheses behind it.
    pub(crate) fn serves(&mut self) -> (SocketAddr, String) {
        let line = self.says("serving ");
        let (_, rest) = line.split_once(" at http://").expect("an address");
        let (address, rest) = rest.split_once(" (").expect("particulars");
        (address.parse().unwrap(), rest.to_owned())
    }

    /// Returns the lines on stdout that were waited for, and those before them.
    pub(crate) fn said(&self) -> &[String] {
        &self.stdout.seen
    }

    /// Returns the same of stderr.
    pub(crate) fn complaints(&self) -> &[String] {
        &self.stderr.seen
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.pid() as i32).unwrap(), signal).unwrap();
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for the end, and returns the exit code; both outputs are read to their ends.
    pub(crate) fn ends(&mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        while self.is_running() {
            assert!(Instant::now() < deadline, "no end:\n{}", self.words());
            thread::sleep(Duration::from_millis(5));
        }
        self.stdout.wait_for("\n");
        self.stderr.wait_for("\n");
        self.child.wait().unwrap().code()
    }

    /// Ends it with a Ctrl-C, which is no failure, and sees that nothing is left running.
    pub(crate) fn is_interrupted(&mut self) {
        let below = children(self.pid());
        assert_eq!(below.len(), 1, "one QEMU");
        self.signal(Signal::INT);
        assert_eq!(self.ends(), Some(0), "{}", self.words());
        wait_gone(&below);
    }

    /// Everything it wrote so far.
    fn words(&mut self) -> String {
        self.stdout.take_what_is_there();
        self.stderr.take_what_is_there();
        let (stdout, stderr) = (self.stdout.seen.join("\n"), self.stderr.seen.join("\n"));
        format!("--- stdout\n{stdout}\n--- stderr\n{stderr}\n---")
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        // Fails only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Lines {
    fn of(pipe: impl Read + Send + 'static) -> Self {
        let (sender, coming) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Lines {
            coming,
            seen: Vec::new(),
        }
    }

    /// Waits for the next line with `part` in it; `None` at the end, or when it takes too long.
    fn wait_for(&mut self, part: &str) -> Option<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.coming.recv_timeout(left).ok()?;
            self.seen.push(line.clone());
            if line.contains(part) {
                return Some(line);
            }
        }
    }

    fn take_what_is_there(&mut self) {
        self.seen.extend(self.coming.try_iter());
    }
}

/// Asks once over a connection of its own.
pub(crate) fn get(address: SocketAddr, path: &str) -> Answer {
    let mut client = Client::connect(address).unwrap_or_else(|error| panic!("{address}: {error}"));
    client.get(path).unwrap()
}

/// Returns the processes that are children of `parent`.
pub(crate) fn children(parent: u32) -> Vec<u32> {
    let file = format!("/proc/{parent}/task/{parent}/children");
    let text = fs::read_to_string(file).unwrap_or_default();
    text.split_whitespace()
        .map(|pid| pid.parse().unwrap())
        .collect()
}

/// Waits until none of these processes runs.
pub(crate) fn wait_gone(pids: &[u32]) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while pids.iter().any(|pid| is_running(*pid)) {
        assert!(Instant::now() < deadline, "left running: {pids:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn is_running(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|text| {
        !text
            .rsplit_once(") ")
            .is_some_and(|(_, rest)| rest.starts_with('Z'))
    })
}
