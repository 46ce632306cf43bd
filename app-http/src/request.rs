//! From the bytes of a connection to the answer: the HTTP/1.1 engine, without any IO.
//!
//! Upstream: bytes as they came, from the first of a request on. Downstream: [`server`], or
//! whatever else carries HTTP. A request is read by httparse; the answer is made of references
//! into the site, or of a prepared refusal.
//!
//! Invariants: no state is kept between calls, so the answer to a request does not depend on how
//! its bytes were split; nothing panics, whatever the bytes are. Spec: RFC 9110 and RFC 9112.
//!
//! [`server`]: crate::server

use crate::fields::{Fields, if_none_match_holds};
use crate::limits::{MAX_FIELDS, MAX_SKIPPED_BYTES};
use crate::refusal::Refusal;
use crate::target::{self, BadTarget, Scratch};
use core::mem::MaybeUninit;
use httparse::{Header, Request, Status};
use site::{Page, Site};

/// What the bytes at the front of a connection lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'s> {
    /// The head of the request is not complete.
    NeedMore,
    /// The request is answered.
    Answer(Answer<'s>),
}

/// The answer to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer<'s> {
    /// Bytes of the request's head; the next byte is content or another request.
    pub consumed: usize,
    /// What is to be sent.
    pub response: Response<'s>,
    /// What becomes of the connection then.
    pub next: Next,
    /// Why the request was refused, if it was.
    pub refusal: Option<Refusal>,
}

/// A response in parts: `status_line`, `head`, a Date line, the line of `connection`, a blank line,
/// `body`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Response<'s> {
    /// The status code.
    pub status: u16,
    /// The status line; empty when it is in `head`.
    pub status_line: &'s [u8],
    /// Field lines.
    pub head: &'s [u8],
    /// The line that says whether the connection stays.
    pub connection: ConnectionLine,
    /// The body; empty in answers to HEAD and in 304.
    pub body: &'s [u8],
}

/// The Connection line of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionLine {
    /// None: the connection stays, as is usual in HTTP/1.1.
    Absent,
    /// `keep-alive`, for a client of HTTP/1.0 that asked for it.
    KeepAlive,
    /// `close`.
    Close,
}

/// What becomes of a connection behind an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Another request, after `skip` bytes of content that are thrown away.
    Request {
        /// At most [`MAX_SKIPPED_BYTES`].
        skip: u32,
    },
    /// The connection is closed; the request was read to its end.
    Close,
    /// The connection is closed, but the client may still be sending: what comes is to be read
    /// and thrown away for a while, since a reset would take the answer with it (RFC 9112 §9.6).
    Linger,
}

/// Reads the request at the front of `input` and finds its answer.
#[inline]
pub fn answer<'s>(input: &[u8], site: &Site<'s>, scratch: &mut Scratch) -> Step<'s> {
    let mut headers = [const { MaybeUninit::<Header<'_>>::uninit() }; MAX_FIELDS];
    let mut request = Request::new(&mut []);
    let mut answer = match request.parse_with_uninit_headers(input, &mut headers) {
        Ok(Status::Complete(consumed)) => answer_to(&request, consumed, site, scratch),
        Ok(Status::Partial) => return Step::NeedMore,
        Err(error) => refuse(malformed(error, input), input.len()),
    };
    if request.method == Some("HEAD") {
        answer.response.body = b"";
    }
    Step::Answer(answer)
}

/// Returns the answer to a head that is not complete and fills all the room there is.
#[cold]
pub fn answer_to_overlong_head(input: &[u8]) -> Answer<'static> {
    let line = trim_empty_lines(input);
    let refusal = match line.contains(&b'\n') {
        true => Refusal::FieldsTooLarge,
        false => Refusal::TargetTooLong,
    };
    refuse(refusal, input.len())
}

fn answer_to<'s>(
    request: &Request<'_, '_>,
    consumed: usize,
    site: &Site<'s>,
    scratch: &mut Scratch,
) -> Answer<'s> {
    let fields = match Fields::read(request.headers) {
        Ok(fields) => fields,
        Err(refusal) => return refuse(refusal, consumed),
    };
    let is_http_1_0 = request.version == Some(0);
    if fields.hosts == 0 && !is_http_1_0 {
        return refuse(Refusal::Host, consumed);
    }
    if fields.is_chunked && is_http_1_0 {
        return refuse(Refusal::Framing, consumed);
    }
    let (connection, next) = persistence(&fields, is_http_1_0);
    match serves(request.method.unwrap_or_default()) {
        Ok(()) => {}
        Err(Refusal::MethodNotAllowed) => {
            let mut answer = refuse(Refusal::MethodNotAllowed, consumed);
            answer.response.connection = connection;
            answer.next = next;
            return answer;
        }
        Err(refusal) => return refuse(refusal, consumed),
    }
    let page = match find(request.path.unwrap_or_default().as_bytes(), site, scratch) {
        Ok(page) => page,
        Err(BadTarget::Malformed) => return refuse(Refusal::Target, consumed),
        Err(BadTarget::TooLong) => return refuse(Refusal::TargetTooLong, consumed),
    };
    let variant = page.identity();
    let mut response = Response {
        status: page.status(),
        status_line: b"",
        head: variant.lines(),
        connection,
        body: variant.body(),
    };
    if fields.has_if_none_match && is_unchanged(variant.etag(), request.headers) {
        response.status = 304;
        response.status_line = b"HTTP/1.1 304 Not Modified\r\n";
        response.head = without_end(variant.kept_fields());
        response.body = b"";
    }
    Answer {
        consumed,
        response,
        next,
        refusal: None,
    }
}

