//! The head of a request: request line and field lines, taken apart in one pass and without
//! copying (RFC 9112 §2 to §5).
//!
//! Upstream: bytes as they came, from the first of a request on. Downstream:
//! [`request`](crate::request). Written for speed: control characters are looked for sixteen bytes
//! at a time, so that a line costs a few steps whatever is in it, and what is common is compared
//! whole.
//!
//! Strict: lines end with CR LF and hold no other control character but the tab; a field line
//! starts with a token and a colon; nothing is folded. Whatever else two readers could understand
//! in two ways is refused (RFC 9112 §11.2).
//!
//! Invariant: what is found does not depend on where the input is cut. A refusal is decided by
//! bytes that more input cannot change, in the order of the bytes.

use crate::fields::Fields;
use crate::limits::HeadLimits;
use crate::refusal::Refusal;
use crate::scan::{Controls, find, no_target};

/// Why the bytes at the front of a connection are no head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unparsed {
    /// The head is not complete.
    Partial,
    /// Not a head, or one that is not wanted.
    Refused(Refusal),
}

impl From<Refusal> for Unparsed {
    #[inline]
    fn from(refusal: Refusal) -> Self {
        Unparsed::Refused(refusal)
    }
}

/// A whole head.
#[derive(Debug)]
pub struct Head<'a> {
    /// What is asked for.
    pub method: Method,
    /// The target as it came: not empty, without control characters, and not checked further.
    /// Blanks are for its reader to refuse.
    pub target: &'a [u8],
    /// The request line without its line end.
    pub line: &'a [u8],
    /// The version is HTTP/1.0, not HTTP/1.1.
    pub is_http_1_0: bool,
    /// What the field lines say.
    pub fields: Fields<'a>,
    /// Bytes of the head, with empty lines before it and the one behind it.
    pub bytes: usize,
}

/// A method (RFC 9110 §9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// GET.
    Get,
    /// HEAD.
    Head,
    /// OPTIONS.
    Options,
    /// CONNECT, behind whose head comes no request.
    Connect,
    /// Another of HTTP's methods.
    NotAllowed,
    /// A token that is no method of HTTP.
    Unknown,
}

impl Method {
    /// Tells methods apart; they are in upper case (RFC 9110 §9.1).
    fn of(token: &[u8]) -> Self {
        match token {
            b"GET" => Method::Get,
            b"HEAD" => Method::Head,
            b"OPTIONS" => Method::Options,
            b"CONNECT" => Method::Connect,
            b"POST" | b"PUT" | b"DELETE" | b"PATCH" | b"TRACE" => Method::NotAllowed,
            _ => Method::Unknown,
        }
    }
}

/// A request line (RFC 9112 §3).
#[derive(Debug, Clone, Copy)]
pub struct RequestLine<'a> {
    /// What is asked for.
    pub method: Method,
    /// As in [`Head`].
    pub target: &'a [u8],
    /// Where the line starts, behind empty ones.
    pub start: usize,
    /// Where the next line starts.
    pub end: usize,
    /// The version is HTTP/1.0, not HTTP/1.1.
    pub is_http_1_0: bool,
}

/// Takes apart the head at the front of `input`.
///
/// # Errors
/// [`Unparsed`], when there is no whole head.
#[inline(always)]
pub fn parse<'a>(input: &'a [u8], limits: &HeadLimits) -> Result<Head<'a>, Unparsed> {
    let line = request_line(input, limits)?;
    field_lines(input, line, limits)
}

/// Takes the request line off the front of `input`.
///
/// # Errors
/// [`Unparsed`], when there is no whole request line.
#[inline(always)]
pub fn request_line<'a>(input: &'a [u8], limits: &HeadLimits) -> Result<RequestLine<'a>, Unparsed> {
    match usual_line(input, limits) {
        Some(line) => Ok(line),
        None => any_line(input, limits),
    }
}

