//! A wire that loses and delays frames: between the tap of a guest and a second one, which has the
//! host's addresses.
//!
//! ```text
//! guest ── tap ── bridge ── wire0 ─┐ conditions ┌─ wire1 ── the host's TCP
//!                                  └────────────┘
//! ```
//!
//! What netem does, where the kernel has none, and frame by frame: the bridge hands the guest's
//! super-segments to `wire0` cut, so that one frame is lost and not forty. Each address of the host
//! has conditions of its own, so that many networks can be tried beside each other through one guest;
//! what belongs to none of them (ARP, say) passes as it is. Frames of a path never overtake each other.
//!
//! Upstream: frames of two taps, in the network namespace of the thread that lays the wire, with root's
//! rights. Every queue is bounded, and what is dropped is counted.

use crate::conditions::{Fate, Lane, Path};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{ForeignRawFd, PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use smoltcp::phy::{Medium, TunTapInterface};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The tap beside the guest's, on the bridge.
const GUEST_END: &str = "wire0";
/// The tap with the host's addresses.
pub const HOST_END: &str = "wire1";
const BRIDGE: &str = "wire-bridge";

/// Frames that a tap's kernel side keeps until they are taken.
const TAP_FRAMES: &str = "10000";

/// How soon the wire sees that it is to be taken away.
const LOOK: Duration = Duration::from_millis(50);

/// Ethernet header and 1,500 bytes, and a VLAN tag.
const FRAME_BYTES: usize = 1518;

/// What the wire has done, both directions and all paths together.
#[derive(Debug, Default)]
pub struct Counts {
    /// Frames passed on.
    pub passed: AtomicU64,
    /// Frames lost by chance.
    pub lost: AtomicU64,
    /// Frames that found a queue full.
    pub overflowed: AtomicU64,
}

/// A wire, taken away when dropped. Its bridge stays with its namespace.
#[derive(Debug)]
pub struct Wire {
    counts: Arc<Counts>,
    is_over: Arc<AtomicBool>,
    carrier: Option<JoinHandle<()>>,
}

impl Wire {
    /// Lays a wire to the guest's `tap`, which is up and has no addresses, in the namespace of the
    /// calling thread. The host's end, [`HOST_END`], gets `addresses`, each with its prefix, and those of
    /// `paths`, whose networks they must be in. What is lost depends on `seed` only.
    ///
    /// # Errors
    /// The taps or the bridge cannot be made.
    pub fn lay(tap: &str, addresses: &[&str], paths: &[Path], seed: u64) -> io::Result<Self> {
        let ends = [end(GUEST_END)?, end(HOST_END)?];
        ip(&[
            "link",
            "add",
            BRIDGE,
            "type",
            "bridge",
            "mcast_snooping",
            "0",
        ])?;
        for port in [tap, GUEST_END] {
            ip(&["link", "set", port, "master", BRIDGE])?;
        }
        // The bridge would answer for the host's addresses itself, and frames go around the wire.
        ip(&["link", "set", BRIDGE, "arp", "off", "addrgenmode", "none"])?;
        for link in [BRIDGE, GUEST_END, HOST_END] {
            ip(&["link", "set", link, "up", "txqueuelen", TAP_FRAMES])?;
        }
        for address in addresses {
            ip(&["addr", "add", address, "dev", HOST_END, "nodad"])?;
        }
        for path in paths {
            ip(&["addr", "add", &format!("{}/32", path.host), "dev", HOST_END])?;
        }
        let (counts, is_over) = (Arc::<Counts>::default(), Arc::<AtomicBool>::default());
        let mut carrier = Carrier {
            ends,
            lanes: Lanes::new(paths, seed),
            under_way: BinaryHeap::new(),
            entered: 0,
            counts: Arc::clone(&counts),
        };
        let seen = Arc::clone(&is_over);
        let carrier = thread::spawn(move || {
            while !seen.load(Ordering::Relaxed) {
                carrier.carry();
            }
        });
        Ok(Wire {
            counts,
            is_over,
            carrier: Some(carrier),
        })
    }

    /// Returns what it has done so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(carrier) = self.carrier.take() {
            // It has said why, if it panicked.
            let _ = carrier.join();
        }
    }
}

/// Makes a tap and returns its other end.
fn end(name: &str) -> io::Result<OwnedFd> {
    let tap = TunTapInterface::new(name, Medium::Ethernet)?;
    // A copy of the descriptor that can be waited for beside another one: what the tap itself gives
    // out is a number.
    let own = pidfd_open(getpid(), PidfdFlags::empty())?;
    let number: ForeignRawFd = tap.as_raw_fd();
    Ok(pidfd_getfd(own, number, PidfdGetfdFlags::empty())?)
}

fn ip(words: &[&str]) -> io::Result<()> {
    let output = Command::new("ip").args(words).output()?;
    match output.status.success() {
        true => Ok(()),
        false => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(io::Error::other(format!(
                "ip {}: {}",
                words.join(" "),
                said.trim()
            )))
        }
    }
}

