//! The server's limits as settings, and their words on the kernel command line.
//!
//! Defaults are those of a server that faces the Internet. Upstream: the
//! image's boot, which asks for each word. Downstream: [`server`](crate::server).

use crate::limits::HeadLimits;
use core::time::Duration;

/// What a server lets clients do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// What a request's head may come to.
    pub head: HeadLimits,
    /// Requests on one connection.
    pub requests_per_connection: u32,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// Bytes per second that a client must take or send at least, 0 for any.
    pub minimum_rate: u32,
    /// Connections of one core at once, 0 for as many as there is memory for.
    pub connections: u32,
    /// Connections of one address on one core at once, 0 for any number.
    pub connections_per_address: u32,
}

/// How long things may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// From the first byte of a request, or from the connection's start, to the end of its head.
    pub header: Duration,
    /// Between two requests.
    pub idle: Duration,
    /// For a write, beside what its bytes may take at the lowest rate.
    pub write: Duration,
    /// For what a client still sends to a connection that is being closed.
    pub linger: Duration,
    /// From the wish to stop until connections are cut off.
    pub drain: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            head: HeadLimits::default(),
            requests_per_connection: 10_000,
            timeouts: Timeouts {
                header: Duration::from_secs(20),
                idle: Duration::from_secs(60),
                write: Duration::from_secs(30),
                linger: Duration::from_secs(5),
                drain: Duration::from_secs(30),
            },
            minimum_rate: 512,
            connections: 0,
            connections_per_address: 0,
        }
    }
}

/// A word of the command line: `name=NUMBER`.
#[derive(Debug)]
pub struct Setting {
    /// Its name.
    pub name: &'static str,
    /// What its value may be, in words.
    pub wanted: &'static str,
    set: fn(&mut Settings, u32) -> bool,
}

/// Stores a number that lies in a range.
fn store<T: TryFrom<u32>>(
    place: &mut T,
    value: u32,
    range: core::ops::RangeInclusive<u32>,
) -> bool {
    match T::try_from(value) {
        Ok(value_in_type) if range.contains(&value) => {
            *place = value_in_type;
            true
        }
        _ => false,
    }
}

/// Stores a number of seconds.
fn store_seconds(place: &mut Duration, value: u32) -> bool {
    *place = Duration::from_secs(value.into());
    (1..=MOST_SECONDS).contains(&value)
}

/// A day: no wait is longer.
const MOST_SECONDS: u32 = 86_400;

/// The words, in the order of the table in `docs/http.md`.
pub const SETTINGS: [Setting; 12] = [
    Setting {
        name: "request-line-bytes",
        wanted: "bytes from 64 to 8190",
        set: |settings, value| store(&mut settings.head.request_line_bytes, value, 64..=8190),
    },
    Setting {
        name: "head-bytes",
        wanted: "bytes from 256 to 8192",
        set: |settings, value| store(&mut settings.head.head_bytes, value, 256..=8192),
    },
    Setting {
        name: "fields",
        wanted: "field lines from 1 to 1000",
        set: |settings, value| store(&mut settings.head.fields, value, 1..=1000),
    },
    Setting {
        name: "requests",
        wanted: "requests per connection, 1 or more",
        set: |settings, value| store(&mut settings.requests_per_connection, value, 1..=u32::MAX),
    },
    Setting {
        name: "header-timeout",
        wanted: "seconds from 1 to 86400",
        set: |settings, value| store_seconds(&mut settings.timeouts.header, value),
    },
    Setting {
        name: "idle-timeout",
        wanted: "seconds from 1 to 86400",
        set: |settings, value| store_seconds(&mut settings.timeouts.idle, value),
    },
    Setting {
        name: "write-timeout",
        wanted: "seconds from 1 to 86400",
        set: |settings, value| store_seconds(&mut settings.timeouts.write, value),
    },
    Setting {
        name: "linger-timeout",
        wanted: "seconds from 1 to 86400",
        set: |settings, value| store_seconds(&mut settings.timeouts.linger, value),
    },
    Setting {
        name: "drain-timeout",
        wanted: "seconds from 1 to 86400",
        set: |settings, value| store_seconds(&mut settings.timeouts.drain, value),
    },
    Setting {
        name: "minimum-rate",
        wanted: "bytes per second, 0 for any",
        set: |settings, value| store(&mut settings.minimum_rate, value, 0..=u32::MAX),
    },
    Setting {
        name: "connections",
        wanted: "connections per core, 0 for as many as fit",
        set: |settings, value| store(&mut settings.connections, value, 0..=u32::MAX),
    },
    Setting {
        name: "connections-per-address",
        wanted: "connections per address and core, 0 for any",
        set: |settings, value| store(&mut settings.connections_per_address, value, 0..=u32::MAX),
    },
];

impl Setting {
    /// Returns the number that a value is, if it may be this setting's.
    pub fn parse(&self, value: &str) -> Option<u32> {
        // `parse` would take a plus sign.
        let is_number = value.bytes().all(|byte| byte.is_ascii_digit());
        let number = value.parse().ok().filter(|_| is_number)?;
        (self.set)(&mut Settings::default(), number).then_some(number)
    }

    /// Changes the setting to a number that [`parse`](Self::parse) gave.
    pub fn apply(&self, settings: &mut Settings, number: u32) {
        (self.set)(settings, number);
    }
}

impl Settings {
    /// Returns how long a write of so many bytes may take.
    #[inline]
    pub(crate) fn time_to_write(&self, bytes: usize) -> Duration {
        self.timeouts.write + self.time_of(bytes as u64)
    }

    /// Returns how long `bytes` may take at the lowest rate.
    pub(crate) fn time_of(&self, bytes: u64) -> Duration {
        match self.minimum_rate {
            0 => NO_LIMIT,
            rate if bytes < u64::from(rate) => Duration::ZERO,
            rate => Duration::from_secs(bytes / u64::from(rate)),
        }
    }
}

/// Longer than any connection.
const NO_LIMIT: Duration = Duration::from_secs(365 * 86_400);

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;

    #[test]
    fn every_word_changes_its_setting() {
        for setting in &SETTINGS {
            let mut settings = Settings::default();
            setting.apply(&mut settings, setting.parse("777").unwrap());
            assert_ne!(settings, Settings::default(), "{}", setting.name);
            for bad in ["", "x", "-1", "+1", "4294967296", "1s"] {
                assert_eq!(setting.parse(bad), None, "{}={bad}", setting.name);
            }
        }
    }

    #[test]
    fn values_outside_their_range_are_refused() {
        for (name, value) in [
            ("head-bytes", 255),
            ("head-bytes", 8193),
            ("fields", 0),
            ("requests", 0),
            ("idle-timeout", 0),
            ("header-timeout", 86_401),
        ] {
            let setting = SETTINGS
                .iter()
                .find(|setting| setting.name == name)
                .unwrap();
            assert_eq!(setting.parse(&format!("{value}")), None, "{name}={value}");
        }
    }

    #[test]
    fn the_table_in_the_documentation_has_every_word() {
        let table = include_str!("../../docs/http.md");
        for setting in &SETTINGS {
            assert!(
                table.contains(&format!("| `{}=` |", setting.name)),
                "{}",
                setting.name
            );
        }
    }
}
