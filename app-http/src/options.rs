//! The kernel command line: what the person who boots the image may set.
//!
//! Words are separated by blanks. A word of ours with a value that cannot be is an error, since
//! to boot with another setting than the one asked for is worse than not to boot. A word that is
//! not ours is left alone: boot loaders and scripts add their own.

use core::fmt;
use core::net::Ipv4Addr;
use core::time::Duration;
use log::LevelFilter;
use net::address::{Address, AddressConfig};

/// What the command line says, and the defaults for what it does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options<'a> {
    /// `ip=dhcp` (default), or `ip=ADDR/PREFIX` with `gateway=ADDR`.
    pub address: AddressConfig,
    /// `port=80`: the TCP port to serve on, 1..=65535.
    pub port: u16,
    /// `log=info`: off, error, warn, info, debug or trace.
    pub log: LevelFilter,
    /// `stats=SECONDS`: print every counter on the console at this interval.
    pub stats: Option<Duration>,
    /// `crash=KIND`: crash on purpose once ready, to see the report; the kinds are the machine's.
    pub crash: Option<&'a str>,
}

/// A word with a value that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadOption<'a> {
    word: &'a str,
    wanted: &'static str,
}

impl fmt::Display for BadOption<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: wanted {}", self.word, self.wanted)
    }
}

impl Default for Options<'_> {
    fn default() -> Self {
        Options {
            address: AddressConfig::Dhcp,
            port: 80,
            log: LevelFilter::Info,
            stats: None,
            crash: None,
        }
    }
}

impl<'a> Options<'a> {
    /// Parses a command line; of a word that comes twice the last counts.
    ///
    /// # Errors
    /// The first word of ours whose value cannot be.
    pub fn parse(command_line: &'a str) -> Result<Self, BadOption<'a>> {
        let mut options = Options::default();
        let mut gateway = None;
        for word in command_line.split_ascii_whitespace() {
            let Some((name, value)) = word.split_once('=') else {
                continue;
            };
            let bad = |wanted| BadOption { word, wanted };
            match name {
                "ip" => {
                    options.address = parse_address(value)
                        .ok_or(bad("ip=dhcp or ip=ADDRESS/PREFIX, such as ip=10.0.2.15/24"))?;
                }
                "gateway" => {
                    let address = value.parse().map_err(|_| bad("an IPv4 address"))?;
                    gateway = Some((word, address));
                }
                "port" => {
                    options.port = value
                        .parse()
                        .ok()
                        .filter(|port| *port != 0)
                        .ok_or(bad("a port from 1 to 65535"))?;
                }
                "log" => {
                    options.log = value
                        .parse()
                        .map_err(|_| bad("one of off, error, warn, info, debug, trace"))?;
                }
                "stats" => {
                    let seconds = value.parse().map_err(|_| bad("a number of seconds"))?;
                    options.stats = (seconds != 0).then(|| Duration::from_secs(seconds));
                }
                "crash" => options.crash = Some(value),
                _ => {}
            }
        }
        options.join_gateway(gateway)?;
        Ok(options)
    }

    fn join_gateway(&mut self, gateway: Option<(&'a str, Ipv4Addr)>) -> Result<(), BadOption<'a>> {
        match (&mut self.address, gateway) {
            (_, None) => Ok(()),
            (AddressConfig::Static(address), Some((_, gateway))) => {
                address.gateway = Some(gateway);
                Ok(())
            }
            (AddressConfig::Dhcp, Some((word, _))) => Err(BadOption {
                word,
                wanted: "a gateway only together with ip=ADDRESS/PREFIX",
            }),
        }
    }
}

fn parse_address(value: &str) -> Option<AddressConfig> {
    if value == "dhcp" {
        return Some(AddressConfig::Dhcp);
    }
    let (address, prefix) = value.split_once('/')?;
    let address: Ipv4Addr = address.parse().ok()?;
    let prefix = prefix.parse().ok().filter(|bits| *bits <= 32)?;
    let is_station =
        !address.is_unspecified() && !address.is_multicast() && !address.is_broadcast();
    is_station.then_some(AddressConfig::Static(Address {
        address,
        prefix,
        gateway: None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn an_empty_line_means_the_defaults() {
        assert_eq!(Options::parse("").unwrap(), Options::default());
        assert_eq!(
            Options::parse("console=ttyS0 quiet foo").unwrap(),
            Options::default()
        );
    }

    #[test]
    fn everything_can_be_set() {
        let line = "ip=10.1.2.3/16 gateway=10.1.0.1 port=8080 log=debug stats=5 crash=panic";
        let options = Options::parse(line).unwrap();
        let address = Address {
            address: Ipv4Addr::new(10, 1, 2, 3),
            prefix: 16,
            gateway: Some(Ipv4Addr::new(10, 1, 0, 1)),
        };
        assert_eq!(options.address, AddressConfig::Static(address));
        assert_eq!((options.port, options.log), (8080, LevelFilter::Debug));
        assert_eq!(options.stats, Some(Duration::from_secs(5)));
        assert_eq!(options.crash, Some("panic"));
    }

    #[test]
    fn the_gateway_may_come_first_and_the_last_word_counts() {
        let options = Options::parse("gateway=10.0.0.1 port=1 ip=10.0.0.2/24 port=2").unwrap();
        assert_eq!(options.port, 2);
        assert!(matches!(options.address, AddressConfig::Static(a) if a.gateway.is_some()));
    }

    #[test]
    fn a_value_that_cannot_be_is_named() {
        for word in [
            "ip=10.0.0.1",
            "ip=10.0.0.1/33",
            "ip=0.0.0.0/8",
            "ip=224.0.0.1/8",
            "ip=",
            "port=0",
            "port=65536",
            "log=loud",
            "stats=x",
            "gateway=here",
            "gateway=10.0.0.1",
        ] {
            let error = Options::parse(word).unwrap_err().to_string();
            assert!(
                error.starts_with(word) && error.contains("wanted"),
                "{error}"
            );
        }
    }
}
