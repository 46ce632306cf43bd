//! The backends of a load balancer: who is next, and who is well.
//!
//! Upstream: the completions of checks, which are connects that lead to nothing more. Downstream:
//! [`proxy`](crate::proxy), which asks for the next one. A backend is well until a connect to it
//! fails, and again when a check succeeds.

use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;
use megapipe::{Channel, ConnectFailure, ConnectHandle, Cookie, Lwsocket, SubmitError};

/// How often each backend is checked.
pub const CHECK_PERIOD: Duration = Duration::from_millis(500);

/// Periods after which a backend that has not answered is not well.
const PATIENCE_PERIODS: u32 = 4;

/// A connect for a session that has no answer after this is given up.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Backends at most.
pub const MAX_BACKENDS: usize = 64;

/// One backend.
#[derive(Debug)]
struct Backend {
    address: SocketAddr,
    is_well: bool,
    check: Option<ConnectHandle>,
    /// Periods that the check has taken.
    waited: u32,
}

/// The backends of one core's proxy.
#[derive(Debug)]
pub struct Backends {
    list: Vec<Backend>,
    /// The one after that which was chosen last.
    next: usize,
    /// Checks that failed.
    pub(crate) checks_failed: u64,
    /// Added to a backend's number in the cookies of its check and its timer.
    cookie: u64,
}

/// Reads `ADDRESS:PORT,…`; `None` when it is not that, or there are too many.
pub fn parse(text: &str) -> Option<Vec<SocketAddr>> {
    let backends: Option<Vec<SocketAddr>> = text
        .split(',')
        .map(|address| address.parse().ok())
        .collect();
    backends.filter(|backends| backends.len() <= MAX_BACKENDS)
}

impl Backends {
    /// Makes the list. The cookies of its checks are `cookie` and up, one for each backend.
    pub fn new(addresses: &[SocketAddr], cookie: u64) -> Self {
        let backend = |address: &SocketAddr| Backend {
            address: *address,
            is_well: true,
            check: None,
            waited: 0,
        };
        Backends {
            list: addresses.iter().map(backend).collect(),
            next: 0,
            checks_failed: 0,
            cookie,
        }
    }

    /// Returns how many there are.
    pub fn count(&self) -> usize {
        self.list.len()
    }

    /// Returns how many are well.
    pub fn well(&self) -> usize {
        self.list.iter().filter(|backend| backend.is_well).count()
    }

    /// Chooses the next one that is well, round robin.
    pub fn choose(&mut self) -> Option<(usize, SocketAddr)> {
        let count = self.list.len();
        let turn = (0..count).map(|step| (self.next + step) % count);
        let chosen = turn.into_iter().find(|number| self.list[*number].is_well)?;
        self.next = (chosen + 1) % count;
        Some((chosen, self.list[chosen].address))
    }

    /// A connect to a backend has failed.
    pub fn note_failure(&mut self, number: usize) {
        if let Some(backend) = self.list.get_mut(number) {
            if backend.is_well {
                log::warn!("backend {} is not well", backend.address);
            }
            backend.is_well = false;
        }
    }

    /// Begins to check all of them, from the first run on.
    pub fn begin(&self, channel: &mut Channel) -> Result<(), SubmitError> {
        for number in 0..self.list.len() as u64 {
            channel.timer(Duration::ZERO, Cookie(self.cookie + number))?;
        }
        Ok(())
    }

    /// A period is over: the next check of a backend begins, unless one is under way, which is given
    /// up when it takes too long.
    pub fn handle_timer(&mut self, channel: &mut Channel, number: usize) {
        let cookie = Cookie(self.cookie + number as u64);
        let Some(backend) = self.list.get_mut(number) else {
            return;
        };
        match backend.check {
            None => {
                backend.waited = 0;
                backend.check = channel.connect(backend.address, cookie).ok();
            }
            Some(_) if backend.waited < PATIENCE_PERIODS => backend.waited += 1,
            Some(check) => {
                backend.check = None;
                let _ = channel.cancel_connect(check);
                self.checks_failed += 1;
                self.note_failure(number);
            }
        }
        // The last one has just been told: there is a timer for it.
        let _ = channel.timer(CHECK_PERIOD, cookie);
    }

    /// A check is done; its connection is ended by dropping it.
    pub fn handle_check(&mut self, number: usize, result: Result<Lwsocket, ConnectFailure>) {
        let Some(backend) = self.list.get_mut(number) else {
            return;
        };
        backend.check = None;
        match result {
            Ok(_) => {
                if !backend.is_well {
                    log::info!("backend {} is well", backend.address);
                }
                backend.is_well = true;
            }
            // Nothing is known of it before this side has an address.
            Err(ConnectFailure::NoAddress) => {}
            Err(_) => {
                self.checks_failed += 1;
                self.note_failure(number);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_are_well_take_turns() {
        let addresses = parse("10.0.2.2:1,10.0.2.2:2,10.0.2.2:3").unwrap();
        let mut backends = Backends::new(&addresses, 0);
        let turn = |backends: &mut Backends| backends.choose().map(|(number, _)| number);
        assert_eq!(
            [(); 4].map(|()| turn(&mut backends)),
            [0, 1, 2, 0].map(Some)
        );
        backends.note_failure(1);
        assert_eq!([(); 3].map(|()| turn(&mut backends)), [2, 0, 2].map(Some));
        assert_eq!(backends.well(), 2);
        backends.note_failure(0);
        backends.note_failure(2);
        assert_eq!(backends.choose(), None);
    }

    #[test]
    fn a_list_of_addresses_is_read_whole_or_not() {
        assert_eq!(parse("127.0.0.1:80").map(|list| list.len()), Some(1));
        for text in ["", "10.0.2.2", "10.0.2.2:80,", "10.0.2.2:80 ", "host:80"] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse("1.2.3.4:5,".repeat(65).trim_end_matches(',')), None);
    }
}
