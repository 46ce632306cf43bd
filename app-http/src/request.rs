//! From the bytes of a connection to the answer: the HTTP/1.1 engine, without any IO.
//!
//! Upstream: bytes as they came, from the first of a request on. Downstream: [`server`], or
//! whatever else carries HTTP. The head is taken apart by [`head`](crate::head); the answer is made of references
//! into the site, or of a prepared refusal, and [`response`](crate::response) puts it into bytes.
//!
//! Invariants: no state is kept between calls, so the answer to a request does not depend on how
//! its bytes were split; nothing panics, whatever the bytes are. Spec: RFC 9110 and RFC 9112.
//!
//! [`server`]: crate::server

pub use crate::answer::{Answer, ConnectionLine, Content, Next, Response};

use crate::conditions::{Outcome, Validators};
use crate::encoding;
use crate::fields::{Field, Fields};
use crate::head::{Head, Method};
use crate::limits::{MAX_LOCATION_BYTES, MAX_SKIPPED_BYTES, MAX_TARGET_BYTES};
use crate::range::{self, Ranges, Selection};
use crate::refusal::{PRECONDITION_FAILED, PreparedAnswer, Refusal};
use crate::target::{self, BadTarget};
use site::{Host, Page, Site, Variant, Wanted};

/// What a request is answered with.
#[derive(Debug, Clone, Copy)]
pub struct Context<'c, 's> {
    /// The pages.
    pub site: &'c Site<'s>,
    /// Unix time in seconds.
    pub now: u64,
    /// The connection is to be closed behind the answer.
    pub is_last: bool,
    /// Answers with several ranges can be sent; without, the whole page is.
    pub has_parts: bool,
}

/// Room for what has to be written for a request.
#[derive(Debug)]
pub struct Scratch {
    path: target::Room,
    location: [u8; MAX_LOCATION_BYTES],
    ranges: Ranges,
}

impl Default for Scratch {
    fn default() -> Self {
        Scratch {
            path: [0; MAX_TARGET_BYTES],
            location: [0; MAX_LOCATION_BYTES],
            ranges: Ranges::new(),
        }
    }
}

/// Finds the answer to a request whose head was read.
#[inline]
pub fn answer<'s, 'r>(
    head: &Head<'_>,
    context: &Context<'_, 's>,
    scratch: &'r mut Scratch,
) -> Answer<'s, 'r> {
    let response = check(head).and_then(|()| respond(head, context, scratch));
    let (connection, next) = persistence(head, context.is_last);
    match response {
        Ok((status, content)) => Answer {
            consumed: head.bytes,
            response: Response {
                status,
                connection,
                is_head: head.method == Method::Head,
                content,
            },
            next,
            refusal: None,
        },
        Err(refusal) => {
            let mut answer = refuse(refusal, head.bytes, head.method == Method::Head);
            if refusal == Refusal::MethodNotAllowed && head.method != Method::Connect {
                answer.response.connection = connection;
                answer.next = next;
            }
            answer
        }
    }
}

/// Makes the answer to bytes that are no request.
#[cold]
pub fn refuse_bytes<'s, 'r>(refusal: Refusal, input: &[u8]) -> Answer<'s, 'r> {
    // Only behind whole empty lines: what else there is to refuse must not change with what follows.
    let mut request = input;
    while let [b'\r', b'\n', rest @ ..] = request {
        request = rest;
    }
    let is_head = request.starts_with(b"HEAD ");
    refuse(refusal, input.len(), is_head)
}

/// Checks what must hold whatever is asked for.
#[inline(always)]
fn check(head: &Head<'_>) -> Result<(), Refusal> {
    let fields = &head.fields;
    match fields.host() {
        Some(Some(_)) => {}
        None if head.is_http_1_0 => {}
        None | Some(None) => return Err(Refusal::Host),
    }
    if fields.is_chunked && head.is_http_1_0 {
        return Err(Refusal::Framing);
    }
    if fields.expects_unknown {
        return Err(Refusal::Expectation);
    }
    Ok(())
}

