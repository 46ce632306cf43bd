//! What the guest says on its serial line, line by line.
//!
//! | line | meaning |
//! |---|---|
//! | `sluice: ready SCHEME://ADDR:PORT cores=C queues=Q` | the first request or connection would be answered |
//! | `sluice: stats core=N NAME=VALUE …` | counters of one core, every `stats=` seconds |
//! | `sluice: fatal: TEXT` | the guest gives up |
//! | `sluice: CRASH …` to `sluice: END` | a crash report; `  #N 0xADDR` are its backtrace |
//!
//! Every other line is log. Upstream: the image's `main` and the kernel's crash reporter.

use std::net::SocketAddr;

/// The first words of a crash report.
pub const CRASH_START: &str = "sluice: CRASH";
/// The last line of a crash report.
pub const CRASH_END: &str = "sluice: END";

/// What the ready line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ready {
    /// It speaks HTTP there (the scheme is `http`); else, TCP is all that is known.
    pub is_http: bool,
    /// Where the guest listens, as the guest sees it.
    pub address: SocketAddr,
    /// Cores that serve.
    pub cores: u32,
    /// Queue pairs in use.
    pub queues: u32,
}

impl Ready {
    /// Reads a ready line, `None` for any other.
    pub fn parse(line: &str) -> Option<Self> {
        let (url, rest) = line.strip_prefix("sluice: ready ")?.split_once(' ')?;
        let (scheme, address) = url.split_once("://")?;
        let field = |name: &str| {
            rest.split_whitespace()
                .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))?
                .parse()
                .ok()
        };
        Some(Ready {
            is_http: scheme == "http",
            address: address.parse().ok()?,
            cores: field("cores")?,
            queues: field("queues")?,
        })
    }
}

/// Counters of one core, as its last stats line has them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counters {
    /// The core's index.
    pub core: usize,
    /// Names and values, in the guest's order.
    pub values: Vec<(String, u64)>,
}

impl Counters {
    /// Reads a stats line, `None` for any other.
    pub fn parse(line: &str) -> Option<Self> {
        let mut words = line.strip_prefix("sluice: stats core=")?.split_whitespace();
        let core = words.next()?.parse().ok()?;
        let values = words
            .filter_map(|word| {
                let (name, value) = word.split_once('=')?;
                Some((name.to_owned(), value.parse().ok()?))
            })
            .collect();
        Some(Counters { core, values })
    }

    /// Returns the counter called `name`.
    pub fn value(&self, name: &str) -> Option<u64> {
        self.values
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| *value)
    }
}

/// Returns the text of a fatal line.
pub fn fatal(line: &str) -> Option<&str> {
    line.strip_prefix("sluice: fatal: ")
}

/// A backtrace line: which frame and where it would return to.
pub fn backtrace(line: &str) -> Option<(u32, u64)> {
    let (frame, address) = line.strip_prefix("  #")?.split_once(' ')?;
    let address = address.trim().strip_prefix("0x")?;
    Some((frame.parse().ok()?, u64::from_str_radix(address, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ready_line_names_address_cores_and_queues() {
        let ready = Ready::parse("sluice: ready http://10.0.2.15:80 cores=2 queues=1");
        let expected = Ready {
            is_http: true,
            address: ([10, 0, 2, 15], 80).into(),
            cores: 2,
            queues: 1,
        };
        assert_eq!(ready, Some(expected));
        let ready = Ready::parse("sluice: ready tcp://10.0.2.15:80 cores=2 queues=1");
        let expected = Ready {
            is_http: false,
            ..expected
        };
        assert_eq!(ready, Some(expected));
    }

    #[test]
    fn a_line_that_only_resembles_a_ready_line_is_log() {
        for line in [
            "sluice: ready",
            "sluice: ready http://10.0.2.15:80",
            "sluice: ready http://nowhere cores=1 queues=1",
            "sluice: ready http://10.0.2.15:80 cores=x queues=1",
            "[ 0.1] sluice: ready http://10.0.2.15:80 cores=1 queues=1",
        ] {
            assert_eq!(Ready::parse(line), None, "{line}");
        }
    }

    #[test]
    fn counters_are_found_by_name() {
        let counters = Counters::parse("sluice: stats core=1 rx_frames=12 tx_frames=7").unwrap();
        assert_eq!(counters.core, 1);
        assert_eq!(counters.value("tx_frames"), Some(7));
        assert_eq!(counters.value("frames"), None);
    }

    #[test]
    fn a_backtrace_line_has_frame_and_address() {
        assert_eq!(backtrace("  #3 0x10a2f0"), Some((3, 0x10a2f0)));
        assert_eq!(backtrace("  #3 10a2f0"), None);
        assert_eq!(backtrace("#3 0x10a2f0"), None);
    }
}
