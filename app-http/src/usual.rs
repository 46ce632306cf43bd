//! The short way of the usual request: most are for a page by its plain path, with fields that say
//! nothing but the host, the codings that are taken and perhaps the tag of what is known.
//!
//! Upstream: [`engine`](crate::engine), with a request line and field lines, parsed or known. Downstream:
//! [`response`](crate::response). Invariant: what is answered here is what
//! [`answer`](crate::request::answer) would answer.

use crate::encoding;
use crate::field_line::Place;
use crate::fields::{Field, Fields};
use crate::head::{Method, RequestLine};
use site::{Site, Wanted};

/// What most answers are: a status line and Date, and the rest in one piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usual<'s> {
    /// 200 with the page, or with its head.
    Page(&'s [u8]),
    /// 304.
    NotModified(NotModified<'s>),
}

/// An answer that a page is what the client has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotModified<'s> {
    /// The page's path, which is the target.
    path: &'s [u8],
    /// What follows status line and Date.
    pub(crate) rest: &'s [u8],
}

/// What the field lines of a usual request mean: one for version 1.1, without the wish to close, and
/// either without conditions or with one If-None-Match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsualFields<'s> {
    /// Number of the site that is asked.
    host: u16,
    /// The codings that the client takes.
    wanted: Wanted,
    /// Where If-None-Match is, from the first field line on.
    tag: Option<Place>,
    /// What these fields were answered with last, when it was 304. A tag is one page's.
    pub(crate) answered: Option<NotModified<'s>>,
}

impl UsualFields<'_> {
    /// Returns what field lines mean, when they are usual.
    #[inline(always)]
    pub fn read(fields: &Fields<'_>, site: &Site<'_>) -> Option<Self> {
        if fields.is_special() {
            return None;
        }
        let host = site.host(fields.host()??).number();
        let wanted = match fields.single(Field::AcceptEncoding) {
            None => Wanted::IDENTITY,
            Some(list) => encoding::wanted(core::iter::once(list)),
        };
        let tag = fields.place(Field::IfNoneMatch);
        Some(UsualFields {
            host,
            wanted,
            tag,
            answered: None,
        })
    }
}

/// Returns the answer to a usual request: a GET or HEAD for a page by its plain path, with usual
/// fields, whose lines are at the front of `lines`. What it returns is what [`answer`](crate::request::answer) would lead to on a connection that stays; it is only
/// shorter to come by.
#[inline(always)]
pub fn usual_answer<'s>(
    line: &RequestLine<'_>,
    fields: UsualFields<'s>,
    lines: &[u8],
    site: &Site<'s>,
) -> Option<Usual<'s>> {
    let is_get = line.method == Method::Get;
    if !(is_get || line.method == Method::Head) || line.is_http_1_0 {
        return None;
    }
    let host = site.host_of_number(fields.host);
    if let Some(tag) = fields.tag {
        if let Some(answered) = fields.answered
            && answered.path == line.target
        {
            return Some(Usual::NotModified(answered));
        }
        let tag = tag.of(lines);
        let (path, rest) = host.usual_not_modified(line.target, fields.wanted, tag)?;
        return Some(Usual::NotModified(NotModified { path, rest }));
    }
    let page = match is_get {
        true => host.usual_response(line.target, fields.wanted)?,
        false => host.usual_head(line.target, fields.wanted)?,
    };
    Some(Usual::Page(page))
}
