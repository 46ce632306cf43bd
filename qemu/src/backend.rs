//! The host's end of the guest's network: the forwarded port, or the tap.

use crate::Failure;
use crate::machine::{AdminForward, Net};
use crate::options::RunOptions;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::time::Duration;

/// Port on this machine when none is given.
const DEFAULT_PORT: u16 = 8080;
/// The guest's own default of `port=`.
const GUEST_PORT: u16 = 80;
/// The same of `admin-port=`.
const ADMIN_PORT: u16 = 9100;
/// Linux's `IFF_TAP` and `IFF_MULTI_QUEUE` (`linux/if_tun.h`).
const IFF_TAP: u32 = 0x0002;
const IFF_MULTI_QUEUE: u32 = 0x0100;

/// Resolves user networking: checks that the port is free, or finds one.
///
/// # Errors
/// [`Failure::Usage`] when the port cannot be had.
pub fn user(options: &RunOptions) -> Result<Net, Failure> {
    let bind = options.bind.unwrap_or(Ipv4Addr::LOCALHOST);
    let port = options.port.unwrap_or(DEFAULT_PORT);
    let port = if options.is_dry_run && port != 0 {
        port
    } else {
        claim(bind, port, "--port")?
    };
    Ok(Net::User {
        host: SocketAddrV4::new(bind, port),
        // Ports are forwarded over IPv4.
        guest_address: word(&options.append, "ip=").and_then(|ip| {
            let mut addresses = ip.split(',');
            addresses.find_map(|address| address.split('/').next()?.parse().ok())
        }),
        guest_port: word(&options.append, "port=")
            .and_then(|port| port.parse().ok())
            .unwrap_or(GUEST_PORT),
    })
}

/// Resolves what leads to the guest's admin port, if that is asked for.
///
/// # Errors
/// [`Failure::Usage`] when the port cannot be had, or the guest has no admin port.
pub fn admin(options: &RunOptions) -> Result<Option<AdminForward>, Failure> {
    let Some(port) = options.admin_port else {
        return Ok(None);
    };
    let guest_port = word(&options.append, "admin-port=")
        .and_then(|port| port.parse().ok())
        .unwrap_or(ADMIN_PORT);
    if guest_port == 0 {
        return Err(Failure::Usage(
            "--admin-port: the guest has none with admin-port=0; leave one of them out".to_owned(),
        ));
    }
    let port = match options.is_dry_run && port != 0 {
        true => port,
        false => claim(Ipv4Addr::LOCALHOST, port, "--admin-port")?,
    };
    Ok(Some(AdminForward {
        host: SocketAddrV4::new(Ipv4Addr::LOCALHOST, port),
        guest_port,
    }))
}

/// Returns a port of the loopback address that nobody listens on.
///
/// # Errors
/// None can be had.
pub fn free_port() -> Result<u16, Failure> {
    claim(Ipv4Addr::LOCALHOST, 0, "--port")
}

/// Listens on the port for a moment, and returns which it was; `flag` is what it is given with.
fn claim(bind: Ipv4Addr, port: u16, flag: &str) -> Result<u16, Failure> {
    let listener = TcpListener::bind((bind, port))
        .and_then(|listener| listener.local_addr())
        .map_err(|error| {
            Failure::Usage(match error.kind() {
                ErrorKind::AddrInUse => format!(
                    "port {port} of {bind} is in use; choose another with {flag}, or {flag} 0 for \
                     any free one"
                ),
                ErrorKind::AddrNotAvailable => {
                    format!("--bind {bind}: not an address of this machine")
                }
                ErrorKind::PermissionDenied => {
                    format!("port {port} needs privilege; choose one from 1024 with {flag}")
                }
                _ => format!("cannot listen on {bind}:{port}: {error}; choose another port"),
            })
        })?;
    Ok(listener.port())
}

/// Resolves a tap: checks that it is one, and fits the queues to it.
///
/// # Errors
/// [`Failure::Usage`] when there is no such tap, or it cannot have that many queues.
pub fn tap(interface: &str, options: &RunOptions) -> Result<Net, Failure> {
    let file = format!("/sys/class/net/{interface}/tun_flags");
    let flags = fs::read_to_string(file).ok().and_then(|text| {
        let digits = text.trim().trim_start_matches("0x");
        u32::from_str_radix(digits, 16).ok()
    });
    let Some(flags) = flags.filter(|flags| flags & IFF_TAP != 0) else {
        return Err(Failure::Usage(format!(
            "--net tap={interface}: no such tap; make it with: ip tuntap add dev {interface} \
             mode tap"
        )));
    };
    let queues = fit_queues(flags & IFF_MULTI_QUEUE != 0, options.queues, options.cores)
        .map_err(|text| Failure::Usage(format!("--net tap={interface}: {text}")))?;
    Ok(Net::Tap {
        interface: interface.to_owned(),
        queues,
    })
}

