//! What the person who boots an image may set, whatever the appliance is.

use super::command_line::{BadWord, CommandLine};
use crate::limits::POLL_MOST;
use core::net::IpAddr;
use core::time::Duration;
use heapless::Vec;
use log::LevelFilter;
use net::address::AddressConfig;
use net::limits::GATEWAYS;

/// What the command line says, and the defaults for what it does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings<'a> {
    /// `ip=dhcp,auto` (default: a DHCP lease, and addresses of what IPv6 routers advertise), or fixed
    /// addresses of either family, `ip=ADDR/PREFIX,...` with `gateway=ADDR,...`; and
    /// `stable-secret=HEX`, of which IPv6 addresses are made so that they say nothing of the device.
    pub address: AddressConfig,
    /// `log=info`: off, error, warn, info, debug or trace.
    pub log: LevelFilter,
    /// `stats=SECONDS`: print every counter on the console at this interval.
    pub stats: Option<Duration>,
    /// `keep-alive=SECONDS`: ask a peer that is silent for so long whether it is still there.
    pub keep_alive: Option<Duration>,
    /// `poll=MICROSECONDS`: look on for so long before a sleep, at most, where that has paid.
    pub poll: Option<Duration>,
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
            stats: take_seconds(line, "stats")?,
            keep_alive: take_seconds(line, "keep-alive")?,
            poll: take_poll(line)?,
            crash: line.take("crash", "a kind of crash", Some)?,
        })
    }
}

/// Takes a number of seconds, 0 for none.
fn take_seconds<'a>(
    line: &mut CommandLine<'a>,
    name: &'static str,
) -> Result<Option<Duration>, BadWord<'a>> {
    let seconds = line.take(name, "a number of seconds", |value| value.parse().ok())?;
    let seconds = seconds.filter(|seconds: &u32| *seconds != 0);
    Ok(seconds.map(|seconds| Duration::from_secs(seconds.into())))
}

fn take_poll<'a>(line: &mut CommandLine<'a>) -> Result<Option<Duration>, BadWord<'a>> {
    const WANTED: &str = "a number of microseconds up to 10000";
    line.take("poll", WANTED, |value| {
        let bound = Duration::from_micros(value.parse::<u32>().ok()?.into());
        (bound <= POLL_MOST).then_some(bound)
    })
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
    const WANTED: &str = "a list of dhcp, auto and addresses, such as ip=dhcp,auto or \
                          ip=10.0.2.15/24,fd00::15/64";
    let config = line.take("ip", WANTED, parse_addresses)?;
    let config = config.unwrap_or(AddressConfig {
        dhcp: true,
        slaac: true,
        ..AddressConfig::default()
    });
    const GATEWAY: &str =
        "a router's address, or one of each family, each beside an ip= of its family";
    let gateways = line.take("gateway", GATEWAY, |value| parse_gateways(value, &config))?;
    let stable_secret = line.take("stable-secret", "32 hexadecimal digits", parse_secret)?;
    Ok(AddressConfig {
        gateways: gateways.unwrap_or_default(),
        stable_secret,
        ..config
    })
}

/// Reads 16 bytes.
fn parse_secret(value: &str) -> Option<[u8; 16]> {
    let is_hex = value.len() == 32 && value.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = u128::from_str_radix(value, 16).ok();
    number.filter(|_| is_hex).map(u128::to_be_bytes)
}

fn parse_addresses(value: &str) -> Option<AddressConfig> {
    let mut config = AddressConfig::default();
    for word in value.split(',') {
        match word {
            "dhcp" => config.dhcp = true,
            "auto" => config.slaac = true,
            address => config.fixed.push(address.parse().ok()?).ok()?,
        }
    }
    Some(config)
}

/// Reads routers: one of a family at most, and only where a fixed address is of that family.
fn parse_gateways(value: &str, config: &AddressConfig) -> Option<Vec<IpAddr, GATEWAYS>> {
    let mut gateways: Vec<IpAddr, GATEWAYS> = Vec::new();
    for word in value.split(',') {
        let gateway: IpAddr = word.parse().ok()?;
        let is_like = |other: &IpAddr| other.is_ipv4() == gateway.is_ipv4();
        let is_of_use = config.fixed.iter().any(|fixed| is_like(&fixed.address));
        if !is_of_use || gateways.iter().any(is_like) {
            return None;
        }
        gateways.push(gateway).ok()?;
    }
    Some(gateways)
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
            address: AddressConfig {
                dhcp: true,
                slaac: true,
                ..AddressConfig::default()
            },
            log: LevelFilter::Info,
            stats: None,
            keep_alive: None,
            poll: None,
            crash: None,
        };
        assert_eq!(parse(""), Ok((defaults.clone(), 80)));
        assert_eq!(parse("console=ttyS0 quiet stats=0"), Ok((defaults, 80)));
    }

    #[test]
    fn everything_can_be_set() {
        let line = "ip=10.1.2.3/16 gateway=10.1.0.1 port=8080 log=debug stats=5 keep-alive=90 poll=200 crash=panic cores=2";
        let (settings, port) = parse(line).unwrap();
        let address = AddressConfig::fixed([10, 1, 2, 3], 16).through([10, 1, 0, 1]);
        assert_eq!(settings.address, address);
        assert_eq!((port, settings.log), (8080, LevelFilter::Debug));
        assert_eq!(settings.stats, Some(Duration::from_secs(5)));
        assert_eq!(settings.keep_alive, Some(Duration::from_secs(90)));
        assert_eq!(settings.poll, Some(Duration::from_micros(200)));
        assert_eq!(settings.crash, Some("panic"));
    }

    #[test]
    fn the_gateway_may_come_first_and_the_last_word_counts() {
        let (settings, port) = parse("gateway=10.0.0.1 port=1 ip=10.0.0.2/24 port=2").unwrap();
        assert_eq!(port, 2);
        assert_eq!(settings.address.gateways[..], [IpAddr::from([10, 0, 0, 1])]);
    }

    #[test]
    fn addresses_of_both_families_stand_side_by_side() {
        let line = "ip=10.0.0.2/24,fd00::2/64,auto gateway=fd00::1,10.0.0.1";
        let (settings, _) = parse(line).unwrap();
        let v6 = |last| IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, last]);
        let fixed = AddressConfig::fixed([10, 0, 0, 2], 24).and(v6(2), 64);
        let expected = AddressConfig {
            slaac: true,
            ..fixed.through(v6(1)).through([10, 0, 0, 1])
        };
        assert_eq!(settings.address, expected);
        let only = |line| parse(line).unwrap().0.address;
        assert_eq!(only("ip=dhcp"), AddressConfig::dhcp());
        assert_eq!(only("ip=auto"), AddressConfig::slaac());
        let secret = only("ip=auto stable-secret=000102030405060708090a0b0c0d0E0F").stable_secret;
        assert_eq!(secret, Some(core::array::from_fn(|place| place as u8)));
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
            "keep-alive=soon",
            "poll=10001",
            "poll=-1",
            "gateway=here",
            "stable-secret=",
            "stable-secret=+00102030405060708090a0b0c0d0e0f",
            "stable-secret=000102030405060708090a0b0c0d0e0f00",
            "gateway=10.0.0.1",
            "ip=dhcp,",
            "ip=10.0.0.2/24,fd00::/129",
            "ip=fd00::2",
            "ip=ff02::1/64",
            "gateway=fd00::1",
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
