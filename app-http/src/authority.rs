//! The authority of a request: who is asked, by Host or by an absolute target
//! (RFC 9110 §7.2, RFC 3986 §3.2).
//!
//! An authority is a host and perhaps a port. User names are refused (RFC 9110 §4.2.4), and so is
//! whatever two readers could take for different hosts.

use crate::scan::{find, not_host};

/// Digits of a port, at most.
const MAX_PORT_DIGITS: usize = 5;

/// Returns the host of the authority `bytes[start..end]` without its port; `None` when it is
/// malformed. An empty authority is a host of no bytes, which Host may be.
#[inline(always)]
pub fn host(bytes: &[u8], start: usize, end: usize) -> Option<&[u8]> {
    let name_end = find(bytes, start, not_host).unwrap_or(end);
    if name_end >= end {
        return bytes.get(start..end);
    }
    if bytes[name_end] == b':' && name_end > start && is_port(&bytes[name_end + 1..end]) {
        return bytes.get(start..name_end);
    }
    unusual_host(&bytes[start..end])
}

#[inline]
fn is_port(port: &[u8]) -> bool {
    port.len() <= MAX_PORT_DIGITS && port.iter().all(u8::is_ascii_digit)
}

/// Returns the host when it is not letters, digits, hyphens and dots: an address in brackets, or a
/// registered name with other characters.
#[cold]
fn unusual_host(authority: &[u8]) -> Option<&[u8]> {
    let (host, port) = if authority.first() == Some(&b'[') {
        let end = authority.iter().position(|byte| *byte == b']')? + 1;
        let inside = &authority[1..end - 1];
        let is_address = !inside.is_empty()
            && inside
                .iter()
                .all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.'));
        is_address.then(|| authority.split_at(end))?
    } else {
        let end = authority.iter().position(|byte| *byte == b':');
        let (host, port) = authority.split_at(end.unwrap_or(authority.len()));
        let is_name = host
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(byte));
        (is_name && !host.is_empty()).then_some((host, port))?
    };
    match port {
        [] => Some(host),
        [b':', digits @ ..] if is_port(digits) => Some(host),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;

    #[test]
    fn the_port_is_taken_off() {
        for (authority, name) in [
            ("", ""),
            ("a", "a"),
            ("Example.org", "Example.org"),
            ("example.org:80", "example.org"),
            ("example.org:", "example.org"),
            ("127.0.0.1:65535", "127.0.0.1"),
            ("[::1]", "[::1]"),
            ("[::ffff:1.2.3.4]:8080", "[::ffff:1.2.3.4]"),
            ("a_b", "a_b"),
            ("a%20b:1", "a%20b"),
            (
                "a.name.longer.than.sixteen.bytes:8080",
                "a.name.longer.than.sixteen.bytes",
            ),
        ] {
            let line = format!("Host: {authority}\r\n");
            let host = host(line.as_bytes(), 6, 6 + authority.len());
            assert_eq!(host, Some(name.as_bytes()), "{authority}");
        }
    }

    #[test]
    fn what_is_no_authority_is_refused() {
        for authority in [
            ":80", "a/b", "a b", "u@a", "u@a:80", "a?", "a#", "a\\b", "a:b", "a:80:80", "a:123456",
            "a:+1", "[::1", "[]", "[::1]x", "[g]", "a,b/c", "http://a", "\u{e4}", "a\"", "a]",
            "::1",
        ] {
            let line = format!("Host: {authority}\r\n");
            let host = host(line.as_bytes(), 6, 6 + authority.len());
            assert_eq!(host, None, "{authority}");
        }
    }
}
