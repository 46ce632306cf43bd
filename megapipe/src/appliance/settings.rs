//! What the person who boots an image may set, whatever the appliance is.

use super::command_line::{BadWord, CommandLine};
use core::net::Ipv4Addr;
use core::time::Duration;
use log::LevelFilter;
use net::address::{Address, AddressConfig};

/// What the command line says, and the defaults for what it does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings<'a> {
    /// `ip=dhcp` (default), or `ip=ADDR/PREFIX` with `gateway=ADDR`.
    pub address: AddressConfig,
    /// `log=info`: off, error, warn, info, debug or trace.
    pub log: LevelFilter,
    /// `stats=SECONDS`: print every counter on the console at this interval.
    pub stats: Option<Duration>,
    /// `crash=KIND`: crash on purpose once ready, to see the report; the kinds are the machine's.
    pub crash: Option<&'a str>,
}

impl<'a> Settings<'a> {
    /// Takes the words of every appliance out of a command line.
    ///
    /// # Errors
    /// The first of them whose value cannot be.
    pub fn take_from(line: &mut CommandLine<'a>) -> Result<Self, BadWord<'a>> {
        // Which cores there are was decided when they were started.
        let is_count = |value: &str| matches!(value.parse(), Ok(1_u32..)).then_some(());
        line.take("cores", "a number of cores from 1 up", is_count)?;
        Ok(Settings {
            address: take_address(line)?,
            log: line
                .take(
                    "log",
                    "one of off, error, warn, info, debug, trace",
                    |value| value.parse().ok(),
                )?
                .unwrap_or(LevelFilter::Info),
            stats: line
                .take("stats", "a number of seconds", |value| value.parse().ok())?
                .filter(|seconds| *seconds != 0)
                .map(Duration::from_secs),
            crash: line.take("crash", "a kind of crash", Some)?,
        })
    }
}

/// Takes `port=`.
///
/// # Errors
/// The word, when it is none.
pub fn take_port<'a>(line: &mut CommandLine<'a>, default: u16) -> Result<u16, BadWord<'a>> {
    let port = |value: &str| value.parse().ok().filter(|port| *port != 0);
    let port = line.take("port", "a port from 1 to 65535", port)?;
    Ok(port.unwrap_or(default))
}

fn take_address<'a>(line: &mut CommandLine<'a>) -> Result<AddressConfig, BadWord<'a>> {
    const WANTED: &str = "ip=dhcp or ip=ADDRESS/PREFIX, such as ip=10.0.2.15/24";
    let address = line.take("ip", WANTED, parse_address)?;
    let address = address.unwrap_or(AddressConfig::Dhcp);
    let is_static = matches!(address, AddressConfig::Static(_));
    let gateway = |value: &str| value.parse().ok().filter(|_| is_static);
    const GATEWAY: &str = "an IPv4 address, and only together with ip=ADDRESS/PREFIX";
    let gateway: Option<Ipv4Addr> = line.take("gateway", GATEWAY, gateway)?;
    Ok(match address {
        AddressConfig::Static(address) => AddressConfig::Static(Address { gateway, ..address }),
        AddressConfig::Dhcp => AddressConfig::Dhcp,
    })
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

    fn parse(line: &str) -> Result<(Settings<'_>, u16), BadWord<'_>> {
        let mut line = CommandLine::new(line);
        let settings = Settings::take_from(&mut line)?;
        let port = take_port(&mut line, 80)?;
        line.finish()?;
        Ok((settings, port))
    }

    #[test]
    fn an_empty_line_means_the_defaults() {
        let defaults = Settings {
            address: AddressConfig::Dhcp,
            log: LevelFilter::Info,
            stats: None,
            crash: None,
        };
        assert_eq!(parse(""), Ok((defaults.clone(), 80)));
        assert_eq!(parse("console=ttyS0 quiet stats=0"), Ok((defaults, 80)));
    }

    #[test]
    fn everything_can_be_set() {
        let line =
            "ip=10.1.2.3/16 gateway=10.1.0.1 port=8080 log=debug stats=5 crash=panic cores=2";
        let (settings, port) = parse(line).unwrap();
        let address = Address {
            address: Ipv4Addr::new(10, 1, 2, 3),
            prefix: 16,
            gateway: Some(Ipv4Addr::new(10, 1, 0, 1)),
        };
        assert_eq!(settings.address, AddressConfig::Static(address));
        assert_eq!((port, settings.log), (8080, LevelFilter::Debug));
        assert_eq!(settings.stats, Some(Duration::from_secs(5)));
        assert_eq!(settings.crash, Some("panic"));
    }

    #[test]
    fn the_gateway_may_come_first_and_the_last_word_counts() {
        let (settings, port) = parse("gateway=10.0.0.1 port=1 ip=10.0.0.2/24 port=2").unwrap();
        assert_eq!(port, 2);
        assert!(matches!(settings.address, AddressConfig::Static(a) if a.gateway.is_some()));
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
            "cores=0",
            "cores=two",
        ] {
            let error = parse(word).unwrap_err().to_string();
            assert!(
                error.starts_with(word) && error.contains("wanted"),
                "{error}"
            );
        }
    }
}