/// Takes the field lines behind a request line.
///
/// # Errors
/// [`Unparsed`], when they are not whole.
#[inline(always)]
pub fn field_lines<'a>(
    input: &'a [u8],
    line: RequestLine<'a>,
    limits: &HeadLimits,
) -> Result<Head<'a>, Unparsed> {
    let mut at = line.end;
    let mut lines = Lines::new(input, at, limits.head_bytes);
    // Filled in where it stays.
    let mut head = Head {
        method: line.method,
        target: line.target,
        line: &input[line.start..line.end - 2],
        is_http_1_0: line.is_http_1_0,
        fields: Fields::new(input, at),
        bytes: 0,
    };
    let mut left = limits.fields;
    loop {
        let end = lines.field_line_end(at)?;
        if end == at {
            break;
        }
        left = left.checked_sub(1).ok_or(Refusal::FieldsTooLarge)?;
        head.fields.read_line(at, end)?;
        at = end + 2;
    }
    head.fields.finish(at)?;
    head.bytes = at + 2;
    Ok(head)
}

/// Returns where a request line that starts at `start` ends at most, without its line end.
#[inline(always)]
fn longest_line(start: usize, limits: &HeadLimits) -> usize {
    (start + limits.request_line_bytes).min(limits.head_bytes.saturating_sub(2))
}

/// The end of a request line for HTTP/1.1, with the line end.
const VERSION_1_1: &[u8; 11] = b" HTTP/1.1\r\n";

/// Takes a line as nearly every client writes it off the front of `input`; `None` when it is not
/// one, or not whole.
#[inline(always)]
fn usual_line<'a>(input: &'a [u8], limits: &HeadLimits) -> Option<RequestLine<'a>> {
    let (method, target_at) = match input {
        [b'G', b'E', b'T', b' ', b'/', ..] => (Method::Get, 4),
        [b'H', b'E', b'A', b'D', b' ', b'/', ..] => (Method::Head, 5),
        _ => return None,
    };
    let target_end = find(input, target_at, no_target)?;
    let line_end = target_end + VERSION_1_1.len() - 2;
    let version = input.get(target_end..)?.first_chunk()?;
    if version != VERSION_1_1 || line_end > longest_line(0, limits) {
        return None;
    }
    Some(RequestLine {
        method,
        target: input.get(target_at..target_end)?,
        start: 0,
        end: line_end + 2,
        is_http_1_0: false,
    })
}

/// Takes any request line off the front of `input`.
#[inline(never)]
fn any_line<'a>(input: &'a [u8], limits: &HeadLimits) -> Result<RequestLine<'a>, Unparsed> {
    let start = if matches!(input.first(), Some(b'\r' | b'\n')) {
        skip_empty_lines(input, limits)?
    } else {
        0
    };
    let mut lines = Lines::new(input, start, limits.head_bytes);
    let end = lines.request_line_end(start, longest_line(start, limits))?;
    Ok(RequestLine::parse(input, start, end)?)
}

/// Steps over empty lines before a request, which some clients send behind content
/// (RFC 9112 §2.2); they count as bytes of the head.
#[cold]
fn skip_empty_lines(input: &[u8], limits: &HeadLimits) -> Result<usize, Unparsed> {
    let mut at = 0;
    loop {
        if at + 2 > limits.head_bytes {
            return Err(Unparsed::Refused(Refusal::FieldsTooLarge));
        }
        match &input[at..] {
            [b'\r', b'\n', ..] => at += 2,
            [b'\r'] | [] => return Err(Unparsed::Partial),
            [b'\r' | b'\n', ..] => return Err(Unparsed::Refused(Refusal::RequestLine)),
            _ => return Ok(at),
        }
    }
}

/// The line ends of a head.
struct Lines<'a> {
    /// As much as a head may come to.
    input: &'a [u8],
    controls: Controls<'a>,
    /// There is more, which is not looked at.
    is_cut: bool,
}

