//! What the admin port can be asked for, and the answers that stand.
//!
//! Upstream: [`admin`](crate::admin), with the bytes of a request.

use crate::control::Control;
use crate::fields::Fields;
use crate::head::{self, Method, Unparsed};
use crate::limits::HeadLimits;
use crate::{metrics_text, trace};

/// An answer that stands.
pub(crate) struct Page(pub(crate) &'static [u8]);

macro_rules! head {
    ($status:literal, $type:literal $(, $field:literal)?) => {
        concat!(
            "HTTP/1.1 ", $status, "\r\nServer: sluice\r\nContent-Type: ", $type,
            "\r\nCache-Control: no-store\r\nConnection: close\r\n", $($field, "\r\n",)? "\r\n",
        )
    };
}

macro_rules! page {
    ($status:literal, $text:literal $(, $field:literal)?) => {
        Page(concat!(head!($status, "text/plain; charset=utf-8" $(, $field)?), $text, "\n").as_bytes())
    };
}

macro_rules! metrics_head {
    () => {
        head!("200 OK", "text/plain; version=0.0.4; charset=utf-8")
    };
}

static OK: Page = page!("200 OK", "ok");
static READY: Page = page!("200 OK", "ready");
static STOPPING: Page = page!("503 Service Unavailable", "stopping", "Retry-After: 5");
static NOT_FOUND: Page = page!(
    "404 Not Found",
    "there are GET /healthz, /readyz, /metrics, /trace, and POST /drain, /trace/start, /trace/stop"
);
static FROM_A_PAGE: Page = page!(
    "403 Forbidden",
    "asked by a web page: this port is for its operator's tools"
);
static WANTS_GET: Page = page!(
    "405 Method Not Allowed",
    "405 Method Not Allowed",
    "Allow: GET, HEAD"
);
static WANTS_POST: Page = page!(
    "405 Method Not Allowed",
    "405 Method Not Allowed",
    "Allow: POST"
);

/// What a request is answered with.
pub(crate) enum Answer {
    Page(&'static Page),
    /// And the servers stop.
    Stop,
    /// A new trace is begun, or the one under way ended.
    Trace(bool),
    /// What the cores know.
    Text(Text),
}

impl Answer {
    pub(crate) const BAD_REQUEST: Answer =
        Answer::Page(&page!("400 Bad Request", "400 Bad Request"));
    pub(crate) const WILL_STOP: Answer = Answer::Page(&page!("202 Accepted", "stopping"));
    pub(crate) const TRACING: Answer = Answer::Page(&page!("200 OK", "tracing: GET /trace"));
    pub(crate) const TRACED: Answer = Answer::Page(&page!("200 OK", "not tracing"));
}

/// A text that is written piece by piece, and how far it has come.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Text {
    Metrics(metrics_text::Cursor),
    Trace(trace::Cursor),
}

impl Text {
    /// Returns what comes before it; `is_complete`: every core has told what it knows.
    pub(crate) fn head(self, is_complete: bool) -> &'static [u8] {
        match (self, is_complete) {
            (Text::Metrics(_), true) => metrics_head!().as_bytes(),
            (Text::Metrics(_), false) => concat!(
                metrics_head!(),
                "# a core did not answer in time: its figures are from before\n"
            )
            .as_bytes(),
            (Text::Trace(_), _) => head!("200 OK", "application/json").as_bytes(),
        }
    }
}

/// Returns whether a browser sends the request for a page, whoever's that is: one that is open on an
/// operator's screen could ask for anything here. Browsers say so in every POST (Fetch §3.1), and
/// other tools say nothing.
fn is_from_a_page(fields: &Fields<'_>) -> bool {
    let site = fields.other(b"sec-fetch-site");
    fields.other(b"origin").is_some() || site.is_some_and(|site| site != b"none")
}

/// Returns the answer to a request, `None` while it is not complete.
pub(crate) fn answer(input: &[u8], control: &Control) -> Option<Answer> {
    let head = match head::parse(input, &HeadLimits::default()) {
        Ok(head) => head,
        Err(Unparsed::Partial) => return None,
        Err(Unparsed::Refused(_)) => return Some(Answer::BAD_REQUEST),
    };
    let is_get = matches!(head.method, Method::Get | Method::Head);
    let is_post = head.line.starts_with(b"POST ");
    let path = head.target.split(|byte| *byte == b'?').next();
    let page = match path.unwrap_or_default() {
        b"/drain" | b"/trace/start" | b"/trace/stop" if !is_post => &WANTS_POST,
        b"/drain" | b"/trace/start" | b"/trace/stop" if is_from_a_page(&head.fields) => {
            &FROM_A_PAGE
        }
        b"/drain" => return Some(Answer::Stop),
        b"/trace/start" => return Some(Answer::Trace(true)),
        b"/trace/stop" => return Some(Answer::Trace(false)),
        b"/healthz" | b"/readyz" | b"/metrics" | b"/trace" if !is_get => &WANTS_GET,
        b"/metrics" => return Some(Answer::Text(Text::Metrics(Default::default()))),
        b"/trace" => return Some(Answer::Text(Text::Trace(Default::default()))),
        b"/healthz" => &OK,
        b"/readyz" if control.is_stopping() => &STOPPING,
        b"/readyz" => &READY,
        _ => &NOT_FOUND,
    };
    Some(Answer::Page(page))
}