/// Finds the page that a target names, or the one for paths not found.
#[inline]
fn find<'s>(target: &[u8], site: &Site<'s>, scratch: &mut Scratch) -> Result<Page<'s>, BadTarget> {
    let host = site.default_host();
    if let Some(page) = host.lookup(target)
        && page.has_plain_path()
    {
        return Ok(page);
    }
    let path = target::path(target, scratch)?;
    Ok(host.lookup(path).unwrap_or_else(|| host.not_found()))
}

/// Returns field lines without the blank line behind them.
fn without_end(lines: &[u8]) -> &[u8] {
    lines.strip_suffix(b"\r\n").unwrap_or(lines)
}

/// Returns whether the client has this page already; only pages with a tag can be.
fn is_unchanged(etag: &[u8], headers: &[Header<'_>]) -> bool {
    !etag.is_empty() && if_none_match_holds(headers, etag)
}

/// Decides whether the connection outlives the request (RFC 9112 §9.3).
#[inline]
fn persistence(fields: &Fields, is_http_1_0: bool) -> (ConnectionLine, Next) {
    let is_wanted = !fields.has_close && (!is_http_1_0 || fields.has_keep_alive);
    let skip = fields.content_length.unwrap_or(0);
    // A client that waits for 100 gets the final answer instead, and may or may not send its
    // content then: where the next request starts is not known (RFC 9110 §10.1.1).
    let is_framed =
        !fields.is_chunked && skip <= MAX_SKIPPED_BYTES && !(fields.expects_continue && skip > 0);
    match (is_wanted && is_framed, is_http_1_0) {
        (true, false) => (ConnectionLine::Absent, Next::Request { skip: skip as u32 }),
        (true, true) => (
            ConnectionLine::KeepAlive,
            Next::Request { skip: skip as u32 },
        ),
        (false, _) if fields.has_content() => (ConnectionLine::Close, Next::Linger),
        (false, _) => (ConnectionLine::Close, Next::Close),
    }
}

/// Tells whether requests of this method are served.
///
/// # Errors
/// [`Refusal::MethodNotAllowed`] for HTTP's other methods, [`Refusal::UnknownMethod`] for the rest.
#[inline]
fn serves(method: &str) -> Result<(), Refusal> {
    match method {
        "GET" | "HEAD" => Ok(()),
        "POST" | "PUT" | "DELETE" | "OPTIONS" | "TRACE" | "CONNECT" | "PATCH" => {
            Err(Refusal::MethodNotAllowed)
        }
        _ => Err(Refusal::UnknownMethod),
    }
}

/// Makes the answer to a request behind which nothing can be understood.
#[cold]
fn refuse(refusal: Refusal, consumed: usize) -> Answer<'static> {
    let prepared = refusal.answer();
    Answer {
        consumed,
        response: Response {
            status: prepared.status,
            status_line: b"",
            head: prepared.head,
            connection: ConnectionLine::Close,
            body: prepared.body,
        },
        next: Next::Linger,
        refusal: Some(refusal),
    }
}

/// Returns what is wrong with a head that httparse refuses.
#[cold]
fn malformed(error: httparse::Error, input: &[u8]) -> Refusal {
    match error {
        httparse::Error::TooManyHeaders => Refusal::FieldsTooLarge,
        httparse::Error::HeaderName | httparse::Error::HeaderValue => Refusal::FieldLine,
        httparse::Error::Version if names_other_version(input) => Refusal::Version,
        httparse::Error::Version
        | httparse::Error::NewLine
        | httparse::Error::Token
        | httparse::Error::Status => Refusal::RequestLine,
    }
}

/// Returns whether the request line has `HTTP/` and a digit where its version should be.
fn names_other_version(input: &[u8]) -> bool {
    let mut words = trim_empty_lines(input).split(|byte| *byte == b' ');
    let version = words.nth(2).unwrap_or_default();
    version
        .strip_prefix(b"HTTP/")
        .and_then(|number| number.first())
        .is_some_and(u8::is_ascii_digit)
}

/// Returns the input without the empty lines that may come before a request (RFC 9112 §2.2).
fn trim_empty_lines(input: &[u8]) -> &[u8] {
    let start = input.iter().position(|byte| !matches!(byte, b'\r' | b'\n'));
    &input[start.unwrap_or(input.len())..]
}