impl<'a> Lines<'a> {
    #[inline(always)]
    fn new(input: &'a [u8], start: usize, head_bytes: usize) -> Self {
        let is_cut = input.len() >= head_bytes;
        let input = if is_cut { &input[..head_bytes] } else { input };
        Lines {
            input,
            controls: Controls::new(input, start),
            is_cut,
        }
    }

    /// Finds the end of the request line, which is at `limit` at most.
    #[inline(always)]
    fn request_line_end(&mut self, start: usize, limit: usize) -> Result<usize, Unparsed> {
        match self.controls.first_from(start) {
            Some(end) if end <= limit && self.has_line_end(end) => Ok(end),
            Some(end) if end <= limit => Err(self.no_line_end(end, Refusal::RequestLine)),
            None if self.input.len() <= limit => Err(Unparsed::Partial),
            _ => Err(Unparsed::Refused(Refusal::TargetTooLong)),
        }
    }

    /// Finds the end of the field line that begins at `start`.
    #[inline(always)]
    fn field_line_end(&mut self, start: usize) -> Result<usize, Unparsed> {
        let mut at = start;
        loop {
            let Some(end) = self.controls.first_from(at) else {
                return Err(self.end_of_input());
            };
            if self.has_line_end(end) {
                return Ok(end);
            }
            if self.input[end] != b'\t' {
                return Err(self.no_line_end(end, Refusal::FieldLine));
            }
            at = end + 1;
        }
    }

    #[inline(always)]
    fn has_line_end(&self, at: usize) -> bool {
        self.input[at..].first_chunk() == Some(b"\r\n")
    }

    /// Tells what is wrong with the control character at `at`, where no line end is.
    #[cold]
    fn no_line_end(&self, at: usize, otherwise: Refusal) -> Unparsed {
        match self.input[at..] {
            [b'\r'] => self.end_of_input(),
            _ => Unparsed::Refused(otherwise),
        }
    }

    /// Tells why there is no more.
    #[cold]
    fn end_of_input(&self) -> Unparsed {
        if self.is_cut {
            Unparsed::Refused(Refusal::FieldsTooLarge)
        } else {
            Unparsed::Partial
        }
    }
}

impl<'a> RequestLine<'a> {
    /// Parses a line: three parts with one blank between them.
    fn parse(input: &'a [u8], start: usize, end: usize) -> Result<Self, Refusal> {
        let line = &input[start..end];
        let is_blank = |byte: &u8| *byte == b' ';
        let method_end = line.iter().position(is_blank).ok_or(Refusal::RequestLine)?;
        let target_end = line
            .iter()
            .rposition(is_blank)
            .ok_or(Refusal::RequestLine)?;
        let (method, version) = (&line[..method_end], &line[target_end + 1..]);
        if method.is_empty() || !method.iter().all(|byte| is_token(*byte)) {
            return Err(Refusal::RequestLine);
        }
        let is_http_1_0 = match version {
            b"HTTP/1.1" => false,
            b"HTTP/1.0" => true,
            // What is named must have the form of a version (RFC 9112 §2.3) to be refused as one.
            [b'H', b'T', b'T', b'P', b'/', major, rest @ ..] if major.is_ascii_digit() => {
                return match rest {
                    [] => Err(Refusal::Version),
                    [b'.', minor] if minor.is_ascii_digit() => Err(Refusal::Version),
                    _ => Err(Refusal::RequestLine),
                };
            }
            _ => return Err(Refusal::RequestLine),
        };
        match line.get(method_end + 1..target_end) {
            Some(target @ [_, ..]) if !target.contains(&b' ') => Ok(RequestLine {
                method: Method::of(method),
                target,
                start,
                end: end + 2,
                is_http_1_0,
            }),
            _ => Err(Refusal::RequestLine),
        }
    }
}

/// Tells whether a byte may stand in a token (RFC 9110 §5.6.2).
pub fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