/// Linux refuses to open a tap with another kind of queues than it was made with.
fn fit_queues(is_multi: bool, given: Option<u32>, cores: u32) -> Result<u32, &'static str> {
    match (is_multi, given) {
        (true, None) => Ok(cores.max(2)),
        (false, None | Some(1)) => Ok(1),
        (true, Some(queues)) if queues > 1 => Ok(queues),
        (true, Some(_)) => Err("it was made with multi_queue: give --queues 2 or more"),
        (false, Some(_)) => Err("it has one queue; make it with multi_queue, or give --queues 1"),
    }
}

/// Returns what stands behind `name` on a kernel command line, the last time it is there.
pub(crate) fn word<'a>(append: &'a str, name: &str) -> Option<&'a str> {
    append
        .split_whitespace()
        .filter_map(|word| word.strip_prefix(name))
        .next_back()
}

/// Asks for `/` once, and returns whether an HTTP answer came within `patience`.
pub fn is_answering(host: SocketAddrV4, patience: Duration) -> bool {
    let Some(mut stream) = connect(host, patience) else {
        return false;
    };
    let request = format!("HEAD / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let mut start = [0; 7];
    let is_read = stream
        .set_read_timeout(Some(patience))
        .and_then(|()| stream.write_all(request.as_bytes()))
        .and_then(|()| stream.read_exact(&mut start));
    is_read.is_ok() && &start == b"HTTP/1."
}

/// Connects once, and returns whether that was possible within `patience`.
pub fn is_accepting(host: SocketAddrV4, patience: Duration) -> bool {
    connect(host, patience).is_some()
}

fn connect(host: SocketAddrV4, patience: Duration) -> Option<TcpStream> {
    // A guest bound to every address answers on the loopback one.
    let ip = match host.ip().is_unspecified() {
        true => Ipv4Addr::LOCALHOST,
        false => *host.ip(),
    };
    let address = SocketAddr::from((ip, host.port()));
    TcpStream::connect_timeout(&address, patience).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_wrong_use() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let options = RunOptions {
            port: Some(port),
            ..RunOptions::default()
        };
        let error = user(&options).unwrap_err();
        assert_eq!(error.code(), 2);
        assert!(
            error
                .to_string()
                .starts_with(&format!("port {port} of 127.0.0.1 is in use"))
        );
    }

    #[test]
    fn port_zero_finds_one() {
        let options = RunOptions {
            port: Some(0),
            append: "port=8000 ip=auto,fd00::9/64,10.0.2.9/24".to_owned(),
            ..RunOptions::default()
        };
        let Ok(Net::User {
            host,
            guest_address,
            guest_port,
        }) = user(&options)
        else {
            panic!("no user network");
        };
        assert_ne!(host.port(), 0);
        assert_eq!(guest_port, 8000);
        assert_eq!(guest_address, Some(Ipv4Addr::new(10, 0, 2, 9)));
    }

    #[test]
    fn a_way_to_the_admin_port_is_made_when_asked_for_and_there_is_one() {
        let with = |admin_port, append: &str| {
            admin(&RunOptions {
                admin_port,
                append: append.to_owned(),
                ..RunOptions::default()
            })
        };
        assert_eq!(with(None, ""), Ok(None));
        let forward = with(Some(0), "").unwrap().unwrap();
        assert!(forward.host.port() != 0 && forward.host.ip().is_loopback());
        assert_eq!(forward.guest_port, 9100);
        let forward = with(Some(0), "admin-port=9000").unwrap().unwrap();
        assert_eq!(forward.guest_port, 9000);
        assert_eq!(with(Some(0), "admin-port=0").unwrap_err().code(), 2);
    }

    #[test]
    fn an_address_of_another_machine_is_wrong_use() {
        let options = RunOptions {
            bind: Some(Ipv4Addr::new(192, 0, 2, 1)),
            port: Some(0),
            ..RunOptions::default()
        };
        let error = user(&options).unwrap_err();
        assert_eq!(
            error.to_string(),
            "--bind 192.0.2.1: not an address of this machine"
        );
    }

    #[test]
    fn queues_fit_the_tap() {
        assert_eq!(fit_queues(false, None, 4), Ok(1));
        assert_eq!(fit_queues(true, None, 1), Ok(2));
        assert_eq!(fit_queues(true, None, 4), Ok(4));
        assert_eq!(fit_queues(true, Some(3), 1), Ok(3));
        assert!(fit_queues(true, Some(1), 1).is_err());
        assert!(fit_queues(false, Some(2), 2).is_err());
    }

    #[test]
    fn a_tap_that_is_not_there_is_wrong_use() {
        let error = tap("sluice-none", &RunOptions::default()).unwrap_err();
        assert!(error.to_string().contains("ip tuntap add"), "{error}");
    }

    #[test]
    fn the_last_of_several_words_counts() {
        assert_eq!(word("port=1 x port=2", "port="), Some("2"));
        assert_eq!(word("report=1", "port="), None);
    }
}
