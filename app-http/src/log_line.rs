//! How a line of the access log looks: NCSA combined, or JSON.
//!
//! Whatever a client sent is escaped, so that it can neither end a line nor start another one.

use core::fmt::{self, Write};
use core::net::IpAddr;
use site::date::http_date;

/// The forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogForm {
    /// `ADDR - - [06/Nov/1994:08:49:37 +0000] "GET / HTTP/1.1" 200 612 "REFERER" "AGENT"`
    Combined,
    /// One object.
    Json,
}

/// What a line tells.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line<'a> {
    pub(crate) peer: IpAddr,
    /// Unix time in seconds.
    pub(crate) now: u64,
    pub(crate) status: u16,
    pub(crate) body_bytes: u64,
    pub(crate) request: &'a [u8],
    pub(crate) host: &'a [u8],
    pub(crate) referer: &'a [u8],
    pub(crate) user_agent: &'a [u8],
}

/// Bytes of one value that a client sent, at most; the rest is cut off.
const MOST_BYTES: usize = 256;

impl Line<'_> {
    /// Writes the line; what does not fit is cut off, which in the combined form leaves a line of
    /// fewer words, and cannot happen to JSON (see the assertion below).
    pub(crate) fn write<const BYTES: usize>(
        &self,
        form: LogForm,
        out: &mut heapless::Vec<u8, BYTES>,
    ) {
        let result = match form {
            LogForm::Combined => self.write_combined(out),
            LogForm::Json => self.write_json(out),
        };
        debug_assert!(result.is_ok());
    }

    fn write_combined(&self, out: &mut impl Write) -> fmt::Result {
        let Line {
            peer,
            status,
            body_bytes,
            ..
        } = *self;
        let date = Moment(self.now);
        let request = Escaped(self.request, Escape::Combined);
        write!(
            out,
            "{peer} - - [{date}] \"{request}\" {status} {body_bytes}"
        )?;
        for value in [self.referer, self.user_agent] {
            match value {
                b"" => out.write_str(" \"-\"")?,
                _ => write!(out, " \"{}\"", Escaped(value, Escape::Combined))?,
            }
        }
        Ok(())
    }

    fn write_json(&self, out: &mut impl Write) -> fmt::Result {
        let Line {
            peer,
            now,
            status,
            body_bytes,
            ..
        } = *self;
        write!(out, "{{\"time\":{now},\"peer\":\"{peer}\"")?;
        for (name, value) in [
            ("request", self.request),
            ("host", self.host),
            ("referer", self.referer),
            ("agent", self.user_agent),
        ] {
            write!(out, ",\"{name}\":\"{}\"", Escaped(value, Escape::Json))?;
        }
        write!(out, ",\"status\":{status},\"bytes\":{body_bytes}}}")
    }
}

// Each byte of a value takes six at most; four values, and what is around them.
const _: () = assert!(4 * 6 * MOST_BYTES + 256 <= crate::limits::LOG_LINE_BYTES);

/// `06/Nov/1994:08:49:37 +0000`
struct Moment(u64);

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let date = http_date(self.0);
        let part =
            |from: usize, to: usize| core::str::from_utf8(&date[from..to]).unwrap_or_default();
        write!(
            f,
            "{}/{}/{}:{} +0000",
            part(5, 7),
            part(8, 11),
            part(12, 16),
            part(17, 25)
        )
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Escape {
    /// `\xHH`, as nginx does.
    Combined,
    /// `\u00HH`.
    Json,
}

/// A value that a client sent.
struct Escaped<'a>(&'a [u8], Escape);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0.iter().take(MOST_BYTES) {
            match (byte, self.1) {
                (b' '..=b'~', _) if !matches!(byte, b'"' | b'\\') => {
                    f.write_char((*byte).into())?
                }
                (byte, Escape::Combined) => write!(f, "\\x{byte:02X}")?,
                (byte, Escape::Json) => write!(f, "\\u{byte:04x}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;
    use std::string::String;

    fn line(form: LogForm, agent: &[u8]) -> String {
        let line = Line {
            peer: Ipv4Addr::new(10, 0, 0, 7).into(),
            now: 784_111_777,
            status: 200,
            body_bytes: 612,
            request: b"GET /a HTTP/1.1",
            host: b"example.org",
            referer: b"",
            user_agent: agent,
        };
        let mut out = heapless::Vec::<u8, { crate::limits::LOG_LINE_BYTES }>::new();
        line.write(form, &mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn lines_are_in_their_form() {
        assert_eq!(
            line(LogForm::Combined, b"curl"),
            "10.0.0.7 - - [06/Nov/1994:08:49:37 +0000] \"GET /a HTTP/1.1\" 200 612 \"-\" \"curl\""
        );
        assert_eq!(
            line(LogForm::Json, b"curl"),
            "{\"time\":784111777,\"peer\":\"10.0.0.7\",\"request\":\"GET /a HTTP/1.1\",\
             \"host\":\"example.org\",\"referer\":\"\",\"agent\":\"curl\",\"status\":200,\"bytes\":612}"
        );
    }

    #[test]
    fn what_a_client_sent_cannot_end_a_line_or_a_value() {
        let agent = b"a\"b\\c\r\n\xff\x1b[0m";
        let combined = line(LogForm::Combined, agent);
        assert!(
            combined.ends_with("\"a\\x22b\\x5Cc\\x0D\\x0A\\xFF\\x1B[0m\""),
            "{combined}"
        );
        let json = line(LogForm::Json, agent);
        let escaped = "\"a\\u0022b\\u005cc\\u000d\\u000a\\u00ff\\u001b[0m\"";
        assert!(json.contains(escaped), "{json}");
        let long = line(LogForm::Json, &[0xff; 10_000]);
        assert!(long.ends_with("\"bytes\":612}"), "{long}");
    }
}