/// Finds status and content of the answer.
#[inline]
fn respond<'s, 'r>(
    head: &Head<'_>,
    context: &Context<'_, 's>,
    scratch: &'r mut Scratch,
) -> Result<(u16, Content<'s, 'r>), Refusal> {
    match head.method {
        Method::Get | Method::Head => {}
        Method::Options => return options(head, context, scratch),
        Method::NotAllowed | Method::Connect => return Err(Refusal::MethodNotAllowed),
        Method::Unknown => return Err(Refusal::UnknownMethod),
    }
    let host = context
        .site
        .host(head.fields.host().flatten().unwrap_or_default());
    // A target that is the plain path of a page needs no reading.
    if let Some(page) = host.lookup(head.target)
        && page.has_plain_path()
    {
        return Ok(send(&page, head, context, &mut scratch.ranges));
    }
    respond_by_rules(head, context, host, scratch)
}

/// Finds the answer for a target that is no path of a page as it stands.
#[inline(never)]
fn respond_by_rules<'s, 'r>(
    head: &Head<'_>,
    context: &Context<'_, 's>,
    host: Host<'_, 's>,
    scratch: &'r mut Scratch,
) -> Result<(u16, Content<'s, 'r>), Refusal> {
    let named = target::read(head.target, &mut scratch.path)?;
    // The target's own authority replaces Host (RFC 9112 §3.2.2).
    let host = named
        .authority
        .map_or(host, |authority| context.site.host(authority));
    let found = host
        .answer(named.path, named.query, &mut scratch.location)
        .map_err(|_| Refusal::TargetTooLong)?;
    let variant = found.page.identity();
    let is_head = head.method == Method::Head;
    match variant.insert_at() {
        Some(at) if !found.inserted.is_empty() => {
            let lines = if is_head {
                variant.head()
            } else {
                variant.response()
            };
            let (before, behind) = lines.split_at_checked(at).unwrap_or((lines, b""));
            let content = Content::Inserted {
                status_line: variant.status_line(),
                before,
                inserted: found.inserted,
                behind,
            };
            Ok((found.page.status(), content))
        }
        _ => Ok(send(&found.page, head, context, &mut scratch.ranges)),
    }
}

/// Answers OPTIONS, for `*` as for a path (RFC 9110 §9.3.7).
#[cold]
fn options<'s, 'r>(
    head: &Head<'_>,
    context: &Context<'_, 's>,
    scratch: &'r mut Scratch,
) -> Result<(u16, Content<'s, 'r>), Refusal> {
    let mut authority = head.fields.host().flatten().unwrap_or_default();
    if head.target != b"*" {
        let named = target::read(head.target, &mut scratch.path)?;
        authority = named.authority.unwrap_or(authority);
    }
    let page = context.site.host(authority).options();
    Ok((page.status(), whole(&page.identity(), false)))
}

/// Chooses what is sent of a page.
#[inline]
fn send<'s, 'r>(
    page: &Page<'s>,
    head: &Head<'_>,
    context: &Context<'_, 's>,
    ranges: &'r mut Ranges,
) -> (u16, Content<'s, 'r>) {
    let fields = &head.fields;
    let status = page.status();
    let is_head = head.method == Method::Head;
    let wanted = match fields.has(Field::AcceptEncoding) {
        true => encoding::wanted(fields.all(Field::AcceptEncoding, b"accept-encoding")),
        false => Wanted::IDENTITY,
    };
    let variant = page.best(wanted);
    if status == 200 && fields.has_condition_or_range() {
        return send_selected(page, &variant, head, context, ranges);
    }
    (status, whole(&variant, is_head))
}