/// The lanes of all paths, by the host's address.
#[derive(Debug)]
struct Lanes(Vec<(Ipv4Addr, [Lane; 2])>);

impl Lanes {
    fn new(paths: &[Path], seed: u64) -> Self {
        let lanes = paths
            .iter()
            .zip((seed * 1000..).step_by(2))
            .map(|(path, seed)| {
                let lane = |direction: u64| Lane::new(path.conditions, seed + 1 + direction);
                (path.host, [lane(0), lane(1)])
            });
        Lanes(lanes.collect())
    }

    /// Returns the lane of a frame that came from the guest (0) or from the host (1).
    fn of(&mut self, from: usize, frame: &[u8]) -> Option<&mut Lane> {
        // Ethernet, then IPv4: the host is the destination or the source.
        let at = if from == 0 { 30 } else { 26 };
        let is_v4 = frame
            .get(12..15)
            .is_some_and(|bytes| bytes[..2] == [8, 0] && bytes[2] >> 4 == 4);
        let host: [u8; 4] = frame.get(at..at + 4).filter(|_| is_v4)?.try_into().ok()?;
        let lanes = self
            .0
            .iter_mut()
            .find(|(known, _)| known.octets() == host)?;
        Some(&mut lanes.1[from])
    }
}

/// What carries the frames.
struct Carrier {
    ends: [OwnedFd; 2],
    lanes: Lanes,
    /// The next to arrive first, and of those that arrive together the first that entered.
    under_way: BinaryHeap<Reverse<(Instant, u64, UnderWay)>>,
    entered: u64,
    counts: Arc<Counts>,
}

/// A frame, and the end that it goes to.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct UnderWay {
    to: usize,
    frame: Vec<u8>,
}

impl Carrier {
    /// Waits for frames and hands over those that arrive.
    fn carry(&mut self) {
        let next = self.under_way.peek().map(|Reverse((arrives, ..))| *arrives);
        let wait = next.map_or(LOOK, |next| {
            next.saturating_duration_since(Instant::now()).min(LOOK)
        });
        let wait = Timespec {
            tv_sec: 0,
            tv_nsec: wait.as_nanos() as _,
        };
        let mut waited = [
            PollFd::new(&self.ends[0], PollFlags::IN),
            PollFd::new(&self.ends[1], PollFlags::IN),
        ];
        // Interrupted, or not: the taps are looked at.
        let _ = poll(&mut waited, Some(&wait));
        for from in [0, 1] {
            self.take_in(from);
        }
        let now = Instant::now();
        while let Some(Reverse((arrives, ..))) = self.under_way.peek()
            && *arrives <= now
        {
            let Some(Reverse((.., arrived))) = self.under_way.pop() else {
                return;
            };
            // A tap that is down takes nothing, like a plug that is out.
            let is_passed = rustix::io::write(&self.ends[arrived.to], &arrived.frame).is_ok();
            let count = match is_passed {
                true => &self.counts.passed,
                false => &self.counts.overflowed,
            };
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes in what has come from one end, and decides over it.
    fn take_in(&mut self, from: usize) {
        let mut buffer = [0; FRAME_BYTES];
        while let Ok(length) = rustix::io::read(&self.ends[from], &mut buffer) {
            let frame = &buffer[..length];
            let now = Instant::now();
            let fate = match self.lanes.of(from, frame) {
                Some(lane) => lane.enter(now, length),
                None => Fate::Arrives(now),
            };
            match fate {
                Fate::Arrives(at) => {
                    self.entered += 1;
                    let (to, frame) = (1 - from, frame.to_vec());
                    let under_way = UnderWay { to, frame };
                    self.under_way.push(Reverse((at, self.entered, under_way)));
                }
                Fate::Lost => {
                    self.counts.lost.fetch_add(1, Ordering::Relaxed);
                }
                Fate::Overflows => {
                    self.counts.overflowed.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conditions::Conditions;

    #[test]
    fn a_frame_has_the_lane_of_the_host_that_it_comes_from_or_goes_to() {
        let path = |last| Path {
            host: Ipv4Addr::new(10, 0, 0, last),
            conditions: Conditions {
                loss_per_mille: 1000,
                delay: Duration::ZERO,
                rate: None,
            },
        };
        let mut lanes = Lanes::new(&[path(1), path(2)], 1);
        let mut frame = [0; 60];
        frame[12..15].copy_from_slice(&[8, 0, 0x45]);
        frame[26..30].copy_from_slice(&[10, 0, 0, 9]);
        frame[30..34].copy_from_slice(&[10, 0, 0, 2]);
        assert!(lanes.of(0, &frame).is_some());
        // The guest's own address is none of the host's.
        assert!(lanes.of(1, &frame).is_none());
        frame[30] = 11;
        assert!(lanes.of(0, &frame).is_none());
        for short in 0..34 {
            assert!(lanes.of(0, &frame[..short]).is_none());
        }
        frame[12..14].copy_from_slice(&[8, 6]);
        assert!(lanes.of(1, &frame).is_none());
    }
}
