//! The access log as syslog messages over UDP (RFC 5424, RFC 5426).
//!
//! Upstream: [`access_log`](crate::access_log), a line at a time. Downstream: datagrams of the core's
//! channel. Facility local7 and severity informational, as nginx has them; the process is the core. A
//! message that is longer than a datagram is cut off (RFC 5424 §6.1 permits it). A receiver that
//! nobody knows the way to keeps lines in the ring, which then drops new ones: no request waits.

use crate::access_log::LogSink;
use core::fmt::{self, Write};
use core::net::{IpAddr, SocketAddr};
use kernel::CoreId;
use megapipe::Channel;
use megapipe::channel::SubmitError;
use megapipe::limits::{DATAGRAM_BYTES, DATAGRAMS};
use site::date::http_date;

/// The port that messages come from; and go to, unless another one is given.
pub const SYSLOG_PORT: u16 = 514;

/// Bytes that fit into a packet of 1,280 bytes behind the headers of IPv6 and UDP.
const DATAGRAM_IPV6_BYTES: usize = 1232;
const _: () = assert!(DATAGRAM_IPV6_BYTES <= DATAGRAM_BYTES);

/// Facility local7, severity informational (RFC 5424 §6.2.1).
const PRIORITY: u32 = 23 * 8 + 6;

/// One core's way to a log server.
#[derive(Debug, Clone, Copy)]
pub struct Syslog {
    to: SocketAddr,
    core: CoreId,
}

impl Syslog {
    /// Makes the sink of a core.
    pub fn new(to: SocketAddr, core: CoreId) -> Self {
        Syslog { to, core }
    }

    /// Returns the address of `syslog:ADDR` or `syslog:ADDR:PORT`; an IPv6 address with a port stands in
    /// brackets.
    pub fn parse_address(text: &str) -> Option<SocketAddr> {
        let text = text.strip_prefix("syslog:")?;
        let with_port = || Some(SocketAddr::new(text.parse().ok()?, SYSLOG_PORT));
        let address: SocketAddr = text.parse().ok().or_else(with_port)?;
        let is_host = match address.ip() {
            IpAddr::V4(ip) => !ip.is_unspecified() && !ip.is_multicast() && !ip.is_broadcast(),
            // An IPv4 address in disguise is on no wire.
            IpAddr::V6(ip) => {
                let is_one = !ip.is_unspecified() && !ip.is_loopback() && !ip.is_multicast();
                is_one && ip.to_ipv4_mapped().is_none()
            }
        };
        (is_host && address.port() != 0).then_some(address)
    }

    /// Returns the bytes of the longest message: over IPv6, what every way takes.
    fn most_bytes(&self) -> usize {
        match self.to {
            SocketAddr::V4(_) => DATAGRAM_BYTES,
            SocketAddr::V6(_) => DATAGRAM_IPV6_BYTES,
        }
    }
}

impl LogSink for Syslog {
    fn take(&mut self, line: &[u8], unix_seconds: u64, channel: &mut Channel) -> bool {
        let mut message = heapless::Vec::<u8, DATAGRAM_BYTES>::new();
        let head = write!(
            message,
            "<{PRIORITY}>1 {} - sluice {} access - ",
            Timestamp(unix_seconds),
            self.core.index()
        );
        debug_assert!(head.is_ok());
        let room = self.most_bytes().saturating_sub(message.len());
        let fits = message.extend_from_slice(&line[..line.len().min(room)]);
        debug_assert!(fits.is_ok());
        // A full outbox: later. Whatever else is wrong will not be better then.
        channel.send_datagram(SYSLOG_PORT, self.to, &message) != Err(SubmitError::RingFull)
    }

    fn most_lines(&self) -> usize {
        DATAGRAMS
    }
}

/// A time as RFC 3339 has it: `1994-11-06T08:49:37Z`.
struct Timestamp(u64);

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MONTHS: [&str; 12] = [
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
        ];
        let date = http_date(self.0);
        let part =
            |from: usize, to: usize| core::str::from_utf8(&date[from..to]).unwrap_or_default();
        let month = MONTHS.iter().position(|month| *month == part(8, 11));
        let month = month.unwrap_or_default() + 1;
        let (year, day, time) = (part(12, 16), part(5, 7), part(17, 25));
        write!(f, "{year}-{month:02}-{day}T{time}Z")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;

    #[test]
    fn times_are_written_as_rfc_3339_has_them() {
        assert_eq!(
            format!("{}", Timestamp(784_111_777)),
            "1994-11-06T08:49:37Z"
        );
        assert_eq!(format!("{}", Timestamp(0)), "1970-01-01T00:00:00Z");
        assert_eq!(
            format!("{}", Timestamp(1_767_225_599)),
            "2025-12-31T23:59:59Z"
        );
    }

    #[test]
    fn an_address_has_a_host_and_perhaps_a_port() {
        let parse = |text| Syslog::parse_address(text).map(|address| format!("{address}"));
        assert_eq!(parse("syslog:10.0.2.2").as_deref(), Some("10.0.2.2:514"));
        assert_eq!(
            parse("syslog:10.0.2.2:5140").as_deref(),
            Some("10.0.2.2:5140")
        );
        assert_eq!(parse("syslog:fd00::9").as_deref(), Some("[fd00::9]:514"));
        assert_eq!(
            parse("syslog:[fd00::9]:5140").as_deref(),
            Some("[fd00::9]:5140")
        );
        for bad in [
            "10.0.2.2",
            "syslog:",
            "syslog:host",
            "syslog:10.0.2.2:",
            "syslog:10.0.2.2:0",
            "syslog:0.0.0.0",
            "syslog:255.255.255.255",
            "syslog:224.0.0.1",
            "syslog:::1",
            "syslog:::",
            "syslog:ff02::1",
            "syslog:::ffff:10.0.2.2",
            "syslog:[fd00::9]:0",
            "syslog:[fd00::9]:",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
