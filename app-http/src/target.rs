//! From a request target to the path of a page (RFC 9112 §3.2, RFC 3986 §6.2.2).
//!
//! Percent escapes are decoded once, dot segments and double slashes are removed and the query is
//! dropped. A path that would leave the root is refused, and so is a NUL. Most targets are the
//! plain path of a page and never come here: see [`Page::has_plain_path`](site::Page::has_plain_path).

use crate::authority;
use crate::limits::MAX_TARGET_BYTES;

/// Room for a path that has to be rewritten.
pub type Room = [u8; MAX_TARGET_BYTES];

/// What a target names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Named<'t, 'r> {
    /// The authority, of an absolute target.
    pub authority: Option<&'t [u8]>,
    /// The path: decoded, normal, and starting with `/`.
    pub path: &'r [u8],
    /// The query as it came, without its question mark.
    pub query: Option<&'t [u8]>,
}

/// Why a target names no path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadTarget {
    /// Not one of the forms that GET may have, a bad escape, a NUL, or a way out of the root.
    Malformed,
    /// Its path is longer than [`MAX_TARGET_BYTES`].
    TooLong,
}

/// Returns what `target` names; its path is written into `room`.
///
/// # Errors
/// See [`BadTarget`].
pub fn read<'t, 'r>(target: &'t [u8], room: &'r mut Room) -> Result<Named<'t, 'r>, BadTarget> {
    // Visible ASCII is all that a URI may hold.
    if !target.iter().all(u8::is_ascii_graphic) || target.contains(&b'#') {
        return Err(BadTarget::Malformed);
    }
    let (authority, rest) = split_authority(target).ok_or(BadTarget::Malformed)?;
    let end = rest.iter().position(|byte| *byte == b'?');
    let (raw, query) = match end {
        Some(end) => (&rest[..end], Some(&rest[end + 1..])),
        None => (rest, None),
    };
    let path = normal_path(raw, room)?;
    Ok(Named {
        authority,
        path,
        query,
    })
}

/// Decodes and normalises a path that starts with a slash or is empty.
fn normal_path<'r>(raw: &[u8], room: &'r mut Room) -> Result<&'r [u8], BadTarget> {
    let mut path = NormalPath {
        bytes: room,
        length: 0,
        segment: 0,
    };
    let mut raw = raw.iter();
    path.push(b'/')?;
    // An absolute form may have no path at all, which means the root (RFC 9110 §4.2.3).
    if raw.as_slice().first() == Some(&b'/') {
        raw.next();
    }
    path.segment = 1;
    while let Some(byte) = raw.next() {
        let byte = match byte {
            b'%' => escaped(raw.next(), raw.next()).ok_or(BadTarget::Malformed)?,
            byte => *byte,
        };
        match byte {
            0 => return Err(BadTarget::Malformed),
            b'/' => path.end_segment(true)?,
            byte => path.push(byte)?,
        }
    }
    path.end_segment(false)?;
    let length = path.length;
    Ok(&room[..length])
}

/// Returns the authority of an absolute target, and what follows it; the whole target when it is
/// in origin form (RFC 9112 §3.2).
fn split_authority(target: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    if target.first() == Some(&b'/') {
        return Some((None, target));
    }
    let rest = ["http://", "https://"].iter().find_map(|scheme| {
        let (start, rest) = target.split_at_checked(scheme.len())?;
        start
            .eq_ignore_ascii_case(scheme.as_bytes())
            .then_some(rest)
    })?;
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?'));
    let (authority, rest) = rest.split_at(end.unwrap_or(rest.len()));
    let host = authority::host(authority, 0, authority.len())?;
    (!host.is_empty()).then_some((Some(authority), rest))
}

/// A path that is being written; what is finished of it is normal.
struct NormalPath<'a> {
    bytes: &'a mut Room,
    length: usize,
    /// Where the segment that is being written starts: behind a slash.
    segment: usize,
}

impl NormalPath<'_> {
    fn push(&mut self, byte: u8) -> Result<(), BadTarget> {
        *self.bytes.get_mut(self.length).ok_or(BadTarget::TooLong)? = byte;
        self.length += 1;
        Ok(())
    }

    /// Ends the segment, by a slash or by the end of the path.
    fn end_segment(&mut self, by_slash: bool) -> Result<(), BadTarget> {
        match &self.bytes[self.segment..self.length] {
            b"" => {}
            b"." => self.length = self.segment,
            b".." => {
                let above = &self.bytes[..self.segment - 1];
                let slash = above.iter().rposition(|byte| *byte == b'/');
                self.length = slash.ok_or(BadTarget::Malformed)? + 1;
            }
            _ if by_slash => self.push(b'/')?,
            _ => {}
        }
        self.segment = self.length;
        Ok(())
    }
}