/// Chooses what is sent of a page that a request has conditions for, or wants a part of.
#[inline(never)]
fn send_selected<'s, 'r>(
    page: &Page<'s>,
    variant: &Variant<'s>,
    head: &Head<'_>,
    context: &Context<'_, 's>,
    ranges: &'r mut Ranges,
) -> (u16, Content<'s, 'r>) {
    let fields = &head.fields;
    let is_head = head.method == Method::Head;
    let validators = Validators {
        etag: variant.etag(),
        modified: page.modified(),
        now: context.now,
    };
    match validators.evaluate(fields) {
        Outcome::Proceed => {}
        Outcome::NotModified => {
            let content = Content::Prepared {
                status_line: b"HTTP/1.1 304 Not Modified\r\n",
                rest: variant.kept_fields(),
            };
            return (304, content);
        }
        Outcome::Failed => return (412, prepared(&PRECONDITION_FAILED, is_head)),
    }
    // Range is defined for GET alone (RFC 9110 §14.2).
    let range = fields.single(Field::Range).filter(|_| !is_head);
    let Some(range) = range.filter(|_| validators.range_applies(fields)) else {
        return (200, whole(variant, is_head));
    };
    ranges.clear();
    match range::select(range, variant.body().len() as u64, ranges) {
        Selection::One(range) => (206, Content::Part(*variant, range)),
        Selection::Several if context.has_parts => (206, Content::Parts(*variant, ranges)),
        Selection::Unsatisfiable => (416, Content::Unsatisfiable(*variant)),
        Selection::Whole | Selection::Several => (200, whole(variant, is_head)),
    }
}

/// Returns a prepared response, or its head.
#[inline(always)]
fn whole<'s, 'r>(variant: &Variant<'s>, is_head: bool) -> Content<'s, 'r> {
    Content::Prepared {
        status_line: variant.status_line(),
        rest: if is_head {
            variant.head()
        } else {
            variant.response()
        },
    }
}

fn prepared<'s, 'r>(answer: &'static PreparedAnswer, is_head: bool) -> Content<'s, 'r> {
    Content::Prepared {
        status_line: answer.status_line,
        rest: if is_head { answer.head() } else { answer.rest },
    }
}

/// Decides whether the connection outlives the request (RFC 9112 §9.3).
#[inline(always)]
fn persistence(head: &Head<'_>, is_last: bool) -> (ConnectionLine, Next) {
    let fields: &Fields<'_> = &head.fields;
    if !head.is_http_1_0 && !is_last && !fields.has_framing_or_close() {
        return (ConnectionLine::Absent, Next::Request { skip: 0 });
    }
    let is_wanted = !is_last && !fields.has_close && (!head.is_http_1_0 || fields.has_keep_alive);
    let skip = fields.content_length.unwrap_or(0);
    // A client that waits for 100 gets the final answer instead, and may or may not send its
    // content then: where the next request starts is not known (RFC 9110 §10.1.1).
    let is_framed =
        !fields.is_chunked && skip <= MAX_SKIPPED_BYTES && !(fields.expects_continue && skip > 0);
    let next = Next::Request { skip: skip as u32 };
    // The end is this side's wish: the client may have sent more, which must not reset the answer away.
    let is_ours = is_last && !fields.has_close && !head.is_http_1_0;
    match (is_wanted && is_framed, head.is_http_1_0) {
        (true, false) => (ConnectionLine::Absent, next),
        (true, true) => (ConnectionLine::KeepAlive, next),
        (false, _) if is_ours || fields.has_content() => (ConnectionLine::Close, Next::Linger),
        (false, _) => (ConnectionLine::Close, Next::Close),
    }
}

/// Makes the answer to a request behind which nothing can be understood.
#[cold]
pub fn refuse<'s, 'r>(refusal: Refusal, consumed: usize, is_head: bool) -> Answer<'s, 'r> {
    let answer = refusal.answer();
    Answer {
        consumed,
        response: Response {
            status: answer.status,
            connection: ConnectionLine::Close,
            is_head,
            content: prepared(answer, is_head),
        },
        next: Next::Linger,
        refusal: Some(refusal),
    }
}

impl From<BadTarget> for Refusal {
    fn from(bad: BadTarget) -> Self {
        match bad {
            BadTarget::Malformed => Refusal::Target,
            BadTarget::TooLong => Refusal::TargetTooLong,
        }
    }
}