fn escaped(high: Option<&u8>, low: Option<&u8>) -> Option<u8> {
    let digit = |byte: Option<&u8>| char::from(*byte?).to_digit(16);
    Some((digit(high)? << 4 | digit(low)?) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::borrow::ToOwned;
    use std::string::String;
    use std::vec::Vec;

    fn normal(target: &str) -> Result<String, BadTarget> {
        let mut scratch = [0; MAX_TARGET_BYTES];
        read(target.as_bytes(), &mut scratch)
            .map(|named| String::from_utf8_lossy(named.path).into_owned())
    }

    #[test]
    fn targets_become_normal_paths() {
        for (target, path) in [
            ("/", "/"),
            ("/a/b.html", "/a/b.html"),
            ("/a?b=/../c", "/a"),
            ("/?", "/"),
            ("/a%20b", "/a b"),
            ("/%61%2e%63", "/a.c"),
            ("/%2541", "/%41"),
            ("//", "/"),
            ("//a///b//", "/a/b/"),
            ("/./a/./b/.", "/a/b/"),
            ("/a/../b", "/b"),
            ("/a/..", "/"),
            ("/a/b/../", "/a/"),
            ("/a/b/%2E%2e/c", "/a/c"),
            ("/a%2fb", "/a/b"),
            ("/a%2f..%2fb", "/b"),
            ("/...", "/..."),
            ("/.well-known/x", "/.well-known/x"),
            ("/a/.b", "/a/.b"),
            ("/%c3%a4", "/ä"),
            ("/a\\..\\b", "/a\\..\\b"),
            ("http://host", "/"),
            ("http://host?x", "/"),
            ("HTTP://host:80/a/../b?c", "/b"),
            ("https://[::1]:8080/a", "/a"),
        ] {
            assert_eq!(normal(target).as_deref(), Ok(path), "{target}");
        }
    }

    #[test]
    fn authority_and_query_are_taken_apart() {
        let mut room = [0; MAX_TARGET_BYTES];
        let named = read(b"http://Example.org:80/a%3fb?c=/../d?e", &mut room).unwrap();
        assert_eq!(named.authority, Some(&b"Example.org:80"[..]));
        assert_eq!(named.path, b"/a?b");
        assert_eq!(named.query, Some(&b"c=/../d?e"[..]));
        assert_eq!(read(b"/a?", &mut room).unwrap().query, Some(&b""[..]));
        assert_eq!(read(b"/a", &mut room).unwrap().query, None);
    }

    #[test]
    fn what_names_no_path_is_refused() {
        for target in [
            "",
            "*",
            "a",
            "host:80",
            "/..",
            "/../a",
            "/a/../../b",
            "/%2e%2e/a",
            "/%",
            "/%4",
            "/%zz",
            "/%+1",
            "/%00",
            "/a\0",
            "/a b",
            "/\u{e4}",
            "/a\u{7f}",
            "/?a b",
            "http://[::1/",
            "http://a:b/",
            "/#a",
            "/a#b",
            "ftp://host/",
            "http:///a",
            "http://a@b/",
            "http://ho st/",
            "?a",
            "./a",
        ] {
            assert_eq!(normal(target), Err(BadTarget::Malformed), "{target}");
        }
    }

    #[test]
    fn only_what_is_left_of_a_path_must_fit() {
        let long = |part: &str| "/".to_owned() + &part.repeat(2 * MAX_TARGET_BYTES);
        assert_eq!(normal(&long("a")), Err(BadTarget::TooLong));
        assert_eq!(normal(&long("/")).as_deref(), Ok("/"));
        assert_eq!(normal(&(long("./") + "a")).as_deref(), Ok("/a"));
    }

    #[test]
    fn no_target_leads_out_of_the_root_or_stays_unnormal() {
        let parts = ["/", ".", "..", "a", "%2e", "%2f", "?", "//", "%5c", "b.c"];
        let mut choice = [0usize; 6];
        loop {
            let target: String = core::iter::once("/")
                .chain(choice.iter().map(|part| parts[*part]))
                .collect();
            if let Ok(path) = normal(&target) {
                assert!(path.starts_with('/'), "{target}");
                let inner: Vec<&str> = path[1..].split('/').collect();
                let (last, folders) = inner.split_last().unwrap();
                assert!(
                    folders.iter().all(|name| !["", ".", ".."].contains(name)),
                    "{target}"
                );
                assert!(![".", ".."].contains(last), "{target}");
            }
            let Some(place) = choice.iter().position(|part| part + 1 < parts.len()) else {
                break;
            };
            choice[..place].fill(0);
            choice[place] += 1;
        }
    }
}
